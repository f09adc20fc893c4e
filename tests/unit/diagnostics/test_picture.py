"""Pictures show their data, and are the same each time."""

import numpy as np
import pytest

from voxrank.diagnostics import picture
from voxrank.diagnostics.picture import pictures, principal


@pytest.mark.parametrize(("m", "dim"), [(60, 8), (8, 60), (5, 1)])
def test_principal_components_equal_a_singular_value_decomposition(m, dim):
    x = (np.random.default_rng(0).normal(size=(m, dim)) + 7).astype(np.float32)
    centred = x.astype(float) - x.astype(float).mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates, shares = principal(x)
    r = min(m - 1, dim)
    assert coordinates.shape == (m, r)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(u[:, :r] * s[:r]), atol=1e-4)
    np.testing.assert_allclose(shares, s[:r] ** 2 / (s**2).sum(), rtol=1e-6)
    assert shares.sum() == pytest.approx(1)
    assert (coordinates.max(axis=0) == np.abs(coordinates).max(axis=0)).all()


def test_pictures_of_a_layer_separate_its_classes():
    rng = np.random.default_rng(1)
    ids = np.arange(600) % 3
    x = (10 * np.eye(3, 20)[ids] + rng.normal(size=(600, 20))).astype(np.float32)
    plain, near = pictures("m", 4, "best", x, ids, ("a", "b", "c"), near=True)
    assert (plain.method, plain.place, plain.model, plain.layer) == ("pca", "best", "m", 4)
    assert len(plain.points) == 600
    assert 0.7 < plain.explained < 1
    assert near.method == "t-sne"
    assert near.explained is None
    assert len(near.points) == picture.NEIGHBOURED
    for one in (plain, near):
        points = np.array(one.points)
        assert points[:, 2].tolist() == ids[: len(points)].tolist()
        centres = np.array([points[points[:, 2] == c, :2].mean(axis=0) for c in range(3)])
        nearest = np.linalg.norm(points[:, None, :2] - centres, axis=2).argmin(axis=1)
        assert (nearest == points[:, 2]).mean() > 0.95
        assert all(float(f"{number:.4g}") == number for number in points.ravel())
    assert pictures("m", 4, "best", x, ids, ("a", "b", "c"), near=True) == (plain, near)
    assert pictures("m", 4, "best", x, ids, ("a", "b", "c"), near=False) == (plain,)


def test_pictures_need_neither_many_samples_nor_scikit_learn(monkeypatch):
    rng = np.random.default_rng(2)
    four = rng.normal(size=(4, 3)).astype(np.float32)
    assert [one.method for one in pictures("m", 0, "worst", four, np.ones(4) / 3, (), near=True)] == ["pca", "t-sne"]
    assert [one.method for one in pictures("m", 0, "worst", four[:3], np.ones(3), (), near=True)] == ["pca"]
    (flat,) = pictures("m", 0, "worst", np.ones((9, 3), dtype=np.float32), np.ones(9) / 3, (), near=True)
    assert flat.explained is None
    assert set(flat.points) == {(0.0, 0.0, 0.3333)}
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    assert [one.method for one in pictures("m", 0, "worst", four, np.ones(4), (), near=True)] == ["pca"]
