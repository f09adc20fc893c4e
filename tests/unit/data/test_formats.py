"""Formats are recognised by the files present."""

import gzip
import json
import re
from pathlib import Path

import pytest

from voxrank.data import formats
from voxrank.data.columns import naming
from voxrank.data.read import read_dataset, register_reader
from voxrank.data.rows import Row, build_dataset
from voxrank.errors import DataError, OptionError


@pytest.fixture
def own_formats(monkeypatch):
    monkeypatch.setattr(formats, "_FORMATS", dict(formats._FORMATS))


def test_a_reader_can_be_added(own_formats, tmp_path):
    def read(source, request):
        rows = [Row("line 1", {"path": "/a.wav", "label": source})]
        return build_dataset(tmp_path, ["path", "label"], rows, [], request)

    register_reader("ours", lambda source: source.startswith("ours:"), read)
    assert [u.label for u in read_dataset("ours:x").utterances] == ["ours:x"]
    with pytest.raises(OptionError, match="there is a reader of 'ours' already; choose another name"):
        register_reader("ours", lambda source: True, read)


def test_the_reader_registered_last_is_tried_first(own_formats, tmp_path):
    register_reader("takes all", lambda source: True, lambda source, request: "taken")  # type: ignore[return-value]
    assert read_dataset(tmp_path) == "taken"


@pytest.mark.parametrize(
    ("files", "name", "form"),
    [
        ({"m.csv": "path,label\na.wav,x\n"}, "m.csv", "table"),
        ({"m.jsonl": '{"path": "a.wav"}\n'}, "m.jsonl", "JSON lines"),
        ({"m.jsonl": '{"id": "c", "type": "MonoCut"}\n'}, "m.jsonl", "Lhotse cuts"),
        ({"m.json": '{"audio_filepath": "a.wav"}\n'}, "m.json", "NeMo manifest"),
        ({"d/wav.scp": ""}, "d", "Kaldi data folder"),
        ({"d/train/wav.scp": ""}, "d", "Kaldi data folder"),
        ({"d/dataset_dict.json": "{}"}, "d", "Hugging Face data set (saved)"),
        ({"d/state.json": "{}", "d/dataset_info.json": "{}"}, "d", "Hugging Face data set (saved)"),
        ({"d/a-0.tar": ""}, "d", "tar shards"),
        ({"d/train/a-0.tar": ""}, "d", "tar shards"),
        ({"a-0.tar": "", "a-1.tar": ""}, "a-{0..1}.tar", "tar shards"),
        ({"d/yes/a.wav": ""}, "d", "folder of class folders"),
        ({"d/yes/a.wav": "", "d/left-over.tar": "", "d/state.json": "{}"}, "d", "folder of class folders"),
        ({"d.csv/yes/a.wav": ""}, "d.csv", "folder of class folders"),
    ],
)
def test_the_format_is_recognised_by_the_files(tmp_path, monkeypatch, files, name, form):
    monkeypatch.chdir(tmp_path)
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert formats.format_of(name).name == form


def test_hub_ids_are_distinguished_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    hub = "Hugging Face data set (hub)"
    for name in ("owner/name", "hf://owner/name", "o/common_voice_11.0", "o/n@v1.0#en", "hf://data/x"):
        assert formats.format_of(name).name == hub
    for name in ("data/name", "owner/name.csv", "name", "a/b/c", "./x/y/z", "o/n.tar.gz.csv"):
        assert formats.format_of(name) is None


def test_compressed_lines_are_read(tmp_path):
    path = tmp_path / "m.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(json.dumps({"path": f"{n}.wav", "label": "é"}) for n in range(3)))
    data = read_dataset(path)
    assert [u.id for u in data.utterances] == ["0.wav", "1.wav", "2.wav"]
    assert data.classes == ("é",)


def test_compressed_lines_that_were_cut_short_are_refused(tmp_path):
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"path": "a.wav", "label": "x"}).encode() * 99)[:-20])
    with pytest.raises(DataError, match="the file was cut short or damaged, copy it again"):
        read_dataset(path)


def test_compressed_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "m.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"path": "\xff.wav"}\n'))
    with pytest.raises(DataError, match=r"m\.jsonl\.gz: expected UTF-8 text, got other bytes; save it as UTF-8"):
        read_dataset(path)


@pytest.mark.parametrize(
    ("columns", "target", "taken"),
    [
        (["path", "label", "text", "speaker"], None, {}),
        (["audio", "intent_class", "transcription"], None, {"label": "intent_class", "text": "transcription"}),
        (
            ["audio", "client_id", "sentence", "locale"],
            None,
            {"text": "sentence", "speaker": "client_id", "language": "locale"},
        ),
        (["audio", "emotion", "keyword"], None, {"label": "keyword"}),  # in the table's order, not the data's
        (["keyword", "emotion", "audio"], None, {"label": "keyword"}),
        (["audio", "Sentence"], None, {"text": "Sentence"}),
        (["audio", "emotion", "value"], None, {}),  # the manifest's own columns have priority
        (["audio", "emotion", "speaker_id"], "speaker_id", {"speaker": "speaker_id"}),
    ],
)
def test_usual_column_names_stand_for_those_of_a_manifest(columns, target, taken):
    assert naming(columns, target).taken == taken


def test_a_note_names_the_columns_that_are_used():
    [note] = naming(["audio", "emotion", "genre", "sentence"], None).notes
    assert note == (
        "label is the column 'emotion', text is the column 'sentence' (also there: genre, text; --target names another)"
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_examples_of_the_page_of_formats_run_in_order(own_formats, tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/formats.md", "exec"), names)
    printed = capsys.readouterr().out.split()
    assert len(printed) == "\n".join(blocks).count("print(") > 7
    assert len(set(printed)) == 1  # every form of the same speech has the same best model
