"""Expected scores with a tuned block: those at the head, less half of what the block had already added."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import rankdata

import voxrank
from voxrank._support.progress import Progress
from voxrank.config import ExtractionOptions, UseOptions
from voxrank.encoders.base import Layer
from voxrank.encoders.joint import JointLayer
from voxrank.engines.local import LocalRunner
from voxrank.errors import OptionError
from voxrank.ranking.tuning import LayerSelection, expected
from voxrank.report.terminal import verdict
from voxrank.scores.estimate import Estimate

LAYERS = tuple(Layer(i, f"block {i}", 4, 50.0) for i in range(5))
ON_BLOCK, ON_TOP = UseOptions("layer"), UseOptions("layer", "top")


def scored(values, influences=None):
    influences = np.zeros((len(values), 0)) if influences is None else influences
    return {place: Estimate(float(v), u) for place, (v, u) in enumerate(zip(values, influences, strict=True))}


def test_a_block_with_the_head_on_it_scores_as_the_mean_of_its_input_and_output():
    scores = scored([1, 5, 2, 9])
    assert [expected(scores, block, 3, ON_BLOCK, 0.5).value for block in (1, 2, 3)] == [3, 3.5, 5.5]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.75, 4.0), (1.0, 5.0)])
def test_the_share_of_the_output_may_be_more_or_less(share, value):
    assert expected(scored([1, 5, 2, 9]), 1, 3, ON_BLOCK, share).value == value


def test_the_block_that_adds_least_comes_first_with_the_head_on_the_top():
    scores = scored([0, 4, 6, 5])
    assert [expected(scores, block, 3, ON_TOP, 0.5).value for block in (1, 2, 3)] == [3, 4, 5.5]


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.data())
def test_the_place_of_the_head_does_not_change_the_score_of_the_last_block(values, data):
    last = len(values) - 1
    assert expected(scored(values), last, last, ON_TOP, 0.5).value == pytest.approx(
        expected(scored(values), last, last, ON_BLOCK, 0.5).value
    )


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=12))
def test_the_deeper_block_is_better_where_gains_of_layers_decrease(gains):
    """The published rule of thumb for recognisers is a special case."""
    gains = sorted(gains, reverse=True)
    scores = scored(np.concatenate([[0], np.cumsum(gains)]))
    found = [expected(scores, block, len(gains), ON_TOP, 0.5).value for block in range(1, len(gains) + 1)]
    assert found == pytest.approx(sorted(found))


def test_intervals_are_those_of_the_sum():
    rng = np.random.default_rng(0)
    values, influences = rng.normal(size=4), rng.normal(size=(4, 6))
    found = expected(scored(values, influences), 2, 3, ON_TOP, 0.5)
    weights = rng.normal(size=6)
    moved = values + influences @ weights
    assert found.value + found.influence @ weights == pytest.approx(moved[3] - (moved[2] - moved[1]) / 2)


@pytest.mark.parametrize(
    ("chosen", "use", "ranked", "read"),
    [
        ((0, 1, 2, 3, 4), ON_BLOCK, [1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ((3,), ON_BLOCK, [3], [2, 3]),
        ((1, 2), ON_TOP, [1, 2], [0, 1, 2, 4]),
        ((0,), ON_TOP, [], []),
    ],
)
def test_only_the_layers_that_are_needed_are_read(chosen, use, ranked, read):
    selection = LayerSelection.for_tuning([LAYERS[place] for place in chosen], LAYERS, use)
    assert ([x.index for x in selection.ranked], [x.index for x in selection.read]) == (ranked, read)


def test_joint_layers_are_refused_where_a_block_is_tuned():
    joint = JointLayer.of("mean", LAYERS[1:3], "m")
    with pytest.raises(OptionError, match="no single block makes the mean of layers 1 to 2; leave mean or --strategy"):
        LayerSelection.for_tuning([joint], LAYERS, ON_BLOCK)


@pytest.mark.parametrize("head_at", ["layer", "top"])
def test_blocks_are_ranked_by_the_scores_of_layers_around_them(fakes, tones, head_at):
    plain = voxrank.rank(tones, ["fake-a", "fake-b"])
    found = voxrank.rank(tones, ["fake-a", "fake-b"], use=UseOptions("layer", head_at))
    assert (found.options["strategy"], found.options["head_at"]) == ("layer", head_at)
    assert (list(found.best.scores), found.order) == ([*plain.best.scores, "tuned"], ("tuned",))
    blocks = [(x.model, x.layer) for x in found.layers]
    frozen = {(x.model, x.layer): x.scores for x in plain.layers}
    assert set(blocks) == {key for key in frozen if key[1] > 0}
    assert all(x.scores["accuracy"] == frozen[x.model, x.layer]["accuracy"] for x in found.layers)
    last = {model: max(layer for name, layer in frozen if name == model) for model, _ in frozen}

    def predicted(name, model, block):
        head = last[model] if head_at == "top" else block
        before, after, at_head = (frozen[model, layer][name].value for layer in (block - 1, block, head))
        return at_head - (after - before) / 2

    shares = [(rankdata([predicted(name, *key) for key in blocks]) - 1) / (len(blocks) - 1) for name in plain.order]
    values = [x.scores["tuned"].value for x in found.layers]
    assert values == pytest.approx(np.mean(shares, axis=0))
    assert values == sorted(values, reverse=True)


def test_one_score_is_predicted_in_its_own_measure_where_one_orders_frozen_layers(fakes, tones):
    frames = ExtractionOptions(sample="frame")
    plain = {x.layer: x.scores["accuracy"].value for x in voxrank.rank(tones, ["fake-a"], extraction=frames).layers}
    found = voxrank.rank(tones, ["fake-a"], use=UseOptions("layer"), extraction=frames)
    for x in found.layers:
        assert x.scores["tuned"].value == pytest.approx((plain[x.layer - 1] + plain[x.layer]) / 2)


def test_values_are_predicted_by_scores_of_values(fakes, tones):
    pitch = {"low": "200", "middle": "500", "high": "1400"}
    rows = [line.split(",") for line in tones.read_text().splitlines()[1:]]
    manifest = tones.with_name("pitch.csv")
    lines = [f"{path},{pitch[label]},{speaker}" for path, label, speaker in rows]
    manifest.write_text("\n".join(["path,value,speaker", *lines]))
    found = voxrank.rank(manifest, ["fake-a"], use=UseOptions("layer"))
    assert list(found.best.scores) == ["r2", "logme", "tuned"]


def test_twice_as_many_frames_are_kept(fakes, tones, monkeypatch):
    seen = []
    sketch = LocalRunner.sketch
    monkeypatch.setattr(LocalRunner, "sketch", lambda self, *a, **k: seen.append(a[3]) or sketch(self, *a, **k))
    frames = ExtractionOptions(sample="frame", kept_samples=10)
    voxrank.rank(tones, ["fake-a"], use=UseOptions("layer"), extraction=frames)
    voxrank.rank(tones, ["fake-a"], use=UseOptions("layer"))
    voxrank.rank(tones, ["fake-a"], scores=["knn"], extraction=frames)
    assert [options.kept_samples for options in seen] == [20, 2048, 10]


def test_a_chosen_layer_scores_the_same_as_among_all_layers(fakes, tones):
    use, frames = UseOptions("layer", "top"), ExtractionOptions(sample="frame")
    everything = voxrank.rank(tones, ["fake-a"], use=use, extraction=frames)
    one = voxrank.rank(tones, ["fake-a"], use=use, extraction=frames, layers="1")
    assert one.layers == tuple(x for x in everything.layers if x.layer == 1)


def test_the_verdict_names_the_block(fakes, tones):
    found = voxrank.rank(tones, ["fake-a"], use=UseOptions("layer"))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(verdict(found))
    assert f"Fine-tune layer {found.best.layer} (" in captured.get()
    assert ") of fake-a" in captured.get()


def test_models_without_a_block_are_left_out(fakes, tones):
    notes = []
    watcher = Progress()
    watcher.note = notes.append
    found = voxrank.rank(tones, ["fake-c", "fake-a"], use=UseOptions("layer"), progress=watcher)
    assert {x.model for x in found.layers} == {"fake-a"}
    assert notes[-1] == "fake-c has no block to tune and is left out"
    with pytest.raises(OptionError, match="none of the layers '0' is made by a block that can be tuned"):
        voxrank.rank(tones, ["fake-a"], use=UseOptions("layer"), layers="0")


def test_the_score_is_refused_without_a_strategy_that_tunes_blocks(fakes, tones):
    with pytest.raises(OptionError, match="tuned is for blocks that will be tuned; add --strategy layer"):
        voxrank.rank(tones, ["fake-a"], scores=["tuned"])
    with pytest.raises(OptionError, match="expected strategy to be one of probe, layer, full, got 'some'"):
        UseOptions("some")
    with pytest.raises(OptionError, match="--head-at top is for --strategy layer"):
        UseOptions("full", "top")
