"""Exact Gauss-Newton spectra of many layers at once: G = Σ MᵀM with one row of M per example and backward pass.

The passes are shared by all layers. What each layer costs by itself is its rows, the smaller one of its Gram matrices,
and the eigenvalues of that.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ...errors import NotFiniteError, SecondDerivativeError, TooLargeError
from ..layers import Layer
from ..replica import Replica
from ..trees import count_examples
from .collect import Collector
from .gram import Solved
from .group import Group
from .parts import formed_bytes, kept_bytes
from .scratch import Scratch
from .taps import Recording, Tried, record

GRADIENT_BYTES = 36 * 2**20  # gradients kept at a time; going on where the last section ended costs next to nothing
COLUMN_BYTES = 12 * 2**20  # columns of a factor that are multiplied at a time


@dataclass(frozen=True, slots=True, eq=False)
class FactorResult:
    """The exact Gauss-Newton spectrum of one layer.

    ``eigenvalues`` are the min(size, rows) that rank does not make zero, ascending; the true ones are within
    ``residual`` of them. ``fallback`` says that some rows were computed example by example.
    """

    layer: str
    size: int
    eigenvalues: Float[ndarray, " k"]
    trace: float
    frobenius: float
    residual: float
    rows: int
    fallback: bool


@dataclass(frozen=True, slots=True, eq=False)
class FactorStep:
    """Some backward passes done, or one layer: then with its ``result``."""

    done: int
    total: int
    result: FactorResult | None = None


def factor_spectra(
    objective: Replica, layers: Sequence[Layer], *, memory: int, examples: Collection[str] = ()
) -> Iterator[FactorStep]:
    """Compute the Gauss-Newton spectra of ``layers``, each as soon as its last gradient is known.

    Costs one forward and, for a softmax with C classes, C − 1 backward passes that leave out the gradients of weights.
    Nothing but memory is held between two steps: whoever drives the generator may close it.

    Args:
        objective: the loss over frozen data, at the weights in question.
        layers: which blocks; they may overlap.
        memory: most bytes for what is kept between passes, and for matrices.
        examples: names of layers whose rows are to be computed example by example, whatever their modules are.

    Raises:
        UnsupportedError: the loss has no factor (see `output_factor`), or examples depend on each other.
        NotFiniteError: NaN or infinity in a gradient.
        SecondDerivativeError: an operation has no derivative, or autograd is cut off from a tensor that matters.
    """
    work = _Work(objective, layers, memory, examples).steps()
    while True:
        with objective.guard():
            step = next(work, None)
        if step is None:
            return
        yield step


def factor_rows(
    objective: Replica, i: int, layers: Sequence[Layer], *, examples: Collection[str] = ()
) -> dict[str, Float[Tensor, "rows n"]]:
    """M of micro-batch ``i`` by layer; columns in the order of ``layer.parameters``, each tied tensor once.

    The micro-batch's part of the layer's Gauss-Newton matrix is MᵀM. For data so small that M fits into memory.
    """
    blocks = blocks_of(objective, layers)
    names = names_of(blocks)
    singly = {name for layer in examples for name in blocks.get(layer, ())}
    scratch = Scratch()
    with objective.guard():
        collector = Collector(objective, i, record(objective, i, names), names, singly, scratch, budget=GRADIENT_BYTES)
        for _ in collector.run():
            pass
        rows = {name: part.matrix(scratch) for name, part in collector.parts.items()}
    return {layer: torch.cat([rows[name] for name in block], 1) for layer, block in blocks.items()}


def blocks_of(objective: Replica, layers: Sequence[Layer]) -> dict[str, tuple[str, ...]]:
    """The tensors of each layer by their first names."""
    first = {id(tensor): name for name, tensor in objective.tensors.items()}
    return {
        layer.name: tuple(dict.fromkeys(first[id(objective.tensors[name])] for name in layer.parameters))
        for layer in layers
    }


def names_of(blocks: Mapping[str, tuple[str, ...]]) -> list[str]:
    """All tensors, once each."""
    return list(dict.fromkeys(name for block in blocks.values() for name in block))


class _Work:
    """The layers that were asked for, and what is needed for all of them."""

    def __init__(self, objective: Replica, layers: Sequence[Layer], memory: int, examples: Collection[str]) -> None:
        self._objective, self._memory, self._scratch = objective, memory, Scratch()
        self._sizes = {layer.name: layer.size for layer in layers}
        self._blocks = blocks_of(objective, layers)
        self._singly = {name for layer in examples for name in self._blocks.get(layer, ())}
        self._single, self._believed = set[str](), set[str]()  # by example; without a gradient, and rightly so
        self._recording: Recording | None = None
        self._tried: Tried = {}
        self._done, self._total = 0, len(layers)

    def steps(self) -> Iterator[FactorStep]:
        count = self._objective.count
        self._examples = sum(count_examples(self._objective.batch(i)) for i in range(count))
        self._recording = record(self._objective, 0, names_of(self._blocks), tried=self._tried)
        groups = self._groups(self._recording)
        if len(groups) > 1:
            self._recording = None  # made anew for fewer layers, whose graph is smaller
        for layers in groups:
            yield from self._group({layer: self._blocks[layer] for layer in layers})

    def _groups(self, first: Recording) -> list[list[str]]:
        """Layers that are computed together: all of them, unless what is kept between micro-batches is too much.

        Late layers come first, because their backward passes are short.
        """
        if self._objective.count == 1 or not first.examples:
            return [list(self._blocks)]
        passes, scale = first.outputs[0].numel(), self._examples / first.examples
        place = {name: number for number, call in enumerate(first.calls) for name in call.names.values()}
        order = sorted(self._blocks, key=lambda layer: -max(place.get(name, 0) for name in self._blocks[layer]))
        groups, room = list[list[str]](), 0.0
        for layer in order:
            if self._sizes[layer] <= passes * self._examples:
                needed = float(self._sizes[layer] ** 2 * first.outputs.element_size())
            else:
                needed = scale * sum(self._held(name, first, passes) for name in self._blocks[layer])
            if needed > room:
                groups.append([])
                room = self._memory / 2
            groups[-1].append(layer)
            room -= needed
        return groups

    def _held(self, name: str, first: Recording, passes: int) -> int:
        """Bytes that one tensor's part of the first micro-batch takes."""
        calls = [call for call in first.calls if name in call.names.values()]
        formed = formed_bytes(self._objective.tensors[name], passes * first.examples)
        return min(formed, kept_bytes(calls, passes)) if calls else formed

    def _group(self, blocks: dict[str, tuple[str, ...]]) -> Iterator[FactorStep]:
        names, count, rows = names_of(blocks), self._objective.count, 0
        group: Group | None = None
        zero = set(names)
        for i in range(count):
            collector = self._collector(i, names)
            rows += collector.passes * collector.examples
            self._single.update(collector.single)
            if group is None:
                few = [layer for layer in blocks if self._sizes[layer] <= collector.passes * self._examples]
                group = Group(blocks, few, self._scratch, chunk=min(COLUMN_BYTES, self._memory // 8))
                self._total += collector.steps * count
                self._require_room(collector, few)
            for name in collector.run():
                if name is None:
                    self._done += 1
                    yield FactorStep(self._done, max(self._total, self._done + 1))
                    continue
                part, last = collector.parts.pop(name), i == count - 1
                if not part.zero:
                    zero.discard(name)
                if last and part.passes and name in zero:
                    self._believe({name, *(zero & collector.unreached)})
                for layer, solved in group.take(name, part, last=last):
                    self._done += 1
                    yield FactorStep(self._done, max(self._total, self._done), self._result(layer, solved, rows))

    def _collector(self, i: int, names: Collection[str]) -> Collector:
        recording, self._recording = self._recording, None  # nobody else may hold on to the activations
        budget = min(GRADIENT_BYTES, self._memory // 4)
        return Collector(
            self._objective,
            i,
            recording or record(self._objective, i, names, tried=self._tried),
            names,
            self._singly,
            self._scratch,
            budget=budget,
        )

    def _require_room(self, collector: Collector, few: Collection[str]) -> None:
        """See that the rows of single examples fit, which cannot be formed anew as often as one likes."""
        for layer, block in self._blocks.items():
            rows = collector.passes * (collector.examples if layer in few else self._examples)
            singly = [self._objective.tensors[name] for name in block if name in collector.single]
            needed = sum(formed_bytes(tensor, rows) for tensor in singly)
            if needed > self._memory:
                raise TooLargeError(
                    f"The factor of {layer!r} has to be computed example by example, and its {rows:,} rows take "
                    f"{needed / 2**20:,.0f} MiB; {self._memory / 2**20:,.0f} MiB are allowed. Use fewer samples, or "
                    "method='lanczos' for this layer."
                )

    def _believe(self, names: Collection[str]) -> None:
        """Take a missing gradient for a zero only where moving the tensors leaves the loss as it is."""
        doubtful = [name for name in names if name not in self._believed]
        if doubtful and self._objective.moves_loss(doubtful):
            raise SecondDerivativeError(
                f"The Gauss-Newton matrix of {', '.join(map(repr, doubtful[:3]))} is cut off: autograd sees no way "
                "from the outputs to them, yet moving them moves the loss. Look for detach(), .data, no_grad or "
                "reentrant activation checkpointing (use_reentrant=False works) in the model."
            )
        self._believed.update(doubtful)

    def _result(self, layer: str, solved: Solved, rows: int) -> FactorResult:
        if not math.isfinite(solved.trace):
            raise NotFiniteError(
                f"The factor of {layer!r} holds NaN or infinity although the loss is finite: look for a division or "
                "square root at 0 in the model's backward pass (torch.autograd.detect_anomaly names the operation)."
            )
        size = self._sizes[layer]
        return FactorResult(
            layer,
            size,
            solved.eigenvalues[max(0, len(solved.eigenvalues) - min(size, rows)) :],
            solved.trace,
            solved.frobenius,
            solved.residual,
            rows,
            fallback=not self._single.isdisjoint(self._blocks[layer]),
        )
