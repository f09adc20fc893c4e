"""Training targets from labels and transcripts, and accuracy and error rates against values counted by hand."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from voxrank.config import SequenceOptions, TuningOptions
from voxrank.data.shards import Item
from voxrank.data.utterance import Dataset, Skipped, Utterance
from voxrank.errors import DataError, OptionError
from voxrank.groundtruth.answers import BLANK, SPACE, Answers, find_answers, measure, spelled_out


def data(task, rows, column):
    utterances = tuple(
        Utterance(f"u{n}", Path(f"u{n}.wav"), **{column: value}) if value is not None else Utterance(f"u{n}", Path("u"))
        for n, value in enumerate(rows)
    )
    target = "text" if task == "transcription" else "label"
    return [Item(u, 1.0, n) for n, u in enumerate(utterances)], Dataset("made up", task, target, utterances)


def answers_of(task, rows, column="text", *, sequence=None, **tuning):
    items, dataset = data(task, rows, column)
    return find_answers(items, dataset, sequence or SequenceOptions(), TuningOptions(**tuning))


def transcripts(*rows, unit=None, language=None, **tuning):
    return answers_of("transcription", rows, sequence=SequenceOptions(unit=unit, language=language), **tuning)


def rows_of(answers):
    return {name: row.tolist() for name, row in answers.by_utterance.items()}


def test_classes_are_numbered_in_alphabetical_order():
    found = answers_of("classification", ["yes", "no", "stop", "yes"], "label")
    assert found.names == ("no", "stop", "yes")
    assert rows_of(found) == {"u0": [2], "u1": [0], "u2": [1], "u3": [2]}
    assert (found.metric, found.higher_is_better, found.sequences, found.skipped) == ("accuracy", True, False, ())


def test_characters_have_a_space_between_words_only():
    found = transcripts("Ab,  ba!", "c a'b")
    assert found.names == (SPACE, "a", "b", "c")
    assert rows_of(found) == {"u0": [2, 3, 1, 3, 2], "u1": [4, 1, 2, 3]}  # counted from 1: 0 is the blank
    assert BLANK == 0
    assert all(BLANK not in row for row in found.by_utterance.values())
    assert spelled_out(found.by_utterance["u0"], found.names) == ["a", "b", SPACE, "b", "a"]
    assert (found.metric, found.higher_is_better, found.sequences) == ("cer", False, True)


def test_the_default_unit_is_the_character():
    assert rows_of(transcripts("ab c")) == rows_of(transcripts("ab c", unit="char"))


def test_transcripts_without_words_are_skipped_with_a_reason():
    found = transcripts("ab", "--", None)
    assert list(found.by_utterance) == ["u0"]
    assert found.skipped == (
        Skipped("u1", "expected a transcript with words, got '--'"),
        Skipped("u2", "expected a transcript with words, got ''"),
    )


@pytest.mark.skipif(find_spec("espeakng_loader") is None, reason="needs the extra phone")
def test_phones_have_no_space_between_words():
    found = transcripts("Guten Tag", "Tag", unit="phone", language="de")
    assert spelled_out(found.by_utterance["u0"], found.names) == ["ɡ", "uː", "t", "ə", "n", "t", "ɑː", "k"]
    assert spelled_out(found.by_utterance["u1"], found.names) == ["t", "ɑː", "k"]
    assert SPACE not in found.names
    assert (found.metric, found.higher_is_better) == ("per", False)


@pytest.mark.parametrize("metric", ["cer", "wer"])
def test_characters_may_be_compared_by_words(metric):
    assert transcripts("ab c", metric=metric).metric == metric


WRONG = {
    "a metric of transcripts": (
        lambda: answers_of("classification", ["a", "b"], "label", metric="cer"),
        OptionError,
        "^expected the metric accuracy for labels, got 'cer'$",
    ),
    "a transducer of labels": (
        lambda: answers_of("classification", ["a", "b"], "label", head="transducer"),
        OptionError,
        "^a transducer writes transcripts, and these are labels; take --head linear or mlp$",
    ),
    "one class": (
        lambda: answers_of("classification", ["a", "a"], "label"),
        DataError,
        "^expected at least two classes, got 1$",
    ),
    "words": (
        lambda: transcripts("ab", unit="word"),
        OptionError,
        "^models are tuned to characters, phones or tokens; take --unit char, and --metric wer for words$",
    ),
    "accuracy of transcripts": (
        lambda: transcripts("ab", metric="accuracy"),
        OptionError,
        "^expected the metric cer or wer for units of the kind char, got 'accuracy'$",
    ),
    "words of phones": (
        lambda: transcripts("ab", unit="phone", language="de", metric="wer"),
        OptionError,
        "^expected the metric per for units of the kind phone, got 'wer'$",
    ),
    "characters of tokens": (
        lambda: transcripts("ab", unit="tokens:nowhere", metric="cer"),
        OptionError,
        "^expected the metric ter for units of the kind tokens:nowhere, got 'cer'$",
    ),
    "another unit": (lambda: transcripts("ab", unit="syllable", metric="ter"), OptionError, "'syllable'"),
    "nothing to spell": (
        lambda: transcripts("--", "?"),
        DataError,
        "^none of the 2 transcripts can be spelled; the first: expected a transcript with words, got '--'$",
    ),
    "numbers": (
        lambda: answers_of("regression", [1.0, 2.0], "value"),
        OptionError,
        "^models are tuned for labels and transcripts, and made up is for regression$",
    ),
}


@pytest.mark.parametrize(("ask", "error", "message"), WRONG.values(), ids=WRONG)
def test_data_without_usable_answers_are_refused(ask, error, message):
    with pytest.raises(error, match=message):
        ask()


CLASSES = Answers(("a", "b", "c"), {}, sequences=False, metric="accuracy")
LETTERS = Answers((SPACE, "a", "b", "c"), {}, sequences=True, metric="cer")
PHONES = Answers(("aː", "t ʃ", "k"), {}, sequences=True, metric="per")


def number(text):
    return [LETTERS.names.index(letter) + 1 for letter in text]


def test_accuracy_is_the_share_of_right_answers():
    assert measure([[0], [1], [2], [2]], [[0], [1], [2], [0]], CLASSES) == {"accuracy": 0.75}
    assert measure(np.array([[0]]), [[1]], CLASSES) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("predicted", "expected", "edits"),
    [
        ("abc", "abc", 0),
        ("aabc", "abc", 1),  # an insertion
        ("ac", "abc", 1),  # a deletion
        ("acc", "abc", 1),  # a substitution
        ("bca", "abc", 2),
        ("", "abc", 3),
        ("cccccc", "ab", 6),  # above 1: more errors than units
        ("ab", "a b", 1),  # the space is a unit
    ],
)
def test_an_error_rate_is_the_fewest_edits_over_the_units(predicted, expected, edits):
    found = measure([number(predicted)], [number(expected)], LETTERS)
    assert found["cer"] == pytest.approx(edits / len(expected), abs=1e-12)


def test_error_rates_are_of_all_utterances_together():
    predicted, expected = ["ab", "abcabcab"], ["ac", "abcabcab"]
    found = measure([number(x) for x in predicted], [number(x) for x in expected], LETTERS)
    assert found["cer"] == pytest.approx(1 / 10)  # not the mean of 1/2 and 0
    assert found["wer"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("predicted", "expected", "rate"),
    [
        ("ab c", "ab c", 0),
        ("ab b", "ab c", 1 / 2),
        ("abc", "ab c", 1),  # one wrong word, one missing
        (" ab  c ", "ab c", 0),  # spaces separate words and are not words
        ("", "ab c", 1),
        ("a b c", "abc", 3),
    ],
)
def test_words_are_characters_between_spaces(predicted, expected, rate):
    for metric in ("cer", "wer"):
        answers = Answers(LETTERS.names, {}, sequences=True, metric=metric)
        found = measure([number(predicted)], [number(expected)], answers)
        assert set(found) == {"cer", "wer"}
        assert found["wer"] == pytest.approx(rate, abs=1e-12)


def test_units_of_several_characters_count_once():
    assert measure([[1, 3]], [[1, 2, 3]], PHONES) == {"per": pytest.approx(1 / 3)}
    assert measure([[2]], [[1]], PHONES) == {"per": 1.0}
    tokens = Answers(PHONES.names, {}, sequences=True, metric="ter")
    assert measure([[2, 2, 2]], [[2, 2]], tokens) == {"ter": 0.5}


def test_an_utterance_without_an_answer_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="zip"):
        measure([[0]], [[0], [1]], CLASSES)
