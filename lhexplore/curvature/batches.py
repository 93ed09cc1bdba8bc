"""Freeze the data once: the same tensors serve every product of every snapshot.

Reading a loader moves random states and may shuffle or augment. It happens here, once, under forked states.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from ..digests import digest_json, digest_tensors
from ..errors import DataError, EmptyDataError, LhexploreError, SettingError, whole_number
from .states import check_seed, forked_states
from .trees import count_examples, cut, describe, first_line, leaves, tensors, tree_map

IGNORED_LABEL = -100  # torch's default ignore_index
# Data without a length may have no end; past either of these an answer is due.
ENDLESS_EXAMPLES = 1_000_000
ENDLESS_BYTES = 4 << 30

Weigh = Callable[[Any], float]


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Frozen data: private CPU tensors, the number of loss terms of each batch, and a digest of what is fed."""

    batches: tuple[Any, ...]
    weights: tuple[float, ...]
    examples: int
    digest: str
    notes: tuple[str, ...] = ()
    weighting: str = "samples"  # "samples" | "tokens" | the name of the user's rule
    weigh: Weigh = field(default=lambda batch: float(count_examples(batch)), repr=False)

    def __len__(self) -> int:
        return len(self.batches)


def freeze(data: Any, *, samples: Any = 512, weight: Any = "samples", seed: Any = 0) -> Batches:
    """Read ``data`` once and keep up to ``samples`` examples; the global random states stay bit for bit.

    Args:
        data: A loader, any iterable of batches, or one batch: a tuple ``(x, y)`` of two tensors or a mapping.
        samples: How many examples to keep; the last batch is cut. None keeps all.
        weight: What counts as a loss term: ``"samples"``, ``"tokens"`` (labels other than −100) or ``f(batch)``.
        seed: Seeds shuffling and augmentation while reading, so that the same call freezes the same data.

    Raises:
        EmptyDataError: Nothing came.
        DataError: Not batches of tensors, or no end to them.
        SettingError: ``samples``, ``weight`` or ``seed`` make no sense, or a rule of weighing raised.
    """
    if isinstance(data, Batches):
        return data
    if samples is not None:
        samples = whole_number("samples", samples)
    seed = check_seed(seed)
    weighting, weigh = _rule(weight)
    source, sized = _source(data, samples)
    with forked_states(seed), _own_generators(data), torch.inference_mode(False), torch.no_grad():
        kept, examples, notes = _read(source, samples, sized)
    if not kept:
        raise EmptyDataError(
            "The data yielded no batch. A generator or one-shot iterator can be read only once: give the DataLoader "
            "itself or a list of batches."
        )
    if samples is not None and examples < samples and sized:
        notes.append(f"asked for {samples:,} examples, the data has {examples:,}: all are used")
    notes = _shuffle_note(data, examples) + notes
    weights = tuple(_weight(weigh, batch, index) for index, batch in enumerate(kept))
    if sum(weights) <= 0:
        raise DataError(
            f"No loss terms left: weight={weighting!r} counts 0 in all {len(kept)} batches. "
            "Are all labels masked (−100)?"
        )
    opaque = sorted({type(leaf).__name__ for batch in kept for _, leaf in leaves(batch) if not _digestible(leaf)})
    if opaque:
        notes.append(f"the data's digest cannot see {', '.join(opaque)}")
    digest = _digest(kept, weights)
    return Batches(tuple(kept), weights, examples, digest, tuple(notes), weighting, weigh)


def count_tokens(batch: Any) -> float:
    """Count labels that are not ignored: ``batch["labels"]``, else the last tensor of the batch."""
    if isinstance(batch, Mapping) and "labels" in batch:
        labels = batch["labels"]
    else:
        found = [tensor for _, tensor in tensors(batch)]
        labels = found[-1] if found else None
    if not isinstance(labels, Tensor) or labels.is_floating_point():
        raise DataError(
            f'weight="tokens" counts integer labels, but this batch is {describe(batch)}. '
            'Use weight="samples" or weight=f(batch) -> number of loss terms.'
        )
    return float((labels != IGNORED_LABEL).sum())


