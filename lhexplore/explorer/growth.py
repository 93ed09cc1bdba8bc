"""What happens on the screen when training writes another snapshot: it is added, and what is looked at stays."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UnknownSnapshotError
from .choices import Offer
from .computing import Computing
from .escape import plain
from .facts import Facts
from .numbered import Numbered
from .places import place, step_words
from .protocols import SnapshotLike
from .weak import weakly

if TYPE_CHECKING:
    from .hub import Hub

LONGEST = 300  # characters of why one cannot be used


@dataclass(frozen=True, slots=True)
class Moves:
    """Where the snapshots of before stand now, by position."""

    places: Mapping[int, int]  # of all that can still be asked for
    kept: Mapping[int, int]  # of those whose weights are the same

    @classmethod
    def between(cls, before: Offer, now: Offer, snapshots: Any) -> "Moves":
        """``snapshots`` are those of ``now``, by label and by other names."""
        places: dict[int, int] = {}
        for k, row in enumerate(before.rows):
            try:
                places[k] = snapshots.index(row.label)
            except UnknownSnapshotError:
                continue
        return cls(places, {k: at for k, at in places.items() if now.rows[at] is before.rows[k]})

    @property
    def appended(self) -> bool:
        """Whether all stand where they stood."""
        return all(k == at for k, at in self.kept.items()) and len(self.kept) == len(self.places)


@dataclass(slots=True)
class News:
    """The snapshots that came since the person last looked."""

    unseen: list[SnapshotLike] = field(default_factory=list)
    bad: SnapshotLike | None = None
    late: dict[str, SnapshotLike] = field(default_factory=dict)  # all that came since the views were opened
    room: str = ""  # for which of them the axes of the spectrum had to reach further, in words

    def add(self, before: Sequence[SnapshotLike], now: Sequence[SnapshotLike]) -> None:
        """Note what is in ``now`` alone."""
        known = {row.label for row in before}
        new = [row for row in now if row.label not in known]
        self.late |= {row.label: row for row in new}
        self.unseen += [row for row in new if row.status == "ok"]
        self.bad = next((row for row in new if row.status != "ok"), self.bad)

    def see(self, row: SnapshotLike, *, last: bool) -> None:
        """Somebody looks at ``row``; who looks at the last one has seen them all."""
        self.room = ""
        self.unseen = [] if last else [one for one in self.unseen if one.label != row.label]

    def widened(self, labels: Set[str]) -> bool:
        """Note that axes reach further since these were drawn; whether they came late, so that it has to be said."""
        if not labels or not labels <= self.late.keys():
            return False
        last = [row for label, row in self.late.items() if label in labels][-1]
        self.room = f"The axes of the spectrum reach further now, to hold {step_words(last)}."
        return True

    @property
    def words(self) -> str:
        """How many came, up to where, whether axes moved for them, and which cannot be used."""
        count, texts = len(self.unseen), []
        if count:
            last = place(self.unseen[-1])
            texts.append(f"1 new snapshot: {last}." if count == 1 else f"{count} new snapshots, the last: {last}.")
        if self.room:
            texts.append(self.room)
        if self.bad is not None:
            texts.append(plain(f"{self.bad.label} cannot be used: {self.bad.reason}", longest=LONGEST))
        return " ".join(texts)


def grow(hub: "Hub") -> None:
    """Show what training has written since; what is looked at stays, wherever it stands now."""
    before, offer = hub.offer, Offer.of(hub.session)
    hub.offer = offer
    moves = Moves.between(before, offer, hub.session.snapshots)
    here, last = moves.places.get(hub.snapshot, 0), len(offer.labels) - 1
    if hub.follow and hub.snapshot >= len(before.labels) - 1:
        here = max((k for k, row in enumerate(offer.rows) if row.status == "ok"), default=here)
    _renumber(hub, moves)
    hub.clock.max = max(hub.clock.max, last)  # for a moment it takes both the place of before and that of now
    hub.snapshot = here
    hub.clock.max, hub.clock.disabled = max(last, 0), last < 1
    hub.news.add(before.rows, offer.rows)
    if here == last and offer.rows:
        hub.news.see(offer.rows[here], last=True)
    hub.labels = offer.labels  # last: who hears of it finds all as it is now


def _renumber(hub: "Hub", moves: Moves) -> None:
    located, labels = hub.facts.located, hub.offer.labels
    if moves.appended:
        hub.source.append(labels)
    else:  # what is under way would answer for other places: it begins anew, and what is known is kept
        before, hub.source = hub.computing, Numbered(hub.session, labels)
        hub.computing = Computing(hub.source, look=hub.look, changed=weakly(hub.changed))
        hub.computing.go_on_from(before, moves.kept)
        for view in hub.audience.views:
            view.moved(moves.kept)
    hub.facts = Facts(hub.source, hub.computing)
    hub.facts.located = located


def waiting_words(session: Any) -> str:
    """What is said while there is no snapshot."""
    return plain(f"Waiting for the first snapshot in {session.snapshots.where}.", longest=LONGEST)
