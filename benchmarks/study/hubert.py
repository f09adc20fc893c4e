"""A small HuBERT, pre-trained on all available unlabelled speech: masked prediction of k-means units [1].

Speech: prompts of Asterisk in five languages (English from the shared data, the others from Debian's packages), English
digits, Arabic commands and sentences of eSpeak NG in seven languages (`sentences.py`). Test speakers of other
benchmarks are left out: lucas and theo of the digits, those outside the split "train" of the commands, and the last
voice of every language of the sentences. Short clips of a speaker are joined until they fill the longest crop.

Model: the architecture of HuBERT base (twelve blocks, normalised after each residual sum), but 128 wide. Its front end
has 32 to 64 channels, and layer normalisation in place of group normalisation, so that padding does not matter.

Objective: cross-entropy of the unit at masked frames plus half of it at the others. Units are first clusters of MFCC
with slopes, then clusters of the middle block's output. The second stage continues from the weights of the first, with
a new head. Spans of 10 frames begin at 8 % of the frames. A linear head replaces the paper's cosine similarity to
embeddings of the units. Before the first stage the front end alone learns the units of MFCC for some cheap steps,
without masks. On top of a random front end, twelve blocks that normalise after each sum tend to keep giving the same
output for every frame.

Tried and dropped: 200 clusters of layer 3 of Whisper base, with normalisation before each block and twice the learning
rate. After 4,200 steps, as many as both stages have, the probe below reached .367 in the first layer and .363 in the
last.

At the end a linear probe for phones is trained on each layer of the model, and on each layer of the same model before
training.

Run: python benchmarks/study/hubert.py pretrain. A stopped run resumes from its last checkpoint; delete
benchmarks/.made/study/hubert to start again. The model, as transformers saves it, is in its folder `model`, the
untrained one in `untrained`.

[1] Hsu et al. (2021), HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units,
arXiv:2106.07447.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

sys.path.insert(0, str(Path(__file__).parents[1]))

from alignment import layers_of
from common import DATA, MADE, provenance, save
from sentences import VOICES, make_sentences
from voxrank.encoders.registry import load_encoder

NAME = "study/hubert-pretraining"
FOLDER = MADE / "study" / "hubert"
PROMPTS = Path("/usr/share/asterisk/sounds")
PROMPT_VOICES = {"es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo", "ru": "ru_RU_f_IvrvoiceRU"}
UNHEARD_DIGITS = ("lucas", "theo")

RATE_HZ = 16_000
HOP, WINDOW = 320, 400
"""Number of samples in a frame of the model; MFCC have a step of 160 samples, and the same windows of 400."""
LONGEST_CLIP = 15 * RATE_HZ
CROP_FRAMES = (100, 133, 200)
"""Crops of 2, 2.7 and 4 seconds: all crops of a batch have one length."""
FULL = HOP * (max(CROP_FRAMES) - 1) + WINDOW
BATCH_FRAMES = 600
HELD_OUT = 0.03
HELD_OUT_BATCHES = 8
MASK_STARTS, MASK_FRAMES = 0.08, 10
UNMASKED_WEIGHT = 0.5
FRONT_END_STEPS, FRONT_END_RATE = 300, 2e-3
PROJECTION_STD = 0.09
"""Initial standard deviation of the weights after the front end, so that frames are as large as the mask vector."""
WARM_UP = 0.08
"""Share of the steps in which the learning rate rises; then it falls linearly to 0."""
LOG_STEPS, CHECKPOINT_STEPS = 100, 300
CLUSTERED_FRAMES = 150_000
MIDDLE_LAYER = 6
PROBED_FRAMES = 3000
SEED = 0

Audio = NDArray[np.int16]
Units = NDArray[np.int64]


@dataclass(frozen=True)
class Stage:
    """Masked prediction of one kind of unit."""

    targets: str
    units: int
    steps: int
    learning_rate: float


STAGES = (Stage("mfcc", 100, 1600, 5e-4), Stage(f"layer {MIDDLE_LAYER}", 200, 2400, 5e-4))


@dataclass(frozen=True)
class Clip:
    """Samples of one speaker at 16 kHz."""

    samples: Audio
    source: str
    speaker: str


@dataclass(frozen=True)
class Corpus:
    """All speech in one array.

    Attributes:
        audio: the samples.
        starts: the first sample of each utterance, and the end of the last.
        sources: seconds by source.
        missing: sources that are not installed.
    """

    audio: Audio
    starts: NDArray[np.int64]
    sources: dict[str, float]
    missing: list[str]

    @property
    def frames(self) -> NDArray[np.int64]:
        """Return the number of frames of each utterance in the model."""
        return (np.diff(self.starts) - WINDOW) // HOP + 1

    @property
    def first_frames(self) -> NDArray[np.int64]:
        """Return where each utterance begins in an array of all frames."""
        return np.concatenate([[0], np.cumsum(self.frames)])

    def utterance(self, number: int) -> Audio:
        """Return the samples of an utterance."""
        return self.audio[self.starts[number] : self.starts[number + 1]]

    def held_out(self) -> NDArray[np.bool_]:
        """Return the utterances on which neither the model nor the units are trained."""
        return np.random.default_rng([SEED, 1]).random(len(self.starts) - 1) < HELD_OUT


def read_corpus() -> Corpus:
    """Return all speech; decode it once."""
    index, sound = FOLDER / "audio.json", FOLDER / "audio.npy"
    if not index.exists():
        write_corpus(index, sound)
    content = json.loads(index.read_text(encoding="utf-8"))
    starts = np.array(content["starts"])
    return Corpus(np.load(sound, mmap_mode="r"), starts, content["sources"], content["missing"])


def write_corpus(index: Path, sound: Path) -> None:
    """Decode, join and store all speech; the index is written last."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    missing = [f"asterisk-{language}" for language, voice in PROMPT_VOICES.items() if not (PROMPTS / voice).is_dir()]
    if missing:
        print("not installed (Debian's asterisk-core-sounds-*-g722):", *missing, flush=True)
    speakers: dict[tuple[str, str], list[Audio]] = {}
    for clip in (*shared_clips(), *prompt_clips(), *sentence_clips()):
        pieces = [clip.samples[at : at + LONGEST_CLIP] for at in range(0, len(clip.samples), LONGEST_CLIP)]
        speakers.setdefault((clip.source, clip.speaker), []).extend(pieces)
    utterances: list[Audio] = []
    sources: dict[str, float] = {}
    for (source, _), pieces in speakers.items():
        joined = join(pieces)
        utterances += joined
        sources[source] = sources.get(source, 0.0) + sum(map(len, joined)) / RATE_HZ
    np.save(sound, np.concatenate(utterances))
    starts = np.concatenate([[0], np.cumsum([len(one) for one in utterances])])
    index.write_text(json.dumps({"sources": sources, "missing": missing, "starts": starts.tolist()}), encoding="utf-8")


