"""Measure the error of alignments against exact phone times, and their cost.

The speech is from eSpeak NG in seven languages and fifteen voices (`sentences.py`), with phone times that are exact to
the sample. Each language is aligned separately, with features of Whisper base. The benchmark compares labels of equal
length, the flat start (`voxrank.targets.flatstart`), and a CTC head trained here on the same features and transcripts.
The upper bound for these features is the same linear model, fitted to the exact times. A frame is right if its centre
lies in its phone.

Then forced alignment is timed separately, on one core: an utterance of a minute, and one of an hour at 50 Hz. It is
compared with the same search written with NumPy arrays and, if installed, with the package ctc-segmentation.

Run: python benchmarks/alignment.py
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from common import alternate, in_own_process, provenance, save
from long_utterance import HOUR, SYMBOLS, problem
from sentences import make_sentences, phone_numbers
from voxrank.config import EncoderOptions
from voxrank.encoders.registry import load_encoder
from voxrank.errors import UtteranceError
from voxrank.targets.ctc import Alignment, align, uniform
from voxrank.targets.flatstart import SILENCE, FlatStart, FrameModel, Spoken, flat_start, quiet_frames

MODEL = "pack:whisper-base"
LAYERS = (2, 3, 4)
FRAME_S = 0.02
"""Seconds between two frames of Whisper; the first frame is centred on the first sample."""
EPOCHS = 60
ROUNDS = 5
MINUTE = (3000, 900)
"""Number of frames and of labels."""


@dataclass
class Truth:
    """The phones of an utterance with their times."""

    starts: NDArray[np.float64]
    frames: NDArray[np.int64]
    """The symbol of each frame."""


def main() -> None:
    result: dict[str, Any] = {"made": provenance(), "model": MODEL, "languages": []}
    result["speed"] = speed() | {"hour": hour()}
    print(result["speed"], flush=True)
    clips = make_sentences()
    result["minutes"] = round(sum(soundfile.info(clip["path"]).duration for clip in clips) / 60, 1)
    result["voices"] = len({clip["voice"] for clip in clips})
    encoder = load_encoder(MODEL, EncoderOptions(whisper_window="fit"))
    for language in dict.fromkeys(clip["language"] for clip in clips):
        own = [clip for clip in clips if clip["language"] == language]
        encoded = [layers_of(encoder, clip, LAYERS) for clip in own]
        for layer in LAYERS:
            features = [frames[layer].numpy() for frames in encoded]
            row = {"language": language, "layer": layer, "utterances": len(own)} | aligned(own, features)
            print(row, flush=True)
            result["languages"].append(row)
    save("alignment", result)


@torch.inference_mode()
def layers_of(encoder: Any, clip: dict[str, Any], wanted: Collection[int]) -> dict[int, torch.Tensor]:
    """Return the frames of a clip by layer."""
    pieces: dict[int, list[torch.Tensor]] = {layer: [] for layer in wanted}
    for piece in encoder.encode([soundfile.read(clip["path"], dtype="float32")[0]]):
        if piece.layer in wanted:
            pieces[piece.layer].append(piece.frames)
    return {layer: torch.cat(parts) for layer, parts in pieces.items()}


def aligned(clips: Sequence[dict[str, Any]], features: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Return the results of each aligner in one language."""
    numbers = phone_numbers(clips)
    n_symbols = len(numbers) + 1
    utterances = [spoken(clip, frames, numbers) for clip, frames in zip(clips, features, strict=True)]
    truths = [truth(clip, len(frames), numbers) for clip, frames in zip(clips, features, strict=True)]
    methods: dict[str, Callable[[], list[tuple[NDArray[Any], NDArray[Any]]]]] = {
        "equal lengths": lambda: [even(one) for one in utterances],
        "flat start": lambda: [
            (found.symbols(one.labels, SILENCE), found.spans[:, 0])
            for found, one in zip(all_aligned(flat_start(utterances, n_symbols)), utterances, strict=True)
        ],
        "CTC head": lambda: ctc_head(utterances, n_symbols),
        "exact times": lambda: [
            (found.symbols(one.labels, SILENCE), found.spans[:, 0])
            for model in [fitted(utterances, truths, n_symbols)]
            for found, one in ((model.align(one), one) for one in utterances)
        ],
    }
    return {"phones": len(numbers)} | {name: judged(method, truths) for name, method in methods.items()}


def spoken(clip: dict[str, Any], frames: NDArray[np.float32], numbers: dict[str, int]) -> Spoken:
    """Return the symbols of a clip, with silence wherever a word begins."""
    phones = [phone for phone in clip["phones"] if phone["name"]]
    pauses = np.array([phone["new_word"] for phone in phones] + [True])
    pauses[0] = True
    samples = soundfile.read(clip["path"], dtype="float32")[0]
    return Spoken(frames, np.array([numbers[p["name"]] for p in phones]), pauses, quiet_frames(samples, len(frames)))


def truth(clip: dict[str, Any], n_frames: int, numbers: dict[str, int]) -> Truth:
    centres, symbols = np.arange(n_frames) * FRAME_S, np.zeros(n_frames, dtype=np.int64)
    for phone in clip["phones"]:
        if phone["name"]:
            symbols[(centres >= phone["start"]) & (centres < phone["end"])] = numbers[phone["name"]]
    return Truth(np.array([p["start"] for p in clip["phones"] if p["name"]]), symbols)


