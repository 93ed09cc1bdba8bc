"""Says what is going on, how far it is and what went wrong."""

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
    """Say how many spectra there are, how fast they come, and which is computed; empty when all is done."""
    pace = computing.pace
    done, failed, total = computing.count()
    if done + failed == total and not computing.busy:
        return ""  # the status says it
    current = computing.current
    where = "" if current is None else f"{plain(current.layer)} at {looking.places[current.snapshot]}"
    left = pace.left(computing.missing()) if computing.busy else float("nan")
    computed = pace.done if computing.busy else 0.0
    return pace_words(done + failed, total, seconds=pace.seconds, computed=computed, left=left, where=where)


def _failed(cell: Cell, failure: Exception, looking: Selection) -> str:
    return plain(f"{cell.layer} at {looking.labels[cell.snapshot]}: {words(failure)}", longest=LONG)
