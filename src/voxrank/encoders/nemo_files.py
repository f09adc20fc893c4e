"""The reader of NVIDIA NeMo's checkpoint files (.nemo).

A .nemo file is a tar archive, plain or compressed with gzip, that holds a YAML configuration, PyTorch weights and other
files such as a tokenizer. No member is extracted under its name: the configuration and the weights are read from the
archive, and all other members are skipped.
"""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO, Any

import torch
import yaml

from voxrank.errors import ModelError, reason

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
"""Names of the two members that are read."""

MAX_MEMBERS = 10_000
MAX_CONFIG_BYTES = 4 << 20
"""Maximum size of the configuration, and of any other part that is read before the weights."""
MAX_EXPANSION = 10
"""Maximum ratio of the contents to the compressed file; the weights of a model hardly compress."""
SMALL_BYTES = 1 << 20
"""Size of the contents up to which this ratio is not checked."""
COPIED_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


class NemoArchive:
    """An open .nemo file.

    Attributes:
        config: the parsed configuration of the model.

    Args:
        archive: the tar archive.
        stream: the file that the archive is read from.
        most_bytes: maximum size of a member.

    Raises:
        ModelError: the configuration is missing, damaged, or not plain YAML.
    """

    def __init__(self, archive: tarfile.TarFile, stream: IO[bytes], most_bytes: int) -> None:
        self._archive, self._stream = archive, stream
        with _reading("contents"):
            self._members = _find_members(archive, most_bytes)
        self.config = self._read_config()

    def weights(self, prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """Read the tensors whose names begin with one of the prefixes.

        Raises:
            ModelError: the weights are missing or damaged, or hold anything else than tensors.
        """
        member = self._member(WEIGHTS)
        with _reading(WEIGHTS), self._open_weights(member) as file:
            _check_stored(file, member.size)
            content = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ModelError(f"its {WEIGHTS} holds no table of tensors; get the model again")
        kept = {name: value for name, value in content.items() if isinstance(name, str) and name.startswith(prefixes)}
        if not all(_is_plain(value) for value in kept.values()):
            raise ModelError(f"its {WEIGHTS} holds values that are not plain tensors; get the model again")
        _check_size(kept, member.size)
        return kept

    @contextmanager
    def _open_weights(self, member: tarfile.TarInfo) -> Iterator[IO[bytes]]:
        """Open the weights; PyTorch seeks in them, so that compressed ones are first written to a temporary file."""
        file = _open_member(self._archive, member)
        if not isinstance(self._stream, _BoundedGzip):
            yield file
            return
        with TemporaryFile() as copy:
            copyfileobj(file, copy, COPIED_BYTES)
            yield copy

    def _read_config(self) -> dict[str, Any]:
        member = self._member(CONFIG)
        if member.size > MAX_CONFIG_BYTES:
            raise ModelError(f"its {CONFIG} has {member.size:,} bytes, and no model needs so many; get the model again")
        with _reading(CONFIG):
            # Not the loader in C: deep nesting overflows its stack, which ends the process.
            content = yaml.safe_load(_open_member(self._archive, member).read())
        if not isinstance(content, dict):
            raise ModelError(f"its {CONFIG} holds no settings; get the model again")
        inner = content.get("model")
        return inner if isinstance(inner, dict) else content

    def _member(self, name: str) -> tarfile.TarInfo:
        if name not in self._members:
            raise ModelError(f"it has no {name}, so that it is no complete NeMo checkpoint; get the model again")
        return self._members[name]


@contextmanager
def open_nemo(path: Path) -> Iterator[NemoArchive]:
    """Open a .nemo file for the duration of a block.

    Args:
        path: the file.

    Raises:
        ModelError: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise ModelError("there is no such file; check the path of the .nemo file")
    with _reading("archive"):
        size = path.stat().st_size
        file = path.open("rb")
    with file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        stream: Any = _BoundedGzip(file) if compressed else file
        most_bytes = max(SMALL_BYTES, MAX_EXPANSION * size) if compressed else size
        with _open_tar(stream) as archive:
            yield NemoArchive(archive, stream, most_bytes)


class _BoundedGzip(gzip.GzipFile):
    """A compressed file that refuses to read much at once: the header of a tar member may claim any length."""

    most_bytes = MAX_CONFIG_BYTES

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(fileobj=file, mode="rb")

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= self.most_bytes:
            raise OSError("a member is larger than that of any model")
        return super().read(size)


def _open_tar(stream: IO[bytes]) -> tarfile.TarFile:
    with _reading("archive"):
        return tarfile.open(fileobj=stream, mode="r:")


def _find_members(archive: tarfile.TarFile, most_bytes: int) -> dict[str, tarfile.TarInfo]:
    """Return the two members that are read; the search ends when both are found."""
    found: dict[str, tarfile.TarInfo] = {}
    for number, member in enumerate(archive):
        if number > MAX_MEMBERS or not 0 <= member.size <= most_bytes:
            raise tarfile.ReadError("more members, or larger members, than any model has")
        name = str(PurePosixPath(member.name))
        if name in (CONFIG, WEIGHTS) and member.isreg() and not member.issparse():
            found.setdefault(name, member)
        if len(found) == 2:
            break
    return found


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.ReadError("a member is no file")
    return file


def _check_stored(file: IO[bytes], size: int) -> None:
    """Refuse weights that are compressed once more, which PyTorch never does: they may expand without limit."""
    file.seek(0)
    with zipfile.ZipFile(file) as content:
        entries = content.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise zipfile.BadZipFile("its parts are compressed")
    if sum(entry.file_size for entry in entries) > size:
        raise zipfile.BadZipFile("its parts are larger than the whole")
    file.seek(0)


def _is_plain(value: Any) -> bool:
    """Return whether a value is a tensor with values in memory, neither sparse nor quantised."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_complex()
    )


def _check_size(tensors: dict[str, torch.Tensor], size: int) -> None:
    """Refuse tensors that claim more values than are stored: those that repeat a value would be written out."""
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > 2 * size:  # blocks may share their positional biases
        raise ModelError(f"its {WEIGHTS} holds tensors that are larger than the file; get the model again")


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Convert any exception on a damaged file to one line.

    Raises:
        ModelError: `what` cannot be read.
    """
    try:
        yield
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ModelError(f"cannot read its {what} ({reason(error)}); the file is damaged: get it again") from error
