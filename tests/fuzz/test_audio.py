"""Any audio file gives finite samples, or a one-line reason."""

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxrank.data.audio import decode, probe, resampled_length
from voxrank.data.mpeg_headers import parse_header
from voxrank.data.utterance import Utterance
from voxrank.errors import UtteranceError

pytestmark = pytest.mark.timeout(60)
FUZZ = settings(
    max_examples=50,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
RATE, SPEECH_RATE = 8_000, 16_000
FORMATS = {
    "WAV": ("WAV", "PCM_16"),
    "WAV of floats": ("WAVEX", "FLOAT"),
    "WAV of GSM 6.10": ("WAV", "GSM610"),
    "WAV without sizes": ("WAV", "PCM_16"),
    "RF64": ("RF64", "PCM_24"),
    "W64": ("W64", "PCM_16"),
    "AIFF": ("AIFF", "PCM_16"),
    "AU": ("AU", "ULAW"),
    "CAF": ("CAF", "ALAC_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "FLAC without length": ("FLAC", "PCM_16"),
    "Ogg": ("OGG", "VORBIS"),
    "Ogg twice": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "MP3 without length, twice": ("MP3", "MPEG_LAYER_III"),
}
CHANGED = {
    "WAV without sizes": lambda c: c[:4] + bytes(4) + c[8:40] + bytes(4) + c[44:],
    "FLAC without length": lambda c: c[:21] + bytes([c[21] & 0xF0]) + bytes(4) + c[26:],
    "Ogg twice": lambda c: c + c,
    "MP3 without length, twice": lambda c: c[parse_header(c[:4]).size :] * 2,
}
"""Changes to the bytes of each kind before they are damaged."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the bytes of a tenth of a second in two channels, by format."""
    folder = tmp_path_factory.mktemp("whole")
    samples = 0.1 * np.random.default_rng(0).normal(size=(RATE // 10, 2))
    contents = {}
    for kind, (container, subtype) in FORMATS.items():
        heard = samples[:, 0] if subtype == "GSM610" else samples
        soundfile.write(folder / kind, heard, RATE, format=container, subtype=subtype)
        contents[kind] = CHANGED.get(kind, bytes)((folder / kind).read_bytes())
    return contents


@pytest.mark.parametrize("kind", CHANGED)
def test_the_files_to_change_hold_a_tenth_of_a_second_of_audio(tmp_path, whole, kind):
    (tmp_path / "a").write_bytes(whole[kind])
    assert probe(Utterance("a", tmp_path / "a")).seconds >= 0.1


def check_line(message):
    assert len(message.splitlines()) == 1


def hear(path, start, end):
    try:
        utterance = Utterance("a", path, start, end)
        place = probe(utterance)
        samples = decode(utterance, SPEECH_RATE)
    except UtteranceError as error:
        check_line(str(error))
        return
    assert np.isfinite(samples).all()
    assert len(samples) == resampled_length(place.stop - place.start, place.info.sample_rate, SPEECH_RATE)


@pytest.mark.parametrize("kind", FORMATS)
@FUZZ
@given(data=st.data())
def test_audio_that_is_nearly_right_is_decoded_or_refused(tmp_path, mutated, whole, kind, data):
    path = tmp_path / "a"
    path.write_bytes(data.draw(mutated(whole[kind])))
    start = data.draw(st.sampled_from([0.0, 0.0, 0.02, 1e-9, 5.0, 1e300]))
    hear(path, start, data.draw(st.sampled_from([None, None, start + 0.05, start + 3e4, 1.5e308])))


@pytest.mark.parametrize("kind", FORMATS)
def test_headers_with_any_wrong_byte_are_decoded_or_refused(tmp_path, whole, kind):
    path = tmp_path / "a"
    for place in range(min(64, len(whole[kind]))):
        for value in (0, 0xFF):
            content = bytearray(whole[kind])
            content[place] = value
            path.write_bytes(content)
            hear(path, 0.0, None)


@settings(FUZZ, max_examples=100)
@given(
    magic=st.sampled_from([b"", b"RIFF", b"RIFX", b"FORM", b"fLaC", b"OggS", b".snd", b"caff", b"ID3"]),
    rest=st.binary(max_size=80),
)
def test_bytes_after_a_magic_number_are_decoded_or_refused(tmp_path, magic, rest):
    path = tmp_path / "a"
    path.write_bytes(magic + rest)
    hear(path, 0.0, None)
