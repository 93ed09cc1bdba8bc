"""The tools that are compared, one adapter file each, behind one small face.

An adapter uses its tool as the tool's own documentation recommends for this purpose, in the fastest way that needs no
change to the tool. What a tool has no call for is in ``cannot``, with the reason; what it has a call for that fails is
left to fail, and the message becomes its result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy import ndarray
from problem import Problem

TASKS = {  # name -> method of a tool, what it is
    "layers": ("all_layers", "Spectra of all layers"),
    "slq": ("one_layer", "One layer by Lanczos quadrature, equal probes and steps"),
    "top": ("top", "Largest eigenvalues of the whole network"),
    "trace": ("trace", "Traces of all layers"),
}
TIMED = ("measured", "extrapolated")  # the states of a result that has a time


@dataclass(frozen=True)
class Settings:
    """What every tool is asked for."""

    probes: int
    steps: int
    layer: str  # of slq
    layer_probes: int  # of slq
    count: int  # of top
    trace_products: int
    seed: int
    budget: float  # seconds that may be spent on measuring in full; beyond, a part is measured and the rest computed


@dataclass
class Answer:
    """What a tool found, and what that cost."""

    spectra: dict[str, tuple[ndarray, ndarray]] = field(default_factory=dict)  # layer -> nodes, weights summing to 1
    traces: dict[str, float] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)  # of top
    products: float = 0.0  # as if everything had been run
    seconds: float = 0.0  # likewise
    measured: str = ""  # what was really run, where seconds are extrapolated; empty where everything was
    notes: list[str] = field(default_factory=list)
    how: dict[str, tuple[str, float]] = field(default_factory=dict)  # layer -> method, products; where the tool tells


class Cannot(Exception):
    """This tool cannot do this task on this network; the message says why."""


class Tool:
    """One tool on one problem. Subclasses answer the tasks that are not in ``cannot``."""

    label: ClassVar[str] = ""
    package: ClassVar[str] = ""  # as installed
    cannot: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self.problem, self.settings = problem, settings

    @classmethod
    def load(cls) -> None:
        """Import what the tool needs, so that neither time nor memory of the import is counted."""

    def all_layers(self) -> Answer:
        raise NotImplementedError

    def one_layer(self) -> Answer:
        raise NotImplementedError

    def top(self) -> Answer:
        raise NotImplementedError

    def trace(self) -> Answer:
        raise NotImplementedError


def joined(runs: list[tuple[ndarray, ndarray]]) -> tuple[ndarray, ndarray]:
    """Several probes' nodes and weights as one measure whose weights sum to 1."""
    nodes = np.concatenate([np.asarray(run[0], float) for run in runs])
    weights = np.concatenate([np.asarray(run[1], float) for run in runs])
    return nodes, weights / weights.sum()


NAMES = {
    "lhexplore": "ours",
    "pyhessian": "pyhessian",
    "eigenthings": "eigenthings",
    "curvlinops": "curvlinops",
    "asdl": "asdl",
    "backpack": "backpack",
    "vivit": "vivit",
}


def tool(name: str) -> type[Tool]:
    """The adapter by name; importing it does not import the tool."""
    adapter: type[Tool] = import_module(f"tools.{NAMES[name]}").Adapter
    return adapter
