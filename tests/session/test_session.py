"""The door: names, laziness, the cache, what is left behind, and what is refused."""

import copy
import random
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore import errors

EXACT = {"rtol": 1e-10}  # float64 on both sides: eigvalsh is backward stable to about n·ε of λmax


def dense_block(model, loss, batches, names):
    """The float64 Hessian block by two reverse passes, row by row: nothing of the package in it."""
    model = copy.deepcopy(model).double().eval()
    wanted = [dict(model.named_parameters())[n] for n in names]
    total = sum(len(y) for _, y in batches)
    value = sum(loss(model(x.double()), y) * (len(y) / total) for x, y in batches)
    flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, wanted, create_graph=True)])
    rows = [torch.cat([r.reshape(-1) for r in torch.autograd.grad(g, wanted, retain_graph=True)]) for g in flat]
    return torch.stack(rows).detach().numpy()


def state_of(model):
    return {
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "grads": {k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()},
        "flags": {k: p.requires_grad for k, p in model.named_parameters()},
        "modes": {k: m.training for k, m in model.named_modules()},
        "hooks": {k: len(m._forward_hooks) + len(m._forward_pre_hooks) for k, m in model.named_modules()},
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002  the global state is what must not move
        "random": random.getstate(),
        "process": (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cudnn.enabled,
            torch.are_deterministic_algorithms_enabled(),
        ),
    }


def assert_same_state(before, after):
    for group in ("tensors", "grads"):
        for name, tensor in before[group].items():
            other = after[group][name]
            assert (tensor is None) == (other is None)
            assert tensor is None or torch.equal(tensor, other), name
    assert torch.equal(before["torch"], after["torch"])
    for group in ("flags", "modes", "hooks", "numpy", "random", "process"):
        assert before[group] == after[group], group


# ---- what is there


def test_every_module_with_parameters_has_a_row(session):
    assert [layer.name for layer in session.layers] == ["0", "2", "4"]
    assert [layer.size for layer in session.layers] == [64 * 8 + 8, 8 * 6 + 6, 6 * 10 + 10]
    assert all(layer.status == "ok" and layer.kind == "Linear" for layer in session.layers)
    assert session.layers[0].parameters == ("0.weight", "0.bias")


def test_layers_left_out_keep_a_row_with_a_reason(model, loader):
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), layers="4", cache=False)
    assert [(layer.name, layer.status) for layer in session.layers] == [("0", "skipped"), ("2", "skipped"), ("4", "ok")]
    assert all(layer.reason for layer in session.layers[:2])


def test_snapshots_keep_order_and_labels(session):
    assert [s.label for s in session.snapshots] == ["step-0", "step-10", "step-40"]
    assert [s.step for s in session.snapshots] == [0, 10, 40]


def test_description_and_repr_compute_nothing(session):
    assert "Sequential" in session.description
    assert "120 examples" in session.description
    assert "3 layers × 3 snapshots" in repr(session)


# ---- numbers


@pytest.mark.parametrize("name", ["0", "2", "4"])
def test_exact_spectra_agree_with_the_dense_hessian(session, model, loader, snapshots, name):
    model.load_state_dict(snapshots["step-10"])
    truth = np.linalg.eigvalsh(dense_block(model, nn.CrossEntropyLoss(), loader, [f"{name}.weight", f"{name}.bias"]))
    s = session.spectrum(name, "step-10", method="dense")
    assert s.exact
    np.testing.assert_allclose(s.eigenvalues, truth, atol=1e-10 * abs(truth).max(), **EXACT)
    assert s.trace == pytest.approx(truth.sum(), rel=1e-9)


def test_the_whole_network_is_one_block(session, model, loader, snapshots):
    model.load_state_dict(snapshots["step-40"])
    names = [n for n, _ in model.named_parameters()]
    truth = np.linalg.eigvalsh(dense_block(model, nn.CrossEntropyLoss(), loader, names))
    s = session.spectrum(None, "step-40", method="dense")
    assert s.layer is None
    np.testing.assert_allclose(s.eigenvalues, truth, atol=1e-10 * abs(truth).max(), **EXACT)


def test_lanczos_finds_the_ends_within_its_own_error(session):
    exact, estimate = (session.spectrum("0", -1, method=m) for m in ("dense", "lanczos"))
    assert estimate.method == "lanczos"
    assert abs(estimate.largest - exact.largest) <= estimate.error
    assert abs(estimate.smallest - exact.smallest) <= estimate.error
    assert estimate.weights.sum() == pytest.approx(1, abs=1e-12)


def test_auto_says_what_it_chose_and_why(session):
    s = session.spectrum("2")
    assert s.method == "dense"
    assert s.reason


