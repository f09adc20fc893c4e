"""A score's influence is its derivative by the weight of each block."""

import numpy as np
import pytest
import torch

from voxrank.scores.cca import read_cca, read_pwcca, read_vci
from voxrank.scores.cka import read_cka
from voxrank.scores.hscore import read_hscore
from voxrank.scores.logme import read_logme
from voxrank.scores.rankme import read_rankme
from voxrank.scores.ridge import read_ridge
from voxrank.scores.spectrum import Spectrum
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.sketches.products import Products

SMOOTH = [read_logme, read_hscore, read_ridge, read_cca, read_vci, read_cka, read_rankme]


def parts(*, values, n_blocks=5, size=60, dim=7, mean=2.0):
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n_blocks):
        labels = rng.integers(0, 3, size)
        x = mean + rng.normal(size=(size, dim)) * np.geomspace(0.3, 3, dim) + 0.5 * rng.normal(size=dim)
        x += rng.normal(size=(3, dim))[labels]
        y = x[:, :2] + rng.normal(size=(size, 2)) if values else labels
        moments = Moments.zeros(dim, 2 if values else 3, values=values)
        moments.update(torch.from_numpy(x), y)
        made.append(moments)
    return made


def weighted(moments, weights):
    first = moments[0]
    total = Moments.zeros(first.dim, len(first.square), values=first.values)
    for m, w in zip(moments, weights, strict=True):
        p = m.products
        total.merge(
            Moments(
                w * m.n,
                w * m.total,
                Products(w * p.gram, w * p.cubic, w * p.quartic),
                w * m.cross,
                w * m.target_total,
                w * m.square,
                w * m.target_gram if m.values else None,
            )
        )
    return total


def blocked(moments):
    sketch = BlockedMoments.zeros(moments[0].dim, len(moments[0].square), values=moments[0].values)
    for number, part in enumerate(moments):
        sketch.close_block(number, part)
    return sketch


@pytest.mark.parametrize("values", [False, True], ids=["classes", "values"])
@pytest.mark.parametrize("read", SMOOTH)
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_influence_is_the_derivative_of_the_score(read, values, mean):
    made = parts(values=values, mean=mean)
    influence = LayerView(blocked(made)).estimate(read).influence
    step = 1e-4
    for b in range(len(made)):
        up, down = np.ones(len(made)), np.ones(len(made))
        up[b], down[b] = 1 + step, 1 - step
        high, low = (read(Spectrum.of(weighted(made, w))).value for w in (up, down))
        assert influence[b] == pytest.approx((high - low) / (2 * step), rel=2e-3, abs=2e-5)


def test_without_a_gradient_blocks_are_left_out_in_turn():
    made = parts(values=False)
    estimate = LayerView(blocked(made)).estimate(read_pwcca)
    left = [read_pwcca(Spectrum.of(weighted(made, np.arange(len(made)) != b))).value for b in range(len(made))]
    n = len(made)
    jackknife = np.sqrt((n - 1) / n * np.sum((left - np.mean(left)) ** 2))
    assert estimate.standard_error == pytest.approx(jackknife, rel=1e-4)
