"""The seven steps of the HESD methodology, each a function from what was found to a verdict in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...spectrum import Spectrum
from ..measure import recorded_count
from ..number_texts import short
from ..texts import LOCALISED, hides
from ..thresholds import Thresholds
from .causes import FEW_EXAMPLES, Context
from .hesd import DEFECT_LIMIT, PREVIEW_PROBES, Hesd
from .quasi_singular import QuasiSingular

STEPS = 100  # per start vector, as in the authors' code

Source = Literal["authors' code", "lhexplore", "heuristic"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the methodology."""

    name: str
    verdict: str  # a word or two; "stop" where nothing after it is to be read
    value: str
    text: str
    source: Source  # whose definition or limit it is; "heuristic" is lhexplore's own, uncalibrated

    @property
    def heuristic(self) -> bool:
        """Whether the verdict rests on an uncalibrated limit of lhexplore's."""
        return self.source == "heuristic"


def absolute(re: float, kh: float, limits: Thresholds) -> str:
    """Name the level of the criteria: "good", "moderate" or "poor", by heuristic limits."""
    if re < limits.good_re and kh < limits.good_kh:
        return "good"
    return "moderate" if kh < limits.moderate_kh else "poor"


def data(spectrum: Spectrum, context: Context) -> Stage:
    """How much data there is, and whether the network was in eval mode."""
    examples, mode = recorded_count(spectrum, "examples"), spectrum.provenance.get("mode")
    doubts = []
    if not context.whole_data and (examples is None or examples < FEW_EXAMPLES):
        doubts.append(
            f"Fewer than {FEW_EXAMPLES:,} examples, or not known how many: use more (samples=), or all there are."
        )
    if mode != "eval":
        doubts.append("Not in eval mode, or not known: batch statistics or dropout may shape the spectrum.")
    count = "unknown number of examples" if examples is None else f"{examples:,} examples"
    value = f"{count}, mode {mode or 'unknown'}, {spectrum.split.replace('_', '-')}"
    fine = "Enough data in eval mode; the gradient is that of the loss, neither clipped nor averaged."
    return Stage("Data and mode", "mind" if doubts else "fine", value, " ".join(doubts) or fine, "lhexplore")


def method(spectrum: Spectrum) -> Stage:
    """How the eigenvalues were found."""
    doubts = []
    if not spectrum.complete:
        doubts.append("The computation has not finished.")
    if spectrum.symmetry_defect > DEFECT_LIMIT:
        doubts.append("The products are too far from symmetric for signs: use float64.")
    if spectrum.exact:
        value = f"{spectrum.method}, exact, {spectrum.size:,} eigenvalues"
        said = "K_H of an exact spectrum does not compare with that of an estimate."
        source: Source = "lhexplore"
    else:
        value = f"{spectrum.method}, m = {spectrum.steps}, {spectrum.probes} start vectors"
        said = f"m is part of what K_H is; the authors' code takes {STEPS}."
        source = "lhexplore" if doubts or spectrum.probes < PREVIEW_PROBES else "authors' code"
        if spectrum.steps != STEPS:
            doubts.append(f"m is not {STEPS}: K_H compares with nothing published.")
        if spectrum.probes < PREVIEW_PROBES:
            doubts.append(f"A preview: numbers worth quoting need at least {PREVIEW_PROBES} start vectors.")
    if hides(spectrum):
        said = f"{said} {LOCALISED}"
    return Stage("Spectrum", "mind" if doubts else "fine", value, " ".join([*doubts, said]), source)


def numbers(spectrum: Spectrum, found: Hesd) -> Stage:
    """C_t and K_H with their intervals, the ends and the trace."""
    trace = short(spectrum.trace) + ("" if spectrum.exact else f" ± {short(spectrum.trace_stderr, digits=2)}")
    ends = (
        f"λmax = {short(spectrum.largest)}, λmin = {short(spectrum.smallest)} (± {short(spectrum.error, digits=2)}), "
        f"trace = {trace}."
    )
    if found.flat:
        return Stage("Criteria", "undefined", "no curvature", f"{ends} Nothing leaves the zero band.", "lhexplore")
    value = (
        f"C_t = {_with(found.ct, found.interval)}, K_H = {_with(found.kh, found.kh_interval)} "
        f"({found.kh_basis}, n = {found.exponent:g})"
    )
    text = f"{ends} The formulas are those of the authors' code, the intervals lhexplore's."
    return Stage("Criteria", "computed", value, text, "authors' code")


