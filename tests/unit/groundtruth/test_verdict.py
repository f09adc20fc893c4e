"""The verdict of fine-tuning on the candidates: exact ties, and trials that did not beat their untrained head."""

import json
from dataclasses import replace

import pytest

from voxrank.errors import DataError
from voxrank.groundtruth.verdict import Place, Validation


def with_truth(validation, values, **changes):
    """Return a validation of these values by candidate."""
    truth = tuple(replace(one, values=tuple(row)) for one, row in zip(validation.truth, values, strict=False))
    return replace(validation, truth=truth, **changes)


@pytest.fixture
def validation(made):
    """Return a validation of three models with two layers each."""
    return made.make_validation(("a", "b", "c"))


def test_the_best_candidate_has_the_best_mean(validation):
    found = with_truth(validation, [(0.1, 0.2), (0.4, 0.5), (0.3, 0.3)])
    assert found.verdict.best == (Place("a", 2),)
    assert not found.verdict.all_equal
    assert (found.best.model, found.best.layer) == ("a", 2)
    errors = replace(found, higher_is_better=False)
    assert errors.verdict.best == (Place("a", 1),)


def test_means_that_differ_in_the_last_bit_are_equal(validation):
    found = with_truth(validation, [(0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.2, 0.2, 0.2)])
    assert found.verdict.best == (Place("a", 1), Place("a", 2), Place("b", 1))
    assert found.verdict.all_equal
    assert found.best == found.truth[0]


def test_failed_candidates_are_not_among_the_best(validation):
    found = with_truth(validation, [(None, None), (0.5, None), (0.5, 0.5), (0.2, 0.2)])
    assert found.verdict.best == (Place("a", 2), Place("b", 1))
    assert (found.verdict.candidates, found.verdict.all_equal) == (3, False)


def test_no_candidate_is_best_where_every_trial_failed(validation):
    found = with_truth(validation, [(None,)] * 3)
    assert (found.best, found.verdict.best, found.verdict.candidates) == (None, (), 0)
    assert not found.verdict.all_equal
    assert found.verdict.remark == ""


def test_a_single_candidate_is_not_tied(validation):
    assert not with_truth(validation, [(0.5, 0.5)]).verdict.all_equal


@pytest.mark.parametrize(
    ("beaten", "trials", "count", "remark"),
    [
        ((), 0, 0, ""),
        ((True, True), 2, 2, ""),
        ((True, False), 2, 1, "1 of 2 trials did not beat their untrained head"),
        ((False, None), 1, 0, "No trial beat its untrained head"),
    ],
)
def test_trials_that_did_not_beat_their_untrained_head_are_counted(validation, beaten, trials, count, remark):
    found = with_truth(validation, [(0.5, 0.5)])
    found = replace(found, truth=(replace(found.truth[0], beat_untrained=beaten),))
    verdict = found.verdict
    assert (verdict.trials, verdict.beat_untrained) == (trials, count)
    assert verdict.none_learnt == (trials > 0 and not count)
    assert verdict.remark.startswith(remark)
    assert bool(verdict.remark) == bool(remark)


def test_the_verdict_is_saved_and_computed_again_when_it_is_loaded(validation, tmp_path):
    found = with_truth(validation, [(0.5, 0.5), (0.5, 0.5), (0.1, 0.1)])
    found.save(tmp_path)
    content = json.loads((tmp_path / "validation.json").read_text())
    assert content["schema"] == 1
    assert content["verdict"] == {
        "best": [{"model": "a", "layer": 1}, {"model": "a", "layer": 2}],
        "candidates": 3,
        "trials": 0,
        "beat_untrained": 0,
    }
    content["verdict"]["best"] = []
    (tmp_path / "validation.json").write_text(json.dumps(content))
    assert Validation.load(tmp_path) == found
    content["strange"] = 1
    (tmp_path / "validation.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="does not know 'strange'"):
        Validation.load(tmp_path)


def test_a_file_of_a_version_without_the_verdict_is_read(validation, tmp_path):
    found = with_truth(validation, [(0.5, 0.5), (0.5, 0.5), (0.1, 0.1)])
    content = json.loads(found.to_json())
    del content["verdict"]
    for one in content["truth"]:
        del one["untrained"], one["beat_untrained"]
    (tmp_path / "validation.json").write_text(json.dumps(content))
    assert Validation.load(tmp_path) == found


def test_the_table_has_the_accuracy_of_the_untrained_head(validation):
    found = with_truth(validation, [(0.5, 0.7), (0.5, None)])
    truth = (replace(found.truth[0], untrained=(0.2, 0.4)), replace(found.truth[1], untrained=(0.3, None)))
    table = replace(found, truth=truth, judged=()).to_pandas()
    assert table["accuracy_untrained"].tolist() == pytest.approx([0.3, 0.3])