def test_ggn_is_positive_semidefinite_and_equal_at_the_last_layer(session):
    hessian, ggn = (session.spectrum("4", curvature=c) for c in ("hessian", "ggn"))
    np.testing.assert_allclose(ggn.eigenvalues, hessian.eigenvalues, atol=1e-10 * hessian.largest, rtol=0)
    hidden = session.spectrum("0", curvature="ggn")
    assert hidden.smallest >= -hidden.zero_band
    assert session.spectrum("0").smallest < -session.spectrum("0").zero_band


def test_held_out_data_has_its_own_spectrum(session):
    assert session.spectrum("4", split="held_out").split == "held_out"
    assert session.spectrum("4", split="held_out").largest != session.spectrum("4").largest


def test_two_snapshots_have_two_spectra_whatever_the_order(session, model, loader, snapshots):
    late, early = session.spectrum("2", "step-40"), session.spectrum("2", "step-0")
    other = lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=False)
    assert np.array_equal(other.spectrum("2", 0).nodes, early.nodes)
    assert np.array_equal(other.spectrum("2", 2).nodes, late.nodes)
    assert early.largest != late.largest


def test_stream_gets_better_and_ends_complete(session):
    values = list(session.stream("0", method="lanczos", steps=30, probes=2))
    assert len(values) > 3
    assert [v.complete for v in values] == [False] * (len(values) - 1) + [True]
    assert values[-1].largest >= values[0].largest


# ---- the cache


def test_asking_twice_computes_once(session, monkeypatch):
    first = session.spectrum("2")
    monkeypatch.setattr(session._lane, "steps", None)  # any computing would now fail
    again = session.spectrum("2")
    assert np.array_equal(first.nodes, again.nodes)
    assert again.products == first.products


def test_the_cache_outlives_the_session(model, loader, snapshots, tmp_path):
    settings = {"snapshots": snapshots, "cache": tmp_path / "c"}
    with lh.Session(model, loader, nn.CrossEntropyLoss(), **settings) as one:
        found = one.spectrum("0", "step-10")
    with lh.Session(model, loader, nn.CrossEntropyLoss(), **settings) as two:
        kept = two.cached("0", "step-10")
        assert kept is not None
        assert np.array_equal(kept.nodes, found.nodes)
        assert kept.provenance == found.provenance
        assert two.cached("0", "step-40") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
        lambda s: s.update(data=[(s["data"][0][0] * 1.01, s["data"][0][1])]),
        lambda s: s.update(data=s["data"][:2]),
        lambda s: s.update(curvature="ggn"),
        lambda s: s.update(dtype=torch.float32),
        lambda s: s.update(model=nn.Sequential(s["model"][0], nn.GELU(), *s["model"][2:])),
    ],
    ids=["loss", "values", "samples", "curvature", "dtype", "activation"],
)
def test_whatever_changes_a_number_misses_the_cache(model, loader, tmp_path, change):
    settings = {"model": model, "data": loader, "loss": nn.CrossEntropyLoss(), "cache": tmp_path / "c"}
    lh.Session(**settings).spectrum("4")
    assert lh.Session(**settings).cached("4") is not None
    change(settings)
    assert lh.Session(**settings).cached("4") is None


def test_a_damaged_entry_is_set_aside_and_computed_anew(model, loader, tmp_path):
    folder = tmp_path / "c"
    first = lh.Session(model, loader, nn.CrossEntropyLoss(), cache=folder).spectrum("4")
    files = list(folder.rglob("*.safetensors"))
    assert len(files) == 1
    files[0].write_bytes(files[0].read_bytes()[:-7])
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), cache=folder)
    assert np.array_equal(session.spectrum("4").nodes, first.nodes)
    assert list(folder.rglob("*.bad"))
    assert session.notices


# ---- many of them


def test_compute_fills_everything_and_summary_shows_it(session):
    session.compute(progress=False)
    table = session.summary()
    assert len(table) == 9
    assert (table.status == "ok").all()
    assert {"lambda_max", "lambda_min", "error", "trace", "hesd", "ct", "findings", "method"} <= set(table.columns)
    long = session.frame()
    assert set(long.layer) == {"0", "2", "4"}
    assert long[long.layer == "2"].weight.sum() == pytest.approx(3)


def test_a_summary_before_computing_says_so(session):
    assert set(session.summary().status) == {"not computed"}


def test_compute_takes_names_globs_and_the_whole_network(session):
    session.compute(["4", None], [-1], progress=False)
    assert session.cached("4") is not None
    assert session.cached(None) is not None
    assert session.cached("0") is None