def join(pieces: Sequence[Audio]) -> list[Audio]:
    """Join clips of one speaker, in random order, to utterances that are long enough for every crop."""
    groups: list[list[Audio]] = [[]]
    for number in np.random.default_rng([SEED, 2]).permutation(len(pieces)):
        if sum(map(len, groups[-1])) >= FULL:
            groups.append([])
        groups[-1].append(pieces[number])
    if len(groups) > 1 and sum(map(len, groups[-1])) < FULL:
        groups[-2] += groups.pop()
    return [np.concatenate(group) for group in groups]


def shared_clips() -> Iterator[Clip]:
    """Yield the clips of the shared data on which no benchmark tests."""
    for source in ("asterisk-en", "fsdd", "arabic-commands"):
        with (DATA / source / "manifest.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                speaker = row.get("speaker", source)
                if row.get("split", "train") == "train" and speaker not in UNHEARD_DIGITS:
                    yield Clip(read(DATA / source / row["path"]), source, speaker)


def prompt_clips() -> Iterator[Clip]:
    """Yield Asterisk's prompts in other languages, if installed."""
    for language, voice in PROMPT_VOICES.items():
        paths = sorted(path for path in (PROMPTS / voice).rglob("*.g722") if path.parent.name != "silence")
        with ThreadPoolExecutor(2) as pool:
            for samples in pool.map(decode, paths):
                yield Clip(samples, f"asterisk-{language}", voice)


def sentence_clips() -> Iterator[Clip]:
    """Yield sentences of eSpeak NG in all voices except the last of each language."""
    unheard = {f"{language}+{variants[-1]}" for language, variants in VOICES.items()}
    for clip in make_sentences():
        if clip["voice"] not in unheard:
            yield Clip(read(Path(clip["path"])), "espeak", clip["voice"])


def read(path: Path) -> Audio:
    """Return a file's samples at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32")
    return to_int16(samples if rate == RATE_HZ else soxr.resample(samples, rate, RATE_HZ))


def to_int16(samples: NDArray[np.float32]) -> Audio:
    """Convert samples from the range -1 to 1 to 16 bits."""
    return (samples * 32_767).clip(-32_768, 32_767).astype(np.int16)


def decode(path: Path) -> Audio:
    """Return a G.722 file's samples."""
    command = ("ffmpeg", "-v", "error", "-nostdin", "-f", "g722", "-i", path, "-ar", str(RATE_HZ), "-f", "s16le", "-")
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, dtype=np.int16)


