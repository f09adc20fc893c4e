"""Try an installed voxrank without extras: `python scripts/try_release.py` in the environment to be tried.

With `--extras`, it tries the extras that were once part of the base: align, page, praat and table.
`scripts/check_release.sh` does both in a fresh one. The tests read `NEEDS`, and try them with the packages hidden.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import wave
from dataclasses import dataclass
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path

HEAVY = (
    "numpy",
    "torch",
    "transformers",
    "scipy",
    "pandas",
    "numba",
    "altair",
    "vl_convert",
    "praatio",
    "matplotlib",
    "sklearn",
    "ray",
    "datasets",
)
"""Packages that neither `import voxrank` nor `voxrank --help` may import."""
TIMES = 7
"""Number of measurements of a time, of which the minimum counts."""


@dataclass(frozen=True)
class Need:
    """A feature that needs an extra.

    Attributes:
        extra: the extra of voxrank, or several joined by commas.
        packages: its packages, by their import names.
        command: command of voxrank, with {folder} for the folder of `make_data`.
        python: in place of a command, a line that raises the message; {folder} as above.
    """

    extra: str
    packages: tuple[str, ...]
    command: str = ""
    python: str = ""

    @property
    def says(self) -> str:
        """The text that the message must contain."""
        return f"pip install 'voxrank[{self.extra}]'"

    @property
    def shown(self) -> str:
        """The command or line, as shown to people."""
        return (self.command or self.python).format(folder="…")

    def code(self, folder: Path) -> str:
        """Return Python code that runs it, prints the message and exits with 2."""
        if self.python:
            line = self.python.format(folder=folder.as_posix())
            return f"import sys, voxrank\ntry:\n {line}\nexcept voxrank.OptionError as e:\n print(e); sys.exit(2)"
        arguments = self.command.format(folder=folder.as_posix()).split()
        start = "import sys; sys.stderr = sys.stdout\nfrom voxrank.cli.main import exit_code\n"
        return f"{start}sys.exit(exit_code({arguments}))"


NEEDS = (
    Need("page", ("altair", "vl_convert"), "report {folder}"),
    Need("page", ("altair", "vl_convert"), "rank {folder}/tones.csv -m logmel --watch"),
    Need("page", ("altair", "vl_convert"), python="voxrank.write_page('report.html', None)"),
    Need("align", ("numba",), "rank {folder}/transcripts.csv -m logmel"),
    Need("align", ("numba",), python="voxrank.rank('{folder}/transcripts.csv', ['logmel'])"),
    Need("align", ("numba",), python="voxrank.align('{folder}/transcripts.csv', models=['logmel'])"),
    Need("align,praat", ("numba", "praatio"), "align {folder}/transcripts.csv -m logmel --out {folder}/aligned"),
    Need("praat", ("praatio",), "align {folder}/transcripts.csv --aligner uniform --out {folder}/aligned"),
    Need("table", ("pandas",), python="voxrank.rank('{folder}/tones.csv', ['logmel']).to_pandas()"),
    Need("onnx", ("onnx", "onnxruntime"), "models onnx:{folder}/model.onnx"),
    Need("ray", ("ray",), "rank {folder}/tones.csv -m logmel --engine ray"),
    Need("hub", ("datasets",), "inspect hf://owner/name"),
    Need("lhotse", ("lhotse",), "inspect {folder}/cuts.jsonl"),
    Need("phone", ("espeakng_loader",), "inspect {folder}/transcripts.csv --unit phone --language en-us"),
    Need("demo", ("espeakng_loader",), python="from voxrank.testing.speech import Synthesiser; Synthesiser()"),
    Need("mlflow", ("mlflow",), "rank {folder}/tones.csv -m logmel --mlflow trials"),
    Need(
        "parquet",
        ("pandas", "pyarrow"),
        python="voxrank.rank('{folder}/tones.csv', ['logmel']).to_parquet('layers.parquet')",
    ),
    Need("plot", ("matplotlib",), python="voxrank.rank('{folder}/tones.csv', ['logmel']).plot()"),
    Need("validate", ("accelerate", "jiwer", "peft", "sklearn"), "validate {folder}/tones.csv -m logmel"),
    Need("validate", ("sklearn",), "rank {folder}/tones.csv -m logmel --source {folder}/tones.csv --score tsne"),
)
"""Features that need an extra, a line each; add new ones here."""


def make_data(folder: Path) -> Path:
    """Write a manifest of tones, one of transcripts, a file of cuts and a stand-in for a graph.

    Returns:
        The manifest of tones.
    """
    rows = ["path,label,speaker"]
    for number in range(24):
        name = f"{number}.wav"
        _write_tone(folder / name, 200.0 * (1 + number % 3), seed=number)
        rows.append(f"{name},{'abc'[number % 3]},s{number % 4}")
    (folder / "tones.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "transcripts.csv").write_text("path,text\n0.wav,yes\n1.wav,no\n", encoding="utf-8")
    (folder / "cuts.jsonl").write_text('{"type": "MonoCut", "id": "a"}\n', encoding="utf-8")
    (folder / "model.onnx").write_bytes(b"")
    return folder / "tones.csv"


def _write_tone(path: Path, frequency_hz: float, seed: int) -> None:
    samples = [
        round(9000 * math.sin(2 * math.pi * frequency_hz * i / 16_000) + 500 * math.sin(i * i * (seed + 1)))
        for i in range(4000 + 100 * (seed % 5))
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def voxrank(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command that pip installed, which has an ending on Windows."""
    command = shutil.which("voxrank", path=sysconfig.get_path("scripts"))
    return run(command or "voxrank", *arguments)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever its exit code."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def need(condition: bool, what: str, got: object = "") -> None:  # noqa: FBT001
    """Continue, or exit with the error."""
    if not condition:
        sys.exit(f"FAILED: {what}\n{got}")
    print(f"ok: {what}")


