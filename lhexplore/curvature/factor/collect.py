"""One micro-batch: run its backward passes, and tell of each tensor when all of its rows are known."""

from collections import Counter
from collections.abc import Collection, Iterator

from torch import Tensor

from ..operators import translated
from ..replica import Replica
from .backward import Backward
from .examples import ByExample
from .output import output_factor
from .parts import Part, formed_bytes, kept_bytes
from .scratch import Scratch
from .taps import Call, Recording


class Collector:
    """The rows of some tensors in micro-batch ``i``.

    Args:
        objective: the loss over frozen data.
        i: the micro-batch.
        recording: of its forward pass; let go of it, or all activations stay.
        names: the tensors.
        singly: those of them whose rows are to be computed example by example.
        scratch: memory to work in.
        budget: bytes of gradients that may be kept at a time.
    """

    def __init__(
        self,
        objective: Replica,
        i: int,
        recording: Recording,
        names: Collection[str],
        singly: Collection[str],
        scratch: Scratch,
        *,
        budget: int,
    ) -> None:
        self._objective, self._i, self._scratch = objective, i, scratch
        outputs = recording.outputs
        factor = output_factor(objective, i, outputs.detach())
        self.passes, self.examples = len(factor), recording.examples
        self.single = [name for name in names if name in singly or name in recording.beyond]
        self._wanted = set(names) - set(self.single)
        calls = [call for call in recording.calls if self._wanted & set(call.names.values())]
        self._backward = Backward(outputs, factor, calls) if calls and self.passes else None
        self._sections = self._backward.sections if self._backward else []
        self.parts = self._parts(names)
        self._left = Counter(name for section in self._sections for call in section for name in call.names.values())
        self.unreached = {name for name in self._wanted if not self._left[name]}
        self._stretches = list(self._cut(budget))
        self._by_example = ByExample(objective, i, self.single, outputs.detach(), factor, budget=budget)
        self.steps = len(self._by_example) + self.passes * len(self._stretches)

    def run(self) -> Iterator[str | None]:
        """Yield a tensor's name when its part is complete, and None after every pass of a stretch, or some examples."""
        yield from self.unreached
        for first, last, together in self._stretches:
            yield from self._stretch(first, last, together)
        yield from self._by_example.run({name: self.parts[name].form for name in self.single})
        yield from self.single

    def _stretch(self, first: int, last: int, together: int) -> Iterator[str | None]:
        assert self._backward is not None  # noqa: S101
        calls = [call for section in self._sections[first:last] for call in section]
        passes = self._backward.run(first, last)
        held: list[list[Tensor | None]] = []
        for c in range(self.passes):
            with translated("the layers", self._objective, self._i):
                held.append(next(passes))
            if len(held) == together or c + 1 == self.passes:
                for call, *gradients in zip(calls, *held, strict=True):
                    self._add(call, gradients, c + 1 - len(held))
                held.clear()
            yield None
        self._sections[first:last] = [[] for _ in range(first, last)]  # inputs go with the parts that need them
        seen = [name for call in calls for name in call.names.values()]
        del calls, call, gradients
        for name in seen:
            self._left[name] -= 1
            if not self._left[name] and name in self._wanted:
                yield name

    def _add(self, call: Call, gradients: list[Tensor | None], first: int) -> None:
        for attribute, name in call.names.items():
            reached = [g for g in gradients if g is not None]
            if name in self._wanted and len(reached) == len(gradients):
                self.parts[name].add(call, attribute, reached, first, self._scratch)

    def _parts(self, names: Collection[str]) -> dict[str, Part]:
        uses: dict[str, list[Call]] = {name: [] for name in names}
        for section in self._sections:
            for call in section:
                for name in self._wanted & set(call.names.values()):
                    uses[name].append(call)
        parts = {}
        for name, calls in uses.items():
            like = self._objective.tensors[name]
            formed = formed_bytes(like, self.examples * self.passes) <= kept_bytes(calls, self.passes)
            parts[name] = Part(like, self.examples, self.passes, formed=formed)
        return parts

    def _cut(self, budget: int) -> Iterator[tuple[int, int, int]]:
        """Runs of sections, and how many passes to hold before rows are formed, so that the budget suffices.

        Shorter runs cost next to nothing. Fewer passes at a time do: only where a single section is too much.
        """
        first, filled, together = 0, 0, self.passes
        for number, section in enumerate(self._sections):
            forming = sum(call.bytes for call in section if not self._keeps(call))
            keeping = sum(call.bytes for call in section if self._keeps(call)) * self.passes
            tensors = {name for call in section for name in call.names.values() if name in self._wanted}
            keeping += sum(self.parts[name].bytes for name in tensors)
            needed = keeping + forming * self.passes
            if number > first and filled + needed > budget:
                yield first, number, together
                first, filled, together = number, 0, self.passes
            filled += needed
            if needed > budget and forming:
                rounds = -(-forming * self.passes // max(forming, budget - keeping))
                together = -(-self.passes // rounds)
        if self._sections:
            yield first, len(self._sections), together

    def _keeps(self, call: Call) -> bool:
        return any(not self.parts[name].formed for name in call.names.values() if name in self._wanted)
