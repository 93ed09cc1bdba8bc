"""Operators and matrices with known spectra."""

import numpy as np
import torch

from lhexplore.curvature.lanczos import lanczos, start_vector


class MatrixOperator:
    """A plain matrix with the members the algorithms need."""

    def __init__(self, matrix, name="matrix"):
        self.matrix, self.name = matrix, name
        self.size, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device
        self.products = 0

    def matvec(self, v):
        self.products += 1
        return self.matrix @ v

    def matmat(self, vectors):
        self.products += vectors.shape[1]
        return self.matrix @ vectors


class DiagonalOperator(MatrixOperator):
    """The same for a diagonal, without n² entries."""

    def matvec(self, v):
        self.products += 1
        return self.matrix * v

    def matmat(self, vectors):
        self.products += vectors.shape[1]
        return self.matrix[:, None] * vectors


def rotated(values, *, seed=0, dtype=torch.float64):
    """A dense symmetric matrix with these eigenvalues: random signs are exact on diagonal ones, so rotate."""
    values = np.asarray(values, dtype=np.float64)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    matrix = (q * values) @ q.T
    return torch.tensor((matrix + matrix.T) / 2).to(dtype)


def run(op, *, steps, seed=0, index=0):
    """The last item of a Lanczos run."""
    *_, last = lanczos(op, start_vector(op, seed=seed, name=op.name, index=index), steps=steps)
    return last