def _rule(weight: Any) -> tuple[str, Weigh]:
    if weight == "samples":
        return "samples", lambda batch: float(count_examples(batch))
    if weight == "tokens":
        return "tokens", count_tokens
    if callable(weight):
        name = getattr(weight, "__qualname__", type(weight).__name__)
        return name, lambda batch: _weighed(name, weight, batch)
    raise SettingError(f'weight= takes "samples", "tokens" or f(batch) -> number of loss terms; got {weight!r}.')


def _weighed(name: str, weigh: Callable[[Any], Any], batch: Any) -> float:
    """What the user's rule says.

    Raises:
        SettingError: It raised, or returned no number.
    """
    try:
        return float(weigh(batch))
    except LhexploreError:
        raise
    except Exception as error:
        raise SettingError(
            f"The weight= function {name} failed on a batch that is {describe(batch)}: {type(error).__name__}: "
            f"{first_line(error)}. It should return the number of loss terms in a batch."
        ) from error


def _weight(weigh: Weigh, batch: Any, index: int) -> float:
    value = float(weigh(batch))
    if not np.isfinite(value) or value < 0:
        raise DataError(f"The weight of batch {index} is {value}; expected a finite number of loss terms, 0 or more.")
    return value


def _source(data: Any, samples: int | None) -> tuple[Iterable[Any], bool]:
    """An iterable of batches, and whether it is known to end."""
    if isinstance(data, Mapping) or (isinstance(data, tuple) and data and isinstance(data[0], Tensor)):
        return [data], True
    if isinstance(data, Dataset):
        raise DataError(
            f"{type(data).__name__} is a Dataset of single examples. Give lhexplore batches: "
            "DataLoader(dataset, batch_size=128)."
        )
    if isinstance(data, Tensor):
        raise DataError(
            f"Got one tensor {list(data.shape)}, which does not say where its batches begin. "
            "Give (x, y), a list of batches or a DataLoader."
        )
    if isinstance(data, str | bytes) or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        raise DataError(f"Expected a DataLoader or an iterable of batches, got {type(data).__name__}: {data!r:.60}.")
    if samples is None and isinstance(data, itertools.cycle | itertools.repeat | itertools.count):
        raise DataError(f"{type(data).__name__} has no end, and samples=None asks for all of it. Set samples=.")
    return data, _has_length(data)


def _has_length(data: Any) -> bool:
    if not isinstance(data, Sized):
        return False
    try:
        len(data)
    except (TypeError, NotImplementedError):  # a DataLoader over an IterableDataset
        return False
    return True


def _read(source: Iterable[Any], samples: int | None, sized: bool) -> tuple[list[Any], int, list[str]]:
    kept, examples, bytes_, notes, empty = list[Any](), 0, 0, list[str](), 0
    iterator = _started(source)
    try:
        for index, raw in enumerate(_relayed(iterator)):
            batch, size = _frozen(raw, index)
            if size == 0:
                empty += 1
                continue
            if samples is not None and examples + size > samples:
                try:
                    batch, size = cut(batch, 0, samples - examples), samples - examples
                except DataError as error:
                    notes.append(f"{error} Batch {index} was kept whole: {examples + size:,} examples are used.")
            kept.append(batch)
            examples += size
            bytes_ += sum(tensor.numel() * tensor.element_size() for _, tensor in tensors(batch))
            if samples is not None and examples >= samples:
                break
            if not sized and samples is None and (examples >= ENDLESS_EXAMPLES or bytes_ >= ENDLESS_BYTES):
                raise DataError(
                    f"Read {examples:,} examples ({bytes_ >> 20:,} MiB) without reaching an end, and the data has no "
                    "length. Set samples= to a number."
                )
    finally:
        _close(iterator, source)
    if empty:
        notes.append(f"{empty} empty batch{'es' if empty > 1 else ''} skipped")
    return kept, examples, notes


