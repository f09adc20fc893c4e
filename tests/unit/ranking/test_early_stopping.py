"""Early stopping: dropped models could not have won, and the winner of all data is kept as often as promised."""

import csv
import functools
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import voxrank
import voxrank.encoders.pool
from voxrank._support.progress import Progress
from voxrank.config import ExtractionOptions, StoppingOptions, UseOptions
from voxrank.data.shards import Item, plan_shards
from voxrank.data.utterance import Utterance
from voxrank.errors import OptionError
from voxrank.ranking import early_stopping
from voxrank.ranking.early_stopping import SHARES, RoundScores, beaten, first_share, plan_rounds
from voxrank.scores.estimate import Estimate
from voxrank.scores.logme import read_logme
from voxrank.scores.registry import estimate_all, get_score
from voxrank.scores.spectrum import Spectrum
from voxrank.scores.view import LayerView
from voxrank.sketches.blocks import BlockedMoments
from voxrank.sketches.moments import Moments
from voxrank.testing.encoders import FakeEncoder


def items_of(count, speakers=4, labels=3):
    return [
        Item(Utterance(f"u{n}", Path(f"u{n}.wav"), label=f"l{n % labels}", speaker=f"s{n % speakers}"), 1.0, n)
        for n in range(count)
    ]


def test_rounds_hold_every_utterance_once_and_stay_in_their_block():
    shards = plan_shards(items_of(2000), "label", blocks=4, shard_s=60)
    homes = {item.row: shard.block for shard in shards for item in shard.items}
    rounds = plan_rounds(shards, shard_s=60)
    assert tuple(one.share for one in rounds) == SHARES
    seen = [(item.row, shard.block) for one in rounds for shard in one.shards for item in shard.items]
    assert sorted(seen) == sorted(homes.items())
    assert first_share(shards, 1 / 8) == [i for one in rounds[:2] for shard in one.shards for i in shard.items]


def test_every_round_has_its_share_of_each_speaker_and_label():
    rounds = plan_rounds(plan_shards(items_of(2400), "label", blocks=4, shard_s=60), shard_s=60)
    for one in rounds:
        taken = [u for part in rounds[: rounds.index(one) + 1] for shard in part.shards for u in shard.items]
        for names in ([i.utterance.speaker for i in taken], [i.utterance.label for i in taken]):
            counts = np.unique(names, return_counts=True)[1]
            assert counts.max() - counts.min() <= 4
        assert len(taken) == pytest.approx(one.share * 2400, abs=4)


def test_few_data_are_used_in_a_single_round():
    assert [one.share for one in plan_rounds(plan_shards(items_of(40), "label", blocks=4, shard_s=60), shard_s=60)] == [
        1
    ]


def test_the_draw_does_not_depend_on_the_order_of_the_rows():
    items = items_of(600)
    one, other = (
        plan_rounds(plan_shards(rows, "label", blocks=4, shard_s=9), shard_s=9) for rows in (items, items[::-1])
    )
    assert one == other


def test_one_long_group_does_not_lengthen_the_draw_of_all(monkeypatch):
    """Groups leave the draw when they are used up: an utterance takes a bounded number of looks at groups."""
    looks = 0

    class Counted(list):
        def __getitem__(self, index):
            nonlocal looks
            looks += 1
            return super().__getitem__(index)

    monkeypatch.setattr(early_stopping, "defaultdict", lambda kind: defaultdict(Counted))
    items = items_of(600, speakers=300, labels=1) + [
        Item(replace(item.utterance, id=f"long{n}", speaker="long"), 1.0, 600 + n)
        for n, item in enumerate(items_of(400))
    ]
    drawn = early_stopping._spread(items, 0)
    assert sorted(item.row for item in drawn) == list(range(1000))
    assert looks <= 2 * len(items)
    assert {item.utterance.speaker for item in drawn[-300:]} == {"long"}


def standing(share, values, spread=0.01, blocks=10):
    influence = np.random.default_rng(0).normal(size=(len(values), blocks)) * spread
    return RoundScores(
        share, {f"m{n}": [Estimate(v, u)] for n, (v, u) in enumerate(zip(values, influence, strict=True))}
    )


def dropped(before, now, **options):
    return beaten(now, before, **{"confidence": 0.95, "models": len(now.scores), "rounds": 5} | options)


def test_a_model_far_behind_is_dropped_and_a_close_one_is_kept():
    before, now = standing(0.125, [1.0, 0.98, 0.5]), standing(0.25, [1.0, 0.98, 0.5])
    assert dropped(before, now) == {"m2"}
    assert dropped(None, now) == set()
    assert dropped(before, standing(1.0, [1.0, 0.98, 0.5])) == set()
    assert dropped(before, standing(0.25, [1.0, 0.98, 0.5], blocks=1)) == set()


