"""From the checks of a training to what the rules see (a Course) and what only the truths know."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy, mse_loss

import lhexplore as lh
from lhexplore.diagnosis.course import Cell, Course
from lhexplore.layer_state import LayerState
from lhexplore.spectrum import Spectrum

from .bundle import Record
from .datasets import Parts, load
from .networks import Perceptron
from .runs import Run
from .training import CHECK, Check, build, criterion, tensors, train

LATE = (
    0.5,
    0.7,
    0.85,
    1.0,
)  # shares of a training at which a snapshot is taken, beside those at 0, 10, 20, 40, … steps
FLAT_SHARE = 4  # the last quarter of the checks against the quarter before it
TINY = 1e-300


def record(run: Run) -> Record:
    """Train, then compute spectra of every layer at every snapshot on both parts, and the truths."""
    parts = load(run.dataset, seed=run.data_seed, noise=run.noise, centred=run.centred)
    checks = train(run, parts)
    chosen = snapshots(checks)
    truths = truths_of(run, parts, checks)
    if run.state == "narrow":
        wide = replace(run, shape=replace(run.shape, widths=(16,) * len(run.shape.widths)))
        truths["wide_loss"] = min(check.losses["loss"] for check in train(wide, parts)[-10:])
    course, truths["failures"] = course_of(run, parts, chosen)
    return Record(run, course, truths)


def snapshots(checks: list[Check]) -> list[Check]:
    """Checks 0, 1, 2, 4, … and some late ones, the last among them."""
    last = len(checks) - 1
    places = {0, last, *(2**k for k in range(20) if 2**k < 0.9 * last), *(round(share * last) for share in LATE)}
    return [checks[place] for place in sorted(places)]


def course_of(run: Run, parts: Parts, checks: list[Check]) -> tuple[Course, list[str]]:
    """Spectra by lhexplore's session, losses and gradient norms beside them; and what could not be computed."""
    network, data = build(run, parts), tensors(parts)
    states = {str(check.step): check.weights for check in checks}
    labels = tuple(states)
    session = lh.Session(
        network, [data[""]], criterion(parts), held_out=[data["held_out_"]], snapshots=states, cache=False,
        samples=None, dtype=torch.float64,
    )  # fmt: skip
    sizes = {layer.name: layer.size for layer in session.layers}
    layers = list(sizes)
    wanted: list[Cell] = [(layer, label) for label in labels for layer in layers]
    if run.whole:
        wanted += [(None, label) for label in dict.fromkeys((labels[0], labels[len(labels) // 2], labels[-1]))]
    found: dict[str, dict[Cell, Spectrum]] = {"data": {}, "held_out": {}}
    failures = []
    with session:
        for layer, label in wanted:
            for split, kept in found.items():
                try:
                    kept[layer, label] = session.spectrum(layer, label, split=split)
                except lh.errors.LhexploreError as error:  # the rest is still worth reading
                    failures.append(f"{layer or 'whole network'} at {label} ({split}): {error}")
    seen = {name for name in checks[0].losses if not name.startswith("test_")}
    losses = {str(check.step): {name: check.losses[name] for name in seen} for check in checks}
    norms = {
        (layer, str(check.step)): LayerState(layer, str(check.step), sizes[layer], gradient_norm=norm)
        for check in checks
        for layer, norm in gradient_norms(network, check, data[""], parts, layers).items()
    }
    steps = {str(check.step): check.step for check in checks}
    return Course(labels, found["data"], found["held_out"], losses, norms, steps), failures


def gradient_norms(
    network: Perceptron, check: Check, data: tuple[Tensor, Tensor], parts: Parts, layers: list[str]
) -> dict[str, float]:
    """‖g‖ of the mean loss in every layer."""
    network.load_state_dict(check.weights)
    network.zero_grad()
    criterion(parts)(network(data[0]), data[1]).backward()
    return {
        layer: float(sum((p.grad**2).sum() for p in network.get_submodule(layer).parameters() if p.grad is not None))
        ** 0.5
        for layer in layers
    }


def truths_of(run: Run, parts: Parts, checks: list[Check]) -> dict[str, object]:
    """What is true of the run, from losses at all checks (with the test part) and from activations and gradients."""
    network, data = build(run, parts), tensors(parts)
    network.load_state_dict(checks[-1].weights)
    loss = np.array([check.losses["loss"] for check in checks])
    test = np.array([check.losses["test_loss"] for check in checks])
    part = max(1, len(loss) // FLAT_SHARE)
    before, after = loss[-2 * part : -part].mean() if len(loss) > part else loss[0], loss[-part:].mean()
    small = np.flatnonzero(loss < 1e-3)
    rises = np.diff(loss[-max(2, len(loss) // 4) :])
    return {
        "final": checks[-1].losses,
        "first": checks[0].losses,
        "steps": checks[-1].step,
        "test_rise": float(test[-1] / max(test.min(), TINY)),
        "test_fall": float(test.min() / test[0]),
        "flat": float(abs(before - after) / max(after, TINY)),
        "small_since": float(small[0] / len(loss)) if len(small) else 1.0,
        "rising_share": float((rises > 0).mean()),
        "every": CHECK,
        **idleness(network, data[""], parts),
    }


def idleness(network: Perceptron, data: tuple[Tensor, Tensor], parts: Parts) -> dict[str, dict[str, float]]:
    """Per layer: share of units never active, of inputs never active, and how small its gradients are.

    ``gradient`` is the root mean square over examples and parameters of the single examples' gradients, over that of
    the layer where it is largest. Nothing here knows of curvature.
    """
    x, y = data
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    loss_of = cross_entropy if parts.classes else mse_loss

    def one(p: dict[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
        return loss_of(functional_call(network, p, (a[None],)), b[None])

    single = vmap(grad(one), in_dims=(None, 0, 0))(parameters, x, y)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))
    size = {layer: _root_mean_square(single, layer) for layer in layers}
    largest = max(*size.values(), TINY)
    with torch.no_grad():
        taps = network.taps(x)
    idle = [float((tap == 0).all(0).double().mean()) for tap in taps]
    where = {f"linear.{i}": i for i in range(len(network.linear))}
    return {
        "units": {layer: idle[where[layer] + 1] if layer in where else 0.0 for layer in layers},
        "inputs": {layer: idle[where[layer]] if layer in where else 0.0 for layer in layers},
        "gradient": {layer: value / largest for layer, value in size.items()},
    }


def _root_mean_square(single: dict[str, Tensor], layer: str) -> float:
    rows = [gradient.flatten(1) for name, gradient in single.items() if name.startswith(f"{layer}.")]
    return float(torch.cat(rows, 1).square().mean().sqrt())
