"""What a file name tells: step, epoch, tag, and the order in which people read names."""

import re
from typing import NamedTuple

from ..errors import SettingError

TAGS = ("last", "best", "latest", "final", "newest")


class Named(NamedTuple):
    """What a name states; ``number`` is one of unknown kind (``checkpoint-12``: a step, an epoch, a count?)."""

    step: int | None = None
    epoch: float | None = None
    number: int | None = None
    tag: str | None = None


# Behind a number nothing may follow that makes it another one: "1e3", "100.50" and "1_000" are refused, not cut short.
# The numbers take all their digits (++), so that a refusal does not end in a shorter number.
_ENDS = r"(?![eE][+-]?\d)(?!\.\d)(?![_,']\d{3}(?!\d))"
# The kind is stated. "step" must not end another word.
_STEP = re.compile(
    rf"(?<![a-z])(?:global[_-]?steps?|steps?|iterations?|iters?|it|updates?)[-_=]?(\d++){_ENDS}", re.IGNORECASE
)
_EPOCH = re.compile(rf"(?<![a-z0-9])(?:epochs?|ep|e)[-_=]?(\d++(?:\.\d++)?+){_ENDS}", re.IGNORECASE)
# The kind is not stated: the number stands behind a word for checkpoint, or alone.
_NUMBER = re.compile(
    r"(?:^|[-_.])(?:checkpoints?|ckpts?|chkpt|cp|weights|state|snapshot|model|net)[-_=.]?(\d+)$|^(\d+)$", re.IGNORECASE
)
_METRIC = re.compile(
    r"(?<![a-z])[a-z_]*(?:loss|acc|accuracy|err|error|score|ppl|f1|auc)[-_=]?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE
)
# A date in one piece may also be a number: it is one where its kind is stated. With separators it is a date anywhere.
_MONTH_DAY = r"(?:0[1-9]|1[0-2]){0}(?:0[1-9]|[12]\d|3[01])(?!\d)"
_WRITTEN_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-_.])" + _MONTH_DAY.format(r"\1"))
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d" + _MONTH_DAY.format(""))


def parse(name: str, pattern: str | re.Pattern[str] | None = None) -> Named:
    """Read step and epoch from a name without its ending.

    Args:
        name: for example ``"epoch=0-step=2"``.
        pattern: a regular expression with groups named ``step`` and ``epoch``; where it does not match, the built-in
            patterns are tried.
    """
    found = re.search(pattern, name) if pattern is not None else None
    if found:
        groups = found.groupdict()
        try:
            step, epoch = groups.get("step"), groups.get("epoch")
            return Named(int(step) if step else None, float(epoch) if epoch else None)
        except ValueError:
            raise SettingError(
                f"The groups of pattern must match numbers; in {name!r} they matched {groups}. Use \\d+ inside them."
            ) from None
    plain = _WRITTEN_DATE.sub("#", _METRIC.sub("#", name))
    step, epoch = _STEP.search(plain), _EPOCH.search(plain)
    number = None if step or epoch else _NUMBER.search(_DATE.sub("#", plain))
    words = re.findall(r"[a-z]+", plain.lower())
    return Named(
        int(step[1]) if step else None,
        float(epoch[1]) if epoch else None,
        int(number[1] or number[2]) if number else None,
        next((word for word in words if word in TAGS), None) if not step else None,
    )


def checked(pattern: str | re.Pattern[str] | None) -> re.Pattern[str] | None:
    """Compile a user's pattern.

    Raises:
        SettingError: it is no regular expression, or names neither ``step`` nor ``epoch``.
    """
    if pattern is None:
        return None
    try:
        compiled: re.Pattern[str] | None = re.compile(pattern)
    except re.error as error:
        raise SettingError(f"pattern must be a regular expression, got {pattern!r}: {error}.") from error
    except TypeError:
        compiled = None
    if compiled is None or isinstance(compiled.pattern, bytes):
        raise SettingError(f"pattern must be a regular expression of text, got {pattern!r}.")
    if not {"step", "epoch"} & compiled.groupindex.keys():
        raise SettingError(
            f"pattern needs a group named step or epoch, for example r'it(?P<step>\\d+)', got {compiled.pattern!r}."
        )
    return compiled


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts ``checkpoint-50`` before ``checkpoint-1000``."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in re.split(r"(\d+)", name) if part
    )
