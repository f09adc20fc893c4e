"""The conversion of transcripts to sequences of units, with the pauses: silence may be at word starts and at the end.

Words are runs of letters, marks, numbers and inner apostrophes; everything else separates them. For words and
characters, text is put in Unicode's compatibility form (NFKC) and case-folded, so that all spellings of a character are
equal. A character is a letter with the marks that follow it. Phones are those of `targets.phones`. Pieces are those of
a tokenizer, without pieces that cannot be spoken, such as a comma. Tags in transcripts, such as ``[noise]``, are not
spoken: if a tag takes time, `UNSCORED` stands for it (`targets.tags`).
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voxrank.config import check_choice
from voxrank.data.names import counted
from voxrank.errors import ModelError, OptionError, UtteranceError, did_you_mean, listed, reason
from voxrank.targets.phones import Phonemiser
from voxrank.targets.tags import take_out_tags

Unit = Literal["char", "word"]

APOSTROPHES = {"'", "\u2019", "\u02bc"}
FIRST = 1
"""Number of the first unit; 0 is silence or blank."""
UNSCORED = ""
"""Name of the unit of an unscored stretch: it takes time between spoken units, and has no label."""

SHOWN_TAGS = 3
_TOKENS = "tokens:"
_ANY_LANGUAGE = "en-us"
_NO_LANGUAGE = "expected a language for phones (--language en-us, or a column 'language'), got none"
_MARKS_OF_WORDS = re.compile(r"^(##|[Ġ▁]+)|(@@|</w>)$")
"""Marks in the names of pieces that show whether a piece continues, begins or ends a word."""


@dataclass(frozen=True)
class Units:
    """The units of an utterance.

    Attributes:
        names: (L,) the units in order.
        pauses: (L + 1,) whether there may be silence before each unit, and after the last.
    """

    names: tuple[str, ...]
    pauses: NDArray[np.bool_]

    @property
    def spoken(self) -> Units:
        """Return the units without those of unscored stretches."""
        is_scored = np.array([name != UNSCORED for name in self.names], dtype=np.bool_)
        return Units(tuple(filter(None, self.names)), np.append(self.pauses[:-1][is_scored], self.pauses[-1]))


@dataclass(frozen=True)
class Inventory:
    """The known units, numbered from `FIRST` in order.

    Attributes:
        names: sorted names.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, spelled: Sequence[Units]) -> Inventory:
        """Collect all units that occur; `UNSCORED` is the last."""
        names = {name for units in spelled for name in units.names}
        return cls((*sorted(names - {UNSCORED}), *(names & {UNSCORED})))

    def numbers(self, units: Units) -> NDArray[np.int64]:
        """Return the number of each unit, (L,).

        Raises:
            UtteranceError: there are unknown units; the message names them.
        """
        known = {name: number for number, name in enumerate(self.names, start=FIRST)}
        unknown = Counter(name for name in units.names if name not in known)
        if unknown:
            shown = ", ".join(repr(name) for name, _ in unknown.most_common())
            raise UtteranceError(f"expected units among the {len(known)} known ones, got {shown}")
        return np.array([known[name] for name in units.names], dtype=np.int64)


class Speller:
    """Converts transcripts to units of one kind.

    Args:
        unit: "char", "word", "phone", or "tokens:SPEC", the pieces of a tokenizer of transformers: a hub id or a
            directory. No code that comes with it is run.
        language: language of the transcripts, for phones (see `Phonemiser`), also if an utterance's is unknown.

    Raises:
        OptionError: the unit is unknown, the extra `phone` is not installed, or the language of phones is unknown.
        ModelError: the tokenizer cannot be loaded.

    Example:
        >>> Speller("phone", "de").spell("Guten Tag").names
        ('ɡ', 'uː', 't', 'ə', 'n', 't', 'ɑː', 'k')
    """

    def __init__(self, unit: str, language: str | None = None) -> None:
        self._language = language
        self._phonemisers: dict[str, Phonemiser | OptionError] = {}
        self._unknown: Counter[str] = Counter()
        self._reads_phones = unit == "phone"
        self._parts: Callable[[str, str | None], list[list[str]]]
        if unit in get_args(Unit):
            self._parts = lambda text, _: _parts(text, unit)
        elif self._reads_phones:
            if isinstance(phonemiser := self._phonemiser(language or _ANY_LANGUAGE), OptionError):
                raise phonemiser
            self._parts = self._phones
        elif unit.removeprefix(_TOKENS) not in {unit, ""}:
            tokenizer = _load_tokenizer(unit.removeprefix(_TOKENS))
            self._parts = lambda text, _: _pieces(tokenizer, text)
        else:
            known = did_you_mean(unit, [*get_args(Unit), "phone", f"{_TOKENS}SPEC"])
            raise OptionError(f"expected a unit of transcripts, got {unit!r}; {known}")

    def spell(self, text: str, language: str | None = None) -> Units:
        """Return the units of a transcript.

        Args:
            text: the transcript, perhaps with tags, which are not spoken.
            language: language of this utterance; if it is missing or unknown, the language of all utterances is used.

        Raises:
            OptionError: the unit is phones, and no language is given.
            UtteranceError: nothing in the text is spoken, its language is unknown without a language for all, or the
                tokenizer lacks a piece for it.
        """
        return _join(text, lambda spoken: self._parts(spoken, language))

    def check_languages(self, languages: Iterable[str | None]) -> None:
        """Check that there is a language for phones.

        Args:
            languages: languages of all utterances.

        Raises:
            OptionError: the unit is phones, and neither an utterance nor the options give a language.
        """
        if self._reads_phones and not self._language and not any(languages):
            raise OptionError(_NO_LANGUAGE)

    def describe_languages(self, shown: int) -> list[str]:
        """Describe which voices read the languages, and which languages are unknown; no lines if all are codes.

        Args:
            shown: maximum number of languages named in a line; the others are counted.
        """
        lines = []
        codes = {
            name: phonemiser.code
            for name, phonemiser in self._phonemisers.items()
            if isinstance(phonemiser, Phonemiser)
        }
        renamed = [f"{name!r} as {code}" for name, code in codes.items() if name.replace("_", "-").lower() != code]
        if renamed:
            lines.append(f"languages are read by voices of eSpeak NG: {listed(renamed, shown)}")
        if self._unknown:
            lines.append(
                f"languages that eSpeak NG lacks are read as {self._language}: {counted(self._unknown, shown)}"
            )
        return lines

    def _phones(self, text: str, language: str | None) -> list[list[str]]:
        if not language and not self._language:
            raise OptionError(_NO_LANGUAGE)
        phonemiser = self._phonemiser(language or self._language or "")
        if isinstance(phonemiser, OptionError) and self._language:
            self._unknown[language or ""] += 1
            phonemiser = self._phonemiser(self._language)
        if isinstance(phonemiser, OptionError):
            raise UtteranceError(str(phonemiser)) from phonemiser
        return phonemiser.words(text)

    def _phonemiser(self, language: str) -> Phonemiser | OptionError:
        """Return the phonemiser of a language, or the error if there is none."""
        if language not in self._phonemisers:
            try:
                self._phonemisers[language] = Phonemiser(language)
            except OptionError as error:
                self._phonemisers[language] = error
        return self._phonemisers[language]


