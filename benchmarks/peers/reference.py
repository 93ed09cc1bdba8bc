"""The exact float64 spectra that all results are measured against; no tool under test takes part.

Piecewise linear networks: every layer's Hessian is its Gauss-Newton matrix MᵀM, with M from per-example Jacobians
(first derivatives only, one example at a time under vmap) and the closed-form factor of softmax cross-entropy. Others:
the block itself, row by row, by two backward passes; the first layer of an MLP on the span of its inputs, outside of
which its block is zero exactly; larger blocks have no reference. The network's largest eigenvalues: ARPACK on products
by two backward passes. Written once per network and data to the folder of trained weights.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from problem import Problem
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

PIECE = 1_000_000_000  # bytes of a piece of M
EXAMPLES = 16  # at a time under vmap
ROWS = 8  # of a block at a time
LARGEST = {"transformer": 4_200}  # parameters of a block that is computed row by row, where a row is dear
LARGEST_ELSEWHERE = 8_400


def factor_spectra(problem: Problem) -> dict[str, ndarray]:
    """All eigenvalues of every layer's Gauss-Newton matrix, for mean softmax cross-entropy."""
    with torch.no_grad():
        p = problem.model(problem.x).softmax(1)
    root = p.sqrt()
    factor = torch.diag_embed(root) - p[:, :, None] * root[:, None, :]  # L with L Lᵀ = diag p − p pᵀ
    factor = factor / len(p) ** 0.5
    rows, spectra = p.numel(), {}
    for layer in problem.layers:
        size = problem.size(layer)
        if size <= rows:
            gram = torch.zeros(size, size, dtype=p.dtype)
            for part in torch.arange(len(p)).split(max(1, PIECE // (8 * size * p.shape[1]))):
                m = _rows(problem, layer, factor, part, slice(0, size))
                gram += m.T @ m
        else:
            gram = torch.zeros(rows, rows, dtype=p.dtype)
            width = max(1, PIECE // (8 * rows))
            for left in range(0, size, width):
                m = _rows(problem, layer, factor, torch.arange(len(p)), slice(left, min(left + width, size)))
                gram += m @ m.T
        found = torch.linalg.eigvalsh(gram).clamp(min=0).numpy()
        spectra[layer] = np.concatenate([np.zeros(size - len(found)), found])
    return spectra


def _rows(problem: Problem, layer: str, factor: Tensor, examples: Tensor, columns: slice) -> Tensor:
    """Rows (example, output) of M for some examples, restricted to some of the layer's parameters."""
    names = problem.layers[layer]
    flat = torch.cat([p.detach().flatten() for p in problem.of(layer)])
    shapes = [p.shape for p in problem.of(layer)]

    def outputs(piece: Tensor, x: Tensor) -> Tensor:
        whole = torch.cat([flat[: columns.start], piece, flat[columns.stop :]])
        parts = whole.split([shape.numel() for shape in shapes])
        changed = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return functional_call(problem.model, changed, (x[None],))[0]

    jacobians = vmap(jacrev(outputs), in_dims=(None, 0))
    found = []
    for part in examples.split(EXAMPLES):
        j = jacobians(flat[columns].clone(), problem.x[part])  # examples × outputs × parameters
        found.append((factor[part].transpose(1, 2) @ j.detach()).flatten(0, 1))
    return torch.cat(found)


def dense_spectrum(problem: Problem, layer: str) -> ndarray:
    """All eigenvalues of a layer's Hessian, from its rows by two backward passes."""
    return _eigenvalues(_hessian(problem.loss(), problem.of(layer)))


def spanned_spectrum(problem: Problem, layer: str) -> ndarray:
    """The same for a Linear that sees the data themselves: its block is zero outside of the span of its inputs."""
    module = problem.model.get_submodule(layer)
    assert isinstance(module, nn.Linear)
    inputs = torch.cat([problem.x, torch.ones(len(problem.x), 1, dtype=problem.x.dtype)], 1)
    _, values, right = torch.linalg.svd(inputs, full_matrices=False)
    basis = right[values > 1e-6 * values[0]]  # pixels are float32: their rounding is no direction
    theta = torch.zeros(module.out_features, len(basis), dtype=basis.dtype, requires_grad=True)
    whole = theta @ basis
    changed = {f"{layer}.weight": module.weight.detach() + whole[:, :-1], f"{layer}.bias": module.bias + whole[:, -1]}
    loss = problem.criterion(functional_call(problem.model, changed, (problem.x,)), problem.y)
    values = _eigenvalues(_hessian(loss, [theta]))
    return np.sort(np.concatenate([np.zeros(problem.size(layer) - len(values)), values]))


def _hessian(loss: Tensor, parameters: list[Tensor]) -> Tensor:
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([g.flatten() for g in gradients])
    rows = []
    for part in torch.eye(len(flat), dtype=flat.dtype).split(ROWS):
        block = torch.autograd.grad(flat, parameters, part, retain_graph=True, is_grads_batched=True)
        rows.append(torch.cat([b.flatten(1) for b in block], 1))
    return torch.cat(rows)


def _eigenvalues(block: Tensor) -> ndarray:
    return torch.linalg.eigvalsh((block + block.T) / 2).numpy()


def top_values(problem: Problem, count: int) -> list[float]:
    """The eigenvalues of largest magnitude of the whole network's Hessian."""
    parameters = list(problem.model.parameters())
    gradients = torch.autograd.grad(problem.loss(), parameters, create_graph=True)
    flat = torch.cat([g.flatten() for g in gradients])

    def product(v: ndarray) -> ndarray:
        found = torch.autograd.grad(flat, parameters, torch.from_numpy(v.ravel()), retain_graph=True)
        return torch.cat([f.flatten() for f in found]).numpy()

    operator = LinearOperator((len(flat), len(flat)), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(flat))
    values = eigsh(operator, k=count, which="LM", tol=1e-8, v0=start, return_eigenvectors=False)
    return sorted(map(float, values), key=abs, reverse=True)


def first_layer(problem: Problem) -> str | None:
    """The layer that sees the data themselves, if it is a Linear on vectors."""
    first = next(iter(problem.layers))
    fits = isinstance(problem.model, nn.Sequential) and isinstance(problem.model.get_submodule(first), nn.Linear)
    return first if fits else None


def spectra(problem: Problem) -> dict[str, ndarray]:
    """Exact spectra by layer; layers without one are left out."""
    largest = LARGEST.get(problem.name, LARGEST_ELSEWHERE)
    if problem.piecewise_linear:
        return factor_spectra(problem)
    found = {}
    for layer in problem.layers:
        if problem.size(layer) <= largest:
            found[layer] = dense_spectrum(problem, layer)
        elif layer == first_layer(problem):
            found[layer] = spanned_spectrum(problem, layer)
    return found


def main() -> None:
    """In a process of its own: ``reference.py '{"model": …, "examples": …, "count": …, "threads": …, "out": …}'``."""
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    problem = Problem.load(order["model"], examples=order["examples"], dtype=torch.float64)
    values = {f"layer {name}": array for name, array in spectra(problem).items()}
    partial = Path(order["out"]).with_suffix(".partial.npz")
    np.savez(partial, top=top_values(problem, order["count"]), **values)
    partial.replace(order["out"])


if __name__ == "__main__":
    main()
