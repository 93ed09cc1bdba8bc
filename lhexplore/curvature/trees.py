"""Walk, move, cut and join batches of any shape: tuples, mappings, named tuples, dataclasses, objects with ``.to``."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ..errors import DataError

Leaf = Callable[[Any], Any]


def tree_map(function: Leaf, tree: Any) -> Any:
    """Rebuild ``tree`` with ``function`` applied to every leaf; containers keep their types and are never shared."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, PackedSequence):  # its lengths must stay on the CPU
        return tree._replace(
            data=function(tree.data),
            **{n: _index(function, getattr(tree, n)) for n in ("sorted_indices", "unsorted_indices")},
        )
    if isinstance(tree, Mapping):
        return _rebuilt_mapping(tree, {key: tree_map(function, value) for key, value in tree.items()})
    if (fields := _fields(tree)) is not None:
        return _replaced(tree, {name: tree_map(function, getattr(tree, name)) for name in fields})
    if isinstance(tree, list | tuple):
        return type(tree)([tree_map(function, item) for item in tree])
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _with_attributes(
            tree, {f.name: tree_map(function, getattr(tree, f.name)) for f in dataclasses.fields(tree)}
        )
    if _is_holder(tree):
        return _mapped_holder(function, tree)
    return function(tree)


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path, such as ``[0]['ids']``; objects that only know ``.to`` are one leaf."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{path}[{key!r}]")
    elif (fields := _fields(tree)) is not None:
        for name in fields:
            yield from leaves(getattr(tree, name), f"{path}.{name}")
    elif isinstance(tree, list | tuple):
        for index, item in enumerate(tree):
            yield from leaves(item, f"{path}[{index}]")
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for f in dataclasses.fields(tree):
            yield from leaves(getattr(tree, f.name), f"{path}.{f.name}")
    elif _is_holder(tree) and (inside := _inside(tree)):
        for name, value in inside.items():
            yield from leaves(value, f"{path}.{name}")
    else:
        yield path, tree


def tensors(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors among the leaves."""
    for path, leaf in leaves(tree):
        if isinstance(leaf, Tensor):
            yield path, leaf


def count_examples(tree: Any) -> int:
    """Count the examples of a batch: the length of its first tensor that has one (an explicit size wins).

    Raises:
        DataError: No tensor with a batch dimension.
    """
    if isinstance(graphs := getattr(tree, "num_graphs", None), int):
        return graphs
    for packed in _wholes(tree):
        if isinstance(packed, PackedSequence):
            return int(packed.batch_sizes[0])
    if (length := _of_sequence_first(tree)) is not None:
        return length
    for _, tensor in tensors(tree):
        if tensor.dim() > 0:
            return int(tensor.shape[0])
    raise DataError(
        f"Cannot tell how many examples this batch has: {describe(tree)}. "
        "Expected at least one tensor whose first dimension runs over examples."
    )


def _of_sequence_first(tree: Any) -> int | None:
    """Examples of a pair ``[time, batch, …], [batch, …]``; None where the first dimensions agree or nothing fits."""
    if not (isinstance(tree, tuple | list) and len(tree) == 2 and all(isinstance(part, Tensor) for part in tree)):
        return None
    x, y = tree
    if x.dim() > 1 and y.dim() > 0 and x.shape[0] != y.shape[0] == x.shape[1]:
        return int(y.shape[0])
    return None


def cut(tree: Any, start: int, stop: int) -> Any:
    """Take examples ``start:stop``: along the first dimension, which all tensors must share.

    Raises:
        DataError: The batch holds an object that cannot be cut, or tensors of different lengths: time steps of
            ``[time, batch, …]`` must not be taken for examples.
    """
    size = count_examples(tree)
    for whole in _wholes(tree):
        raise DataError(f"A {type(whole).__name__} in the batch cannot be cut into single examples.")
    shapes = [list(tensor.shape) for _, tensor in tensors(tree) if tensor.dim() > 0]
    if len({shape[0] for shape in shapes}) > 1:
        raise DataError(
            f"The tensors of this batch differ in their first dimension ({', '.join(map(str, shapes[:4]))}), so it "
            "cannot be told which one runs over the examples, and none is cut."
        )

    def part(node: Any) -> Any:
        if isinstance(node, Tensor):
            return node[start:stop] if node.dim() > 0 else node
        if isinstance(node, list | tuple) and len(node) == size and not any(True for _ in tensors(node)):
            return node[start:stop]  # one string, id or None per example
        return None

    return _cut(part, tree)


def join(batches: Sequence[Any]) -> Any:
    """Concatenate batches of one form along their examples.

    Raises:
        DataError: Forms or shapes differ (such as batches padded to different lengths).
    """
    if len(batches) == 1:
        return batches[0]
    sizes = [count_examples(batch) for batch in batches]
    columns = [list(leaves(batch)) for batch in batches]
    if len({tuple(path for path, _ in column) for column in columns}) != 1:
        raise DataError("The batches differ in form, so they cannot be joined into one.")
    joined = []
    for row in zip(*columns, strict=True):
        path, values = row[0][0], [value for _, value in row]
        if isinstance(values[0], Tensor):
            rest = {(value.shape[1:], value.dtype) for value in values}
            along = all(value.dim() > 0 and value.shape[0] == n for value, n in zip(values, sizes, strict=True))
            if along and len(rest) == 1:
                joined.append(torch.cat(values))
            elif all(value.shape == values[0].shape and bool((value == values[0]).all()) for value in values):
                joined.append(values[0])  # a constant that every batch brings along
            else:
                shapes = ", ".join(str(list(value.shape)) for value in values[:3])
                raise DataError(f"batch{path} has shapes {shapes} … in different batches, so they cannot be joined.")
        elif all(value == values[0] for value in values):
            joined.append(values[0])
        else:
            raise DataError(f"batch{path} differs between batches and is no tensor, so they cannot be joined.")
    remaining = iter(joined)
    return tree_map(lambda _: next(remaining), batches[0])


def describe(tree: Any, *, most: int = 6) -> str:
    """Say in one line what a batch is made of."""
    if isinstance(tree, Tensor):
        return f"Tensor {_summary(tree)}"
    parts = [f"{path or 'value'}: {_summary(leaf)}" for path, leaf in leaves(tree)]
    more = f", … {len(parts) - most} more" if len(parts) > most else ""
    return f"{type(tree).__name__} with {', '.join(parts[:most])}{more}" if parts else f"empty {type(tree).__name__}"


def first_line(error: BaseException) -> str:
    """What an error says, in one line and without a full stop."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def _wholes(tree: Any) -> Iterator[Any]:
    """Objects inside a batch that have no dimension along which examples could be taken apart."""
    if isinstance(tree, PackedSequence) or (_is_holder(tree) and not _children(tree)):
        yield tree
        return
    for item in _children(tree):
        yield from _wholes(item)


def _children(tree: Any) -> list[Any]:
    if isinstance(tree, Mapping):
        return list(tree.values())
    if isinstance(tree, list | tuple):
        return list(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, f.name) for f in dataclasses.fields(tree)]
    return []


