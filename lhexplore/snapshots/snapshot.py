"""One snapshot: the weights at one moment of training, read only when asked."""

import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..digests import digest_tensors
from ..errors import (
    FormatError,
    IncompleteFileError,
    LhexploreError,
    MismatchError,
    NotFiniteError,
    SnapshotError,
    UnsafeFileError,
    UnsupportedError,
)
from .contents import Contents, Look
from .fit import fit

GONE = "gone"  # status of one whose file was deleted
_STATUS: tuple[tuple[type[LhexploreError], str], ...] = (
    (IncompleteFileError, "partial"),
    (UnsafeFileError, "unsafe"),
    (FormatError, "format"),
    (NotFiniteError, "non-finite"),
    (UnsupportedError, "unsupported"),
)
# 8-bit floats have few operations of their own: nothing shows yet that derivatives through them are right.
_EIGHT_BIT = tuple(
    dtype
    for name in dir(torch)
    if name.startswith("float8_") and isinstance(dtype := getattr(torch, name), torch.dtype)
)


class Snapshot:
    """The weights at one moment of training: a row in a table, read only when :meth:`load` is called.

    Attributes:
        label: how to ask for it; unique among its fellows.
        step: optimiser steps done, None where unknown.
        epoch: epochs done, None where unknown.
        metrics: what the training code recorded beside the weights.
        status: ``"ok"``, or in a word why it cannot be used: ``"partial"``, ``"writing"``, ``"unsafe"``, ``"format"``,
            ``"unreadable"``, ``"non-finite"``, ``"unsupported"``, ``"mismatch"``, ``"changed"``, ``"gone"``.
        reason: the same in a sentence.
        aliases: other labels of the same weights, such as ``"last"``.
        path: where it is read from, None for weights in memory.
        traces: the traces that were measured when it was recorded, None where there are none.
    """

    def __init__(
        self,
        label: str,
        read: Callable[[], Contents],
        *,
        look: Look,
        path: Path | None = None,
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.label, self.path, self.aliases = label, path, aliases
        self.step, self.epoch, self.metrics = look.step, look.epoch, dict(look.metrics)
        self.status, self.reason, self.size = look.status, look.reason, look.size
        self.traces = look.traces
        self.notes: tuple[str, ...] = ()
        self._look, self._read = look, read
        self._digest = look.digest
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        """Digest of names, shapes, types and values of the weights; reads them once, unless the file states it."""
        with self._lock:
            if self._digest is None:
                self._load()
            return str(self._digest)

    @property
    def known_digest(self) -> str | None:
        """The digest, if it can be told without reading."""
        return self._digest

    @property
    def evidence(self) -> tuple[str, ...]:
        """Signs of the weights that are known without reading. One in common: equal names, types, shapes and values."""
        return tuple(sign for sign in (self._digest and f"digest {self._digest}", self._look.sign) if sign)

    def called(self, label: str, aliases: tuple[str, ...] = ()) -> "Snapshot":
        """The same snapshot under another label, to be read by itself."""
        return Snapshot(label, self._read, look=self._look, path=self.path, aliases=aliases)

    def comes_from(self, other: "Snapshot") -> bool:
        """Whether one of the two is the other under another label."""
        return self._read is other._read

    def load(self) -> dict[str, Tensor]:
        """Read the weights into memory of their own, on the CPU, and check them.

        Raises:
            SnapshotError: the file cannot be used; one of its classes says why. The row then says so too.
            NotFiniteError: NaN or infinity among the weights, with the names.
            UnsupportedError: sparse, quantised, 8-bit or meta tensors, with the names.
        """
        with self._lock:
            return self._load()

    def fitted(self, model: nn.Module) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """Read the weights under the names of ``model``; returns them with notes on what had to be adapted.

        Raises:
            MismatchError: names or shapes do not fit. And whatever :meth:`load` raises.
        """
        state = self.load()
        try:
            fitting, notes = fit(state, model)
        except MismatchError as error:
            self.status, self.reason = "mismatch", f"Snapshot {self.label!r}: {error}"
            raise MismatchError(self.reason) from None
        return fitting, (*self.notes, *notes)

    def _load(self) -> dict[str, Tensor]:
        if self.status == GONE:
            raise SnapshotError(self.reason)
        try:
            contents = self._read()
            _refuse_unsupported(contents.state, self.label)
            digest = digest_tensors(contents.state.items())
            if contents.digest not in (None, digest):
                raise IncompleteFileError(
                    f"{self.label!r} is damaged: its weights do not have the digest that was recorded with them. Copy "
                    "it again or leave it out."
                )
            _refuse_not_finite(contents.state, self.label)
        except LhexploreError as error:
            self.status, self.reason = _status(error), str(error)
            raise
        if self._digest not in (None, digest):
            self.status = "changed"
            self.reason = (
                f"{self.label!r} has changed since it was first seen; results for the earlier weights would be mixed "
                "with results for these. session.refresh() takes in what is there now."
            )
            raise SnapshotError(self.reason)
        self._digest, self.notes = digest, contents.notes
        if self.status in ("partial", "writing", "unreadable"):  # it has been completed in the meantime
            self.status, self.reason = "ok", ""
        self.step = contents.step if self.step is None else self.step
        self.epoch = contents.epoch if self.epoch is None else self.epoch
        self.metrics = {**contents.metrics, **self.metrics}
        return contents.state

    def __repr__(self) -> str:
        parts = [repr(self.label)]
        parts += [f"step {self.step}"] if self.step is not None else []
        parts += [f"epoch {self.epoch:g}"] if self.epoch is not None else []
        parts += [f"also {', '.join(map(repr, self.aliases))}"] if self.aliases else []
        parts += [self.status] if self.status != "ok" else []
        return f"Snapshot({', '.join(parts)})"


def _refuse_unsupported(state: dict[str, Tensor], label: str) -> None:
    """Refuse tensors whose derivatives would be wrong or empty; complex and integer ones are constants, and fine."""
    faults = {name: fault for name, tensor in state.items() if (fault := _fault(tensor))}
    if faults:
        raise UnsupportedError(
            f"Snapshot {label!r} holds tensors that cannot be differentiated here: {_first(faults)}. Expected dense "
            "tensors with values; convert them (for example .dequantize(), .to_dense(), .float()) and save again."
        )


def _fault(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "meta (no values)"
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout != torch.strided:
        return "sparse"
    return "8-bit float" if tensor.dtype in _EIGHT_BIT else ""


def _refuse_not_finite(state: dict[str, Tensor], label: str) -> None:
    faults = {name: fault for name, tensor in state.items() if (fault := _not_finite(tensor))}
    if faults:
        raise NotFiniteError(
            f"Snapshot {label!r} holds weights that are not finite: {_first(faults)}. Training had diverged by then; "
            "choose an earlier snapshot."
        )


def _not_finite(tensor: Tensor) -> str:
    if not (tensor.is_floating_point() or tensor.is_complex()) or torch.isfinite(tensor).all():
        return ""
    if torch.isnan(tensor).any():
        return "NaN"
    # An additive attention mask is made of 0 and -inf on purpose.
    mask = not tensor.is_complex() and bool(((tensor == 0) | torch.isneginf(tensor)).all())
    return "" if mask else "infinity"


def _first(faults: dict[str, str], most: int = 5) -> str:
    listed = ", ".join(f"{name!r} ({fault})" for name, fault in list(faults.items())[:most])
    return listed + (f" and {len(faults) - most} more" if len(faults) > most else "")


def _status(error: LhexploreError) -> str:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), "unreadable")
