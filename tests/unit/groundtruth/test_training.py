"""A training run learns, gives the same result for the same seed, stops in time, and leaves nothing behind."""

import dataclasses
import gc
import random

import numpy as np
import pytest
import torch
from torch import nn

from voxrank.groundtruth.answers import Answers
from voxrank.groundtruth.audio import AudioBatch
from voxrank.groundtruth.backbones import Backbone
from voxrank.groundtruth.heads import BLANK_BIAS, CTCHead, Standardised, UtteranceHead
from voxrank.groundtruth.training import Batches, Fit, TrialError, train

DIM = 6


@pytest.fixture(scope="module", autouse=True)
def little_garbage():
    """Exclude imports from garbage collection: the Trainer collects twice per run, longer than these trials take."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Frames(Backbone):
    """A backbone that returns its input frames, through a linear map if it has one."""

    def __init__(self, inner=None):
        super().__init__()
        self.layer, self.dim = 0, DIM
        self.inner = inner

    def tuned(self):
        return [] if self.inner is None else [self.inner]

    def prepare(self, batch):
        raise NotImplementedError

    def forward(self, prepared):
        hidden = prepared["hidden"]
        return hidden if self.inner is None else self.inner(hidden), prepared["lengths"]


def batches(rows, answers, size):
    """Return rows of frames in batches, with padding that must be ignored."""
    ids, inputs = [], []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        ids.append(tuple(name for name, _ in part))
        hidden = torch.full((len(part), max(len(frames) for _, frames in part), DIM), 1e3)
        for row, (_, frames) in enumerate(part):
            hidden[row, : len(frames)] = frames
        inputs.append({"hidden": hidden, "lengths": torch.tensor([len(frames) for _, frames in part])})
    return Batches(ids, inputs, answers)


def classes(*, noise=0.3, count=24, wrong=0.0, classes=3):
    """Return utterances of a few frames around their class's centre; some training labels may be wrong."""
    rng = torch.Generator().manual_seed(0)
    centres = 50 + 20 * torch.randn(classes, DIM, generator=rng)  # far from 0, so that they must be scaled first
    rows, labels = [], {}
    for number in range(3 * count):
        label = number % classes
        frames = centres[label] + 20 * noise * torch.randn(3 + number % 4, DIM, generator=rng)
        spoilt = number < count and torch.rand((), generator=rng) < wrong
        labels[f"u{number}"] = np.array([(label + spoilt) % classes])
        rows.append((f"u{number}", frames))
    answers = Answers(tuple("abcdefgh"[:classes]), labels, sequences=False, metric="accuracy")
    return parts(rows, answers, count)


def parts(rows, answers, count):
    names = ("train", "validation", "test")
    return answers, {name: batches(rows[n * count : (n + 1) * count], answers, 8) for n, name in enumerate(names)}


def spelled(count=24, frames_each=3, noise=0.1):
    """Return utterances that spell letters as runs of the letter's frame, with silence between them."""
    rng = torch.Generator().manual_seed(0)
    sounds = torch.eye(DIM)[1:4] * 3
    rows, texts = [], {}
    for number in range(3 * count):
        units = torch.randint(0, 3, (2 + number % 3,), generator=rng)
        runs = [part for unit in units for part in (torch.zeros(1, DIM), sounds[unit].expand(frames_each, DIM))]
        frames = torch.cat([*runs, torch.zeros(1, DIM)])
        rows.append((f"u{number}", frames + noise * torch.randn(frames.shape, generator=rng)))
        texts[f"u{number}"] = units.numpy() + 1
    return parts(rows, Answers(("a", "b", "c"), texts, sequences=True, metric="cer"), count)


def fit(**changes):
    usual = {"epochs": 4, "patience": 4, "learning_rate": 1e-2, "head_learning_rate": 3e-2, "seed": 0}
    return Fit(**usual | {"metric": "accuracy"} | changes)


def utterance_head(outputs=3, *, hidden_layer=False):
    return lambda: UtteranceHead(DIM, outputs, hidden_layer=hidden_layer)


def ctc_head():
    return CTCHead(DIM, 4, hidden_layer=False)


def run(found, head, how, backbone=None):
    answers, made = found
    return train(backbone or Frames(), head, made, answers, how, "cpu")


def without_time(outcome):
    """Return an outcome without its time."""
    return dataclasses.replace(outcome, seconds=0)


@pytest.mark.parametrize("hidden_layer", [False, True])
def test_separated_classes_are_learnt(hidden_layer):
    outcome = run(classes(), utterance_head(hidden_layer=hidden_layer), fit())
    assert outcome.metrics == {"accuracy": 1.0}
    assert outcome.validation[0]["accuracy"] == pytest.approx(1 / 3)  # untrained, it predicts one class for all
    assert len(outcome.validation) == outcome.epochs + 1
    assert len(outcome.losses) == outcome.epochs == 4
    assert outcome.losses == sorted(outcome.losses, reverse=True)
    assert outcome.seconds > 0


