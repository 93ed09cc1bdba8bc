"""Traces beside a training: right, cheap to ask for, and without a trace in the training itself."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore.errors import ComparisonError, LhexploreError, ModelError, SettingError, UnsupportedError
from lhexplore.session.recording import record
from lhexplore.snapshots import Snapshots

COVERED = 4.0  # standard errors; each is made to cover 95 % within two

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
Y = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """Everything that a measurement could disturb: batch norm, dropout, random draws, hooks."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
        self.calls = 0
        self.register_forward_hook(lambda *_: setattr(self, "calls", self.calls + 1))

    def forward(self, x):
        return self.body(x)


def train(folder, *, steps=12, model=None, observe=None, **settings):
    torch.manual_seed(3)
    model = Net() if model is None else model()
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    recorder = record(model, folder, every=4, **settings)
    for step in range(steps):
        recorder.step(step)
        if observe is not None:
            observe(step, recorder)
        batch = torch.randint(0, 40, (16,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(X[batch]), Y[batch]).backward()
        optimiser.step()
    return model, recorder


DATA = {"data": (X, Y), "loss": nn.CrossEntropyLoss()}


def test_training_is_bit_equal_with_and_without_traces(tmp_path):
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=10, shuffle=True)
    plain, _ = train(tmp_path / "a")
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    traced, recorder = train(tmp_path / "b", data=loader, loss=nn.CrossEntropyLoss(), curvature_every=1)
    assert len(recorder.traces) == 12
    assert all(math.isfinite(value) for point in recorder.traces for value, _ in point.traces.values())
    assert plain.state_dict().keys() == traced.state_dict().keys()  # running statistics and their count among them
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, traced.state_dict()[name]), name
    for one, other in zip(plain.parameters(), traced.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert plain.calls == traced.calls == 12
    assert [module.training for module in traced.modules()] == [True] * len(list(traced.modules()))
    rows = [Snapshots.discover(tmp_path / run) for run in "ab"]
    assert [row.digest for row in rows[0]] == [row.digest for row in rows[1]]


def test_the_traces_are_those_of_the_layers(tmp_path):
    """Against exact spectra of a session at the recorded weights, on the same examples, in float64."""
    model, recorder = train(tmp_path, **DATA, samples=40, probes=10)
    with lh.Session(model, (X, Y), nn.CrossEntropyLoss(), snapshots=tmp_path, cache=False) as session:
        for point in recorder.traces:
            exact = {layer: session.spectrum(layer, f"step-{point.step:06d}") for layer in point.traces}
            for layer, (value, error) in point.traces.items():
                assert exact[layer].exact
                assert abs(value - exact[layer].trace) <= COVERED * error
            assert set(point.traces) == {layer.name for layer in session.layers}
            assert (point.basis, point.examples) == ("hessian of CrossEntropyLoss, eval mode", 40)


def test_the_random_vectors_differ_from_point_to_point_and_the_seed_decides(tmp_path):
    def points(name, seed):
        model = nn.Linear(6, 3)
        nn.init.constant_(model.weight, 0.1)
        nn.init.zeros_(model.bias)
        recorder = record(model, tmp_path / name, schedule=[0, 1], **DATA, probes=1, seed=seed)
        recorder.step(0), recorder.step(1)
        return [point.traces[""] if "" in point.traces else point.traces["(root)"] for point in recorder.traces]

    first, again, other = points("a", 0), points("b", 0), points("c", 9)
    assert first == again != other
    assert first[0] != first[1]


def test_recorded_points_come_back_from_disk(tmp_path):
    _, recorder = train(tmp_path, **DATA, curvature_every=2)
    assert [point.step for point in recorder.traces] == [0, 2, 4, 6, 8, 10]
    assert Snapshots.discover(tmp_path).recorded_traces == recorder.traces


def test_without_data_it_is_the_plain_recorder(tmp_path):
    _, recorder = train(tmp_path)
    assert isinstance(recorder, lh.Recorder)
    assert recorder.traces == ()
    assert [row.traces for row in Snapshots.discover(tmp_path)] == [None] * 3
    with pytest.raises(SettingError, match="no reference to raise alarms against"):
        _ = recorder.alarms
    with pytest.raises(SettingError, match="no traces to follow"):
        recorder.monitor()
    with pytest.raises(SettingError, match="curvature=True measures traces on data"):
        recorder.step(12, curvature=True)
    with pytest.raises(ModelError):
        record(None, tmp_path)
    with pytest.raises(ModelError):
        record("net", tmp_path, **DATA)


def test_a_warning_about_the_folder_points_at_the_line_that_asked(tmp_path):
    train(tmp_path)
    with pytest.warns(UserWarning, match="an earlier run") as warned:
        record(Net(), tmp_path)
    assert warned[0].filename == __file__


@pytest.mark.parametrize("alone", [{"loss": 1}, {"curvature_every": 5}, {"reference": "runs/a"}, {"on_alarm": print}])
def test_traces_without_data_are_refused(alone, tmp_path):
    with pytest.raises(SettingError, match=r"needs data= as well"):
        record(Net(), tmp_path / "run", **alone)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": (X, Y[:5])}, {"data": []}, {"loss": None}, {"probes": 0}, {"samples": 0}, {"layers": "nothing"},
        {"curvature_every": 0}, {"mode": "train"}, {"on_alarm": print}, {"reference": 5}, {"seed": -1},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_before_training(wrong, tmp_path):
    with pytest.raises(LhexploreError):
        record(Net(), tmp_path / "run", **{**DATA, **wrong})
    assert not (tmp_path / "run").exists()


class Breaking(Net):
    """Loses its second derivative, or its finite values, from a moment on."""

    fault = ""

    def forward(self, x):
        x = super().forward(x)
        if Breaking.fault == "raises":
            raise ZeroDivisionError("on purpose")
        return x * float("nan") if Breaking.fault == "nan" else x


@pytest.mark.parametrize(("fault", "said"), [("raises", "on purpose"), ("nan", "nan")])
def test_an_error_in_measuring_warns_once_marks_the_points_and_training_goes_on(fault, said, tmp_path):
    model = Breaking()
    recorder = record(model, tmp_path, every=1, **DATA)
    recorder.step(0)
    Breaking.fault = fault
    try:
        with pytest.warns(RuntimeWarning, match="Traces could not be measured at step 1") as warned:
            written = [recorder.step(step) for step in (1, 2, 3)]
    finally:
        Breaking.fault = ""
    recorder.step(4)
    assert len(warned) == 1
    assert all(path.exists() for path in written)
    assert warned[0].filename == __file__
    assert [bool(point.traces) for point in recorder.traces] == [True, False, False, False, True]
    assert all(said in point.note.lower() for point in recorder.traces[1:4])
    assert Snapshots.discover(tmp_path).recorded_traces == recorder.traces


def test_weights_that_are_not_finite_are_marked(tmp_path):
    model = Net()
    recorder = record(model, tmp_path, every=1, **DATA)
    with torch.no_grad():
        model.body[0].weight[0, 0] = math.nan
    with pytest.warns(RuntimeWarning, match="NaN or infinity in 'body"):
        recorder.step(0)
    assert recorder.traces[0].traces == {}


class Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g


class HalfDifferentiable(Net):
    def forward(self, x):
        return self.body[4](Cut.apply(self.body[:4](x)))


def test_a_layer_without_second_derivative_is_marked_by_itself_or_with_all(tmp_path):
    recorder = record(HalfDifferentiable(), tmp_path, every=1, **DATA)
    with pytest.warns(RuntimeWarning, match="could not be measured"):
        recorder.step(0)
    (point,) = recorder.traces
    assert "differentiable" in point.note or "derivative" in point.note
    assert all(math.isnan(value) for layer, (value, _) in point.traces.items() if layer != "body.4")


def healthy_runs(tmp_path, count=3):
    for seed in range(count):
        train(tmp_path / f"healthy{seed}", steps=20, **DATA, curvature_every=1, seed=seed)
    return [tmp_path / f"healthy{seed}" for seed in range(count)]


def test_alarms_are_raised_while_training(tmp_path):
    runs = healthy_runs(tmp_path)
    heard, seen = [], []

    class Hot(Net):
        """The same network, with a curvature forty times as large."""

        def forward(self, x):
            return super().forward(x) * 6.0

    settings = {"steps": 20, **DATA, "curvature_every": 1, "reference": runs, "on_alarm": heard.append}
    _, recorder = train(tmp_path / "hot", model=Hot, observe=lambda s, r: seen.append(len(r.alarms)), **settings)
    assert heard == list(recorder.alarms)
    assert {alarm.side for alarm in heard} == {"upper"}
    assert seen == sorted(seen)
    assert heard[0].step < 19  # known before the end
    assert seen[heard[0].step] >= 1
    assert recorder.monitor().alarms == recorder.alarms
    assert recorder.monitor().runs == 3
    assert recorder.monitor(runs[:1]).runs == 1
    assert "upper alarm at step" in str(recorder.monitor())

    _, quiet = train(tmp_path / "again", **{**settings, "on_alarm": None, "seed": 7})
    assert quiet.alarms == ()


def test_what_on_alarm_raises_ends_the_training_after_the_point_was_written(tmp_path):
    runs = healthy_runs(tmp_path, 1)

    class Hot(Net):
        def forward(self, x):
            return super().forward(x) * 20.0

    def stop(alarm):
        raise KeyError(alarm.layer)

    with pytest.raises(KeyError):
        train(tmp_path / "hot", model=Hot, steps=20, **DATA, curvature_every=1, reference=runs, on_alarm=stop)
    assert Snapshots.discover(tmp_path / "hot").recorded_traces


def test_a_step_told_twice_is_monitored_once(tmp_path):
    runs = healthy_runs(tmp_path, 1)
    recorder = record(Net(), tmp_path / "run", every=1, **DATA, reference=runs[0])
    for step in (1, 1, 2, 0):
        recorder.step(step)
    assert [len(path.steps) + len(recorder.monitor().skipped) > 0 for path in recorder.monitor().paths]
    assert recorder.alarms == ()


def test_a_training_that_goes_back_is_followed_from_there(tmp_path):
    """Resuming after a divergence: the points that were left behind count no more, and nothing ends the training."""
    runs = healthy_runs(tmp_path, 2)
    recorder = record(Net(), tmp_path / "run", every=1, **DATA, reference=runs)
    for step in (0, 1, 2, 3, 2, 3, 4, 4, 1, 5):
        recorder.step(step)
    assert [point.step for point in recorder.traces] == [0, 1, 2, 3, 2, 3, 4, 4, 1, 5]
    followed = recorder.monitor()
    steps = {step for path in followed.paths for step in path.steps} | {one.step for one in followed.skipped}
    assert steps <= {0, 1, 5}
    assert recorder.alarms == followed.alarms


def test_alarms_of_what_was_left_behind_are_taken_back(tmp_path):
    runs = healthy_runs(tmp_path, 2)

    class Heated(Net):
        """The same network, whose curvature can be turned up: a buffer travels with the weights."""

        def __init__(self):
            super().__init__()
            self.register_buffer("factor", torch.tensor(1.0))

        def forward(self, x):
            return super().forward(x) * self.factor

    net, heard = Heated(), []
    recorder = record(net, tmp_path / "run", every=1, **DATA, reference=runs, on_alarm=heard.append)
    recorder.step(0)
    net.factor.fill_(6.0)
    for step in range(1, 6):
        recorder.step(step)
    assert recorder.alarms
    assert {alarm.step for alarm in recorder.alarms} <= set(range(1, 6))
    said = len(heard)
    net.factor.fill_(1.0)
    recorder.step(1)
    assert recorder.alarms == recorder.monitor().alarms == ()
    assert len(heard) == said


@pytest.mark.parametrize("wrong", [{"h": 3}, None, 5.0])
def test_settings_of_another_kind_are_refused(wrong, tmp_path):
    with pytest.raises(SettingError, match="MonitorSettings"):
        record(Net(), tmp_path / "run", **DATA, settings=wrong)
    if wrong is not None:
        recorder = record(Net(), tmp_path / "run", every=1, **DATA)
        recorder.step(0)
        with pytest.raises(SettingError, match="MonitorSettings"):
            recorder.monitor(settings=wrong)


def test_a_reference_of_another_network_or_loss_is_refused_before_training(tmp_path):
    runs = healthy_runs(tmp_path, 1)
    with pytest.raises(ComparisonError, match="same layers"):
        record(nn.Sequential(nn.Linear(6, 3)), tmp_path / "run", **DATA, reference=runs[0])
    with pytest.raises(ComparisonError, match="NLLLoss"):
        record(Net(), tmp_path / "run", data=(X, Y), loss=nn.NLLLoss(), reference=runs[0])
    train(tmp_path / "plain")
    with pytest.raises(SettingError, match="no traces to follow"):
        record(Net(), tmp_path / "run", **DATA, reference=tmp_path / "plain")
    assert not (tmp_path / "run").exists()


def test_a_model_with_nothing_to_record_is_told(tmp_path):
    with pytest.raises((UnsupportedError, ModelError)):
        record(nn.Identity(), tmp_path / "run", **DATA)


def test_only_the_first_process_of_a_distributed_run_measures(tmp_path, monkeypatch):
    recorder = record(Net(), tmp_path, every=1, **DATA)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert recorder.step(0) is None
    assert recorder.traces == ()


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference", "autocast"],
)
def test_the_switches_around_a_step_change_nothing(around, tmp_path):
    model = Net()
    plain, inside = (record(model, tmp_path / name, every=1, **DATA) for name in "ab")
    plain.step(0)
    with around():
        inside.step(0)
    assert inside.traces == plain.traces
