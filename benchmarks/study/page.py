"""The study in words and tables, and the sentence that stands beside each finding; both follow from the figures."""

from typing import Any

from .datasets import DEVELOPMENT, SET_ASIDE

Figures = dict[str, Any]
MEANING = {
    "D1": ("overfitting", "test loss at the end at least 1.1 times its lowest; test data are seen by no rule", "runs"),
    "D2": (
        "memorised labels",
        "50 or 100 % of the labels drawn at random, against clean ones, all fitted to 98 %",
        "runs",
    ),
    "D3": ("too narrow", "1 to 3 units a layer, loss flat at 5 times or more that of a wide network", "runs"),
    "D4": ("dead or underused layer", "90 % of units or inputs never active, or gradients below 1/1000", "layers"),
    "D7": ("quasi-singular", "cross-entropy below 1e-3 for at least 40 % of the training", "runs"),
}
GOALS = {"D2": 0.9, "D3": 0.8, "D4": 0.95}
FALSE_ALARMS = 0.05
EQUAL = "D2, held-out data, against clean runs that stopped at the same accuracy"
STRONGEST = 12
_SHARES = (("precision", "precision"), ("recall", "recall"), ("false alarms", "alarms"))


def record(rule: str, row: Figures) -> str:
    """How often a rule was right on the set-aside half, in a sentence."""
    return "".join(_record(rule, row))


def _record(rule: str, row: Figures) -> tuple[str, str]:
    right, total = row["hits"] + row["quiet"], sum(row[name] for name in ("hits", "false", "missed", "quiet"))
    return (
        f"right in {right} of {total} {MEANING[rule][2]} of lhexplore's study, on data sets set aside; ",
        f"{row['hits']} of {row['hits'] + row['false']} warnings were true, and "
        f"{row['hits']} of {row['hits'] + row['missed']} cases were found.",
    )


def records(found: Figures) -> str:
    """The source of lhexplore/diagnosis/rules/records.py."""
    rows = found["set_aside"]["rules"].items()
    sentences = "".join(
        f'    "{rule}": "{first}"\n    "{second}",\n' for rule, row in rows for first, second in [_record(rule, row)]
    )
    return (
        '"""How often each rule was right in lhexplore\'s own study, in a sentence; a rule that was not tried has none.'
        '\n\nWritten by `python benchmarks/diagnosis.py --write` from benchmarks/results/diagnosis.json.\n"""\n\n'
        f"RECORDS: dict[str, str] = {{\n{sentences}}}\n"
    )


