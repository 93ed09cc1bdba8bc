"""Which method for which block, what it costs in products and bytes, and why: all before anything runs.

The choice depends on sizes and settings only, never on a stopwatch: the same request gives the same method, and so
the same numbers, on every machine.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import SettingError, TooLargeError, UnsupportedError

METHODS = ("auto", "factor", "dense", "lanczos")
FACTOR_ROWS = 8192  # up to here a Gram matrix of the factor's rows is formed and solved, however large the layer
DENSE_SIZE = 1024  # up to here every eigenvalue costs a second or two: always exact
LARGEST_DENSE_SIZE = 4096  # beyond it the eigenvalues alone (n³) take longer than an estimate
BATCHED_COLUMN = 0.5  # of a single product, measured on dense layers in chunks of 16 or more; convolutions gain less
MEMORY = 2 * 2**30  # bytes a plan may use on top of model and data
CHUNK_BYTES = 32 * 2**20  # activations of a batch of columns: beyond the caches batching no longer pays (measured)
LARGEST_CHUNK = 64
DENSE_COPIES = 4  # the matrix, its transpose's sum, its difference, and the workspace of the eigenvalue solver
START_VECTORS = 4  # at least: their pairs measure the operator's symmetry
WORKING_VECTORS = 6  # of one Lanczos step: v, H v, its orthogonalised successor, and temporaries
KEPT = 2 * START_VECTORS + WORKING_VECTORS
CHECKS = 2  # products with the Gauss-Newton block that are compared with the Hessian's


@dataclass(frozen=True, slots=True)
class Factor:
    """The shape of a Gauss-Newton factor: ``passes`` backward passes give ``rows`` rows, one per example and pass."""

    passes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A method with its price: ``products`` at most, ``bytes`` on top of model, data and gradient graphs."""

    method: Literal["factor", "dense", "lanczos"]
    reason: str
    products: int
    bytes: int
    otherwise: "Choice | None" = None  # what is done where the numbers show that the method does not apply


def choose(
    size: int,
    *,
    method: str = "auto",
    steps: int = 100,
    probes: int = 5,
    itemsize: int = 8,
    checks: int = CHECKS,
    memory: int = MEMORY,
    factor: "Factor | str" = "one block at a time has none, measure_layers takes many",
) -> Choice:
    """Choose how to get the spectrum of a block.

    Args:
        size: number of parameters.
        method: "auto", "factor", "dense" or "lanczos".
        steps: Lanczos steps per probe.
        probes: start vectors.
        itemsize: bytes of one number of the operator's dtype.
        checks: further products with the Gauss-Newton block (0 where there is none to compare with).
        memory: most bytes the plan may take.
        factor: the shape of the Gauss-Newton factor, or why there is none.

    Raises:
        SettingError: an argument that makes no sense.
        UnsupportedError: method="factor" where there is none.
        TooLargeError: the wanted method does not fit into ``memory``.
    """
    if method not in METHODS:
        raise SettingError(f"method must be one of {METHODS}, got {method!r}.")
    for name, value in (("size", size), ("steps", steps), ("probes", probes)):
        if value < 1:
            raise SettingError(f"{name} must be at least 1, got {value!r}.")
    if method == "factor" or (method == "auto" and isinstance(factor, Factor)):
        choice = _factor(size, factor, checks=checks, memory=memory, asked=method == "factor")
        if choice is not None and method == "factor":
            return choice
        if choice is not None:
            settings: dict[str, Any] = {
                "steps": steps,
                "probes": probes,
                "itemsize": itemsize,
                "checks": checks,
                "memory": memory,
            }
            try:
                return replace(choice, otherwise=choose(size, **settings))
            except TooLargeError:
                return choice
    full = Choice("dense", "", size + checks, dense_bytes(size))
    products = _lanczos_products(size, steps, probes) + checks
    together = runs_together(size, steps, probes, itemsize, memory=memory)
    krylov = Choice("lanczos", "", products, lanczos_bytes(size, steps, itemsize, runs=together))
    if method == "dense":
        if full.bytes > memory:
            raise TooLargeError(
                f"An exact spectrum of {size:,} parameters needs {_human(full.bytes)} for its matrix, and "
                f"{_human(memory)} are allowed. Use method='lanczos' ({_human(krylov.bytes)}), or a smaller block."
            )
        return _because(full, f"every eigenvalue of {size:,}: method='dense' was asked for")
    if method == "auto" and size <= DENSE_SIZE and full.bytes <= memory:
        return _because(full, f"every eigenvalue: {size:,} parameters are few enough (at most {DENSE_SIZE:,})")
    estimate = f"{min(steps, size)} Lanczos steps from each of {probes} random start vectors"
    if method == "auto" and size <= LARGEST_DENSE_SIZE and full.bytes <= memory:
        columns = size * BATCHED_COLUMN
        if columns <= products:
            return _because(
                full,
                f"every eigenvalue: {size:,} columns, computed in batches, cost less than {products:,} products "
                "of an estimate",
            )
    if krylov.bytes > memory:
        fit = memory // (size * itemsize) - KEPT
        fewer = f"Use steps={fit} (not comparable with spectra of other step numbers), or" if fit > 0 else "Use"
        raise TooLargeError(
            f"{estimate} for {size:,} parameters need {_human(krylov.bytes)} for the basis, and {_human(memory)} are "
            f"allowed. {fewer} a smaller block."
        )
    if method == "lanczos":
        return _because(krylov, f"{estimate}: method='lanczos' was asked for")
    limit = "too many for all eigenvalues" if size > LARGEST_DENSE_SIZE else "more columns than an estimate is worth"
    return _because(krylov, f"{estimate}: {size:,} parameters are {limit}")


