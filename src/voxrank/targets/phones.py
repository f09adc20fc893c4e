"""The phonemiser: converts text to phones, word by word, with eSpeak NG.

A phone is named in IPA with its length, palatalisation or nasality ("aː", "rʲ", "ɑ̃"). Affricates and diphthongs are
single phones ("tʃ", "aɪ"). Stress is left out. Tones stay with their vowel in the digits of eSpeak NG: the contour in
Mandarin ("i35"), the number of the tone in Cantonese and Vietnamese. Text in another script or language is read as
eSpeak NG does, without its marks of a change of language. It cannot read Chinese characters in Japanese.

Source: espeak_TextToPhonemes in eSpeak NG's `speak_lib.h`.
"""

from __future__ import annotations

import ctypes
import difflib
import re
import unicodedata
from functools import cache
from threading import Lock
from typing import Any

from voxrank._support.espeak import UTF8, Espeak, find_languages, load
from voxrank.errors import OptionError
from voxrank.targets.languages import find_language

_SEPARATOR = "\n"
_IPA_BIT = 2
_BY_WORD = ord(_SEPARATOR) << 8 | _IPA_BIT
_BY_PHONE = ord(" ") << 8 | _IPA_BIT
_MNEMONICS = ord(" ") << 8
"""Modes of espeak_TextToPhonemes; the bits from bit 8 on are the separator of phones. Words are separated by a space,
except some Korean words, which have no separator at all; this distinguishes them from phones. If the separator of
phones is a space too, it is never left out."""

_NO_PHONE = re.compile(r"\([^()]*\)|[ˈˌ\u0361\x01-\x09\x0b-\x1f]")
"""Text that is removed: changes of language, such as "(en)", stress, ties, and flags that the library leaves in."""
_DOUBLED = re.compile(r"^(\D+)\1$")
_TONE = re.compile(r"\d+$")

_MARKS = re.escape(".,;:!?…。、！？，；：؟،؛।")
_MARKS_AT_START = re.compile(rf"^[{_MARKS}\s]+(?=\s)")
_MARKS_APART = re.compile(rf"\s*([{_MARKS}])[{_MARKS}\s]*(?=\s|$)")
_FIRST_IDEOGRAPH = "\u2e80"
_FIRST_PICTURE = "\u2190"
"""First symbol that is not read: arrows, pictures and emoji follow it; symbols such as ° and № precede it."""
_LONG_WORD = re.compile(r"(\d{18}(?=\d)|\S{40,64}(?=\w))")
"""Long runs, which are split: the library drops text after about 70 letters without a space, or after 32 digits."""
_CLAUSE_END = re.compile(rf"[{_MARKS}]\s|[。、！？，；：]")
_MOST_BYTES, _MOST_WORDS, _MOST_PHONES = 700, 250, 600
"""Maximum size of a clause: the library drops text after about 800 bytes, 299 words or 870 phones."""

_EXAMPLES = "en-us, de or cmn"
_lock = Lock()


class Phonemiser:
    """Converts text of one language to phones. The same text always gives the same phones.

    Args:
        language: a code of eSpeak NG, such as "en-us", "fr" or "cmn"; a locale ("de_DE"), a code of ISO 639 ("deu") or
            an English name ("German").

    Attributes:
        code: the language's code in eSpeak NG.

    Raises:
        OptionError: the extra `phone` is not installed, or there is no such language.

    Example:
        >>> Phonemiser("en-us").words("The church.")
        [['ð', 'ə'], ['tʃ', 'ɜː', 'tʃ']]
    """

    def __init__(self, language: str) -> None:
        languages = _languages()
        code = find_language(language, languages)
        if code is None:
            near = _suggest(language.strip().replace("_", "-").lower(), languages)
            raise OptionError(f"expected a language of eSpeak NG such as {_EXAMPLES}, got {language!r}{near}")
        self.code = code
        self._voice = languages[code].encode()

    def words(self, text: str) -> list[list[str]]:
        """Return the phones of each spoken word; numbers and signs may be several words, or none."""
        return self._words(_LONG_WORD.sub(r"\1, ", _tidy(text)))

    def _words(self, text: str) -> list[list[str]]:
        functions = _espeak().functions
        with _lock:
            functions.espeak_SetVoiceByName(self._voice)  # resets the state after earlier texts
            readings = [_read(functions, text, mode) for mode in (_BY_WORD, _BY_PHONE, _MNEMONICS)]
        middle = _middle(text)
        if middle and (_is_long(text) or any(map(_is_full, readings[0]))):
            return self._words(text[:middle]) + self._words(text[middle:])
        return [word for clause in zip(*readings, strict=True) for word in _parse(*clause)]


