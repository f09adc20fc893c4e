"""The entry point for reading data: selects the reader for a path, a name or an object.

Readers of other packages are used by name (``NAME:PATH``), or where no built-in reader recognises the data.
"""

from __future__ import annotations

import os
import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxrank._support.plugins import Plugin, PluginError, find_plugin, plugin_names, plugins
from voxrank.data.cuts import is_cuts, read_cuts
from voxrank.data.folder import read_folder
from voxrank.data.formats import Format, format_of, register_reader
from voxrank.data.hub import SCHEME, is_hub_id, is_saved, read_hub, read_saved
from voxrank.data.kaldi import is_kaldi, read_kaldi
from voxrank.data.manifest import LINES, first_object, read_json_lines, read_table
from voxrank.data.names import has_one_form, nfc, on_disk
from voxrank.data.rows import ALL, Request
from voxrank.data.tars import is_tar, read_tars
from voxrank.data.utterance import Dataset
from voxrank.errors import DataError, VoxrankError, did_you_mean, reason

__all__ = ["read_dataset", "read_requested", "read_unlabelled", "register_reader"]

TABLES = (".csv", ".tsv")
PIECE_BYTES = 1 << 20


def read_dataset(
    data: Any,
    *,
    target: str | None = None,
    split: str | None = None,
    segments: str | os.PathLike[str] | None = None,
    tier: str | None = None,
    besides: Sequence[str] = (),
) -> Dataset:
    """Read labelled speech. Only rows and labels are read, no audio.

    A manifest has these columns:

    - ``path`` (or ``audio_filepath``, ``file``, ``audio``): the audio file, relative to the manifest's folder.
    - The target, the first of these columns that exists: ``label`` (class), ``labels`` (any number of classes),
      ``value`` (number), ``segments`` (a TextGrid, CTM, RTTM, Audacity or JSON file, or a JSON list) or ``text``
      (transcript).
    - Optionally ``start`` (or ``offset``) and ``end`` (or ``duration``, after a start) in seconds, ``speaker``,
      ``language`` and ``split``.

    In data from other tools, columns with other usual names replace these (`voxrank.data.columns`). `Dataset.notes`
    lists such columns, and how names of splits, times and folders were interpreted.

    Args:
        data: a manifest (.csv, .tsv, .jsonl, .ndjson, .jsonl.gz, NeMo's .json), a folder of class folders, a Kaldi
            data folder, a file of Lhotse cuts, tar shards (WebDataset), a Hugging Face data set (saved folder or hub
            id); or an object: a pandas DataFrame, a PyTorch data set, a `datasets.Dataset`, a `lhotse.CutSet`.
        target: another column to predict: ``value`` as numbers, any other column as classes.
        split: split to read, or several joined by "+"; "all" for every row. By default ``train``, else splits whose
            names mean training data. Test rows are read only where there are no other rows (`voxrank.data.splits`).
        segments: a file with the timed segments of all recordings, or a folder with a file for each recording, at any
            depth. It replaces the column. `voxrank.data.recording_keys` describes how names are matched.
        tier: tier of TextGrid and JSON files and of Lhotse's alignments; by default "phones", or the only tier.
        besides: other columns to keep, such as "speaker" and "gender" (`Utterance.others`).

    Returns:
        The usable utterances. `Dataset.skipped` holds the others, with reasons.

    Raises:
        DataError: the data, the format, the columns or all rows are unusable.
    """
    path = None if segments is None else Path(segments)
    return read_requested(data, Request(target, split, segments=path, tier=tier, besides=tuple(besides)))


def read_requested(data: Any, request: Request) -> Dataset:
    """Read labelled speech as `read_dataset` does, with its choices, and a listener for the progress, in one object."""
    path = None if request.segments is None else on_disk(request.segments)
    if path is not None and not path.exists():
        raise DataError(f"no such file or folder of segments: {path}; check the path")
    target, split, tier = (
        None if name is None else nfc(name) for name in (request.target, request.split, request.tier)
    )
    besides = tuple(map(nfc, request.besides))
    return _read(data, replace(request, target=target, split=split, segments=path, tier=tier, besides=besides))


def read_unlabelled(data: Any) -> Dataset:
    """Read all rows of a data set, whether they have labels or not. The formats are those of `read_dataset`.

    Raises:
        DataError: as `read_dataset`.
    """
    return _read(data, Request(split=ALL, labelled=False))


