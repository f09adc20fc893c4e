"""Probes of other columns use heads that did not see the group, and equal refitting exactly."""

from pathlib import Path

import numpy as np
import pytest
import torch

from voxrank.data.utterance import Dataset, Utterance
from voxrank.diagnostics.besides import Column, Heads, in_several_groups, probe_columns
from voxrank.errors import DataError
from voxrank.sketches.sample import Sample, frame_keys, utterance_key


def ridge_refitted(x, y, groups, t):
    """Fit ridge regression with a free mean, without each group in turn."""
    x, found = x.astype(float), np.empty(y.shape)
    for group in np.unique(groups):
        rest, own = groups != group, groups == group
        centre, mean = x[rest].mean(axis=0), y[rest].mean(axis=0)
        about = x[rest] - centre
        weights = np.linalg.solve(about.T @ about + t * np.eye(x.shape[1]), about.T @ (y[rest] - mean))
        found[own] = mean + (x[own] - centre) @ weights
    return found


@pytest.mark.parametrize(("m", "dim"), [(90, 10), (40, 70)])
@pytest.mark.parametrize("t", [0.3, 40.0])
def test_held_out_predictions_equal_refitting(m, dim, t):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(m, dim)) * rng.uniform(0.1, 5, dim) + 9).astype(np.float32)
    y, groups = np.eye(3)[rng.integers(0, 3, m)], rng.integers(0, 7, m) ** 2
    found = Heads.of(x).held_out(y, groups, t)
    np.testing.assert_allclose(found, ridge_refitted(x, y, groups, t), atol=1e-6)
    alone = np.arange(m)
    np.testing.assert_allclose(Heads.of(x).held_out(y, alone, t), ridge_refitted(x, y, alone, t), atol=1e-6)


def dataset(rows):
    """Return a data set of (speaker, cell) pairs."""
    return Dataset(
        "made up",
        "classification",
        "label",
        tuple(
            Utterance(f"u{n}", Path(f"u{n}"), label="x", speaker=speaker, others=(("gender", cell),) if cell else ())
            for n, (speaker, cell) in enumerate(rows)
        ),
    )


def sampled(x, owners):
    """Return samples of utterances, by number."""
    sample = Sample.empty(10_000, x.shape[1])
    names = np.array([utterance_key(f"u{owner}") for owner in owners], dtype=np.uint64)
    places = np.array([np.sum(owners[:n] == owner) for n, owner in enumerate(owners)])
    keys = frame_keys(names, [1] * len(names), places)
    sample.update(torch.from_numpy(x.astype(np.float32)), keys, np.zeros(len(x), int), 0, utterances=names)
    return sample


def groups_of(rows, column="gender"):
    made = dataset(rows)
    column = Column.of(made, column)
    places = np.searchsorted(column.keys, [utterance_key(one.id) for one in made.utterances])
    return column.cells[places].tolist(), column.groups[places].tolist()


def test_all_utterances_of_a_speaker_are_left_out_together():
    cells, groups = groups_of([("s", "f"), ("t", "f"), ("s", "f"), ("r", "m"), (None, "m"), (None, None)])
    assert cells == [1, 1, 1, 2, 2, -1]
    assert groups[0] == groups[2]
    assert len(set(groups)) == 5


@pytest.mark.parametrize("column", ["speaker", "gender"])
def test_a_column_that_names_speakers_is_grouped_by_utterance(column):
    cells, groups = groups_of([("s", "Anna"), ("t", "Otto"), ("s", "Anna"), ("t", "Otto")], column)
    assert cells == [cells[0], cells[1], cells[0], cells[1]]
    assert sorted(groups) == [0, 1, 2, 3]


def test_an_unknown_column_is_refused():
    with pytest.raises(DataError, match=r"made up: no utterance has a cell in a column 'gendr'; did you mean gender\?"):
        Column.of(dataset([("s", "f")]), "gendr")


def test_cells_that_occur_in_one_group_are_not_scored():
    cells, groups = np.array([0, 0, 1, 1, -1, -1, 2]), np.array([0, 1, 2, 2, 3, 4, 5])
    assert in_several_groups(cells, groups).tolist() == [True, True, *[False] * 5]


