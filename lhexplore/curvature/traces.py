"""The trace of every layer from shared products: the first thing to be known about a network.

One vector of random signs over all parameters and one product with the whole Hessian give a number for every layer at
once: t_l = Σ z_i (Hz)_i over the layer's coordinates, whose mean is the trace of the layer's block. What is shared has
a price, the coupling between layers in the variance, and a trap: one operation without a second derivative spoils the
whole product. Then the layers are tried in halves, until the ones before that operation stand alone.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import LhexploreError, NotFiniteError, SecondDerivativeError, SettingError, whole_number
from .hutchinson import Sample, trace_estimate
from .lanczos import dot, require_finite
from .operators import Block, LayerGGN, LayerHessian, Objective
from .states import check_seed

Kind = type[LayerHessian] | type[LayerGGN]
KINDS: dict[str, Kind] = {"hessian": LayerHessian, "ggn": LayerGGN}
CERTAIN = 8  # vectors multiplied to zero until a block counts as zero: two entries that cancel do so in 1 of 2 cases


@dataclass(frozen=True, slots=True)
class Trace:
    """One layer's trace as known so far: the exact one lies within ± 2 ``stderr`` in 95 % of all cases.

    ``status`` is "zero" where the block is known to be zero (no error then), "error" where it has no number (NaN);
    ``reason`` says why. An infinite ``stderr`` means that nothing but zeros has been seen, by too few vectors.
    """

    layer: str | None  # None for all layers together
    size: int
    value: float
    stderr: float
    status: Literal["ok", "zero", "error"] = "ok"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Traces:
    """All layers after ``probes`` of ``planned`` random vectors, in the order in which they were asked for."""

    layers: tuple[Trace, ...]
    total: Trace  # of the block that all layers form together
    probes: int
    planned: int
    products: int  # with the whole network, or with parts of it where that does not work

    @property
    def complete(self) -> bool:
        """Whether all planned vectors are in."""
        return self.probes == self.planned


def layer_traces(
    objective: Objective, layers: Sequence[Block], *, probes: Any = 10, seed: Any = 0, curvature: str = "hessian"
) -> Iterator[Traces]:
    """Estimate the trace of every layer, one item per random vector; the first one can be shown already.

    Costs one gradient that is kept (per micro-batch), and then one backward pass through it per vector, whatever the
    number of layers. Sharing adds the coupling between layers to the variance, which the errors cover (see
    `trace_estimate`); where a spectrum of a layer is exact, its trace is too, and better than this one.

    Args:
        objective: the loss over frozen data.
        layers: blocks by name; a tensor that several names share is one set of coordinates.
        probes: how many random vectors.
        seed: of the vectors, together with the names of parameters: neither the order of layers nor which others are
            asked for changes a layer's signs.
        curvature: "hessian", or "ggn" for losses that show their outputs.

    Raises:
        SettingError: an argument that makes no sense.
        UnsupportedError: the Gauss-Newton of a loss that only gives a number.
        NotFiniteError: the loss itself is NaN or infinite.
        TooLargeError: out of memory.
    """
    probes, seed = whole_number("probes", probes), check_seed(seed)
    if curvature not in KINDS:
        raise SettingError(f"curvature must be one of {tuple(KINDS)}, got {curvature!r}.")
    names = [layer.name for layer in layers]
    if not layers or len(set(names)) < len(names):
        raise SettingError(f"Traces need at least one layer, each once; got {names}.")
    if empty := [layer.name for layer in layers if not layer.parameters]:
        raise SettingError(f"{', '.join(map(repr, empty))} holds nothing to differentiate; leave it out.")
    return _Survey(objective, layers, probes, seed, curvature).run()


_Parts = dict[int, tuple[float, float]]  # by tensor: Σ z (Hz) and Σ (Hz)²


class _Survey:
    """The layers of one objective, in groups that share a product: one group, if all goes well."""

    def __init__(self, objective: Objective, layers: Sequence[Block], planned: int, seed: int, curvature: str) -> None:
        self._objective = cast(Objective, _Memory(objective))
        self._layers, self._planned, self._seed, self._kind = layers, planned, seed, KINDS[curvature]
        self._names = {id(tensor): name for name, tensor in objective.tensors.items()}
        self._groups: list[_Group] = []
        self._samples = {layer.name: list[Sample]() for layer in layers}
        self._totals = list[Sample]()
        self._zero = dict[str, str]()
        self._refused = dict[str, LhexploreError]()
        self._wasted = 0

    def run(self) -> Iterator[Traces]:
        for index in range(self._planned):
            with self._objective.guard():  # around the vector algebra too: it obeys the same thread count
                products = [self._multiply(group, index) for group in self._groups] if index else self._first()
                self._record(products)
                if not index:
                    self._ask_why_zero()
            yield self._value(index + 1)

    def _first(self) -> list[_Parts]:
        """Multiply the first vector; leaves behind as few groups of layers as possible."""
        products, waiting = list[_Parts](), [tuple(self._layers)]
        while waiting:
            members = waiting.pop()
            if found := self._tried(members):
                self._groups.append(found[0])
                products.append(found[1])
            elif len(members) > 1:
                middle = len(members) // 2
                waiting += [members[:middle], members[middle:]]
        if len(self._groups) > 1:
            good = tuple(layer for layer in self._layers if layer.name not in self._refused)
            if found := self._tried(good):
                self._wasted += sum(group.op.products for group in self._groups)
                self._groups, products = [found[0]], [found[1]]
        return products

    def _tried(self, members: tuple[Block, ...]) -> "tuple[_Group, _Parts] | None":
        group = _Group(self._objective, members, self._kind)
        try:
            return group, self._multiply(group, 0)
        except (SecondDerivativeError, _NotFiniteProductError) as error:
            self._wasted += group.op.products
            if len(members) == 1:
                self._refused[members[0].name] = error
            return None

    def _multiply(self, group: "_Group", index: int) -> _Parts:
        """What z and Hz tell about each tensor: Σ z (Hz) and Σ (Hz)²."""
        op = group.op
        z = torch.cat([self._signs(self._names[key], size, index) for key, size in group.sizes.items()])
        z = z.to(device=op.device, dtype=op.dtype)
        product = op.matvec(z)
        cuts = [torch.split(vector, list(group.sizes.values())) for vector in (z, product)]
        parts = {key: (_dot(a, b), _dot(b, b)) for key, a, b in zip(group.sizes, *cuts, strict=True)}
        if not math.isfinite(sum(square for _, square in parts.values())):
            try:
                require_finite(product, op)
            except NotFiniteError as error:
                raise _NotFiniteProductError(str(error)) from error
        return parts

    def _signs(self, name: str, size: int, index: int) -> Int[Tensor, " n"]:
        """The signs of one tensor: from its name, so that neither other layers nor their order play a part."""
        digest = hashlib.blake2b(f"{self._seed}|{index}|{name}".encode(), digest_size=8).digest()
        drawn = np.random.default_rng(int.from_bytes(digest, "little")).bytes(-(-size // 8))  # a bit for a sign
        bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=size)
        return torch.from_numpy(bits.view(np.int8)).mul_(2).sub_(1)

    def _record(self, products: list[_Parts]) -> None:
        for group, parts in zip(self._groups, products, strict=True):
            for layer in group.members:
                mine = [parts[key] for key in _sizes(self._objective, layer.parameters)]
                self._samples[layer.name].append(_pooled(mine))
        self._totals.append(_pooled([numbers for parts in products for numbers in parts.values()]))

    def _ask_why_zero(self) -> None:
        for group in self._groups:
            for layer in group.members:
                if not self._samples[layer.name][0].norm:
                    self._zero[layer.name] = self._kind(self._objective, layer).zero

    def _value(self, probes: int) -> Traces:
        return Traces(
            layers=tuple(self._trace(layer) for layer in self._layers),
            total=self._total(),
            probes=probes,
            planned=self._planned,
            products=self._wasted + sum(group.op.products for group in self._groups),
        )

    def _trace(self, layer: Block) -> Trace:
        size = sum(_sizes(self._objective, layer.parameters).values())
        if layer.name in self._refused:
            return Trace(layer.name, size, nan, nan, "error", str(self._refused[layer.name]))
        return _estimated(layer.name, size, self._samples[layer.name], self._zero.get(layer.name, ""))

    def _total(self) -> Trace:
        size = sum(_sizes(self._objective, [name for layer in self._layers for name in layer.parameters]).values())
        if self._refused:
            return Trace(None, size, nan, nan, "error", f"no trace of {', '.join(map(repr, self._refused))}")
        known = all(self._zero.get(layer.name) for layer in self._layers)
        return _estimated(None, size, self._totals, "each layer's block is zero" if known else "")


def _sizes(objective: Objective, names: Iterable[str]) -> dict[int, int]:
    """How many coordinates each tensor has, in the order of an operator's vectors: tied names are one tensor."""
    tensors = (objective.tensors[name] for name in names)
    return {id(tensor): tensor.numel() for tensor in tensors}