def normalise(samples: Audio) -> torch.Tensor:
    """Normalise to mean 0 and variance 1, as `Wav2Vec2FeatureExtractor` does."""
    floats = torch.from_numpy(samples.astype(np.float32) / 32_768)
    return (floats - floats.mean()) / (floats.var(correction=0) + 1e-7).sqrt()


def units_of(stage: Stage, corpus: Corpus, model: HubertModel) -> Units:
    """Return the unit of each frame of the corpus; compute it once."""
    path = FOLDER / f"units-{STAGES.index(stage)}.npy"
    if not path.exists():
        frames = mfcc_frames(corpus) if stage.targets == "mfcc" else middle_frames(corpus, model)
        part = path.with_suffix(".part.npy")
        np.save(part, cluster(frames, np.repeat(~corpus.held_out(), corpus.frames), stage.units))
        part.replace(path)
    units: Units = np.load(path)
    return units


def mfcc_frames(corpus: Corpus) -> NDArray[np.float32]:
    """Return MFCC and slopes at the model's frames, less each utterance's mean, in standard deviations of the MFCC."""
    encoder, made = load_encoder("mfcc"), []
    for number in range(len(corpus.starts) - 1):
        waveform = corpus.utterance(number).astype(np.float32) / np.float32(32_768)
        pieces = [piece.frames for piece in encoder.encode([waveform])]
        frames = torch.cat(pieces).numpy()[::2][: corpus.frames[number]]
        made.append(frames - frames.mean(0))
    stacked = np.concatenate(made)
    scaled: NDArray[np.float32] = stacked / np.tile(stacked[:, :13].std(0), 3)
    return scaled


@torch.inference_mode()
def middle_frames(corpus: Corpus, model: HubertModel) -> NDArray[np.float32]:
    """Return the output of the middle block."""
    model.eval()
    made = []
    for number in range(len(corpus.starts) - 1):
        states = model(normalise(corpus.utterance(number))[None], output_hidden_states=True).hidden_states
        made.append(states[MIDDLE_LAYER][0].numpy())
    return np.concatenate(made)


def cluster(frames: NDArray[np.float32], wanted: NDArray[np.bool_], units: int) -> Units:
    """Return the nearest cluster of each frame; the clusters are from some of the wanted frames."""
    rng = np.random.default_rng([SEED, 3])
    chosen = rng.permutation(np.flatnonzero(wanted))[:CLUSTERED_FRAMES]
    means = MiniBatchKMeans(units, batch_size=10_000, n_init=3, max_no_improvement=30, random_state=SEED)
    units_of_frames: Units = means.fit(frames[chosen]).predict(frames).astype(np.int64)
    return units_of_frames


@dataclass(frozen=True)
class Batch:
    """Crops: samples (B, n), units and mask (B, T)."""

    samples: torch.Tensor
    units: torch.Tensor
    mask: torch.Tensor


def draw(corpus: Corpus, units: Units, among: NDArray[np.bool_], rng: np.random.Generator) -> Batch:
    """Draw crops of one length from utterances, with probability proportional to their length."""
    length = int(rng.choice(CROP_FRAMES))
    count = BATCH_FRAMES // length
    weights = corpus.frames * among
    samples, labels = [], []
    for number in rng.choice(len(weights), count, p=weights / weights.sum()):
        first = int(rng.integers(corpus.frames[number] - length + 1))
        samples.append(normalise(corpus.utterance(number)[first * HOP :][: (length - 1) * HOP + WINDOW]))
        labels.append(units[corpus.first_frames[number] + first :][:length])
    return Batch(torch.stack(samples), torch.from_numpy(np.stack(labels)), mask_spans((count, length), rng))


