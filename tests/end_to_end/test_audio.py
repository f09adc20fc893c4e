"""`voxrank inspect` and `voxrank rank` report the same facts about the samples, in the same words."""

import csv
import json

import numpy as np
import pytest
import soundfile

RATE = 16_000


@pytest.fixture
def corpus(tmp_path):
    """Return a function that writes a manifest of twelve tones in two classes, each from its samples and its number."""

    def corpus(make, name="m.csv", suffix=".wav", **options):
        rows = []
        for number in range(12):
            rng = np.random.default_rng(number)
            tone = 0.2 * np.sin(2 * np.pi * (300, 900)[number % 2] * np.arange(RATE // 2) / RATE)
            path = tmp_path / f"{name}-{number}{suffix}"
            soundfile.write(path, make(tone + 0.01 * rng.normal(size=len(tone)), number), RATE, **options)
            rows.append((path.name, "ab"[number % 2], f"s{number % 3}"))
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "speaker"), *rows])
        return tmp_path / name

    return corpus


def plain(samples, _number):
    return samples


CASES = {
    "opposite channels": (lambda x, n: np.stack([x, -x], axis=1), {}, "channels cancel each other"),
    "integers as floats": (
        lambda x, n: x * 32_768,
        {"subtype": "FLOAT"},
        "float samples in the range of 16-bit integers",
    ),
    "clipping": (lambda x, n: np.clip(20 * x, -1, 1), {}, "recordings are clipped, with more than 1 %"),
}


@pytest.mark.parametrize(("make", "options", "note"), CASES.values(), ids=CASES)
def test_inspect_and_rank_give_the_same_remark_on_the_samples(run, corpus, make, options, note):
    manifest = corpus(make, **options)
    code, out, _ = run("inspect", manifest, "--json")
    facts = json.loads(out)
    assert (code, facts["listened"], facts["skipped"]) == (0, 12, [])
    [line] = facts["problems"]
    assert line.startswith(note)
    assert line.endswith(": 12 of 12 utterances, the first m.csv-0.wav")
    code, out, err = run("rank", manifest, "--model", "logmel")
    assert code == 0
    assert line in " ".join(err.split())
    assert "12 of 12 utterances" in out


def test_inspect_has_no_remark_on_good_recordings(run, corpus):
    assert json.loads(run("inspect", corpus(plain), "--json")[1])["problems"] == []


def test_silent_recordings_are_skipped_and_listed_by_both(run, corpus):
    manifest = corpus(lambda x, n: x * (n >= 3))
    facts = json.loads(run("inspect", manifest, "--json")[1])
    assert facts["utterances"] == 9
    assert [one["utterance"] for one in facts["skipped"]] == [f"m.csv-{n}.wav" for n in range(3)]
    ranked = json.loads(run("rank", manifest, "--model", "logmel", "--json")[1])
    assert ranked["skipped"] == facts["skipped"]
    assert (ranked["data"]["utterances"], ranked["data"]["used"]) == (12, 9)
    assert "3 × expected speech, got a silent recording" in " ".join(run("inspect", manifest)[1].split())


def test_silent_data_are_refused_before_any_audio_is_encoded(run, corpus):
    code, _, err = run("rank", corpus(lambda x, n: 0 * x), "--model", "logmel")
    assert code == 2
    assert "none of the 12 utterances" in err
    assert "got a silent recording (peak 0, digital silence)" in " ".join(err.split())


def test_mp3_files_without_a_length_are_ranked_whole(run, corpus, tmp_path):
    from voxrank.data.mpeg_headers import parse_header

    manifest = corpus(plain, suffix=".mp3", bitrate_mode="VARIABLE", compression_level=0.5)
    for path in tmp_path.glob("*.mp3"):
        content = path.read_bytes()
        path.write_bytes(content[parse_header(content[:4]).size :])
    facts = json.loads(run("inspect", manifest, "--json")[1])
    assert (facts["utterances"], facts["skipped"], facts["problems"]) == (12, [], [])
    assert 0.5 <= facts["shortest_s"] <= facts["longest_s"] < 0.65
    ranked = json.loads(run("rank", manifest, "--model", "logmel", "--json")[1])
    assert (ranked["data"]["used"], ranked["skipped"]) == (12, [])
    assert ranked["data"]["seconds"] == pytest.approx(60 * facts["minutes"], abs=0.5)