def test_compute_takes_labels_positions_slices_and_numpy_numbers(session):
    session.compute("4", "step-10", progress=False)
    assert [session.cached("4", i) is not None for i in range(3)] == [False, True, False]
    session.compute("4", slice(1, None), progress=False)
    assert [session.cached("4", i) is not None for i in range(3)] == [False, True, True]
    assert session.spectrum("4", np.int64(0), method="lanczos", steps=np.int64(5)).steps == 5


def test_start_returns_at_once_and_cancel_keeps_what_is_done(session):
    job = session.start()
    while job.progress.done < 1 and not job.done:
        time.sleep(0.001)
    job.cancel()
    job.wait(30)
    assert job.done
    done = [n for n in ("0", "2", "4") for i in range(3) if session.cached(n, i) is not None]
    assert len(done) >= 1
    session.compute(progress=False)
    assert all(session.cached(n, i) is not None for n in ("0", "2", "4") for i in range(3))


def test_waiting_for_a_session_waits_for_its_jobs(session):
    session.start(["0"])
    session.wait(60)
    assert all(session.cached("0", i) is not None for i in range(3))
    job = session.start([None])
    with pytest.raises(TimeoutError):
        session.wait(0.01)
    job.cancel()
    session.wait(60)
    assert job.done


def test_an_interrupt_in_compute_keeps_what_is_done(session, monkeypatch):
    import lhexplore.session.session as module

    sleep = time.sleep

    def interrupted(seconds):
        sleep(seconds)
        if session.cached("0", 0) is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.compute(progress=False)
    monkeypatch.undo()
    kept = session.cached("0", 0)
    assert kept is not None
    session.compute(progress=False)
    assert np.array_equal(session.cached("0", 0).nodes, kept.nodes)


def test_the_bar_tells_done_total_rate_and_time_left(session, capsys):
    session.compute()
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "9/9" in last


def test_two_threads_get_the_right_numbers(session, model, loader, snapshots):
    truth = {
        (n, i): lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=False).spectrum(n, i).nodes
        for n in ("2", "4")
        for i in range(3)
    }
    found, failures = {}, []

    def ask(name, index):
        try:
            found[name, index] = session.spectrum(name, index).nodes
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=ask, args=pair) for pair in truth]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    for pair, nodes in truth.items():
        assert np.array_equal(found[pair], nodes), pair


# ---- before anything runs


def test_plan_tells_method_products_and_what_is_cached(session):
    session.spectrum("4", 0)
    plan = session.plan()
    assert len(plan) == 9
    assert sum(row["cached"] for row in plan) == 1
    assert all(row["products"] > 0 or row["cached"] for row in plan)
    assert all(row["seconds"] >= 0 for row in plan)
    assert "1 cached" in plan.caption
    assert "layer" in repr(plan)


def test_check_names_layers_data_loss_and_cost(session):
    table = session.check()
    text = repr(table)
    assert "layer 0" in text
    assert all(row["verdict"] for row in table)
    assert "9 spectra" in table.caption


def test_diagnose_reads_a_layer_and_the_network(session):
    layer, whole = session.diagnose("0"), session.diagnose()
    assert layer.layer == "0"
    assert whole.layer is None
    assert layer.hesd.type in ("MP", "MN", "undecided")
    assert session.known_diagnosis("2") is None


def test_losses_are_those_of_the_frozen_data(session, model, loader, snapshots):
    model.load_state_dict(snapshots["step-40"])
    x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
    with torch.no_grad():
        truth = nn.functional.cross_entropy(model.double()(x.double()), y).item()
    found = session.evaluate("step-40")
    assert found["loss"] == pytest.approx(truth, rel=1e-9)
    assert 0 <= found["held_out_accuracy"] <= 1
    assert session.losses("step-40") == found


# ---- nothing is left behind


def test_nothing_of_the_user_changes_after_success_error_and_cancel(model, loader, snapshots, tmp_path):
    model.train()
    model[0].bias.requires_grad_(False)
    model[2].weight.grad = torch.ones_like(model[2].weight)
    model[4].register_forward_hook(lambda *a: None)
    before = state_of(model)
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=tmp_path)
    assert_same_state(before, state_of(model))
    session.compute(progress=False)
    session.check()
    session.evaluate()
    assert_same_state(before, state_of(model))
    with pytest.raises(errors.UnknownLayerError):
        session.spectrum("nope")
    fails = lh.Session(model, [(loader[0][0] * float("nan"), loader[0][1])], nn.CrossEntropyLoss(), cache=False)
    with pytest.raises(errors.LhexploreError):
        fails.spectrum("0")
    assert_same_state(before, state_of(model))
    items = lh.Session(model, loader, nn.CrossEntropyLoss(), cache=False).steps("0", method="lanczos")
    next(items)
    next(items)
    items.close()
    assert_same_state(before, state_of(model))