@cache
def _espeak() -> Espeak:
    return load("phones need", "phone")


@cache
def _languages() -> dict[str, str]:
    return find_languages(_espeak())


def _read(functions: Any, text: str, mode: int) -> list[str]:
    """Return the library's output, clause by clause."""
    content = ctypes.create_string_buffer(text.encode() + b"\n")  # else ".." carries over to the next text
    pointer = ctypes.c_void_p(ctypes.addressof(content))
    clauses = []
    while pointer:
        clauses.append(functions.espeak_TextToPhonemes(ctypes.byref(pointer), UTF8, mode).decode(errors="ignore"))
    return clauses


def _suggest(requested: str, languages: dict[str, str]) -> str:
    """Return a hint with the nearest codes: of the same language, by letters, or by the English name."""
    codes = sorted(languages, key=lambda code: (len(code), code))
    alike = [code for code in codes if code.partition("-")[0] == requested.partition("-")[0]]
    named = {languages[code].partition(" (")[0].lower(): code for code in reversed(codes)}
    named.update((code, code) for code in codes)
    suggestions = dict.fromkeys([*alike, *(named[name] for name in difflib.get_close_matches(requested, named))])
    return f"; did you mean {', '.join(list(suggestions)[:3])}?" if suggestions else ""


def _tidy(text: str) -> str:
    """Remove text that must not be read: control characters, which the library obeys, and emoji, which it describes.

    Brackets and quotation marks are removed too. Separate punctuation marks are attached to the previous word, because
    the library would read them by name.
    """
    narrow = "".join(unicodedata.normalize("NFKC", c) if _is_wide(c) else c for c in text.replace("\u02bc", "'"))
    text = "".join(" " if _is_silent(c) else c for c in unicodedata.normalize("NFC", narrow))
    return _MARKS_APART.sub(r"\1", _MARKS_AT_START.sub("", text))


def _is_wide(character: str) -> bool:
    """Return whether a character is a fullwidth letter or digit, or a halfwidth kana."""
    return "\uff00" < character < "\uffa0" and character.isalnum()


def _is_silent(character: str) -> bool:
    category = unicodedata.category(character)
    if category in {"So", "Sk"}:
        return character >= _FIRST_PICTURE
    return (category in {"Cc", "Cs", "Co", "Cn", "Ps", "Pe", "Pi", "Pf"} and character != "’") or character in '"¡¿'


def _is_long(text: str) -> bool:
    """Return whether a clause is too long for the library, which splits Hangul syllables and Chinese characters."""
    clauses = _CLAUSE_END.split(unicodedata.normalize("NFD", text))
    return any(len(clause.encode()) + sum(c >= _FIRST_IDEOGRAPH for c in clause) > _MOST_BYTES for clause in clauses)


def _is_full(reading: str) -> bool:
    return reading.count(" ") > _MOST_WORDS or reading.count(_SEPARATOR) > _MOST_PHONES


def _middle(text: str) -> int:
    """Return the start of the word nearest to the middle, or 0 if there is only one word."""
    starts = [word.start() for word in re.finditer(r"(?<=\s)\S", text)]
    return min(starts, key=lambda start: abs(2 * start - len(text)), default=0)


def _parse(by_word: str, by_phone: str, mnemonics: str) -> list[list[str]]:
    """Parse a clause from its three forms into words of phones; phones without a name, such as pauses, are left out."""
    written, *phones = (_NO_PHONE.sub("", reading) for reading in (by_word, by_phone, mnemonics))
    names, others = (reading.split(" ") for reading in phones)
    if len(names) != len(others):  # in IPA, a modifier is attached to the previous phone
        others = names
    words: list[list[str]] = []
    position = 0
    for name, other in zip(names, others, strict=True):
        start = written.index(name, position)
        gap = written[position:start]
        if name and (not words or not gap or " " in gap):
            words.append([])
        if name:
            words[-1].append(_name(name, other))
            position = start + len(name)
    return words


def _name(ipa: str, mnemonic: str) -> str:
    """Return the name of a phone with its whole tone, and with a single length mark.

    IPA names show the first digit of a tone only, and 3 as a vowel.

    Example:
        >>> _name("iɜ", "i35"), _name("ææ", "a:")
        ('i35', 'æː')
    """
    tone = _TONE.search(mnemonic)
    if tone and len(ipa) > 1 and ipa.endswith("ɜ" if tone[0][0] == "3" else tone[0][0]):
        ipa = ipa[:-1] + tone[0]
    return _DOUBLED.sub(r"\1ː", ipa).replace("ːː", "ː")
