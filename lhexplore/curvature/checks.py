"""Try once, on little, what every later number relies on; each row says what was seen.

The products here are plain double backward passes through all parameters: slow, simple, and independent of the
operators that the spectra use.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..errors import DataError, LhexploreError
from . import causes, second
from .states import forked_states
from .trees import count_examples, cut, describe, tensors

if TYPE_CHECKING:
    from .replica import Replica

Row = tuple[str, str, str]  # name, "ok" | "note" | "error", detail

SLICE = 8  # examples: enough to couple, cheap enough to try everything on
SEEDS = (1, 2)
# Accumulated rounding of a few thousand terms, by which two orders of the same sum may differ.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4}


def check(replica: "Replica") -> tuple[Row, ...]:
    """Go through batch, loss, layers, determinism, coupling and second derivatives; call with the guard held."""
    little = _slice(replica)
    rows = [_batch(replica), _loss(replica), _layers(replica), _determinism(replica, little), _effects(replica, little)]
    rows.append(_coupling(replica, little))
    rows += _second_derivative(replica, little)
    return tuple(rows)


def couples(replica: "Replica", batch: Any) -> bool:
    """Whether a batch's loss is something else than the mean of its parts'; tried on its first examples."""
    with replica.guard():
        return _coupling(replica, head(batch))[1] != "ok"


def coupled(replica: "Replica", batch: Any) -> str:
    """Why a mean over batches is no mean over examples, in words; empty where it is one, or where it cannot be told."""
    with replica.guard():
        try:
            found = _halves(replica, head(batch))
        except LhexploreError:  # such as a loss that is not finite: said where it is computed
            return ""
    if found.whole == found.mean:
        return ""
    if _close(found.whole, found.total, replica.dtype):
        return (
            f"{replica.loss.name} sums over the examples of a batch, and the mean over batches is shown: it depends on "
            "how your loader cuts them. Return the mean over the batch"
        )
    return found.row[2]


def difference_of(replica: "Replica", names: Sequence[str]) -> Row:
    """The row "difference" for some parameters only; call with the guard held."""
    return difference(replica, _slice(replica), names)


def _slice(replica: "Replica") -> Any:
    return replica.batch(0) if replica.mode == "train-frozen" else head(replica.batch(0))


def head(batch: Any, size: int = SLICE) -> Any:
    """The first examples of a batch, or all of it where it cannot be cut."""
    try:
        return cut(batch, 0, size) if count_examples(batch) > size else batch
    except DataError:  # graphs and the like: the whole batch will do
        return batch


def _batch(replica: "Replica") -> Row:
    frozen = replica.batches
    detail = f"{frozen.examples:,} examples in {replica.count} micro-batches, each {describe(replica.batch(0))}"
    return ("batch", "ok", "; ".join((detail, *frozen.notes)))


def _loss(replica: "Replica") -> Row:
    form = replica.loss.identity["form"]
    try:
        value = replica.value()
    except LhexploreError as error:
        return ("loss", "error", str(error))
    return ("loss", "ok", "; ".join((f"{replica.loss.name} as {form}: {value:.6g}", *replica.loss.notes)))


def _layers(replica: "Replica") -> Row:
    usable = [layer for layer in replica.layers if layer.status == "ok"]
    skipped = [f"{layer.name}: {layer.reason}" for layer in replica.layers if layer.status != "ok"]
    detail = f"{len(usable)} layers with {sum(layer.size for layer in usable):,} parameters"
    return ("layers", "note" if skipped else "ok", "; ".join((detail, *(f"skipped {line}" for line in skipped))))


def _determinism(replica: "Replica", batch: Any) -> Row:
    """Two passes with the same and with different random numbers."""
    with torch.no_grad():
        first, again = float(replica.loss_on(batch)), float(replica.loss_on(batch))
        if first != again and not _close(first, again, replica.dtype):
            return (
                "determinism",
                "error",
                f"the same pass gave {first!r} and {again!r}: the loss is no fixed function",
            )
        drawn = [_with_seed(replica, batch, seed) for seed in SEEDS]
    if drawn[0] != drawn[1]:
        place = _random_layer(replica, batch) or "the loss"
        return (
            "random draws",
            "error",
            f"{place} draws random numbers even in evaluation mode, so the loss is {drawn[0]:.6g} or {drawn[1]:.6g}. "
            "Make it depend on self.training; until then one fixed draw is used",
        )
    return ("determinism", "ok", "the same pass twice gave the same loss")


def _with_seed(replica: "Replica", batch: Any, seed: int) -> float:
    with forked_states(seed), replica.drawing():
        return float(replica.loss_on(batch))


def _random_layer(replica: "Replica", batch: Any) -> str | None:
    """The first module whose outputs differ between two draws although its inputs agree."""
    seen: list[dict[str, tuple[list[Tensor], list[Tensor]]]] = []
    for seed in SEEDS:
        passed: dict[str, tuple[list[Tensor], list[Tensor]]] = {}

        def look(name: str, module: Any, args: Any, output: Any, passed: Any = passed) -> None:
            passed.setdefault(
                causes.label(name, module), ([t.clone() for t in _all(args)], [t.clone() for t in _all(output)])
            )

        with causes.watched(replica.model, after=look), torch.no_grad():
            _with_seed(replica, batch, seed)
        seen.append(passed)
    for label, (inputs, outputs) in seen[0].items():
        other = seen[1].get(label)
        if other is not None and _same(inputs, other[0]) and not _same(outputs, other[1]):
            return label
    return None


def _effects(replica: "Replica", batch: Any) -> Row:
    """Whether a forward changes the weights it is given."""
    before = {name: tensor.clone() for name, tensor in replica.tensors.items()}
    with torch.no_grad():
        replica.loss_on(batch)
    moved = [name for name, tensor in replica.tensors.items() if not torch.equal(tensor, before[name])]
    if moved:
        return ("side effects", "error", f"the forward changes {', '.join(map(repr, moved[:3]))} in place")
    return ("side effects", "ok", "a forward leaves the weights as they are")


class _Halves(NamedTuple):
    """The loss of a batch, and of its two halves together; or why they were not compared."""

    row: Row
    whole: float = 0.0
    mean: float = 0.0
    total: float = 0.0


def _coupling(replica: "Replica", batch: Any) -> Row:
    """Whether a batch's loss is the mean of its parts'."""
    return _halves(replica, batch).row


def _halves(replica: "Replica", batch: Any) -> _Halves:
    name, size = "examples", count_examples(batch)
    if replica.mode == "train-frozen":
        return _Halves((name, "ok", "all in one batch, as batch norms in training mode need"))
    if size < 2:
        return _Halves((name, "ok", "one example a batch"))
    try:
        parts = [cut(batch, 0, size // 2), cut(batch, size // 2, size)]
    except DataError as error:
        return _Halves((name, "note", str(error)))
    terms = [replica.loss.terms(part) for part in parts]
    counts = [float(replica.batches.weigh(p)) if t is None else t for p, t in zip(parts, terms, strict=True)]
    if min(counts) == 0:
        return _Halves((name, "ok", "half of the first examples carry no loss term"))
    with torch.no_grad():
        whole = float(replica.loss_on(batch))
        try:
            halves = [float(replica.loss_on(part)) for part in parts]
        except Exception as error:  # noqa: BLE001 (the user's code)
            return _Halves((name, "note", f"half a batch cannot be computed ({error}), so batches stay whole"))
    mean = sum(value * count for value, count in zip(halves, counts, strict=True)) / sum(counts)
    if _close(whole, mean, replica.dtype):
        return _Halves((name, "ok", "a batch's loss is the mean of its parts'"))
    detail = (
        f"the loss couples the examples of a batch, or weighs them otherwise ({whole:.6g} whole, {mean:.6g} in two "
        "halves): what is shown is the mean over your loader's batches, and they must not be cut"
    )
    return _Halves((name, "note", detail), whole, mean, sum(halves))


def _second_derivative(replica: "Replica", batch: Any) -> list[Row]:
    """One product through all parameters: does it exist, is it symmetric, linear, and the slope of the gradient?"""
    name = "second derivative"
    names = replica.names

    leaves = list(causes.live(replica).values())
    try:
        gradients = _gradient(replica, batch, names)(leaves, True)
        unused = [key for key, found in zip(names, gradients, strict=True) if found is None]
        if unused and replica.moves_loss(unused):
            cut_off = ", ".join(map(repr, unused[:3]))
            return [
                (name, "error", f"autograd finds no way from the loss to {cut_off}, yet moving them moves the loss")
            ]
        u, v = (second.signs(leaves, seed) for seed in SEEDS)
        both = [a + 2 * b for a, b in zip(u, v, strict=True)]
        hu, hv, hb = (second.multiply(gradients, leaves, vector) for vector in (u, v, both))
    except LhexploreError as error:
        return [(name, "error", str(error))]
    except RuntimeError as error:
        return [(name, "error", str(second.of_second_derivative(replica, batch, error)))]
    size = _dot(hv, hv) ** 0.5
    if not size < float("inf"):
        return [
            (
                name,
                "error",
                "the gradient is finite and its derivative is not: look for sqrt, norm or std at 0 "
                "(torch.autograd.detect_anomaly names the operation)",
            )
        ]
    note = f"; unused: {', '.join(unused[:3])}" if unused else ""
    rows = [(name, "ok", f"exists for {len(leaves) - len(unused)} tensors{note}")]
    if size > 0:
        limit = ROUNDING[replica.dtype]
        defect = abs(_dot(u, hv) - _dot(v, hu)) / (size * _dot(u, u) ** 0.5)
        rows.append(("symmetry", "ok" if defect <= limit else "error", f"|uᵀHv − vᵀHu| is {defect:.1e} of ‖Hv‖‖u‖"))
        rest = [b - x - 2 * y for b, x, y in zip(hb, hu, hv, strict=True)]
        wrong = _dot(rest, rest) ** 0.5 / size
        rows.append(("linearity", "ok" if wrong <= limit else "error", f"H(u + 2v) differs by {wrong:.1e} of ‖Hv‖"))
    return [*rows, difference(replica, batch, names)]


def difference(replica: "Replica", batch: Any, names: Sequence[str]) -> Row:
    """Whether the Hessian of these parameters is the slope of their gradient.

    A suspicion becomes an error only where it is confirmed in float64, at a second point and with other steps.
    """
    first = second.compare(_gradient(replica, batch, names), _values(replica, names), seed=second.SEEDS[0])
    detail = f"Hv and central differences of the gradient are {first.off:.1e} apart"
    if first.fits:
        return ("difference", "ok", detail)
    judge = (replica if replica.dtype == torch.float64 else replica.widened(batch)) or replica
    little = batch if judge is replica else judge.batch(0)
    gradient, at = _gradient(judge, little, names), _values(judge, names)
    with judge.guard():
        if judge is not replica:
            first = second.compare(gradient, at, seed=second.SEEDS[0])
            detail = f"Hv and central differences of the gradient are {first.off:.1e} apart in float64"
        if first.fits:
            return ("difference", "ok", detail)
        if first.wrong and second.elsewhere_too(gradient, at):
            place = second.wrong_layer(judge, little) or "the loss"
            why = (
                "Look for a backward of its own that detaches, or a gradient that is not the loss's (straight-through)."
            )
            return (
                "difference",
                "error",
                f"{detail}: the second derivative of {place} is wrong. {why} {second.CURE}",
            )
    return ("difference", "note", f"{detail}, which a second look did not confirm: kinks, or rounding")


def _values(replica: "Replica", names: Sequence[str]) -> list[Tensor]:
    return [replica.tensors[name] for name in names]


def _gradient(replica: "Replica", batch: Any, names: Sequence[str]) -> second.Gradient:
    def gradient(at: Sequence[Tensor], again: bool) -> list[Tensor | None]:
        loss = replica.loss_on(batch, dict(zip(names, at, strict=True)))
        if not loss.requires_grad:
            return [None] * len(at)
        return list(torch.autograd.grad(loss, list(at), create_graph=again, allow_unused=True))

    return gradient


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float((x.detach().double() * y.detach().double()).sum()) for x, y in zip(a, b, strict=True))


def _close(a: float, b: float, dtype: torch.dtype) -> bool:
    return abs(a - b) <= ROUNDING[dtype] * max(abs(a), abs(b))


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _all(tree: Any) -> list[Tensor]:
    return [tensor for _, tensor in tensors(tree)]