def _started(source: Iterable[Any]) -> Iterator[Any]:
    try:
        return iter(source)
    except LhexploreError:
        raise
    except Exception as error:
        raise _of_loader(error, 0) from error


def _relayed(iterator: Iterator[Any]) -> Iterator[Any]:
    """Pass batches on, and say whose code it was if getting one fails.

    Raises:
        DataError: The loader or its dataset raised.
    """
    for index in itertools.count():
        try:
            raw = next(iterator)
        except StopIteration:
            return
        except LhexploreError:
            raise
        except Exception as error:
            raise _of_loader(error, index) from error
        yield raw


def _of_loader(error: Exception, index: int) -> DataError:
    return DataError(
        f"Your data loader failed while it was asked for batch {index}: {type(error).__name__}: {first_line(error)}. "
        "Does a plain loop over it come to its end?"
    )


def _frozen(raw: Any, index: int) -> tuple[Any, int]:
    try:
        batch = tree_map(_private, raw)
        return batch, count_examples(batch)
    except DataError as error:
        raise DataError(f"Batch {index} cannot be used. {error}") from None


def _private(leaf: Any) -> Any:
    """A copy on the CPU that nobody else can change, free of graphs and of inference mode."""
    if isinstance(leaf, Tensor):
        return leaf.detach().to("cpu").clone()
    if isinstance(leaf, np.ndarray):
        return leaf.copy()
    return leaf


def _close(iterator: Iterator[Any], source: Iterable[Any]) -> None:
    """End worker processes and generators that were started here; leave what the user handed over as an iterator."""
    if iterator is source:
        return
    shutdown = getattr(iterator, "_shutdown_workers", None)  # torch offers no public way
    if callable(shutdown) and not getattr(source, "persistent_workers", False):
        shutdown()
    elif callable(close := getattr(iterator, "close", None)):
        close()


class _own_generators:
    """Put back the states of the generators that belong to the user's loader and samplers."""

    def __init__(self, data: Any) -> None:
        self._generators = list(_generators(data))

    def __enter__(self) -> None:
        self._states = [generator.get_state() for generator in self._generators]

    def __exit__(self, *_: object) -> None:
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)


def _generators(data: Any, depth: int = 3) -> Iterator[torch.Generator]:
    if isinstance(found := getattr(data, "generator", None), torch.Generator):
        yield found
    if depth:
        for name in ("sampler", "batch_sampler", "dataset"):
            if (inner := getattr(data, name, None)) is not None:
                yield from _generators(inner, depth - 1)


def _shuffle_note(data: Any, examples: int) -> list[str]:
    if isinstance(data, DataLoader) and isinstance(data.sampler, RandomSampler):
        return [f"the loader shuffles; froze {examples:,} examples, the same for every snapshot"]
    return []


def _digestible(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, Tensor | np.ndarray | str | bytes | bool | int | float)


def _digest(batches: list[Any], weights: tuple[float, ...]) -> str:
    """Digest what is fed: tensors with their place in the batch, plain values by their text, and the weights."""
    fed, plain = list[tuple[str, Tensor]](), list[str]()
    for index, batch in enumerate(batches):
        for path, leaf in leaves(batch):
            place = f"{index}{path}"
            if isinstance(leaf, Tensor):
                fed.append((place, leaf if leaf.layout is torch.strided else leaf.to_dense()))
            elif isinstance(leaf, np.ndarray) and leaf.dtype != object:
                fed.append(
                    (
                        place,
                        torch.frombuffer(bytearray(np.ascontiguousarray(leaf).tobytes() or b"\0"), dtype=torch.uint8),
                    )
                )
                plain.append(f"{place}={leaf.dtype}{leaf.shape}")
            else:
                plain.append(f"{place}={leaf!r}" if _digestible(leaf) else f"{place}={type(leaf).__qualname__}")
    return digest_json({"tensors": digest_tensors(fed), "plain": plain, "weights": list(weights)})
