"""Source data in the ranking: distances between a model's training data and the target data."""

import numpy as np
import pytest
import soundfile
import torch

import voxrank
import voxrank.encoders.pool
from voxrank._support.progress import Progress
from voxrank.config import ExtractionOptions
from voxrank.data.audio import decode
from voxrank.data.read import read_unlabelled
from voxrank.errors import DataError, OptionError
from voxrank.scores import FrechetDistance, SlicedWasserstein
from voxrank.sketches.projections import shared_directions
from voxrank.testing.encoders import FakeEncoder


@pytest.fixture
def noises(tmp_path):
    """Write a flat folder of noises without labels."""
    folder = tmp_path / "noises"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(9):
        soundfile.write(folder / f"{i}.flac", 0.1 * rng.normal(size=4000 + 400 * i), 16_000)
    return folder


def frames_of(dataset, layer, sample):
    encoder = FakeEncoder(seed=ord("a"))
    found = []
    for utterance in dataset.utterances:
        pieces = encoder.encode([decode(utterance, 16_000)])
        frames = next(p.frames.double().numpy() for p in pieces if p.layer == layer)
        found.append(frames.mean(axis=0, keepdims=True) if sample == "utterance" else frames)
    return np.concatenate(found)


class NoteRecorder(Progress):
    """A progress that keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, line):
        self.notes.append(line)


@pytest.mark.parametrize("sample", ["utterance", "frame"])
@pytest.mark.parametrize("shard_s", [0.5, 600.0])
def test_distances_are_those_of_the_features(fakes, tones, noises, sample, shard_s):
    options = ExtractionOptions(sample=sample, shard_s=shard_s)
    ranking = voxrank.rank(tones, ["fake-a"], source=noises, scores=["swd", "frechet"], extraction=options)
    for layer in ranking.layers:
        source = frames_of(read_unlabelled(noises), layer.layer, sample)
        target = frames_of(voxrank.read_dataset(tones), layer.layer, sample)
        swd = SlicedWasserstein(projections=shared_directions(8, 50).numpy(), p=2).fit(source, target).score_
        assert layer.scores["swd"].value == pytest.approx(swd, rel=1e-5)
        assert layer.scores["frechet"].value == pytest.approx(FrechetDistance().fit(source, target).score_, rel=1e-4)
        assert layer.scores["swd"].low < swd < layer.scores["swd"].high
    values = [layer.scores["swd"].value for layer in ranking.layers]
    assert values == sorted(values)
    assert ranking.options["source"] == str(noises)


def test_data_have_no_distance_from_themselves_and_some_from_others(fakes, tones, noises):
    same, other = (voxrank.rank(tones, ["fake-a"], source=x, scores=["swd", "frechet"]) for x in (tones, noises))
    for layer in same.layers:
        far = next(x for x in other.layers if x.layer == layer.layer)
        assert layer.scores["swd"].value == pytest.approx(0, abs=1e-6)
        assert layer.scores["frechet"].value == pytest.approx(0, abs=1e-6)
        assert far.scores["swd"].value > 0.01
        assert far.scores["frechet"].value > 0.001


def test_a_score_without_resamples_may_order_the_ranking(fakes, tones, noises):
    ranking = voxrank.rank(tones, ["fake-a", "fake-b"], source=noises, scores=["tsne", "logme"])
    assert ranking.beats is None
    assert ranking.best.probability_best is None
    assert ranking.best.scores["tsne"].low is None
    assert ranking.best.scores["logme"].low is not None


def test_quantiles_are_used_beyond_the_limit(fakes, tones, noises, monkeypatch):
    options = ExtractionOptions(sample="frame", blocks=2)
    exact = voxrank.rank(tones, ["fake-a"], source=noises, scores=["swd"], extraction=options)
    for module in ("extraction.shard", "engines.local"):
        monkeypatch.setattr(f"voxrank.{module}.BLOCK_LIMIT", 64)
    rough = voxrank.rank(tones, ["fake-a"], source=noises, scores=["swd"], extraction=options)
    for layer in rough.layers:
        same = next(x for x in exact.layers if x.layer == layer.layer)
        assert layer.scores["swd"].value != same.scores["swd"].value
        assert layer.scores["swd"].value == pytest.approx(same.scores["swd"].value, rel=0.05)


def test_without_source_data_such_scores_are_left_out_by_name(fakes, tones):
    recorder = NoteRecorder()
    ranking = voxrank.rank(tones, ["fake-a"], scores=["swd", "logme"], progress=recorder)
    assert list(ranking.best.scores) == ["logme"]
    assert "swd needs source data (--source) and is left out" in recorder.notes
    with pytest.raises(OptionError, match=r"swd needs source data \(--source\) and is left out: name another one"):
        voxrank.rank(tones, ["fake-a"], scores=["swd"])


def test_source_data_that_no_score_reads_are_not_encoded(fakes, tones, noises):
    recorder = NoteRecorder()
    ranking = voxrank.rank(tones, ["fake-a"], source=noises, scores=["logme"], progress=recorder)
    assert "the source data are not encoded, because no score reads them (swd, frechet and tsne do)" in recorder.notes
    assert ranking.options["source"] is None


def test_bad_source_utterances_are_skipped_and_marked_as_source_data(fakes, tones, noises):
    (noises / "bad.flac").write_bytes(b"no audio")
    ranking = voxrank.rank(tones, ["fake-a"], source=noises, scores=["swd"])
    assert [s.utterance for s in ranking.skipped] == ["noises/bad.flac"]
    assert ranking.skipped[0].reason.startswith("source data: ")
    assert ranking.data.used == ranking.data.utterances


def test_source_manifests_need_no_labels(noises):
    manifest = noises / "list.csv"
    manifest.write_text("path\n" + "\n".join(f"{i}.flac" for i in range(9)))
    assert len(read_unlabelled(manifest)) == 9
    assert len(read_unlabelled(noises)) == 9
    with pytest.raises(DataError, match="expected a column 'label'"):
        voxrank.read_dataset(manifest)


def test_hidden_folders_do_not_belong_to_a_source(noises):
    (noises / ".trash").mkdir()
    (noises / ".trash" / "old.flac").write_bytes((noises / "0.flac").read_bytes())
    (noises / "more").mkdir()
    (noises / "more" / "9.flac").write_bytes((noises / "0.flac").read_bytes())
    names = [utterance.id for utterance in read_unlabelled(noises).utterances]
    assert len(names) == 10
    assert "noises/more/9.flac" in names


def test_a_model_that_can_use_only_one_block_still_has_distances(tones, noises, monkeypatch):
    """A speaker has all clips of 0.2 s, another all longer clips, for which the model gives NaN."""

    class Short(FakeEncoder):
        def _forward(self, windows):
            for piece in super()._forward(windows):
                for run in torch.split(piece.frames, piece.lengths):
                    if len(run) > 20:
                        run.fill_(float("nan"))
                yield piece

    rows = [line.split(",")[:2] for line in tones.read_text().splitlines()[1:]]
    lines = [f"{path},{label},{'long' if number % 7 else 'short'}" for number, (path, label) in enumerate(rows)]
    tones.write_text("\n".join(["path,label,speaker", *lines]))
    for clip in noises.glob("*.flac"):
        soundfile.write(clip, soundfile.read(clip)[0][:3200], 16_000)
    monkeypatch.setattr(voxrank.encoders.pool, "load_encoder", lambda spec, options: Short())
    ranking = voxrank.rank(tones, ["fake-a"], source=noises, scores=["swd", "frechet", "logme"])
    assert ranking.data.used == 6
    assert all(np.isfinite(score.value) for score in ranking.best.scores.values())


def test_a_source_without_audio_is_refused(fakes, tones, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="expected audio files in it, found none"):
        voxrank.rank(tones, ["fake-a"], source=empty, scores=["swd"])
