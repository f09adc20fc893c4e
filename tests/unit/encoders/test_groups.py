"""Published ranks of the models of the catalogue, and groups of its models."""

import inspect

import pytest

from voxrank.config import RankRequest
from voxrank.encoders import groups
from voxrank.encoders.catalogue import Published, find_model, read_catalogue
from voxrank.encoders.groups import GROUPS, MAX_CHECKPOINT, PER_FAMILY, SIZE, expand_groups, group_models, with_models
from voxrank.encoders.published import (
    number_of_models,
    order_names,
    published_ranks,
    published_values,
    results_of,
    shares,
    sort_by_facts,
)
from voxrank.errors import OptionError


def figures(**values):
    """Return one error rate and one accuracy for each model."""
    return {
        name: (Published("superb", "SF", "cer", error), Published("superb", "SF", "f1", correct))
        for name, (error, correct) in values.items()
    }


def test_a_share_is_the_mean_over_metrics_in_their_direction():
    found = shares(figures(a=(1.0, 9.0), b=(2.0, 10.0), c=(3.0, 1.0)))
    assert found == {"SF": {"a": 0.75, "b": 0.75, "c": 0.0}}


def test_equal_results_share_their_place():
    assert shares(figures(a=(1.0, 5.0), b=(1.0, 5.0), c=(2.0, 4.0)))["SF"] == {"a": 0.75, "b": 0.75, "c": 0.0}


def test_a_single_model_is_better_than_none():
    assert shares(figures(a=(1.0, 5.0)))["SF"] == {"a": 0.0}


def test_shares_of_every_task_average_to_a_half():
    for source in ("maeb", "superb"):
        for task, own in shares(results_of(source)).items():
            assert sum(own.values()) / len(own) == pytest.approx(0.5), task


def test_ranks_name_place_tasks_and_models():
    maeb, superb = published_ranks("facebook/hubert-base-ls960")
    assert (maeb.source, maeb.models, maeb.tasks) == ("maeb", 49, 20)
    assert (superb.source, superb.models, superb.tasks) == ("superb", 15, 13)
    assert superb.place == 2
    assert superb.rank == pytest.approx(1 + (1 - superb.better_than) * 14)
    assert published_ranks("pack:whisper-base") == published_ranks("openai/whisper-base") != ()
    assert published_ranks("logmel") == published_ranks("facebook/mms-300m") == ()


def test_places_of_a_source_begin_at_one():
    places = [rank.place for model in read_catalogue() for rank in published_ranks(model.id) if rank.source == "maeb"]
    assert len(places) == number_of_models("maeb")
    assert min(places) == 1
    assert max(places) <= len(places)


def test_values_come_from_the_source_with_most_of_the_models():
    both = ["facebook/hubert-base-ls960", "facebook/wav2vec2-base"]
    assert set(published_values([*both, "microsoft/wavlm-large"])) == {*both, "microsoft/wavlm-large"}
    with_large = published_values([*both, "facebook/hubert-large-ll60k"])
    assert with_large["facebook/hubert-large-ll60k"] > with_large["facebook/wav2vec2-base"]
    assert published_values(["logmel"]) == {}


def test_models_are_sorted_by_their_place():
    ordered = sort_by_facts(read_catalogue(), "maeb")
    ranked = [published_ranks(model.id)[0].place for model in ordered[: number_of_models("maeb")]]
    assert ranked == sorted(ranked)
    assert sort_by_facts(read_catalogue(), "id")[0].id == "asapp/sew-d-base-plus-400k"
    assert {"maeb", "superb", "released"} < set(order_names())


def test_an_unknown_order_is_refused():
    with pytest.raises(OptionError, match="the catalogue has no order 'mab'; did you mean maeb"):
        sort_by_facts(read_catalogue(), "mab")


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_follows_its_rule(name):
    models = [find_model(spec) for spec in group_models(name)]
    assert 3 <= len(models) <= SIZE <= 12
    assert all(GROUPS[name].holds(model) and not model.reason for model in models)
    assert all(max(model.parameters or 0, model.size) <= MAX_CHECKPOINT for model in models)
    families = [model.family for model in models]
    assert max(map(families.count, families)) <= PER_FAMILY
    first = families[: len(set(families))]
    assert len(set(first)) == len(first), "the first of each family comes before the second of any"


def test_a_group_begins_with_the_best_published_result():
    values = published_values(list(group_models("@base")))
    assert values[group_models("@base")[0]] == max(values.values())


def test_the_rule_is_written_down():
    text = " ".join(inspect.getdoc(groups).split())
    assert f"at most {MAX_CHECKPOINT / 1e9:g} billion weights" in text
    assert "until there are ten models" in text
    assert SIZE == 10


def test_a_group_stands_for_its_models_and_merges_with_named_ones():
    base = group_models("@base")
    assert expand_groups(["logmel", "@base"]) == ("logmel", *base)
    assert expand_groups(["@base", base[0]]) == (*base[1:], base[0])
    assert expand_groups(["@base", "@base"]) == base
    both = expand_groups(["@small", "@multilingual"])
    assert len(both) == len(set(both))


def test_a_model_named_twice_stays_so_that_it_is_refused():
    assert expand_groups(["logmel", "logmel"]) == ("logmel", "logmel")


def test_an_unknown_group_is_refused_with_the_known_ones():
    message = "there is no group of models '@bass'; did you mean @base\\? \\(known: @base, @conformer, @large"
    with pytest.raises(OptionError, match=message):
        expand_groups(["@bass"])


def test_a_request_gets_the_models_of_its_groups():
    assert with_models(RankRequest(models=("@small",))).models == group_models("@small")
    assert with_models(RankRequest(models="@small")).models == "@small"
