"""Recorded speech from Debian packages, written once to `.made/study/debian/` as FLAC of 16 kHz.

Prompts of Asterisk in four languages, one voice each, whose names (such as "digits/7") are shared by all languages,
and letters and syllables of KLettres in twenty languages. Packages are fetched by `apt-get download`, and ffmpeg reads
the G.722 of the prompts. There are no transcripts, except that names of numbers, letters and syllables say their text.

    python benchmarks/study/debian.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))

from common import MADE

FOLDER = MADE / "study" / "debian"
VOICES = {"es": "es_MX_f_Allison", "fr": "fr_CA_f_June", "it": "it_IT_m_Carlo", "ru": "ru_RU_f_IvrvoiceRU"}
PACKAGES = (*(f"asterisk-core-sounds-{code}-g722" for code in VOICES), "klettres-data")
SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class Recording:
    """A recording, by its name in the package.

    Attributes:
        path: path of the FLAC file.
        language: such as "es"; the voices of a language count as one.
        kind: folder in the package, such as "digits", "letters", "alpha" or "syllab"; empty for other prompts.
        name: name without its suffix, such as "7" or "ba".
        seconds: length.
    """

    path: Path
    language: str
    kind: str
    name: str
    seconds: float


def prompts() -> list[Recording]:
    """Return the prompts of all languages, without music and beeps."""
    return _recordings("asterisk")


def klettres() -> list[Recording]:
    """Return letters and syllables of all languages."""
    return _recordings("klettres")


def _recordings(source: str) -> list[Recording]:
    if not (FOLDER / "done").exists():
        _make()
    found = []
    for path in sorted((FOLDER / source).rglob("*.flac")):
        language, *kind = path.relative_to(FOLDER / source).parts[:-1]
        info = soundfile.info(path)
        found.append(Recording(path, language, "/".join(kind), path.stem, info.frames / info.samplerate))
    return found


def _make() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fetch(Path(folder))
        share = Path(folder) / "usr" / "share"
        for code, voice in VOICES.items():
            root = share / "asterisk" / "sounds" / voice
            for path in sorted(root.rglob("*.g722")):
                if path.parent.name != "silence" and "tone" not in path.stem and not path.stem.startswith("beep"):
                    _write(FOLDER / "asterisk" / code / path.relative_to(root), read_g722(path))
        for path in sorted((share / "klettres").rglob("*.ogg")):
            audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
            made = FOLDER / "klettres" / path.relative_to(share / "klettres")
            _write(made, soxr.resample(audio.mean(axis=1), rate, SAMPLE_RATE_HZ))
    (FOLDER / "done").touch()


def fetch(folder: Path) -> None:
    """Download the packages and unpack them into a folder."""
    subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True)


def read_g722(path: Path) -> NDArray[np.float32]:
    """Return the samples of a prompt at 16 kHz."""
    command = ["ffmpeg", "-loglevel", "error", "-f", "g722", "-i", str(path), "-f", "s16le", "-ar", str(SAMPLE_RATE_HZ)]
    pcm = subprocess.run([*command, "-"], check=True, capture_output=True).stdout
    samples: NDArray[np.float32] = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(2**15)
    return samples


def _write(made: Path, audio: NDArray[np.float32]) -> None:
    """Write a recording; a few files of the packages are empty."""
    if not len(audio):
        return
    made.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(made.with_suffix(".flac"), np.clip(audio, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")


def main() -> None:
    print(len(prompts()), "prompts,", len(klettres()), "letters and syllables")


if __name__ == "__main__":
    main()
