"""The outputs of a ranking: a folder, a live page, a script that fine-tunes the winner, and a run in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxrank._support.files import write_atomically
from voxrank.cli.common import err
from voxrank.config import OUTPUT, DetailLevel, Flag, RankRequest, option
from voxrank.errors import OptionError, RunError, VoxrankError

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking


@dataclass(frozen=True)
class Outputs:
    """The requested outputs of a ranking.

    Attributes:
        folder: folder for the ranking, the page and the log; None: the ranking is only shown.
        details: level of the diagnostics; None: "full" with a folder, otherwise "quick".
        watch: whether a browser shows the page while it grows.
        watch_port: port of that page; None: any free port.
        then: file of the script that fine-tunes the winner; None: no script.
        mlflow: experiment or tracking URI; None: nothing is logged.

    Raises:
        OptionError: a port is given without `--watch`.
    """

    folder: Path | None = option(
        None,
        Flag("--out", "Write report.html, ranking.json, details.json, layers.csv and run.log here.", OUTPUT, "DIR"),
    )
    details: DetailLevel | None = option(
        None,
        Flag(
            "--details",
            "Details (classes, pictures, learning curve): none, quick, or full (with t-SNE pictures).",
            OUTPUT,
            shown="full with --out, else quick",
        ),
    )
    watch: bool = option(
        default=False, flag=Flag("--watch", "Show the growing report in a browser on this machine.", OUTPUT)
    )
    watch_port: int | None = option(
        None, Flag("--watch-port", "Port of the page of --watch.", OUTPUT, "N", shown="any free port")
    )
    then: Path | None = option(
        None,
        Flag("--then", "Write a script here that fine-tunes the winner with transformers' Trainer.", OUTPUT, "FILE"),
    )
    mlflow: str | None = option(
        None,
        Flag("--mlflow", "Log to MLflow: the name of an experiment, or the URI of a tracking server.", OUTPUT, "WHERE"),
    )

    def __post_init__(self) -> None:
        if self.watch_port is not None and not self.watch:
            raise OptionError(
                f"--watch-port {self.watch_port} is the port of the page of --watch; add --watch, or leave it out"
            )

    @property
    def port(self) -> int | None:
        """Port of the page of `--watch`, 0 for any free port; None without a page."""
        return (self.watch_port or 0) if self.watch else None

    def check(self, request: RankRequest) -> None:
        """Check that all outputs can be written, before the run starts; nothing is written here.

        Args:
            request: the models to rank, and the timed segments.

        Raises:
            OptionError: an output cannot be written.
        """
        if self.then is not None:
            from voxrank.encoders.groups import expand_groups
            from voxrank.integrations.finetune import check_tunable

            if request.segments is not None:
                raise OptionError(
                    "expected --then with labels, values or transcripts, got --segments; leave one of the two out"
                )
            check_tunable(expand_groups(request.models))
            check_new_file(self.then, self.folder)
        if self.mlflow is not None:
            from voxrank.integrations.mlflow import Tracker

            Tracker.of(self.mlflow).check()

    def make(self, ranking: Ranking, trust: Sequence[str] = ()) -> None:
        """Write the further outputs, and report them on standard error; if one fails, the other is still written.

        Args:
            ranking: the completed ranking, which was saved in the folder.
            trust: names of the models whose own code may run.

        Raises:
            RunError: the winner cannot be tuned, the script cannot be written, or MLflow can no longer be reached.
        """
        results = [_failure(lambda: self._write_script(ranking, trust)), _failure(lambda: self._log(ranking))]
        failures = [failure for failure in results if failure is not None]
        if failures:
            state = "shown" if self.folder is None else f"saved in {self.folder}"
            raise RunError(f"the ranking was {state}; {'; '.join(map(str, failures))}") from failures[0]

    def _write_script(self, ranking: Ranking, trust: Sequence[str]) -> None:
        if self.then is None:
            return
        from voxrank.integrations.finetune import script

        try:
            write_text(self.then, script(ranking, self.then.name, trust=tuple(trust)))
        except VoxrankError as error:
            raise RunError(f"{self.then} was not written: {error}") from error
        err().print(f"Wrote {self.then}: python {self.then} fine-tunes the winner", soft_wrap=True, markup=False)

    def _log(self, ranking: Ranking) -> None:
        if self.mlflow is None:
            return
        from voxrank.integrations.mlflow import Tracker, log_to_mlflow

        run = log_to_mlflow(ranking, Tracker.of(self.mlflow), folder=self.folder)
        err().print(f"Logged to MLflow as run {run}", soft_wrap=True, markup=False)


def _failure(make: Callable[[], None]) -> VoxrankError | None:
    try:
        make()
    except VoxrankError as error:
        return error
    return None


def check_new_file(path: Path, folder: Path | None = None) -> None:
    """Check that no file exists at `path`, and that its folder exists.

    Args:
        path: path of the file.
        folder: folder that will exist by the time the file is written.

    Raises:
        OptionError: a file exists, whose manual changes could be lost; or its folder does not exist.
    """
    if path.exists():
        raise OptionError(f"{path} exists already, and may have been edited; name another file, or move it")
    parent = path.absolute().parent
    if not parent.is_dir() and (folder is None or parent.resolve() != folder.resolve()):
        raise OptionError(f"there is no folder {path.parent} for {path.name}; create it, or choose another")


def write_text(path: Path, text: str) -> None:
    """Write a file completely or not at all.

    Raises:
        OptionError: the file cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OptionError(
            f"expected a file that can be written at {path}, got: {error.strerror or error}; choose another"
        ) from error