def seconds(code: str) -> float:
    """Return the minimum of several times that Python takes for the code, from the start of the process."""
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return min(taken)


def try_start() -> None:
    """Check version and help, their imports and their time."""
    version = metadata.version("voxrank")
    need(voxrank("--version").stdout.strip() == version, f"voxrank --version says {version}")
    shown = voxrank("--help")
    need(shown.returncode == 0 and "rank" in shown.stdout, "voxrank --help", shown.stderr)
    need(resources.files("voxrank").joinpath("py.typed").is_file(), "py.typed is there")
    for what, code in (
        ("import voxrank", "import voxrank"),
        ("voxrank --help", "from voxrank.cli.main import exit_code; exit_code(['--help'])"),
    ):
        seen = f"{code}; import sys; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
        need(done.stdout.splitlines()[-1] == "[]", f"{what} imports nothing heavy", done.stdout[-300:])
        print(f"    {what}: {seconds(code):.3f} s; python -c pass: {seconds('pass'):.3f} s")


def try_rank(data: Path) -> None:
    """Check a ranking of tones, with all its files."""
    out = data.parent / "ranked"
    done = voxrank("rank", str(data), "-m", "logmel", "-m", "mfcc", "--json", "-", "--out", str(out))
    need(done.returncode == 0, "voxrank rank", done.stderr)
    content = json.loads(done.stdout)
    need({m["model"] for m in content["models"]} == {"logmel", "mfcc"}, "both baselines are ranked", content)
    need((out / "ranking.json").is_file() and (out / "layers.csv").is_file(), "its files are written")
    told = [line for line in done.stderr.splitlines() if "report.html" in line]
    need(len(told) == 1 and "voxrank[page]" in told[0], "one line says that report.html needs an extra", done.stderr)


def try_needs(folder: Path) -> None:
    """Check that a feature without its extra names the extra, in a line."""
    for one in NEEDS:
        there = [name for name in one.packages if find_spec(name) is not None]
        need(len(there) < len(one.packages), f"the extra {one.extra} is not installed", there)
        done = run(sys.executable, "-c", one.code(folder))
        lines = [line for line in done.stdout.splitlines() if one.says in line]
        need(done.returncode == 2 and len(lines) == 1, f"without {one.extra}: {one.shown}", done.stdout + done.stderr)
        print(f"    {lines[0]}")


def try_extras(data: Path) -> None:
    """Check the report page, an alignment with its TextGrids, and a data frame."""
    folder = data.parent
    done = voxrank("rank", str(data), "-m", "logmel", "--out", str(folder / "ranked"))
    need(done.returncode == 0 and (folder / "ranked" / "report.html").is_file(), "report.html is written", done.stderr)
    done = voxrank("report", str(folder / "ranked"))
    need(done.returncode == 0, "voxrank report", done.stderr)
    done = voxrank("rank", str(folder / "transcripts.csv"), "-m", "logmel", "--aligner", "flat:logmel")
    need(done.returncode == 0, "transcripts are aligned and ranked", done.stderr)
    done = voxrank("align", str(folder / "transcripts.csv"), "-m", "logmel", "--out", str(folder / "aligned"))
    written = sorted(path.name for path in (folder / "aligned" / "textgrids").glob("*.TextGrid"))
    need(
        done.returncode == 0 and written == ["0.TextGrid", "1.TextGrid"], "voxrank align writes TextGrids", done.stderr
    )
    code = f"import voxrank; print(len(voxrank.Ranking.load({str(folder / 'ranked')!r}).to_pandas()))"
    done = run(sys.executable, "-c", code)
    need(done.stdout.strip() == "1", "to_pandas()", done.stdout + done.stderr)


def main(arguments: list[str]) -> None:
    """Run all checks of an environment without extras, or those of the extras."""
    with tempfile.TemporaryDirectory() as temporary:
        data = make_data(Path(temporary))
        if arguments == ["--extras"]:
            try_extras(data)
            return
        try_start()
        try_rank(data)
        try_needs(data.parent)


if __name__ == "__main__":
    main(sys.argv[1:])