def _summary(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return f"{str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}"
    return type(leaf).__name__


def _cut(part: Leaf, tree: Any) -> Any:
    """Map that may also take a whole container of non-tensors (``part`` returns None to look inside)."""
    taken = part(tree)
    if taken is not None:
        return taken
    if isinstance(tree, Mapping):
        return _rebuilt_mapping(tree, {key: _cut(part, value) for key, value in tree.items()})
    if (fields := _fields(tree)) is not None:
        return _replaced(tree, {name: _cut(part, getattr(tree, name)) for name in fields})
    if isinstance(tree, list | tuple):
        return type(tree)([_cut(part, item) for item in tree])
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return _with_attributes(tree, {f.name: _cut(part, getattr(tree, f.name)) for f in dataclasses.fields(tree)})
    return tree


def _fields(tree: Any) -> tuple[str, ...] | None:
    """Field names of a named tuple."""
    return getattr(tree, "_fields", None) if isinstance(tree, tuple) else None


def _replaced(tree: Any, values: dict[str, Any]) -> Any:
    return tree._replace(**values)


def _rebuilt_mapping(old: Mapping[Any, Any], new: dict[Any, Any]) -> Any:
    if type(old) is dict:
        return new
    try:
        fresh: Any = copy.copy(old)  # keeps what subclasses hold besides their items
        for key, value in new.items():
            fresh[key] = value
    except (TypeError, AttributeError):  # read-only mappings
        return new
    return new if fresh is old else fresh


def _with_attributes(old: Any, new: dict[str, Any]) -> Any:
    fresh = copy.copy(old)
    for name, value in new.items():
        object.__setattr__(fresh, name, value)  # frozen dataclasses too
    return fresh


def _is_holder(tree: Any) -> bool:
    """An object with tensors inside that moves itself: PyG ``Data``, TensorDict, a hand-written batch class."""
    return callable(getattr(tree, "to", None)) and not isinstance(tree, Tensor | type | torch.nn.Module)


def _inside(tree: Any) -> dict[str, Any]:
    return {name: value for name, value in getattr(tree, "__dict__", {}).items() if isinstance(value, Tensor)}


def _mapped_holder(function: Leaf, tree: Any) -> Any:
    if inside := _inside(tree):
        return _with_attributes(tree, {name: function(value) for name, value in inside.items()})
    fresh = copy.copy(tree)
    if callable(apply := getattr(fresh, "apply", None)):  # PyG and TensorDict: on every tensor inside
        result = apply(function)
        return fresh if result is None else result
    raise DataError(
        f"{type(tree).__name__} hides its tensors, so they can be neither frozen nor moved. "
        "Let the loader yield tensors in tuples, dicts or dataclasses."
    )


def _index(function: Leaf, value: Any) -> Any:
    return None if value is None else function(value)
