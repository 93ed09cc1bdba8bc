"""The limits of the rules, in one frozen object: change some with ``dataclasses.replace`` or by name."""

import math
from dataclasses import dataclass, fields

from ..errors import SettingError, whole_number
from .arguments import is_number
from .quasi_singular import COLLAPSE, SMALL_LOSS

_COUNTS = {"window": 2, "others": 1}  # fields that are whole numbers, and from where up
_SHARES = ("accuracy",)  # fields that are at most 1


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits of the rules. All are lhexplore's heuristics; where no unit is named they are ratios.

    A ratio is formed against the layer's own past, the median of the other layers, held-out data or a reference run.
    """

    window: int = 3  # snapshots: as many in a row a rule needs; heuristic
    others: int = 2  # layers: as many others a rule that compares layers needs; heuristic
    flat_loss: float = 0.01  # D3: training loss, largest less smallest over the window, of their mean; heuristic
    small_loss: float = SMALL_LOSS  # D2, D3, D7: in nats, used only while no earlier loss is known; heuristic
    small_loss_ratio: float = 0.1  # D2, D3, D7: training loss of the largest one so far; heuristic
    accuracy: float = 0.99  # D2: share of training examples, from here on the data count as fitted; heuristic
    reference: float = 3.0  # D2: trace of the reference run's; heuristic
    comparable: float = 2.0  # D2: training losses that differ by at most this factor compare; heuristic
    comparable_accuracy: float = 0.02  # D2: training accuracies that differ by at most this compare; heuristic
    high: float = 5.0  # D3: λmax of the other layers'; heuristic
    low: float = 0.1  # D4: rank and effective rank, each of what it can be, of the other layers'; heuristic
    alive: float = (
        0.1  # D4: gradient per root of a parameter of the other layers' that makes a warning a note; heuristic
    )
    condition: float = 10.0  # D5: percentile condition and peakedness of the other layers'; heuristic
    saddle: float = 0.1  # D6: |λmin| of λmax; heuristic
    gradient: float = 0.1  # D6: gradient norm of its own largest so far; heuristic
    collapse: float = COLLAPSE  # D7: λmax of its own largest so far, or of held-out data; heuristic
    edge: float = 2.0  # D8: learning rate × λmax; the classical limit of plain gradient descent on a quadratic
    asymmetry: float = 1e-4  # D9: ‖H − Hᵀ‖ of ‖H‖ that is worth a word; heuristic
    unresolved: float = 1e-3  # D9: error of the ends of the largest |λ| that is worth a word; heuristic
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