def _dot(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Multiply and sum in float64; on a CPU without copies in float64, which cost as much as the product itself."""
    if a.device.type != "cpu":
        return dot(a, b)
    return float(np.einsum("i,i->", a.numpy(), b.numpy(), dtype=np.float64))


def _pooled(numbers: list[tuple[float, float]]) -> Sample:
    return Sample(sum(form for form, _ in numbers), math.sqrt(sum(square for _, square in numbers)))


def _estimated(name: str | None, size: int, samples: list[Sample], zero: str) -> Trace:
    if zero:
        return Trace(name, size, 0.0, 0.0, "zero", zero)
    if any(sample.norm for sample in samples):
        return Trace(name, size, *trace_estimate(samples))
    if len(samples) < CERTAIN:
        return Trace(name, size, 0.0, inf)
    return Trace(name, size, 0.0, 0.0, "zero", f"{len(samples)} random vectors were multiplied to zero")


class _Group:
    """Layers that are multiplied together; ``sizes`` are their tensors in the order of the operator's vectors."""

    def __init__(self, objective: Objective, members: tuple[Block, ...], kind: Kind) -> None:
        self.members = members
        names = tuple(dict.fromkeys(name for layer in members for name in layer.parameters))
        self.sizes = _sizes(objective, names)
        title = members[0].name if len(members) == 1 else f"{members[0].name} to {members[-1].name}"
        self.op = kind(objective, _Union(title, names))


@dataclass(frozen=True, slots=True)
class _Union:
    name: str
    parameters: tuple[str, ...]


class _Memory:
    """An objective that explains each failure once: finding the place where it happens takes many gradients."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.tensors = objective.tensors  # those of the start: others may be loaded between two items
        self._known = dict[tuple[int, str], SecondDerivativeError]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def blame(self, i: int, error: BaseException) -> SecondDerivativeError:
        """As the objective does."""
        key = i, str(error)
        if key not in self._known:
            self._known[key] = self._objective.blame(i, error)
        return self._known[key]


class _NotFiniteProductError(NotFiniteError):
    """A product that is not finite, as opposed to a loss that is not."""
