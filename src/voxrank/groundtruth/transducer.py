"""The loss of a recurrent neural network transducer (RNN-T), and its greedy decoding.

A transducer reads T frames and writes U labels y₁ … y_U. In the state (t, u), at frame t with u labels written, it
either writes a blank and moves to frame t + 1, or writes y_{u+1} and stays. With b(t, u) and l(t, u) the log
probabilities of the two, all paths to a state together have the log probability

    α(t, u) = log(exp(α(t − 1, u) + b(t − 1, u)) + exp(α(t, u − 1) + l(t, u − 1))),        α(0, 0) = 0,

and the labels have log p = α(T − 1, U) + b(T − 1, U), as the last frame ends with a blank. Let β(t, u) be the same for
all paths from a state to the end. A path leaves (t, u) by its blank with probability

    B(t, u) = exp(α(t, u) + b(t, u) + β(t + 1, u) − log p),

and by its label with L(t, u) = exp(α(t, u) + l(t, u) + β(t, u + 1) − log p). With s_v the softmax of the logits in
(t, u), the gradient of −log p with respect to the logit of symbol v is then

    (B + L) s_v − B [v = blank] − L [v = y_{u+1}].

The recursions use double precision, the softmax the precision of the logits. Besides the logits, a single array of
their size is allocated: the gradient.

Source: Graves, "Sequence Transduction with Recurrent Neural Networks", 2012 (arXiv 1211.3711), equations 16 to 20.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxrank._support.compiled import compiled

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
State = tuple[Tensor, Tensor]

MAX_SYMBOLS = 10
"""Maximum number of labels that greedy decoding writes in one frame."""


def transducer_loss(logits: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """Return the negative log likelihood of the labels of every utterance, over all paths, in nats.

    Args:
        logits: (B, T, U + 1, V) of floats, not normalised; values beyond `frames` and `lengths` do not matter.
        targets: (B, U) labels, none of them the blank; padded with any numbers.
        frames: (B,) frames of each utterance, 1 to T.
        lengths: (B,) labels of each utterance, 0 to U.
        blank: number of the blank, among the V.

    Returns:
        (B,) of the logits' type; infinite, with a gradient of 0, where every path has probability 0.

    Raises:
        ValueError: shapes, types or numbers do not match these.

    Example:
        >>> logits = torch.zeros(1, 1, 2, 4)  # one frame, one label, four symbols alike
        >>> loss = transducer_loss(logits, torch.tensor([[1]]), torch.tensor([1]), torch.tensor([1]), blank=0)
        >>> round(loss.item(), 4)  # 2 log 4: the label, then the blank
        2.7726
    """
    _check_shapes(logits, targets, frames, lengths)
    _check_numbers(logits, targets, lengths, blank)
    loss: Tensor = _Loss.apply(logits, targets, frames, lengths, blank)  # type: ignore[no-untyped-call]
    return loss


@torch.no_grad()
def greedy(
    joint: Callable[[Tensor, Tensor], Tensor],
    decoder: Any,
    encoded: Tensor,
    frames: Tensor,
    *,
    blank: int,
    max_symbols: int = MAX_SYMBOLS,
) -> list[list[int]]:
    """Write the most likely symbol in every state: one path for each utterance, all utterances at once.

    Args:
        joint: (B, D) of the decoder and (B, D) of the encoder → (B, V) logits, such as `ParakeetForRNNT.joint`.
        decoder: prediction network with the parts `embedding`, `lstm` (batch first) and `decoder_projector`, such as
            `ParakeetForRNNT.decoder`. Its first input is the blank.
        encoded: (B, T, D) input frames of the joint network (after `ParakeetForRNNT.encoder_projector`).
        frames: (B,) frames of each utterance, 0 to T.
        blank: number of the blank.
        max_symbols: maximum number of labels in one frame; then the next frame begins.

    Returns:
        B lists of labels, without blanks.

    Raises:
        ValueError: the numbers of frames do not match, or `max_symbols` is below 1.

    Source: Graves 2012; the limit as in transformers' `ParakeetRNNTGenerationMixin`.
    """
    _check_within("frames", frames, 0, encoded.shape[1], len(encoded))
    if max_symbols < 1:
        raise ValueError(f"expected to write at least one symbol in a frame, got max_symbols={max_symbols}")
    rows = torch.arange(len(encoded), device=encoded.device)
    frames = frames.to(encoded.device)
    last = _predict(decoder, torch.full_like(rows, blank), None)
    position, emitted = torch.zeros_like(rows), torch.zeros_like(rows)
    written: list[list[int]] = [[] for _ in rows]
    while bool((position < frames).any()):
        symbols = joint(last.output, encoded[rows, position.clamp(max=encoded.shape[1] - 1)]).argmax(-1)
        emits = (symbols != blank) & (position < frames)
        if bool(emits.any()):
            last = last.where(~emits, _predict(decoder, symbols, last.state))
            for row in emits.nonzero()[:, 0].tolist():
                written[row].append(int(symbols[row]))
        emitted = torch.where(emits, emitted + 1, 0)
        advances = ~emits | (emitted >= max_symbols)
        position, emitted = position + advances.long(), torch.where(advances, 0, emitted)
    return written


@dataclass(frozen=True)
class _Prediction:
    """The output of the decoder after the labels so far, (B, D), and the state of its LSTM, (layers, B, D)."""

    output: Tensor
    state: State

    def where(self, mask: Tensor, other: _Prediction) -> _Prediction:
        """Select row by row: this prediction where `mask` is True, otherwise the other."""
        output = torch.where(mask[:, None], self.output, other.output)
        hidden, cell = (
            torch.where(mask[None, :, None], left, right) for left, right in zip(self.state, other.state, strict=True)
        )
        return _Prediction(output, (hidden, cell))


def _predict(decoder: Any, symbols: Tensor, state: State | None) -> _Prediction:
    """Run one step of the decoder."""
    output, state = decoder.lstm(decoder.embedding(symbols[:, None]), state)
    return _Prediction(decoder.decoder_projector(output)[:, 0], cast("State", state))


class _Loss(torch.autograd.Function):
    """The loss, and its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor, blank: int) -> Tensor:
        normaliser = logits.logsumexp(-1)
        labels = targets.long().masked_fill(_beyond(lengths, targets.shape[1], targets.device), blank)
        index = labels[:, None, :, None].expand(-1, logits.shape[1], -1, -1)
        blanks = logits[..., blank] - normaliser
        emits = logits[:, :, :-1].gather(-1, index)[..., 0] - normaliser[:, :, :-1]
        results = _forward_backward(_array(blanks), _array(emits), _array(frames.long()), _array(lengths.long()))
        loss, by_blank, by_label = (torch.from_numpy(array).to(logits) for array in results)
        ctx.save_for_backward(logits, normaliser, index, by_blank, by_label)
        ctx.blank = blank
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, normaliser, index, by_blank, by_label = ctx.saved_tensors
        by_blank, by_label = by_blank * scale[:, None, None], by_label * scale[:, None, None]
        visits = by_blank.clone()
        visits[:, :, :-1] += by_label
        gradient = (logits - normaliser[..., None]).exp_().mul_(visits[..., None])
        gradient[..., ctx.blank] -= by_blank
        gradient[:, :, :-1].scatter_add_(-1, index, -by_label[..., None])
        return gradient.masked_fill_((visits == 0)[..., None], 0.0), None, None, None, None


