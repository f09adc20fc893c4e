"""Tags of transcripts and segments are distinguished from spoken words."""

import unicodedata
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxrank.data.names import counted
from voxrank.errors import UtteranceError
from voxrank.targets.tags import describe_tags, is_silent_label, is_unscored_label, take_out_tags
from voxrank.targets.units import UNSCORED, Inventory, Speller, spell


def words_of(text):
    """Return words, with "…" for each unscored stretch."""
    return [name or "…" for name in spell(text, "word").names]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[noise] yes <unk>", "… yes …"),
        ("(laughs) no", "… no"),
        ("no {breath} yes", "no … yes"),
        ("<NOISE> yes <SPOKEN_NOISE>", "… yes …"),
        ("yes [vocalized-noise] no [SPEAKER_01]: yes", "yes … no … yes"),
        ("yes [noise] [laughter] no", "yes … no"),
        ("yes[noise]no", "yes … no"),
        ("so ((I think)) yes (( )) no", "so … yes … no"),
        ("yes ++BREATH++ no &=coughs yes ⁇", "yes … no … yes …"),
        ("*laughs* %hesitation no ~noise~", "… no …"),
        ("(audience laughs) (door slams) no (?)", "… no …"),
        ("(lacht) ja (Gelächter) nein", "… ja … nein"),
        ("［笑］はい（笑）", "… はい …"),
        ("[[UNK]] {{music}} yes", "… yes"),
        ('<#Klopfen> ja <"ahm>', "… ja …"),
    ],
)
def test_sounds_and_unknown_words_are_unscored_stretches(text, words):
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<s> yes </s>", "yes"),
        ("<sil> yes [silence] no (pause) so !SIL", "yes no so"),
        ("<|en|> yes <|0.00|>", "yes"),
        ('yes <foreign lang="fr"> oui </foreign> no', "yes oui no"),
        ("<laugh>yes no</laugh><br/>so", "yes no so"),
        ("[LAUGHTER-yes] no", "yes no"),
    ],
)
def test_silence_and_markup_are_removed(text, words):
    assert words_of(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("he said (and I quote) yes", "he said and i quote yes"),
        ("*really* yes", "really yes"),
        ("2 < 3 and 5 > 4, x <3", "2 3 and 5 4 x 3"),
        ("100% %uh yes [no", "100 uh yes no"),
        ("and/or a_noise_b yes", "and or a noise b yes"),
        ("C++ and C++ noise", "c and c noise"),
        ("the noise and the music of silence", "the noise and the music of silence"),
        ("rock &amp; roll, don&#39;t", "rock roll don't"),
    ],
)
def test_other_words_in_brackets_are_spoken(text, words):
    assert words_of(text) == words.split()


def test_tags_within_spoken_parentheses_are_taken_out():
    found = take_out_tags("(and I <unk> quote) yes")
    assert found.parts == ("(and I ", None, " quote) yes")
    assert (found.tags, found.asides) == (("<unk>",), ("(and I <unk> quote)",))


@pytest.mark.parametrize("unit", ["char", "phone"])
def test_other_units_have_the_same_stretches(unit):
    plain, tagged = (Speller(unit, "en-us").spell(text) for text in ("yes no", "[noise] yes <unk> no (laughs)"))
    assert [name for name in tagged.names if name] == list(plain.names)
    assert [bool(name) for name in tagged.names] == [False, True, True, True, False, True, True, False]
    assert tagged.pauses.tolist() == [True, True, False, False, True, True, False, True, True]
    assert tagged.spoken.names == plain.names
    assert tagged.spoken.pauses.tolist() == plain.pauses.tolist()


def test_the_unscored_unit_is_the_last_of_an_inventory():
    inventory = Inventory.of([spell("b <unk> a", "char")])
    assert inventory.names == ("a", "b", UNSCORED)
    assert inventory.numbers(spell("[noise] ab", "char")).tolist() == [3, 1, 2]


def test_a_transcript_of_tags_only_is_refused():
    with pytest.raises(UtteranceError, match=r"a transcript with words, got nothing but the tags '\[noise\]', '<unk>'"):
        spell("[noise] <unk>.", "char")


@pytest.mark.parametrize("label", ["spn", "<UNK>", "[noise]", "(laughs)", "{breath}", "[Vocalized-Noise]", "<nib>"])
def test_labels_of_noise_and_unknown_words_are_not_scored(label):
    assert is_unscored_label(label)
    assert not is_silent_label(label)


@pytest.mark.parametrize("label", ["", "SIL", "[sil]", "(pause)", "<s>", "{SILENCE}"])
def test_labels_of_silence_are_silence(label):
    assert is_silent_label(label)
    assert not is_unscored_label(label)


@pytest.mark.parametrize("label", ["a", "{", "[a]", "(yes)", "music", "laughs", "<a>"])
def test_other_labels_of_segments_are_classes(label):
    assert not is_silent_label(label)
    assert not is_unscored_label(label)


def test_each_kind_of_tag_is_described_in_a_line():
    lines = describe_tags(["[noise] a &amp; b (and c)", "[noise] <unk> <s> [laughter-yes]", "plain"], shown=2)
    assert lines == [
        "tags in transcripts are not spoken and not scored: '[noise]' (2), '<unk>' (1) and 1 more",
        "words in brackets that are taken as spoken: '(and c)' (1), '[laughter-yes]' (1)",
        "HTML entities are read as the characters they stand for: '&amp;' (1)",
    ]
    assert describe_tags(["plain (… )"], shown=2) == []


def test_large_counts_have_separators():
    assert counted(Counter(a=1200), 3) == "'a' (1,200)"


@given(st.text(alphabet="ab <>[](){}*+&=%/-é\u0301", max_size=40))
def test_parts_alternate_and_hold_the_spoken_text(text):
    parts = take_out_tags(text).parts
    assert all((one is None) != (other is None) for one, other in pairwise(parts))
    assert all(part is None or part.strip() for part in parts)
    spoken = "".join(part or "" for part in parts)
    assert {c for c in spoken if c.isalnum()} <= {c for c in text if c.isalnum()}
    composed = take_out_tags(unicodedata.normalize("NFC", text)).parts
    assert [part is None for part in composed] == [part is None for part in parts]