def test_a_model_that_catches_up_is_kept():
    """Half of the data is left, and half of the gain of the last round is still expected."""
    now = standing(0.5, [1.0, 0.8], spread=1e-6)
    assert dropped(standing(0.25, [1.0, 0.39], spread=1e-6), now) == set()
    assert dropped(standing(0.25, [1.0, 0.41], spread=1e-6), now) == {"m1"}
    assert dropped(standing(0.25, [1.0, 0.95], spread=1e-6), now) == {"m1"}


def test_fewer_models_are_dropped_at_a_higher_confidence():
    before, now = standing(0.125, [1.0, 0.9], 0.02), standing(0.25, [1.0, 0.9], 0.02)
    kept = [bool(dropped(before, now, confidence=c)) for c in (0.6, 0.99, 0.9999)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0]
    assert not kept[-1]


def raced(seed, *, models, n, speakers, spread):
    """Run random models on random data; return whether the best model of all data was kept, and the share encoded."""
    rng = np.random.default_rng(seed)
    labels, speaker = rng.integers(8, size=n), rng.integers(speakers, size=n)
    order, score, features = rng.permutation(n), get_score("logme"), {}
    for model in range(models):
        dim = int(rng.integers(6, 40))
        centres = rng.normal(size=(8, dim)) * (0.8 + spread * rng.normal()) * 2 / np.sqrt(dim)
        voices = rng.normal(size=(speakers, dim)) * 0.3
        features[str(model)] = centres[labels] + voices[speaker] + rng.normal(size=(n, dim))

    def value_of(made):
        moments = Moments.zeros(made.shape[1], 8)
        moments.update(torch.from_numpy(made), labels)
        return read_logme(Spectrum.of(moments)).value

    def estimate(made, chosen):
        blocked = BlockedMoments.zeros(made.shape[1], 8)
        for block in range(speakers):
            own = chosen[speaker[chosen] == block]
            if len(own):
                moments = Moments.zeros(made.shape[1], 8)
                moments.update(torch.from_numpy(made[own]), labels[own])
                blocked.close_block(block, moments)
        return estimate_all([score], LayerView(blocked, None, labels))["logme"]

    left, before, encoded, last = list(features), None, 0.0, 0.0
    for share in SHARES:
        chosen = order[: round(share * n)]
        now = RoundScores(share, {model: [estimate(features[model], chosen)] for model in left})
        encoded += len(left) * (share - last) / models
        gone = beaten(now, before, confidence=0.95, models=models, rounds=len(SHARES))
        left, before, last = [model for model in left if model not in gone], now, share
        if len(left) == 1:
            break
    known = {model: one.value for model, (one,) in now.scores.items()} if share == 1 else {}
    full = {model: known.get(model) or value_of(made) for model, made in features.items()}
    return max(full, key=full.get) in left, encoded


