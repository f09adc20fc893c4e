"""Tags in transcripts and segments: annotations of what is not speech, such as ``[noise]`` or ``<unk>``.

The rules follow the conventions of LDC (Switchboard, Fisher), TED-LIUM, Kaldi, Sphinx, CHAT and subtitles:

- ``[…]``, ``{…}``, ``<…>``, ``((…))``, ``++…++``, ``&=…`` and ``⁇`` are tags, whatever they hold. The speech there is
  unknown or uncertain, so the stretch has no label.
- ``(…)``, ``*…*`` and similar brackets are tags if they hold a word for a sound ("laughs", "music"). Other words in
  them are spoken: read sentences have parentheses, too.
- Tags that mean silence (``<sil>``), structural marks (``<s>``, ``<|en|>``) and markup with an end tag
  (``<b>yes</b>``) take no time; the words between two marks are spoken.
- ``[laughter-yes]`` is the word "yes", spoken with a laugh.
- HTML entities (``&amp;``) are replaced by their characters.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from voxrank.data.names import counted, nfc

SILENT_LABELS = frozenset(
    {"", "sil", "sp", "<sil>", "silence", "<silence>", "pau", "<eps>", "h#", "#", "<p:>", "_", "<s>", "</s>"}
)
"""Lower-case labels that mean silence in segment files (Kaldi, the Montreal Forced Aligner, TIMIT, MAUS)."""
UNSCORED_LABELS = frozenset(
    {"spn", "nsn", "unk", "<unk>", "oov", "<oov>", "[unk]", "<spn>", "<nsn>", "noise", "<noise>", "<usb>", "<nib>"}
)
"""Lower-case labels that are not scored: words unknown to the aligner, and noises."""
SPOKEN_NOISE = "spn"
"""The label that `voxrank align` writes for an unscored stretch, and that readers of segments recognise."""

_SILENCES = frozenset(
    ("sil", "silence", "sp", "pau", "pause", "short pause", "long pause", "eps", "p", "p:", "no speech", "no-speech")
)
"""Contents of tags that mean silence."""
_MARKS = frozenset(("s", "bos", "eos", "pad", "blank", "br", "br/"))
"""Contents of tags in angle brackets that are marks in the text and take no time."""

_SOUND_NAMES = """
    applauding applause barking barks beep beeping beeps breath breathes breathing breaths chatter cheering
    cheers chuckle chuckles chuckling clap clapping claps click clicking clicks cough coughed coughing coughs
    crosstalk crying exhales exhaling footsteps foreign fp garbage gasp gasping gasps giggle giggles giggling
    groan groaning groans grunt grunting grunts hes hesitation hiccup humming inaudible incomprehensible
    indiscernible indistinct inhale inhales inhaling knocking knocks laugh laughed laughing laughs laughter lg
    lipsmack lipsmacks mouthnoise mumbles mumbling music noise noises nonspeech nsn oov overlap overlapping
    ringing rings screaming screams sigh sighing sighs singing sings sirens slam slams smack smacks sneeze
    sneezes sneezing sniff sniffing sniffs sobbing sobs spn static throat unclear unintelligible unk unknown
    untranscribable vocalised vocalized whistle whistles whistling yawn yawning yawns lacht lachen lachend
    gelächter hustet husten räuspern räuspert seufzt seufzen atmet atmen geräusch geräusche lärm musik beifall
    applaus unverständlich rire rires rit toux tousse soupir soupire musique bruit bruits applaudissements risa
    risas ríe tos tose suspiro suspira música ruido ruidos aplausos ininteligible risata risate tosse sospiro
    musica rumore rumori applausi risos ruído gelach kuch zucht muziek geluid onverstaanbaar смех смеется
    смеётся кашель кашляет вздох вздыхает музыка шум аплодисменты неразборчиво 笑 笑い 笑い声 拍手 音楽 咳 雑音
    笑声 笑聲 掌声 掌聲
    音乐 音樂 噪音 咳嗽 웃음 박수 음악 기침
