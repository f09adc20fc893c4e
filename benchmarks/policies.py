"""Compare treatments of frame labels: which one ranks (model, layer) pairs as a trained recogniser does?

Every treatment uses transcripts alone. The speech is from eSpeak NG (`sentences.py`) and split by voice: the last voice
of a language is the test. The truth is the phone error rate of a linear CTC head trained on each frozen (model, layer),
by greedy decoding of the test voice. Two seeds show how well the truth agrees with itself. Scores see the train voices
and labels from the flat start (Whisper base, layer 2) or, for comparison, from the exact times. The benchmark compares
the treatment of silence, the kind of sample, and kinds of scores. It also compares hard with soft labels: posteriors of
the flat start's model, from forward and backward passes along the transcript. Rules that read no data are included.

These sentences have almost no silence (2 to 4 %). With --pauses, noise as quiet as a clip's quietest frames is added at
both ends and between some words, so that silence is a share of all frames, and everything is repeated.

openWakeWord is left out: at 12.5 Hz most sentences have more phones than frames, and CTC is impossible.

Run: python benchmarks/policies.py [--languages de ru …] [--pauses 0.4]. Results per model and language are stored; a
second run resumes.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from alignment import MODEL, all_aligned, layers_of, spoken
from common import MADE, MODELS, provenance, save
from sentences import make_sentences, phone_numbers
from voxrank import scores
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, Layer
from voxrank.encoders.registry import load_encoder
from voxrank.sketches.moments import Moments
from voxrank.sketches.multiplication import self_products
from voxrank.targets.flatstart import SILENCE, Spoken, flat_start
from voxrank.targets.timeline import Timeline

NAME = "policies"
FOLDER = MADE / NAME
LANGUAGES = ("en-us", "de", "ru")
LEFT_OUT = ("pack:openwakeword",)
REFERENCE_LAYER = 2
SEEDS = (0, 1)
STEPS = 320
"""Number of training steps: 40 epochs of one voice, 21 of two."""
BATCH = 8
LEARNING_RATE = 0.003
"""Initial learning rate; it falls linearly to 0."""
BLANK_BIAS = 4.0
"""Initial bias of the head's blank; its weights start at 0. Heads that start at random end in poor optima where symbols
stand for silence. With 42 % silence, error rates of one layer were 0.39 and 0.86 by the seed, from this start 0.20 and
0.21."""
SHARES = {"drop": 0.0, "10 %": 0.1, "30 %": 0.3, "keep": 1.0}
"""Maximum share of silence among all samples."""
SCALES = {"soft": 1.0, "soft 0.05": 0.05}
"""Factors of the frames' log probabilities in the posteriors: frames are not independent."""
KNN_SAMPLES = {"flat": (1024, 4096), "exact": (1024,)}
OF_MOMENTS: dict[str, Any] = {"logme": scores.LogME, "ridge": scores.RidgeR2, "hscore": scores.HScore}
REFERENCE = "flat, drop, frame, logme"
"""The policy with which the others are compared."""
RULES = ("depth", "dim", "parameters")
BETWEEN_WORDS = 0.3
"""Share of the word boundaries that get a pause."""
RESAMPLES = 1000

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Clips = list[dict[str, Any]]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--pauses", type=float, default=0.0, help="share of all frames that silence shall be")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    clips = make_sentences()
    for language in arguments.languages:
        own = [clip for clip in clips if clip["language"] == language]
        if arguments.pauses:
            own = [with_pauses(clip, arguments.pauses) for clip in own]
        study(language, own, FOLDER / f"pauses-{arguments.pauses:g}" / language)
    for line in store():
        print(line["language"], "pauses", line["pauses"], "ceiling", line["truth_with_itself"])


