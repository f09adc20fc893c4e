"""Simulate a ranking of 10,000 hours of speech with 30 models, with nothing replaced but the encoder and the audio.

Rows. For several numbers of rows, up to 5 million utterances of 7.2 s, one process reads a manifest, checks the audio,
makes targets, shards and the rounds of early stopping, hashes the recordings, makes the keys of the cache, and finds
all utterances in an index of joined entries. The processor seconds of each step and the peak of memory are those of the
real code at that size.

Run. The whole of `voxrank.rank`, with the cache, for a few thousand utterances: two sizes and two numbers of models
give the seconds for a shard and for a model. One run stops early. The encoder counts the seconds of a GPU that a real
one would take, and does not wait for them.

The audio of all recordings is one file of an hour at 1 kHz, which has a hard link for every recording: headers are
read, samples decoded and bytes hashed as for any other data. Everything is written to a temporary folder.

Run: python benchmarks/simulation.py [rows] [run]
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile

import simulated
from common import in_own_process, load, provenance, save
from voxrank import rank
from voxrank._support.memory import peak_rss_mb
from voxrank.alignment.preparation import Prepared, prepare
from voxrank.cache.entries import Stored, StoredLayer
from voxrank.cache.files import write_checked
from voxrank.cache.keys import digest_of
from voxrank.cache.store import Cache, ModelCache
from voxrank.config import CacheOptions, ExtractionOptions, SequenceOptions, StoppingOptions
from voxrank.data.listening import check_audio
from voxrank.data.read import read_dataset
from voxrank.encoders.base import Layer
from voxrank.ranking.early_stopping import plan_rounds
from voxrank.report.page import write_page
from voxrank.testing.plugins import announce

UTTERANCE_S, PER_RECORDING = 7.2, 500
LABELS, SPEAKERS = len(simulated.TONES_HZ), 5000
SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
ENTRY_ITEMS = 1310
"""Utterances of a joined entry of a model of 25 layers of 1,024: 256 MB of sums."""
RUNS = ((600, 2), (4800, 2), (600, 30))
"""Numbers of utterances and of models of the whole runs."""
RACE = (2400, 30)
PLAN = {"hours": 10_000, "models": 30, "gpus": 64, "utterances": 5_000_000}


def main(parts: Sequence[str]) -> None:
    if parts[:1] == ["--rows"]:
        print(json.dumps(rows_of(Path(parts[1]), int(parts[2]))))
        return
    if parts[:1] == ["--run"]:
        print(json.dumps(run_of(Path(parts[1]), int(parts[2]), int(parts[3]), race=parts[4:] == ["race"])))
        return
    for part, measure in (("rows", rows), ("run", runs)):
        if part in (parts or ["rows", "run"]):
            made = provenance() | {"load": round(os.getloadavg()[0], 1)}
            save("simulation", load("simulation") | {"plan": PLAN, part: {"made": made, **measure()}})


def rows() -> dict[str, Any]:
    sizes = []
    for count in SIZES:
        with tempfile.TemporaryDirectory(prefix="voxrank-simulation-") as folder:
            sizes.append(json.loads(in_own_process(__file__, "--rows", folder, count).splitlines()[-1]))
            print(sizes[-1], flush=True)
    return {"sizes": sizes}


def runs() -> dict[str, Any]:
    found = []
    for utterances, models, *race in (*RUNS, (*RACE, "race")):
        with tempfile.TemporaryDirectory(prefix="voxrank-simulation-") as folder:
            line = in_own_process(__file__, "--run", folder, utterances, models, *race).splitlines()[-1]
        found.append(json.loads(line))
        print(found[-1], flush=True)
    return {"rows": found[:-1], "race": found[-1]}


def recording() -> np.ndarray:
    """Return an hour of simulated speech: in each utterance the tone of its class, in noise."""
    rng = np.random.default_rng(0)
    length = round(UTTERANCE_S * simulated.RATE)
    times = np.arange(length) / simulated.RATE
    tones = [np.sin(2 * np.pi * hz * times) for hz in simulated.TONES_HZ]
    speech = np.concatenate([tones[n % LABELS] for n in range(PER_RECORDING)])
    return 0.05 * speech + 0.1 * rng.normal(size=len(speech))


def write_data(folder: Path, count: int) -> Path:
    """Write a manifest of so many utterances, and a link for each recording; return the path of the manifest."""
    hour = folder / "hour.wav"
    soundfile.write(hour, recording(), simulated.RATE, subtype="PCM_U8")
    names = [f"{number // 1000:03d}/{number:06d}.wav" for number in range(math.ceil(count / PER_RECORDING))]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        os.link(hour, folder / name)
    with (folder / "manifest.csv").open("w", encoding="utf-8") as file:
        file.write("path,start,duration,label,speaker\n")
        for number in range(count):
            at, place = divmod(number, PER_RECORDING)
            start = round(place * UTTERANCE_S, 3)
            file.write(f"{names[at]},{start},{UTTERANCE_S},word{place % LABELS:02d},s{at % SPEAKERS}\n")
    return folder / "manifest.csv"


@dataclass
class Steps:
    """Steps of a process, with their costs.

    Attributes:
        done: name of each step → its processor seconds and the peak of memory after it, in MB.
    """

    done: dict[str, dict[str, float]] = field(default_factory=dict)
    _before: float = field(default_factory=time.process_time)

    def end(self, name: str) -> None:
        """End a step, and begin the next one."""
        now = time.process_time()
        self.done[name] = {"processor_s": round(now - self._before, 3), "peak_mb": round(peak_rss_mb())}
        self._before = time.process_time()


def rows_of(folder: Path, count: int) -> dict[str, Any]:
    """Measure what the driver does for each row, in this process."""
    manifest = write_data(folder, count)
    steps, options = Steps(), ExtractionOptions()
    steps.end("start")
    dataset = read_dataset(manifest)
    steps.end("read the manifest")
    audio = check_audio(dataset, options.threads)
    steps.end("read headers, decode a sample")
    dataset.fingerprint()
    steps.end("fingerprint")
    prepared = prepare(dataset, options, SequenceOptions(), audio)
    assert isinstance(prepared, Prepared)
    del audio
    steps.end("targets and shards")
    plan_rounds(prepared.shards, shard_s=options.shard_s)
    steps.end("rounds of early stopping")
    cache = Cache(CacheOptions(str(folder / "cache")))
    for item in {item.utterance.path: item for item in prepared.items}.values():
        cache.item_key(item)
    steps.end("hash recordings")
    kept = cache.of_key("key", "model", [Layer(0, "", 1, 1.0)], prepared.targets, options)
    assert kept is not None
    shards = sum(1 for _ in kept.digested(prepared.shards))
    assert shards == len(prepared.shards)
    steps.end("keys of the cache")
    entries = write_index(kept, list(cache.item_keys(prepared.targets).values()))
    steps.end("write an index")
    held, uncached = kept.cover(prepared.shards)
    assert not uncached
    steps.end("find all in the index")
    return {
        "utterances": count,
        "recordings": math.ceil(count / PER_RECORDING),
        "manifest_bytes": manifest.stat().st_size,
        "shards": len(prepared.shards),
        "entries": entries,
        "parts_found": len(held),
        "shard_bytes": len(pickle.dumps(prepared.shards[0])),
        "target_bytes": len(pickle.dumps(prepared.targets)),
        "steps": steps.done,
    }


def write_index(kept: ModelCache, keys: Sequence[str | None]) -> int:
    """Write entries of tiny sums for these utterances, as many to an entry as real ones hold; return their number."""
    begins = range(0, len(keys), ENTRY_ITEMS)
    for begin in begins:
        items = [key for key in keys[begin : begin + ENTRY_ITEMS] if key is not None]
        layer = StoredLayer(np.zeros((len(items), 1)), np.ones(len(items), dtype=np.int64))
        write_checked(kept.folder, digest_of(items), Stored(items, {"0": layer}), Stored, {})
    return len(begins)


def run_of(folder: Path, utterances: int, models: int, *, race: bool) -> dict[str, Any]:
    """Measure a whole run, in this process."""
    manifest = write_data(folder, utterances)
    announce(folder / "plug-in", "voxrank-simulated", "1.0", {"voxrank.encoders": {"simulated": "simulated:load"}})
    sys.path.insert(0, str(folder / "plug-in"))
    started = time.process_time()
    ranking = rank(
        manifest,
        [f"simulated:{number}" for number in range(models)],
        cache=CacheOptions(str(folder / "cache")),
        stopping=StoppingOptions(confidence=0.95) if race else None,
    )
    processor_s = time.process_time() - started
    ranking.save(folder / "out")
    write_page(folder / "out" / "report.html", ranking)
    holdings = Cache(CacheOptions(str(folder / "cache"))).holdings()
    return {
        "utterances": utterances,
        "models": models,
        "shards": math.ceil(ranking.data.seconds / ExtractionOptions().shard_s),
        "best": ranking.best.model,
        "processor_s": round(processor_s, 2),
        "score_s": round(ranking.cost.score_s, 2),
        "encode_s": round(ranking.cost.encode_s, 2),
        "peak_mb": round(peak_rss_mb()),
        "virtual_gpu_s": round(sum(simulated.virtual_s.values()), 2),
        "share": round(sum(model.share for model in ranking.models) / models, 4),
        "cache_files": sum(holding.entries for holding in holdings),
        "cache_bytes": sum(holding.size for holding in holdings),
        "ranking_bytes": (folder / "out" / "ranking.json").stat().st_size,
        "report_bytes": (folder / "out" / "report.html").stat().st_size,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
