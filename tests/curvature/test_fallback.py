"""Memory that runs out: the same numbers from smaller pieces, nothing kept alive, and words where nothing helps."""

import copy
import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from curvature.matrices import MatrixOperator, rotated
from curvature.objectives import NetObjective, classes, hessian, mlp
from torch import nn

from lhexplore.curvature import engine
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.dense import columns, eigenvalues
from lhexplore.curvature.fallback import Room, ladder, with_less_memory
from lhexplore.curvature.lanczos import lanczos, start_vector
from lhexplore.curvature.layers import find_layer
from lhexplore.curvature.memory import out_of_memory, requested
from lhexplore.curvature.operators import GRAPH_BYTES, LayerHessian
from lhexplore.curvature.planner import MEMORY, choose
from lhexplore.curvature.replica import Replica
from lhexplore.curvature.request import Request
from lhexplore.curvature.smaller import halved, largest_batch, on_cpu
from lhexplore.curvature.timing import timed
from lhexplore.errors import DataError, NotFiniteError, TooLargeError
from lhexplore.spectrum import Spectrum, Step

SAME = 1e-12  # relative, float64: sums of 24 examples in another order

CUDA_TEXT = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.11 GiB."


def measure(replica, layer, *, label, snapshot, method="auto", steps=100, probes=5, seed=0):
    """One attempt, without the engine's own ladder."""
    request = Request(replica, layer, label, snapshot, method, "hessian", "data", steps, probes, seed, MEMORY)
    return timed(engine._attempt(request, None), replica)


def cuda_error():
    raise torch.OutOfMemoryError(CUDA_TEXT)


def cpu_error():
    torch.empty(10**15)  # the allocator's own words


def python_error():
    raise MemoryError("Unable to allocate 7.45 GiB for an array")


FAILURES = {"cuda": cuda_error, "cpu": cpu_error, "python": python_error}


class Graph(torch.autograd.Function):
    """The identity; its backward, and that one's backward, take memory for each example."""

    @staticmethod
    def forward(ctx, x, limit):
        ctx.limit = limit
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        ctx.limit.check(len(upstream))
        return Graph.apply(upstream, ctx.limit), None


class Limit(nn.Module):
    """A layer that needs memory for each example that is differentiated: in the forward pass, or in the backward."""

    def __init__(self, where, failure):
        super().__init__()
        self.where, self.failure, self.most, self.asked = where, failure, 10**9, []

    def __deepcopy__(self, memo):
        return self  # the test changes the limit after the model was copied

    def check(self, examples):
        self.asked.append(examples)
        if examples > self.most:
            FAILURES[self.failure]()

    def forward(self, x):
        if not x.requires_grad:
            return x
        if self.where == "forward":
            self.check(len(x))
            return x
        return Graph.apply(x, self)


def limited(most, *, where="forward", failure="cuda", cuts=(16,), criterion=None, data=None):
    """A replica of a small network on 24 examples that runs out of memory above ``most`` of them, and its limit."""
    limit = Limit(where, failure)
    plain = mlp(sizes=(6, 5, 3))
    model = nn.Sequential(plain[0], plain[1], limit, plain[2])
    replica = Replica(model, criterion or nn.CrossEntropyLoss(), freeze(data or classes(cuts=cuts)), device="cpu")
    limit.most = most
    return replica, limit


def spectra(replica, name="0", **settings):
    layer = find_layer(replica.layers, name)

    def attempt(room):
        return measure(room.replica, layer, label=name, snapshot="now", method="dense", **settings)

    return list(with_less_memory(attempt, ladder(replica)))


# ---- smaller micro-batches


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("most", [9, 1])
def test_smaller_micro_batches_give_the_same_numbers(where, failure, most):
    replica, _ = limited(10**9)
    truth = spectra(replica)[-1].spectrum
    assert not any("ran out" in note for note in truth.notes)
    replica, limit = limited(most, where=where, failure=failure)
    steps = spectra(replica)
    found = steps[-1].spectrum
    assert np.abs(found.eigenvalues - truth.eigenvalues).max() <= SAME * truth.magnitude
    assert abs(found.trace - truth.trace) <= SAME * truth.magnitude * truth.size
    assert max(limit.asked[len(limit.asked) // 2 :]) <= most
    size = {9: "8 examples", 1: "1 example"}[most]
    assert any(f"in micro-batches of {size}:" in note for note in found.notes)


def test_progress_begins_again_and_ends_complete():
    replica, _ = limited(4)
    steps = spectra(replica)
    starts = [i for i, step in enumerate(steps) if step.done == 0]
    assert len(starts) == 3  # graphs not kept, 8 examples, 4 examples
    assert all(step.total >= 1 for step in steps)
    done = [step.done for step in steps[starts[-1] :]]
    assert done == sorted(done)
    assert steps[-1].done == steps[-1].total
    assert steps[-1].spectrum.complete


def weighted():
    return nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.3], dtype=torch.float64), label_smoothing=0.1)


