"""The whole run of `voxrank align`, from transcripts and a model to the times of all units."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from voxrank._support.json_codec import written
from voxrank._support.memory import keep_heap_small, peak_rss_mb
from voxrank._support.packages import ALIGNMENT, require, version
from voxrank._support.progress import Progress
from voxrank.alignment.base import AlignerRecord, AlignmentContext
from voxrank.alignment.files import AlignedUtterance, save_alignment
from voxrank.alignment.labels import label
from voxrank.alignment.preparation import Prepared, Unaligned, prepare
from voxrank.config import AlignRequest, EncoderOptions, ExtractionOptions, Seconds, SequenceOptions
from voxrank.data.read import read_dataset
from voxrank.data.skips import count_skipped, skips_warning
from voxrank.data.utterance import Dataset, Segment, Skipped
from voxrank.encoders.groups import with_models
from voxrank.encoders.pool import ModelPool
from voxrank.engines.local import LocalEngine
from voxrank.errors import OptionError
from voxrank.results.ranking import check_folder
from voxrank.targets.labels import Targets
from voxrank.targets.tags import SPOKEN_NOISE
from voxrank.targets.timeline import UNLABELLED, Timeline

TIERS = {"char": "characters", "phone": "phones", "word": "words"}
"""Unit → name of its tier."""
SCHEMA = 1
"""Version of `alignment.json`."""


@dataclass(frozen=True)
class AlignedData:
    """An alignment of transcripts.

    Attributes:
        utterances: the utterances with their times.
        tier: name of the tier of units.
        skipped: utterances left out, with reasons.
        record: the record of the aligner.
        units: units that occur.
        seconds: time of the whole run, in seconds.
        options: the options of the run.
        recordings: audio files of the data, including those of skipped utterances.
    """

    utterances: tuple[AlignedUtterance, ...]
    tier: str
    skipped: tuple[Skipped, ...]
    record: AlignerRecord
    units: tuple[str, ...]
    seconds: Seconds
    options: dict[str, Any]
    recordings: tuple[Path, ...] = ()

    @property
    def warning(self) -> str:
        """A warning where more than a tenth of the utterances were skipped; otherwise empty."""
        return skips_warning(len(self.utterances) + count_skipped(self.skipped), self.skipped)

    @property
    def audio_s(self) -> Seconds:
        """Amount of aligned audio, in seconds."""
        return sum(utterance.seconds for utterance in self.utterances)

    def to_json(self) -> str:
        """Return the text of `alignment.json`: the aligner, the data and the options. Other files hold the times."""
        content = {
            "aligner": asdict(self.record),
            "tier": self.tier,
            "units": self.units,
            "utterances": len(self.utterances),
            "audio_s": self.audio_s,
            "skipped": [asdict(skip) for skip in self.skipped],
            "cost": {"total_s": self.seconds, "peak_rss_mb": peak_rss_mb()},
            "options": self.options,
        }
        return written(SCHEMA, content)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `alignment.ctm`, `textgrids/`, `manifest.csv` (for `voxrank rank`) and `alignment.json`.

        A manifest names audio files. It is not written where audio is in archives or tables. Rank such data with
        `--segments`.

        Raises:
            OptionError: the folder cannot be written, or the extra `praat` is not installed.
        """
        require("praat", "writing TextGrids")
        check_folder(path)
        save_alignment(Path(path), self.utterances, self.tier, self.to_json(), self.recordings)


def align(
    data: Any,
    *,
    models: Sequence[str] = (),
    sequence: SequenceOptions | None = None,
    split: str | None = None,
    encoder: EncoderOptions | None = None,
    threads: int = 2,
    allow_skips: bool = False,
    progress: Progress | None = None,
) -> AlignedData:
    """Align transcripts: find the time of each unit in the audio.

    Args:
        data: transcripts, in a form that `read_dataset` reads, or a `Dataset` of them.
        models: specs whose features the flat start may choose from, where the aligner names none.
        sequence: units, language and aligner.
        split: rows to use, as in `rank`.
        encoder: device, precision, windows.
        threads: number of threads that decode audio ahead.
        allow_skips: align the remaining utterances where more than half of them are skipped.
        progress: receives the progress.

    Returns:
        Every utterance with its units and their times, and the record of the aligner.

    Raises:
        DataError, ModelError, OptionError: the request is wrong.
        RunError: the run failed.

    Example:
        ``align("transcripts.csv", models=["openai/whisper-base"]).save("aligned")``
    """
    request = AlignRequest(
        models=models,
        sequence=sequence or SequenceOptions(),
        split=split,
        encoder=encoder or EncoderOptions(),
        extraction=ExtractionOptions(threads=threads, allow_skips=allow_skips),
    )
    return run(data, request, progress or Progress())


def run(data: Any, request: AlignRequest, watcher: Progress) -> AlignedData:
    """Align transcripts as a request says; see `align`."""
    started = time.perf_counter()
    keep_heap_small()
    request = with_models(request)
    models, sequence, encoding = request.models, request.sequence, request.encoder
    if sequence.aligner in ("flat", "head") and not models:
        raise OptionError(
            f"the aligner {sequence.aligner} needs the features of a model; name one with --model, or with --aligner "
            f"{sequence.aligner}:SPEC"
        )
    if sequence.searches:
        require("align", ALIGNMENT)
    dataset = data if isinstance(data, Dataset) else read_dataset(data, target="text", split=request.split)
    for line in dataset.notes:
        watcher.note(line)
    ready = prepare(dataset, request.extraction, replace(sequence, silence=0.0))
    if not isinstance(ready, Unaligned):
        raise OptionError(f"expected transcripts to align, got data for {dataset.task}")
    for line in (*dataset.notes, *ready.notes):
        watcher.note(line)
    pool = ModelPool(models, encoding, watcher)
    context = AlignmentContext(pool.layers, pool.lend, encoding, LocalEngine(encoding), request.extraction.threads)
    labelled = label(ready, sequence, context, watcher, ranked=False)
    prepared = labelled.prepared
    if labelled.record is None:
        raise TypeError(labelled)
    tier = TIERS.get(sequence.unit or "char", "tokens")
    return AlignedData(
        utterances=tuple(_aligned_utterances(prepared, tier)),
        tier=tier,
        skipped=tuple(dict.fromkeys([*dataset.skipped, *prepared.skipped])),
        record=labelled.record,
        units=prepared.targets.names,
        seconds=time.perf_counter() - started,
        options={"voxrank": version("voxrank"), "data": dataset.source, "models": list(models)} | asdict(sequence),
        recordings=tuple(dict.fromkeys(utterance.path for utterance in dataset.utterances)),
    )


def _aligned_utterances(prepared: Prepared, tier: str) -> list[AlignedUtterance]:
    targets = prepared.targets
    if targets.timed is None:
        raise TypeError(targets)
    aligned = []
    for item, timeline in zip(prepared.items, targets.timed.timelines, strict=True):
        tiers = {tier: _segments(timeline, targets, item.utterance.start)}
        aligned.append(AlignedUtterance(item.utterance, item.seconds, tiers))
    return aligned


def _segments(timeline: Timeline, targets: Targets, start: Seconds) -> list[Segment]:
    """Return segments in seconds of the file. Unscored segments get a label that readers of segments do not score."""
    labels = {UNLABELLED: SPOKEN_NOISE}
    return [
        Segment(labels.get(symbol) or targets.names[symbol], start + begin, start + end)
        for begin, end, symbol in zip(timeline.starts.tolist(), timeline.ends.tolist(), timeline.symbols, strict=True)
    ]
