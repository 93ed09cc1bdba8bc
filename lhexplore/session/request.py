"""What can be asked of a session, as a value: it prints as the line of code that asks for it again."""

from dataclasses import dataclass, fields

from ..curvature import CURVATURES, METHODS, SPLITS
from ..errors import SettingError, whole_number

FUNCTIONALS = ("loss", "sum", "half_square")


@dataclass(frozen=True, slots=True)
class Request:
    """One spectrum: which block (None: the whole network), at which snapshot (a label), and how."""

    layer: str | None
    snapshot: str
    method: str = "auto"
    curvature: str | None = None  # None: as the session says
    split: str = "data"
    steps: int = 100
    probes: int = 5

    def __post_init__(self) -> None:
        for name, allowed in (("method", METHODS), ("curvature", (None, *CURVATURES)), ("split", SPLITS)):
            value = getattr(self, name)
            if value not in allowed:
                known = ", ".join(repr(a) for a in allowed if a is not None)
                raise SettingError(f"{name} must be one of {known}; got {value!r}.")
        for name in ("steps", "probes"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))

    def __str__(self) -> str:
        changed = [
            f"{field.name}={value!r}"
            for field in fields(self)[2:]
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"session.spectrum({', '.join([repr(self.layer), repr(self.snapshot), *changed])})"
