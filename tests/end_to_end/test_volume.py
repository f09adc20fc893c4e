"""A ranking of a thousand clips, a hundred of them damaged: the damaged clips are named, and the rest is scored.

Damage that still decodes to plausible samples (such as a flipped bit in a WAV) cannot be detected and is not included.
"""

import csv
import os
import struct
from collections import Counter

import numpy as np
import pytest
import soundfile

from voxrank import rank
from voxrank.config import ExtractionOptions

RATE = 16_000
N_CLIPS, N_DAMAGED = 1000, 100
LABELS_HZ = {"low": 220.0, "middle": 500.0, "high": 1300.0, "top": 2900.0}
N_SPEAKERS = 12


def clip(number):
    """Return a noisy tone of 0.2 to 0.4 s, int16."""
    rng = np.random.default_rng(number)
    time = np.arange(round(RATE * (0.2 + 0.02 * (number % 11)))) / RATE
    frequency = list(LABELS_HZ.values())[number % len(LABELS_HZ)] * (1 + 0.02 * (number % N_SPEAKERS))
    return (6000 * np.sin(2 * np.pi * frequency * time) + 1500 * rng.normal(size=len(time))).astype(np.int16)


def wav(samples, *, rate=RATE, channels=1, claimed=None):
    """Return the bytes of a WAV file of 16-bit samples, whose header may be wrong."""
    data = samples.astype("<i2").tobytes()
    size = len(data) if claimed is None else claimed
    layout = struct.pack("<HHIIHH", 1, channels, rate, rate * 2, 2, 16)
    header = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(header) + size) + header + data


def flac(path, samples):
    """Return the bytes of a FLAC file."""
    whole = path.with_suffix(".whole")
    soundfile.write(whole, samples, RATE, format="FLAC")
    content = bytearray(whole.read_bytes())
    whole.unlink()
    return content


def flipped(content, place):
    content[place] ^= 0x10
    return content


def claiming(content, n_samples):
    """Return a FLAC file whose header claims this many samples: 36 bits of STREAMINFO (RFC 9639, 8.2)."""
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36 | n_samples).to_bytes(8, "big")
    return content


