"""Makes the twin of a view or of a page from what is known now; nothing is computed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from .. import figures
from ..diagnosis.number_texts import counted
from .escape import plain
from .progress_texts import cost_words, problem_words
from .state import Selection, requests
from .twin import Twin
from .twin_compare import compare_picture
from .twin_picture import drawn, stacked
from .twin_run import KnownRun
from .twin_tables import TABLES
from .view_texts import VIEW_TEXTS

WIDTH = "page"
EMPTY = "Nothing is drawn yet."
LIVELY = ("Progress",)  # says nothing on a page that nobody computes
CODE = ("Provenance",)
LONG = 2000  # characters of what a figure says


def twin_of_view(view: Any, *, picture: bool) -> Twin:
    """A view of the kit, or one of your own: whose figure and line of text are called ``pane`` or ``sentence``."""
    looking, name = view.hub.look(), type(view).__name__
    title = VIEW_TEXTS[name].title if name in VIEW_TEXTS else name
    table = TABLES[name](view, looking) if name in TABLES else None
    draw = PICTURES.get(name) if picture and looking.labels else None
    still, missing = (None, "") if draw is None else drawn(lambda: draw(view, looking, KnownRun(view.hub, looking)))
    told = SENTENCES[name](view, looking) if name in SENTENCES else _told(view, looking)
    return Twin(title, plain(told, longest=LONG) or EMPTY, table, still, missing, code=name in CODE)


def twin_of_page(page: Any, *, picture: bool) -> Twin:
    """The views of a page, their pictures one below the other."""
    parts = tuple(view.twin(picture=picture) for view in page.views if type(view).__name__ not in LIVELY)
    hubs = dict.fromkeys(view.hub for view in page.views)
    runs = [f"{plain(hub.session.description, longest=200)}. {_where(hub.look(), hub)}" for hub in hubs]
    missing = next((part.missing for part in parts if part.missing), "")
    page_of = "One run" if len(runs) == 1 else f"{len(runs)} runs side by side"
    table = next((part.table for part in parts if part.table is not None), None)
    still = stacked([part.picture for part in parts if part.picture is not None])
    alone = tuple(replace(part, picture=None, missing="") for part in parts)  # the page has the pictures
    return Twin(f"{page_of}: spectra over training", " ".join(runs), table, still, missing, alone)


def _where(looking: Selection, hub: Any) -> str:
    """What is looked at, and what was not known yet."""
    done, _, total = hub.computing.count()
    here = f"On show: {plain(looking.layer)}" + (f" at {looking.places[looking.snapshot]}" if looking.labels else "")
    return f"{here}." + (f" {done} of {total} spectra were known." if done < total else "")


def _told(view: Any, looking: Selection) -> str:
    """What the figure says of the snapshot on show."""
    line, pane = getattr(view, "sentence", None), getattr(view, "pane", None)
    texts = json.loads(line.texts if line is not None else "[]" if pane is None else pane.sentences)
    return str(texts[min(looking.snapshot, len(texts) - 1)]) if texts else ""


# ---- sentences of views without a figure


def _layers(view: Any, looking: Selection) -> str:
    usable = [entry for entry in looking.shown if entry.usable and entry.key is not None]
    skipped = sum(not entry.usable for entry in looking.shown)
    more = f"; {skipped} have no spectrum" if skipped else ""
    return f"{counted(len(usable), 'layer')}{more}. {_where(looking, view.hub)}"


def _badge(view: Any, looking: Selection) -> str:
    cards = json.loads(view.card.texts)
    if looking.snapshot >= len(cards):
        return ""
    card = cards[looking.snapshot]
    badge = f"{card['badge']['symbol']} {card['badge']['word']}." if card["badge"] else ""
    found = " ".join(f"{f['level']} {f['rule']}: {f['title']}." for f in card["findings"])
    return " ".join(
        filter(None, [f"{card['title']}:", badge, card["method"], *card["reasons"], card["message"], found])
    )


def _findings(view: Any, _looking: Selection) -> str:
    run = view.hub.facts.located.run
    if run is None:
        return "The rules have not judged yet."
    silent = f" {counted(len(run.silent), 'rule')} could not judge." if run.silent else ""
    return f"{counted(len(run.findings), 'finding')} in what is known, most urgent first.{silent}"


def _progress(view: Any, looking: Selection) -> str:
    computing = view.hub.computing
    done, failed, total = computing.count()
    lost = f"; {failed} could not be computed" if failed else ""
    cost = cost_words(computing)
    rest = f" To compute the rest: {cost}." if cost else ""
    return f"{done} of {total} spectra were known{lost}.{rest} {problem_words(computing, looking)}"


def _code(_view: Any, looking: Selection) -> str:
    calls = requests(looking.key(looking.layer), looking.labels, looking.split)
    return str(calls[looking.snapshot]) if calls else ""


SENTENCES: Mapping[str, Callable[[Any, Selection], str]] = MappingProxyType(
    {"Findings": _findings, "HesdBadge": _badge, "LayerPicker": _layers, "Progress": _progress, "Provenance": _code}
)


# ---- pictures


def _spectrum(view: Any, looking: Selection, run: KnownRun) -> figures.Picture:
    known, kind, scale = view.hub.computing.known, looking.view, looking.scale
    ggn = [found for cell in looking.cells if cell.curvature and (found := known.best(cell)) is not None]
    how: Any = {"kind": kind, "scale": scale, "held_out": looking.split == "both", "width": WIDTH}
    over = [*(looking.key(name) for name in looking.over), *ggn]
    return figures.spectrum(
        run, looking.key(looking.layer), run.label, overlay=over, findings=run.findings() is not None, **how
    )


def _evolution(view: Any, looking: Selection, run: KnownRun) -> figures.Picture:
    scale: Any = "linear" if looking.scale == "linear" else "symlog"
    return figures.evolution(
        run, looking.key(looking.layer), kind=view.shape, scale=scale, split=looking.main, width=WIDTH
    )


def _parameters(_view: Any, looking: Selection, run: KnownRun) -> figures.Picture:
    return figures.metric(run, "gradient_norm", [looking.key(looking.layer)], split=looking.main, width=WIDTH)


PICTURES: Mapping[str, Callable[[Any, Selection, KnownRun], figures.Picture]] = MappingProxyType(
    {
        "ComparePlot": compare_picture,
        "Evolution": _evolution,
        "HeatMap": lambda _view, looking, run: figures.heat_map(run, looking.metric, split=looking.main, width=WIDTH),
        "HesdMap": lambda view, looking, run: figures.hesd_map(run, view.entry(looking).key, width=WIDTH),
        "MetricPlot": lambda view, looking, run: figures.metric(
            run, view.quantity, [entry.key for entry in view.rows], split=looking.main, width=WIDTH
        ),
        "ParameterPlot": _parameters,
        "Scrubber": lambda _view, _looking, run: figures.losses(run, width=WIDTH),
        "SpectrumPlot": _spectrum,
    }
)