def _factor(size: int, factor: "Factor | str", *, checks: int, memory: int, asked: bool) -> Choice | None:
    """The factor method with its price; None where "auto" should not even try it."""
    if not isinstance(factor, Factor):
        raise UnsupportedError(f"method='factor' is not possible here: {factor}.")
    rank = min(size, factor.rows)
    needed = factor_bytes(size, factor.rows)
    if needed > memory or not (asked or factor.rows <= FACTOR_ROWS or size <= LARGEST_DENSE_SIZE):
        if not asked:
            return None
        raise TooLargeError(
            f"A factor of {factor.rows:,} rows for {size:,} parameters needs {_human(needed)}, and {_human(memory)} "
            "are allowed. Use fewer samples, or method='lanczos'."
        )
    reason = (
        f"every eigenvalue, from at most {factor.passes} backward passes, if the Hessian is its Gauss-Newton matrix "
        f"(of rank {rank:,} at most)"
    )
    return Choice("factor", reason, factor.passes + checks, needed)


def factor_bytes(size: int, rows: int) -> int:
    """Memory of the smaller Gram matrix in float64, with what solving it takes."""
    return DENSE_COPIES * 8 * min(size, rows) ** 2


def dense_bytes(size: int) -> int:
    """Memory of the dense method at its peak."""
    return DENSE_COPIES * 8 * size**2


def lanczos_bytes(size: int, steps: int, itemsize: int, *, runs: int = 1) -> int:
    """Memory at its peak: the bases of ``runs`` runs, what one step works with, and the first start vectors.

    Of these only the ones for the symmetry check are kept, with their products.
    """
    return (runs * (min(steps, size) + WORKING_VECTORS) + 2 * START_VECTORS) * size * itemsize


def runs_together(size: int, steps: int, probes: int, itemsize: int, *, memory: int) -> int:
    """How many runs fit into memory at once, up to ``probes``: at least one, fit or not."""
    one = lanczos_bytes(size, steps, itemsize)
    more = lanczos_bytes(size, steps, itemsize, runs=2) - one
    return max(1, min(probes, 1 + (memory - one) // more))


def chunk_size(size: int, *, graph_bytes: int, budget: int = CHUNK_BYTES) -> int:
    """How many columns to multiply at once, given the bytes one gradient graph keeps alive."""
    return max(1, min(size, LARGEST_CHUNK, budget // max(1, graph_bytes)))


def _lanczos_products(size: int, steps: int, probes: int) -> int:
    return max(probes, START_VECTORS) + probes * (min(steps, size) - 1)


def _because(choice: Choice, reason: str) -> Choice:
    return replace(choice, reason=reason)


def _human(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"
