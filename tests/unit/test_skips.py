"""Much of the data skipped is said first, and most of it is refused before anything is encoded."""

import io

import pytest
from rich.console import Console

import voxrank
from voxrank.config import ExtractionOptions, SequenceOptions
from voxrank.data.skips import check_skips, skips_warning
from voxrank.data.utterance import Skipped
from voxrank.errors import DataError
from voxrank.groundtruth.validation import validate
from voxrank.report.page import page_html
from voxrank.report.terminal import show_ranking

GONE = "no such file; a relative path starts at the manifest's folder"


def gone(count, reason="no such file", model=None):
    return [Skipped(f"u{number}", reason, model) for number in range(count)]


@pytest.mark.parametrize(("total", "skipped", "is_much", "is_most"), [(10, 1, False, False), (10, 2, True, False)])
def test_a_tenth_is_not_much_and_half_is_not_most(total, skipped, is_much, is_most):
    assert bool(skips_warning(total, gone(skipped))) == is_much
    check_skips("m.csv", total, gone(skipped), allow=False)


def test_half_is_not_most_and_more_is():
    check_skips("m.csv", 10, gone(5), allow=False)
    check_skips("m.csv", 10, gone(6), allow=True)
    with pytest.raises(DataError, match=r"m.csv: .* 6 of 10 utterances \(60 %\) are skipped: 6 × no .* --allow-skips$"):
        check_skips("m.csv", 10, gone(6), allow=False)


def test_an_utterance_counts_once_and_the_source_data_not_at_all():
    skipped = [*gone(2, model="a"), *gone(2, model="b"), *gone(8, reason="source data: no such file")]
    assert skips_warning(10, skipped).startswith("2 of 10 utterances (20 %) are skipped: 4 × no such file (u0)")


def test_the_commonest_reasons_are_told():
    skipped = [Skipped("a", "rare"), *gone(3), Skipped("b", "odd"), Skipped("c", "odd"), Skipped("d", "new")]
    assert skips_warning(20, skipped).endswith(": 3 × no such file (u0); 2 × odd (b); and 2 other reasons")


def with_gone(manifest, count):
    """The manifest with rows whose files are not there."""
    header, *rows = manifest.read_text().splitlines()
    empty = "," * (header.count(",") - 1)
    gone = [f"gone{number}.wav,low{empty}" for number in range(count)]
    manifest.write_text("\n".join([header, *rows, *gone]) + "\n")
    return manifest


def test_rank_refuses_most_before_it_encodes_and_ranks_the_rest_when_allowed(fakes, passes, tones):
    manifest = with_gone(tones, 40)
    with pytest.raises(DataError, match=rf"40 of 76 utterances \(53 %\) are skipped: 40 × {GONE} \(gone0.wav\)"):
        voxrank.rank(manifest, ["fake-a"])
    assert not passes
    ranking = voxrank.rank(manifest, ["fake-a"], extraction=ExtractionOptions(allow_skips=True))
    assert ranking.data.used == 36
    assert ranking.options["allow_skips"]


def test_rank_says_first_that_much_is_skipped(fakes, tones):
    lines = []

    class Listening(voxrank.progress.Progress):
        def note(self, text):
            lines.append(text)

    ranking = voxrank.rank(with_gone(tones, 5), ["fake-a"], progress=Listening())
    assert ranking.warning == f"5 of 41 utterances (12 %) are skipped: 5 × {GONE} (gone0.wav)"
    assert lines[1] == ranking.warning
    assert not voxrank.rank(tones, ["fake-a"], split="all").warning.startswith("0")


def test_utterances_that_turn_out_bad_while_they_are_encoded_are_counted(made):
    ranking = made.make_ranking(skipped=300)
    assert ranking.warning.startswith("300 of 1,500 utterances (20 %) are skipped")


def test_the_warning_stands_above_the_verdict(made):
    ranking = made.make_ranking(skipped=300)
    console = Console(file=io.StringIO(), width=80)
    show_ranking(console, ranking)
    assert console.file.getvalue().startswith("Warning: 300 of 1,500 utterances (20 %) are skipped")
    page = page_html(ranking)
    assert page.index("<strong>Warning:</strong> 300 of 1,500 utterances") < page.index("<h1>")
    assert "300 of 1,500 utterances (20 %) are skipped" in ranking._repr_html_()


def test_nothing_is_said_where_little_is_skipped(made):
    ranking = made.make_ranking(skipped=2)
    console = Console(file=io.StringIO(), width=80)
    show_ranking(console, ranking)
    assert "Warning" not in console.file.getvalue()
    assert "Warning" not in page_html(ranking)


def test_transcripts_without_words_count_as_skipped(fakes, passes, spelled):
    header, *rows = spelled.read_text().splitlines()
    silent = [f"{row.split(',')[0]},!?,,s0" for row in rows[:25]]
    spelled.write_text("\n".join([header, *silent, *rows[25:]]))
    sequence = SequenceOptions(unit="char", aligner="uniform")
    with pytest.raises(DataError, match=r"25 of 40 utterances \(62 %\) are skipped"):
        voxrank.rank(spelled, ["fake-a"], sequence=sequence)
    with pytest.raises(DataError, match=r"25 of 40 utterances \(62 %\) are skipped"):
        voxrank.align(spelled, sequence=sequence)
    assert not passes
    aligned = voxrank.align(spelled, sequence=sequence, allow_skips=True)
    assert len(aligned.utterances) == 15
    assert aligned.warning.startswith("25 of 40 utterances (62 %) are skipped")


def test_segments_that_cannot_be_used_count_as_skipped(fakes, spelled):
    header, *rows = spelled.read_text().splitlines()
    broken = [f'{row.split(",")[0]},,"[[0.2, 0.1, ""a""]]",s0' for row in rows[:25]]
    spelled.write_text("\n".join([header, *broken, *rows[25:]]))
    with pytest.raises(DataError, match=r"25 of 40 utterances \(62 %\) are skipped"):
        voxrank.rank(spelled, ["fake-a"])


def test_validate_refuses_most_before_it_trains(tones):
    with pytest.raises(DataError, match=r"40 of 76 utterances \(53 %\) are skipped"):
        validate(with_gone(tones, 40), ["logmel"])


def test_source_data_of_which_most_is_skipped_are_refused(fakes, tones, tmp_path):
    source = tmp_path / "source.csv"
    source.write_text("path\n" + "".join(f"gone{number}.wav\n" for number in range(3)) + "clips/low-0.wav\n")
    with pytest.raises(DataError, match=r"the source .*: .* 3 of 4 utterances \(75 %\) are skipped"):
        voxrank.rank(tones, ["fake-a"], source=source, scores=["logme", "frechet"])
