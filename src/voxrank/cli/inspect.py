"""`voxrank inspect`: what would be read, before anything is encoded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from voxrank.cli.common import DataArgument, JsonOption, SplitOption, TargetOption, out, print_json
from voxrank.data.audio import Probed, probe_all
from voxrank.data.read import read_dataset
from voxrank.data.utterance import Dataset, Skipped
from voxrank.errors import DataError
from voxrank.report.terminal import plain, show_skipped
from voxrank.targets.labels import remarks, utterance_targets

SHOWN_CLASSES = 12
THREADS = 4


def inspect(
    data: DataArgument, *, target: TargetOption = None, split: SplitOption = None, json_out: JsonOption = False
) -> None:
    """Read a data set's rows and audio headers: counts, durations, problems."""
    dataset = read_dataset(data, target=target, split=split)
    probed, unreadable = probe_all(dataset, THREADS)
    skipped = [*dataset.skipped, *unreadable]
    facts = summary(dataset, probed, skipped)
    if json_out:
        print_json(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for key in ("data", "task", "target", "split", "utterances", "minutes", "shortest_s", "longest_s", "speakers"):
        table.add_row(key.replace("_s", ", s"), plain(str(facts[key])))
    table.add_row("rates, Hz", ", ".join(f"{rate} ({count:,})" for rate, count in facts["sample_rates"].items()))
    counts = facts["classes"]
    shown = [f"{plain(name).plain} {count:,}" for name, count in list(counts.items())[:SHOWN_CLASSES]]
    more = f" and {len(counts) - SHOWN_CLASSES} more" if len(counts) > SHOWN_CLASSES else ""
    what = "labels" if dataset.task == "multilabel" else "classes"
    table.add_row(f"{len(counts)} {what}", plain(", ".join(shown) + more))
    for problem in facts["problems"]:
        table.add_row("note", plain(problem))
    out().print(table)
    show_skipped(out(), skipped)


def summary(dataset: Dataset, probed: Sequence[Probed], skipped: Sequence[Skipped]) -> dict[str, Any]:
    """What a data set holds, as plain values."""
    seconds = [p.seconds for p in probed]
    labels = Counter(name for p in probed for name in p.utterance.names)
    return {
        "data": dataset.source,
        "task": dataset.task,
        "target": dataset.target,
        "split": dataset.split,
        "utterances": len(probed),
        "minutes": round(sum(seconds) / 60, 2),
        "shortest_s": round(min(seconds, default=0.0), 3),
        "longest_s": round(max(seconds, default=0.0), 3),
        "speakers": len({p.utterance.speaker for p in probed} - {None}),
        "sample_rates": dict(Counter(p.info.sample_rate for p in probed).most_common()),
        "classes": dict(sorted(labels.items())),
        "fingerprint": dataset.fingerprint(),
        "problems": problems(dataset, probed),
        "skipped": [asdict(s) for s in skipped],
    }


def problems(dataset: Dataset, probed: Sequence[Probed]) -> list[str]:
    """What `voxrank rank` would refuse, or remark on, a line each."""
    try:
        targets = utterance_targets([p.utterance for p in probed], dataset.task)
    except DataError as error:
        return [f"`voxrank rank` would refuse this: {error}"]
    return remarks(targets)
