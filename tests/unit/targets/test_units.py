"""Transcripts become units."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.errors import OptionError, UtteranceError
from voxrank.targets.units import Inventory, spell


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Please enter your PIN, followed by #.", ["please", "enter", "your", "pin", "followed", "by"]),
        ("That’s it -- isn't it? 'Yes'", ["that's", "it", "isn't", "it", "yes"]),
        ("Straße  ÇA va\u0301", ["strasse", "ça", "vá"]),
        ("нет, 7 раз", ["нет", "7", "раз"]),
        ("ﬁn—ende", ["fin", "ende"]),
        ("你好 世界", ["你好", "世界"]),
    ],
)
def test_words(text, words):
    units = spell(text, "word")
    assert list(units.names) == words
    assert units.pauses.all()
    assert len(units.pauses) == len(words) + 1


def test_characters_and_the_places_of_pauses():
    units = spell("It's ok", "char")
    assert units.names == ("i", "t", "s", "o", "k")
    np.testing.assert_array_equal(units.pauses, [True, False, False, True, False, True])


def test_marks_stay_with_their_letters():
    assert spell("कि q\u0323a", "char").names == ("कि", "q\u0323", "a")


@given(st.text(max_size=30), st.sampled_from(["char", "word"]))
def test_ways_to_write_the_same_are_the_same(text, unit):
    try:
        expected = spell(text, unit)
    except UtteranceError:
        with pytest.raises(UtteranceError):
            spell(f" {text}... ", unit)
        return
    for other in (unicodedata.normalize("NFD", text), f" {text} "):
        assert spell(other, unit).names == expected.names
    assert len(expected.pauses) == len(expected.names) + 1
    assert expected.pauses[0]
    assert expected.pauses[-1]


def test_numbers_are_those_of_the_names_in_order():
    spelled = [spell("beta", "char"), spell("cab", "char")]
    inventory = Inventory.of(spelled)
    assert inventory.names == ("a", "b", "c", "e", "t")
    np.testing.assert_array_equal(inventory.numbers(spelled[0]), [2, 4, 5, 1])
    with pytest.raises(UtteranceError, match="among the 5 known ones, got 'x', 'z'"):
        inventory.numbers(spell("xxza", "char"))


def test_transcripts_without_words():
    for text in ("", "  ", "...", "'"):
        with pytest.raises(UtteranceError, match="expected a transcript with words, got "):
            spell(text, "char")
    with pytest.raises(OptionError, match="expected unit to be one of char, word, got 'syllable'"):
        spell("a", "syllable")
