"""A reader of Kaldi data folders: ``wav.scp``, ``segments``, ``text``, ``utt2spk`` and similar files.

Audio is a file, or a WAV in an archive (``wav.ark:1650``). Commands (``sox in.sph -t wav - |``) never run, and their
recordings are skipped. ``utt2X`` becomes the column X of an utterance, ``spk2X`` the column X of its speaker.
``utt2spk`` and ``utt2lang`` become ``speaker`` and ``language``.

Source: https://kaldi-asr.org/doc/data_prep.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from voxrank.data.columns import assembled
from voxrank.data.names import nfc, on_disk
from voxrank.data.rows import Request, Row
from voxrank.data.sources import AudioSource, FileRegion
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import UtteranceError, shortened

FORM = "Kaldi data folder"
WAV_SCP = "wav.scp"
MAX_LINE = 1 << 20
"""Maximum number of characters of a line. A transcript of one hour has a tenth of that."""
SEGMENT_FIELDS = 4
RIFF_HEADER = 8
"""Bytes before the part of the file that the size in the header counts."""
OPEN_SIZES = (0, 0x7FFF_0000)
"""Sizes in a RIFF header that was written to a pipe: 0, or from about 2 GiB. The WAV then ends with the archive."""
NAMES = {"spk": "speaker", "lang": "language"}
"""X of ``utt2X`` → name of the column, where they differ."""
NO_COLUMNS = {"spk2utt", "utt2num_frames", "utt2uniq", "utt2max_frames"}
IN_ARCHIVE = re.compile(r"(.+):(\d+)", re.DOTALL)


def is_kaldi(source: str) -> bool:
    """Return whether a path is a folder with ``wav.scp``, or holds such folders, as ``data`` holds ``train``."""
    return bool(_folders(Path(source)))


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    if (path / WAV_SCP).is_file():
        return [path]
    return sorted(folder for folder in path.iterdir() if (folder / WAV_SCP).is_file())


def read_kaldi(source: str, request: Request) -> Dataset:
    """Read a data folder, or a folder of data folders as its splits. Errors as `read_dataset`."""
    path = Path(source)
    skipped: list[Skipped] = []
    rows: list[Row] = []
    notes: list[str] = []
    for folder in _folders(path):
        split = None if folder == path else folder.name
        rows += _rows(folder, skipped, split)
        notes += _unmatched_notes(folder, split)
    dataset = assembled(path, rows, skipped, request, FORM)
    return replace(dataset, notes=(*dataset.notes, *notes))


def _unmatched_notes(folder: Path, split: str | None) -> Iterator[str]:
    """Return notes on transcripts without audio, and on recordings without utterances."""
    name = f"{split}/" if split else ""
    recordings = {key for key, _ in _pairs(folder / WAV_SCP, [])}
    stretches = list(_pairs(folder / "segments", [])) if (folder / "segments").is_file() else []
    utterances = {key for key, _ in stretches} or recordings
    used = {rest.split(maxsplit=1)[0] for _, rest in stretches if rest}
    texts = {key for key, _ in _pairs(folder / "text", [])} if (folder / "text").is_file() else set()
    for file_name, unmatched in (("text", texts - utterances), (WAV_SCP, (recordings - used) if used else set())):
        if unmatched:
            yield f"lines of {name}{file_name} without an utterance: {len(unmatched):,}, such as {min(unmatched)!r}"


def _recordings(folder: Path, skipped: list[Skipped], prefix: str) -> dict[str, _Recording]:
    """Return the lines of ``wav.scp`` by name; the first line of a name counts."""
    recordings: dict[str, _Recording] = {}
    for name, rest in _pairs(folder / WAV_SCP, skipped):
        if name in recordings:
            skipped.append(Skipped(f"{WAV_SCP}, {prefix}{name}", f"a duplicate of an earlier line of {WAV_SCP}"))
        else:
            recordings[name] = _Recording(folder, name, rest)
    return recordings


def _rows(folder: Path, skipped: list[Skipped], split: str | None) -> Iterator[Row]:
    prefix = f"{split}/" if split else ""
    recordings = _recordings(folder, skipped, prefix)
    of_utterance, of_speaker = _columns(folder, "utt2", skipped), _columns(folder, "spk2", skipped)
    texts = dict(_pairs(folder / "text", skipped)) if (folder / "text").is_file() else None
    for utterance, recording, start, end in _stretches(folder, recordings, skipped):
        where = f"{prefix}{utterance}"
        try:
            name, audio = _recording(recordings, recording).locate()
        except (UtteranceError, OSError) as error:
            skipped.append(Skipped(where, shortened(str(error))))
            continue
        columns = {name: cells.get(utterance) for name, cells in of_utterance.items()}
        speaker = columns.get("speaker")
        columns |= {name: cells.get(nfc(speaker or "")) for name, cells in of_speaker.items() if name not in columns}
        columns |= {} if texts is None else {"text": texts.get(utterance)}
        columns |= {} if split is None else {"split": split}
        timed = {"path": str(name), "recording": recording, "start": start, "end": end}
        yield Row(f"utterance {where}", columns | timed, id=where, audio=audio)


def _recording(recordings: dict[str, _Recording], name: str) -> _Recording:
    if name not in recordings:
        raise UtteranceError(f"expected the recording {name!r} in {WAV_SCP}, found no such line")
    return recordings[name]


def _stretches(
    folder: Path, recordings: Iterable[str], skipped: list[Skipped]
) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Yield utterance, recording, start and end as in ``segments``; without that file, each recording as a whole."""
    path = folder / "segments"
    if not path.is_file():
        yield from ((name, name, None, None) for name in recordings)
        return
    for name, rest in _pairs(path, skipped):
        fields = rest.split()
        if len(fields) != SEGMENT_FIELDS - 1:
            skipped.append(Skipped(name, f"expected recording, start and end in segments, got {len(fields)} fields"))
            continue
        yield name, nfc(fields[0]), fields[1], None if fields[2].startswith("-") else fields[2]  # −1: end of the file