def mask_spans(shape: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    """Draw spans, which may overlap, from frames at random; at least one in each row."""
    begins = rng.random(shape) < MASK_STARTS
    begins[np.arange(shape[0]), rng.integers(shape[1] - MASK_FRAMES, size=shape[0])] = True
    masked = begins.copy()
    for shift in range(1, MASK_FRAMES):
        masked[:, shift:] |= begins[:, :-shift]
    return torch.from_numpy(masked)


def new_model() -> HubertModel:
    """Return the model before training; it is the same every time."""
    torch.manual_seed(SEED)
    config = HubertConfig(
        hidden_size=128,
        num_hidden_layers=12,
        num_attention_heads=4,
        intermediate_size=512,
        conv_dim=(32, 32, 64, 64, 64, 64, 64),
        conv_bias=True,
        feat_extract_norm="layer",
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
        hidden_dropout=0.05,
        attention_dropout=0.05,
        activation_dropout=0.0,
        feat_proj_dropout=0.05,
        layerdrop=0.0,
    )
    model = HubertModel(config)
    torch.nn.init.normal_(model.feature_projection.projection.weight, std=PROJECTION_STD)
    return model


@dataclass(frozen=True)
class Prediction:
    """Loss at the masked frames and at the others, and the accuracy of units at the masked ones."""

    masked_loss: torch.Tensor
    unmasked_loss: torch.Tensor
    accuracy: torch.Tensor


class Predictor(torch.nn.Module):
    """The model with a linear head for units."""

    def __init__(self, model: HubertModel, units: int) -> None:
        super().__init__()
        self.model = model
        self.head = torch.nn.Linear(model.config.hidden_size, units)

    def forward(self, batch: Batch) -> Prediction:
        """Predict the units of masked crops."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.head(self.model(batch.samples, mask_time_indices=batch.mask).last_hidden_state).float()
        masked, right = logits[batch.mask], batch.units[batch.mask]
        return Prediction(
            functional.cross_entropy(masked, right),
            functional.cross_entropy(logits[~batch.mask], batch.units[~batch.mask]),
            (masked.argmax(1) == right).float().mean(),
        )

    def front_end_loss(self, batch: Batch) -> torch.Tensor:
        """Return the cross-entropy of all frames' units by the front end and the head alone."""
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.feature_extractor(batch.samples).transpose(1, 2)
            logits = self.head(self.model.feature_projection(features)).float()
        return functional.cross_entropy(logits.flatten(0, 1), batch.units.flatten())


def learning_rate(step: int, stage: Stage) -> float:
    """Return the learning rate: it rises linearly, then falls to 0."""
    rising = (step + 1) / (WARM_UP * stage.steps)
    return stage.learning_rate * min(rising, (stage.steps - step) / ((1 - WARM_UP) * stage.steps))


def descend(predictor: Predictor, optimiser: torch.optim.Optimizer, loss: torch.Tensor, rate: float) -> None:
    """Take one step of the optimiser."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(predictor.parameters(), 1.0)
    optimiser.step()


def new_optimiser(predictor: Predictor) -> torch.optim.Optimizer:
    """Return AdamW; the learning rate is set at every step."""
    return torch.optim.AdamW(predictor.parameters(), betas=(0.9, 0.98), weight_decay=0.01)


def train_front_end(predictor: Predictor, corpus: Corpus, units: Units) -> None:
    """Train the front end with the head alone, as a start."""
    optimiser, among = new_optimiser(predictor), ~corpus.held_out()
    for step in range(FRONT_END_STEPS):
        batch = draw(corpus, units, among, np.random.default_rng([SEED, 4, step]))
        loss = predictor.train().front_end_loss(batch)
        descend(predictor, optimiser, loss, FRONT_END_RATE * (1 - step / FRONT_END_STEPS))
    print("front end", round(loss.item(), 3), flush=True)


@torch.inference_mode()
def evaluate(predictor: Predictor, batches: Sequence[Batch]) -> tuple[float, float]:
    """Return the mean loss and accuracy at masked frames."""
    found = [predictor.eval()(batch) for batch in batches]
    loss, accuracy = np.mean([(one.masked_loss.item(), one.accuracy.item()) for one in found], axis=0)
    return float(loss), float(accuracy)


def train(number: int, predictor: Predictor, corpus: Corpus, units: Units, state: dict[str, Any]) -> None:
    """Train one stage from the state's step on; update and store the state."""
    stage, held_out, begun = STAGES[number], corpus.held_out(), time.perf_counter() - state["seconds"]
    if "optimiser" not in state and number == 0:
        train_front_end(predictor, corpus, units)
    optimiser = new_optimiser(predictor)
    if "optimiser" in state:
        predictor.load_state_dict(state["predictor"])
        optimiser.load_state_dict(state["optimiser"])
    tests = [draw(corpus, units, held_out, np.random.default_rng([SEED, 5, test])) for test in range(HELD_OUT_BATCHES)]
    recent: list[tuple[float, float]] = []
    for step in range(state["step"], stage.steps):
        torch.manual_seed(1_000_000 * number + step)
        batch = draw(corpus, units, ~held_out, np.random.default_rng([SEED, 6 + number, step]))
        found = predictor.train()(batch)
        loss = found.masked_loss + UNMASKED_WEIGHT * found.unmasked_loss
        descend(predictor, optimiser, loss, learning_rate(step, stage))
        recent.append((found.masked_loss.item(), found.accuracy.item()))
        state |= {"step": step + 1, "seconds": time.perf_counter() - begun}
        if (step + 1) % LOG_STEPS == 0 or step + 1 == stage.steps:
            state["log"].append(log_row(stage, state, recent, evaluate(predictor, tests)))
            recent.clear()
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == stage.steps:
            store(state | {"predictor": predictor.state_dict(), "optimiser": optimiser.state_dict()})


def log_row(stage: Stage, state: dict[str, Any], recent: list[tuple[float, float]], held_out: Any) -> dict[str, Any]:
    """Log and print the figures since the last row."""
    loss, accuracy = np.mean(recent, axis=0)
    row = {
        "targets": stage.targets,
        "step": state["step"],
        "seconds": round(state["seconds"]),
        "loss": round(float(loss), 3),
        "accuracy": round(float(accuracy), 4),
        "held_out_loss": round(held_out[0], 3),
        "held_out_accuracy": round(held_out[1], 4),
    }
    print(row, flush=True)
    return row


def store(state: dict[str, Any]) -> None:
    """Write the checkpoint atomically."""
    part = FOLDER / "checkpoint.part"
    torch.save(state, part)
    part.replace(FOLDER / "checkpoint.pt")


def restore() -> dict[str, Any]:
    """Return the last checkpoint, or the initial state."""
    path, settings = FOLDER / "checkpoint.pt", [asdict(stage) for stage in STAGES]
    if not path.exists():
        return {"settings": settings, "stage": 0, "step": 0, "seconds": 0.0, "log": []}
    state: dict[str, Any] = torch.load(path, weights_only=True)
    begun = state["stage"] + 1
    if state["settings"][:begun] != settings[:begun]:
        raise SystemExit(f"{path} comes from a run with other stages; delete {FOLDER} to begin anew")
    return state | {"settings": settings}


def pretrain() -> None:
    """Train both stages, and write the model and its probes."""
    torch.set_num_threads(1)
    corpus, state, model = read_corpus(), restore(), new_model()
    save_model(model, FOLDER / "untrained")
    facts = corpus_facts(corpus)
    print(facts, flush=True)
    for number in range(state["stage"], len(STAGES)):
        if number > state["stage"]:
            state = {key: state[key] for key in ("settings", "seconds", "log")} | {"stage": number, "step": 0}
        stage = STAGES[number]
        units = units_of(stage, corpus, model)
        facts["units"] = unit_facts()
        predictor = Predictor(model, stage.units)
        report(facts, state)
        train(number, predictor, corpus, units, state)
        save_model(model, FOLDER / "model")
        report(facts, state)
    probes = {name: probe(FOLDER / name) for name in ("model", "untrained")}
    report(facts | {"phone_probe_accuracy": probes}, state)


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """Return facts about the training data."""
    held_out = corpus.held_out()
    return {
        "audio_s": round(len(corpus.audio) / RATE_HZ),
        "held_out_s": round(float(np.diff(corpus.starts)[held_out].sum() / RATE_HZ)),
        "sources_s": {source: round(seconds) for source, seconds in corpus.sources.items()},
        "missing": corpus.missing,
    }


def unit_facts() -> dict[str, dict[str, float]]:
    """Return, for each kind of target, the share of the most frequent unit and the entropy of the units in nats."""
    facts = {}
    for number, stage in enumerate(STAGES):
        if (path := FOLDER / f"units-{number}.npy").exists():
            shares = np.bincount(np.load(path), minlength=1)
            shares = shares[shares > 0] / shares.sum()
            entropy = -(shares * np.log(shares)).sum()
            facts[stage.targets] = {"most_frequent": round(float(shares.max()), 4), "entropy": round(float(entropy), 3)}
    return facts


def report(facts: dict[str, Any], state: dict[str, Any]) -> None:
    """Write the figures so far."""
    settings = {
        "stages": [asdict(stage) for stage in STAGES],
        "second_stage": "continues the weights of the first, with a new head",
        "batch_s": BATCH_FRAMES * HOP / RATE_HZ,
        "crop_frames": CROP_FRAMES,
        "mask": {"starts": MASK_STARTS, "frames": MASK_FRAMES, "unmasked_weight": UNMASKED_WEIGHT},
        "front_end": {"steps": FRONT_END_STEPS, "learning_rate": FRONT_END_RATE},
        "optimiser": {"name": "AdamW", "betas": (0.9, 0.98), "weight_decay": 0.01, "warm_up": WARM_UP, "clip": 1.0},
        "precision": "bfloat16 autocast, float32 weights",
        "model": json.loads((FOLDER / "untrained" / "config.json").read_text(encoding="utf-8")),
    }
    progress = {"training_s": round(state["seconds"]), "log": state["log"]}
    save(NAME, {"made": provenance(), "settings": settings} | facts | progress)


def save_model(model: HubertModel, folder: Path) -> None:
    """Write the model as a directory of transformers, atomically."""
    part = folder.with_suffix(".part")
    model.save_pretrained(part)
    Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=RATE_HZ, padding_value=0.0, do_normalize=True, return_attention_mask=True
    ).save_pretrained(part)
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)