def with_pauses(clip: dict[str, Any], share: float) -> dict[str, Any]:
    """Write the clip with quiet noise at both ends and between some words, once; its phones move with it."""
    samples, rate = soundfile.read(clip["path"], dtype="float32")
    rng = np.random.default_rng(zlib.crc32(Path(clip["path"]).stem.encode()))
    power = np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1)
    level = float(np.sqrt(np.percentile(power, 5)))
    words = [phone["start"] for phone in clip["phones"] if phone["name"] and phone["new_word"]][1:]
    chosen = [start for start in words if rng.random() < BETWEEN_WORDS]
    places = np.array([0.0, *chosen, len(samples) / rate])
    lengths = rng.dirichlet(np.full(len(places), 2.0)) * len(samples) / rate * share / (1 - share)
    pieces = []
    bounds = (places * rate).astype(int)
    for i, length in enumerate(lengths):
        pieces.append((level * rng.standard_normal(int(length * rate))).astype(np.float32))
        pieces.append(samples[bounds[i] : bounds[i + 1]] if i + 1 < len(bounds) else samples[:0])
    path = FOLDER / f"pauses-{share:g}" / "clips" / Path(clip["path"]).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.concatenate(pieces), rate)
    phones = []
    for phone in clip["phones"]:
        moved = float(lengths[places <= phone["start"] + 1e-9].sum())
        phones.append(phone | {"start": phone["start"] + moved, "end": phone["end"] + moved})
    return clip | {"path": str(path), "phones": phones}


@dataclass
class Labels:
    """Labels of the frames of the train voices, in order of the clips.

    Attributes:
        timelines: the timelines of the clips, by "flat" and "exact".
        posteriors: for each scale, posteriors (T, C) of each clip.
        centres: (T,) centres of the reference's frames, in seconds.
    """

    timelines: dict[str, list[Timeline]]
    posteriors: dict[str, list[Array]]
    centres: list[Array]


def study(language: str, clips: Clips, folder: Path) -> None:
    """Return rows for every layer of every model in one language, from one file per model."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = phone_numbers(clips)
    test = np.array([clip["voice"] == clips[-1]["voice"] for clip in clips])
    labels = None
    for spec in MODELS:
        path = folder / f"{spec.removeprefix('pack:')}.json"
        if spec in LEFT_OUT or path.exists():
            continue
        if labels is None:
            labels = labels_of([clip for clip, held in zip(clips, test, strict=True) if not held], numbers)
        started = time.perf_counter()
        encoder = load_encoder(spec, EncoderOptions(whisper_window="fit"))
        rows = list(rows_of(encoder, clips, test, numbers, labels))
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        taken, truth_s = time.perf_counter() - started, sum(row["truth_s"] for row in rows)
        rates = [round(float(np.mean(row["error_rate"])), 3) for row in rows]
        print(f"{folder.parent.name} {language} {spec}: {taken:.0f} s, truth {truth_s:.0f} s, {rates}", flush=True)


def labels_of(clips: Clips, numbers: dict[str, int]) -> Labels:
    """Return labels from the flat start, and from the exact times."""
    encoder = load_encoder(MODEL, EncoderOptions(whisper_window="fit"))
    layer = encoder.layers[REFERENCE_LAYER]
    utterances = [spoken(clip, layers_of(encoder, clip, {layer.index})[layer.index].numpy(), numbers) for clip in clips]
    found = flat_start(utterances, len(numbers) + 1, threads=1)
    centres = [encoder.offsets()[layer.index] + np.arange(len(one.features)) / layer.frame_rate for one in utterances]
    flat, exact = [], []
    for clip, one, alignment, when in zip(clips, utterances, all_aligned(found), centres, strict=True):
        flat.append(Timeline.of_alignment(alignment, one.labels, when, soundfile.info(clip["path"]).duration))
        phones = [phone for phone in clip["phones"] if phone["name"] and phone["end"] > phone["start"]]
        starts, ends = ([phone[key] for phone in phones] for key in ("start", "end"))
        exact.append(Timeline.of(starts, ends, [numbers[phone["name"]] for phone in phones]))
    posteriors = {
        name: [posterior(scale * found.model.scores(one.features), one) for one in utterances]
        for name, scale in SCALES.items()
    }
    return Labels({"flat": flat, "exact": exact}, posteriors, centres)


def posterior(log_probs: Array, one: Spoken) -> Array:
    """Return each symbol's probability (T, C) at each frame, over all paths that `targets.ctc.align` chooses from."""
    labels = one.labels
    gates = np.where(one.pauses, 0.0, -np.inf)
    own, rest = log_probs[:, labels], log_probs[:, SILENCE, None] + gates
    ahead = forward(own, rest)
    # the same from the end: the transcript, its pauses and the frames are reversed
    behind = [part[::-1, ::-1] for part in forward(own[::-1, ::-1], rest[::-1, ::-1])]
    of_labels, of_rests = ahead[0] + behind[0] - own, ahead[1] + behind[1] - np.where(np.isfinite(rest), rest, 0.0)
    total = np.logaddexp.reduce(np.concatenate([of_labels, of_rests], axis=1), axis=1, keepdims=True)
    found = np.zeros_like(log_probs)
    found[:, SILENCE] = np.exp(of_rests - total).sum(axis=1)
    np.add.at(found.T, labels, np.exp(of_labels - total).T)
    return found