@compiled
def _add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@compiled
def _forward_backward(
    blanks: NDArray[Any], labels: NDArray[Any], frames: Ids, lengths: Ids
) -> tuple[Array, Array, Array]:
    """Return the losses, and the probability of each transition.

    Args:
        blanks: (B, T, U + 1) log probability of the blank in each state.
        labels: (B, T, U) log probability of the next label.
        frames: (B,).
        lengths: (B,).

    Returns:
        (B,) −log p; (B, T, U + 1) B; (B, T, U) L, both 0 beyond the utterance, and where p is 0.
    """
    losses = np.empty(len(blanks))
    by_blank, by_label = np.zeros(blanks.shape), np.zeros(labels.shape)
    for row in range(len(blanks)):
        n, m = frames[row], lengths[row]
        alpha, beta = np.full((n, m + 1), -np.inf), np.full((n + 1, m + 1), -np.inf)
        alpha[0, 0] = 0.0
        for t in range(n):
            for u in range(m + 1):
                if t > 0:
                    alpha[t, u] = alpha[t - 1, u] + blanks[row, t - 1, u]
                if u > 0:
                    alpha[t, u] = _add(alpha[t, u], alpha[t, u - 1] + labels[row, t, u - 1])
        total = alpha[n - 1, m] + blanks[row, n - 1, m]
        losses[row] = -total
        if total == -np.inf:
            continue
        beta[n, m] = 0.0
        for t in range(n - 1, -1, -1):
            for u in range(m, -1, -1):
                via_blank = blanks[row, t, u] + beta[t + 1, u]
                by_blank[row, t, u] = np.exp(alpha[t, u] + via_blank - total)
                beta[t, u] = via_blank
                if u < m:
                    via_label = labels[row, t, u] + beta[t, u + 1]
                    by_label[row, t, u] = np.exp(alpha[t, u] + via_label - total)
                    beta[t, u] = _add(via_blank, via_label)
    return losses, by_blank, by_label


def _array(tensor: Tensor) -> NDArray[Any]:
    """Return an array of a type that numba accepts: float32, float64 or integers."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor).contiguous().numpy()


def _beyond(lengths: Tensor, width: int, device: torch.device) -> Tensor:
    """Return a mask (B, width) that is True beyond each utterance."""
    return torch.arange(width, device=device) >= lengths.to(device)[:, None]


def _check_shapes(logits: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> None:
    if logits.ndim != 4 or 0 in logits.shape or not logits.is_floating_point():
        raise ValueError(
            f"expected logits as floats of shape (batch, frames, labels + 1, symbols), got {logits.dtype} of shape "
            f"{tuple(logits.shape)}"
        )
    expected = (logits.shape[0], logits.shape[2] - 1)
    if tuple(targets.shape) != expected:
        raise ValueError(f"expected targets of shape {expected} for these logits, got {tuple(targets.shape)}")
    _check_within("frames", frames, 1, logits.shape[1], len(logits))
    _check_within("lengths", lengths, 0, expected[1], len(logits))


def _check_within(name: str, numbers: Tensor, low: int, high: int, count: int) -> None:
    """Check that there are `count` whole numbers from `low` to `high`."""
    whole = not numbers.is_floating_point() and numbers.dtype != torch.bool
    if not whole or tuple(numbers.shape) != (count,) or bool(((numbers < low) | (numbers > high)).any()):
        raise ValueError(f"expected {name} as {count} whole numbers from {low} to {high}, got {numbers.tolist()}")


def _check_numbers(logits: Tensor, targets: Tensor, lengths: Tensor, blank: int) -> None:
    symbols = logits.shape[3]
    if not 0 <= blank < symbols:
        raise ValueError(f"expected a blank among the {symbols} symbols, got {blank}")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"expected targets as whole numbers, got {targets.dtype}")
    wrong = (targets < 0) | (targets >= symbols) | (targets == blank)
    wrong &= ~_beyond(lengths, targets.shape[1], targets.device)
    if bool(wrong.any()):
        label = int(targets[wrong][0])
        raise ValueError(f"expected targets among the {symbols} symbols other than the blank {blank}, got {label}")
