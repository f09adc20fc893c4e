"""Agreement as printed in papers, and against SciPy and brute force."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from voxrank.groundtruth.agreement import recall_at, regret
from voxrank.groundtruth.correlation import kendall, spearman, weighted_kendall

PUBLISHED = Path(__file__).parents[1] / "data" / "published"
TABLES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(PUBLISHED.glob("*.json"))}


def goodness(name):
    """Return the metric and the printed ranks of fine-tuning, higher is better; without ranks, the metric twice."""
    table = TABLES[name]
    metric = np.array(table["truth"]) * (1 if table["higher_is_better"] else -1)
    ranks = table["truth_ranks"]
    return metric, metric if ranks is None else -np.array(ranks)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_complete(name):
    table = TABLES[name]
    n = len(table["candidates"])
    assert table["source"]
    assert table["depth"] is None or table["depth"] == list(range(1, n + 1))
    for ranks in [*table["score_ranks"].values(), table["truth_ranks"] or range(1, n + 1)]:
        assert sorted(ranks) == list(range(1, n + 1))
    assert len(table["truth"]) == n


@pytest.mark.parametrize(
    ("name", "score", "rho", "p"),
    [
        ("conformer-layers", "t-SNE", 0.696, 1.9e-3),
        ("conformer-layers", "LogME", 0.870, 5.6e-6),
        ("conformer-layers", "SWD", 0.809, 8.5e-5),
        ("hubert-layers", "LogME", 0.944, 3.9e-6),
    ],
)
def test_published_correlations_are_reproduced(name, score, rho, p):
    found = spearman(-np.array(TABLES[name]["score_ranks"][score]), goodness(name)[1])
    assert found.value == pytest.approx(rho, abs=5e-4)
    assert found.p == pytest.approx(p, rel=0.02)
    assert found.value == pytest.approx(TABLES[name]["printed"][score], abs=0.0065)


@pytest.mark.parametrize(
    ("score", "rho", "p"), [("LogME", 1, 2 / 720), ("SWD", 1, 2 / 720), ("t-SNE", 1 - 12 / 210, 12 / 720)]
)
def test_models_have_an_exact_p(score, rho, p):
    """There are six models. Two orders reach 1 or −1, and five more of each sign exchange two neighbours."""
    found = spearman(-np.array(TABLES["models"]["score_ranks"][score]), goodness("models")[1])
    assert (found.value, found.p, found.exact) == (pytest.approx(rho), pytest.approx(p), True)


def test_the_depth_rule_beats_every_score_on_one_of_two_tables_only():
    metric, ranks = goodness("conformer-layers")
    depth = TABLES["conformer-layers"]["depth"]
    assert spearman(depth, metric).value == pytest.approx(0.944, abs=5e-4)
    assert spearman(depth, ranks).value == pytest.approx(0.949, abs=5e-4)
    scores = TABLES["conformer-layers"]["score_ranks"].values()
    assert spearman(depth, ranks).value > max(spearman(-np.array(s), ranks).value for s in scores)
    assert spearman(TABLES["hubert-layers"]["depth"], goodness("hubert-layers")[0]).value == pytest.approx(
        0.30, abs=5e-3
    )


def test_printed_ranks_follow_the_metric_except_for_a_swapped_pair():
    """Blocks 4 and 6 of the Conformer are printed in the reverse order of their word error rates."""
    for name, changed in {"conformer-layers": [4, 6], "models": []}.items():
        metric, ranks = goodness(name)
        assert (np.flatnonzero(stats.rankdata(-metric) != -ranks) + 1).tolist() == changed


def test_regret_and_recall_of_published_scores_are_reproduced():
    table = TABLES["conformer-layers"]
    error = np.array(table["truth"]) / 100
    by = {name: -np.array(ranks) for name, ranks in table["score_ranks"].items()}
    lost = {name: regret(scores, error, truth_higher_is_better=False) for name, scores in by.items()}
    assert {name: round(100 * r.absolute, 2) for name, r in lost.items()} == {"t-SNE": 3.47, "LogME": 0, "SWD": 0}
    assert lost["t-SNE"].relative == pytest.approx(0.0347 / (1 - 0.1827))
    # the three best blocks are 17, 16 and 14
    found = {name: recall_at(scores, error, truth_higher_is_better=False) for name, scores in by.items()}
    assert found == {"t-SNE": pytest.approx(1 / 3), "LogME": pytest.approx(2 / 3), "SWD": pytest.approx(2 / 3)}


def random_pair(n, seed, *, ties):
    rng = np.random.default_rng(seed)
    pair = rng.integers(0, n if ties else 10**6, size=(2, n)).astype(float)
    pair[:, :2] = [-1, -2]  # neither side is all ties
    return pair


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [3, 5, 7])
@pytest.mark.parametrize("seed", range(3))
def test_the_exact_p_equals_brute_force(n, seed, ties):
    a, b = random_pair(n, seed + 10, ties=ties)
    found = spearman(a, b)
    ranks = stats.rankdata(a)
    every = [abs(np.corrcoef(ranks, order)[0, 1]) for order in permutations(stats.rankdata(b))]
    assert found.value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.p == pytest.approx(np.mean(np.array(every) >= abs(found.value) - 1e-9))


@pytest.mark.parametrize("ties", [False, True])
def test_the_exact_p_equals_the_permutation_test_of_scipy(ties):
    a, b = random_pair(8, 1, ties=ties)
    ranks = stats.rankdata(a)

    def rho(x, axis):
        rows = stats.rankdata(x, axis=axis)
        return np.abs(stats.pearsonr(rows, np.broadcast_to(ranks, rows.shape), axis=axis).statistic)

    expected = stats.permutation_test(
        (b,), rho, permutation_type="pairings", n_resamples=np.inf, alternative="greater", vectorized=True
    )
    assert spearman(a, b).p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [4, 12, 40])
def test_correlations_equal_those_of_scipy(n, ties):
    a, b = random_pair(n, n, ties=ties)
    assert spearman(a, b).value == pytest.approx(stats.spearmanr(a, b).statistic)
    expected, found = stats.kendalltau(a, b), kendall(a, b)
    assert (found.value, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert found.exact is (n <= 33 and len(set(a)) == len(set(b)) == n)
    assert weighted_kendall(a, b).value == pytest.approx(stats.weightedtau(a, b).statistic)


def test_weighted_kendall_equals_its_formula():
    """The formula weights signs of agreement by 1/(r+1) + 1/(s+1), and averages over ranks by either side."""
    a, b = random_pair(9, 5, ties=False)

    def weighted_agreement(ranked):
        ranks = stats.rankdata(-ranked) - 1
        pairs = [(i, j) for i in range(9) for j in range(i)]
        weights = [1 / (ranks[i] + 1) + 1 / (ranks[j] + 1) for i, j in pairs]
        signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs]
        return np.average(signs, weights=weights)

    assert weighted_kendall(a, b).value == pytest.approx((weighted_agreement(a) + weighted_agreement(b)) / 2)
