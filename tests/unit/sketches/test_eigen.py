"""Eigendecompositions are the same by every method, and the fastest one is chosen for large matrices."""

import numpy as np
import pytest
import torch

from voxrank.sketches import eigen
from voxrank.sketches.eigen import SMALL_DIM, eigh
from voxrank.sketches.methods import METHODS, ROUNDS, VARIABLE, MethodChooser

DIM = SMALL_DIM + 13


@pytest.fixture(autouse=True)
def _two_threads_and_no_choices(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(eigen, "CHOOSER", MethodChooser())


@pytest.fixture(scope="module")
def matrix():
    samples = np.random.default_rng(0).normal(size=(DIM // 2, DIM)) * np.geomspace(1, 1e-6, DIM)
    return samples.T @ samples


@pytest.mark.parametrize("method", METHODS)
def test_every_method_decomposes_the_matrix(monkeypatch, matrix, method):
    monkeypatch.setenv(VARIABLE, method)
    values, vectors = eigh(matrix)
    rounding = DIM * np.finfo(float).eps
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(DIM), atol=rounding)
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=rounding * values[-1])


@pytest.mark.parametrize("method", METHODS)
def test_a_matrix_that_is_not_finite_is_treated_alike_by_every_method(monkeypatch, matrix, method):
    monkeypatch.setenv(VARIABLE, method)
    broken = matrix.copy()
    broken[3, 4] = broken[4, 3] = np.nan
    try:
        values, _ = np.linalg.eigh(broken)
    except np.linalg.LinAlgError:
        with pytest.raises(np.linalg.LinAlgError):
            eigh(broken)
    else:
        np.testing.assert_array_equal(eigh(broken)[0], values)


def test_each_method_is_tried_before_one_is_chosen(monkeypatch, matrix):
    used = []
    for method, decompose in eigen._DECOMPOSE.items():
        monkeypatch.setitem(eigen._DECOMPOSE, method, lambda m, name=method, run=decompose: used.append(name) or run(m))
    for _ in range(len(METHODS) * ROUNDS + 1):
        eigh(matrix)
    assert used[:-1] == [method for method in METHODS for _ in range(ROUNDS)]
    assert used[-1] in METHODS


def test_small_matrices_are_decomposed_on_one_thread(monkeypatch, matrix):
    monkeypatch.setenv(VARIABLE, "torch")
    monkeypatch.setattr(torch.linalg, "eigh", None)
    assert eigh(matrix[:SMALL_DIM, :SMALL_DIM])[0].shape == (SMALL_DIM,)