def _columns(folder: Path, prefix: str, skipped: list[Skipped]) -> dict[str, dict[str, str]]:
    """Return a mapping from column to utterance or speaker to cell."""
    paths = [p for p in sorted(folder.glob(f"{prefix}*")) if p.is_file() and p.name not in NO_COLUMNS and not p.suffix]
    return {NAMES.get(column := p.name.removeprefix(prefix), column): dict(_pairs(p, skipped)) for p in paths}


def _pairs(path: Path, skipped: list[Skipped]) -> Iterator[tuple[str, str]]:
    """Yield the first word of each line, a name in NFC, and the rest of the line."""
    with path.open(encoding="utf-8") as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE and not line.endswith("\n"):
                while line and not line.endswith("\n"):
                    line = file.readline(MAX_LINE)
                skipped.append(
                    Skipped(f"{path.name}, line {number}", f"expected a line of at most {MAX_LINE:,} characters")
                )
                continue
            fields = line.split(maxsplit=1)
            if fields:
                yield nfc(fields[0]), fields[1].strip() if len(fields) > 1 else ""


@dataclass(frozen=True)
class _Recording:
    """A line of ``wav.scp``."""

    folder: Path
    name: str
    location: str

    def locate(self) -> tuple[Path, AudioSource | None]:
        """Return the path of a file and None, or a name and the source of audio in an archive.

        Raises:
            UtteranceError: the line is a command, or the archive does not exist.
            OSError: the archive cannot be read.
        """
        if self.location.endswith("|") or self.location.startswith("|"):
            raise UtteranceError(
                f"expected a file for {self.name!r} in {WAV_SCP}, got a command, which is not run; write its audio to "
                "files (wav-copy, or the command itself) and name them"
            )
        if not self.location:
            raise UtteranceError(f"expected a file for {self.name!r} in {WAV_SCP}, got nothing")
        path = self._resolve(self.location)
        match = IN_ARCHIVE.fullmatch(self.location)
        if match is None or path.exists():
            return path, None
        archive = self._resolve(match[1])
        return archive / f"{self.name}.wav", wav_in(archive, int(match[2]))

    def _resolve(self, name: str) -> Path:
        """Return a path relative to the data folder, else to the current folder, as in Kaldi's recipes."""
        if "\0" in name:
            raise UtteranceError(f"expected a file for {self.name!r} in {WAV_SCP}, got {name!a}")
        local = on_disk((self.folder / name).absolute())
        return local if local.exists() else on_disk(Path(name).absolute())


def wav_in(archive: Path, offset: int) -> FileRegion:
    """Return the WAV at an offset of an archive.

    Raises:
        UtteranceError: there is no WAV at the offset.
        OSError: the archive cannot be read.
    """
    if not archive.is_file():
        raise UtteranceError(f"no such archive: {archive}; relative names start at the data folder, or where you are")
    with archive.open("rb") as file:
        size = archive.stat().st_size
        file.seek(min(offset, size))
        head = file.read(RIFF_HEADER)
    if len(head) < RIFF_HEADER or head[:4] not in (b"RIFF", b"RIFX"):
        raise UtteranceError(f"expected a WAV at {offset:,} in {archive.name}, got {head[:4]!r}")
    riff_size = int.from_bytes(head[4:], "big" if head[:4] == b"RIFX" else "little")
    is_open = riff_size == OPEN_SIZES[0] or riff_size >= OPEN_SIZES[1]
    return FileRegion(archive, offset, size - offset if is_open else min(riff_size + RIFF_HEADER, size - offset))
