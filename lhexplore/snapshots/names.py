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


# The kind is stated. "step" must not end another word, and "1e3" is not a one.
_STEP = re.compile(
    r"(?<![a-z])(?:global[_-]?steps?|steps?|iterations?|iters?|it|updates?)[-_=]?(\d+)(?![\d.]*e[+-]?\d)(?!\.\d)", re.I
)
_EPOCH = re.compile(r"(?<![a-z0-9])(?:epochs?|ep|e)[-_=]?(\d+)(?![\d.]*e[+-]?\d)(?!\.\d)", re.I)
# The kind is not stated: the number stands behind a word for checkpoint, or alone.
_NUMBER = re.compile(
    r"(?:^|[-_.])(?:checkpoints?|ckpts?|chkpt|cp|weights|state|snapshot|model|net)[-_=.]?(\d+)$|^(\d+)$", re.I
)
_METRIC = re.compile(r"(?<![a-z])[a-z_]*(?:loss|acc|accuracy|err|error|score|ppl|f1|auc)[-_=]?\d+(?:\.\d+)?", re.I)
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?!\d)")


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
    plain = _DATE.sub("#", _METRIC.sub("#", name))
    step, epoch = _STEP.search(plain), _EPOCH.search(plain)
    number = None if step or epoch else _NUMBER.search(plain)
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
