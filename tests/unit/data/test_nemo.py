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
def test_what_nemo_writes_is_ranked_as_the_manifest(tones, ranked_as_tones, name):
    shutil.copy(WRITTEN, tones.parent / name)
    ranked_as_tones(tones.parent / name)
    data = voxrank.read_dataset(tones.parent / name)
    assert (data.format, data.task) == ("NeMo manifest", "classification")


def test_transcripts_and_offsets(tones):
    rows = [
        {"audio_filepath": "clips/low-0.wav", "offset": 0.05, "duration": 0.1, "text": "a"},
        {"audio_filepath": "clips/low-0.wav", "duration": 0.2, "text": "b"},
    ]
    path = tones.parent / "m.json"
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = voxrank.read_dataset(path).utterances
    assert (first.start, first.end, first.text) == (0.05, 0.15, "a")
    assert (second.start, second.end, second.text) == (0.0, None, "b")


def test_json_that_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('[\n{"path": "a.wav"}\n]')
    with pytest.raises(DataError, match=r"expected a folder of class folders or a file ending in .*, got '\.json'"):
        voxrank.read_dataset(path)
