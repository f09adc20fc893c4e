"""NeMo's manifests, as NeMo 3.0.0 writes them."""

import json
import shutil
from pathlib import Path

import pytest

import voxrank
from voxrank.errors import DataError

WRITTEN = Path(__file__).parents[2] / "data" / "nemo" / "tones_manifest.json"
"""Written by `nemo.collections.asr.parts.utils.manifest_utils.write_manifest` of nemo_toolkit 3.0.0, for `tones`."""


@pytest.mark.parametrize("name", ["manifest.json", "manifest.jsonl"])
def test_a_file_written_by_nemo_is_ranked_as_the_manifest(tones, ranked_as_tones, name):
    shutil.copy(WRITTEN, tones.parent / name)
    ranked_as_tones(tones.parent / name)
    data = voxrank.read_dataset(tones.parent / name)
    assert (data.format, data.task) == ("NeMo manifest", "classification")


def test_transcripts_and_offsets_are_read(tones):
    rows = [
        {"audio_filepath": "clips/low-0.wav", "offset": 0.05, "duration": 0.1, "text": "a"},
        {"audio_filepath": "clips/low-0.wav", "duration": 0.2, "text": "b"},
    ]
    path = tones.parent / "m.json"
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = voxrank.read_dataset(path).utterances
    assert (first.start, first.end, first.text) == (0.05, 0.15, "a")
    assert (second.start, second.end, second.text) == (0.0, None, "b")


def written(path, /, **columns):
    """Write a manifest of two rows from cells by column."""
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


CLIPS = ("clips/low-0.wav", "clips/high-0.wav")


@pytest.mark.parametrize("name", ["m.json", "m.jsonl"])
def test_usual_column_names_stand_for_those_of_a_manifest(tmp_path, name):
    path = written(tmp_path / name, audio_filepath=CLIPS, duration=(1, 1), command=("yes", "no"), speaker_id=(3, 4))
    data = voxrank.read_dataset(path)
    assert (data.format, data.task, data.target) == ("NeMo manifest", "classification", "label")
    assert [(u.label, u.speaker) for u in data.utterances] == [("yes", "3"), ("no", "4")]
    assert data.notes == ("label is the column 'command', speaker is the column 'speaker_id'",)


def test_a_transcript_is_found_under_a_usual_column_name(tmp_path):
    path = written(tmp_path / "m.json", audio_filepath=CLIPS, transcript=("so", "be it"), lang=("en", "en"))
    data = voxrank.read_dataset(path)
    assert data.task == "transcription"
    assert [(u.text, u.language) for u in data.utterances] == [("so", "en"), ("be it", "en")]


@pytest.mark.parametrize(
    "columns",
    [
        {"label": ("a", "b")},
        {"text": ("so", "be it")},
        {"text": ("so", "be it"), "label": ("a", "b"), "command": ("x", "y")},
        {"text": ("so", "be it"), "category": ("a", "b")},
        {"value": (0.5, 2), "speaker": ("s", "t"), "event": ("a", "b")},
    ],
)
def test_label_text_and_value_columns_are_read_as_in_any_manifest(tmp_path, columns):
    """The key, and so the cached result, stays the same."""
    data = voxrank.read_dataset(written(tmp_path / "nemo.jsonl", audio_filepath=CLIPS, **columns))
    plain = voxrank.read_dataset(written(tmp_path / "plain.jsonl", path=CLIPS, **columns))
    assert (data.format, plain.format) == ("NeMo manifest", "JSON lines")
    assert (data.task, data.target, data.notes) == (plain.task, plain.target, ())
    assert data.fingerprint() == plain.fingerprint()


def test_json_that_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[\n{"path": "a.wav"}\n]')
    with pytest.raises(DataError, match=r"expected a folder of class folders or a file ending in .*, got '\.json'"):
        voxrank.read_dataset(path)
