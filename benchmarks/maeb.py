"""Runs voxrank over MAEB's speech tasks and the models of the catalogue, and compares its order with MAEB's results.

Each task's rows are ranked as a user would rank them, with `voxrank.rank`. The expected accuracy of each model's last
layer and of its best layer is compared with the published accuracy, which is that of MAEB's probe on the last layer
(`maeb_tasks.py` describes it). Rules are compared on the same models: the largest, the newest, and the mean published
rank over the other tasks.

A result is stored for every task, subset and model, and a second run continues. `--data DIR` reads local copies of
the data: DIR/TASK, or DIR/TASK/SUBSET for tasks of many languages. A copy is a folder that `save_to_disk` wrote, a
clone of the data set with parquet files, or a folder of audio files, with a metadata.csv or a folder for each label.

Run: python benchmarks/maeb.py [--list] [--tasks FSDD …] [--models openai/whisper-base …] [--data DIR]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

import voxrank
from common import RESULTS, provenance
from maeb_tasks import TASKS, Task
from published_table import read_table
from voxrank.config import EncoderOptions
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset
from voxrank.errors import VoxrankError, did_you_mean
from voxrank.groundtruth.agreement import regret
from voxrank.groundtruth.correlation import spearman

MADE = Path(__file__).parent / ".made" / "maeb"
FEWEST = 3
"""Minimum number of models of a task for a correlation."""
PREDICTORS = ("last layer", "best layer", "published rank", "largest", "newest")
METADATA: dict[str, Callable[[Path], Any]] = {
    "metadata.csv": pd.read_csv,
    "metadata.jsonl": partial(pd.read_json, lines=True),
}
"""Name of a file with the labels of a folder of audio files → its reader."""
PARQUET = MADE / "parquet"
"""Folder of the tables that `datasets` makes of parquet files."""


@dataclass(frozen=True)
class Model:
    """A model and what is known of it without data; NaN where a fact is not known.

    Attributes:
        spec: what is run: a hub id, or a local copy of the model.
        log_size: log10 of the number of weights of the checkpoint.
        released: year of the release, with its month as a fraction.
    """

    spec: str
    log_size: float
    released: float


@dataclass(frozen=True)
class Truth:
    """The published results.

    Attributes:
        accuracies: task → name of a model → accuracy.
        models: name of a model → the model.
    """

    accuracies: Mapping[str, Mapping[str, float]]
    models: Mapping[str, Model]

    @classmethod
    def of_catalogue(cls) -> Truth:
        """Take the results from the catalogue, of the models that voxrank loads."""
        table = read_table("maeb")
        accuracies: dict[str, dict[str, float]] = {task: {} for task in table.tasks}
        for (row, column), value in np.ndenumerate(table.values):
            if not np.isnan(value) and table.loadable[row]:
                accuracies[table.tasks[column]][table.models[row]] = float(value)
        facts = zip(table.models, table.log_checkpoints.tolist(), table.released.tolist(), strict=True)
        models = {name: Model(name, size, year) for name, size, year in facts}
        return cls(accuracies, {name: models[name] for name in np.array(table.models)[table.loadable].tolist()})

    @classmethod
    def of_file(cls, path: Path) -> Truth:
        """Read a file of results: a list of tasks, and of models with an id, facts and a score for each task."""
        content = json.loads(path.read_text(encoding="utf-8"))
        accuracies: dict[str, dict[str, float]] = {task: {} for task in content["tasks"]}
        models = {}
        for one in content["models"]:
            size, date = one.get("parameters"), one.get("released")
            models[one["id"]] = Model(
                one.get("path", one["id"]),
                float(np.log10(size)) if size else float("nan"),
                year_of(date) if date else float("nan"),
            )
            for task, result in one["tasks"].items():
                accuracies[task][one["id"]] = float(result["score"])
        return cls(accuracies, models)


def year_of(date: str) -> float:
    """Return a date, YYYY-MM-DD or its beginning, as a number of years."""
    parts = [int(part) for part in date.split("-")]
    return parts[0] + (parts[1] - 1) / 12 if len(parts) > 1 else float(parts[0])


def read_task(task: Task, subset: str, data: Path | None, per_label: int | None) -> Dataset:
    """Read the rows of a task from the hub or a local copy, with the labels that MAEB uses.

    Raises:
        VoxrankError: the data cannot be read.
    """
    source = task.source(subset) if data is None else local_source(data / task.name / subset)
    dataset = read_dataset(source, target=task.column, split=task.split)
    kept = [one for one in dataset.utterances if one.label is not None and task.has(one.label)]
    if per_label is not None:
        kept = drawn(kept, per_label)
    return replace(dataset, utterances=tuple(kept))


def local_source(folder: Path) -> Any:
    """Return what `read_dataset` reads of a local copy.

    Raises:
        VoxrankError: there is no such folder.
    """
    if not folder.is_dir():
        raise voxrank.DataError(f"expected the data of a task in {folder}, found no such folder; put a copy there")
    tables = sorted(folder.rglob("*.parquet"))
    labels = sorted(path for name in METADATA for path in folder.rglob(name))
    if labels:
        return pd.concat([labelled_files(path, folder) for path in labels], ignore_index=True)
    if not tables:
        return str(folder)
    import datasets

    splits: dict[str, list[str]] = {}
    for path in tables:  # "train-00000-of-00001.parquet", as on the hub
        splits.setdefault(path.stem.partition("-")[0], []).append(str(path))
    return datasets.load_dataset("parquet", data_files=splits, cache_dir=str(PARQUET))


def labelled_files(path: Path, folder: Path) -> pd.DataFrame:
    """Return the audio files that a table of labels names; the first folder below `folder` is their split."""
    rows: pd.DataFrame = METADATA[path.name](path)
    rows["path"] = [str((path.parent / name).absolute()) for name in rows.pop("file_name")]
    where = path.relative_to(folder).parts
    return rows.assign(split=where[0]) if len(where) > 1 else rows


def drawn(utterances: Sequence[Any], per_label: int) -> list[Any]:
    """Return at most so many utterances of each label, drawn at random with a fixed seed, in their order."""
    order = np.random.default_rng(0).permutation(len(utterances))
    counts: dict[str, int] = {}
    kept = []
    for place in order.tolist():
        label = utterances[place].label
        counts[label] = counts.get(label, 0) + 1
        if counts[label] <= per_label:
            kept.append(place)
    return [utterances[place] for place in sorted(kept)]


def measure(dataset: Dataset, model: str, device: str) -> dict[str, Any]:
    """Rank the layers of one model; return the expected accuracy of each, and which are the last and the best one."""
    started = time.perf_counter()
    ranking = voxrank.rank(dataset, [model], encoder=EncoderOptions(device=device), details="none")
    layers = {int(one.layer): round(one.scores["accuracy"].value, 5) for one in ranking.layers}
    return {
        "layers": {str(layer): layers[layer] for layer in sorted(layers)},
        "last": max(layers),
        "best": ranking.best.layer,
        "utterances": ranking.data.used,
        "classes": ranking.data.classes,
        "seconds": round(time.perf_counter() - started, 1),
    }


@dataclass(frozen=True)
class Run:
    """A run over tasks and models.

    Attributes:
        truth: the published results.
        tasks: the tasks.
        models: names of the models.
        data: folder with local copies of the data; None for the hub.
        made: folder of the stored results.
        per_label: maximum number of utterances of each label; None for all.
        device: where the models run.
    """

    truth: Truth
    tasks: tuple[Task, ...]
    models: tuple[str, ...]
    data: Path | None
    made: Path
    per_label: int | None
    device: str

    def compute(self) -> list[str]:
        """Compute what is not stored yet. Return a line for each task or model that failed."""
        failures: list[str] = []
        for task in self.tasks:
            for subset in task.subsets or ("",):
                failures += self._compute_subset(task, subset)
        return failures

    def _compute_subset(self, task: Task, subset: str) -> Iterator[str]:
        missing = [name for name in self.models if not self.path(task, subset, name).exists()]
        name = f"{task.name} {subset}".strip()
        if not missing:
            return
        try:
            dataset = read_task(task, subset, self.data, self.per_label)
        except VoxrankError as error:
            print(f"{name}: left out: {error}", flush=True)
            yield f"{name}: {error}"
            return
        for model in missing:
            try:
                found = measure(dataset, self.truth.models[model].spec, self.device)
            except VoxrankError as error:
                print(f"{name}, {model}: left out: {error}", flush=True)
                yield f"{name}, {model}: {error}"
                continue
            write(self.path(task, subset, model), {"task": task.name, "subset": subset, "model": model, **found})
            print(f"{name}, {model}: {found['seconds']} s", flush=True)

    def path(self, task: Task, subset: str, model: str) -> Path:
        """Return the file of one result."""
        kind = "all" if self.per_label is None else str(self.per_label)
        return self.made / kind / task.name / (subset or "whole") / f"{model.replace('/', '--')}.json"

    def results(self, task: Task) -> dict[str, list[dict[str, Any]]]:
        """Return the stored results of a task by model; only models with a result of every subset."""
        found = {}
        for model in self.models:
            paths = [self.path(task, subset, model) for subset in task.subsets or ("",)]
            if all(path.exists() for path in paths):
                found[model] = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return found

    def compare(self, task: Task) -> dict[str, Any] | None:
        """Return how each predictor agrees with the published accuracies; None for too few models."""
        results, published = self.results(task), self.truth.accuracies.get(task.name, {})
        names = [name for name in results if name in published]
        if len(names) < FEWEST:
            return None
        truth = [published[name] for name in names]
        rows = []
        for predictor, values in self._predictions(task, {name: results[name] for name in names}).items():
            known = [place for place, value in enumerate(values) if not np.isnan(value)]
            if len(known) >= FEWEST:
                guessed, true = [values[place] for place in known], [truth[place] for place in known]
                rho = spearman(guessed, true)
                loss = regret(guessed, true).absolute
                rows.append(
                    {"predictor": predictor, "n": len(known), "spearman": rho.value, "p": rho.p, "regret": loss}
                )
        expected = {name: round(expected_accuracy(results[name], "last"), 4) for name in names}
        return {"task": task.name, "models": len(names), "predictors": rows, "expected": expected}

    def _predictions(self, task: Task, results: dict[str, list[dict[str, Any]]]) -> dict[str, list[float]]:
        models = [self.truth.models[name] for name in results]
        values = (
            [expected_accuracy(own, "last") for own in results.values()],
            [expected_accuracy(own, "best") for own in results.values()],
            [self._published_rank(task, name, tuple(results)) for name in results],
            [model.log_size for model in models],
            [model.released for model in models],
        )
        return dict(zip(PREDICTORS, values, strict=True))

    def _published_rank(self, task: Task, model: str, names: Sequence[str]) -> float:
        """Return the mean share of the other models that a model is better than, over the other tasks."""
        shares = []
        for other, values in self.truth.accuracies.items():
            rivals = [values[name] for name in names if name in values and name != model]
            if other != task.name and model in values and rivals:
                shares.append(fmean((values[model] > rival) + (values[model] == rival) / 2 for rival in rivals))
        return fmean(shares) if shares else float("nan")


def expected_accuracy(results: Sequence[dict[str, Any]], layer: str) -> float:
    """Return the expected accuracy of the "last" or "best" layer, averaged over the subsets."""
    return fmean(one["layers"][str(one[layer])] for one in results)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a result atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def means(compared: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean correlation and regret of each predictor over the tasks."""
    found = []
    for predictor in PREDICTORS:
        rows = [row for one in compared for row in one["predictors"] if row["predictor"] == predictor]
        rhos = [row["spearman"] for row in rows if row["spearman"] is not None]
        if rhos:
            figures = {"spearman": round(fmean(rhos), 4), "regret": round(fmean(row["regret"] for row in rows), 4)}
            found.append({"predictor": predictor, "tasks": len(rhos)} | figures)
    return found