def forward(own: Array, rest: Array) -> tuple[Array, Array]:
    """Return the log probability of all paths to each label (T, L), and to each rest before or after one (T, L + 1)."""
    nothing = np.full(1, -np.inf)
    labels, rests = np.empty_like(own), np.empty_like(rest)
    label, pause = np.full(own.shape[1], -np.inf), np.full(rest.shape[1], -np.inf)
    pause[0] = 0.0
    for t in range(len(own)):
        before = np.concatenate([nothing, label])
        label = own[t] + np.logaddexp(np.logaddexp(label, pause[:-1]), before[:-1])
        pause = rest[t] + np.logaddexp(pause, before)
        labels[t], rests[t] = label, pause
    return labels, rests


def rows_of(
    encoder: Encoder, clips: Clips, test: NDArray[np.bool_], numbers: dict[str, int], labels: Labels
) -> Iterator[dict[str, Any]]:
    """Return the truth and every score of each layer."""
    gathered: dict[int, list[NDArray[np.float32]]] = {layer.index: [] for layer in encoder.layers}
    for clip in clips:
        for index, part in layers_of(encoder, clip, set(gathered)).items():
            gathered[index].append(part.numpy())
    said = [np.array([numbers[phone["name"]] for phone in clip["phones"] if phone["name"]]) for clip in clips]
    offsets = encoder.offsets()
    for layer in encoder.layers:
        frames = gathered.pop(layer.index)
        started = time.perf_counter()
        rates = [error_rate(frames, said, test, len(numbers) + 1, seed) for seed in SEEDS]
        truth_s = time.perf_counter() - started
        train = [part for part, held in zip(frames, test, strict=True) if not held]
        values, about = scored(train, layer, offsets[layer.index], labels)
        yield {
            "model": encoder.spec,
            "layer": layer.index,
            "error_rate": rates,
            "truth_s": round(truth_s, 1),
            "score_s": round(time.perf_counter() - started - truth_s, 1),
            "scores": values,
            "depth": layer.index / max(len(encoder.layers) - 1, 1),
            "dim": layer.dim,
            "parameters": encoder.parameters,
            "frame_rate": layer.frame_rate,
        } | about


