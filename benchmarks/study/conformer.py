"""A small English Conformer transducer, trained from scratch on spoken sentences and recorded prompts.

It has twelve blocks of 128 over frames of 40 ms, an LSTM of 128 as prediction network, and characters as symbols.
Training minimises the transducer loss and, through a layer that is dropped afterwards, the CTC loss on the output of
the encoder, as a transducer alone starts slowly. The state is saved at the end of every epoch, so that a stopped run
can resume. The finished model is a directory that transformers reads, `.made/study/conformer/`.

    python benchmarks/study/conformer.py pretrain

Sources: Gulati et al., "Conformer", Interspeech 2020; Graves 2012 (arXiv 1211.3711); Park et al., "SpecAugment",
Interspeech 2019; Rekesh et al., "Fast Conformer", 2023 (arXiv 2305.05084), as in transformers' Parakeet.
"""

from __future__ import annotations

import math
import shutil
import string
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import jiwer
import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    ParakeetForRNNT,
    ParakeetRNNTConfig,
    PreTrainedTokenizerFast,
)

sys.path.append(str(Path(__file__).parents[1]))

from common import MADE, provenance, save
from study.speech import Clip, recorded, spoken
from voxrank.groundtruth.transducer import greedy, transducer_loss

RESULT = "study/conformer-pretraining"
FOLDER = MADE / "study" / "conformer"
CHARACTERS = (" ", "'", *string.ascii_lowercase)
BLANK = len(CHARACTERS)
BLANK_NAME = "<blank>"
"""The last symbol."""
FRAMES_PER_S = 100
LOG_STEPS = 20
SHOWN = 8
"""Number of transcripts stored with the final figures."""


@dataclass(frozen=True)
class Settings:
    """Settings of the training.

    Attributes:
        epochs: passes over all clips; a stopped run may resume with another number, and so with other rates.
        batch_frames: maximum number of frames of 10 ms in a batch, padding included.
        longest: maximum number of frames of a clip; training leaves out longer clips.
        peak: highest learning rate, after `warmup` steps; then it falls to 0 as half a cosine.
        warmup: number of steps.
        decay: weight decay.
        clip: maximum norm of the gradient.
        ctc: weight of the CTC loss; the transducer's is 1.
        mel_mask: maximum number of masked bands, in each of two stripes.
        time_mask: maximum number of masked frames of 10 ms, in each of two stripes.
        seed: seed of weights, order, dropout and stripes.
    """

    epochs: int = 13
    batch_frames: int = 2400
    longest: int = 1500
    peak: float = 1.5e-3
    warmup: int = 250
    decay: float = 0.01
    clip: float = 1.0
    ctc: float = 0.3
    mel_mask: int = 10
    time_mask: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """A clip as the model reads it.

    Attributes:
        mels: (n, 80) log-mel frames of 10 ms, normalised over the clip.
        labels: (U,) numbers of its characters.
        text: its transcript.
    """

    mels: Tensor
    labels: Tensor
    text: str


@dataclass(frozen=True)
class Batch:
    """Examples as padded tensors.

    Attributes:
        mels: (B, n, 80) log-mel frames.
        real: (B, n) mask that is False where the clip has ended.
        labels: (B, U) numbers of the characters.
        lengths: (B,) number of real labels.
    """

    mels: Tensor
    real: Tensor
    labels: Tensor
    lengths: Tensor


def build(seed: int = 0) -> ParakeetForRNNT:
    """Return the model with random weights, at PyTorch's own scale."""
    torch.manual_seed(seed)
    encoder = ParakeetEncoderConfig(
        hidden_size=128,
        num_hidden_layers=12,
        num_attention_heads=4,
        intermediate_size=512,
        conv_kernel_size=9,
        subsampling_factor=4,
        subsampling_conv_channels=32,
        num_mel_bins=80,
        dropout=0.05,
        activation_dropout=0.0,
        attention_dropout=0.0,
        layerdrop=0.0,
    )
    config = ParakeetRNNTConfig(
        vocab_size=len(CHARACTERS) + 1,
        decoder_hidden_size=128,
        num_decoder_layers=1,
        encoder_config=encoder,
        blank_token_id=BLANK,
        pad_token_id=BLANK,
        decoder_start_token_id=BLANK,  # type: ignore[call-arg]  # kept by the base class
    )
    model = ParakeetForRNNT(config)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.LSTM)):
            module.reset_parameters()
    return model


