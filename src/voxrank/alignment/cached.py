"""The cache of alignments on disk. A digest of everything that an alignment depends on identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from voxrank.alignment.base import Aligned, AlignerRecord, AlignmentContext, Transcript
from voxrank.cache.files import SUFFIX, read_checked, write_checked
from voxrank.cache.keys import digest_of
from voxrank.cache.models import versions
from voxrank.cache.store import SCHEMA, Cache
from voxrank.engines.digests import digest_audio, key_models
from voxrank.errors import SketchError, UtteranceError
from voxrank.sketches.store import register_kind
from voxrank.targets.timeline import Timeline


@dataclass
class StoredAlignment:
    """The alignment of all transcripts by one aligner, in the form of its file.

    Attributes:
        counts: (U,) number of segments of each utterance; -1 where it could not be aligned.
        starts, ends: (S,) starts and ends of all segments, in seconds.
        symbols: (S,) numbers of units.
        errors: index of an utterance → reason why it could not be aligned.
        aligner: kind of the aligner.
        candidate: index of the model among the candidates; None where it is no candidate, and without a model.
        model: spec of the model, where it is no candidate.
        layer: layer of the model.
        trained: whether the model was trained to recognise units.
        favoured: indices of candidates that the labels would favour.
        notes: notes for the user.
    """

    counts: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    symbols: NDArray[np.int64]
    errors: dict[int, str]
    aligner: str
    candidate: int | None = None
    model: str | None = None
    layer: int | None = None
    trained: bool = False
    favoured: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


register_kind(StoredAlignment, counts="U", starts="S", ends="S", symbols="S")


@dataclass(frozen=True)
class KnownAlignment:
    """The alignment of all transcripts by one aligner, in the form that a run uses.

    Attributes:
        aligned: timeline of each transcript.
        record: the record of the aligner.
        favoured: candidates that the labels would favour.
        notes: notes for the user.
    """

    aligned: Aligned
    record: AlignerRecord
    favoured: list[str]
    notes: tuple[str, ...]


class Alignments:
    """The cached alignments of one set of transcripts, with the candidates that aligners may use.

    Args:
        cache: the cache that holds them.
        transcripts: transcripts of the data.
        names: names of the units.
        context: the models that are ranked, which aligners may use.
    """

    def __init__(
        self, cache: Cache, transcripts: Sequence[Transcript], names: Sequence[str], context: AlignmentContext
    ) -> None:
        self._cache, self._folder, self._candidates = cache, cache.root / "alignments", list(context.layers)
        digest_audio(context.engine, cache, (transcript.item for transcript in transcripts), context.threads)
        models = key_models(context.engine, cache, self._candidates, context.encoding, context.lend)
        audio = _digest_transcripts(cache, transcripts)
        self._known = audio is not None and None not in models
        options, libraries = asdict(context.encoding), versions()
        self._key = digest_of([SCHEMA, audio, models, list(names), options, libraries])

    def load(self, text: str) -> KnownAlignment | None:
        """Return the cached alignment of an aligner; None where there is none, or the file is damaged."""
        if not self._known:
            return None
        for path in sorted(self._folder.glob(f"{self._name(text)}-*{SUFFIX}")):
            with suppress(OSError, SketchError, UtteranceError, IndexError):
                return self._restored(read_checked(path, StoredAlignment))
            self._cache.note_once("the cache held a damaged alignment, which is computed again")
            with suppress(OSError):
                path.unlink()
        return None

    def keep(self, text: str, known: KnownAlignment) -> None:
        """Store the alignment of an aligner. If it cannot be written, the user receives a note once."""
        if not self._known:
            return
        timelines = [timeline if isinstance(timeline, Timeline) else None for timeline in known.aligned]
        aligned = [timeline for timeline in timelines if timeline is not None]
        empty: list[NDArray[np.float64]] = [np.empty(0)]
        record, indices = known.record, {spec: index for index, spec in enumerate(self._candidates)}
        stored = StoredAlignment(
            np.array([-1 if timeline is None else len(timeline.starts) for timeline in timelines], dtype=np.int64),
            np.concatenate([timeline.starts for timeline in aligned] or empty),
            np.concatenate([timeline.ends for timeline in aligned] or empty),
            np.concatenate([timeline.symbols for timeline in aligned] or [np.empty(0, dtype=np.int64)]),
            {index: str(error) for index, error in enumerate(known.aligned) if isinstance(error, UtteranceError)},
            record.aligner,
            indices.get(record.model) if record.model is not None else None,
            None if record.model in indices else record.model,
            record.layer,
            record.trained,
            [indices[spec] for spec in known.favoured],
            list(known.notes),
        )
        try:
            write_checked(
                self._folder, self._name(text), stored, StoredAlignment, {"model": "alignments of transcripts"}
            )
        except (OSError, SketchError) as error:
            self._cache.note_unwritable(error)

    def _name(self, text: str) -> str:
        return digest_of([self._key, text])

    def _restored(self, stored: StoredAlignment) -> KnownAlignment:
        ends = np.cumsum(np.maximum(stored.counts, 0))
        aligned: Aligned = []
        for index, (count, end) in enumerate(zip(stored.counts.tolist(), ends.tolist(), strict=True)):
            if count < 0:
                aligned.append(UtteranceError(stored.errors[index]))
            else:
                segments = slice(end - count, end)
                aligned.append(Timeline(stored.starts[segments], stored.ends[segments], stored.symbols[segments]))
        model = stored.model if stored.candidate is None else self._candidates[stored.candidate]
        record = AlignerRecord(stored.aligner, model, stored.layer, stored.trained)
        return KnownAlignment(aligned, record, [self._candidates[n] for n in stored.favoured], tuple(stored.notes))


def _digest_transcripts(cache: Cache, transcripts: Sequence[Transcript]) -> str | None:
    """Return a digest of the audio and the units of transcripts; None where some audio cannot be read."""
    digest = hashlib.sha256()
    for transcript in transcripts:
        audio = cache.item_key(transcript.item)
        if audio is None:
            return None
        digest.update(f"{audio} {len(transcript.labels)}\n".encode())
        digest.update(transcript.labels.tobytes() + transcript.pauses.tobytes())
    return digest.hexdigest()
