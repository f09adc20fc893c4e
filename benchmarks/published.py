"""Measures how far a published table predicts a task that is not in it: `python benchmarks/published.py`.

For each source of published results and each of its tasks, the models are ordered by their mean share of models that
they are better than over the *other* tasks. The agreement is Spearman's correlation of that order with the task. It
needs only the catalogue, and takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from common import provenance, save
from voxrank.encoders.catalogue import load_catalogue
from voxrank.encoders.published import results_of, shares
from voxrank.groundtruth.correlation import spearman


def agreements(by_task: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return task → correlation with the mean over the other tasks, over the models with both.

    Args:
        by_task: task → model → share of the other models that it is better than.
    """
    found = {}
    for task, own in sorted(by_task.items()):
        rest: dict[str, list[float]] = {}
        for other, values in by_task.items():
            for name, value in values.items():
                if other != task:
                    rest.setdefault(name, []).append(value)
        names = sorted(set(own) & set(rest))
        rho = spearman([fmean(rest[name]) for name in names], [own[name] for name in names]).value
        if rho is not None:
            found[task] = round(rho, 4)
    return found


def measure(source: str) -> dict[str, Any]:
    """Return the agreement of each task of a source, their mean, and the size of the source."""
    results = results_of(source)
    tasks = agreements(shares(results))
    return {
        "title": load_catalogue().sources[source]["title"],
        "models": len(results),
        "mean": round(fmean(tasks.values()), 4),
        "tasks": tasks,
    }


def main() -> None:
    content = {"made": provenance(), "sources": {source: measure(source) for source in load_catalogue().sources}}
    save("published", content)
    for source, found in content["sources"].items():
        print(f"{source}: {found['mean']:.3f} over {len(found['tasks'])} tasks, {found['models']} models")


if __name__ == "__main__":
    main()