@pytest.mark.parametrize("kind", ["class weights", "ignored labels", "function", "regression"])
def test_halves_weigh_as_the_criterion_does(kind):
    data = classes(examples=23, cuts=(9,))
    criterion = {"class weights": weighted, "function": lambda: lambda out, y: nn.functional.cross_entropy(out, y)}
    if kind == "ignored labels":
        data[1][1][[0, 1, 2, 3, 4, 5, 6, 9]] = -100  # the first half of the second batch but one
    if kind == "regression":
        data = [(x, torch.randn(len(x), 3, dtype=torch.float64)) for x, _ in data]
        criterion[kind] = nn.MSELoss
    criterion = criterion.get(kind, nn.CrossEntropyLoss)()
    replica, _ = limited(10**9, data=data, criterion=criterion)
    whole, pieces = replica.value(), replica
    counts = [replica.count]
    while (smaller := halved(pieces)) is not None:
        pieces = smaller
        counts.append(pieces.count)
        assert sum(pieces.shares) == pytest.approx(1, abs=SAME)
        assert pieces.value() == pytest.approx(whole, rel=SAME)
    assert largest_batch(pieces) == 1
    assert counts[0] == 2
    assert counts[-1] == 23 - (8 if kind == "ignored labels" else 0)
    assert replica.count == 2


def test_halves_keep_the_weights_they_were_made_with():
    replica, _ = limited(10**9)
    twin, before = halved(replica), replica.value()
    replica.load({name: 2 * value for name, value in replica.model.state_dict().items()})
    assert twin.value() == pytest.approx(before, rel=SAME)
    assert replica.value() != pytest.approx(before, rel=1e-3)


def contrast(model, batch):
    """Depends on all examples of a batch at once."""
    out = model(batch[0])
    return (out - out.mean(0)).square().mean()


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)


def test_what_belongs_to_a_whole_batch_is_not_cut():
    coupled, _ = limited(4, criterion=contrast)
    assert halved(coupled) is None
    with pytest.raises(TooLargeError, match="every way this was tried: as planned"):
        spectra(coupled)
    norms = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    frozen = Replica(norms, nn.CrossEntropyLoss(), freeze(classes()), device="cpu", mode="train-frozen")
    assert halved(frozen) is None
    noisy = Replica(nn.Sequential(Noise(), mlp()), nn.CrossEntropyLoss(), freeze(classes()), device="cpu")
    assert halved(noisy) is None


# ---- fewer vectors at once


class Wide(MatrixOperator):
    """Runs out of memory where too many columns come at once."""

    most, name = 5, "wide"

    def matmat(self, vectors):
        if vectors.shape[1] > self.most:
            cpu_error()
        return super().matmat(vectors)


def test_fewer_vectors_at_once_give_the_same_numbers():
    values = np.random.default_rng(0).standard_normal(40)
    matrix = rotated(values)
    replica, _ = limited(10**9)
    chunks = []

    def attempt(room):
        chunks.append(room.chunk)
        for done, filled in columns(Wide(matrix), chunk=room.chunk):
            yield Step(done, 41)
            full = filled
        exact = eigenvalues(full, epsilon=1e-16)
        spectrum = Spectrum("wide", "now", 40, exact.eigenvalues, np.full(40, 1 / 40), method="dense")
        yield Step(41, 41, spectrum)

    *_, last = with_less_memory(attempt, ladder(replica, chunk=32))
    assert chunks == [32, 16, 8, 4]
    assert np.abs(last.spectrum.nodes - np.sort(values)).max() <= SAME * np.abs(values).max()
    assert "computed with 4 vectors at a time: the same numbers." in last.spectrum.notes[-1]


# ---- the host


def on_a_small_device(replica):
    """What a replica on a GPU looks like to the ladder."""
    twin = copy.copy(replica)
    twin.device = torch.device("cuda")
    return twin


def single():
    return limited(10**9, data=[(x[None], y[None]) for x, y in zip(*classes(examples=6)[0], strict=True)])[0]


