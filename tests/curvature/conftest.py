"""One thread, and a guard that hashes everything a user owns before and after."""

import contextlib
import os
import random
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.checkpoint as checkpointing
from torch import nn


@pytest.fixture(autouse=True)
def one_thread():
    """The machine is shared, and sums do not depend on how many cores were free."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _told(setting):
    """torch refuses to tell where its older and newer interfaces were mixed."""
    try:
        return setting()
    except RuntimeError:
        return None


def process_state():
    """Everything of the process that a computation could leave changed."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global state is what users have)
    return {
        "torch rng": torch.get_rng_state().numpy().tobytes(),
        "numpy rng": (keys.tobytes(), rest),
        "python rng": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "sdpa": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
            torch.backends.cuda.cudnn_sdp_enabled(),
        ),
        "attention fast path": torch.backends.mha.get_fastpath_enabled(),
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "tf32": (_told(torch._C._get_cublas_allow_tf32), _told(torch._C._get_cudnn_allow_tf32)),
        "precision": (
            _told(torch.get_float32_matmul_precision),
            *(
                torch._C._get_fp32_precision_getter(backend, op)
                for backend in ("cuda", "mkldnn")
                for op in ("matmul", "conv", "rnn", "all")
            ),
        ),
        "checkpointing": (checkpointing.CheckpointFunction, checkpointing._checkpoint_without_reentrant_generator),
        "threads alive": threading.active_count(),
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
    }


def module_state(module):
    """Everything of a module: numbers, gradients, flags, modes, hooks."""
    parameters = {
        name: (id(p), p.detach().clone(), None if p.grad is None else p.grad.clone(), p.requires_grad, p.dtype)
        for name, p in module.named_parameters(remove_duplicate=False)
        if not nn.parameter.is_lazy(p) and not p.is_meta
    }
    return {
        "parameters": parameters,
        "buffers": {name: (id(b), b.clone()) for name, b in module.named_buffers() if not nn.parameter.is_lazy(b)},
        "modes": {name: m.training for name, m in module.named_modules()},
        "hooks": {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in module.named_modules()},
        "attributes": {
            name: sorted((key, id(value)) for key, value in vars(m).items()) for name, m in module.named_modules()
        },
    }


def assert_same(before, after, path=""):
    """Compare nested states; raises with the place of the first difference."""
    assert type(before) is type(after), path
    if isinstance(before, torch.Tensor):
        assert torch.equal(before.nan_to_num(), after.nan_to_num()), f"{path} changed"
    elif isinstance(before, dict):
        assert before.keys() == after.keys(), path
        for key in before:
            assert_same(before[key], after[key], f"{path}/{key}")
    elif isinstance(before, tuple | list):
        assert len(before) == len(after), path
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            assert_same(one, other, f"{path}/{index}")
    else:
        assert before == after, f"{path}: {before!r} became {after!r}"


@pytest.fixture
def untouched():
    """``with untouched(model, …):`` fails if the process or one of the modules is not bit for bit as before."""

    @contextlib.contextmanager
    def guard(*modules):
        before = [process_state(), *map(module_state, modules)]
        try:
            yield
        finally:
            assert_same(before, [process_state(), *map(module_state, modules)])

    return guard
