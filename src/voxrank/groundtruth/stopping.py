"""Early stopping: decides when training stops, and which epoch's weights are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LEAST_FALL = 1e-3
"""Minimum decrease of a loss that counts as progress, as a share of the lowest loss so far."""


@dataclass
class EarlyStopping:
    """Stops training after some epochs without progress, and remembers the best epoch.

    An epoch makes progress if its validation metric is the best so far. It also makes progress if its validation loss
    is the lowest so far and the best metric is not perfect yet. Until an epoch beats the untrained model, a training
    loss that is the lowest so far is progress too. A head that starts at zero predicts the same for all utterances, and
    its metric changes only after the loss has decreased for a while.

    The best epoch has the best validation metric; among equal ones, the lowest validation loss. The untrained model,
    which is epoch 0, comes last among equal ones.

    Attributes:
        patience: number of epochs without progress after which training stops.
        perfect: the best possible metric, higher is better.
        chosen: the best epoch so far.
        stale: number of epochs since the last progress.
    """

    patience: int
    perfect: float
    chosen: int = 0
    stale: int = 0
    _epochs: int = field(default=-1, init=False)
    _untrained: float = field(default=-math.inf, init=False)
    _best: tuple[float, bool, float] = field(default=(-math.inf, False, -math.inf), init=False)
    _validation_loss: float = field(default=math.inf, init=False)
    _training_loss: float = field(default=math.inf, init=False)

    def update(self, goodness: float, validation_loss: float, training_loss: float = math.inf) -> bool:
        """Record the next epoch; the first one is that of the untrained model.

        Args:
            goodness: its validation metric, higher is better.
            validation_loss: its mean loss on the validation part.
            training_loss: its mean loss in training; the untrained model has none.

        Returns:
            Whether it is the best epoch so far, whose weights must be kept.
        """
        self._epochs += 1
        if self._epochs == 0:
            self._untrained = goodness
        best_so_far = self._best[0]
        lower_in_validation = _falls(validation_loss, self._validation_loss) and best_so_far < self.perfect
        lower_in_training = _falls(training_loss, self._training_loss) and best_so_far <= self._untrained
        progress = goodness > best_so_far or lower_in_validation or lower_in_training
        self.stale = 0 if progress else self.stale + 1
        self._validation_loss = min(self._validation_loss, validation_loss)
        self._training_loss = min(self._training_loss, training_loss)
        key = (goodness, self._epochs > 0, -validation_loss if math.isfinite(validation_loss) else -math.inf)
        if self._epochs and key <= self._best:
            return False
        self._best, self.chosen = key, self._epochs
        return True

    @property
    def stops(self) -> bool:
        """True if training must stop, because it made no progress for `patience` epochs."""
        return self.stale >= self.patience


def _falls(loss: float, lowest: float) -> bool:
    """Return whether a loss is clearly below the lowest so far; False for the first loss."""
    return math.isfinite(lowest) and loss < lowest - LEAST_FALL * abs(lowest)