def spell(text: str, unit: Unit) -> Units:
    """Return the units of a transcript, characters or words.

    Raises:
        OptionError: the unit is neither.
        UtteranceError: nothing in the text is spoken.
    """
    check_choice("unit", unit, Unit)
    return _join(text, lambda spoken: _parts(spoken, unit))


def _join(text: str, words_of: Callable[[str], list[list[str]]]) -> Units:
    """Return the units of all words, and of unscored stretches between them; silence may be before each."""
    tagged = take_out_tags(text)
    words: list[list[str]] = []
    for part in tagged.parts:
        words += [[UNSCORED]] if part is None else words_of(part)
    if all(word == [UNSCORED] for word in words):
        got = f"nothing but the tags {listed(map(repr, tagged.tags), SHOWN_TAGS)}" if tagged.tags else repr(text)
        raise UtteranceError(f"expected a transcript with words, got {got}")
    begins = [index == 0 for word in words for index in range(len(word))]
    return Units(tuple(name for word in words for name in word), np.array([*begins, True]))


def _parts(text: str, unit: str) -> list[list[str]]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return [[word] if unit == "word" else _characters(word) for word in _words(folded)]


def _words(text: str) -> list[str]:
    plain = "".join("'" if character in APOSTROPHES else character for character in text)
    runs = ("".join(run) for is_word, run in groupby(plain, key=_is_word_character) if is_word)
    return [word for run in runs if (word := run.strip("'"))]


def _is_word_character(character: str) -> bool:
    return character == "'" or _is_spoken(character)


def _is_spoken(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _characters(word: str) -> list[str]:
    characters: list[str] = []
    for character in word:
        if characters and unicodedata.category(character)[0] == "M":
            characters[-1] += character
        elif character != "'":
            characters.append(character)
    return characters


def _load_tokenizer(spec: str) -> Any:
    import transformers

    tf: Any = transformers  # large parts of it have no annotations
    path = str(Path(spec).expanduser()) if spec.startswith("~") else spec
    try:
        with warnings.catch_warnings(action="ignore"):
            return tf.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # the exception depends on the problem
        raise ModelError(
            f"{spec}: cannot load its tokenizer ({reason(error)}); give a hub id, or the directory of a tokenizer "
            "saved by transformers (save_pretrained), of one that needs no code of its own"
        ) from error


def _pieces(tokenizer: Any, text: str) -> list[list[str]]:
    """Return the pieces of each word. Fast tokenizers give the position of a piece; others get one word at a time."""
    if not tokenizer.is_fast:
        words = [(word, _encode(tokenizer, word)["input_ids"]) for word in _words(text)]
        names_by_word = [[_piece_name(tokenizer, number, word) for number in numbers] for word, numbers in words]
        return [names for word in names_by_word if (names := [name for name in word if any(map(_is_spoken, name))])]
    encoding = _encode(tokenizer, text, return_offsets_mapping=True)
    pieces: list[list[str]] = []
    last_end = 0
    for number, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
        first = next((index for index in range(start, end) if _is_spoken(text[index])), end)
        name = _piece_name(tokenizer, number, text[start:end]) if first < end else ""
        if not name:
            continue
        preceding = text[:first].rstrip("".join(APOSTROPHES))
        if not pieces or (start >= last_end and not _is_spoken(preceding[-1:] or " ")):
            pieces.append([])
        pieces[-1].append(name)
        last_end = end
    return pieces


def _encode(tokenizer: Any, text: str, **options: bool) -> Any:
    return tokenizer(text, add_special_tokens=False, verbose=False, **options)


def _piece_name(tokenizer: Any, number: int, text: str) -> str:
    """Return the text of a piece, or its token name if it is part of a character; "" for a special token."""
    if number == tokenizer.unk_token_id:
        raise UtteranceError(f"expected a transcript that the tokenizer has pieces for (mind capitals), got {text!r}")
    if number in tokenizer.all_special_ids:
        return ""
    name = tokenizer.decode([number]).strip()
    if not name or "\ufffd" in name:
        name = tokenizer.convert_ids_to_tokens(number)
    return _MARKS_OF_WORDS.sub("", name)
