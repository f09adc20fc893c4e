"""The reader of fairseq's checkpoints: configuration and weights of a `.pt` file, without running anything in it.

The file is a pickle. torch reads it with ``weights_only``, and gets an inert object for every class of fairseq, of
omegaconf and of numpy that the file names. Apart from torch's functions for tensors, nothing that the file names is
imported or called. The names are listed before torch reads the file, and any other name is refused.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Self

import torch

from voxrank.errors import ModelError, listed, reason, shortened

ZIP_START = b"PK\x03\x04"
LEGACY_PICKLES = 4
"""Number of pickles before the weights in a file of torch before 1.6: magic number, version, machine and content."""

MAX_PICKLE_BYTES = 3 << 20
"""Maximum size of a pickle without its tensors, which takes about 200 bytes for each tensor."""

TENSOR_NAMES = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.set"
    r"|torch\.(Size|device|float\d+|bfloat16|u?int\d+|bool|(cuda\.)?[A-Za-z0-9]+Storage)"
    r"|torch\._utils\._rebuild_(tensor_v2|parameter)|torch\.nn\.parameter\.Parameter"
)
"""Names of a pickle of tensors, which torch reads by itself."""

INERT_NAMES = re.compile(
    r"(fairseq\w*|omegaconf|hydra|numpy|examples)\.[\w.]+|argparse\.Namespace|typing\.\w+"
    r"|pathlib\.\w+|builtins\.(bool|complex|dict|float|frozenset|int|list|object|str|tuple|type)"
)
"""Names that get inert objects."""

DICTIONARY = "collections.defaultdict"
"""Name that gets a new dictionary, because torch fills only dictionaries with items."""

OLD_NAMES = {"__builtin__.long": "builtins.int", "__builtin__.unicode": "builtins.str"}
"""Names in Python 2, which pickles keep → names in Python 3."""

PARTS = ("args", "cfg", "model")
"""Parts of a checkpoint that describe the model and hold its weights; the state of the optimiser is far larger."""

TORCH_CAUSE = "WeightsUnpickler error: "
"""Text in torch's messages before the cause of a failure."""

STANDARD_ADVICE = "load the model in a function of your own, as py:MODULE:FACTORY, or save it by save_pretrained"

_READING = Lock()
"""Held while torch knows the inert objects, because it keeps one list for the whole process."""


class Inert:
    """A stand-in for an object of a class that a file names. It keeps the arguments and the state, and does nothing."""

    arguments: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *arguments: Any) -> Self:
        """Keep the arguments."""
        self = super().__new__(cls)
        self.arguments = arguments
        return self

    def __init__(self, *_: Any) -> None:
        """Accept any arguments."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = state


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of fairseq.

    Tensors are mapped from the file, so that only those that are used take memory. A file of torch before 1.6 is read
    as a whole.

    Args:
        path: the file.

    Returns:
        The parts `model`, `cfg` and `args` that the file has. Objects of other classes than torch's are `Inert`.

    Raises:
        ModelError: the file cannot be read, names what may not be loaded, or is no checkpoint of fairseq.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(len(ZIP_START)) == ZIP_START
        pickle = _zipped_pickle(path) if zipped else _legacy_pickle(path)
        names = set(_named(pickle, 1 if zipped else LEGACY_PICKLES))
        _check_names(names)
        content = _load(path, names, zipped=zipped)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # torch raises many kinds for damaged files
        raise ModelError(f"cannot be read ({_cause(error)}); the file is damaged or of another kind") from error
    return _checked(content)


def fields(value: Any) -> Mapping[str, Any]:
    """Return the fields of a dictionary, a Namespace, or a container of omegaconf; nothing for any other value.

    Args:
        value: part of a checkpoint's configuration.
    """
    value = plain(value)
    if isinstance(value, Inert):
        state = value.state
        value = state.get("_content", state) if isinstance(state, dict) else None
    return value if isinstance(value, dict) else {}


def plain(value: Any) -> Any:
    """Return a value without the node of omegaconf or the member of an enumeration that holds it.

    Args:
        value: a field of a checkpoint's configuration.
    """
    if isinstance(value, Inert) and isinstance(value.state, dict) and "_val" in value.state:
        value = value.state["_val"]
    if isinstance(value, Inert) and len(value.arguments) == 1:
        value = value.arguments[0]
    return value


def _cause(error: Exception) -> str:
    """Return the cause of a failure, without torch's general advice about files that it does not load."""
    _, torch_says, cause = str(error).partition(TORCH_CAUSE)
    return shortened(cause.partition("\n")[0], 160) if torch_says else reason(error)


