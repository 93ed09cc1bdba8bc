"""The HESD methodology in seven steps, each with its verdict, its number and what it rests on.

The order (spectrum, C_t, type, and only then the criteria) and the constants −0.6 and m = 100 are those of the authors'
public code (arXiv 2412.10146 and 2504.17618); the other limits and the wording of the steps are lhexplore's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from types import MappingProxyType

from ...errors import SettingError
from ...spectrum import WHOLE, Spectrum
from ..arguments import a_spectrum, named_numbers, spectra
from ..laid_out import as_html
from ..losses import small, train_loss
from ..texts import LOCALISED
from ..thresholds import Thresholds
from . import stages
from .causes import Cause, Context, mundane_causes
from .hesd import Hesd, hesd
from .quasi_singular import quasi_singular
from .stages import Stage

_NOTHING: Mapping[str, float] = MappingProxyType({})
WIDTH = 110  # of a line in a terminal
COLUMNS = ("step", "verdict", "value", "source", "what it says")


@dataclass(frozen=True, slots=True)
class Methodology:
    """One spectrum read step by step. ``causes`` are judged where the type is mainly negative."""

    layer: str | None  # None for the whole network
    snapshot: str
    hesd: Hesd
    held_out: Hesd | None
    stages: tuple[Stage, ...]
    causes: tuple[Cause, ...]

    def __getitem__(self, name: str) -> Stage:
        """Look up a step by its name.

        Raises:
            SettingError: there is none of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SettingError(f"No step {name!r}; there are {', '.join(repr(stage.name) for stage in self.stages)}.")

    def __repr__(self) -> str:
        lines = [self._title]
        for name, verdict, value, source, text in self._rows:
            lines += [
                f"{name}: {verdict} ({value}) [{source}]",
                fill(text, WIDTH, initial_indent="   ", subsequent_indent="   "),
            ]
        return "\n".join([*lines, *self._notes])

    def _repr_html_(self) -> str:
        return as_html(self._title, COLUMNS, self._rows, self._notes)

    @property
    def _title(self) -> str:
        where = f"the {WHOLE}" if self.layer is None else repr(self.layer)
        return f"HESD of {where} at {self.snapshot!r}: {self.hesd.symbol} {self.hesd.word}"

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (f"{number}. {s.name}", s.verdict, s.value, s.source, s.text) for number, s in enumerate(self.stages, 1)
        ]

    @property
    def _notes(self) -> tuple[str, ...]:
        return ("Plain causes:", *map(str, self.causes)) if self.causes else ()


def methodology(
    spectrum: Spectrum,
    *,
    held_out: Spectrum | None = None,
    history: Sequence[Spectrum] = (),
    losses: Mapping[str, float] = _NOTHING,
    past_losses: Sequence[Mapping[str, float]] = (),
    context: Context = Context(),
    thresholds: Thresholds = Thresholds(),
) -> Methodology:
    """Read a spectrum in the seven steps of the methodology; computes nothing but the reading.

    Args:
        spectrum: of the whole network, for which the criteria were made, or of a layer.
        held_out: the same weights on held-out data.
        history: the same block at earlier snapshots, oldest first.
        losses: loss and accuracy at this snapshot, as recorded or evaluated.
        past_losses: the same for every snapshot of ``history``, or nothing.
        context: what is known of network, data and snapshot.
        thresholds: the limits of the absolute reading and of the quasi-singular flag.

    Raises:
        SettingError: for what is no spectrum or no list of them, or losses that are no numbers.
        ComparisonError: if a spectrum of ``history`` is not of the same block, data, method and steps at another
            snapshot, or ``held_out`` not of the same block and weights on other data; if one is preliminary.
    """
    a_spectrum(spectrum)
    a_spectrum(held_out, "held_out", optional=True)
    spectra(history, "history")
    named_numbers(losses, "losses")
    for i, row in enumerate(past_losses):
        named_numbers(row, f"past_losses[{i}]")
    limit = small(losses, past_losses, ratio=thresholds.vanishing, absolute=thresholds.small_loss)
    loss = train_loss(losses)
    scale = quasi_singular(
        spectrum, history=history, held_out=held_out, train_loss=loss, small_loss=limit, collapse=thresholds.collapse
    )
    found = hesd(
        spectrum,
        history=history,
        held_out=held_out,
        floor=thresholds.floor,
        train_loss=loss,
        small_loss=limit,
        collapse=thresholds.collapse,
        losses=losses,
        past_losses=past_losses,
        context=context,
    )
    beside = None if held_out is None else hesd(held_out, floor=thresholds.floor)
    negative = found.type == "MN"
    causes = mundane_causes(spectrum, losses=losses, past_losses=past_losses, context=context) if negative else ()
    steps = (
        stages.data(spectrum, context),
        stages.method(spectrum),
        stages.numbers(spectrum, found),
        stages.gate(found, said=(*map(str, causes), *scale.reasons, LOCALISED)),
        stages.collapse(found, scale),
        stages.level(found, beside, thresholds),
        stages.following(found),
    )
    return Methodology(spectrum.layer, spectrum.snapshot, found, beside, steps, causes)