def test_gender_is_not_predicted_from_the_speaker():
    """Features identify speakers perfectly, and contain nothing about their gender, which is random."""
    rng = np.random.default_rng(1)
    voices, genders = rng.normal(size=(20, 40)), np.arange(20) % 2
    rows = [(f"s{n % 20}", "fm"[genders[n % 20]]) for n in range(200)]
    owners = np.repeat(np.arange(200), 3)
    x = voices[owners % 20] + 0.05 * rng.normal(size=(600, 40))
    columns = [Column.of(dataset(rows), name) for name in ("speaker", "gender")]
    speaker, gender = probe_columns("m", 3, sampled(x, owners), columns)
    assert (speaker.column, speaker.model, speaker.layer, speaker.classes, speaker.samples) == (
        "speaker",
        "m",
        3,
        20,
        600,
    )
    assert speaker.accuracy > 0.95
    assert speaker.chance == pytest.approx(0.05)
    assert gender.accuracy < 0.75
    assert gender.chance == 0.5


def test_gender_is_predicted_where_features_contain_it():
    rng = np.random.default_rng(2)
    rows = [(f"s{n % 20}", "fm"[n % 2] if n % 5 else None) for n in range(200)]
    x = np.eye(2, 30)[np.arange(200) % 2] * 4 + rng.normal(size=(200, 30)) + 100
    (gender,) = probe_columns("m", "mean", sampled(x, np.arange(200)), [Column.of(dataset(rows), "gender")])
    assert gender.samples == 160
    assert gender.accuracy > 0.9


def test_frames_of_one_utterance_do_not_predict_each_other():
    """Every utterance has a distinct sound, and its cell is random."""
    rng = np.random.default_rng(3)
    rows = [(None, "fm"[rng.integers(2)]) for _ in range(60)]
    owners = np.repeat(np.arange(60), 8)
    x = rng.normal(size=(60, 80))[owners] + 0.01 * rng.normal(size=(480, 80))
    (gender,) = probe_columns("m", 0, sampled(x, owners), [Column.of(dataset(rows), "gender")])
    assert gender.accuracy < 0.75
    truth = np.array(["fm".index(cell) for _, cell in rows])[owners]
    assert (Heads.of(x.astype(np.float32)).predict(truth, np.arange(480)) == truth).all()  # they do without groups


def test_results_do_not_depend_on_order_and_features_may_be_constant():
    rng = np.random.default_rng(4)
    rows = [(f"s{n % 6}", "fm"[n % 2]) for n in range(60)]
    x, order = rng.normal(size=(60, 5)), rng.permutation(60)
    column = [Column.of(dataset(rows), "gender")]
    one, other = (list(probe_columns("m", 0, s, column)) for s in (sampled(x, np.arange(60)), sampled(x[order], order)))
    assert other == one
    (flat,) = probe_columns("m", 0, sampled(np.ones((60, 5)), np.arange(60)), column)
    assert flat.accuracy <= 0.5
    assert not list(probe_columns("m", 0, sampled(x, np.arange(60)), [Column.of(dataset([("s", "f")] * 60), "gender")]))


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3)])
def test_a_layer_without_information_is_at_chance(shares):
    """Speakers are left out whole; the cells of the others alone would favour the wrong class."""
    accuracies = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        speakers = np.repeat(np.arange(40), 15)
        cells = np.repeat(rng.permutation(np.repeat(np.arange(len(shares)), [round(40 * s) for s in shares])), 15)
        voices = rng.normal(size=(40, 12))[speakers] * (seed % 2)
        accuracies.append(
            Heads.of((voices + rng.normal(size=(600, 12))).astype(np.float32)).predict(cells, speakers) == cells
        )
        accuracies[-1] = np.mean([accuracies[-1][cells == cell].mean() for cell in np.unique(cells)])
    assert np.mean(accuracies) == pytest.approx(1 / len(shares), abs=0.06)
