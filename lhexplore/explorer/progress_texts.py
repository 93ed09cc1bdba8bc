"""Says what is going on, how far it is, what it will cost and what went wrong."""

from math import nan
from typing import Any

from ..jobs.progress import clock
from .computing import Computing
from .escape import plain
from .known import words
from .state import Cell, Selection
from .status import pace_words

LONG = 1000  # characters of a message on screen
CLOSED = "The session was closed. What is known stays on screen."


def status_words(computing: Computing) -> str:
    """Say what is going on."""
    done, failed, total = computing.count()
    if computing.closed:
        return CLOSED
    if computing.busy:
        return "Computing." if computing.sweeping else "Computing what you look at."
    if done + failed < total:
        return "Stopped. Look at something missing to compute it, or press Compute for all."
    if failed:
        return f"{done}/{total} spectra · {failed} could not be computed"
    return f"{total}/{total} spectra · all known"


def problem_words(computing: Computing, looking: Selection) -> str:
    """Say what went wrong: first with what is looked at, then in general, then elsewhere."""
    failures = computing.known.failures()
    if looking.cell in failures:
        return _failed(looking.cell, failures[looking.cell], looking)
    if computing.trouble:
        return plain(computing.trouble, longest=LONG)
    if not failures:
        return ""
    cell, failure = next(iter(failures.items()))
    more = f" ({len(failures) - 1} more could not be computed.)" if len(failures) > 1 else ""
    return _failed(cell, failure, looking) + more


def progress_words(computing: Computing, looking: Selection) -> str:
    """Say how many spectra there are, how fast they come, and which is computed; empty when all is done.

    What nobody computes now is said with its cost.
    """
    pace = computing.pace
    done, failed, total = computing.count()
    if done + failed == total and not computing.busy:
        return ""  # the status says it
    current = computing.current
    where = "" if current is None else f"{plain(current.layer)} at {looking.places[current.snapshot]}"
    computed = pace.done if computing.busy else 0.0
    told: dict[str, Any] = {"seconds": pace.seconds, "computed": computed, "where": where}
    if computing.busy and computing.sweeping:
        left = pace.left(computing.missing(), price=computing.pricing.seconds)
        return pace_words(done + failed, total, **told, left=left)
    cost = "" if computing.closed else cost_words(computing)
    ahead = f"{total - done - failed} to go" + (f", {cost}" if cost else "")
    return pace_words(done + failed, total, **told, left=nan, ahead=ahead)


def cost_words(computing: Computing) -> str:
    """Say what computing all that is missing takes; empty where nothing is, or where the session cannot say."""
    missing, pricing = computing.missing(), computing.pricing
    if not missing:
        return ""
    if pricing.open(missing) and not computing.pace.measured:
        return "cost not known yet"
    seconds, mb = computing.pace.left(missing, price=pricing.seconds), pricing.mb(missing)
    time = f"about {clock(seconds)}" if seconds == seconds else ""
    size = "under 1 MB" if mb < 1 else f"up to {mb:,.0f} MB" if mb < 1000 else f"up to {mb / 1000:,.1f} GB"
    return ", ".join(part for part in (time, f"{size} of memory" if mb == mb else "") if part)


def _failed(cell: Cell, failure: Exception, looking: Selection) -> str:
    return plain(f"{cell.layer} at {looking.labels[cell.snapshot]}: {words(failure)}", longest=LONG)