@pytest.mark.parametrize(
    "case",
    [
        {"models": 5, "n": 800, "speakers": 10, "spread": 0.05},
        {"models": 5, "n": 800, "speakers": 4, "spread": 0.15},
        {"models": 3, "n": 1600, "speakers": 10, "spread": 0.3},
    ],
    ids=["models alike", "few speakers", "models apart"],
)
def test_the_winner_of_all_data_is_kept_in_95_of_100_runs(case):
    runs = [raced(seed, **case) for seed in range(60)]
    kept = sum(won for won, _ in runs)
    assert kept >= 54  # of 60: with probability 0.95, fewer occur in 3 of 100 such tests
    if case["spread"] == 0.3:
        assert np.mean([encoded for _, encoded in runs]) < 0.6


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Write 480 short noises at two levels, which differ in loudness; tests only read them."""
    folder = tmp_path_factory.mktemp("many")
    rng, rows = np.random.default_rng(0), [("path", "label", "speaker")]
    for n in range(480):
        level = 0.05 * (1 + n % 2)
        soundfile.write(folder / f"{n}.wav", (rng.normal(size=800) * level).astype(np.float32), 16_000)
        rows.append((f"{n}.wav", "ab"[n % 2], f"s{n // 2 % 6}"))
    with (folder / "many.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "many.csv"


class Deaf(FakeEncoder):
    """An encoder whose features contain nothing about the audio."""

    def _forward(self, windows):
        for piece in super()._forward(windows):
            piece.frames[:] = torch.randn(piece.frames.shape, generator=torch.Generator().manual_seed(len(windows)))
            yield piece


@pytest.fixture(scope="module")
def models():
    def load(spec, options):
        encoder = Deaf(seed=int(spec[-1])) if spec.startswith("deaf") else FakeEncoder(seed=int(spec[-1]))
        encoder.spec = spec
        return encoder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxrank.encoders.pool, "load_encoder", load)
        yield ["deaf-1", "good-2", "deaf-3", "deaf-4"]


@pytest.fixture(scope="module")
def rank_all(many, models):
    """Return a function that ranks models on all of the data, once for each set of models."""

    @functools.cache
    def rank(*names, sample="utterance"):
        options = ExtractionOptions(sample=sample)
        return voxrank.rank(many, names, scores=["logme"], extraction=options, details="none")

    return rank


def test_a_run_stops_when_a_single_model_is_left(many, models, rank_all):
    notes, watcher = [], Progress()
    watcher.note = notes.append
    found = voxrank.rank(many, models, stopping=StoppingOptions(), progress=watcher)
    plain = rank_all(*models)
    assert found.best.model == plain.best.model == "good-2"
    assert next(iter(found.best.scores)) == "logme"
    assert found.best.share < 1
    assert {m.share for m in found.models[1:]} <= set(SHARES)
    assert found.best.share == max(m.share for m in found.models)
    assert found.data.used == pytest.approx(480 * found.best.share, abs=6)
    assert found.best.probability_best == 1
    assert found.beats[0][1:] == (1.0, 1.0, 1.0)
    assert any("deaf-1 cannot be best any more, and is dropped after" in line for line in notes)
    assert any("of the audio was encoded; all data for all models would be 100 %" in line for line in notes)
    assert found.options["confidence"] == 0.95


def test_nothing_is_dropped_where_models_are_alike(many, rank_all):
    found = voxrank.rank(many, ["good-2", "good-2b2"], stopping=StoppingOptions(), details="none")
    plain = rank_all("good-2", "good-2b2")
    assert [m.share for m in found.models] == [1, 1]
    for mine, theirs in zip(found.layers, plain.layers, strict=True):
        assert mine.scores["logme"].value == pytest.approx(theirs.scores["logme"].value, rel=1e-9)


def test_a_budget_ends_the_run_after_a_round(many, models):
    notes, watcher = [], Progress()
    watcher.note = notes.append
    found = voxrank.rank(many, ["good-2", "good-5"], stopping=StoppingOptions(budget_s=0), progress=watcher)
    assert {m.share for m in found.models} == {1 / 8}
    assert any(line == "the budget is spent after 12 % of the data, with 2 models left" for line in notes)


def test_blocks_to_tune_can_be_raced(many, models):
    found = voxrank.rank(many, models, stopping=StoppingOptions(), use=UseOptions("layer"), details="none")
    assert found.best.model == "good-2"
    assert list(found.best.scores) == ["accuracy", "likelihood", "balanced", "logme", "tuned"]


def test_a_single_model_sees_all_data(many, models):
    assert voxrank.rank(many, ["good-2"], stopping=StoppingOptions(), details="none").best.share == 1


@pytest.mark.parametrize("sample", ["utterance", "frame"])
def test_the_full_run_reuses_the_data_encoded_in_a_race(many, models, rank_all, kept, sample):
    options = {"cache": kept, "extraction": ExtractionOptions(sample=sample), "details": "none"}
    race = voxrank.rank(many, models, stopping=StoppingOptions(), **options)
    again = voxrank.rank(many, models, stopping=StoppingOptions(), **options)
    assert again.cost.encode_s == 0
    assert [m.model for m in again.models] == [m.model for m in race.models]
    full = voxrank.rank(many, models, scores=["logme"], **options)
    assert full.cost.cached_s == pytest.approx(
        race.data.seconds / race.best.share * sum(m.share for m in race.models), rel=0.05
    )
    plain = rank_all(*models, sample=sample)
    assert full.best.scores["logme"].value == pytest.approx(plain.best.scores["logme"].value, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scores": ["combined"]},
            "combined needs all models to the end, and early stopping drops some; name --score logme",
        ),
        ({"source": "many", "scores": ["logme"]}, "early stopping encodes no source data"),
    ],
)
def test_races_that_cannot_be_decided_are_refused(many, models, options, message):
    with pytest.raises(OptionError, match=message):
        voxrank.rank(many, models, stopping=StoppingOptions(), **options)
    with pytest.raises(OptionError, match=r"expected confidence to be a finite number from 0.5 to 0.9999, got 1"):
        StoppingOptions(1)