def probe(folder: Path) -> list[float]:
    """Return the accuracy of a linear phone classifier on each layer, trained on two voices and tested on a third."""
    encoder = load_encoder(str(folder))
    numbers = [layer.index for layer in encoder.layers]
    clips = [clip for clip in make_sentences() if clip["language"] == "en-us"]
    unheard = f"en-us+{VOICES['en-us'][-1]}"
    trained = labelled_frames(encoder, [clip for clip in clips if clip["voice"] != unheard], numbers)
    tested = labelled_frames(encoder, [clip for clip in clips if clip["voice"] == unheard], numbers)
    accuracies = []
    for layer in numbers:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        classifier.fit(trained[0][layer], trained[1])
        accuracies.append(round(float(classifier.score(tested[0][layer], tested[1])), 4))
    print(folder.name, accuracies, flush=True)
    return accuracies


def labelled_frames(encoder: Any, clips: Sequence[dict[str, Any]], layers: Sequence[int]) -> tuple[Any, list[str]]:
    """Return random frames within phones by layer, and the phones' names."""
    encoded = [layers_of(encoder, clip, layers) for clip in clips]
    names = [name for clip, frames in zip(clips, encoded, strict=True) for name in phones_at(clip, len(frames[0]))]
    spoken = np.flatnonzero([bool(name) for name in names])
    chosen = np.random.default_rng(SEED).permutation(spoken)[:PROBED_FRAMES]
    features = {layer: torch.cat([frames[layer] for frames in encoded]).numpy()[chosen] for layer in layers}
    return features, [names[frame] for frame in chosen]


def phones_at(clip: dict[str, Any], n_frames: int) -> list[str]:
    """Return the phone at the centre of each frame; empty in a pause."""
    names = [""] * n_frames
    centres = (np.arange(n_frames) * HOP + WINDOW / 2) / RATE_HZ
    for phone in clip["phones"]:
        for frame in np.flatnonzero((centres >= phone["start"]) & (centres < phone["end"])):
            names[frame] = phone["name"]
    return names


COMMANDS: dict[str, Callable[[], None]] = {"pretrain": pretrain}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    COMMANDS[parser.parse_args(words).command]()


if __name__ == "__main__":
    main()
