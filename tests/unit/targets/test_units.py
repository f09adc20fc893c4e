"""Transcripts are converted to units."""

import json
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Wav2Vec2CTCTokenizer

import voxrank.targets.units
from voxrank.errors import ModelError, OptionError, UtteranceError
from voxrank.targets import phones
from voxrank.targets.units import Inventory, Speller, spell


def laid_out(units):
    """Return the names with a point between, and a space where there may be silence."""
    assert units.pauses[0]
    assert units.pauses[-1]
    assert len(units.pauses) == len(units.names) + 1
    pairs = zip(units.names, units.pauses[:-1], strict=True)
    return "".join((" " if pause else ".") + name for name, pause in pairs).strip()


def wordpieces():
    known = ["[UNK]", "[CLS]", "the", "cat", "##s", "sat", "t", "isn", "well", "known", ",", ".", "'", "-"]
    tokenizer = Tokenizer(models.WordPiece({name: number for number, name in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]")


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cats sat there, isn't it? the cats café"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def unigrams():
    scores = {"<unk>": 0, "▁the": -1, "▁c": -2, "at": -2, "▁": -4} | dict.fromkeys("thes", -4)
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def letters(folder):
    known = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ACEHST'"]
    (folder / "letters.json").write_text(json.dumps({name: number for number, name in enumerate(known)}))
    return Wav2Vec2CTCTokenizer(str(folder / "letters.json"))


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Return the folder in which a tokenizer of each kind is saved."""
    root = tmp_path_factory.mktemp("tokenizers")
    made = {"wordpiece": wordpieces(), "bpe": byte_pairs(), "unigram": unigrams(), "letters": letters(root)}
    for name, tokenizer in made.items():
        tokenizer.save_pretrained(root / name)
    return root


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
def test_words_are_units_with_pauses_between_them(text, words):
    units = spell(text, "word")
    assert list(units.names) == words
    assert units.pauses.all()
    assert len(units.pauses) == len(words) + 1


def test_characters_are_units_with_pauses_between_words():
    units = spell("It's ok", "char")
    assert units.names == ("i", "t", "s", "o", "k")
    np.testing.assert_array_equal(units.pauses, [True, False, False, True, False, True])


def test_marks_stay_with_their_letters():
    assert spell("कि q\u0323a", "char").names == ("कि", "q\u0323", "a")


@given(st.text(max_size=30), st.sampled_from(["char", "word"]))
def test_equivalent_spellings_have_the_same_units(text, unit):
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


def test_units_are_numbered_in_order_of_name():
    spelled = [spell("beta", "char"), spell("cab", "char")]
    inventory = Inventory.of(spelled)
    assert inventory.names == ("a", "b", "c", "e", "t")
    np.testing.assert_array_equal(inventory.numbers(spelled[0]), [2, 4, 5, 1])
    with pytest.raises(UtteranceError, match="among the 5 known ones, got 'x', 'z'"):
        inventory.numbers(spell("xxza", "char"))


def test_transcripts_without_words_are_refused():
    for text in ("", "  ", "...", "'"):
        with pytest.raises(UtteranceError, match="expected a transcript with words, got "):
            spell(text, "char")
    with pytest.raises(OptionError, match="expected unit to be one of char, word, got 'syllable'"):
        spell("a", "syllable")


@pytest.mark.parametrize("unit", ["char", "word"])
def test_a_speller_spells_characters_and_words(unit):
    text = "That's IT, isn’t it?"
    units, expected = Speller(unit).spell(text), spell(text, unit)
    assert units.names == expected.names
    np.testing.assert_array_equal(units.pauses, expected.pauses)


def test_phones_are_units_with_pauses_between_words():
    assert laid_out(Speller("phone", "en-us").spell("The church, -- go! 😀")) == "ð.ə tʃ.ɜː.tʃ ɡ.oʊ"


def test_the_language_of_an_utterance_has_priority_over_the_default():
    speller = Speller("phone", "en-us")
    assert laid_out(speller.spell("die", "de")) == "d.iː"
    for other in (None, ""):
        assert laid_out(speller.spell("die", other)) == "d.aɪ"
    assert laid_out(Speller("phone").spell("die", "de")) == "d.iː"


def test_a_language_is_loaded_once(monkeypatch):
    made = []

    class Counted(phones.Phonemiser):
        def __init__(self, language):
            made.append(language)
            super().__init__(language)

    monkeypatch.setattr(voxrank.targets.units, "Phonemiser", Counted)
    speller = Speller("phone", "de")
    for language in (None, "fr", "de", "fr"):
        speller.spell("die", language)
    assert made == ["de", "fr"]


def test_phones_without_a_language_are_refused():
    with pytest.raises(
        OptionError, match=r"expected a language for phones \(--language en-us, or a column 'language'\), got none"
    ):
        Speller("phone").spell("yes")


def test_unknown_languages_are_refused_at_once_and_skipped_later():
    with pytest.raises(OptionError, match=r"expected a language of eSpeak NG .*, got 'en-xyz'; did you mean en, "):
        Speller("phone", "en-xyz")
    with pytest.raises(UtteranceError, match=r"expected a language of eSpeak NG .*, got 'en-xyz'; did you mean en, "):
        Speller("phone").spell("yes", "en-xyz")


def test_an_unknown_language_of_an_utterance_does_not_affect_the_default():
    speller = Speller("phone", "German")
    for language in ("xx", "xx", None, "und", "sv_SE", "de"):
        speller.spell("die", language)
    assert laid_out(speller.spell("die", "xx")) == "d.iː"
    assert speller.describe_languages(3) == [
        "languages are read by voices of eSpeak NG: 'German' as de, 'sv_SE' as sv",
        "languages that eSpeak NG lacks are read as German: 'xx' (3), 'und' (1)",
    ]
    assert Speller("char", "xx").describe_languages(3) == []


def test_a_language_for_phones_is_checked_before_the_run():
    speller = Speller("phone")
    speller.check_languages([None, "de"])
    Speller("char").check_languages([None])
    Speller("phone", "de").check_languages([None])
    with pytest.raises(OptionError, match="expected a language for phones"):
        speller.check_languages([None, ""])


def test_phones_without_the_extra_are_refused_at_once(monkeypatch):
    phones._espeak.cache_clear()
    phones._languages.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(OptionError, match=r"run: pip install 'voxrank\[phone\]'"):
        Speller("phone")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("wordpiece", "The cats, SAT. Isn't “well-known”", "the cat.s sat isn.t well known"),
        ("wordpiece", "'The cats' sat", "the cat.s sat"),
        ("bpe", "the  cats sat there, isn't 'the' cats?<|end|>", "the cats sat there isn.'t the cats"),
        ("bpe", "the café 你", "the café ä.½.ł"),
        ("unigram", "the cats  - the t", "the c.at.s the t"),
        ("letters", "THE CATS, 'CAT'S' — CHEST.", "T.H.E C.A.T.S C.A.T.S C.H.E.S.T"),
    ],
)
def test_pieces_of_a_tokenizer_have_pauses_between_words_only(tokenizers, kind, text, expected):
    """Neither marks nor special tokens are pieces; pieces of a word have no pause between them."""
    assert laid_out(Speller(f"tokens:{tokenizers / kind}").spell(text)) == expected


@pytest.mark.parametrize(("kind", "text"), [("wordpiece", "the xyz"), ("letters", "THE xyz"), ("unigram", "the xyz")])
def test_text_that_a_tokenizer_does_not_know_is_refused(tokenizers, kind, text):
    with pytest.raises(
        UtteranceError, match=r"expected a transcript that the tokenizer has pieces for \(mind capitals\), got '.*xyz'"
    ):
        Speller(f"tokens:{tokenizers / kind}").spell(text)


@pytest.mark.parametrize("unit", ["char", "word", "phone", "wordpiece", "bpe", "letters"])
@pytest.mark.parametrize("text", ["", " ", "... ?!", "😀", "«»"])
def test_a_transcript_with_nothing_to_spell_is_refused(tokenizers, unit, text):
    speller = Speller(unit if unit in {"char", "word", "phone"} else f"tokens:{tokenizers / unit}", "en-us")
    with pytest.raises(UtteranceError, match="expected a transcript with words, got "):
        speller.spell(text)


def test_a_missing_tokenizer_is_refused(tmp_path):
    with pytest.raises(
        ModelError, match=r"cannot load its tokenizer \(.*\); give a hub id, or the directory of a tokenizer"
    ) as caught:
        Speller(f"tokens:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_brings_code_is_refused(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}})
    )
    (tmp_path / "own.py").write_text("raise SystemExit('this code was run')\nclass Own: pass\n")
    with pytest.raises(ModelError, match="of one that needs no code of its own"):
        Speller(f"tokens:{tmp_path}")


@pytest.mark.parametrize("unit", ["phones", "tokens:", "tokens", ""])
def test_unknown_units_are_refused(unit):
    with pytest.raises(OptionError, match=r"expected a unit of transcripts, got .*: char, phone, tokens:SPEC, word"):
        Speller(unit)