def table(compared: Sequence[dict[str, Any]]) -> str:
    """Return the comparison as text: Spearman, its p-value, and the regret in points."""
    lines = [f"{'task':34}{'models':>7}" + "".join(f"{name:>24}" for name in PREDICTORS)]
    for one in compared:
        by_name = {row["predictor"]: row for row in one["predictors"]}
        lines.append(f"{one['task']:34}{one['models']:>7}" + "".join(f"{cell(by_name.get(n)):>24}" for n in PREDICTORS))
    mean = {row["predictor"]: row for row in means(compared)}
    lines.append(f"{'mean':41}" + "".join(f"{cell(mean.get(name)):>24}" for name in PREDICTORS))
    return "\n".join(lines)


def cell(row: Mapping[str, Any] | None) -> str:
    """Return the figures of one predictor, or a dash."""
    if row is None or row["spearman"] is None:
        return "-"
    p = f" (p {row['p']:.2g})" if row.get("p") is not None else ""
    return f"{row['spearman']:.2f}{p} · {100 * row['regret']:.1f}"


def listing(truth: Truth) -> str:
    """Return the tasks with their data, rows and number of published models."""
    lines = [f"{'task':34}{'data':38}{'column':14}{'rows':8}{'MAEB tests':18}{'subsets':>8}{'models':>7}"]
    lines += [
        f"{task.name:34}{task.path:38}{task.column:14}{task.split:8}{task.protocol:18}{len(task.subsets) or 1:>8}"
        f"{len(truth.accuracies.get(task.name, {})):>7}"
        for task in TASKS
    ]
    return "\n".join([*lines, "", "models: " + " ".join(truth.models)])