def _zipped_pickle(path: Path) -> bytes:
    """Return the pickle in torch's zip format, if nothing in it can grow when it is read."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise ModelError(f"is a TorchScript archive, not a checkpoint of fairseq; {STANDARD_ADVICE}")
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ModelError("is a zip file, but none that torch.save writes; give a checkpoint of fairseq")
        if pickles[0].file_size > MAX_PICKLE_BYTES:
            raise ModelError(f"describes its tensors in {pickles[0].file_size:,} bytes; at most {MAX_PICKLE_BYTES:,}")
        return archive.read(pickles[0])


def _legacy_pickle(path: Path) -> bytes:
    """Return the beginning of a file in torch's format before 1.6, which holds its pickles."""
    with path.open("rb") as file:
        return file.read(MAX_PICKLE_BYTES)


def _named(pickle: bytes, count: int) -> Iterator[str]:
    """Yield the names of classes and functions in consecutive pickles; nothing is loaded."""
    stream = io.BytesIO(pickle)
    for _ in range(count):
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "GLOBAL":
                name = str(argument).replace(" ", ".")
                name = OLD_NAMES.get(name, name)
                yield name.replace("__builtin__.", "builtins.", 1) if name.startswith("__builtin__.") else name
            elif opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
                raise ModelError(f"is a pickle that torch.save did not write ({opcode.name}); {STANDARD_ADVICE}")


def _check_names(names: set[str]) -> None:
    unknown = names - {DICTIONARY}
    others = sorted(n for n in unknown if not TENSOR_NAMES.fullmatch(n) and not INERT_NAMES.fullmatch(n))
    if others:
        raise ModelError(
            f"holds objects that are not loaded, because loading them could run code: {listed(others, 3)}; "
            f"{STANDARD_ADVICE}"
        )


def _load(path: Path, names: set[str], *, zipped: bool) -> Any:
    inert: list[Any] = [(Inert, name) for name in names if INERT_NAMES.fullmatch(name)]
    inert.append((_new_dictionary, DICTIONARY))
    with _READING, torch.serialization.safe_globals(inert), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _new_dictionary(*_: Any) -> dict[Any, Any]:
    """Return an empty dictionary, whatever the arguments."""
    return {}


def _checked(content: Any) -> dict[str, Any]:
    """Return the parts of a checkpoint of fairseq that are used, and refuse known files of others by their name."""
    keys = {str(key) for key in content} if isinstance(content, dict) else set()
    if {"dims", "model_state_dict"} <= keys:
        raise ModelError("is a Whisper checkpoint of OpenAI; name the hub id of its size, such as openai/whisper-base")
    if isinstance(content, dict) and isinstance(content.get("model"), dict) and _configuration(content):
        return {name: content[name] for name in PARTS if name in content}
    if isinstance(content, dict) and any(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"holds weights without a configuration, and is no checkpoint of fairseq; {STANDARD_ADVICE}")
    what = f"a dictionary of {listed(sorted(keys), 5)}" if keys else f"a {shortened(type(content).__name__, 40)}"
    raise ModelError(f"holds {what}, not the model and cfg or args of fairseq; {STANDARD_ADVICE}")


def _configuration(content: dict[str, Any]) -> Mapping[str, Any]:
    return fields(content.get("args")) or fields(content.get("cfg"))
