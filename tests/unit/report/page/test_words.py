"""Sentences of the page."""

import doctest
from dataclasses import replace

from voxrank._support import words as numbers
from voxrank.report.page import words
from voxrank.report.page.words import listed, verdict


def test_the_examples_of_docstrings_hold():
    results = [doctest.testmod(module) for module in (words, numbers)]
    assert sum(one.attempted for one in results) >= 8
    assert [one.attempted > 0 for one in results] == [True, True]
    assert [one.failed for one in results] == [0, 0]


def test_the_verdict_is_given_with_its_confidence(made):
    ranking = made.make_ranking(("a", "b", "c"), lead=0.97)
    found = verdict(ranking)
    assert found.sentence == (
        "Fine-tune a from layer 2: best of 3 models in 97\xa0% of resamples of the data; "
        "it beats each of the 2 others in 97\xa0%."
    )


def test_rivals_are_named_where_they_differ(made):
    names = tuple("abcdefg")
    beats = ((0, 0.96, 0.99, 1, 1, 0.999, 1), *([0.0] * 7 for _ in range(6)))
    found = verdict(made.make_ranking(names, lead=0.97, beats=beats)).confidence
    assert found.endswith(
        "it beats b in 96\xa0%, c in 99\xa0%, d in 100\xa0% and each of the 3 others in at least 99.9\xa0%."
    )


def test_tied_models_are_named_as_tied(made):
    two = verdict(made.make_ranking(("a", "b", "c"), beats=((0, 0.6, 0.99), (0.4, 0, 0.9), (0.01, 0.1, 0))))
    assert two.tied == "b is tied with it: more data, or another consideration, has to decide."
    assert "b in 60\xa0% and c in 99\xa0%" in two.confidence
    all_of_six = verdict(made.make_ranking(tuple("abcdef"), lead=0.5)).tied
    assert all_of_six.startswith("b, c, d and 2 others are tied with it")


def test_layers_that_score_exactly_the_same_are_named(made):
    ranking = made.make_ranking(("a", "b"), n_layers=3, scores={"logme": True}, lead=0.97)
    same = ranking.best.scores
    layers = tuple(replace(layer, scores=same) if layer.layer == 0 else layer for layer in ranking.layers)
    assert verdict(replace(ranking, layers=layers)).tied == (
        "2 other layers score exactly the same: layer 0 of a and layer 0 of b."
    )
    layers = tuple(replace(layer, scores=same) for layer in ranking.layers)
    assert verdict(replace(ranking, layers=layers)).tied.endswith(" and 2 more.")
    alone = made.make_ranking(("a",), n_layers=2, scores={"logme": True})
    layers = tuple(replace(layer, scores=alone.best.scores) for layer in alone.layers)
    assert verdict(replace(alone, layers=layers)).tied == "1 other layer scores exactly the same: layer 0 of a."


def test_models_that_score_exactly_the_same_are_tied_in_a_single_block(made):
    ranking = made.make_ranking(("a", "b"), intervals=False)
    models = tuple(replace(model, scores=ranking.best.scores) for model in ranking.models)
    assert verdict(replace(ranking, models=models)).tied.startswith("b is tied with it: more data")


def test_no_confidence_is_given_with_a_single_block(made):
    found = verdict(made.make_ranking(("a", "b"), intervals=False))
    assert "its certainty is unknown" in found.confidence
    assert not found.tied


def test_a_single_model_is_called_the_only_one(made):
    found = verdict(made.make_ranking(("a",), scores={"logme": True}))
    assert found.sentence == "Fine-tune a from layer 2: the only model that was ranked, at the best of 5 layers."


def test_the_verdict_names_the_block_to_fine_tune(made):
    ranking = made.make_ranking(("a",))
    ranking = made.make_ranking(("a",), options=ranking.options | {"strategy": "layer"})
    assert verdict(ranking).sentence.startswith("Fine-tune layer 2 of a: ")


def test_the_verdict_describes_joint_layers(made):
    ranking = made.make_ranking(("a",), n_layers=1)
    (one,) = ranking.models
    ranking = replace(ranking, models=(replace(one, layer="mean"),))
    assert verdict(ranking).sentence.startswith("Fine-tune a from the mean of its layers: ")


def test_lists_of_names_are_joined_with_and():
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
