"""The length of a file is that of its audio, whatever its header says."""

import io
import struct

import numpy as np
import pytest
import soundfile

import voxrank.data.stream_layout
from voxrank.data import recording
from voxrank.data.audio import decode, probe
from voxrank.data.mpeg_headers import parse_header
from voxrank.data.riff import OPEN_ENDED_BYTES
from voxrank.data.stream_layout import hidden_mpeg_layout
from voxrank.data.utterance import Utterance
from voxrank.errors import UtteranceError

RATE = 16_000


def speech(seconds=2.0, rate=RATE, seed=0):
    """Return a sweep that becomes louder and softer, so that frames of a variable bit rate differ in size."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(size=len(t))
    return (0.3 * np.sin(2 * np.pi * (200 + 150 * t) * t) + 0.1 * noise) * (0.02 + np.sin(2 * t) ** 2)


def encoded(samples, rate=RATE, **options):
    content = io.BytesIO()
    soundfile.write(content, samples, rate, **options)
    return content.getvalue()


def mp3(samples, rate=RATE, *, info=True, constant=False):
    """Return the bytes of an MP3, with or without the frame that holds its length."""
    mode = {"bitrate_mode": "CONSTANT"} if constant else {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    content = encoded(samples, rate, format="MP3", **mode)
    return content if info else content[parse_header(content[:4]).size :]


@pytest.fixture
def read(tmp_path):
    """Return a function that returns the length of a file of these bytes, and its samples at its rate."""

    def read(content, **offsets):
        path = tmp_path / "a"
        path.write_bytes(content)
        recording._LAYOUTS._values.clear()
        utterance = Utterance("a", path, **offsets)
        place = probe(utterance)
        samples = decode(utterance, place.info.sample_rate)
        assert len(samples) == place.stop - place.start
        return place.seconds, samples

    return read


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("fffb9064", (1, 3, 44_100, 2, 417, 1152)),  # 128 kbit/s
        ("fff338c4", (2, 3, 16_000, 1, 108, 576)),  # 24 kbit/s
        ("ffe338c4", (2, 3, 8_000, 1, 216, 576)),  # MPEG-2.5
        ("fffd8404", (1, 2, 48_000, 2, 384, 1152)),
        ("fffe5200", None),  # layer I has a separate test below
    ],
)
def test_frame_headers_are_parsed_by_the_tables_of_the_standard(word, expected):
    header = parse_header(bytes.fromhex(word))
    if expected is None:
        assert (header.layer, header.n_samples, header.size) == (1, 384, (12 * 160_000 // 44_100 + 1) * 4)
    else:
        assert (*header.kind, header.size, header.n_samples) == expected


@pytest.mark.parametrize("word", ["", "ff", "fff00000", "fff9ffff", "fffbf000", "fffb9c00", "ffeb9000", "52494646"])
def test_other_bytes_are_no_frame_header(word):
    assert parse_header(bytes.fromhex(word)) is None


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_an_mp3_without_its_info_frame_has_its_whole_length(read, rate, constant):
    seconds, samples = read(mp3(speech(3, rate), rate, info=False, constant=constant))
    assert 3 <= seconds < 3.2
    assert np.abs(samples[-rate // 2 :]).max() > 0.01


def test_the_length_of_an_mp3_is_not_estimated_from_its_first_frames(read):
    samples = np.concatenate([1e-4 * speech(4), speech(2)])
    assert 6 <= read(mp3(samples, info=False))[0] < 6.15


@pytest.mark.parametrize("info", [False, True])
def test_concatenated_mp3_files_are_read_to_the_end(read, info):
    first, second = mp3(speech(2), info=info), mp3(speech(1.5, seed=1), info=info)
    seconds, samples = read(first + second)
    assert 3.5 <= seconds < 3.8
    assert np.abs(samples[-RATE // 2 :]).max() > 0.01
    alone = read(second)[1]
    place = len(samples) - RATE
    assert np.corrcoef(samples[place:], alone[-RATE:])[0, 1] > 0.99 or info


ID3V2 = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(256)
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 40, 1, 1 << 31) + bytes(8)
TAGS = {
    "ID3v2 before": (ID3V2, b"", b""),
    "two ID3v2 before": (ID3V2 + ID3V2, b"", b""),
    "ID3v1 behind": (b"", b"", ID3V1),
    "APE and ID3v1 behind": (b"", b"", APE + bytes(40) + APE + ID3V1),
    "ID3 between": (b"", ID3V1 + ID3V2, b""),
    "zeros between": (b"", bytes(5000), b""),
    "zeros before": (bytes(3000), b"", b""),
    "zeros behind": (b"", b"", bytes(3000)),
}


@pytest.mark.parametrize(("before", "between", "behind"), TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("info", [False, True])
def test_tags_and_padding_of_an_mp3_hold_no_audio(read, before, between, behind, info):
    part = mp3(speech(2), info=info)
    whole = before + part + (between + part if between else b"") + behind
    expected = 4 if between else 2
    assert expected <= read(whole)[0] < expected + 0.3


def test_a_large_unknown_file_is_not_searched_for_mpeg_audio():
    stream = io.BytesIO(b"\xff\xfb" * (1 << 21) + mp3(speech(1)))
    assert hidden_mpeg_layout(stream, len(stream.getvalue())) is None
    assert stream.tell() < 2 << 20


@pytest.mark.parametrize("start", [0.0, 0.4, 1.3])
def test_a_stretch_of_an_mp3_without_info_frame_equals_that_part(read, start):
    content = mp3(speech(2), info=False) + mp3(speech(2, seed=1))
    whole = read(content)[1]
    part = read(content, start=start, end=start + 1.5)[1]
    np.testing.assert_allclose(part, whole[round(start * RATE) :][: len(part)], atol=1e-4)


def test_a_truncated_mp3_is_refused_by_its_header_alone(read, tmp_path):
    content = mp3(speech(3))
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(UtteranceError, match=r"expected 3\.\d+ s of audio as the header says, got [12]\.\d+ s"):
        probe(Utterance("a", tmp_path / "cut"))
    assert read(content[: len(content) // 2], end=0.5)[0] == 0.5


def test_an_mp3_that_lacks_its_last_frame_is_used(read):
    assert read(mp3(speech(3))[:-40])[0] == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("other", [mp3(speech(1, 44_100), 44_100), mp3(np.stack([speech(1)] * 2, axis=1))])
def test_concatenated_mp3_files_of_other_rates_or_channels_are_refused(tmp_path, other):
    (tmp_path / "a.mp3").write_bytes(mp3(speech(1)) + other)
    with pytest.raises(UtteranceError, match=r"got an MP3 that changes from 16,000 Hz and 1 channel\(s\) to"):
        probe(Utterance("a", tmp_path / "a.mp3"))


def mpeg_frames(word, size, count):
    """Return silent frames with this header."""
    return (bytes.fromhex(word) + bytes(size - 4)) * count


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (mpeg_frames("fffd8404", 384, 100), 100 * 1152 / 48_000),  # layer II
        (mpeg_frames("fffd8404", 384, 50) + mpeg_frames("fffd4404", 192, 50), 100 * 1152 / 48_000),  # two bit rates
        (mpeg_frames("fffb0064", 300, 100), 100 * 1152 / 44_100),  # free format
        (b"".join(mpeg_frames(w, s, 1) for w, s in [("fffb9064", 417), ("fffb9264", 418)] * 50), 100 * 1152 / 44_100),
    ],
)
def test_the_length_of_layer_2_and_free_format_is_counted_by_frames(tmp_path, content, seconds):
    (tmp_path / "a").write_bytes(content)
    utterance = Utterance("a", tmp_path / "a")
    assert probe(utterance).seconds == pytest.approx(seconds)
    with recording.open_recording(utterance) as opened:
        assert len(opened.read(0, opened.n_samples)) == opened.n_samples


def wav(data, size, *, riff=0, tail=b"", tag=1, channels=1, bits=16, before=b"", magic=b"RIFF", extra=b""):
    """Return a WAV file whose sizes may be wrong."""
    width = channels * bits // 8
    layout = struct.pack("<HHIIHH", tag, channels, RATE, RATE * width, width, bits) + extra
    body = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + before + b"data" + struct.pack("<I", size)
    return magic + struct.pack("<I", riff) + body + data + tail


PCM = (speech(1) * 32_000).astype("<i2").tobytes()
TEXT = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"
PCM_GUID = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
OPEN = 2**32 - 1
WAVS = {
    "0": (wav(PCM, 0), 1),
    "0 with a right size of RIFF": (wav(PCM, 0, riff=36 + len(PCM)), 1),
    "unknown": (wav(PCM, OPEN, riff=OPEN), 1),
    "unknown as SoX writes it": (wav(PCM, 0x7FFF_F000, riff=0x7FFF_F024), 1),
    "0, with text before": (wav(PCM, 0, before=TEXT), 1),
    "0, with text behind": (wav(PCM, 0, tail=TEXT), 1),
    "unknown, with text behind": (wav(PCM, OPEN, tail=TEXT), 1),
    "0, and an odd byte": (wav(PCM + b"\1", 0), 1),
    "0 of 8 bits": (wav(PCM, 0, bits=8), 2),
    "0 of two channels": (wav(PCM, 0, channels=2), 0.5),
    "0 of 24 bits": (wav(PCM[:31_998], 0, bits=24), 10_666 / RATE),
    "0 of floats": (wav(speech(1).astype("<f4").tobytes(), 0, tag=3, bits=32), 1),
    "unknown of floats": (wav(speech(1).astype("<f4").tobytes(), OPEN, tag=3, bits=32), 1),
    "0 of mu-law": (wav(PCM, 0, tag=7, bits=8), 2),
    "0, extensible": (wav(PCM, 0, tag=0xFFFE, extra=struct.pack("<HHI", 22, 16, 4) + PCM_GUID), 1),
    "0 with a fact chunk of 0": (wav(PCM, 0, before=b"fact" + struct.pack("<II", 4, 0)), 1),
}


@pytest.mark.parametrize(("content", "seconds"), WAVS.values(), ids=WAVS)
def test_the_length_of_a_wav_with_an_open_size_follows_from_the_file(read, content, seconds):
    assert read(content)[0] == pytest.approx(seconds, abs=1e-9)


def test_a_wav_with_an_open_size_has_the_samples_of_a_normal_wav(read):
    np.testing.assert_array_equal(read(wav(PCM, 0))[1], read(wav(PCM, len(PCM)))[1])


@pytest.mark.parametrize("tail", [b"", TEXT])
def test_a_wav_without_data_is_empty(tmp_path, tail):
    (tmp_path / "a.wav").write_bytes(wav(b"", 0, tail=tail))
    with pytest.raises(UtteranceError, match="the file holds no samples"):
        probe(Utterance("a", tmp_path / "a.wav"))


def patched(kind, subtype, mark, place, numbers, order="big", width=4):
    """Return a file of a second in which the number behind a mark is replaced."""
    content = encoded(speech(1), format=kind, subtype=subtype)
    at = content.index(mark) + place
    return [content[:at] + (n % (1 << 8 * width)).to_bytes(width, order) + content[at + width :] for n in numbers]


def flac_without_length():
    content = bytearray(encoded(speech(1), format="FLAC"))
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    return bytes(content)


PIPED = {
    "AIFF": patched("AIFF", "PCM_16", b"SSND", 4, (0, -1)) + patched("AIFF", "PCM_16", b"COMM", 10, (0, -1)),
    "AU": patched("AU", "PCM_16", b".snd", 8, (0, -1)),
    "CAF": patched("CAF", "PCM_16", b"data", 4, (0, -1), width=8),
    "W64": patched("W64", "PCM_16", b"data", 16, (0, -1), "little", 8),
    "RF64": patched("RF64", "PCM_16", b"ds64", 16, (0, -1), "little", 8),
    "SPHERE": [
        encoded(speech(1), format="NIST", subtype="PCM_16").replace(b"sample_count -i 16000", b"sample_count -i 0    ")
    ],
    "GSM 6.10": patched("WAV", "GSM610", b"data", 4, (0, -1), "little"),
    "IMA ADPCM": patched("WAV", "IMA_ADPCM", b"data", 4, (0, -1), "little"),
    "MS ADPCM": patched("WAV", "MS_ADPCM", b"data", 4, (0, -1), "little"),
    "FLAC": [flac_without_length()],
}


@pytest.mark.parametrize(("kind", "content"), [(kind, one) for kind, every in PIPED.items() for one in every])
def test_files_written_to_a_pipe_are_read_to_their_end(read, kind, content):
    seconds, samples = read(content)
    assert 1 <= seconds < 1.07, kind
    assert np.corrcoef(samples[:RATE], speech(1))[0, 1] > 0.9
    np.testing.assert_array_equal(read(content, start=0.4, end=0.6)[1], samples[6400:9600])


def test_an_end_past_the_end_of_a_flac_without_length_is_refused(read):
    with pytest.raises(UtteranceError, match=r"ends at 9 s, past the end of the file \(1\.000 s\)"):
        read(flac_without_length(), end=9)


@pytest.mark.parametrize("tag", [0x50, 0x55])
@pytest.mark.parametrize("size", [0, OPEN, None])
def test_mp3_inside_a_wav_is_counted_by_frames(read, tag, size):
    part = mp3(speech(3), info=False)
    content = wav(
        part, len(part) if size is None else size, tag=tag, bits=0, extra=struct.pack("<HHIHHH", 12, 1, 2, 1, 1, 0)
    )
    assert 3 <= read(content)[0] < 3.15


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_concatenated_ogg_streams_are_read_to_the_end(read, subtype):
    first, second = (encoded(speech(s, seed=n), format="OGG", subtype=subtype) for n, s in enumerate((1.0, 1.5)))
    seconds, samples = read(first + second)
    assert seconds == 2.5
    np.testing.assert_allclose(samples, np.concatenate([read(first)[1], read(second)[1]]), atol=1e-6)
    np.testing.assert_allclose(read(first + second, start=0.7, end=1.6)[1], samples[11_200:25_600], atol=1e-4)
    np.testing.assert_allclose(read(first + second, start=1.2)[1], samples[19_200:], atol=1e-4)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tail", [b"", TEXT])
def test_concatenated_wav_files_are_read_to_the_end(read, bits, tail):
    def part(data):
        return wav(data, len(data), riff=36 + len(data) + len(tail), bits=bits, tail=tail)

    first, second = PCM[: -1 if bits == 8 else None], PCM[4000:]  # an odd number of bytes ends without padding
    seconds, samples = read(part(first) + part(second) + part(first))
    assert seconds == (2 * len(first) + len(second)) * 8 / bits / RATE
    expected = [read(part(data))[1] for data in (first, second, first)]
    np.testing.assert_array_equal(samples, np.concatenate(expected))


def test_bytes_after_a_wav_that_are_not_a_wav_are_ignored(read):
    assert read(wav(PCM, len(PCM), riff=36 + len(PCM)) + bytes(500))[0] == 1


def test_concatenated_wav_files_of_different_rates_are_refused(tmp_path):
    parts = [encoded(speech(1, rate), rate, format="WAV") for rate in (16_000, 8_000)]
    (tmp_path / "a.wav").write_bytes(b"".join(parts))
    with pytest.raises(UtteranceError, match="got WAV files of 8,000 Hz with 1 channel"):
        probe(Utterance("a", tmp_path / "a.wav"))


def test_concatenated_ogg_streams_of_different_rates_are_refused(tmp_path):
    parts = [encoded(speech(1, rate), rate, format="OGG", subtype="VORBIS") for rate in (16_000, 8_000)]
    (tmp_path / "a.ogg").write_bytes(b"".join(parts))
    with pytest.raises(UtteranceError, match="got Ogg streams of 8,000 Hz with 1 channel"):
        probe(Utterance("a", tmp_path / "a.ogg"))


def test_a_truncated_sphere_file_is_refused(tmp_path):
    content = encoded(speech(1), format="NIST", subtype="PCM_16")
    (tmp_path / "a.sph").write_bytes(content[: len(content) // 2])
    with pytest.raises(UtteranceError, match=r"expected 1\.000 s of audio as the header says, got 0\.4\d+ s"):
        probe(Utterance("a", tmp_path / "a.sph"))


def codings():
    """Return every format and subtype that libsndfile writes to a stream."""
    left_out = {"RAW", "SD2"}  # without a header; with a second file
    for kind in soundfile.available_formats().keys() - left_out:
        for subtype in soundfile.available_subtypes(kind):
            for rate in (RATE, 8_000):
                try:
                    encoded(np.zeros(100), rate, format=kind, subtype=subtype)
                except (soundfile.SoundFileError, ValueError):
                    continue
                yield kind, subtype, rate
                break


@pytest.mark.parametrize(("kind", "subtype", "rate"), sorted(codings()))
def test_a_stretch_in_any_coding_equals_that_part_of_the_file(read, kind, subtype, rate):
    content = encoded(speech(1.6, rate), rate, format=kind, subtype=subtype)
    rate = soundfile.info(io.BytesIO(content)).samplerate  # some formats have fixed rates
    if kind == "XI":
        content = encoded(speech(1.6, rate), rate, format=kind, subtype=subtype)
    whole = read(content)[1]
    for start, end in ((0.0, 0.3), (0.3, 0.8), (0.75013, None), (1.2, 1.5)):
        part = read(content, start=start, end=end)[1]
        place = round(start * rate)
        np.testing.assert_allclose(part, whole[place : place + len(part)], atol=2e-5)


def test_only_the_header_is_read_where_it_can_be_trusted(tmp_path, monkeypatch):
    """No file is searched or decoded to be probed, unless its header is in doubt."""
    names = {"a.wav": {}, "b.flac": {}, "c.aiff": {}, "d.w64": {}, "e.au": {}}
    for name, options in names.items():
        soundfile.write(tmp_path / name, speech(1), RATE, **options)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    monkeypatch.setattr(
        recording, "_buffered", lambda stack, raw, place, layout: raw if layout is None else pytest.fail(str(layout))
    )
    assert [probe(Utterance(name, tmp_path / name)).seconds for name in names] == [1.0] * 5


def test_the_frames_of_an_mp3_are_counted_once(tmp_path, monkeypatch):
    (tmp_path / "a.mp3").write_bytes(mp3(speech(2), info=False))
    counted = []
    monkeypatch.setattr(voxrank.data.stream_layout, "scan", lambda *a: counted.append(a) or scan(*a))
    from voxrank.data.mpeg import scan

    for start in (0.0, 0.5, 1.0):
        decode(Utterance("a", tmp_path / "a.mp3", start=start), RATE)
    assert len(counted) == 1
    (tmp_path / "a.mp3").write_bytes(mp3(speech(3), info=False))
    assert probe(Utterance("a", tmp_path / "a.mp3")).seconds > 3


def test_open_sizes_are_larger_than_six_hours_of_audio():
    assert OPEN_ENDED_BYTES > 6 * 3600 * 48_000 * 2
