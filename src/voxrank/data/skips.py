"""Checks of the share of skipped utterances: a warning above a tenth, an error above a half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from voxrank._support.words import noun, percent
from voxrank.data.utterance import Skipped
from voxrank.errors import DataError, shortened

MUCH_SKIPPED = 0.1
"""Share of skipped utterances above which the warning about them comes before all other notes."""
MOST_SKIPPED = 0.5
"""Share of skipped utterances above which nothing is encoded, unless the user allows it."""
SHOWN_REASONS = 2
REASON_CHARACTERS = 160
SOURCE_DATA = "source data: "
"""Prefix of reasons about the source data, which are not counted here."""


def skips_warning(total: int, skipped: Sequence[Skipped]) -> str:
    """Return a line on the share of skipped utterances if it is above a tenth, and empty text otherwise.

    Args:
        total: number of utterances that the user asked for.
        skipped: utterances that all models or one model skipped.
    """
    count = count_skipped(skipped)
    return f"{_sentence(total, count)}: {_reasons(skipped)}" if count > MUCH_SKIPPED * total else ""


def check_skips(name: str, total: int, skipped: Sequence[Skipped], *, allow: bool) -> None:
    """Check that at most half of the data are skipped.

    Args:
        name: name of the data set, for the message.
        total: number of utterances that the user asked for.
        skipped: skipped utterances.
        allow: whether the user allows more skips.

    Raises:
        DataError: more than half of the utterances are skipped, and the user does not allow it.
    """
    count = count_skipped(skipped)
    if count > MOST_SKIPPED * total and not allow:
        raise DataError(
            f"{name}: expected to use at least half of the utterances, but {_sentence(total, count)}: "
            f"{_reasons(skipped)}; mend the data, or use what is left with --allow-skips"
        )


def count_skipped(skipped: Sequence[Skipped]) -> int:
    """Return the number of distinct skipped utterances, without those of the source data."""
    return len({skip.utterance for skip in _without_source_data(skipped)})


def _without_source_data(skipped: Sequence[Skipped]) -> list[Skipped]:
    return [skip for skip in skipped if not skip.reason.startswith(SOURCE_DATA)]


def _sentence(total: int, count: int) -> str:
    share = percent(count / total) if total else "all"
    return f"{count:,} of {total:,} utterances ({share}) are skipped"


def _reasons(skipped: Sequence[Skipped]) -> str:
    counted = _without_source_data(skipped)
    counts = Counter(skip.reason for skip in counted)
    examples = {skip.reason: skip.utterance for skip in reversed(counted)}
    descriptions = [
        f"{count:,} × {shortened(reason, REASON_CHARACTERS)} ({shortened(examples[reason], 80)})"
        for reason, count in counts.most_common(SHOWN_REASONS)
    ]
    n_more = len(counts) - SHOWN_REASONS
    return "; ".join(descriptions) + (f"; and {n_more} {noun(n_more, 'other reason')}" if n_more > 0 else "")