def test_closing_lets_go_and_says_so(model, loader, tmp_path):
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), cache=tmp_path)
    kept = session.spectrum("4")
    session.close()
    session.close()
    assert session.closed
    assert np.array_equal(session.cached("4").nodes, kept.nodes)
    with pytest.raises(errors.ClosedError, match="new Session"):
        session.spectrum("0")


# ---- what is refused


def nan_loss(model, batch):
    return model(batch[0]).sum() * float("nan")


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda m, d: lh.Session(m, [], nn.CrossEntropyLoss()), errors.EmptyDataError, "no batch"),
        (lambda m, d: lh.Session("model", d, nn.CrossEntropyLoss()), errors.SettingError, "nn.Module"),
        (lambda m, d: lh.Session(nn.ReLU(), d, nn.CrossEntropyLoss()), errors.ModelError, "parameter"),
        (lambda m, d: lh.Session(m, d, lambda model, b: None).spectrum("0"), errors.LossError, "None"),
        (
            lambda m, d: lh.Session(m, d, lambda model, b: model(b[0]).sum(1)).spectrum("0"),
            errors.LossError,
            "one real number",
        ),
        (lambda m, d: lh.Session(m, d, nan_loss).spectrum("0"), errors.LhexploreError, "(?i)nan|finite"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("00"), errors.UnknownLayerError, "mean '0'"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("0", "x"), errors.UnknownSnapshotError, "now"),
        (
            lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("0", 7),
            errors.UnknownSnapshotError,
            "no snapshot 7",
        ),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("0", method="x"), errors.SettingError, "dense"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("0", steps=0), errors.SettingError, "steps"),
        (
            lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("0", split="held_out"),
            errors.SettingError,
            "held_out=",
        ),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss).spectrum("0"), errors.LossError, r"CrossEntropyLoss\(\)"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).compute([5]), errors.SettingError, "names, globs"),
        (
            lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss()).spectrum("0", slice(0, 1)),
            errors.SettingError,
            "One snapshot",
        ),
        (lambda m, d: lh.Snapshots.discover(5), errors.SettingError, "path"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss(), curvature="x"), errors.SettingError, "ggn"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss(), functional="mean"), errors.SettingError, "half_square"),
        (lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss(), snapshots="/nowhere"), errors.SnapshotError, "nowhere"),
        (
            lambda m, d: lh.Session(m, d, nn.CrossEntropyLoss(), snapshots=[{"w": torch.ones(1)}]).spectrum("0"),
            errors.SnapshotError,
            "fit",
        ),
    ],
)
def test_bad_input_is_named(model, loader, make, kind, says, monkeypatch, tmp_path):
    monkeypatch.setenv("LHEXPLORE_CACHE", str(tmp_path))
    with pytest.raises(kind, match=says):
        make(model, loader)


def test_a_loss_that_is_no_fixed_function_is_refused(model, loader):
    calls = iter(range(1, 10_000))
    session = lh.Session(
        model, loader, lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]) * next(calls), cache=False
    )
    with pytest.raises(errors.NondeterministicError, match="fixed function"):
        session.spectrum("4")