def test_the_basis_and_then_everything_goes_to_main_memory():
    replica = single()
    truth = spectra(replica)[-1].spectrum
    layer, rooms = find_layer(replica.layers, "0"), []

    def attempt(room):
        rooms.append((room.chunk, room.host_basis, room.replica.device.type))
        if room.replica.device.type != "cpu":
            cuda_error()
        yield from measure(room.replica, layer, label="0", snapshot="now")

    *_, last = with_less_memory(attempt, ladder(on_a_small_device(replica), chunk=2))
    assert [room[1:] for room in rooms] == [(False, "cuda")] * 3 + [(True, "cuda"), (False, "cpu")]
    assert [room[0] for room in rooms] == [2, 1, 1, 1, 2]
    assert np.abs(last.spectrum.eigenvalues - truth.eigenvalues).max() <= SAME * truth.magnitude
    assert "computed on the CPU: the same numbers." in last.spectrum.notes[-1]


def test_the_copy_on_the_cpu_has_the_weights_of_the_snapshot():
    replica = limited(10**9)[0]
    replica.load({name: 2 * value for name, value in replica.model.state_dict().items()})
    twin = on_cpu(on_a_small_device(replica))
    assert twin.device.type == "cpu"
    assert twin.dtype == replica.dtype
    assert [len(twin.batch(i)[0]) for i in range(twin.count)] == [16, 8]
    assert twin.value() == pytest.approx(replica.value(), rel=SAME)


def test_a_replica_on_the_cpu_has_no_other_place_to_go():
    rooms = list(ladder(single()))
    assert [room.host_basis for room in rooms] == [False, False]
    assert [room.graph_bytes for room in rooms] == [GRAPH_BYTES, 0]
    one = limited(10**9, data=classes(examples=1))[0]
    assert list(ladder(one)) == [Room(one)]


# ---- refusals


def test_a_refusal_says_what_was_tried_and_what_would_fit():
    replica, _ = limited(0, failure="cpu")
    layer = find_layer(replica.layers, "0")

    def attempt(room):
        return measure(room.replica, layer, label="0", snapshot="now")

    with pytest.raises(TooLargeError) as caught:
        list(with_less_memory(attempt, ladder(replica, chunk=2), vector_bytes=8 * 10**6))
    text = str(caught.value)
    for words in (
        "as planned; with 1 vector at a time; with 1 vector at a time, with every gradient graph built anew; "
        "with 1 vector at a time, in micro-batches of 8 examples;",
        "with 1 vector at a time, in micro-batches of 1 example.",
        "asked for 3,814,697,265.6 MiB more",
        "MiB are free now",
        "Lanczos steps would fit",
        "Choose a smaller block",
    ):
        assert words in text
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("error", [NotFiniteError("nan"), DataError("bad"), RuntimeError("shape"), KeyError("x")])
def test_other_errors_pass_at_once(error):
    replica, _ = limited(10**9)
    attempts = []

    def attempt(room):
        attempts.append(room)
        yield Step(1, 2)
        raise error

    with pytest.raises(type(error)) as caught:
        list(with_less_memory(attempt, ladder(replica, chunk=4)))
    assert caught.value is error
    assert len(attempts) == 1


def test_a_plan_that_does_not_fit_is_not_memory_that_ran_out():
    with pytest.raises(TooLargeError) as caught:
        choose(20_000, method="dense")
    assert out_of_memory(caught.value) is None
    assert out_of_memory(None) is None


@pytest.mark.parametrize("failure", FAILURES)
def test_the_error_behind_ours_is_found(failure):
    def ours():
        try:
            FAILURES[failure]()
        except Exception as error:
            raise TooLargeError("in our words") from error

    with pytest.raises(TooLargeError) as caught:
        ours()
    assert out_of_memory(caught.value) is caught.value.__cause__


def test_requested_bytes_are_read():
    assert requested(CUDA_TEXT) == int(2.5 * 2**30)
    assert (
        requested("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes. Error code 12") == 4000
    )
    assert requested("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate") == 0


# ---- nothing is kept


