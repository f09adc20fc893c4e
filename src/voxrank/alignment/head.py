"""The aligner ``head:SPEC@LAYER``, which fits a CTC head to the features of a layer.

The head is a linear layer on standardised features, trained with the CTC loss on the transcripts themselves. The model
stays frozen. The head is trained on as much speech as the flat start is fitted to.

Source of the loss: Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from voxrank.alignment.base import Aligned, Aligner, AlignerRecord, OnAudio, Transcript
from voxrank.alignment.frames import Framed, LayerSource
from voxrank.alignment.posteriors import log_softmax, posterior_timeline
from voxrank.errors import DataError, UtteranceError
from voxrank.targets.timeline import Timeline

EPOCHS = 60
BATCH = 16
LEARNING_RATE = 3e-3
BLANK_COLUMN = 0
SEED = 0


class Head(Aligner):
    """The aligner that trains a linear CTC head.

    Args:
        source: source of the features.
    """

    def __init__(self, source: LayerSource) -> None:
        self.record = AlignerRecord("head", source.encoder.spec, source.index, trained=True)
        self._source, self.encoder = source, source.encoder

    def align(self, transcripts: Sequence[Transcript], names: Sequence[str], on_audio: OnAudio) -> Aligned:
        """Train and align. The arguments and errors are those of `Aligner.align`."""
        first, rest = self._source.divided(transcripts)
        framed: dict[int, Framed] = {}
        aligned: dict[int, Timeline | UtteranceError] = {}
        for index, frames in self._source.frames(transcripts, first, on_audio):
            if isinstance(frames, Framed):
                framed[index] = frames
            else:
                aligned[index] = frames
        if not framed:
            reason = next(iter(aligned.values()), "there are none")
            raise DataError(f"{self.record.model} could encode none of the utterances for the alignment: {reason}")
        head = _Linear([(frames, transcripts[index]) for index, frames in framed.items()], len(names))
        aligned |= {index: head.align(frames, transcripts[index]) for index, frames in framed.items()}
        framed.clear()
        for index, frames in self._source.frames(transcripts, rest, on_audio):
            aligned[index] = head.align(frames, transcripts[index])
        return [aligned[index] for index in range(len(transcripts))]


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
