"""Data of other tools, through the commands and through a cluster."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import soundfile
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from webdataset import TarWriter

import voxrank
from voxrank.config import EngineOptions
from voxrank.data.cuts import CutAudio
from voxrank.data.hub import ArrowRow
from voxrank.data.sources import FileRegion, HeldAudio


def rows_of(manifest):
    with manifest.open(newline="") as file:
        return [(manifest.parent / row["path"], row) for row in csv.DictReader(file)]


def tar_of(manifest, path, rows):
    with TarWriter(str(path)) as writer:
        for audio, row in rows:
            about = {name: row[name] for name in ("label", "text", "speaker") if name in row}
            writer.write({"__key__": audio.stem, "wav": audio.read_bytes(), "json": about})
    return path


def cuts_of(rows, path):
    """Write cuts whose audio is computed: resampled and back, by a ratio for which a short filter suffices."""
    recordings = RecordingSet.from_recordings(Recording.from_file(audio) for audio, _ in rows)
    supervisions = SupervisionSet.from_segments(
        SupervisionSegment(
            f"{audio.stem}-s", audio.stem, 0, soundfile.info(audio).duration, speaker=row["speaker"], custom=row
        )
        for audio, row in rows
    )
    CutSet.from_manifests(recordings, supervisions).resample(32_000).resample(16_000).to_file(path)
    return path


def saved_of(rows, path):
    datasets.disable_progress_bars()
    table = {
        "audio": [{"bytes": audio.read_bytes(), "path": None} for audio, _ in rows],
        **{name: [row[name] for _, row in rows] for name in ("label", "speaker")},
    }
    datasets.Dataset.from_dict(table).cast_column("audio", datasets.Audio()).save_to_disk(path)
    return path


CLUSTER = """
import sys
import ray
with ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR") as cluster:
    print(cluster.address_info["gcs_address"], flush=True)
    for _ in sys.stdin:
        print(ray.cluster_resources()["CPU"], flush=True)
"""


@pytest.fixture(scope="module")
def cluster():
    """Yield the process and the address of a running cluster."""
    environment = {**os.environ, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process, process.stdout.readline().strip()
        process.stdin.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves files to the garbage collector
def test_a_running_cluster_is_joined_and_left_running(tones, run, cluster, assert_same):
    process, address = cluster
    command = ["rank", tones, "-m", "logmel", "--no-cache", "--json"]
    code, out, err = run(*command, "--engine", "ray", "--ray-address", address, "--workers", "1")
    assert code == 0, err
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == "1.0"
    assert_same(json.loads(out), json.loads(run(*command)[1]))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves files of its servers to the garbage collector
def test_every_kind_of_audio_reaches_the_workers_of_a_cluster(tones, tmp_path, kept, monkeypatch, cluster):
    """Relative names work too, and entries of the cluster's cache are valid here."""
    monkeypatch.chdir(tmp_path)
    rows = rows_of(tones)
    samples = [
        dict(zip(("audio", "sample_rate"), soundfile.read(audio), strict=True)) | row for audio, row in rows[27:]
    ]
    parts = [
        voxrank.read_dataset(tar_of(tones, Path("a.tar"), rows[:9])),
        voxrank.read_dataset(saved_of(rows[9:18], Path("saved"))),
        voxrank.read_dataset(cuts_of(rows[18:27], Path("cuts.jsonl"))),
        voxrank.read_dataset(samples),
    ]
    utterances = tuple(utterance for part in parts for utterance in part.utterances)
    kinds = [type(utterance.audio) for utterance in utterances]
    assert kinds == [kind for kind in (FileRegion, ArrowRow, CutAudio, HeldAudio) for _ in range(9)]
    data = replace(parts[0], utterances=utterances)
    here = voxrank.rank(data, ["logmel"])
    there = voxrank.rank(data, ["logmel"], engine=EngineOptions("ray", workers=1, address=cluster[1]), cache=kept)
    assert not there.skipped
    assert there.data.used == 36
    again = voxrank.rank(data, ["logmel"], cache=kept)
    assert again.cost.cached_s == pytest.approx(again.data.seconds)
    for found in (there, again):
        assert found.best.scores["logme"].value == pytest.approx(here.best.scores["logme"].value, rel=1e-9)


def test_inspect_names_the_format_of_the_data(run, tones, tmp_path):
    path = tar_of(tones, tmp_path / "test-0.tar", rows_of(tones))
    code, out, _ = run("inspect", path)
    assert code == 0
    assert "format" in out
    assert "tar shards (WebDataset)" in out
    code, out, _ = run("inspect", cuts_of(rows_of(tones), tmp_path / "cuts.jsonl"), "--json")
    facts = json.loads(out)
    assert (code, facts["format"], facts["utterances"], facts["speakers"]) == (0, "Lhotse cuts", 36, 4)
    _, out, _ = run("inspect", tones, "--json")
    assert json.loads(out)["format"] == "CSV"


def test_rank_names_the_columns_that_it_uses(run, tmp_path, tones):
    rows = [(audio, {"emotion": row["label"], "speaker_id": row["speaker"]}) for audio, row in rows_of(tones)]
    with TarWriter(str(tmp_path / "a.tar")) as writer:
        for audio, about in rows:
            writer.write({"__key__": audio.stem, "wav": audio.read_bytes(), "json": about})
    code, _, err = run("rank", tmp_path / "a.tar", "-m", "logmel", "--no-cache")
    assert code == 0
    assert "label is the column 'emotion', speaker is the column 'speaker_id'" in " ".join(err.split())


def test_utterances_aligned_from_shards_are_ranked_by_their_textgrids(run, spelled, tmp_path):
    path = tar_of(spelled, tmp_path / "a.tar", rows_of(spelled))
    aligned = tmp_path / "aligned"
    code, out, _ = run("align", path, "-m", "logmel", "--out", aligned)
    assert code == 0
    assert "textgrids (for voxrank rank, as --segments), alignment.json" in " ".join(out.split())
    assert sorted(one.name for one in aligned.iterdir()) == ["alignment.ctm", "alignment.json", "run.log", "textgrids"]
    code, out, _ = run("rank", path, "-m", "logmel", "--no-cache", "--segments", aligned / "textgrids", "--json")
    assert (code, json.loads(out)["task"], json.loads(out)["data"]["used"]) == (0, "segmentation", 40)