def test_no_traceback_keeps_a_graph_alive(monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # references alone must do it
    gc.disable()
    try:
        replica, limit = limited(4, where="backward", failure="cpu")
        layer, held = find_layer(replica.layers, "0"), []

        def attempt(room):
            assert [ref for ref in held if ref() is not None] == []
            op = LayerHessian(room.replica, layer)
            held.append(weakref.ref(op))
            for done, matrix in columns(op, chunk=1):
                held.append(weakref.ref(matrix))
                yield Step(done, op.size)

        list(with_less_memory(attempt, ladder(replica)))
        assert len({id(ref) for ref in held}) > 3  # three attempts
        limit.most = 0
        with pytest.raises(TooLargeError) as caught:
            list(with_less_memory(attempt, ladder(replica)))
        assert [ref for ref in held if ref() is not None] == []
        assert caught.value.__traceback__ is not None  # held while the graphs are gone
    finally:
        gc.enable()


def test_closing_closes_the_attempt():
    replica, _ = limited(10**9)
    closed = []

    def attempt(room):
        try:
            yield Step(1, 2)
            yield Step(2, 2)
        finally:
            closed.append(True)

    steps = with_less_memory(attempt, ladder(replica))
    next(steps)
    steps.close()
    assert closed == [True]


def test_a_room_is_made_only_when_it_is_needed():
    replica, limit = limited(10**9)
    rooms = ladder(replica)
    assert next(rooms) == Room(replica)
    limit.asked.clear()
    spectra(replica)
    assert max(limit.asked) == 16


def test_the_truth_is_the_truth():
    replica, _ = limited(3, where="backward")
    objective = NetObjective(mlp(sizes=(6, 5, 3)), classes(cuts=(16,)), nn.CrossEntropyLoss())
    truth = torch.linalg.eigvalsh(hessian(objective, objective.block("0."))).numpy()
    found = spectra(replica)[-1].spectrum.eigenvalues
    assert np.abs(found - truth).max() <= 1e-10 * np.abs(truth).max()  # two programs


SCRIPT = """
import re, resource, sys
from pathlib import Path
import torch
from torch import nn
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.dense import columns, eigenvalues
from lhexplore.curvature.fallback import ladder, with_less_memory
from lhexplore.curvature.operators import LayerHessian
from lhexplore.curvature.replica import Replica
from lhexplore.spectrum import Spectrum, Step

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 256), nn.Tanh(), nn.Linear(256, 3)).double()

def replica(examples):
    data = freeze((torch.randn(examples, 3), torch.randint(0, 3, (examples,))), samples=None)
    return Replica(model, nn.CrossEntropyLoss(), data, device="cpu", threads=1)

def attempt(room):
    op = LayerHessian(room.replica, room.replica.layers[0], graph_bytes=room.graph_bytes)
    with room.replica.guard():
        for done, matrix in columns(op, chunk=1):
            yield Step(done, op.size)
    exact = eigenvalues(matrix, epsilon=1e-16)
    yield Step(op.size, op.size, Spectrum("0", "now", op.size, exact.eigenvalues, [1 / op.size] * op.size, "dense"))

large = replica(4096)
*_, _ = with_less_memory(attempt, ladder(replica(8)))  # what torch takes once and for all
if sys.argv[1] != "none":
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20,) * 2)
*_, last = with_less_memory(attempt, ladder(large))
print(*(float(value).hex() for value in last.spectrum.nodes), sep=",")
print(*last.spectrum.notes)
"""


def with_memory(mebibytes):
    ran = subprocess.run([sys.executable, "-c", SCRIPT, mebibytes], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    nodes, note = ran.stdout.splitlines()
    return np.array([float.fromhex(node) for node in nodes.split(",")]), note


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_process_with_little_memory_gets_the_same_numbers():
    truth, silent = with_memory("none")
    found, note = with_memory("12")
    assert silent == ""
    assert "Memory ran out, so this was computed in micro-batches of" in note
    assert np.abs(found - truth).max() <= 10 * SAME * np.abs(truth).max()  # sums of 4096


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_full_gpu_falls_back_to_smaller_micro_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 4)).double()
    data = freeze((torch.randn(8192, 64), torch.randint(0, 4, (8192,))), samples=None)
    replica = Replica(model, nn.CrossEntropyLoss(), data, device="cuda", dtype=torch.float64)
    layer = find_layer(replica.layers, "0")

    def attempt(room):
        op = LayerHessian(room.replica, layer, graph_bytes=room.graph_bytes)
        with room.replica.guard():
            for known in lanczos(op, start_vector(op, seed=0, name="0", index=0), steps=4):
                yield Step(known.steps, 4)
        found = known.quadrature()
        yield Step(4, 4, Spectrum("0", "now", op.size, found.nodes, found.weights, "lanczos"))

    *_, truth = attempt(Room(replica))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 120 * 2**20) / total)
    try:
        *_, last = with_less_memory(attempt, ladder(replica))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("ran out" in note for note in last.spectrum.notes)
    assert np.abs(last.spectrum.nodes - truth.spectrum.nodes).max() <= 1e-9 * truth.spectrum.magnitude