def error_rate(
    frames: Sequence[NDArray[np.float32]], said: Sequence[Ids], test: NDArray[np.bool_], n_symbols: int, seed: int
) -> float:
    """Train a linear layer with the CTC loss on the train voices; return phone errors per phone of the test voice."""
    torch.manual_seed(seed)
    everything = np.concatenate([part for part, held in zip(frames, test, strict=True) if not held])
    mean, spread = everything.mean(axis=0), everything.std(axis=0)
    inputs = [torch.from_numpy((part - mean) / np.maximum(spread, 1e-6 * spread.max())) for part in frames]
    train = torch.from_numpy(np.flatnonzero(~test))
    head = torch.nn.Linear(inputs[0].shape[1], n_symbols)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    head.bias.data[SILENCE] = BLANK_BIAS
    optimiser = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    epochs = round(STEPS / -(-len(train) // BATCH))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, epochs * -(-len(train) // BATCH))
    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(BATCH):
            loss = torch.nn.functional.ctc_loss(
                head(torch.nn.utils.rnn.pad_sequence([inputs[i] for i in batch])).log_softmax(dim=-1),
                torch.cat([torch.from_numpy(said[i]) for i in batch]),
                torch.tensor([len(inputs[i]) for i in batch]),
                torch.tensor([len(said[i]) for i in batch]),
                zero_infinity=True,
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    errors, tested = 0, np.flatnonzero(test).tolist()
    with torch.inference_mode():
        for i in tested:
            best = torch.unique_consecutive(head(inputs[i]).argmax(dim=1)).numpy()
            errors += distance(best[best != SILENCE].tolist(), said[i].tolist())
    return errors / sum(len(said[i]) for i in tested)


def distance(found: list[int], wanted: list[int]) -> int:
    """Return the minimum number of insertions, deletions and substitutions."""
    row = list(range(len(wanted) + 1))
    for i, symbol in enumerate(found, start=1):
        corner, row[0] = row[0], i
        for j, other in enumerate(wanted, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (symbol != other))
    return row[-1]


@dataclass
class Runs:
    """Frames of the train voices, in runs with one segment's label.

    Attributes:
        frames: (n, D) frames.
        lengths: (R,) number of frames in each run.
        symbols: (R,) labels.
        owners: (R,) clips.
        soft: for each scale, posteriors (n, C).
    """

    frames: NDArray[np.float32]
    lengths: Ids
    symbols: Ids
    owners: Ids
    soft: dict[str, Array]

    @classmethod
    def of(cls, parts: Sequence[NDArray[np.float32]], times: Sequence[Array], kind: str, labels: Labels) -> Runs:
        """Return the runs of one kind of labels."""
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        lines = labels.timelines[kind]
        places = np.concatenate([line.indices(when) for line, when in zip(lines, times, strict=True)])
        symbols = np.concatenate([line.at(when, rest=SILENCE) for line, when in zip(lines, times, strict=True)])
        new = np.ones(len(places), dtype=np.bool_)
        new[1:] = (np.diff(places) != 0) | (np.diff(owners) != 0)
        first = np.flatnonzero(new)
        soft = {}
        if kind == "flat":
            nearest = [
                np.rint(np.interp(w, c, np.arange(len(c)))).astype(int)
                for w, c in zip(times, labels.centres, strict=True)
            ]
            soft = {
                name: np.concatenate([part[where] for part, where in zip(parts_, nearest, strict=True)])
                for name, parts_ in labels.posteriors.items()
            }
        lengths = np.diff(np.append(first, len(places)))
        return cls(np.concatenate(parts), lengths, symbols[first], owners[first], soft)

    def means(self) -> Runs:
        """Return runs with one frame each, the mean of its frames."""
        first = np.cumsum(self.lengths) - self.lengths

        def mean(values: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(np.add.reduceat(values, first, dtype=np.float64) / self.lengths[:, None])

        ones = np.ones_like(self.lengths)
        soft = {name: mean(values) for name, values in self.soft.items()}
        return Runs(mean(self.frames).astype(np.float32), ones, self.symbols, self.owners, soft)

    def with_silence(self, share: float) -> Runs:
        """Return runs in which silence is at most this share of the frames; evenly spaced silent frames are kept."""
        silent = np.flatnonzero(np.repeat(self.symbols == SILENCE, self.lengths))
        heard = len(self.frames) - len(silent)
        wanted = len(silent) if share >= 1 else min(len(silent), round(heard * share / (1 - share)))
        kept = np.ones(len(self.frames), dtype=np.bool_)
        kept[silent] = False
        kept[silent[np.arange(wanted) * len(silent) // max(wanted, 1)]] = True
        run = np.repeat(np.arange(len(self.lengths)), self.lengths)[kept]
        lengths = np.bincount(run, minlength=len(self.lengths))
        there = lengths > 0
        soft = {name: values[kept] for name, values in self.soft.items()}
        return Runs(self.frames[kept], lengths[there], self.symbols[there], self.owners[there], soft)

    def moments(self, n_symbols: int) -> Moments:
        """Return the moments, with the runs for the inflation."""
        first = np.cumsum(self.lengths) - self.lengths
        made = Moments.zeros(self.frames.shape[1], n_symbols)
        sums = np.add.reduceat(self.frames, first, dtype=np.float64)
        made.add(self_products(torch.from_numpy(self.frames)), sums, self.lengths, self.symbols)
        return made

    def soft_moments(self, name: str, *, silence: bool) -> Moments:
        """Return the moments with the posteriors as values."""
        values = self.soft[name] if silence else np.delete(self.soft[name], SILENCE, axis=1)
        values = values[:, values.any(axis=0)]
        made = Moments.zeros(self.frames.shape[1], values.shape[1], values=True)
        made.update(torch.from_numpy(self.frames), values)
        return made


def scored(
    parts: Sequence[NDArray[np.float32]], layer: Layer, offset: float, labels: Labels
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return every policy's score of a layer, and facts about its samples."""
    times = [offset + np.arange(len(part)) / layer.frame_rate for part in parts]
    n_symbols = labels.posteriors["soft"][0].shape[1]
    values: dict[str, float] = {}
    about: dict[str, Any] = {}
    for kind in labels.timelines:
        frames = Runs.of(parts, times, kind, labels)
        silent = frames.lengths[frames.symbols == SILENCE].sum() / frames.lengths.sum()
        about[f"silence_{kind}"] = round(float(silent), 4)
        for sample, runs in (("frame", frames), ("segment", frames.means())):
            made: dict[int, dict[str, float]] = {}
            for silence, share in SHARES.items():
                chosen = runs.with_silence(share)
                n = len(chosen.frames)
                made[n] = made.get(n) or of_runs(chosen, sample, n_symbols)
                values |= {f"{kind}, {silence}, {name}": value for name, value in made[n].items()}
                if silence == "drop":
                    values |= {
                        f"{kind}, drop, {sample}, {name}": value
                        for name, value in neighbours(chosen, KNN_SAMPLES[kind]).items()
                    }
                if silence in {"drop", "keep"}:
                    values |= of_posteriors(chosen, silence, sample)
    return values, about


def of_runs(runs: Runs, sample: str, n_symbols: int) -> dict[str, float]:
    """Return the scores with hard labels."""
    moments = runs.moments(n_symbols)
    spectrum = scores.Spectrum.of(moments)
    values = read(sample, spectrum)
    if sample == "frame":
        values |= read("effective", spectrum.thinned(1 / moments.inflation()))
    return values


def of_posteriors(runs: Runs, silence: str, sample: str) -> dict[str, float]:
    """Return the scores with soft labels."""
    values: dict[str, float] = {}
    for name in runs.soft:
        moments = runs.soft_moments(name, silence=silence == "keep")
        values |= read(f"{name}, {silence}, {sample}", scores.Spectrum.of(moments))
    return values


def read(name: str, spectrum: scores.Spectrum) -> dict[str, float]:
    return {f"{name}, {score}": float(kind.read(spectrum).value) for score, kind in OF_MOMENTS.items()}


def neighbours(runs: Runs, sizes: Sequence[int]) -> dict[str, float]:
    """Return the kNN scores; no clip predicts itself."""
    symbols, owners = np.repeat(runs.symbols, runs.lengths), np.repeat(runs.owners, runs.lengths)
    return {
        f"knn {size}": float(scores.KNN(max_samples=size).fit(runs.frames, symbols, owners).score_) for size in sizes
    }


def store() -> list[dict[str, Any]]:
    """Sum up all results and write them; return the summaries of the languages."""
    lines, rows_by_line = [], []
    for folder in sorted(FOLDER.glob("pauses-*/*/")):
        rows = [row for spec in MODELS for row in kept(folder / f"{spec.removeprefix('pack:')}.json")]
        if {row["model"] for row in rows} == set(MODELS) - set(LEFT_OUT):
            lines.append(line_of(folder, rows))
            rows_by_line.append(rows)
    tables = [
        {
            "pauses": pauses,
            "table": table([x for x in zip(lines, rows_by_line, strict=True) if x[0]["pauses"] == pauses]),
        }
        for pauses in sorted({line["pauses"] for line in lines})
    ]
    settings = {
        "reference": f"{MODEL}, layer {REFERENCE_LAYER}",
        "left_out": LEFT_OUT,
        "seeds": len(SEEDS),
        "steps": STEPS,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "blank_bias": BLANK_BIAS,
        "compared_with": REFERENCE,
    }
    save(
        NAME,
        {
            "made": provenance(),
            "settings": settings,
            "tables": tables,
            "languages": [{key: value for key, value in line.items() if key != "spearman"} for line in lines],
        },
    )
    return lines


def kept(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def columns(rows: list[dict[str, Any]]) -> dict[str, Array]:
    """Return every policy's values, the mean ranks of LogME and kNN, and the rules."""
    found = {name: np.array([row["scores"][name] for row in rows]) for name in rows[0]["scores"]}
    for name in [name for name in found if "knn" in name]:
        policy, size = name.split(", knn ")
        found[f"{policy}, combined {size}"] = rankdata(found[f"{policy}, logme"]) + rankdata(found[name])
    return found | {rule: np.array([row[rule] for row in rows], dtype=np.float64) for rule in RULES}


def truth_of(rows: list[dict[str, Any]]) -> Array:
    """Return the truth of each row; higher is better."""
    truth: Array = -np.array([row["error_rate"] for row in rows]).mean(axis=1)
    return truth


def line_of(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of one language: how each policy agrees with the truth, and the truth with itself."""
    rates, truth = np.array([row["error_rate"] for row in rows]), truth_of(rows)
    found = {name: spearmanr(values, truth) for name, values in columns(rows).items()}
    best = rows[int(truth.argmax())]
    return {
        "language": folder.name,
        "pauses": float(folder.parent.name.removeprefix("pauses-")),
        "pairs": len(rows),
        "truth_with_itself": round(float(spearmanr(rates[:, 0], rates[:, 1]).statistic), 4),
        "error_rates": [round(float(rates.mean(axis=1).min()), 4), round(float(rates.mean(axis=1).max()), 4)],
        "best": f"{best['model']}, layer {best['layer']}",
        "silence": {key: rows[0][key] for key in rows[0] if key.startswith("silence_")},
        "truth_s": round(sum(row["truth_s"] for row in rows)),
        "score_s": round(sum(row["score_s"] for row in rows)),
        "spearman": {name: round(float(one.statistic), 4) for name, one in found.items()},
        "p": {name: float(f"{one.pvalue:.2g}") for name, one in found.items()},
    }


def table(made: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Return every policy over the languages, best first, with its lead over the reference.

        The lead's interval is from resampled (model, layer) pairs, the same in every language. The result counts the
    languages in which a policy is better and worse than the reference. `regret` is the error rate of the pair ranked
        first, less the lowest. `within` is Spearman among the layers of one model, over models of three layers or more.
    """
    rng = np.random.default_rng(0)
    n = len(made[0][1])
    draws = rng.integers(0, n, (RESAMPLES, n))
    values = [columns(rows) for _, rows in made]
    truths = [truth_of(rows) for _, rows in made]
    models = [np.array([row["model"] for row in rows]) for _, rows in made]
    sampled = {
        name: np.mean([correlations(v[name][draws], t[draws]) for v, t in zip(values, truths, strict=True)], axis=0)
        for name in values[0]
    }
    found = []
    for name in values[0]:
        by_language = {line["language"]: line["spearman"][name] for line, _ in made}
        leads = [line["spearman"][name] - line["spearman"][REFERENCE] for line, _ in made]
        interval = np.nanpercentile(sampled[name] - sampled[REFERENCE], [2.5, 97.5])
        found.append(
            {
                "policy": name,
                "mean": round(float(np.mean(list(by_language.values()))), 4),
                "lead": round(float(np.mean(leads)), 4),
                "interval": [round(float(end), 4) for end in interval],
                "better_worse": [sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)],
                "regret": mean_of(float(t.max() - t[v[name].argmax()]) for v, t in zip(values, truths, strict=True)),
                "within": mean_of(within(v[name], t, m) for v, t, m in zip(values, truths, models, strict=True)),
                "by_language": by_language,
            }
        )
    return sorted(found, key=lambda row: -row["mean"])


def mean_of(values: Iterator[float]) -> float:
    return round(float(np.mean(list(values))), 4)


def within(values: Array, truth: Array, models: NDArray[Any]) -> float:
    """Return the mean over models of Spearman among their layers; a rule that gives all layers one value counts 0."""
    found = []
    for model in np.unique(models):
        own = models == model
        if own.sum() > 2:
            said = len(np.unique(values[own])) > 1
            found.append(float(spearmanr(values[own], truth[own]).statistic) if said else 0.0)
    return float(np.mean(found))


def correlations(a: Array, b: Array) -> Array:
    """Return Spearman of each row (m, n) of one array with that of the other."""
    left, right = (rankdata(x, axis=1) for x in (a, b))
    left, right = left - left.mean(axis=1, keepdims=True), right - right.mean(axis=1, keepdims=True)
    return np.asarray((left * right).sum(axis=1) / np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1)))


if __name__ == "__main__":
    main()
