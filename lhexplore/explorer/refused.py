"""What could not be computed is said to be so where a figure has nothing: nobody is to wait for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..diagnosis.number_texts import counted
from .frames import Plot

NOT_YET, NEVER = "not computed yet", "could not be computed"
Reasons = Sequence[str]  # by snapshot; empty where nothing failed


def refused(plot: Plot, reasons: Reasons, over: Mapping[str, Reasons] | None = None) -> Plot:
    """A figure of one block whose title and sentences say why it has nothing to show.

    Args:
        plot: the figure.
        reasons: why the block has no spectrum.
        over: likewise of what lies over it, by what that is called in a sentence.
    """
    if not any(map(any, (reasons, *(over or {}).values()))):
        return plot
    return replace(
        plot,
        titles=tuple(
            title.replace(NOT_YET, NEVER) if why else title for title, why in zip(plot.titles, reasons, strict=True)
        ),
        sentences=tuple(_sentence(text, k, reasons, over or {}) for k, text in enumerate(plot.sentences)),
    )


def refused_of_many(plot: Plot, reasons: Sequence[Reasons]) -> Plot:
    """A figure of several layers whose sentences say how many of them could not be had; ``reasons`` by layer."""
    columns = [[why for why in column if why] for column in zip(*reasons, strict=True)]
    if not any(columns):
        return plot
    texts = [
        f"{text.replace('is computed yet', 'is computed')} {len(lost)} of {counted(len(reasons), 'layer')} {NEVER}: "
        f"{lost[0]}"
        if lost
        else text
        for text, lost in zip(plot.sentences, columns, strict=True)
    ]
    return replace(plot, sentences=tuple(texts))


def _sentence(text: str, k: int, reasons: Reasons, over: Mapping[str, Reasons]) -> str:
    if reasons[k]:
        text = text.replace(f"is {NOT_YET}.", f"{NEVER}: {reasons[k]}", 1)
    for start, whys in over.items():
        if whys[k]:
            text = text.replace(f"{start}: {NOT_YET}.", f"{start}: {NEVER}.")
    return text
