"""What counts as one checkpoint in a folder: a file, a subfolder with weights in it, or shards behind an index."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import FormatError, IncompleteFileError, SnapshotError, UnsafeFileError
from . import formats
from .contents import Contents, Look
from .idioms import as_step, number
from .paths import kind

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLE = ("model.safetensors", "pytorch_model.bin")
JSON_LIMIT = 64_000_000  # bytes; an index of a hundred thousand tensors is far smaller

# Files beside the weights that training frameworks write. They are never opened: several are pickles with code.
_COMPANION = re.compile(
    r"^(optimizer|optim|scheduler|scaler|sampler|rng_state|random_states|training_args|tokenizer|trainer_state)", re.I
)
_UNFINISHED = re.compile(r"^(tmp|\.)|\.(tmp|temp|part|partial|incomplete|crdownload|lock)$|\.bad$", re.I)


@dataclass(frozen=True, slots=True)
class Item:
    """One checkpoint on disk: a file, or the ``weights`` file (or index) of a folder."""

    path: Path  # what the person sees: the file, or the folder
    weights: Path  # the file to read: weights or index
    fault: tuple[str, str] | None = None  # known to be unusable: status and reason

    def look(self, *, fields: bool = True) -> Look:
        """See what can be seen without reading tensors."""
        if self.fault:
            return Look("folder", 0, *self.fault)
        if self.weights.name.endswith(".index.json"):
            seen = _look_at_shards(self.weights)
        else:
            seen = formats.look(self.weights, fields=fields)
        state = self._trainer_state()
        return replace(seen, step=state.get("step", seen.step), epoch=state.get("epoch", seen.epoch))

    def read(self, *, which: str | None = None) -> Contents:
        """Read the weights into private memory."""
        if self.fault:
            status, reason = self.fault
            raise (UnsafeFileError if status == "unsafe" else FormatError)(reason)
        if not self.weights.name.endswith(".index.json"):
            return formats.read(self.weights, which=which)
        state: dict[str, Tensor] = {}
        for shard in _shards(self.weights):
            state |= formats.read(shard).state
        return Contents(state)

    def _trainer_state(self) -> dict[str, Any]:
        """Step and epoch as the Hugging Face Trainer leaves them in a checkpoint's folder."""
        path = self.path / "trainer_state.json"
        if self.path == self.weights or not path.is_file():
            return {}
        try:
            found = _json(path)
        except SnapshotError:
            return {}
        state = {"step": as_step(number(found.get("global_step"))), "epoch": number(found.get("epoch"))}
        return {name: value for name, value in state.items() if value is not None}


def items_in(folder: Path) -> tuple[list[Item], list[tuple[str, str]]]:
    """List the checkpoints in a folder, and what was passed over: name and reason. Tensors are not read."""
    entries = sorted(folder.iterdir())
    items: list[Item] = []
    passed: list[tuple[str, str]] = []
    behind_index: set[str] = set()
    for index in (folder / name for name in INDEXES):
        if index.is_file():
            items.append(Item(index, index))
            behind_index |= _named_in(index)
    for entry in entries:
        if entry.name in behind_index or entry.name in INDEXES:
            continue
        if _UNFINISHED.search(entry.name):
            if entry.suffix in formats.SUFFIXES or entry.name.startswith("tmp"):
                passed.append((entry.name, "a temporary file of a writer"))
        elif entry.is_dir():
            item = _folder_item(entry)
            if item:
                items.append(item)
        elif entry.suffix.lower() in formats.SUFFIXES:
            special = _special(entry)
            if special:
                passed.append((entry.name, f"{special}, not a file; never opened"))
            elif _COMPANION.search(entry.name):
                passed.append((entry.name, "written beside the weights by a training framework; never opened"))
            else:
                items.append(Item(entry, entry))
    return items, passed


def _special(entry: Path) -> str:
    """Name what is neither file nor folder; an empty text for a file, and for what its row will tell is unreadable."""
    try:
        return "" if entry.is_file() else kind(entry.stat().st_mode)
    except OSError:
        return ""


def item_of(path: Path) -> Item:
    """The checkpoint at ``path``, which was named by the person: a file, or a folder."""
    return (_folder_item(path) if path.is_dir() else None) or Item(path, path)


def is_checkpoint_folder(folder: Path) -> bool:
    """Whether a folder is one checkpoint itself, by an index of shards or a Trainer's state beside the weights."""
    return (folder / "trainer_state.json").is_file() and any((folder / name).is_file() for name in (*INDEXES, *SINGLE))


def _folder_item(folder: Path) -> Item | None:
    for name in (INDEXES[0], SINGLE[0], INDEXES[1], SINGLE[1]):
        if (folder / name).is_file():
            return Item(folder, folder / name)
    if (folder / "adapter_model.safetensors").is_file() or (folder / "adapter_model.bin").is_file():
        reason = (
            f"{folder.name!r} is an adapter (LoRA) without the weights of its base model. Wrap the base model, load "
            "the adapter, and hand over snapshots={'label': wrapped.state_dict()}."
        )
        return Item(folder, folder, ("format", reason))
    if (folder / ".metadata").is_file():
        reason = (
            f"{folder.name!r} is a distributed checkpoint; its .metadata is a pickle that could run code, so it was "
            "not opened. Where you trust it, convert it with "
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save."
        )
        return Item(folder, folder, ("unsafe", reason))
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > JSON_LIMIT:
            raise FormatError(f"{path.name!r} is too large for an index: {path.stat().st_size:,} bytes.")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise SnapshotError(f"{path.name!r} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise IncompleteFileError(
            f"{path.name!r} is incomplete or damaged: it is not readable JSON. Copy it again or leave it out."
        ) from error
    return found if isinstance(found, dict) else {}


def _named_in(index: Path) -> set[str]:
    try:
        weight_map = _json(index).get("weight_map")
    except SnapshotError:
        return set()
    return {name for name in weight_map.values() if isinstance(name, str)} if isinstance(weight_map, dict) else set()


def _shards(index: Path) -> list[Path]:
    """The files an index names, all of which lie in its own folder.

    Raises:
        FormatError: the index names nothing, or something outside of the folder.
        IncompleteFileError: a file is missing.
    """
    weight_map = _json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{index.name!r} is not an index of shards: it has no weight_map.")
    folder = index.parent.resolve()
    shards = []
    for name in sorted({str(value) for value in weight_map.values()}):
        shard = index.parent / name
        outside = name != Path(name).name or name in ("", ".", "..") or "\\" in name or "\0" in name
        if outside or shard.resolve().parent != folder:
            raise FormatError(
                f"{index.name!r} names {name!r}, which is not a file inside its own folder. It was not opened; shards "
                "and links must stay in the folder of the index."
            )
        if not shard.is_file():
            raise IncompleteFileError(
                f"{index.parent.name!r} is incomplete: {index.name!r} names {name!r}, which is missing. Copy the whole "
                "folder again or leave it out."
            )
        shards.append(shard)
    return shards


def _look_at_shards(index: Path) -> Look:
    try:
        seen = [formats.look(shard, fields=False) for shard in _shards(index)]
    except SnapshotError as error:
        return Look("shards", 0, "partial" if isinstance(error, IncompleteFileError) else "format", str(error))
    size = sum(look.size for look in seen)
    worst = next((look for look in seen if look.status != "ok"), None)
    return Look("shards", size, worst.status, worst.reason) if worst else Look("shards", size)