def gate(found: Hesd, *, said: Sequence[str]) -> Stage:
    """The type; ``said`` is what stands elsewhere."""
    why = " ".join(reason for reason in found.reasons if reason not in said)
    if found.type == "MP" and found.psd:
        return Stage("Gate", "not informative", found.word, why, "lhexplore")
    if found.type == "MP":
        return Stage("Gate", "pass", found.word, why, "authors' code")
    if found.type == "MN":
        return Stage("Gate", "stop", found.word, f"Criteria not applicable. {why}", "authors' code")
    return Stage("Gate", "undecided", found.word, why, "lhexplore")


def collapse(found: Hesd, scale: QuasiSingular) -> Stage:
    """Whether the scale has collapsed."""
    name = "Quasi-singular flag"
    ratios = {"its largest value so far": scale.own, "that on held-out data": scale.gap}
    value = "; ".join(f"λmax is {short(x, digits=2)} of {what}" for what, x in ratios.items() if not math.isnan(x))
    if not value:
        text = "There is no earlier snapshot and no held-out spectrum to compare with."
        return Stage(name, "not known", "–", text, "heuristic")
    text = " ".join(scale.reasons) or "The scale has not collapsed, or the training loss is not small."
    return Stage(name, "raised" if found.quasi_singular else "not raised", value, text, "heuristic")


def level(found: Hesd, beside: Hesd | None, limits: Thresholds) -> Stage:
    """Good, moderate or poor, behind the gate only."""
    name = "Absolute reading"
    if found.type != "MP" or found.psd:
        return Stage(name, "left out", "–", "It is read behind the gate only.", "heuristic")
    best, worst = (absolute(-found.interval[1 - end], found.kh_interval[end], limits) for end in (0, 1))
    reading = best if best == worst else "undecided"
    numbers = f"r_e = {short(found.re)}, K_H = {short(found.kh)}"
    value = numbers if best == worst else f"{numbers}: between {best} and {worst}"
    text = (
        f"Good: r_e below {limits.good_re:g} and K_H below {limits.good_kh:g}; moderate: K_H below "
        f"{limits.moderate_kh:g}; limits to be edited. "
    )
    if beside is None:
        text += "Low values on training data alone prove nothing: memorised labels give them, too. Add held-out data."
    elif beside.type == "MP" and not beside.psd:
        there = absolute(beside.re, beside.kh, limits)
        text += f"On held-out data C_t = {_with(beside.ct, beside.interval)}, K_H = {short(beside.kh)}: {there}."
    else:
        text += f"The held-out spectrum is {beside.word}: it is not read."
    return Stage(name, reading, value, text, "heuristic")


def following(found: Hesd) -> Stage:
    """What to compare next."""
    name = "Compare next"
    if found.type == "MP" and not found.psd:
        text = (
            "The same network on other data: that changes of K_H and C_t go with those of accuracy is what is claimed "
            "of them (arXiv 2412.10146). Then, as lhexplore adds, the rank correlation over several pairs, and the "
            "snapshots among each other."
        )
        return Stage(name, "go on", "ΔK_H, ΔC_t, Δaccuracy", text, "lhexplore")
    if found.type == "MP":
        return Stage(name, "go on", "whole network", "Read the Hessian of the whole network instead.", "lhexplore")
    if found.type == "MN":
        text = "Rule out the plain causes, likely ones first; then look at how the gradients were changed in training."
        return Stage(name, "stop", "plain causes", text, "lhexplore")
    return Stage(name, "stop", "–", "Nothing, until a type can be named: see the gate.", "lhexplore")


def _with(value: float, interval: tuple[float, float]) -> str:
    low, high = map(short, interval)
    if low == high:  # as far as it is written
        return short(value)
    return f"{short(value)} ({low} to {high})"
