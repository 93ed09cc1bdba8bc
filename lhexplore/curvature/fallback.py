"""Out of memory is no end: the same computation again in smaller pieces, until it fits or nothing is left to try.

The trap: an exception keeps its traceback, the traceback its frames, and they the graphs and bases that filled the
memory. So nothing is tried again inside an ``except`` block, and what is kept of a failure is its text.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import torch

from ..errors import TooLargeError
from ..spectrum import Step
from .memory import empty, free_bytes, out_of_memory, requested
from .operators import GRAPH_BYTES
from .planner import KEPT
from .replica import Replica
from .smaller import halved, largest_batch, on_cpu


@dataclass(frozen=True, slots=True)
class Room:
    """What an attempt has to keep to.

    Args:
        replica: the loss, in micro-batches of a size that should fit, on the device to use.
        chunk: most columns or probes to multiply at once.
        graph_bytes: of gradient graphs kept between products; one micro-batch's is kept in any case.
        host_basis: whether basis vectors are kept in main memory.
    """

    replica: Replica
    chunk: int = 1
    graph_bytes: int = GRAPH_BYTES
    host_basis: bool = False

    def words(self, first: "Room") -> str:
        """Say how this differs from the first attempt."""
        largest, before = largest_batch(self.replica), largest_batch(first.replica)
        said = (
            (self.chunk < first.chunk, f"with {self.chunk} vector{'s' * (self.chunk > 1)} at a time"),
            (largest < before, f"in micro-batches of {largest} example{'s' * (largest > 1)}"),
            (self.graph_bytes < first.graph_bytes and largest == before, "with every gradient graph built anew"),
            (self.host_basis, "with the basis in main memory"),
            (self.replica.device != first.replica.device, f"on the {self.replica.device.type.upper()}"),
        )
        return ", ".join(words for applies, words in said if applies) or "as planned"


Attempt = Callable[[Room], Generator[Step, None, None]]


def ladder(replica: Replica, *, chunk: int = 1) -> Iterator[Room]:
    """Yield ever smaller ways to compute the same: fewer vectors at once, smaller micro-batches, the host's memory.

    Each is made only when it is asked for. None of them changes a result beyond rounding: micro-batches are weighted.
    Smaller micro-batches save nothing as long as all of their graphs are kept, so from there on only one is.
    """
    room = Room(replica, max(1, chunk))
    yield room
    while room.chunk > 1:
        room = replace(room, chunk=room.chunk // 2)
        yield room
    room = replace(room, graph_bytes=0)
    if replica.count > 1:
        yield room
    while (smaller := _made(partial(halved, room.replica, known=room.replica is not replica))) is not None:
        room = replace(room, replica=smaller)
        yield room
    if replica.device.type != "cpu":
        yield replace(room, host_basis=True)
        if (moved := _made(partial(on_cpu, replica))) is not None:
            yield from ladder(moved, chunk=chunk)


def with_less_memory(attempt: Attempt, rooms: Iterator[Room], *, vector_bytes: int = 0) -> Iterator[Step]:
    """Drive ``attempt`` in the first of ``rooms``, and from the beginning in the next one each time memory runs out.

    Each new beginning is a step of its own with nothing done, and values say in a note what was given up for them.

    Args:
        attempt: a generator of steps that keeps to a `Room`.
        rooms: such as `ladder` yields.
        vector_bytes: of one vector of the block; a refusal can then say how many Lanczos steps would fit.

    Raises:
        TooLargeError: memory ran out in the last room too; what was tried, and what would fit.
    """
    tried, total, lacking = list[str](), 1, ""
    first: Room | None = None
    for room in rooms:
        first = first or room
        if tried:
            empty(first.replica.device)
            yield Step(0, total)
        note = f"Memory ran out, so this was computed {room.words(first)}: the same numbers." if tried else ""
        with closing(attempt(room)) as steps:
            while True:
                step, lacking = _next(steps)
                if lacking:
                    break
                if step is None:
                    return
                total = step.total
                yield _noted(step, note)
        tried.append(room.words(first))
    assert first is not None  # noqa: S101  # a ladder has at least one room
    empty(first.replica.device)
    raise _refusal(tried, lacking, vector_bytes, first.replica.device)


def _next(steps: Generator[Step, None, None]) -> tuple[Step | None, str]:
    """The next step (None at the end), and what was lacking where there is none because memory ran out."""
    try:
        return next(steps, None), ""
    except Exception as error:
        cause = out_of_memory(error)
        if cause is None:
            raise
        text = str(cause)
    return None, text or "no more is known"


def _made(make: Callable[[], Replica | None]) -> Replica | None:
    """A smaller replica, unless making it takes more memory than there is."""
    try:
        return make()
    except Exception as error:
        if out_of_memory(error) is None:
            raise
    return None


def _noted(step: Step, note: str) -> Step:
    if not note or step.spectrum is None:
        return step
    return replace(step, spectrum=replace(step.spectrum, notes=(*step.spectrum.notes, note)))


def _refusal(tried: list[str], lacking: str, vector_bytes: int, device: torch.device) -> TooLargeError:
    asked, free = requested(lacking), free_bytes(device)
    fit = free // vector_bytes - KEPT if vector_bytes else 0
    sentences = [f"Memory ran out in every way this was tried: {'; '.join(tried)}."]
    if asked:
        sentences.append(f"The last one asked for {asked / 2**20:,.1f} MiB more.")
    if free:
        sentences.append(f"{free / 2**20:,.0f} MiB are free now.")
    if fit > 0:
        sentences.append(f"About {fit:,} Lanczos steps would fit (not comparable with spectra of other step numbers).")
    sentences.append("Choose a smaller block, free memory, or use a machine with more of it.")
    return TooLargeError(" ".join(sentences))
