"""The command `voxrank inspect`: show what would be read, without encoding anything."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from voxrank.cli.common import DataArgument, JsonOption, err, give_json, out
from voxrank.cli.extras import check_extras
from voxrank.cli.options import with_options
from voxrank.config import ExtractionOptions, InspectRequest, SequenceOptions
from voxrank.errors import DataError
from voxrank.report.progress import watch
from voxrank.report.terminal import plain, show_skipped

if TYPE_CHECKING:
    from voxrank.data.audio import Probed
    from voxrank.data.listening import AudioCheck
    from voxrank.data.utterance import Dataset, Skipped
    from voxrank.targets.labels import Targets

SHOWN_CLASSES = 12
THREADS = 4
EPILOG = """
Examples:

  voxrank inspect train.csv

  voxrank inspect transcripts.csv --unit phone --language en-us

  voxrank inspect train.csv --target speaker --json | jq .classes
"""


@with_options()
def inspect(data: DataArgument, *, request: InspectRequest, json_out: JsonOption = None) -> None:
    """Read a data set's rows and audio: counts, durations, problems."""
    check_extras(request)
    from voxrank.data.listening import check_audio
    from voxrank.data.read import read_requested
    from voxrank.data.rows import Request
    from voxrank.data.utterance import TIMED

    segments = None if request.segments is None else Path(request.segments)
    with watch(err()) as watcher:
        rows = Request(request.column, request.split, segments=segments, tier=request.sequence.tier, watcher=watcher)
        dataset = read_requested(data, rows)
        audio = check_audio(dataset, THREADS, watcher)
    probed = audio.usable
    skipped = [*dataset.skipped, *audio.skipped]
    if dataset.task in TIMED:
        classes, notes, skipped_sequences = sequence_facts(dataset, request.sequence, audio)
        skipped += skipped_sequences
    else:
        classes = dict(sorted(Counter(name for item in probed for name in item.utterance.names).items()))
        notes = problems(dataset, probed)
    notes = list(dict.fromkeys([*skip_notes(dataset, skipped), *dataset.notes, *audio.notes, *notes]))
    facts = summary(dataset, probed) | {
        "listened": audio.listened,
        "classes": classes,
        "problems": notes,
        "skipped": [asdict(skip) for skip in dict.fromkeys(skipped)],
    }
    if give_json(json_out, facts):
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for key in ("data", "format", "task", "target", "split"):
        table.add_row(key, plain(str(facts[key])))
    for key in ("utterances", "minutes", "shortest_s", "longest_s", "speakers"):
        table.add_row(key.replace("_s", ", s"), plain(str(facts[key])))
    if dataset.unused:
        table.add_row("other splits", f"{dataset.unused:,} rows that are not used")
    table.add_row("rates, Hz", ", ".join(f"{rate} ({count:,})" for rate, count in facts["sample_rates"].items()))
    counts = facts["classes"]
    largest = [f"{plain(name).plain} {count:,}" for name, count in list(counts.items())[:SHOWN_CLASSES]]
    more = f" and {len(counts) - SHOWN_CLASSES} more" if len(counts) > SHOWN_CLASSES else ""
    noun = {"multilabel": "labels", "segmentation": "labels", "transcription": "units"}.get(dataset.task, "classes")
    table.add_row(f"{len(counts)} {noun}", plain(", ".join(largest) + more))
    for problem in facts["problems"]:
        table.add_row("note", plain(problem))
    out().print(table)
    show_skipped(out(), list(dict.fromkeys(skipped)))


def summary(dataset: Dataset, probed: Sequence[Probed]) -> dict[str, Any]:
    """Summarise a data set as plain values."""
    seconds = array("d", (item.seconds for item in probed))
    return {
        "data": dataset.source,
        "format": dataset.format,
        "task": dataset.task,
        "target": dataset.target,
        "split": dataset.split,
        "utterances": len(probed),
        "unused_rows": dataset.unused,
        "minutes": round(sum(seconds) / 60, 2),
        "shortest_s": round(min(seconds, default=0.0), 3),
        "longest_s": round(max(seconds, default=0.0), 3),
        "speakers": len({item.utterance.speaker for item in probed} - {None}),
        "sample_rates": dict(Counter(item.info.sample_rate for item in probed).most_common()),
        "fingerprint": dataset.fingerprint(),
    }


def skip_notes(dataset: Dataset, skipped: Sequence[Skipped]) -> list[str]:
    """Return the error or warning that `voxrank rank` would give where much of a data set is skipped."""
    from voxrank.data.skips import check_skips, skips_warning

    total = len(dataset) + len(set(dataset.skipped))
    try:
        check_skips(dataset.source, total, skipped, allow=False)
    except DataError as error:
        return [f"`voxrank rank` would refuse this: {error}"]
    return list(filter(None, [skips_warning(total, skipped)]))


def sequence_facts(
    dataset: Dataset, options: SequenceOptions, audio: AudioCheck
) -> tuple[dict[str, int], list[str], tuple[Skipped, ...] | list[Skipped]]:
    """Return counts of each class, remarks of `voxrank rank`, and skipped utterances, for transcripts or segments."""
    from voxrank.alignment.preparation import Prepared, prepare
    from voxrank.targets.labels import remarks

    try:
        prepared = prepare(dataset, ExtractionOptions(allow_skips=True), options, audio)
    except DataError as error:
        return {}, [f"`voxrank rank` would refuse this: {error}"], []
    if not isinstance(prepared, Prepared):
        return prepared.counts, prepared.notes, prepared.skipped
    return count_segments(prepared.targets), [*prepared.notes, *remarks(prepared.targets)], prepared.skipped


def count_segments(targets: Targets) -> dict[str, int]:
    """Return the number of segments of each class."""
    from voxrank.targets.timeline import UNLABELLED

    timelines = () if targets.timed is None else targets.timed.timelines
    counts = Counter(
        targets.names[symbol] for timeline in timelines for symbol in timeline.symbols.tolist() if symbol != UNLABELLED
    )
    return dict(sorted(counts.items()))


def problems(dataset: Dataset, probed: Sequence[Probed]) -> list[str]:
    """Return the errors and remarks that `voxrank rank` would give, one per line."""
    from voxrank.targets.labels import remarks, utterance_targets

    try:
        targets = utterance_targets([item.utterance for item in probed], dataset.task)
    except DataError as error:
        return [f"`voxrank rank` would refuse this: {error}"]
    return remarks(targets)
