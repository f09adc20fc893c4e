"""Logs a ranking as a run of MLflow: parameters, metrics of every layer, and the files."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voxrank._support.packages import require
from voxrank.errors import OptionError, RunError, one_line, reason, shortened
from voxrank.results.ranking import ModelScore, Ranking

EXPERIMENT = "voxrank"
"""Default name of the experiment."""

MAX_NAME = 250
"""Maximum length of the name of a metric or of a parameter in MLflow, in characters."""
LABEL = 90
"""Maximum length of the part of a name that stands for a model or an option, in characters."""
MAX_VALUE = 6000
"""Maximum length of a parameter's value, in characters."""
METRICS_AT_ONCE, PARAMETERS_AT_ONCE = 1000, 100
"""Maximum number of metrics and of parameters in one request to MLflow."""

FILES = ("details.json", "report.html", "run.log")
"""Further files in the folder of a saved ranking that are logged if they exist."""

_FORBIDDEN = re.compile(r"[^\w\-. /]", re.ASCII)

Metrics = list[tuple[str, float, int]]
"""Name, value and step of each metric."""


@dataclass(frozen=True)
class Tracker:
    """The destination of runs.

    Attributes:
        experiment: name of the experiment, which is created if it does not exist.
        uri: URI of the tracking server or store; None: MLFLOW_TRACKING_URI, or MLflow's default.
    """

    experiment: str = EXPERIMENT
    uri: str | None = None

    @classmethod
    def of(cls, where: str) -> Tracker:
        """Create a tracker from a tracking URI (`http://…`, `file:…`, `databricks`), or from the name of an experiment.

        Raises:
            OptionError: the text is empty.
        """
        if not where.strip():
            raise OptionError("expected the name of an experiment or a tracking URI for MLflow, got nothing; name one")
        scheme = urlsplit(where).scheme
        return cls(uri=where) if len(scheme) > 1 or where == "databricks" else cls(where)

    def check(self) -> None:
        """Check that runs can be logged, before the ranking starts.

        Raises:
            OptionError: MLflow is not installed, or does not accept runs.
        """
        require("mlflow", "--mlflow")
        try:
            self.client().get_experiment_by_name(self.experiment)  # created when there is something to log
        except Exception as error:  # of many kinds, depending on the server
            raise OptionError(f"MLflow cannot be used ({reason(error, 600)}); check the tracking URI") from error

    def client(self) -> Any:
        """Return a client of MLflow, with telemetry turned off."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def find_experiment(self, client: Any) -> str:
        """Return the experiment's id; the experiment is created if it does not exist."""
        experiment = client.get_experiment_by_name(self.experiment)
        experiment_id: str = (
            client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
        )
        return experiment_id


