"""The mapping from names of languages to codes of eSpeak NG: its codes, locales, ISO 639 codes and English names.

Sources: ISO 639 (codes of two and three letters); RFC 5646 (language tags).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_THREE_LETTERS = """
    afr:af amh:am ara:ar arb:ar arg:an asm:as aze:az azj:az bak:ba bel:be ben:bn bos:bs bul:bg cat:ca ces:cs chi:cmn
    chv:cv cym:cy cze:cs dan:da deu:de dut:nl ekk:et ell:el eng:en epo:eo est:et eus:eu baq:eu fas:fa fin:fi fra:fr
    fre:fr gaz:om geo:ka ger:de gla:gd gle:ga gre:el grn:gn guj:gu hat:ht heb:he hin:hi hrv:hr hun:hu hye:hy arm:hy
    ice:is ido:io ina:ia ind:id isl:is ita:it jpn:ja kal:kl kan:kn kat:ka kaz:kk kir:ky kmr:ku kor:ko kur:ku lat:la
    lav:lv lit:lt ltz:lb lvs:lv mac:mk mal:ml mao:mi mar:mr may:ms mkd:mk mlt:mt mri:mi msa:ms mya:my bur:my nep:ne
    nld:nl nob:nb nor:nb npi:ne ori:or orm:om ory:or pan:pa per:fa pes:fa pol:pl por:pt que:qu quy:qu ron:ro rum:ro
    rus:ru sin:si slk:sk slo:sk slv:sl snd:sd spa:es sqi:sq alb:sq srp:sr swa:sw swe:sv swh:sw tam:ta tat:tt tel:te
    tha:th tir:ti tsn:tn tuk:tk tur:tr uig:ug ukr:uk urd:ur uzb:uz uzn:uz vie:vi wel:cy zho:cmn zsm:ms
"""
"""ISO 639-2 and 639-3 codes of languages for which eSpeak NG uses two letters or another code."""
_OLD_CODES = "in:id iw:he mo:ro sh:hbs jp:ja"
"""Withdrawn codes, and a code that is often used by mistake."""
_ENGLISH_NAMES = """
    american english=en-us; ancient greek=grc; armenian=hy; bokmal=nb; brazilian portuguese=pt-br; british
    english=en-gb; burmese=my; cantonese=yue; cantonese chinese=yue; castilian=es; castilian spanish=es;
    chinese=cmn; european portuguese=pt-pt; farsi=fa; flemish=nl; gaelic=gd; haitian=ht; irish=ga; irish
    gaelic=ga; kalaallisut=kl; kirghiz=ky; klingon=piqd; latin american spanish=es-419; mandarin=cmn; mandarin
    chinese=cmn; mexican spanish=es-419; modern greek=el; moldavian=ro; nahuatl=nci; norwegian=nb; odia=or;
    panjabi=pa; scottish gaelic=gd; serbo-croatian=hbs; sinhalese=si; tswana=tn; uighur=ug; uk english=en-gb; us
    english=en-us; valencian=ca-va; vietnamese=vi
"""
"""English names that eSpeak NG does not use, or that several of its voices share."""
_LATIN_AMERICA = "ar bo cl co cr cu do ec gt hn mx ni pa pe pr py sv us uy ve"
"""Regions whose Spanish is es-419 in eSpeak NG."""
_REGIONS = {
    **{f"es-{region}": "es-419" for region in _LATIN_AMERICA.split()},
    **{f"zh-{rest}": "yue" for rest in ("hk", "mo", "hant-hk", "hant-mo")},
    "en-ca": "en-us",
}
"""Locales whose code in eSpeak NG differs from that of the language alone."""
_CODES = dict(pair.split(":") for pair in (*_THREE_LETTERS.split(), *_OLD_CODES.split()))
_NAMES = dict(pair.strip().split("=") for pair in _ENGLISH_NAMES.split(";"))
_SUBTAG = re.compile(r"[a-z]{2}|\d{3}|[a-z]{4}|[a-z\d]{5,8}|\d[a-z\d]{3}")
"""A region, script or variant in a language tag."""
_ENCODING = re.compile(r"[.@].*$")


def find_language(name: str, voices: Mapping[str, str]) -> str | None:
    """Find eSpeak NG's code for a language; return None if eSpeak NG does not know the language.

    Args:
        name: a code of eSpeak NG, in any case and with ``_`` or ``-``; a locale such as ``de_DE.UTF-8`` or
            ``zh-Hans-CN``; an ISO 639 code; or the English name.
        voices: code → name of the voice.

    Example:
        >>> voices = {"de": "German", "en-us": "English (America)"}
        >>> [find_language(name, voices) for name in ("de-AT", "deu", "german", "en_US.UTF-8", "xx")]
        ['de', 'de', 'de', 'en-us', None]
    """
    known = {code.lower(): code for code in voices}
    tag = _ENCODING.sub("", name.strip()).replace("_", "-").lower()
    tag_code = _code_of_tag(tag, known)
    return tag_code if tag_code is not None else _code_of_english_name(name, voices)


def _code_of_tag(tag: str, known: Mapping[str, str]) -> str | None:
    """Return the code for a language tag; subtags are dropped from the end until a code matches."""
    first, *rest = tag.split("-")
    for end in range(len(rest), -1, -1):
        dropped = rest[end:]
        if dropped and not _SUBTAG.fullmatch(dropped[0]):
            continue
        for form in _forms(first, rest[:end]):
            if form in known and all(map(_SUBTAG.fullmatch, dropped)):
                return known[form]
    return None


def _forms(first: str, rest: list[str]) -> list[str]:
    """Return a tag as written, and with eSpeak NG's code for its language or locale."""
    written = "-".join((first, *rest))
    renamed = "-".join((_CODES.get(first, first), *rest))
    return [written, _REGIONS.get(written, written), renamed, _REGIONS.get(renamed, renamed)]


def _code_of_english_name(name: str, voices: Mapping[str, str]) -> str | None:
    plain_name = _plain(name)
    if plain_name in _NAMES and _NAMES[plain_name] in voices:
        return _NAMES[plain_name]
    names: dict[str, str] = {}
    for code in sorted(voices, key=lambda code: (-len(code), code)):  # the shortest code of a name comes last
        voice = _plain(voices[code])
        names[voice] = names[voice.partition(" (")[0]] = code
    return names.get(plain_name)


def _plain(name: str) -> str:
    """Return a name without case, accents and repeated spaces."""
    letters = unicodedata.normalize("NFD", name.casefold())
    return " ".join("".join(c for c in letters if unicodedata.category(c) != "Mn").replace("_", " ").split())