def all_aligned(found: FlatStart) -> list[Alignment]:
    """Return the alignment of each utterance; raise the error of the first one that has none."""
    for one in found.alignments:
        if isinstance(one, UtteranceError):
            raise one
    return [one for one in found.alignments if isinstance(one, Alignment)]


def begins(first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return when phones begin: midway between the centres of two frames, at multiples of `FRAME_S`."""
    times: NDArray[np.float64] = np.maximum((first - 0.5) * FRAME_S, 0.0)
    return times


def even(one: Spoken) -> tuple[NDArray[Any], NDArray[Any]]:
    places = uniform(len(one.features), len(one.labels))
    return one.labels[places], np.searchsorted(places, np.arange(len(one.labels)))


def fitted(utterances: Sequence[Spoken], truths: Sequence[Truth], n_symbols: int) -> FrameModel:
    """Fit the linear model of the flat start to the exact times."""
    return FrameModel.fit([one.features for one in utterances], [t.frames for t in truths], n_symbols)


def ctc_head(utterances: Sequence[Spoken], n_symbols: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Train a linear layer with the CTC loss on these utterances; a blank frame joins the label before it."""
    torch.manual_seed(0)
    everything = np.concatenate([one.features for one in utterances])
    mean, spread = everything.mean(axis=0), everything.std(axis=0)
    inputs = [torch.from_numpy((one.features - mean) / spread) for one in utterances]
    head = torch.nn.Linear(inputs[0].shape[1], n_symbols)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(16):
            packed = torch.nn.utils.rnn.pad_sequence([inputs[i] for i in batch])
            labels = [torch.from_numpy(utterances[i].labels) for i in batch]
            loss = torch.nn.functional.ctc_loss(
                head(packed).log_softmax(dim=-1),
                torch.cat(labels),
                torch.tensor([len(inputs[i]) for i in batch]),
                torch.tensor([len(own) for own in labels]),
                zero_infinity=True,
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    results = []
    with torch.inference_mode():
        for one, frames in zip(utterances, inputs, strict=True):
            found = align(head(frames).log_softmax(dim=-1).numpy(), one.labels)
            starts = found.spans[:, 0]
            before = np.maximum(np.searchsorted(starts, np.arange(len(frames)), side="right") - 1, 0)
            results.append((one.labels[before], starts))
    return results


def judged(method: Callable[[], list[tuple[NDArray[Any], NDArray[Any]]]], truths: Sequence[Truth]) -> dict[str, float]:
    """Return the share of right frames, and the errors of the phones' beginnings."""
    started = time.perf_counter()
    found = method()
    seconds = time.perf_counter() - started
    right = np.concatenate([symbols == t.frames for (symbols, _), t in zip(found, truths, strict=True)])
    apart = np.concatenate([np.abs(begins(starts) - t.starts) for (_, starts), t in zip(found, truths, strict=True)])
    return {
        "frames_right": round(float(right.mean()), 4),
        "mean_ms": round(1000 * float(apart.mean()), 1),
        "p90_ms": round(1000 * float(np.percentile(apart, 90)), 1),
        "seconds": round(seconds, 2),
    }


def speed() -> dict[str, Any]:
    """Time the alignment of a minute on one core, in alternating rounds."""
    log_probs, labels = problem(*MINUTE)
    align(log_probs, labels)
    work: dict[str, Callable[[], Any]] = {
        "voxrank": lambda: align(log_probs, labels),
        "numpy": lambda: with_numpy(log_probs, labels),
    }
    try:
        import ctc_segmentation
    except ImportError:
        pass
    else:
        config = ctc_segmentation.CtcSegmentationParameters(char_list=[str(i) for i in range(SYMBOLS)])
        table, _ = ctc_segmentation.prepare_token_list(config, [labels])
        work["ctc-segmentation"] = lambda: ctc_segmentation.ctc_segmentation(config, log_probs, table)
    medians = alternate(work, ROUNDS)
    return {
        "frames": MINUTE[0],
        "labels": MINUTE[1],
        "symbols": SYMBOLS,
        "times_real_time": {name: round(60 / taken) for name, taken in medians.items()},
        "same_score_as_numpy": bool(
            abs(with_numpy(log_probs, labels) - align(log_probs, labels).log_probability) < 1e-6
        ),
    }


def with_numpy(log_probs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the score of the best path, from a search with one array operation per frame and a full trace-back."""
    states = np.zeros(2 * len(labels) + 1, dtype=np.int64)
    states[1::2] = labels
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = labels[1:] != labels[:-1]
    best = np.full(len(states), -np.inf)
    best[:2] = log_probs[0, states[:2]]
    choices = np.zeros((len(log_probs), len(states)), dtype=np.uint8)
    for t in range(1, len(log_probs)):
        ways = np.full((3, len(states)), -np.inf)
        ways[0], ways[1, 1:], ways[2, 2:] = best, best[:-1], np.where(skips[2:], best[:-2], -np.inf)
        choices[t] = ways.argmax(axis=0)
        best = ways.max(axis=0) + log_probs[t, states]
    state = len(states) - 1 - int(best[-2] >= best[-1])
    score = float(best[state])
    for t in range(len(log_probs) - 1, 0, -1):
        state -= int(choices[t, state])
    return score


def hour() -> dict[str, Any]:
    """Time the alignment of an hour, in a separate process."""
    printed = in_own_process(str(Path(__file__).with_name("long_utterance.py")), *HOUR)
    found: dict[str, Any] = json.loads(printed)
    return found


if __name__ == "__main__":
    main()
