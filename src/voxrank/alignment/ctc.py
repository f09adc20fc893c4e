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

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, AlignmentContext, OnAudio, Transcript
from voxrank.alignment.frames import Framed, TranscriptTask, by_utterance, frames_of_layers
from voxrank.alignment.posteriors import log_softmax, posterior_timeline
from voxrank.config import EncoderOptions
from voxrank.encoders.architectures import load_ctc
from voxrank.encoders.base import pick_device
from voxrank.encoders.checkpoints import find_checkpoint, load_config, load_extractor, load_vocabulary
from voxrank.encoders.huggingface import HiddenStates
from voxrank.engines.task import Lend
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
    """The aligner that uses a CTC checkpoint, on the engine.

    Args:
        name: hub id or local directory.
        context: options of encoders (device, precision, windows, models whose remote code is trusted), and the engine.

    Raises:
        ModelError: the model does not exist, has no CTC head, or its files are damaged or incomplete.
    """

    def __init__(self, name: str, context: AlignmentContext) -> None:
        self._encoder, self._context = load_posteriors(name, context.encoding), context
        checkpoint = find_checkpoint(name, context.encoding)
        self._vocabulary = load_vocabulary(checkpoint)
        self._blank = _blank_column(load_config(checkpoint), self._vocabulary, name)
        self._name, self.record = name, AlignerRecord("ctc", name, trained=True)
        self.notes = tuple(f"{name}: {line}" for line in self._encoder.notes)

    def weights(self) -> Mapping[str, torch.Tensor]:
        """Return the weights of the checkpoint."""
        return self._encoder.weights()

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Align by the posteriors of the checkpoint. The arguments are those of `Aligner.align`."""
        columns = Columns(self._vocabulary, self._blank, tuple(names))
        task = AlignByPosteriors(self._name, columns, self._context.threads, self._encoder)
        indices = range(len(transcripts))
        aligned = dict(by_utterance(task, transcripts, indices, self._context, on_audio))
        if unknown := columns.unknown(transcripts):
            listed = ", ".join(f"{name!r} ({count})" for name, count in unknown.most_common(SHOWN_NAMES))
            more = f" and {len(unknown) - SHOWN_NAMES} more" if len(unknown) > SHOWN_NAMES else ""
            self.notes = (
                *self.notes,
                f"{self.record.model} has no symbol for {listed}{more}: these units match any symbol",
            )
        return [aligned[index] for index in indices]


class Columns:
    """The columns of units in the posteriors of a checkpoint.

    Args:
        vocabulary: token → its column.
        blank: column of the blank.
        names: names of the units.
    """

    def __init__(self, vocabulary: Mapping[str, int], blank: int, names: Sequence[str]) -> None:
        self.blank = blank
        self._delimiter = next((vocabulary[mark] for mark in DELIMITERS if mark in vocabulary), None)
        self._names = names
        self._columns = [
            [find_unit(name, vocabulary, begins_word=begins_word) if name else None for name in names]
            for begins_word in (False, True)
        ]

    def symbols(self, transcript: Transcript, *, any_unit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the columns of the units, with delimiters between words, and the index of the unit of each column.

        Args:
            transcript: the transcript.
            any_unit: column of units that the vocabulary lacks.
        """
        symbols: list[int] = []
        owners: list[int] = []
        before = UNSCORED
        for index, number in enumerate(transcript.labels):
            name, begins_word = self._names[number - FIRST], bool(transcript.pauses[index])
            if begins_word and self._delimiter is not None and UNSCORED not in (name, before):
                symbols.append(self._delimiter)
                owners.append(BLANK)
            column = self._columns[begins_word][number - FIRST]
            symbols.append(any_unit if column is None else column)
            owners.append(index)
            before = name
        return np.array(symbols), np.array(owners)

    def unknown(self, transcripts: Sequence[Transcript]) -> Counter[str]:
        """Return how often the transcripts have each unit that the vocabulary lacks."""
        counts = np.zeros((2, len(self._names)), dtype=np.int64)
        for transcript in transcripts:
            np.add.at(counts, (transcript.pauses[:-1].astype(np.int64), transcript.labels - FIRST), 1)
        unknown: Counter[str] = Counter()
        for begins_word, column_of in enumerate(self._columns):
            for name, column, count in zip(self._names, column_of, counts[begins_word].tolist(), strict=True):
                if column is None and name != UNSCORED and count:
                    unknown[name] += count
        return unknown


class AlignByPosteriors(TranscriptTask[Timeline | UtteranceError]):
    """The task to align utterances by the posteriors of a checkpoint, which each process loads once.

    Args:
        name: hub id or local directory.
        columns: columns of the units.
        threads: number of threads that decode audio ahead.
        encoder: the checkpoint, as it was loaded in this process.
    """

    def __init__(self, name: str, columns: Columns, threads: int, encoder: Posteriors) -> None:
        self._name, self._columns, self._threads = name, columns, threads
        self._encoder: Posteriors | None = encoder

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoder": None}

    def run(
        self,
        part: Sequence[Transcript],
        lend: Lend,  # noqa: ARG002
        options: EncoderOptions,
    ) -> list[Timeline | UtteranceError]:
        """Return the timeline of each transcript, or the reason why it cannot be aligned."""
        if self._encoder is None:
            self._encoder = load_posteriors(self._name, options)
        logits = self._encoder.layers[0]
        aligned = {
            index: frames if isinstance(frames, UtteranceError) else self._timeline(frames[logits.index], part[index])
            for index, frames in frames_of_layers(self._encoder, [logits], self._threads, part)
        }
        return [aligned[index] for index in range(len(part))]

    def _timeline(self, frames: Framed, transcript: Transcript) -> Timeline | UtteranceError:
        log_probs, blank = log_softmax(frames.features), self._columns.blank
        spoken = np.logaddexp.reduce(np.delete(log_probs, blank, axis=1), axis=1)
        symbols, owners = self._columns.symbols(transcript, any_unit=log_probs.shape[1])
        try:
            return posterior_timeline(np.column_stack([log_probs, spoken]), symbols, owners, blank, frames, transcript)
        except UtteranceError as error:
            return error


def load_posteriors(name: str, options: EncoderOptions) -> Posteriors:
    """Load a CTC checkpoint as an encoder of one layer.

    Raises:
        ModelError: the model does not exist, has no CTC head, or its files are damaged or incomplete.
    """
    checkpoint = find_checkpoint(name, options)
    model = load_ctc(checkpoint, load_config(checkpoint)).to(pick_device(options.device))
    return Posteriors(checkpoint, model, load_extractor(checkpoint), options)


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