def test_units_are_learnt_by_ctc():
    outcome = run(spelled(), ctc_head, fit(epochs=12, patience=12, metric="cer", head_learning_rate=0.1))
    assert outcome.validation[0] == {"cer": 1.0, "wer": 1.0}  # untrained, it writes nothing
    assert outcome.metrics == {"cer": 0.0, "wer": 0.0}
    assert outcome.losses[-1] < 0.1 * outcome.losses[0]


def test_the_first_loss_of_an_untrained_head_is_that_of_chance():
    outcome = run(classes(), utterance_head(), fit(epochs=1, head_learning_rate=0.0))
    assert outcome.losses == [pytest.approx(np.log(3), abs=1e-4)]
    assert outcome.validation[1] == outcome.validation[0]


def test_the_same_seed_gives_the_same_outcome_and_another_one_differs():
    found = classes(noise=1.0)
    first, again, other = (run(found, utterance_head(hidden_layer=True), fit(seed=seed)) for seed in (1, 1, 2))
    assert without_time(first) == without_time(again)
    assert first.losses != other.losses


def test_earlier_random_numbers_do_not_change_an_outcome():
    found = classes(noise=1.0)
    torch.manual_seed(5)
    first = run(found, utterance_head(hidden_layer=True), fit())
    torch.rand(100)
    assert without_time(first) == without_time(run(found, utterance_head(hidden_layer=True), fit()))


def test_training_stops_when_validation_does_not_improve():
    outcome = run(classes(noise=0.01), utterance_head(), fit(epochs=30, patience=3))
    best = [one["accuracy"] for one in outcome.validation].index(1.0)
    assert best >= 1
    assert outcome.epochs == best + 3
    assert [one["accuracy"] for one in outcome.validation[best:]] == [1.0] * 4


def test_a_model_that_never_learns_is_stopped_at_once():
    outcome = run(classes(), utterance_head(), fit(epochs=30, patience=2, head_learning_rate=0.0))
    assert outcome.epochs == 2


def hopeless():
    """Return classes whose validation and test utterances are of the next class, so that no training helps."""
    answers, made = classes(noise=1.0)
    for part in ("validation", "test"):
        for name in (name for names in made[part]._ids for name in names):
            answers.by_utterance[name] = (answers.by_utterance[name] + 1) % 3
    return answers, made


def test_a_run_below_its_untrained_head_continues_while_its_loss_falls():
    outcome = run(hopeless(), utterance_head(), fit(epochs=12, patience=2, head_learning_rate=3e-3))
    assert max(one["accuracy"] for one in outcome.validation[1:]) <= outcome.validation[0]["accuracy"]
    assert outcome.epochs == 12
    assert outcome.losses[-1] < 0.9 * outcome.losses[0]


def test_the_untrained_head_is_tested_too():
    outcome = run(hopeless(), utterance_head(), fit(epochs=2))
    assert outcome.untrained == {"accuracy": pytest.approx(1 / 3)}
    learnt = run(classes(), utterance_head(), fit())
    assert learnt.untrained == {"accuracy": pytest.approx(1 / 3)}
    assert learnt.metrics == {"accuracy": 1.0}


def test_a_trained_epoch_is_tested_where_all_epochs_are_equal():
    outcome = run(hopeless(), utterance_head(), fit(epochs=3, patience=3, head_learning_rate=0.0))
    assert len({one["accuracy"] for one in outcome.validation}) == 1
    assert outcome.chosen > 0


def test_a_loss_that_is_no_number_fails_the_trial():
    answers, made = classes()
    made["train"]._inputs[1]["hidden"][0, 0, 0] = torch.nan
    with pytest.raises(TrialError, match=r"^the loss became nan in epoch 1; take a lower learning rate$"):
        run((answers, made), utterance_head(), fit())


def test_too_few_frames_for_the_units_fail_the_trial():
    answers, made = spelled(frames_each=1)
    for part in made.values():
        for inputs in part._inputs:
            inputs["lengths"] = torch.ones_like(inputs["lengths"])
    with pytest.raises(
        TrialError, match=r"^24 of 24 utterances have fewer frames than units: the frame rate is too low$"
    ):
        run((answers, made), ctc_head, fit(metric="cer"))


def test_a_few_utterances_with_too_few_frames_do_not_fail_the_trial():
    answers, made = spelled()
    made["train"]._inputs[0]["lengths"][:4] = 1
    outcome = run((answers, made), ctc_head, fit(epochs=1, metric="cer"))
    assert np.isfinite(outcome.losses).all()


def tuned_backbone():
    torch.manual_seed(3)
    inner = nn.Sequential(nn.Linear(DIM, DIM), nn.Dropout(0.2), nn.Linear(DIM, DIM))
    return Frames(inner.requires_grad_(requires_grad=False).eval())