def nan_samples(path, samples):
    broken = samples / 32768.0
    broken[len(broken) // 2] = np.nan
    soundfile.write(path, broken, RATE, format="WAV", subtype="FLOAT")


def floats_beyond_integers(path, samples):
    soundfile.write(path, samples * 1e12, RATE, format="WAV", subtype="FLOAT")


def mp3_cut_in_the_middle(path, samples):
    soundfile.write(path, samples, RATE, format="MP3")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def ogg_without_its_end(path, samples):
    soundfile.write(path, samples, RATE, format="OGG")
    path.write_bytes(path.read_bytes()[:-200])


def written(make):
    return lambda path, samples: path.write_bytes(make(path, samples))


def undamaged(path, samples):
    path.write_bytes(wav(samples))


def forbidden(path, samples):
    undamaged(path, samples)
    path.chmod(0)


# The change to the file, the change to the row, and a part of the reported reason.
DAMAGE = {
    "empty file": (lambda path, samples: path.touch(), {}, "got an empty one (0 bytes)"),
    "text": (written(lambda p, s: b"I am a text file with a misleading name." * 20), {}, "not audio that libsndfile"),
    "header cut off": (written(lambda p, s: wav(s)[:30]), {}, "not audio that libsndfile"),
    "header and no more": (written(lambda p, s: wav(s[:0])), {}, "the file holds no samples"),
    "data cut short": (written(lambda p, s: wav(s)[: len(s)]), {}, "file cut short"),
    "missing file": (lambda path, samples: None, {}, "no such file"),
    "folder": (lambda path, samples: path.mkdir(), {}, "got a folder"),
    "device": (lambda path, samples: os.mkfifo(path), {}, "got a device"),
    "link to itself": (lambda path, samples: path.symlink_to(path.name), {}, "cannot read the file"),
    "link to nothing": (lambda path, samples: path.symlink_to("gone.wav"), {}, "no such file"),
    "NaN samples": (nan_samples, {}, "the samples hold NaN"),
    "digital silence": (written(lambda p, s: wav(0 * s)), {}, "got a silent recording"),
    "dither alone": (written(lambda p, s: wav(np.sign(s) * (s % 7 == 0))), {}, "got a silent recording"),
    "floats beyond all integers": (floats_beyond_integers, {}, "expected float samples from −1 to 1"),
    "MP3 cut in the middle": (mp3_cut_in_the_middle, {}, "file cut short"),
    "WAV of unknown size without samples": (written(lambda p, s: wav(s[:0], claimed=0xFFFF_FF00)), {}, "no samples"),
    "too short": (written(lambda p, s: wav(s[:300])), {}, "got 300 samples; too short"),
    "FLAC cut in the middle": (written(lambda p, s: flac(p, s)[: len(s) // 2]), {}, "cut short|lost sync"),
    "flipped bit in a FLAC": (written(lambda p, s: flipped(flac(p, s), -len(s) // 2)), {}, "not audio|cut short"),
    "OGG without its end": (ogg_without_its_end, {}, "not audio|cut short|no samples"),
    "WAV that claims ten hours": (written(lambda p, s: wav(s, claimed=36_000 * 2 * RATE)), {}, "file cut short"),
    "FLAC that claims five hours": (
        written(lambda p, s: claiming(flac(p, s), 5 * 3600 * RATE)),
        {},
        "cut short|not audio",
    ),
    "FLAC that claims ten hours": (written(lambda p, s: claiming(flac(p, s), 36_000 * RATE)), {}, "at most 6 h"),
    "no channels": (written(lambda p, s: wav(s, channels=0)), {}, "not audio that libsndfile"),
    "one sample a second": (written(lambda p, s: wav(s, rate=1)), {}, "expected a sample rate of 1,000 to"),
    "rate beyond all reason": (written(lambda p, s: wav(s, rate=2**31 - 1)), {}, "expected a sample rate of|not audio"),
    "noise": (written(lambda p, s: np.random.default_rng(0).bytes(4000)), {}, "not audio that libsndfile"),
    "start behind the end": (undamaged, {"start": "5"}, "past the end of the file"),
    "end behind the end": (undamaged, {"start": "0", "end": "9"}, "past the end of the file"),
    "end before the start": (undamaged, {"start": "0.2", "end": "0.1"}, "expected an end after the start"),
    "offset that is not finite": (undamaged, {"start": "nan"}, "expected a finite number"),
    "negative start": (undamaged, {"start": "-1"}, "expected a start of at least 0 s"),
    "stretch too short": (undamaged, {"start": "0", "end": "0.01"}, "too short"),
    "name that leaves the folder": (undamaged, {"path": "../../outside-{}.wav"}, "which leaves it"),
    "name too long": (undamaged, {"path": "x" * 300 + "{}.wav"}, "cannot read the file"),
    "no label": (undamaged, {"label": " "}, "the column 'label' is empty"),
}
UNLESS_ROOT = {
    "no permission": (lambda path, samples: (undamaged(path, samples), path.chmod(0)), {}, "Permission denied")
}


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """Write a folder with two manifests; return the reasons of the damaged clips by name, and the names by report."""
    root = tmp_path_factory.mktemp("volume")
    kinds = list((DAMAGE if os.geteuid() == 0 else DAMAGE | UNLESS_ROOT).values())
    rows, reasons = [], {}
    for number in range(N_CLIPS):
        name = f"{number:04d}.wav"
        row = {"path": name, "label": list(LABELS_HZ)[number % 4], "speaker": f"s{number % N_SPEAKERS}"}
        if number % (N_CLIPS // N_DAMAGED) == 7:
            damage, cells, reason = kinds[len(reasons) % len(kinds)]
            damage(root / name, clip(number))
            row |= {column: cell.format(number) for column, cell in cells.items()}
            reasons[name] = reason
        else:
            undamaged(root / name, clip(number))
        rows.append((name, row))
    for file, kept in (("all.csv", rows), ("clean.csv", [(name, row) for name, row in rows if name not in reasons])):
        with (root / file).open("w", newline="") as table:
            writer = csv.DictWriter(table, ["path", "label", "speaker", "start", "end"])
            writer.writeheader()
            writer.writerows(row for _, row in kept)
    names = {f"all.csv, line {place}": name for place, (name, _) in enumerate(rows, start=2)}
    return root, reasons, names | {row["path"]: name for name, row in rows}


def run(manifest):
    return rank(manifest, ["logmel"], extraction=ExtractionOptions(threads=1, blocks=1))


def test_damaged_clips_are_named_and_do_not_change_the_scores_of_the_rest(
    volume,
):
    root, reasons, names = volume
    assert len(reasons) == N_DAMAGED
    damaged, clean = run(root / "all.csv"), run(root / "clean.csv")
    found = [(names[s.utterance.partition(" [")[0]], s.reason) for s in damaged.skipped]
    assert Counter(name for name, _ in found) == Counter(reasons.keys())
    for name, reason in found:
        assert "\n" not in reason
        assert any(part in reason for part in reasons[name].split("|")), (name, reason, reasons[name])
    assert not clean.skipped
    assert damaged.data.used == clean.data.used == N_CLIPS - N_DAMAGED
    assert [x.layer for x in damaged.layers] == [x.layer for x in clean.layers]
    for one, other in zip(damaged.layers, clean.layers, strict=True):
        for name, score in one.scores.items():
            assert score.value == pytest.approx(other.scores[name].value, rel=1e-9), name