def prepare(clips: Sequence[Clip], extractor: ParakeetFeatureExtractor) -> list[Example]:
    """Return features and labels of clips."""
    return [Example(mels(Path(clip.path), extractor), encode(clip.text), clip.text) for clip in clips]


def mels(path: Path, extractor: ParakeetFeatureExtractor) -> Tensor:
    """Return the frames (n, 80) of a clip."""
    audio, rate = soundfile.read(path, dtype="float32")
    made = extractor(audio, sampling_rate=rate, return_tensors="pt")
    frames: Tensor = made["input_features"][0, : int(made["attention_mask"].sum())].clone()
    return frames


def encode(text: str) -> Tensor:
    """Return the numbers of characters."""
    return torch.tensor([CHARACTERS.index(character) for character in text])


def decode(labels: Sequence[int]) -> str:
    """Return the characters of numbers, with single spaces."""
    return " ".join("".join(CHARACTERS[label] for label in labels).split())


def batches(examples: Sequence[Example], frames: int, rng: np.random.Generator) -> Iterator[list[Example]]:
    """Yield all examples once, in a new order, in batches of about equal length."""
    lengths = np.array([len(example.mels) for example in examples])
    order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths)), kind="stable")
    cuts = [0]
    for place in range(1, len(order)):
        if lengths[order[cuts[-1] : place + 1]].max() * (place + 1 - cuts[-1]) > frames:
            cuts.append(place)
    spans = list(pairwise([*cuts, len(order)]))
    for chosen in rng.permutation(len(spans)):
        yield [examples[index] for index in order[slice(*spans[chosen])]]


def collate(examples: Sequence[Example]) -> Batch:
    """Pad the examples at the end."""
    mels = pad_sequence([example.mels for example in examples], batch_first=True)
    counts = torch.tensor([len(example.mels) for example in examples])
    labels = pad_sequence([example.labels for example in examples], batch_first=True)
    lengths = torch.tensor([len(example.labels) for example in examples])
    return Batch(mels, torch.arange(mels.shape[1]) < counts[:, None], labels, lengths)


def hide(mels: Tensor, settings: Settings, rng: np.random.Generator) -> Tensor:
    """Mask stripes of bands and of frames with 0, the mean."""
    mels = mels.clone()
    for row in mels:
        for axis, widest in ((1, settings.mel_mask), (0, settings.time_mask)) * 2:
            width = int(rng.integers(0, widest + 1))
            start = int(rng.integers(0, max(1, row.shape[axis] - width)))
            row.narrow(axis, start, min(width, row.shape[axis] - start)).zero_()
    return mels