"""
"""Lower-case words for sounds, and for speech that could not be transcribed."""
_SOUNDS = frozenset(_SOUND_NAMES.split())
_MOST_WORDS = 4
"""Maximum number of words in the description of a sound, such as "audience laughs"; longer text is a sentence."""

_BRACKETS = str.maketrans("［］｛｝（）＜＞【】〔〕", "[]{}()<>[][]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_SIGNS = re.compile(r"[\[({<*#~+%&⁇!]")
_LETTERS = re.compile(r"[^\W\d_]+")
_TAG = re.compile(
    r"""
    \[(?:laughter|laughing|laugh)-(?P<laughed>[^\[\]]{1,200})\]
    | (?P<angle><(?P<close>/?)(?P<name>[^\s<>=\d/|"][^\s<>]{0,100})[^<>]{0,200}>|<[|"/][^<>]{0,200}>)
    | (?P<always>\[{1,3}[^\[\]]{0,200}\]{1,3}|\{{1,3}[^{}]{0,200}\}{1,3}|\(\([^()]{0,200}\)\)
        |(?<!\S)\+\+[^\s+][^+]{0,100}\+\+|&=[^\s]{1,100}|⁇|\(\s?\?+\s?\))
    | (?P<silent>(?<!\S)!(?:SIL|NULL|ENTER|EXIT)(?!\S))
    | (?P<round>\([^()]{1,200}\))
    | (?P<sign>[*#~+])(?P<inner>[^*#~+\n]{1,60})(?P=sign)
    | (?<!\S)%(?P<percent>[^\W\d]\w{0,40})
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class TaggedText:
    """A transcript without its tags.

    Attributes:
        parts: spoken text, in order; None stands for an unscored stretch.
        tags: the tags as written.
        asides: brackets whose words are spoken.
        entities: HTML entities that were replaced by characters.
    """

    parts: tuple[str | None, ...]
    tags: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()


def take_out_tags(text: str) -> TaggedText:
    """Separate the spoken text of a transcript from its tags.

    Args:
        text: the transcript.

    Example:
        >>> take_out_tags("yes [noise] no (laughs)").parts
        ('yes ', None, ' no ', None)
    """
    plain = text.translate(_BRACKETS)
    if not _SIGNS.search(plain):
        return TaggedText(_join_parts((text,)))
    entities = tuple(entity for entity in _ENTITY.findall(plain) if html.unescape(entity) != entity)
    plain = _ENTITY.sub(lambda match: html.unescape(match[0]), plain)
    return _TagScanner(plain).run(entities)


class _TagScanner:
    """A scanner that reads a text once from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts: list[str | None] = []
        self._tags: list[str] = []
        self._asides: list[str] = []
        ends = (match for match in _TAG.finditer(text) if match["close"])
        self._ends = Counter(_pair_name(match["name"]) for match in ends)

    def run(self, entities: tuple[str, ...]) -> TaggedText:
        """Remove the tags, from left to right."""
        done = position = 0
        while match := _TAG.search(self._text, position):
            replacement = self._replacement(match)
            if replacement is None:  # spoken text, which may contain tags
                position = match.start() + 1
                continue
            spoken, is_timed = replacement
            self._parts += [self._text[done : match.start()], None if is_timed else spoken]
            if not match["laughed"]:
                self._tags.append(match[0])
            done = position = match.end()
        self._parts.append(self._text[done:])
        return TaggedText(_join_parts(self._parts), tuple(self._tags), tuple(self._asides), entities)

    def _replacement(self, match: re.Match[str]) -> tuple[str, bool] | None:
        """Return the text that replaces a tag, and whether it takes unscored time; None if it is not a tag."""
        if match["laughed"]:
            self._asides.append(match[0])
            return f" {match['laughed']} ", False
        if match["angle"]:
            return " ", not self._takes_no_time(match)
        if match["silent"]:
            return " ", False
        if match["always"]:
            return " ", not _is_silence(match[0])
        if match["round"]:
            return self._in_parentheses(match["round"])
        inner = match["inner"] or match["percent"]
        return (" ", not _is_silence(inner)) if _is_silence(inner) or is_sound(inner) else None

    def _in_parentheses(self, text: str) -> tuple[str, bool] | None:
        """Return the same for text in parentheses, which is not a tag if it contains tags."""
        inner = take_out_tags(text[1:-1])
        if not inner.tags and (_is_silence(text) or is_sound(text)):
            return " ", not _is_silence(text)
        if any(part is not None and _LETTERS.search(part) for part in inner.parts):
            self._asides.append(text)
        return None

    def _takes_no_time(self, match: re.Match[str]) -> bool:
        """Return whether a tag in angle brackets is silence, a mark, or part of a pair around spoken words."""
        if match["close"] or not match["name"]:
            return bool(match["close"]) or match[0].startswith("<|")
        name = _pair_name(match["name"])
        if self._ends[name]:
            self._ends[name] -= 1
            return True
        return name in _MARKS or _is_silence(match[0])


def _join_parts(parts: Iterable[str | None]) -> tuple[str | None, ...]:
    """Join consecutive spoken parts, and unscored stretches with nothing spoken between them."""
    runs = [list(run) for _, run in groupby(parts, key=lambda part: part is None)]
    texts = [None if run[0] is None else "".join(part for part in run if part is not None) for run in runs]
    return tuple(text for text, _ in groupby(text for text in texts if text is None or text.strip()))


def is_sound(content: str) -> bool:
    """Return whether the content of a tag describes a sound, or speech that could not be transcribed.

    Example:
        >>> is_sound("audience laughs"), is_sound("and I quote")
        (True, False)
    """
    words = _LETTERS.findall(nfc(content).casefold())
    return 0 < len(words) <= _MOST_WORDS and ("".join(words) in _SOUNDS or any(word in _SOUNDS for word in words))


def is_silent_label(label: str) -> bool:
    """Return whether the label of a segment means silence.

    Example:
        >>> is_silent_label("SIL"), is_silent_label("(pause)"), is_silent_label("a")
        (True, True, False)
    """
    return label.lower() in SILENT_LABELS or (_is_bracketed(label) and _is_silence(label))


def is_unscored_label(label: str) -> bool:
    """Return whether the label of a segment is not scored because it is a noise or an unknown word.

    Example:
        >>> is_unscored_label("spn"), is_unscored_label("[Noise]"), is_unscored_label("yes")
        (True, True, False)
    """
    return label.lower() in UNSCORED_LABELS or (_is_bracketed(label) and not _is_silence(label) and is_sound(label))


def describe_tags(transcripts: Iterable[str], shown: int) -> list[str]:
    """Describe the tags in transcripts and how they are treated, one line for each kind.

    Args:
        transcripts: all transcripts of the data.
        shown: maximum number of tags named in a line; the others are counted.
    """
    texts = [take_out_tags(text) for text in transcripts]
    kinds = (
        (Counter(tag for tagged in texts for tag in tagged.tags), "tags in transcripts are not spoken and not scored"),
        (Counter(item for tagged in texts for item in tagged.asides), "words in brackets that are taken as spoken"),
        (
            Counter(item for tagged in texts for item in tagged.entities),
            "HTML entities are read as the characters they stand for",
        ),
    )
    return [f"{description}: {counted(counts, shown)}" for counts, description in kinds if counts]


def _pair_name(name: str) -> str:
    """Return the common name of the start tag and end tag of a pair."""
    return name.rstrip("/").casefold()


def _is_silence(content: str) -> bool:
    return " ".join(content.casefold().replace("_", " ").strip("[](){}<>*#~+=&%! ").split()) in _SILENCES


def _is_bracketed(label: str) -> bool:
    match = _TAG.fullmatch(label.strip().translate(_BRACKETS))
    return match is not None and not match["laughed"]
