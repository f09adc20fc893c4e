"""The aligner ``head:SPEC@LAYER``, which fits a CTC head to the features of a layer.

The head is a linear layer on standardised features, trained with the CTC loss on the transcripts themselves. The model
stays frozen. The head is trained on as much speech as the flat start is fitted to.

Source of the loss: Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, AlignmentContext, OnAudio, Transcript
from voxrank.alignment.frames import Framed, LayerSource, TranscriptTask, by_utterance
from voxrank.alignment.posteriors import log_softmax, posterior_timeline
from voxrank.config import EncoderOptions
from voxrank.engines.task import Lend
from voxrank.errors import UtteranceError
from voxrank.targets.timeline import Timeline

EPOCHS = 60
BATCH = 16
LEARNING_RATE = 3e-3
BLANK_COLUMN = 0
SEED = 0


class Head(Aligner):
    """The aligner that trains a linear CTC head.

    The engine computes frames, and aligns what was not used to train the head. The head is trained in this process.

    Args:
        source: source of the features.
        context: the engine, and the models.
    """

    def __init__(self, source: LayerSource, context: AlignmentContext) -> None:
        self.record = AlignerRecord("head", source.spec, source.layer.index, trained=True)
        self._source, self._context = source, context

    def weights(self) -> Mapping[str, torch.Tensor]:
        """Return the weights of the model below the head."""
        return self._context.lend(self._source.spec).weights()

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Train and align. The arguments and errors are those of `Aligner.align`."""
        first, rest = self._source.divided(transcripts)
        framed, errors = self._source.fitted_frames(transcripts, first, self._context, on_audio)
        head = _Linear([(frames, transcripts[index]) for index, frames in framed.items()], len(names))
        trained = {index: head.align(frames, transcripts[index]) for index, frames in framed.items()}
        framed.clear()
        others = by_utterance(AlignByHead(self._source, head), transcripts, rest, self._context, on_audio)
        aligned = {**errors, **trained, **dict(others)}
        return [aligned[index] for index in range(len(transcripts))]


@dataclass(frozen=True)
class AlignByHead(TranscriptTask[Timeline | UtteranceError]):
    """The task to align utterances by a trained head.

    Attributes:
        source: source of the features.
        head: the trained head.
    """

    source: LayerSource
    head: _Linear

    def run(
        self,
        part: Sequence[Transcript],
        lend: Lend,
        options: EncoderOptions,  # noqa: ARG002
    ) -> list[Timeline | UtteranceError]:
        """Return the timeline of each transcript, or the reason why it cannot be aligned."""
        aligned = {index: self.head.align(frames, part[index]) for index, frames in self.source.frames(part, lend)}
        return [aligned[index] for index in range(len(part))]


class _Linear:
    """A linear head, trained on these utterances."""

    def __init__(self, spoken: Sequence[tuple[Framed, Transcript]], n_units: int) -> None:
        features = np.concatenate([frames.features for frames, _ in spoken])
        self._mean, self._std = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        del features
        order = torch.Generator().manual_seed(SEED)
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            self._head = torch.nn.Linear(len(self._mean), n_units + 1)
        optimiser = torch.optim.Adam(self._head.parameters(), lr=LEARNING_RATE)
        inputs = [torch.from_numpy((frames.features - self._mean) / self._std) for frames, _ in spoken]
        labels = [torch.from_numpy(transcript.labels) for _, transcript in spoken]
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(inputs), generator=order).split(BATCH):
                loss = torch.nn.functional.ctc_loss(
                    self._head(pad_sequence([inputs[i] for i in batch])).log_softmax(dim=-1),
                    torch.cat([labels[i] for i in batch]),
                    torch.tensor([len(inputs[i]) for i in batch]),
                    torch.tensor([len(labels[i]) for i in batch]),
                    blank=BLANK_COLUMN,
                    zero_infinity=True,
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    @torch.inference_mode()
    def align(self, frames: Framed | UtteranceError, transcript: Transcript) -> Timeline | UtteranceError:
        """Return the timeline of the units, or the reason why the utterance cannot be aligned."""
        if isinstance(frames, UtteranceError):
            return frames
        logits = self._head(torch.from_numpy((frames.features - self._mean) / self._std)).numpy()
        try:
            return posterior_timeline(
                log_softmax(logits),
                transcript.labels,
                np.arange(len(transcript.labels)),
                BLANK_COLUMN,
                frames,
                transcript,
            )
        except UtteranceError as error:
            return error