def losses(model: ParakeetForRNNT, ctc: nn.Linear, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the losses of the transducer and of CTC, both in nats per character."""
    encoded = model.get_audio_features(batch.mels, attention_mask=batch.real)
    frames, lengths = encoded.attention_mask.sum(-1), batch.lengths
    predicted = model.decoder(nn.functional.pad(batch.labels, (1, 0), value=BLANK))
    logits = model.joint(predicted[:, None], encoded.pooler_output[:, :, None])
    transducer = transducer_loss(logits, batch.labels, frames, lengths, BLANK).sum()
    log_probs = ctc(encoded.last_hidden_state).log_softmax(-1).transpose(0, 1)
    aside = nn.functional.ctc_loss(
        log_probs, batch.labels, frames, lengths, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return transducer / lengths.sum(), aside / lengths.sum()


def transcribe(model: ParakeetForRNNT, examples: Sequence[Example], frames: int) -> list[str]:
    """Return the transcripts of a model in evaluation mode, in the order of the examples, `frames` at a time."""
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].mels))
    heard = [""] * len(examples)
    step = max(1, frames // len(examples[order[-1]].mels))
    for chosen in (order[begin : begin + step] for begin in range(0, len(order), step)):
        batch = collate([examples[index] for index in chosen])
        with torch.no_grad():
            made = model.get_audio_features(batch.mels, attention_mask=batch.real)
        written = greedy(model.joint, model.decoder, made.pooler_output, made.attention_mask.sum(-1), blank=BLANK)
        for index, labels in zip(chosen, written, strict=True):
            heard[index] = decode(labels)
    return heard


@torch.no_grad()
def evaluate(model: ParakeetForRNNT, ctc: nn.Linear, examples: Sequence[Example], settings: Settings) -> dict[str, Any]:
    """Return the loss in nats per character, word and character error rates, and transcripts of the first clips."""
    model.eval()
    total = 0.0
    for chosen in batches(examples, settings.batch_frames, np.random.default_rng(settings.seed)):
        batch = collate(chosen)
        total += float(losses(model, ctc, batch)[0] * batch.lengths.sum())
    said, heard = [example.text for example in examples], transcribe(model, examples, settings.batch_frames)
    return {
        "loss": round(total / sum(map(len, said)), 4),
        "wer": round(jiwer.wer(said, heard), 4),
        "cer": round(jiwer.cer(said, heard), 4),
        "heard": [list(pair) for pair in zip(said, heard, strict=True)][:SHOWN],
    }


class Training:
    """The model, its optimiser and its log, from the last saved epoch."""

    def __init__(self, settings: Settings, checkpoint: Path, steps: int) -> None:
        self.settings, self.steps, self._checkpoint = settings, steps, checkpoint
        self.model = build(settings.seed)
        self.ctc = nn.Linear(cast("Any", self.model.config.encoder_config).hidden_size, BLANK + 1)
        self._weights = [*self.model.parameters(), *self.ctc.parameters()]
        self._optimiser = torch.optim.AdamW(self._weights, betas=(0.9, 0.98), weight_decay=settings.decay, fused=True)
        self.step = 0
        self.log: dict[str, list[Any]] = {"steps": [], "epochs": []}
        if checkpoint.exists():
            self._restore(torch.load(checkpoint, weights_only=True))

    def run_epoch(self, examples: Sequence[Example]) -> None:
        """Train on all examples once."""
        epoch = len(self.log["epochs"])
        torch.manual_seed(1000 * self.settings.seed + epoch)
        rng = np.random.default_rng([self.settings.seed, epoch])
        self.model.train()
        for chosen in batches(examples, self.settings.batch_frames, rng):
            batch = collate(chosen)
            self._advance(replace(batch, mels=hide(batch.mels, self.settings, rng)))

    def keep(self) -> None:
        """Write the state atomically."""
        part = self._checkpoint.with_suffix(".part")
        state = {
            "model": self.model.state_dict(),
            "ctc": self.ctc.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        torch.save(state | {"step": self.step, "log": self.log, "settings": asdict(self.settings)}, part)
        part.replace(self._checkpoint)

    def _restore(self, state: dict[str, Any]) -> None:
        if state["settings"] | {"epochs": self.settings.epochs} != asdict(self.settings):
            raise SystemExit(f"{self._checkpoint} is of other settings: remove it to begin again")
        self.model.load_state_dict(state["model"])
        self.ctc.load_state_dict(state["ctc"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.log = state["step"], state["log"]

    def _advance(self, batch: Batch) -> None:
        self.step += 1
        rate = learning_rate(self.step, self.steps, self.settings)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        transducer, aside = losses(self.model, self.ctc, batch)
        self._optimiser.zero_grad()
        (transducer + self.settings.ctc * aside).backward()
        norm = nn.utils.clip_grad_norm_(self._weights, self.settings.clip, error_if_nonfinite=True)
        self._optimiser.step()
        if self.step % LOG_STEPS == 0:
            figures = {"transducer": transducer.item(), "ctc": aside.item(), "norm": norm.item(), "rate": rate}
            self.log["steps"].append({"step": self.step} | {name: round(v, 6) for name, v in figures.items()})
            print(self.log["steps"][-1], flush=True)


def learning_rate(step: int, steps: int, settings: Settings) -> float:
    """Return the learning rate: it rises linearly, then falls as half a cosine."""
    if step < settings.warmup:
        return settings.peak * step / settings.warmup
    done = min(1.0, (step - settings.warmup) / max(1, steps - settings.warmup))
    return settings.peak * (1 + math.cos(math.pi * done)) / 2


def pretrain(settings: Settings, folder: Path = FOLDER) -> None:
    """Train, or resume training, and write the model and its figures."""
    extractor = ParakeetFeatureExtractor(feature_size=80)
    splits = read_splits(extractor)
    train = [example for example in splits.pop("train") if len(example.mels) <= settings.longest]
    steps = sum(count_batches(train, settings, epoch) for epoch in range(settings.epochs))
    folder.parent.mkdir(parents=True, exist_ok=True)
    training = Training(settings, folder.with_suffix(".pt"), steps)
    facts = {
        "made": provenance(),
        "settings": asdict(settings) | {"steps": steps},
        "parameters": sum(weight.numel() for weight in training.model.parameters()),
        "train": {"clips": len(train), "audio_s": round(sum(len(example.mels) for example in train) / FRAMES_PER_S)},
    }
    while len(training.log["epochs"]) < settings.epochs:
        started = time.perf_counter()
        training.run_epoch(train)
        wall_s = round(time.perf_counter() - started, 1)
        scores = {
            name: evaluate(training.model, training.ctc, examples, settings)
            for name, examples in splits.items()
            if name.endswith("validation")
        }
        place = {"epoch": len(training.log["epochs"]) + 1, "of": settings.epochs}
        training.log["epochs"].append(place | {"wall_s": wall_s} | scores)
        training.keep()
        print(training.log["epochs"][-1], flush=True)
        save(RESULT, facts | training.log)
    write_model(training.model, extractor, folder)
    test = {
        name: evaluate(training.model, training.ctc, examples, settings)
        for name, examples in splits.items()
        if name.endswith("test")
    }
    wall_s = round(sum(epoch["wall_s"] for epoch in training.log["epochs"]), 1)
    save(RESULT, facts | {"wall_s": wall_s, "test": test} | training.log)
    print(test, flush=True)


def read_splits(extractor: ParakeetFeatureExtractor) -> dict[str, list[Example]]:
    """Return all training data together, and validation and test data by source."""
    clips = {"spoken": spoken("english"), "recorded": recorded()}
    splits = {
        f"{source} {split}": prepare([clip for clip in every if clip.split == split], extractor)
        for source, every in clips.items()
        for split in ("train", "validation", "test")
    }
    return {"train": splits.pop("spoken train") + splits.pop("recorded train"), **splits}


def count_batches(examples: Sequence[Example], settings: Settings, epoch: int) -> int:
    """Return the steps of an epoch, whose batches are drawn anew."""
    return sum(1 for _ in batches(examples, settings.batch_frames, np.random.default_rng([settings.seed, epoch])))


def write_model(model: ParakeetForRNNT, extractor: ParakeetFeatureExtractor, folder: Path) -> None:
    """Write a directory of transformers with a tokenizer of characters, atomically."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    model.eval().save_pretrained(part)
    extractor.save_pretrained(part)
    write_tokenizer(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def write_tokenizer(folder: Path) -> None:
    """Write characters by their numbers, the space as in SentencePiece, and the blank."""
    numbers = {"▁" if character == " " else character: place for place, character in enumerate(CHARACTERS)}
    model = WordLevel({**numbers, BLANK_NAME: len(CHARACTERS)}, unk_token=BLANK_NAME)
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), pad_token=BLANK_NAME).save_pretrained(folder)


def main(words: Sequence[str], settings: Settings = Settings()) -> None:
    if list(words) != ["pretrain"]:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    pretrain(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