def page(found: Figures) -> str:
    """The whole page."""
    final, tuned = found["set_aside"], found["development"]
    parts = [
        "# How often the rules are right",
        "Written by `python benchmarks/diagnosis.py --write`; every number is in `benchmarks/results/diagnosis.json`.",
        f"{final['runs'] + tuned['runs']} small networks were trained to a state that is known, and the rules were "
        "asked what they see. Forms and limits of the rules were set on one half of the data sets alone. The other "
        "half was set aside by name before any figure was looked at, and judged once, at the end. **The figures to go "
        "by are those of the half set aside.**",
        f"- development: {', '.join(DEVELOPMENT)} ({tuned['runs']} trainings)\n"
        f"- set aside: {', '.join(SET_ASIDE)} ({final['runs']} trainings)",
        "Intervals (95 %) are bootstrap intervals: data sets are drawn again, each with all its runs. There are nine a "
        "half, so they are rough, and an interval of width 0 says only that all nine agreed.",
        "## Rules",
        _rules(final),
        "What counts as true:\n\n"
        + "\n".join(f"- {rule}, {name}: {truth}" for rule, (name, truth, _) in MEANING.items()),
        "Between clearly true and clearly not true there is a margin; runs (layers, for D4) inside it are not counted. "
        "D5, D6 and D8 only make notes and have no truth here; D9 states facts.",
        _goals(final) + " Where they were wrong: " + _wrong(final) + ".",
        _why(final),
        "The same on the development half, where the limits were set:",
        _rules(tuned),
        "## False alarms on healthy runs",
        _alarms(final, "set aside") + " " + _alarms(tuned, "development"),
        "Healthy means: clean labels, wide enough, test loss within 5 % of its lowest, training loss never below 1e-3; "
        "ReLU, tanh and GELU, SGD and AdamW, with and without layer norm, inputs standardised or not. Any heuristic "
        "warning at any snapshot counts.",
        "## Memorised labels: what curvature adds",
        _confusions("detector", final["memorisation"]),
        _lesson(final),
        "## HESD types",
        _types(final),
        _types_lesson(final),
        "## Metrics and the generalisation gap",
        "Rank correlation (Spearman) of each metric at the end of training, median over the layers, with the gap "
        "between test and training loss, over the runs on one data set; mean over data sets. The "
        f"{STRONGEST} strongest over clean runs, the training loss, which is no curvature, among them:",
        _gap(final),
        "Mind the first column: over all runs the gap is above all that between noise and clean labels. Mind the "
        "training loss in the second: curvature of a cross-entropy falls with it, and longer training widens the gap.",
        "## Limits",
        "- Multilayer perceptrons of at most some thousand parameters on data sets of at most 200 training examples, "
        "exact spectra in float64. Nothing here says that the same limits hold for large networks.\n"
        "- States are planted, so they are clear. Where a network is a little too narrow or a few labels are wrong, "
        "the rules have not been tried.\n"
        "- A squared error keeps its curvature at interpolation, so regressions are left out of D2 and D7. It ends at "
        "the noise in the targets, which curvature does not tell from a network too narrow: of regressions D3 says "
        "nothing, and they are left out of its row. A cross-entropy that ends where classes overlap may still be "
        "taken for a bottleneck, as noise is all that is left to it, too: how often was not tried.\n"
        "- The classes of `diabetes` and `friedman` are bins of a smooth target (of `diabetes` its linear fit): "
        "the raw target is mostly noise and a network that fits it has memorised it, clean labels or not.\n"
        f"- {final['not_computed'] + tuned['not_computed']} spectra could not be computed and are missing.",
        "Run it: `python benchmarks/diagnosis.py` (about 20 minutes on two cores; it goes on where it stopped, and "
        "once trainings are kept, trying other limits takes a minute). `--quick` tries a dozen runs.",
    ]
    return "\n\n".join(parts) + "\n"


def _rules(half: Figures) -> str:
    names = {rule: f"{rule} {what} ({unit})" for rule, (what, _, unit) in MEANING.items()}
    return _confusions("rule", {names[rule]: row for rule, row in half["rules"].items()})


def _confusions(title: str, rows: dict[str, Figures]) -> str:
    heads = [title, "warned, true", "warned, not true", "missed", "quiet, rightly", *(h for h, _ in _SHARES)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *(f"| {name} | {_row(row)} |" for name, row in rows.items())])


def _row(row: Figures) -> str:
    counts = [str(row[name]) for name in ("hits", "false", "missed", "quiet")]
    return " | ".join([*counts, *(number(row[name]) for _, name in _SHARES)])


def number(values: list[float | None]) -> str:
    """A value with its interval."""
    value, low, high = values
    if value is None:
        return "–"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _goals(half: Figures) -> str:
    rows = half["rules"] | {"D2": half["memorisation"][EQUAL]}
    words = []
    for rule, goal in GOALS.items():
        reached = all((rows[rule][name][0] or 0) >= goal for name in ("precision", "recall"))
        words.append(f"{rule} was to reach {goal:g} in precision and recall and {'does' if reached else 'does not'}")
    return (
        f"{'; '.join(words)}. D2's goal is that against clean runs that stopped at the same training accuracy, where "
        f"it has {_both(rows['D2'])}; the row above is stricter and has over-trained clean runs in it."
    )