def test_a_wrong_second_derivative_is_refused_and_the_layers_behind_it_are_not(loader):
    class Wrong(torch.autograd.Function):
        """Its derivative is right and the derivative of that is not."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 3 * x.detach() ** 2

    class Cube(nn.Module):
        def forward(self, x):
            return Wrong.apply(x)

    session = lh.Session(
        nn.Sequential(nn.Linear(64, 4), Cube(), nn.Linear(4, 10)), loader, nn.CrossEntropyLoss(), cache=False
    )
    with pytest.raises(errors.SecondDerivativeError, match="trustworthy"):
        session.spectrum("0")
    assert session.spectrum("2").psd  # the last linear layer: everything wrong is before it

    class Right(nn.Module):
        def forward(self, x):
            return x**3

    honest = nn.Sequential(nn.Linear(64, 4), Right(), nn.Linear(4, 10))
    honest.load_state_dict(session.snapshots[0].load())
    truth = lh.Session(honest, loader, nn.CrossEntropyLoss(), cache=False).spectrum("0", curvature="ggn")
    found = session.spectrum("0", curvature="ggn")  # first derivatives only, and those are right
    np.testing.assert_allclose(found.eigenvalues, truth.eigenvalues, atol=1e-10 * truth.largest, rtol=0)
    session.compute(progress=False)
    assert set(session.summary().status) == {"ok", "failed"}


def test_a_direction_without_curvature_is_not_taken_for_a_wrong_derivative():
    # Behind dead units only the last bias moves the loss, and all logits together move nothing: the signs tried first
    # are alike for this shape, and what is left along them is rounding on both sides, of Hv in one of a few cases.
    for seed in range(8):
        torch.manual_seed(seed)
        hidden = [part for width in (10, 1, 1) for part in (nn.Linear(width, 1), nn.ReLU())]
        model = nn.Sequential(*hidden, nn.Linear(1, 3)).double()
        with torch.no_grad():
            for dead in hidden[::2]:
                dead.bias.fill_(-100.0)
        data = [(torch.randn(20, 10, dtype=torch.float64), torch.randint(0, 3, (20,)))]
        p = model[-1].bias.detach().softmax(0)
        with lh.Session(model, data, nn.CrossEntropyLoss(), cache=False) as session:
            expected = torch.linalg.eigvalsh(p.diag() - p.outer(p))[-1].item()
            assert session.spectrum(None).largest == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kinks_are_not_taken_for_wrong_derivatives(loader, dtype):
    for seed in range(6):
        torch.manual_seed(seed)
        wide = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 60), nn.ReLU(), nn.Linear(60, 10))
        with lh.Session(wide, loader, nn.CrossEntropyLoss(), cache=False, dtype=dtype) as session:
            found = session.spectrum("4", method="lanczos", steps=3, probes=1)
        assert not any("Self-check" in note for note in found.notes), seed


def test_more_samples_than_there_are_is_a_notice_not_an_error(model, loader):
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), samples=10_000, cache=False)
    assert "120 examples" in session.description
    assert any("120" in notice for notice in session.notices)


def test_frozen_layers_are_computed_on_the_copy_and_said(model, loader):
    model[0].requires_grad_(False)
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), cache=False)
    assert "frozen" in session.layers[0].reason
    assert session.spectrum("0").largest > 0
    assert not model[0].weight.requires_grad


def test_a_lazy_module_is_initialised_on_the_copy_only(loader):
    lazy = nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.Linear(5, 10))
    session = lh.Session(lazy, loader, nn.CrossEntropyLoss(), cache=False)
    assert session.spectrum("0").size == 64 * 5 + 5
    assert isinstance(lazy[0], nn.LazyLinear)


def test_a_bad_snapshot_is_a_row_and_the_others_are_used(model, loader, snapshots, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for label, state in snapshots.items():
        torch.save(state, folder / f"{label}.pt")
    (folder / "step-99.pt").write_bytes((folder / "step-10.pt").read_bytes()[:1000])
    session = lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=folder, cache=False)
    session.compute(["4"], progress=False)
    table = session.summary()
    assert len(session.snapshots) == 4
    bad = table[table.snapshot == "step-99"]
    assert bad.status.iloc[0] != "ok"
    assert bad.reason.iloc[0]
    assert (table[(table.layer == "4") & (table.snapshot != "step-99")].status == "ok").all()
    with pytest.raises(errors.SnapshotError):
        session.spectrum("4", "step-99")


def test_the_code_line_gives_the_same_value(session):
    from lhexplore.session.request import Request

    line = str(Request("2", "step-10", method="lanczos", steps=20))
    assert line == "session.spectrum('2', 'step-10', method='lanczos', steps=20)"
    again = eval(line, {"session": session})
    assert np.array_equal(again.nodes, session.spectrum("2", "step-10", method="lanczos", steps=20).nodes)


# ---- traces of all layers at once


def test_traces_cover_the_exact_ones_and_add_up(session):
    traces = session.traces(probes=30)
    exact = [session.spectrum(layer.name, method="dense").trace for layer in session.layers]
    found = [(trace.value, trace.stderr) for trace in traces.layers]
    assert all(abs(value - want) <= 3 * stderr for (value, stderr), want in zip(found, exact, strict=True))
    np.testing.assert_allclose(sum(value for value, _ in found), traces.total.value, **EXACT)
    first = next(session.stream_traces())
    assert first.probes == 1
    assert all(np.isfinite(trace.stderr) for trace in first.layers)


def test_a_failure_on_held_out_data_is_none_of_the_data(model, loader, capsys):
    nan = [(torch.full((8, 64), float("nan")), torch.zeros(8, dtype=torch.long))]
    with lh.Session(model, loader, nn.CrossEntropyLoss(), held_out=nan, cache=False) as session:
        session.compute(split="both")
        assert "on held-out data failed" in capsys.readouterr().err
        assert set(session.summary().status) == {"ok"}
