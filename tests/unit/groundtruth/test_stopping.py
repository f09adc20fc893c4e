"""Early stopping: when training stops, and which epoch is the best."""

import math

import pytest

from voxrank.groundtruth.stopping import EarlyStopping


def epochs_of(goodness, validation, training, *, patience=2, perfect=1.0):
    """Return the epochs that run with these figures, the untrained model's first, and the best epoch."""
    stopping = EarlyStopping(patience, perfect)
    kept = []
    for epoch, (value, loss) in enumerate(zip(goodness, validation, strict=True)):
        if stopping.update(value, loss, training[epoch - 1] if epoch else math.inf):
            kept.append(epoch)
        if epoch and stopping.stops:
            break
    assert kept[-1] == stopping.chosen
    return epoch, stopping.chosen


RUNS = {
    "nothing moves": ([0.5] * 9, [1.0] * 9, [1.0] * 8, 2, 1),
    "the metric gets better": ([0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8], [1.0] * 7, [1.0] * 6, 5, 3),
    "the validation loss falls": ([0.5] + [0.6] * 6, [1.0, 0.9, 0.8, 0.7, 0.8, 0.8, 0.6], [1.0] * 6, 5, 3),
    "the validation loss hardly falls": ([0.5] + [0.6] * 5, [1.0, 1 - 1e-6, 1 - 2e-6, 1, 1, 1], [1.0] * 5, 3, 2),
    "the training loss falls, no better than untrained": ([0.5] * 7, [1.0] * 7, [1.0, 0.9, 0.8, 0.7, 0.7, 0.7], 6, 1),
    "the training loss falls, better than untrained": (
        [0.5] + [0.6] * 6,
        [1.0] * 7,
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5],
        3,
        1,
    ),
    "a perfect metric needs no lower loss": ([0.5] + [1.0] * 5, [1.0, 0.9, 0.5, 0.3, 0.2, 0.1], [1.0] * 5, 3, 3),
    "the metric moves late": ([0.5] * 6 + [0.7], [1.0] * 7, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5], 6, 6),
    "worse than untrained": ([0.5, 0.4, 0.3, 0.4, 0.4], [1.0] * 5, [1.0] * 4, 2, 0),
    "among equal ones the lowest loss": ([0.5, 0.6, 0.6, 0.6], [1.0, 0.9, 0.7, 0.8], [1.0] * 3, 3, 2),
    "a loss that is no number": ([0.5, 0.6, 0.6], [math.nan, math.nan, math.inf], [1.0] * 2, 2, 1),
    "an error rate": ([-1.0, -0.5, 0.0, 0.0, 0.0], [1.0, 0.8, 0.5, 0.4, 0.3], [1.0] * 4, 4, 4),
}


@pytest.mark.parametrize(("goodness", "validation", "training", "epochs", "chosen"), RUNS.values(), ids=RUNS)
def test_training_stops_and_keeps_the_expected_epoch(goodness, validation, training, epochs, chosen):
    perfect = 0.0 if goodness[0] < 0 else 1.0
    assert epochs_of(goodness, validation, training, perfect=perfect) == (epochs, chosen)


def test_a_trained_epoch_is_kept_when_it_is_as_good_as_the_untrained_model():
    assert epochs_of([0.25, 0.25], [1.0, 2.0], [1.0])[1] == 1
    assert epochs_of([0.25, 0.24], [1.0, 0.5], [1.0])[1] == 0


def test_training_runs_longer_with_more_patience():
    for patience in (1, 2, 3, 5):
        assert epochs_of([0.5] * 9, [1.0] * 9, [1.0] * 8, patience=patience)[0] == patience