def _read(data: Any, request: Request) -> Dataset:
    if not isinstance(data, str | os.PathLike):
        from voxrank.data.objects import read_object

        return read_object(data, request)
    source = os.fspath(data)
    if isinstance(source, bytes) or source != source.encode(errors="ignore").decode():
        raise DataError(f"expected a path in UTF-8, got {source!a}; rename it")
    source = os.fspath(on_disk(Path(source))) if not has_one_form(source) else source
    try:
        form, location = named_format(source) or (format_of(source), source)
        faults = ""
        if form is None:
            form, faults = plugged_format(source)
        if form is None:
            raise _unknown_format_error(Path(source), faults)
        return form.read(location, request)
    except UnicodeDecodeError as error:
        line = _first_line_not_utf8(Path(source))
        where = f" in line {line}" if line else ""
        raise DataError(f"{source}: expected UTF-8 text, got other bytes{where}; save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"cannot read {source}: {error}; the file was cut short or damaged, copy it again") from error


def named_format(source: str) -> tuple[Format, str] | None:
    """Return the format that a name begins with, and the rest of the name; None where it begins with no format.

    ``hf://`` always means the built-in reader, whatever the names of plug-ins.

    Raises:
        PluginError: the format belongs to a plug-in that cannot be used.
    """
    name, colon, rest = source.partition(":")
    if not colon or source.startswith(SCHEME) or name not in plugin_names("readers"):
        return None
    plugin = find_plugin("readers", name)
    return None if plugin is None else (_checked_format(plugin), rest)


def plugged_format(source: str) -> tuple[Format | None, str]:
    """Return the plug-in format of data that no built-in reader recognises.

    Returns:
        The format, or None where there is none; and the reasons why plug-ins could not be tried, or empty text.
    """
    faults: list[str] = []
    for plugin in plugins("readers"):
        try:
            form = _checked_format(plugin)
            if form.matches(source):
                return form, ""
        except PluginError as error:
            faults.append(str(error))
        except Exception as error:  # noqa: BLE001, other code may raise any type
            faults.append(f"the plug-in {plugin.name!r} of {plugin.origin} failed to inspect it ({reason(error)})")
    return None, "; ".join(faults)


def _checked_format(plugin: Plugin) -> Format:
    form = plugin.load()
    if not isinstance(form, Format):
        raise plugin.refuse("a voxrank.data.formats.Format", form)

    def read(source: str, request: Request) -> Dataset:
        try:
            dataset = form.read(source, request)
        except (VoxrankError, OSError, UnicodeDecodeError, MemoryError):
            raise
        except Exception as error:
            raise DataError(f"{plugin.origin} cannot read {source} ({reason(error)})") from error
        if not isinstance(dataset, Dataset):
            raise plugin.refuse("a reader that returns a Dataset", dataset)
        return dataset

    return replace(form, read=read)


def _first_line_not_utf8(source: Path) -> int:
    """Return the number of the first line that is not UTF-8, from 1; 0 where the source is not an uncompressed file.

    The decoder only reports a place in its buffer.
    """
    if not source.is_file() or source.suffix.lower() == ".gz":
        return 0
    decoder = getincrementaldecoder("utf-8")()
    line = 1
    with source.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            try:
                line += decoder.decode(piece).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
    return line


def _unknown_format_error(source: Path, faults: str) -> DataError:
    """Return the error for data that no reader recognises.

    Args:
        source: path of the data.
        faults: reasons why plug-ins could not be tried.
    """
    plugin_faults = f"; {faults}" if faults else ""
    if not source.exists():
        siblings = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        suggestion = did_you_mean(source.name, siblings).partition(" (known")[0] if siblings else ""
        hint = suggestion if suggestion.startswith("did you mean") else "check the path"
        return DataError(f"no such data set: {source}; {hint}{plugin_faults}")
    endings = ", ".join((*TABLES, *LINES, ".tar"))
    return DataError(
        f"{source}: expected a folder of class folders or a file ending in {endings}, "
        f"got {source.suffix.lower() or 'no ending'!r}{plugin_faults}"
    )


def _has_ending(*suffixes: str) -> Callable[[str], bool]:
    return lambda source: source.lower().endswith(suffixes) and Path(source).exists() and not Path(source).is_dir()


def _is_json(source: str) -> bool:
    """Return whether a .json file is a NeMo manifest, which has one JSON object per line."""
    return source.lower().endswith(".json") and bool(first_object(Path(source)))


def _manifest_reader(read: Callable[[Path, Request], Dataset]) -> Callable[[str, Request], Dataset]:
    def checked(source: str, request: Request) -> Dataset:
        path = Path(source)
        if not path.is_file():  # reading a pipe would block
            raise DataError(f"{source}: expected a manifest, got a device; give a file")
        if path.stat().st_size == 0:
            raise DataError(f"{source}: expected a manifest, got an empty file")
        return read(path, request)

    return checked


register_reader("folder of class folders", os.path.isdir, lambda source, request: read_folder(Path(source), request))
register_reader("table", _has_ending(*TABLES), _manifest_reader(read_table))
register_reader("JSON lines", _has_ending(*LINES), _manifest_reader(read_json_lines))
register_reader("NeMo manifest", _is_json, _manifest_reader(read_json_lines))
register_reader("Lhotse cuts", is_cuts, read_cuts)
register_reader("tar shards", is_tar, read_tars)
register_reader("Kaldi data folder", is_kaldi, read_kaldi)
register_reader("Hugging Face data set (hub)", is_hub_id, read_hub)
register_reader("Hugging Face data set (saved)", is_saved, read_saved)
