"""From nothing to a session on digits: train once, find the recorded run again afterwards."""

import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ..digests import digest_json
from ..errors import SettingError, StoreError, whole_number
from ..session import Session
from ..snapshots import Snapshots
from ..store import DirectoryStore, open_store
from .images import Split, choose, load_split, redraw_labels
from .networks import NETWORKS, build
from .recipe import Recipe
from .training import train

RECIPE = 1  # grows when the same settings would train other weights
CARD = "run.json"  # lies in the folder of a finished run and says what it is


def digits(
    *,
    model: Literal["conv", "dense"] = "conv",
    steps: int = 2048,
    seed: int = 0,
    samples: int | None = 256,
    snapshots_folder: str | Path | None = None,
    cache: bool | str | Path = True,
    device: str = "cpu",
) -> Session:
    """Train a small network on scikit-learn's digits and return a session over its training.

    Takes a few seconds the first time; the recorded run is found again when the settings are the same. The global
    random state, default dtype and number of threads stay as they are. Needs scikit-learn (``pip install
    'lhexplore[demo]'``).

    Args:
        model: "conv" (two convolutions, two linear layers) or "dense" (three linear layers).
        steps: optimiser steps with 64 images each; snapshots are taken at 0, 1, 2, 4, 8, … and the last.
        seed: of the first weights and of the order of the images.
        samples: how many training images (and held-out images) the Hessians are averaged over; None for all.
        snapshots_folder: where the run is recorded; None for a folder of its own in the cache.
        cache: as for :class:`lhexplore.Session`; False also records the run in a folder that ends with the session.
        device: where the spectra are computed; the training runs on the CPU.

    Raises:
        SettingError: an unknown model, too few steps, or a folder that holds something else.
        StoreError: the folder cannot be written.
    """
    if model not in NETWORKS:
        raise SettingError(f"model must be one of {', '.join(map(repr, NETWORKS))}; got {model!r}.")
    settings = {"recipe": RECIPE, "model": model, "steps": whole_number("steps", steps), "seed": seed}
    return open_run(
        Recipe(network=model),
        settings,
        name=model,
        samples=samples,
        snapshots_folder=snapshots_folder,
        cache=cache,
        device=device,
    )


@torch.inference_mode(False)  # tensors made in inference mode could not be trained on
def open_run(
    recipe: Recipe,
    settings: dict[str, Any],
    *,
    name: str,
    samples: int | None,
    snapshots_folder: str | Path | None,
    cache: bool | str | Path,
    device: str,
) -> Session:
    """Train by ``recipe``, or find the run recorded with the same ``settings``, and return a session over it.

    The session's training data are the images and labels that were trained on, so labels drawn anew are in it;
    held-out labels are as they were. ``settings`` is what makes one run another, with its "steps" and "seed".
    """
    folder, temporary = _folder(settings, name, snapshots_folder, cache)
    network, (data, held_out) = build(recipe.network, recipe.activation), load_split()
    data = choose(data, recipe.images)
    data = data._replace(labels=redraw_labels(data.labels, recipe.noise, seed=settings["seed"]))
    if not _finished(folder, settings):
        _record(network, data, held_out, folder, settings, recipe)
    snapshots = Snapshots.discover(folder)
    network.load_state_dict(snapshots[-1].load())
    session = Session(
        network,
        _loader(data),
        nn.CrossEntropyLoss(),
        snapshots=snapshots,
        held_out=_loader(held_out),
        samples=samples,
        device=device,
        cache=cache,
    )
    if temporary:
        weakref.finalize(session, shutil.rmtree, folder.parent, ignore_errors=True)
    return session


def _loader(split: Split) -> DataLoader[Any]:
    return DataLoader(TensorDataset(split.images.float(), split.labels), batch_size=256)


def _folder(
    settings: dict[str, Any], name: str, wanted: str | Path | None, cache: bool | str | Path
) -> tuple[Path, bool]:
    """Choose where the run is recorded, and say whether that is to be removed with the session."""
    if wanted is not None:
        return Path(wanted).expanduser(), False
    name = f"digits-{name}-{digest_json(settings)[:12]}"
    store = open_store(cache)
    if isinstance(store, DirectoryStore):
        return store.path / "demo" / name, False
    return Path(tempfile.mkdtemp(prefix="lhexplore-")) / name, True


def _finished(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether ``folder`` holds the whole run with these settings.

    Raises:
        SettingError: it holds something else, which is not ours to overwrite.
    """
    try:
        card = json.loads((folder / CARD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        card = None
    except (OSError, ValueError) as error:
        raise SettingError(f"{folder / CARD} cannot be read ({error}). Remove the folder or choose another.") from error
    if card == json.loads(json.dumps(settings)):  # with lists for tuples, as in the file
        return True
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "another run" if card is not None else "something else"
        raise SettingError(f"{folder} holds {what} already. Choose another folder, or remove this one.")
    return False


def _record(
    network: nn.Module, data: Split, held_out: Split, folder: Path, settings: dict[str, Any], recipe: Recipe
) -> None:
    """Train into a folder aside and rename it at the end: a run that was cut short is never taken for a whole one."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(
            f"The run should be recorded in {folder}, which cannot be written ({error.strerror}). "
            "Pass snapshots_folder=… with a folder of yours."
        ) from error
    try:
        train(network, data, held_out, aside, steps=settings["steps"], seed=settings["seed"], recipe=recipe)
        (aside / CARD).write_text(json.dumps(settings, indent=1) + "\n")
        if folder.is_dir():  # empty, or finished by another process meanwhile
            if _finished(folder, settings):
                return
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
