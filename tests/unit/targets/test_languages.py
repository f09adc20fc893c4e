"""Languages are recognised by codes, locales and names."""

import pytest

from voxrank.targets import languages, phones
from voxrank.targets.languages import find_language


@pytest.fixture(scope="module")
def voices():
    return phones._languages()


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("de", "de DE deu ger de-DE de_DE de_AT.UTF-8 de_DE@euro de-CH-1901 German german"),
        ("sv", "sv_SE sv-SE swe Swedish"),
        ("zh", "zh zh-CN zh_TW zh-Hans-CN"),
        ("cmn", "cmn cmn_hans_cn zho chi Mandarin Chinese"),
        ("yue", "zh-HK zh_Hant_HK yue_hant_hk Cantonese"),
        ("en-us", "en-US en_US.UTF-8 eng-US en-CA"),
        ("en", "en en-AU eng English"),
        ("pt-br", "pt_BR por-BR"),
        ("es-419", "es-AR es_CO spa-CL es-419"),
        ("es", "es es-ES Spanish Castilian"),
        ("nb", "nb-NO nob Norwegian Bokmål"),
        ("fr", "fr-CA fra fre FRENCH"),
        ("he", "iw he-IL Hebrew"),
        ("ga", "ga-IE gle Irish"),
        ("mi", "mri Māori maori"),
        ("cy", "cy-GB wel Welsh"),
    ],
)
def test_a_language_is_found_by_its_code_or_name(voices, code, names):
    assert {name: find_language(name, voices) for name in names.split()} == dict.fromkeys(names.split(), code)


@pytest.mark.parametrize(("name", "code"), [("English (America)", "en-us"), ("Brazilian  Portuguese", "pt-br")])
def test_a_language_is_found_by_a_name_of_several_words(voices, name, code):
    assert find_language(name, voices) == code


@pytest.mark.parametrize("name", ["", "xx", "und", "unknown", "C", "en-xyz", "de-", "-de", "en-us+f2", "fil_ph", "n/a"])
def test_text_that_is_not_a_language_is_not_found(voices, name):
    assert find_language(name, voices) is None


def test_every_code_in_the_tables_is_a_voice_of_espeak(voices):
    for table in (languages._CODES, languages._NAMES, languages._REGIONS):
        assert set(table.values()) <= set(voices)