def log_to_mlflow(
    ranking: Ranking,
    tracker: Tracker | None = None,
    *,
    run_id: str | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> str:
    """Log a ranking: options as parameters, scores of all layers as metrics whose step is the layer, and its files.

    Metrics are named `SCORE/MODEL`, and `SCORE-mean/MODEL` for joint layers. There are also `probability_best/MODEL`
    and similar ones. Characters that MLflow does not allow in names are replaced by `_`.

    Args:
        ranking: ranking to log.
        tracker: destination; None: the experiment "voxrank" of the default store.
        run_id: existing run to extend, whose status does not change; None: a new run, which is ended.
        folder: folder of the saved ranking, whose report is logged too.

    Returns:
        The id of the run.

    Raises:
        OptionError: MLflow is not installed, or does not accept runs.
        RunError: logging failed; a new run is then marked as failed.
    """
    tracker = tracker or Tracker()
    tracker.check()
    client = tracker.client()
    with _run(client, tracker, run_id) as run:
        parameters = list(parameters_of(ranking).items())
        for start in range(0, len(parameters), PARAMETERS_AT_ONCE):
            _log_parameters(client, run, parameters[start : start + PARAMETERS_AT_ONCE])
        metrics = metrics_of(ranking)
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            _log_metrics(client, run, metrics[start : start + METRICS_AT_ONCE])
        _log_files(client, run, ranking, folder)
    return run


@contextmanager
def _run(client: Any, tracker: Tracker, run_id: str | None) -> Iterator[str]:
    """Open a run; a new run is ended with its status, an existing run stays as it is."""
    new_run: str | None = None
    try:
        if run_id is None:
            new_run = client.create_run(tracker.find_experiment(client), run_name="voxrank").info.run_id
        yield run_id or str(new_run)
        if new_run is not None:
            client.set_terminated(new_run, "FINISHED")
    except BaseException as error:
        failed = isinstance(error, Exception)
        if new_run is not None:
            with suppress(Exception):  # the server may be gone, which may be the cause of the failure
                client.set_terminated(new_run, "FAILED" if failed else "KILLED")
        if not failed:
            raise
        raise RunError(f"the ranking could not be logged to MLflow: {reason(error, 600)}") from error


def _log_parameters(client: Any, run: str, parameters: list[tuple[str, str]]) -> None:
    from mlflow.entities import Param

    client.log_batch(run, params=[Param(name, value) for name, value in parameters])


def _log_metrics(client: Any, run: str, metrics: Metrics) -> None:
    from mlflow.entities import Metric

    now = round(time.time() * 1000)
    client.log_batch(run, metrics=[Metric(name, value, now, step) for name, value, step in metrics])


def _log_files(client: Any, run: str, ranking: Ranking, folder: str | os.PathLike[str] | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        ranking.save(temporary)
        client.log_artifacts(run, temporary)
    for path in (Path(folder) / name for name in FILES) if folder is not None else ():
        if path.is_file():
            client.log_artifact(run, str(path))


def parameters_of(ranking: Ranking) -> dict[str, str]:
    """Return the parameters by name: options, the data, and the best candidate."""
    options = {f"options/{name}": value for name, value in ranking.options.items()}
    data = {f"data/{name}": getattr(ranking.data, name) for name in ("utterances", "used", "seconds", "fingerprint")}
    best = {"best/model": ranking.best.model, "best/layer": ranking.best.layer, "task": ranking.task}
    parameters = {**best, **data, **options}
    return {
        name: shortened(one_line(str(value)), MAX_VALUE)
        for name, value in zip(_distinct_names(parameters), parameters.values(), strict=True)
    }


def metrics_of(ranking: Ranking) -> Metrics:
    """Return the scores of all layers, and the metrics that each model has once."""
    models = [model.model for model in ranking.models]
    labels = dict(zip(models, _distinct_names([model.replace("/", "_") for model in models]), strict=True))
    metrics: Metrics = []
    for layer in ranking.layers:
        step, joint = (0, f"-{layer.layer}") if isinstance(layer.layer, str) else (layer.layer, "")
        metrics += [
            (valid_name(f"{name}{joint}/{labels[layer.model]}"), score.value, step)
            for name, score in layer.scores.items()
        ]
    for model in ranking.models:
        metrics += [(f"{name}/{labels[model.model]}", value, 0) for name, value in _model_metrics(model)]
    return metrics


def _model_metrics(model: ModelScore) -> list[tuple[str, float]]:
    names = ("rank", "probability_best", "parameters", "share", "speed")
    return [(name, float(value)) for name in names if (value := getattr(model, name)) is not None]


def _distinct_names(texts: Iterable[str]) -> list[str]:
    """Return distinct names that MLflow allows, for each text."""
    names: dict[str, None] = {}
    for text in texts:
        base = name = valid_name(text)[:LABEL]
        number = 1
        while name in names:
            number += 1
            name = f"{base}_{number}"
        names[name] = None
    return list(names)


def valid_name(text: str) -> str:
    """Return a name that MLflow allows: letters, digits and `_-. /`, and no path that leaves its folder.

    Example:
        >>> valid_name("../models/my hubert:2")
        '__/models/my hubert_2'
    """
    clean = _FORBIDDEN.sub("_", text).replace("..", "__")[: MAX_NAME // 2 - 1]  # "_" between slashes may double it
    return "/".join(part if part.strip(". ") else "_" for part in clean.split("/"))
