"""Metrics of one's own: a function of a spectrum becomes a column, an entry of the map and a line of the report."""

import inspect
from collections.abc import Callable, Iterable
from typing import overload

from ...errors import SettingError, suggest
from ...spectrum import Spectrum
from .spectral import NEEDS, Metric
from .state import PAIR_METRICS, STATE_METRICS
from .table import BUILT_IN, METRICS

Function = Callable[[Spectrum], float]

LOSSES = frozenset({"loss", "accuracy", "held_out_loss", "held_out_accuracy"})
# Columns of the session's tables that are no metrics.
# fmt: off
COLUMNS = frozenset({
    "snapshot", "step", "epoch", "layer", "size", "split", "status", "reason", "method", "exact", "zero_band", "error",
    "trace_stderr", "hesd", "hesd_type", "quasi_singular", "ct", "ct_low", "ct_high", "re", "kh", "kh_basis",
    "findings", *LOSSES,
})
# fmt: on

_LISTENERS: list[Callable[[], None]] = []


def on_registered(heard: Callable[[], None]) -> Callable[[], None]:
    """Call ``heard`` whenever a metric of one's own was added, replaced or taken out, on the thread that did it.

    Returns:
        What ends it; harmless when repeated.
    """
    _LISTENERS.append(heard)
    return lambda: _LISTENERS.remove(heard) if heard in _LISTENERS else None


def _tell() -> None:
    for heard in [*_LISTENERS]:
        heard()


def register(metric: Metric) -> Metric:
    """Add a metric of one's own, or replace an earlier one of the same name.

    Raises:
        SettingError: for a name that is no identifier or is taken, an unknown need, a function that does not take one
            spectrum, or a field of the wrong kind.
    """
    if not isinstance(metric, Metric) or not isinstance(metric.name, str) or not callable(metric.function):
        raise SettingError(f"Expected a Metric with a name and a function of a spectrum, got {metric!r:.80}.")
    name = metric.name
    if not name.isidentifier():
        raise SettingError(f"A metric's name must be a Python identifier, got {name!r}. Say name='…'.")
    if name in BUILT_IN or name in STATE_METRICS or name in PAIR_METRICS:
        raise SettingError(f"{name!r} is a built-in metric. Choose another name.")
    if name in COLUMNS:
        raise SettingError(f"{name!r} is a column of session.summary() already. Choose another name.")
    for field in ("unit", "meaning", "source"):
        if not isinstance(getattr(metric, field), str):
            raise SettingError(f"{field} of metric {name!r} must be a text, got {getattr(metric, field)!r:.60}.")
    _conditions(metric.needs, name)
    for field, function in (("function", metric.function), ("error", metric.error)):
        if function is not None and not _takes_one(function):
            raise SettingError(f"{field} of metric {name!r} must be a function of one spectrum, got {function!r:.80}.")
    METRICS[name] = metric
    _tell()
    return metric


def unregister(name: str) -> None:
    """Take a metric of one's own out again.

    Raises:
        SettingError: there is no such metric, or it is built in.
    """
    if name in BUILT_IN:
        raise SettingError(f"{name!r} is a built-in metric: only one's own can be taken out.")
    if not isinstance(name, str) or METRICS.pop(name, None) is None:
        raise SettingError(f"There is no metric {name!r} of your own. {suggest(name, METRICS.keys() - BUILT_IN)}")
    _tell()


@overload
def register_metric(function: Function) -> Function: ...
@overload
def register_metric(
    *,
    name: str = "",
    unit: str = "",
    meaning: str = "",
    source: str = "your own",
    log: bool = False,
    needs: Iterable[str] = (),
    error: Function | None = None,
) -> Callable[[Function], Function]: ...
def register_metric(
    function: Function | None = None,
    *,
    name: str = "",
    unit: str = "",
    meaning: str = "",
    source: str = "your own",
    log: bool = False,
    needs: Iterable[str] = (),
    error: Function | None = None,
) -> Function | Callable[[Function], Function]:
    """Add a function of a spectrum to the metrics: to tables, the explorer's map and its list, and the report.

    Where it raises or returns no real number, the metric is NaN and ``explain`` says why; nothing else is disturbed.

        @lh.register_metric(needs=("positive", "no negative"))
        def top_share(spectrum):
            "Share of the trace that the largest eigenvalue carries."
            return spectrum.largest / spectrum.trace

    Args:
        function: returns one real number per Spectrum; nodes and weights hold for exact and estimated spectra alike.
        name: in tables; left out, the function's name.
        unit: such as "loss / parameter²"; empty for a plain number.
        meaning: one sentence; left out, the first line of the function's docstring.
        source: a paper, or whose idea it is.
        log: whether a picture of it wants a logarithmic scale.
        needs: conditions without which it is NaN and the function is not called: "every eigenvalue", "curvature" (not
            all zero), "positive", "no negative", "leading pair".
        error: how far its value of an estimated spectrum may be off (± 2 of it covers 95 %); None where unknown.

    Raises:
        SettingError: as `register`.
    """
    if function is not None and not callable(function):
        raise SettingError(f"register_metric takes a function of a spectrum, got {function!r:.80}.")

    def add(made: Function) -> Function:
        called = name or getattr(made, "__name__", type(made).__name__)
        first = next(iter((inspect.getdoc(made) or "").splitlines()), "")
        wanted = _conditions((needs,) if isinstance(needs, str) else needs, called)
        register(
            Metric(
                called, made, unit, meaning or first or f"{called}, a metric of your own.", source, log, wanted, error
            )
        )
        return made

    return add if function is None else add(function)


def _conditions(needs: object, name: str) -> tuple[str, ...]:
    wanted = tuple(needs) if isinstance(needs, Iterable) else (needs,)
    for need in wanted:
        if not isinstance(need, str):
            raise SettingError(f"needs of metric {name!r} must be names of conditions, got {needs!r:.60}.")
        if need not in NEEDS:
            raise SettingError(f"Metric {name!r} has an unknown need {need!r}. {suggest(need, NEEDS)}")
    return wanted


def _takes_one(function: object) -> bool:
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # built-in functions without a signature
        return True
    return True
