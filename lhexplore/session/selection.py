"""From what a person names to blocks: names, globs, the whole network."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ..curvature import Layer, find_layer, whole_network
from ..errors import SettingError, UnknownLayerError, suggest
from ..snapshots import Snapshot, Snapshots
from ..spectrum import WHOLE

Layers = Sequence[str | None] | str | None  # names, globs, None in a list for the whole network; None for all layers
Which = Sequence[int | str] | slice | int | str | None  # positions and labels of snapshots; None for all


def block(layers: Sequence[Layer], name: str | None) -> Layer:
    """The layer of that name; None is the whole network.

    Raises:
        UnknownLayerError: no such layer, or nothing in it to differentiate.
    """
    if name is None:
        return whole_network(layers)
    layer = find_layer(layers, name)
    if layer.status != "ok" and not layer.reason.startswith("not selected"):
        raise UnknownLayerError(f"Layer {name!r} has no spectrum of its own: {layer.reason}.")
    return layer


def blocks(layers: Sequence[Layer], wanted: Layers) -> list[str | None]:
    """Names of the wanted blocks, each once: None takes every selected layer, None *in a list* the whole network."""
    ok = [layer.name for layer in layers if layer.status == "ok"]
    if wanted is None:
        return list(ok)
    patterns = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Iterable) else list(wanted)
    if not all(pattern is None or isinstance(pattern, str) for pattern in patterns):
        raise SettingError(
            f"layers takes names, globs and None (the whole network), or a list of them; got {wanted!r}."
        )
    names: list[str | None] = []
    for pattern in patterns:
        names += [name for name in _matching(layers, ok, pattern) if name not in names]
    if not names:
        raise UnknownLayerError(f"layers={wanted!r} selects nothing. {suggest(wanted, ok)}")
    return names


def _matching(layers: Sequence[Layer], ok: Sequence[str], pattern: str | None) -> list[str | None]:
    if pattern is None or pattern == WHOLE:
        return [None]
    found: list[str | None] = [name for name in ok if fnmatchcase(name, pattern)]
    if not found:
        block(layers, pattern)  # a name that no glob matches: an error with near names if there is none
        return [pattern]
    return found


def rows(snapshots: Snapshots, wanted: Which) -> list[Snapshot]:
    """The wanted snapshots, usable or not.

    Raises:
        SettingError: neither positions nor labels.
        UnknownSnapshotError: no such snapshot.
    """
    if wanted is None or isinstance(wanted, slice):
        return list(snapshots)[wanted or slice(None)]
    if not isinstance(wanted, str | Iterable):
        wanted = [wanted]
    return [snapshots[one] for one in ([wanted] if isinstance(wanted, str) else wanted)]
