"""What a ranking is made into once it is there: a script for its winner, a run of MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxrank.cli.common import err
from voxrank.errors import OptionError
from voxrank.files import write_atomically

if TYPE_CHECKING:
    from voxrank.results import Ranking


@dataclass(frozen=True)
class Outputs:
    """What was asked for.

    Attributes:
        then: file of the script; None: none.
        mlflow: experiment or tracking URI; None: nothing is logged.
    """

    then: Path | None = None
    mlflow: str | None = None

    def check(self, models: Sequence[str]) -> None:
        """Make sure that all of it can be made, before any work is done for it.

        Raises:
            OptionError: it cannot.
        """
        if self.then is not None:
            from voxrank.finetune import check_tunable

            check_tunable(models)
            check_new_file(self.then)
        if self.mlflow is not None:
            from voxrank.tracking import Tracker

            Tracker.of(self.mlflow).check()

    def make(self, ranking: Ranking, folder: Path | None) -> None:
        """Make it, and say so on standard error.

        Args:
            ranking: that is there now.
            folder: in which it was saved.

        Raises:
            RequestError: the winner cannot be tuned.
            RunError: MLflow cannot be reached any more.
        """
        if self.mlflow is not None:
            from voxrank.tracking import Tracker, log_to_mlflow

            run = log_to_mlflow(ranking, Tracker.of(self.mlflow), folder=folder)
            err().print(f"Logged to MLflow as run {run}", soft_wrap=True, markup=False)
        if self.then is not None:
            from voxrank.finetune import script

            write_text(self.then, script(ranking, self.then.name))
            err().print(f"Wrote {self.then}: python {self.then} fine-tunes the winner", soft_wrap=True, markup=False)


NOTHING = Outputs()


def check_new_file(path: Path) -> None:
    """Make sure that nothing is at `path` and that a file can be.

    Raises:
        OptionError: something is, so that changes of hand could be lost; or there is no folder for it.
    """
    if path.exists():
        raise OptionError(f"{path} is there already, and may have been edited; name another file, or move it")
    if not path.absolute().parent.is_dir():
        raise OptionError(f"there is no folder {path.parent}, where {path.name} is to be; make it, or choose another")


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        OptionError: it cannot be written.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise OptionError(
            f"expected a file that can be written at {path}, got: {error.strerror or error}; choose another"
        ) from error
