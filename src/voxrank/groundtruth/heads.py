"""Heads on a model's frames: a classifier of utterances, and a CTC head."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import nn

from voxrank.groundtruth.answers import BLANK
from voxrank.groundtruth.backbones import masked_mean

HIDDEN = 256
"""Size of the hidden layer."""

BLANK_BIAS = 4.0
"""Initial bias of the blank, with all weights 0: heads with random weights may use units for silence."""


class Head(nn.Module):
    """A head that is trained on frames (rows, T, D), of which row r has lengths[r]."""

    @abstractmethod
    def loss(
        self, hidden: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean loss of a batch.

        Args:
            hidden: (rows, T, D).
            lengths: (rows,) numbers of frames.
            targets: (rows, L) a class, or units padded with any values.
            counts: (rows,) numbers of targets.
        """

    @abstractmethod
    def predict(self, hidden: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Predict the class or the units of each row."""

    def fit_scale(self, hidden: torch.Tensor) -> None:
        """Learn the scale of the frames (n, D) before training."""


class Standardised(nn.Module):
    """Standardises each feature by its mean and spread before training, so that models of any scale train alike."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))

    def fit_scale(self, frames: torch.Tensor) -> None:
        """Measure mean and spread of frames (n, D); the spread of a constant feature is set to 1."""
        spread = frames.std(0, correction=0)
        self.mean.copy_(frames.mean(0))
        self.spread.copy_(torch.where(spread > 1e-5 * spread.max(), spread, 1.0))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Standardise frames; the shape does not change."""
        return (hidden - self.mean) / self.spread


class _FrameHead(Head):
    """Maps standardised frames to outputs, linearly or with one hidden layer."""

    def __init__(self, dim: int, outputs: int, *, hidden_layer: bool) -> None:
        super().__init__()
        self.scale = Standardised(dim)
        last = nn.Linear(HIDDEN if hidden_layer else dim, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.last = last
        self.first = nn.Sequential(nn.Linear(dim, HIDDEN), nn.GELU()) if hidden_layer else nn.Identity()

    def fit_scale(self, hidden: torch.Tensor) -> None:
        """Measure mean and spread of each feature."""
        self.scale.fit_scale(hidden)


class UtteranceHead(_FrameHead):
    """A classifier of utterances: cross-entropy of a linear map of the mean of an utterance's frames."""

    def logits(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the logits (rows, classes)."""
        scores: torch.Tensor = self.last(masked_mean(self.first(self.scale(hidden)), lengths))
        return scores

    def loss(
        self, hidden: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Return the cross-entropy."""
        del counts
        return nn.functional.cross_entropy(self.logits(hidden, lengths), targets[:, 0])

    def predict(self, hidden: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Predict the most likely class."""
        return [[int(best)] for best in self.logits(hidden, lengths).argmax(1)]


class CTCHead(_FrameHead):
    """A head for units by connectionist temporal classification (Graves et al., ICML 2006); the blank is output 0."""

    def __init__(self, dim: int, outputs: int, *, hidden_layer: bool) -> None:
        super().__init__(dim, outputs, hidden_layer=hidden_layer)
        with torch.no_grad():
            self.last.bias[BLANK] = BLANK_BIAS

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits (rows, T, outputs)."""
        scores: torch.Tensor = self.last(self.first(self.scale(hidden)))
        return scores

    def loss(
        self, hidden: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Return the negative log likelihood per unit; rows with too few frames for their units contribute 0."""
        log_probs = self.logits(hidden).log_softmax(-1).transpose(0, 1)
        return nn.functional.ctc_loss(log_probs, targets, lengths, counts, blank=BLANK, zero_infinity=True)

    def predict(self, hidden: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Predict the units of the best path, without repeats and blanks."""
        best = self.logits(hidden).argmax(-1)
        rows = (row[:length].unique_consecutive() for row, length in zip(best, lengths, strict=True))
        return [[int(unit) for unit in row if unit != BLANK] for row in rows]
