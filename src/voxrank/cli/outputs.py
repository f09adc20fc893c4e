"""Further outputs of a ranking: a script that fine-tunes the winner, and a run in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxrank._support.files import write_atomically
from voxrank.cli.common import err
from voxrank.errors import OptionError, RunError, VoxrankError

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking


@dataclass(frozen=True)
class Outputs:
    """The requested outputs.

    Attributes:
        then: file of the script; None: no script.
        mlflow: experiment or tracking URI; None: nothing is logged.
        trust: names of the models whose own code may run.
    """

    then: Path | None = None
    mlflow: str | None = None
    trust: tuple[str, ...] = ()

    def check(self, models: Sequence[str], folder: Path | None = None, *, segments: str | None = None) -> None:
        """Check that all outputs can be written, before the run starts; nothing is written here.

        Args:
            models: models to rank.
            folder: folder where the ranking will be saved, which is created for it.
            segments: timed segments to rank by.

        Raises:
            OptionError: an output cannot be written.
        """
        if self.then is not None:
            from voxrank.integrations.finetune import check_tunable

            if segments is not None:
                raise OptionError(
                    "expected --then with labels, values or transcripts, got --segments; leave one of the two out"
                )
            check_tunable(models)
            check_new_file(self.then, folder)
        if self.mlflow is not None:
            from voxrank.integrations.mlflow import Tracker

            Tracker.of(self.mlflow).check()

    def make(self, ranking: Ranking, folder: Path | None) -> None:
        """Write the outputs, and report them on standard error; if one fails, the others are still written.

        Args:
            ranking: the completed ranking.
            folder: folder where it was saved.

        Raises:
            RunError: the winner cannot be tuned, the script cannot be written, or MLflow can no longer be reached.
        """
        tried = [_failure(lambda: self._write_script(ranking)), _failure(lambda: self._log(ranking, folder))]
        failures = [failure for failure in tried if failure is not None]
        if failures:
            done = "shown" if folder is None else f"saved in {folder}"
            raise RunError(f"the ranking was {done}; {'; '.join(map(str, failures))}") from failures[0]

    def _write_script(self, ranking: Ranking) -> None:
        if self.then is None:
            return
        from voxrank.integrations.finetune import script

        try:
            write_text(self.then, script(ranking, self.then.name, trust=self.trust))
        except VoxrankError as error:
            raise RunError(f"{self.then} was not written: {error}") from error
        err().print(f"Wrote {self.then}: python {self.then} fine-tunes the winner", soft_wrap=True, markup=False)

    def _log(self, ranking: Ranking, folder: Path | None) -> None:
        if self.mlflow is None:
            return
        from voxrank.integrations.mlflow import Tracker, log_to_mlflow

        run = log_to_mlflow(ranking, Tracker.of(self.mlflow), folder=folder)
        err().print(f"Logged to MLflow as run {run}", soft_wrap=True, markup=False)


def _failure(make: Callable[[], None]) -> VoxrankError | None:
    try:
        make()
    except VoxrankError as error:
        return error
    return None


NOTHING = Outputs()


def check_new_file(path: Path, folder: Path | None = None) -> None:
    """Check that no file exists at `path`, and that its folder exists.

    Args:
        path: path of the file.
        folder: folder that will exist by the time the file is written.

    Raises:
        OptionError: a file exists, whose manual changes could be lost; or its folder does not exist.
    """
    if path.exists():
        raise OptionError(f"{path} is there already, and may have been edited; name another file, or move it")
    parent = path.absolute().parent
    if not parent.is_dir() and (folder is None or parent.resolve() != folder.resolve()):
        raise OptionError(f"there is no folder {path.parent}, where {path.name} is to be; make it, or choose another")


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