def _why(half: Figures) -> str:
    words = []
    if "hastie" in half["rules"]["D2"]["wrong_in"]:
        words.append(
            "`hastie`, ten dimensions and 180 examples, cannot be learnt from so few: its clean labels were learnt by "
            "heart as well, and held-out data look the same for both."
        )
    if "D4" not in half["false_alarms"]["by_rule"]:
        words.append(
            "None of D4's false warnings is in a healthy network: they are in layers beside planted ones, which see "
            "the data through one unit or none."
        )
    return " ".join(words)


def _wrong(half: Figures) -> str:
    places = ((rule, row["wrong_in"]) for rule, row in half["rules"].items())
    return "; ".join(f"{rule} " + ", ".join(f"{d} {n}" for d, n in where.items()) for rule, where in places if where)


def _alarms(half: Figures, name: str) -> str:
    alarms = half["false_alarms"]
    rules = ", ".join(f"{rule} {times}" for rule, times in alarms["by_rule"].items()) or "none"
    goal = "within" if (alarms["rate"][0] or 0) <= FALSE_ALARMS else "above"
    return (
        f"Of {alarms['healthy']} healthy runs ({name}), {alarms['alarmed']} had a warning: {number(alarms['rate'])}, "
        f"{goal} the {FALSE_ALARMS:.0%} aimed at (by rule: {rules})."
    )


def _lesson(half: Figures) -> str:
    rows = half["memorisation"]
    own = rows["D2, held-out data and no reference run"]
    best = max((row for name, row in rows.items() if name.startswith("plain")), key=_sum)
    adds = "more" if _sum(own) > _sum(best) else "no more" if _sum(own) == _sum(best) else "less"
    return (
        f"With held-out data of the same kind, D2 tells {adds} than the better of the two plain detectors, which need "
        f"no curvature. Without them, the trace against a clean run of the same network has "
        f"{_both(rows['D2, reference run and no held-out data'])}. The trace of the run alone has "
        f"{_both(rows['trace of the run alone rises late'])}: too little, so without a witness D2 stays silent and "
        "says what it lacks. The trace monitor with one clean run as its reference has "
        f"{_both(rows['trace monitor (CUSUM), one clean run as its reference'])}; it compares by step, and clean runs "
        "differ in their pace."
    )


def _sum(row: Figures) -> float:
    return float((row["precision"][0] or 0) + (row["recall"][0] or 0))


def _both(row: Figures) -> str:
    return f"precision {number(row['precision'])} and recall {number(row['recall'])}"


def _types(half: Figures) -> str:
    names = sorted({name for counts in half["hesd"].values() for name in counts})
    lines = [f"| state, whole network at the end | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for state, counts in half["hesd"].items():
        lines.append(f"| {state} | {' | '.join(str(counts.get(name, 0)) for name in names)} |")
    return "\n".join(lines)


def _types_lesson(half: Figures) -> str:
    manipulated = {state: counts for state, counts in half["hesd"].items() if state.startswith("manipulated")}
    negative = sum(counts.get("MN", 0) for counts in manipulated.values())
    total = sum(sum(counts.values()) for counts in manipulated.values())
    return (
        "MN is reported for gradients that are clipped or averaged. Here it was seen in "
        f"{negative} of {total} such runs at their end. It is frequent before training, so it warns only of a whole "
        "network whose training loss has fallen to half."
    )


def _gap(half: Figures) -> str:
    known = [(name, row) for name, row in half["gap"].items() if row["clean"][0] is not None]
    known.sort(key=lambda pair: -abs(pair[1]["clean"][0]))
    lines = ["| metric | all runs | clean runs |", "|---|---|---|"]
    lines += [f"| {name} | {number(row['all'])} | {number(row['clean'])} |" for name, row in known[:STRONGEST]]
    return "\n".join(lines)