@pytest.mark.parametrize(
    ("metric", "rate", "backbone"),
    [("accuracy", 5.0, Frames), ("accuracy", 1.0, tuned_backbone), ("cer", 30.0, Frames), ("wer", 30.0, Frames)],
)
def test_the_weights_with_the_best_validation_are_tested(metric, rate, backbone):
    """The data are so noisy that training goes up and down; the test part is the validation part here."""
    answers, made = classes(noise=1.5, wrong=0.4) if metric == "accuracy" else spelled(noise=1.0)
    answers = dataclasses.replace(answers, metric=metric)
    made = {name: Batches(part._ids, part._inputs, answers) for name, part in made.items()}
    made["test"] = made["validation"]
    head = utterance_head() if metric == "accuracy" else ctc_head
    how = fit(epochs=8, patience=8, head_learning_rate=rate, learning_rate=0.1, metric=metric)
    outcome = run((answers, made), head, how, backbone())
    values = [one[metric] for one in outcome.validation]
    best = max(values) if metric == "accuracy" else min(values)
    assert values[-1] != best
    chosen = outcome.validation_losses[outcome.chosen]
    assert values[outcome.chosen] == best
    assert chosen == min(x for x, value in zip(outcome.validation_losses, values, strict=True) if value == best)
    assert outcome.metrics == outcome.validation[outcome.chosen]


@pytest.mark.parametrize("fails", [False, True])
def test_the_backbone_is_restored_after_training(fails):
    backbone, (answers, made) = tuned_backbone(), classes()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    if fails:
        made["train"]._inputs[-1]["hidden"][0, 0, 0] = torch.nan
        with pytest.raises(TrialError):
            run((answers, made), utterance_head(), fit(learning_rate=0.1), backbone)
    else:
        frozen = run((answers, made), utterance_head(), fit(epochs=2, learning_rate=0.0), backbone)
        moved = run((answers, made), utterance_head(), fit(epochs=2, learning_rate=0.1), backbone)
        assert frozen.losses != moved.losses  # it was trained
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


def test_trials_of_the_same_backbone_are_independent():
    backbone, found = tuned_backbone(), classes(noise=1.0)
    first = run(found, utterance_head(), fit(epochs=2, seed=0), backbone)
    run(found, utterance_head(), fit(epochs=2, seed=1), backbone)
    assert without_time(run(found, utterance_head(), fit(epochs=2, seed=0), backbone)) == without_time(first)


GENERATORS = {
    "torch": (torch.manual_seed, lambda: torch.random.get_rng_state().tolist()),
    "numpy": (np.random.seed, lambda: np.random.get_state()[1].tolist()),  # noqa: NPY002, that of others
    "python": (random.seed, random.getstate),
}


@pytest.mark.parametrize(("seed", "state"), GENERATORS.values(), ids=GENERATORS)
def test_training_leaves_the_global_random_state_unchanged(seed, state):
    seed(11)
    before = state()
    run(classes(), utterance_head(), fit(epochs=1))
    assert state() == before


def test_training_prints_nothing_and_writes_nothing(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(classes(), utterance_head(), fit(epochs=1))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_prepared_again_each_time_they_are_read():
    answers, _ = classes()
    seen = []

    def prepare(batch):
        seen.append(batch.ids)
        assert not torch.is_grad_enabled()
        return {"hidden": torch.zeros(2, 3, DIM), "lengths": torch.tensor([3, 2])}

    audio = AudioBatch(("u0", "u5"), (), ())
    part = Batches([audio.ids], [audio], answers, prepare)
    assert (len(part), part.utterances, part.targets) == (1, 2, [[0], [2]])
    assert part[0]["targets"].tolist() == [[0], [2]]
    assert part[0]["counts"].tolist() == [1, 1]
    assert seen == [("u0", "u5")] * 2
    assert [batch["counts"].tolist() for batch in iter(part)] == [[1, 1]]


def test_standardised_frames_have_mean_zero_and_unit_variance():
    scale = Standardised(3)
    frames = torch.tensor([[1.0, 10.0, 7.0], [3.0, 30.0, 7.0]])
    scale.fit_scale(frames)
    assert scale(frames).tolist() == [[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0]]  # constant dimensions keep their unit


def test_an_untrained_ctc_head_predicts_only_blanks():
    head = ctc_head()
    hidden, lengths = torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 3])
    assert head.logits(hidden)[..., 0].tolist() == [[BLANK_BIAS] * 5] * 2
    assert head.predict(hidden, lengths) == [[], []]


def test_repeats_and_blanks_are_removed_from_the_best_path():
    head = ctc_head()
    with torch.no_grad():
        head.last.bias.zero_()
        head.last.weight[:, :4] = torch.eye(4)
    path = torch.tensor([[1, 1, 0, 1, 2, 2, 0, 3], [2, 2, 3, 3, 1, 1, 1, 1]])
    hidden = torch.nn.functional.one_hot(path, DIM).float()
    assert head.predict(hidden, torch.tensor([8, 4])) == [[1, 1, 2, 3], [2, 3]]
