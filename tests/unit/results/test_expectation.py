"""The result to expect is said in the measure of the task, and only where a score is a result."""

from dataclasses import replace

import pytest

from voxrank.results.expectation import expectation, ordering, reference
from voxrank.results.ranking import ScoreValue


def with_spaces(text):
    return text.replace("\xa0", " ")


def ranking_of(made, name, value, **data):
    ranking = made.make_ranking(scores={name: True}, details=False)
    best = replace(ranking.models[0], scores={name: value})
    facts = replace(ranking.data, **{"held_out": "speakers", **data})
    return replace(ranking, models=(best, *ranking.models[1:]), data=facts)


def test_accuracy_is_a_percentage_beside_guessing_and_the_most_frequent_class(made):
    ranking = ranking_of(made, "accuracy", ScoreValue(0.84, 0.78, 0.9), classes=20, majority=0.11)
    assert with_spaces(expectation(ranking)) == "expected accuracy 84 % (78 % to 90 %) on speakers not heard"
    text = reference(ranking)
    assert text.startswith("Guessing reaches 5 %, the most frequent class alone 11 %. This is what a linear head on")
    assert text.endswith("on the frozen layer reaches.")
    block = replace(ranking, options=ranking.options | {"strategy": "layer"})
    assert reference(block).endswith("on the frozen layer reaches; tuning the block usually reaches more.")
    full = replace(ranking, options=ranking.options | {"strategy": "full"})
    assert reference(full).endswith("fine-tuning usually reaches more, and how much more differs between models.")
    assert expectation(ranking) in ranking.verdict
    assert reference(ranking) in ranking.verdict


def test_guessing_is_named_once_where_classes_are_equally_frequent(made):
    ranking = ranking_of(made, "accuracy", ScoreValue(0.84, 0.78, 0.9), classes=20, majority=0.05)
    assert "most frequent" not in reference(ranking)


def test_the_error_of_values_is_in_their_unit(made):
    ranking = ranking_of(made, "r2", ScoreValue(0.75, 0.6, 0.9), deviation=8.0)
    assert expectation(ranking) == "expected R² 0.7500 (0.6000 to 0.9000) on speakers not heard"
    assert reference(ranking).startswith("That is an error of 4 in the unit of the values, where their mean has 8.")


def test_average_precision_has_no_guessing(made):
    ranking = ranking_of(made, "map", ScoreValue(0.5, None, None))
    assert expectation(ranking) == "expected mean average precision 0.5000 on speakers not heard"
    assert reference(ranking).startswith("This is what a linear head")


@pytest.mark.parametrize(("name", "held_out"), [("logme", "speakers"), ("accuracy", "")])
def test_nothing_is_expected_by_other_scores_and_by_rankings_of_earlier_versions(made, name, held_out):
    ranking = ranking_of(made, name, ScoreValue(0.5, 0.4, 0.6), held_out=held_out)
    assert expectation(ranking) == reference(ranking) == ""
    assert "expect" not in ranking.verdict


@pytest.mark.parametrize(("name", "value"), [("accuracy", 0.11), ("balanced", 0.05), ("r2", -0.01)])
def test_a_result_that_is_no_better_than_guessing_is_called_so(made, name, value):
    ranking = ranking_of(made, name, ScoreValue(value, None, None), classes=20, majority=0.11, deviation=2.0)
    assert reference(ranking) == "That is no better than guessing."


def test_an_interval_without_width_is_not_shown(made):
    ranking = ranking_of(made, "accuracy", ScoreValue(1.0, 1.0, 1.0), classes=2, majority=0.5)
    assert with_spaces(expectation(ranking)) == "expected accuracy 100 % on speakers not heard"


@pytest.mark.parametrize(
    ("task", "sample", "unit"),
    [
        ("transcription", "frame", " per segment"),
        ("classification", "frame", " per frame"),
        ("classification", "utterance", ""),
    ],
)
def test_the_accuracy_of_segments_and_frames_is_called_so(made, task, sample, unit):
    ranking = ranking_of(made, "accuracy", ScoreValue(0.5, None, None), classes=20, majority=0.11)
    ranking = replace(ranking, task=task, options=ranking.options | {"sample": sample})
    assert with_spaces(expectation(ranking)) == f"expected accuracy{unit} 50 % on speakers not heard"


def test_an_order_by_several_scores_is_said_in_words(made):
    ranking = made.make_ranking(details=False)
    assert ordering(ranking) == ""
    several = replace(ranking, options=ranking.options | {"order": ["accuracy", "likelihood", "logme"]})
    assert ordering(several) == "Layers are ordered by the mean of their ranks by accuracy, likelihood and logme."
    block = replace(ranking, options=ranking.options | {"order": ["tuned"]})
    assert ordering(block) == "Layers are ordered by tuned."
