"""The aligner ``ctc:SPEC``, which uses a CTC checkpoint of transformers.

The logits of the checkpoint are treated as the only layer of an encoder. Therefore windows, batches and times work as
for every other model. A unit is looked up in the vocabulary as it is, in upper case, and with the mark that begins a
word. Units missing from the vocabulary match any token but the blank, with the sum of their probabilities. So do
unscored segments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, OnAudio, Transcript
from voxrank.alignment.frames import Framed, LayerSource
from voxrank.alignment.posteriors import log_softmax, posterior_timeline
from voxrank.config import EncoderOptions
from voxrank.encoders.architectures import load_ctc
from voxrank.encoders.base import pick_device
from voxrank.encoders.checkpoints import find_checkpoint, load_config, load_extractor, load_vocabulary
from voxrank.encoders.huggingface import HiddenStates
from voxrank.errors import ModelError, UtteranceError
from voxrank.targets.ctc import BLANK
from voxrank.targets.labels import SHOWN_NAMES
from voxrank.targets.timeline import Timeline
from voxrank.targets.units import FIRST, UNSCORED

BLANK_NAMES = ("<pad>", "[PAD]", "<blank>", "<blk>")
"""Usual names of the blank token."""
DELIMITERS = ("|", " ")
"""Tokens that separate words in vocabularies of characters."""
WORD_MARKS = ("", "▁", "Ġ")
"""Marks that begin a word in vocabularies of subwords; empty where there is no mark."""


class Posteriors(HiddenStates):
    """An encoder with a single layer, the logits of a CTC model."""

    def _hidden_states(self, values: torch.Tensor, steps: Sequence[int]) -> list[torch.Tensor]:
        return [self._outputs(values, steps).logits]


class Ctc(Aligner):
    """The aligner that uses a CTC checkpoint.

    Args:
        name: hub id or local directory.
        options: device, precision, windows, and the models whose remote code is trusted.
        threads: number of threads that decode audio ahead.

    Raises:
        ModelError: the model does not exist, has no CTC head, or its files are damaged or incomplete.
    """

    def __init__(self, name: str, options: EncoderOptions, threads: int) -> None:
        checkpoint = find_checkpoint(name, options)
        config = load_config(checkpoint)
        model = load_ctc(checkpoint, config).to(pick_device(options.device))
        self._vocabulary = load_vocabulary(checkpoint)
        self._blank = _blank_column(config, self._vocabulary, name)
        encoder = Posteriors(checkpoint, model, load_extractor(checkpoint), options)
        self._source, self.encoder = LayerSource(encoder, 0, threads), encoder
        self.record = AlignerRecord("ctc", name, trained=True)
        self.notes = tuple(f"{name}: {line}" for line in encoder.notes)
        self._unknown: Counter[str] = Counter()

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Align by the posteriors of the checkpoint. The arguments are those of `Aligner.align`."""
        indices = range(len(transcripts))
        aligned = {
            index: self._timeline(frames, transcripts[index], names)
            for index, frames in self._source.frames(transcripts, indices, on_audio)
        }
        if self._unknown:
            listed = ", ".join(f"{name!r} ({count})" for name, count in self._unknown.most_common(SHOWN_NAMES))
            more = f" and {len(self._unknown) - SHOWN_NAMES} more" if len(self._unknown) > SHOWN_NAMES else ""
            self.notes = (
                *self.notes,
                f"{self.record.model} has no symbol for {listed}{more}: these units match any symbol",
            )
        return [aligned[index] for index in indices]

    def _timeline(
        self, frames: Framed | UtteranceError, transcript: Transcript, names: Sequence[str]
    ) -> Timeline | UtteranceError:
        if isinstance(frames, UtteranceError):
            return frames
        log_probs = log_softmax(frames.features)
        spoken = np.logaddexp.reduce(np.delete(log_probs, self._blank, axis=1), axis=1)
        symbols, owners = self._symbols(transcript, names, any_unit=log_probs.shape[1])
        try:
            return posterior_timeline(
                np.column_stack([log_probs, spoken]), symbols, owners, self._blank, frames, transcript
            )
        except UtteranceError as error:
            return error

    def _symbols(
        self, transcript: Transcript, names: Sequence[str], *, any_unit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the columns of the units, with delimiters between words, and the index of the unit of each column."""
        delimiter = next((self._vocabulary[mark] for mark in DELIMITERS if mark in self._vocabulary), None)
        symbols: list[int] = []
        owners: list[int] = []
        for index, number in enumerate(transcript.labels):
            name, before = names[number - FIRST], names[transcript.labels[index - 1] - FIRST] if index else UNSCORED
            if transcript.pauses[index] and delimiter is not None and UNSCORED not in (name, before):
                symbols.append(delimiter)
                owners.append(BLANK)
            column = find_unit(name, self._vocabulary, begins_word=bool(transcript.pauses[index])) if name else None
            if column is None and name != UNSCORED:
                self._unknown[name] += 1
            symbols.append(any_unit if column is None else column)
            owners.append(index)
        return np.array(symbols), np.array(owners)


def find_unit(name: str, vocabulary: Mapping[str, int], *, begins_word: bool) -> int | None:
    """Return the column of a unit; None where the vocabulary lacks it.

    Example:
        >>> find_unit("a", {"|": 0, "A": 1}, begins_word=True)
        1
        >>> find_unit("the", {"▁the": 5, "the": 6}, begins_word=True)
        5
    """
    for mark in reversed(WORD_MARKS) if begins_word else WORD_MARKS[:1]:
        for form in (name, name.upper()):
            if mark + form in vocabulary:
                return vocabulary[mark + form]
    return None


def _blank_column(config: Any, vocabulary: Mapping[str, int], name: str) -> int:
    """Return the column of the blank: the padding token of the configuration, or a token of `BLANK_NAMES`."""
    candidates: Iterable[int | None] = (getattr(config, "pad_token_id", None), *map(vocabulary.get, BLANK_NAMES))
    blank = next((column for column in candidates if column is not None), None)
    if blank is None:
        raise ModelError(
            f"{name}: neither its configuration (pad_token_id) nor its vocabulary says which symbol is the blank; "
            "use a checkpoint with its own config.json and tokenizer"
        )
    return blank
