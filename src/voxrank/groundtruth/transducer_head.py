"""A head from a checkpoint's own transducer: projection, prediction network and joint network, for other units.

Units in the checkpoint's vocabulary keep their rows of the embedding and of the output. Other units start with the
mean of those rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from voxrank.config import EncoderOptions
from voxrank.encoders.architectures import Architecture, load_weights
from voxrank.encoders.base import Encoder
from voxrank.encoders.checkpoints import Checkpoint, find_checkpoint, load_config, load_vocabulary, tf
from voxrank.encoders.registry import HUB, split_spec
from voxrank.errors import ModelError
from voxrank.groundtruth.answers import BLANK, SPACE, Answers
from voxrank.groundtruth.heads import Head
from voxrank.groundtruth.transducer import greedy, transducer_loss

SPACES = (SPACE, "▁", "Ġ", "|")
"""Spellings of the space between words in tokenizers."""


class TransducerHead(Head):
    """A transducer of transformers (Graves, arXiv 1211.3711).

    Args:
        model: model with the parts `encoder_projector`, `decoder` and `joint`, which are copied.
        vocabulary: unit → its number in the checkpoint.
        names: names of the units; unit n is `names[n − 1]`, and 0 is the blank.
        dim: feature dimension.
    """

    def __init__(self, model: Any, vocabulary: dict[str, int], names: tuple[str, ...], dim: int) -> None:
        super().__init__()
        if dim != model.encoder_projector.in_features:
            raise ModelError(f"the transducer reads frames of {model.encoder_projector.in_features} numbers, not {dim}")
        self.projector = _copy(model.encoder_projector)
        self.decoder = _copy(model.decoder)
        self.joint = _copy(model.joint)
        numbers = [model.config.blank_token_id, *(vocabulary.get(name, -1) for name in names)]
        self.decoder.embedding = nn.Embedding.from_pretrained(
            _rows(self.decoder.embedding.weight, numbers, sorted(vocabulary.values())), freeze=False
        )
        self.decoder.blank_token_id = BLANK
        head = nn.Linear(self.joint.head.in_features, len(numbers))
        with torch.no_grad():
            head.weight.copy_(_rows(self.joint.head.weight, numbers, sorted(vocabulary.values())))
            head.bias.copy_(_rows(self.joint.head.bias, numbers, sorted(vocabulary.values())))
        self.joint.head, self.joint.vocab_size = head, len(numbers)

    def loss(
        self, hidden: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Return the negative log likelihood per unit."""
        decoder_inputs = nn.functional.pad(targets, (1, 0), value=BLANK)
        predicted, encoded = self.decoder(decoder_inputs), self.projector(hidden)
        logits = self.joint(predicted[:, None], encoded[:, :, None])
        return transducer_loss(logits, targets, lengths, counts, BLANK).sum() / counts.sum()

    def predict(self, hidden: torch.Tensor, lengths: torch.Tensor) -> list[list[int]]:
        """Decode greedily."""
        return greedy(self.joint, self.decoder, self.projector(hidden), lengths, blank=BLANK)


def transducer_heads(encoder: Encoder, dim: int, answers: Answers) -> Callable[[], Head]:
    """Return a function that creates the transducer of an encoder's checkpoint. Errors: as `check_transducer`."""
    checkpoint, _, config = _find_transducer(encoder.spec)
    vocabulary = {name: number for name, number in _vocabulary(checkpoint).items() if number < config.vocab_size}
    return partial(TransducerHead, load_transducer(encoder.spec), vocabulary, answers.names, dim)


def load_transducer(spec: str) -> Any:
    """Load a model with its transducer, frozen.

    Raises:
        ModelError: the model has no transducer, or its files are damaged or incomplete.
    """
    checkpoint, kind, config = _find_transducer(spec)
    return load_weights(checkpoint, Architecture(kind, config, inner=False))


def check_transducer(spec: str) -> None:
    """Check that a model has a transducer, without reading its weights.

    Raises:
        ModelError: the model has no transducer, or does not exist.
    """
    _find_transducer(spec)


def _find_transducer(spec: str) -> tuple[Checkpoint, Any, Any]:
    """Return the checkpoint of a transducer, its class and its configuration."""
    scheme, rest = split_spec(spec)
    if scheme != HUB:
        raise ModelError(f"{spec}: a transducer is found in checkpoints of transformers only; take --head linear")
    checkpoint = find_checkpoint(rest, EncoderOptions())
    config = load_config(checkpoint)
    kinds = tf.AutoModelForRNNT._model_mapping  # noqa: SLF001, the table that AutoModelForRNNT uses
    if type(config) not in kinds:
        raise ModelError(
            f"{spec}: a {config.model_type} has no transducer; name a checkpoint such as nvidia/parakeet-rnnt-0.6b, "
            "or take --head linear"
        )
    return checkpoint, kinds[type(config)], config


def _vocabulary(checkpoint: Checkpoint) -> dict[str, int]:
    """Return the tokenizer's vocabulary: unit → number."""
    vocabulary = load_vocabulary(checkpoint)
    return {SPACE if name in SPACES else name: number for name, number in vocabulary.items()}


def _copy(module: nn.Module) -> Any:
    return copy.deepcopy(module).requires_grad_(requires_grad=True)


def _rows(weight: torch.Tensor, numbers: list[int], known_rows: list[int]) -> torch.Tensor:
    """Return rows of a table by number; for −1, the mean of the known rows."""
    weight = weight.detach()
    mean = weight[known_rows].mean(0)
    return torch.stack([weight[number] if number >= 0 else mean for number in numbers])
