"""Files of segments on the command line: `inspect` and `rank` report what is left out."""

import json

import numpy as np
import pytest

SPEAKERS = ["spk1", "spk2"]


@pytest.fixture
def corpus(tmp_path, write_wav):
    """Write files of two speakers with the same names and different words."""
    rng = np.random.default_rng(0)
    rows = []
    for speaker, text in zip(SPEAKERS, ("ab", "cd"), strict=True):
        for number in range(4):
            write_wav(tmp_path / speaker / f"{number}.wav", 0.1 * rng.normal(size=8000).astype(np.float32))
            rows.append(f"{speaker}/{number}.wav,{text},{speaker}\n")
    (tmp_path / "m.csv").write_text("path,text,speaker\n" + "".join(rows))
    return tmp_path


def write_ctm(path, form, speakers=SPEAKERS):
    lines = []
    for speaker in speakers:
        first, second = "ab" if speaker == "spk1" else "cd"
        for number in range(4):
            name = form.format(speaker=speaker, number=number)
            lines.append(f"{name} 1 0.00 0.21 {first}\n{name} 1 0.20 0.20 {second}\n{name} 1 0.4 0.00 x\n")
    path.write_text("".join(lines))
    return path


def inspected(run, *arguments):
    code, out, err = run("inspect", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("form", ["{speaker}/{number}", "{speaker}-{number}", "{speaker}_{number}.wav"])
def test_speakers_with_files_of_the_same_names_keep_their_times(run, corpus, form):
    facts = inspected(run, corpus / "m.csv", "--segments", write_ctm(corpus / "all.ctm", form))
    assert facts["classes"] == {"a": 4, "b": 4, "c": 4, "d": 4}
    [note] = [line for line in facts["problems"] if "zero length" in line]
    assert note.startswith("8 segments of zero length are left out; the first: all.ctm, line 3: ")
    code, _, err = run("rank", corpus / "m.csv", "-m", "logmel", "--no-cache", "--segments", corpus / "all.ctm")
    assert code == 0
    assert note in " ".join(err.split())


def test_the_times_of_one_speaker_are_not_given_to_another(run, corpus):
    facts = inspected(run, corpus / "m.csv", "--segments", write_ctm(corpus / "spk1.ctm", "{number}", ["spk1"]))
    assert facts["classes"] == {"a": 4, "b": 4}
    assert len(facts["skipped"]) == 4
    code, _, err = run("inspect", corpus / "m.csv", "--segments", write_ctm(corpus / "all.ctm", "{number}", ["spk1"]))
    assert code == 2
    assert "the name '0' in all.ctm may stand for several recordings of the data" in " ".join(err.split())


def test_align_writes_a_file_for_each_recording_in_any_folder(run, corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    code, _, err = run("align", "m.csv", "--aligner", "uniform", "--out", "out")
    assert code == 0, err
    assert len(list((corpus / "out" / "textgrids").glob("*.TextGrid"))) == 8
    expected = {"a": 4, "b": 4, "c": 4, "d": 4}
    assert inspected(run, "out/manifest.csv")["classes"] == expected
    for segments in ("out/textgrids", "out/alignment.ctm"):
        facts = inspected(run, "m.csv", "--segments", segments)
        assert (facts["classes"], facts["skipped"]) == (expected, [])