def chosen(names: Sequence[str], known: Mapping[str, Any], kind: str) -> list[Any]:
    """Return the named entries, or all.

    Raises:
        VoxrankError: a name is unknown.
    """
    for name in names:
        if name not in known:
            raise voxrank.OptionError(f"unknown {kind} {name!r}; {did_you_mean(name, known)}")
    return [known[name] for name in names or known]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list tasks and models, and stop")
    parser.add_argument("--tasks", nargs="+", default=[], help="names of tasks; default: all")
    parser.add_argument("--models", nargs="+", default=[], help="ids of models; default: all with results")
    parser.add_argument("--data", type=Path, help="folder with local copies of the data; default: the hub")
    parser.add_argument("--truth", type=Path, help="JSON file of published results; default: the catalogue")
    parser.add_argument("--per-label", type=int, help="maximum number of utterances of each label; default: all")
    parser.add_argument("--device", default="auto", help="where the models run; default: %(default)s")
    parser.add_argument("--made", type=Path, default=MADE, help="folder of the stored results; default: %(default)s")
    parser.add_argument("--out", type=Path, default=RESULTS / "maeb.json", help="result; default: %(default)s")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where nothing could be compared, or 2 for a wrong request."""
    options = parsed(arguments)
    truth = Truth.of_file(options.truth) if options.truth else Truth.of_catalogue()
    if options.list:
        print(listing(truth))
        return 0
    try:
        tasks = chosen(options.tasks, {task.name: task for task in TASKS}, "task")
        models = chosen(options.models, {name: name for name in truth.models}, "model")
    except VoxrankError as error:
        print(error, file=sys.stderr)
        return 2
    run = Run(truth, tuple(tasks), tuple(models), options.data, options.made, options.per_label, options.device)
    failures = run.compute()
    compared = [one for task in run.tasks if (one := run.compare(task)) is not None]
    if not compared:
        print(f"no task has results of {FEWEST} models or more; nothing is compared", file=sys.stderr)
        return 1
    content = {"made": provenance(), "per_label": options.per_label, "tasks": compared, "means": means(compared)}
    write(options.out, content | {"left_out": failures})
    print(table(compared))
    return 0


if __name__ == "__main__":
    sys.exit(main())
