"""The limits of the rules, in one frozen object: change some with ``dataclasses.replace`` or by name."""

import math
from dataclasses import dataclass, fields

from ..errors import SettingError, whole_number
from .arguments import is_number

COLLAPSE = 0.1  # heuristic: λmax fell below this share of its own past, or of the held-out λmax
SMALL_LOSS = 0.1  # heuristic, in nats: a mean cross-entropy below it says that the data are all but interpolated
_COUNTS = {"window": 2, "others": 1}  # fields that are whole numbers, and from where up
_SHARES = ("accuracy",)  # fields that are at most 1


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits of the rules. All are lhexplore's heuristics; where no unit is named they are ratios.

    A ratio is formed against the layer's own past, the median of the other layers, held-out data or a reference run.
    Limits of D1, D2, D3, D4 and D7 were set on the development half of lhexplore's study; how they do on the other half
    is in docs/diagnosis_study.md.
    """

    window: int = 3  # snapshots: as many in a row a rule needs; heuristic
    others: int = 2  # layers: as many others a rule that compares layers needs; heuristic
    rise: float = 1.2  # D1: held-out loss of its lowest so far; heuristic
    flat_loss: float = 0.08  # D3: training loss, largest less smallest over the window, of their mean; heuristic
    small_loss: float = SMALL_LOSS  # D2, D3, HESD: in nats, used only while no earlier loss is known; heuristic
    small_loss_ratio: float = 0.05  # D2, D3: training loss of the largest one so far; heuristic
    accuracy: float = 0.98  # D2: share of training examples, from here on the data count as fitted; heuristic
    reference: float = 2.0  # D2: trace of the reference run's at equal training loss; heuristic
    learning: float = 0.6  # D2: training loss of the largest one so far, from here down the runs compare; heuristic
    comparable: float = 2.0  # D2: factor by which the training loss may be below any of the reference; heuristic
    worse: float = 1.25  # D2: held-out loss of that of the first snapshot; heuristic
    kept: float = 0.1  # D2: trace of its own largest so far, for the held-out loss to count; heuristic
    grown: float = 2.0  # D3: λmax per loss of that of the first snapshot; heuristic
    headroom: float = 5e-4  # D3: share of the training loss that one step along a gradient could take off; heuristic
    low: float = 0.1  # D4: numerical rank of the layer's size; twice that, of what the data allow; heuristic
    faint: float = 1e-4  # D4: mean |λ| of that of the most curved layer; heuristic
    alive: float = 0.1  # D4: gradient per √parameter of the other layers', which makes a warning a note; heuristic
    condition: float = 10.0  # D5: percentile condition and peakedness of the other layers'; heuristic
    saddle: float = 0.1  # D6: |λmin| of λmax; heuristic
    gradient: float = 0.1  # D6: gradient norm of its own largest so far; heuristic
    collapse: float = COLLAPSE  # D7: λmax of its own largest so far, or of held-out data; heuristic
    vanishing: float = 0.0015  # D7, quasi-singular: training loss of the largest one so far; heuristic
    edge: float = 2.0  # D8: learning rate × λmax; the classical limit of plain gradient descent on a quadratic
    asymmetry: float = 1e-4  # D9: ‖H − Hᵀ‖ of ‖H‖ that is worth a word; heuristic
    unresolved: float = 1e-3  # D9: error of the ends of the largest |λ| that is worth a word; heuristic
    trained: float = 0.5  # HESD: training loss of the largest so far, from here down a run counts as trained; heuristic
    floor: float = 0.0  # HESD: in the unit of the eigenvalues; no type is named if the largest |λ| is below; heuristic
    good_re: float = 0.1  # HESD: r_e below it reads as good; heuristic
    good_kh: float = 0.5  # HESD: K_H below it reads as good; heuristic
    moderate_kh: float = 1.0  # HESD: K_H below it reads as moderate; heuristic

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (is_number(value) and math.isfinite(value) and value >= 0):
                raise SettingError(f"Threshold {entry.name} must be finite and not negative, got {value!r}.")
            if entry.name in _SHARES and value > 1:
                raise SettingError(f"Threshold {entry.name} is a share and at most 1, got {value!r}.")
        for name, least in _COUNTS.items():
            whole_number(f"Threshold {name}", getattr(self, name), least=least)
