"""Small files that claim much content, and large empty ones, are refused in little memory and time.

Each case runs in a separate process, forked from one that has imported what it needs. The kernel reports its peak.
"""

import gzip
import json
import os
import re
import resource
import signal
import struct
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from voxrank.config import EncoderOptions

MOST_MB = 300
"""Maximum memory above that of the imports."""
MOST_S = 20
ADDRESSES = 16 << 30
"""Limit of the address space, so that a case that goes wrong fails and does not exhaust the machine."""
LARGE = 60_000_000
FAIRSEQ = Path(__file__).parents[1] / "data" / "fairseq" / "wav2vec2_unprojected.pt"
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def wav_header(rate, size):
    return b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 36, b"WAVE", b"fmt ", 16, 1, 1, rate, rate, 1, 8, b"data", size)


def decoded(folder, content):
    from voxrank.data.audio import decode
    from voxrank.data.utterance import Utterance

    (folder / "a").write_bytes(content)
    decode(Utterance("a", folder / "a"), 16_000)


def flac(folder, n_samples):
    import numpy as np
    import soundfile

    soundfile.write(folder / "whole.flac", np.zeros(1000), 16_000)
    content = bytearray((folder / "whole.flac").read_bytes())
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36 | n_samples).to_bytes(8, "big")
    return bytes(content)


@case
def wav_of_a_kilobyte_that_claims_ten_hours(folder):
    decoded(folder, wav_header(8_000, 36_000 * 8_000) + bytes(1000))


@case
def wav_of_a_megabyte_at_a_sample_a_second(folder):
    decoded(folder, wav_header(1, 1 << 20) + bytes(1 << 20))


@case
def flac_of_a_kilobyte_that_claims_five_hours(folder):
    decoded(folder, flac(folder, 5 * 3600 * 16_000))


@case
def flac_of_a_kilobyte_that_claims_ten_hours(folder):
    decoded(folder, flac(folder, 36_000 * 16_000))


def rows(folder, name, *parts):
    from voxrank.data.read import read_dataset
    from voxrank.errors import DataError

    with (folder / name).open("wb") as file:
        for part in parts:
            file.write(part)
    dataset = read_dataset(folder / name)
    assert dataset.skipped
    raise DataError(dataset.skipped[0].reason)


@case
def table_with_a_cell_of_60_mb(folder):
    rows(folder, "m.csv", b"path,label\na.wav,x\n", b"x" * LARGE, b",x\nb.wav,x\n")


@case
def table_with_a_row_of_30_million_cells(folder):
    rows(folder, "m.csv", b"path,label\na.wav,x\n", b"x," * (LARGE // 2), b"\nb.wav,x\n")


@case
def table_with_a_header_of_half_a_million_columns(folder):
    rows(folder, "m.csv", b",".join(b"%d" % n for n in range(500_000)), b"\na.wav,x\n")


@case
def table_with_a_quote_that_never_closes(folder):
    rows(folder, "m.csv", b'path,label\n"a.wav,x\n', b"only words\n" * (LARGE // 600))


@case
def table_of_60_mb_that_is_not_text(folder):
    rows(folder, "m.csv", b"path,label\n", b"x" * LARGE, b"\xff\n")


@case
def object_of_60_mb(folder):
    rows(folder, "m.jsonl", b'{"path": "a.wav", "label": "x"}\n{"path": "', b"x" * LARGE, b'", "label": "x"}\n')


@case
def object_of_a_million_lists(folder):
    rows(
        folder,
        "m.jsonl",
        b'{"path": "a.wav", "label": "x"}\n{"path": "b.wav", "label": [',
        b"[]," * 1_300_000,
        b"0]}\n",
    )


@case
def object_nested_100_000_deep(folder):
    rows(folder, "m.jsonl", b'{"path": "a.wav", "label": "x"}\n', b'{"a":' * 100_000, b"1", b"}" * 100_000)


def segments(folder, name, *parts):
    from voxrank.data.segments import SegmentFiles
    from voxrank.data.tracks import Track

    with (folder / name).open("wb") as file:
        for part in parts:
            file.write(part)
    content = SegmentFiles().read(folder / name)
    track = content if isinstance(content, Track) else content.get("a", Track())
    track.checked()


@case
def ctm_with_a_line_of_60_mb(folder):
    segments(folder, "s.ctm", b"x" * LARGE)


@case
def labels_of_12_mb_of_empty_lines(folder):
    segments(folder, "s.txt", b"\n" * (LARGE // 5), b"x")


@case
def segments_nested_100_000_deep(folder):
    segments(folder, "s.json", b"[" * 100_000, b"]" * 100_000)


@case
def segments_of_70_mb_of_json(folder):
    segments(folder, "s.json", b"[", b"[]," * (LARGE * 2 // 5), b"0]")


@case
def textgrid_of_60_mb(folder):
    segments(folder, "s.TextGrid", b'"' * LARGE)


@case
def textgrid_of_a_megabyte_of_quotes(folder):
    segments(
        folder, "s.TextGrid", b'File type = "ooTextFile"\nObject class = "TextGrid"\n', b'"IntervalTier"\n' * 70_000
    )


@case
def textgrid_of_a_megabyte_of_tiers(folder):
    head = b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1\ntiers? <exists>\nsize = 1\n'
    segments(folder, "s.TextGrid", head, b"item []:\n    item [1]:\n        intervals [1]:\n" * 20_000)


def fairseq_file(folder, **changed):
    """Load a checkpoint whose tensors are one number each, repeated to the shapes that its settings ask for."""
    import torch

    content = torch.load(FAIRSEQ, weights_only=True)
    content["cfg"]["model"].update(changed)
    wide = changed.get("encoder_embed_dim", 12)
    for name, weight in content["model"].items():
        grouped = {12: wide, 3: wide // 4} if "pos_conv" in name else {12: wide}
        content["model"][name] = torch.ones(1).expand([grouped.get(size, size) for size in weight.shape])
    torch.save(content, folder / "model.pt")
    model(str(folder / "model.pt"))


@case
def fairseq_file_that_claims_forty_thousand_million_weights(folder):
    convolutions = "[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(100000, 2, 2)] * 2"
    fairseq_file(folder, encoder_embed_dim=100_000, conv_feature_layers=convolutions)


@case
def fairseq_file_with_a_thousand_million_convolutions(folder):
    fairseq_file(folder, conv_feature_layers="[(8, 10, 5)] * 32 * 32 * 32 * 32 * 32 * 32")


@case
def fairseq_file_of_three_million_empty_dictionaries(folder):
    with zipfile.ZipFile(folder / "model.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02](" + b"}" * ((3 << 20) - 20) + b"e.")
        archive.writestr("a/version", b"3\n")
    model(str(folder / "model.pt"))


@case
def fairseq_file_in_the_old_format_whose_tensor_claims_an_exabyte(folder):
    import torch

    path = folder / "model.pt"
    torch.save(torch.load(FAIRSEQ, weights_only=True), path, _use_new_zipfile_serialization=False)
    claim = b"\x8a\x08" + struct.pack("<q", 10**18)
    parts = re.split(rb"(?s)(FloatStorage\n.{,60}?)(?:K.|M..)(?=Nt)", path.read_bytes(), maxsplit=1)
    path.write_bytes(parts[0] + parts[1] + claim + parts[2])
    model(str(path))


def sketches(folder, header, size=None):
    from voxrank.sketches.moments import Moments
    from voxrank.sketches.store import load_sketches

    content = json.dumps(header).encode() if isinstance(header, dict) else header
    (folder / "s.safetensors").write_bytes(struct.pack("<Q", len(content) if size is None else size) + content)
    load_sketches(folder / "s.safetensors", Moments)


@case
def sketches_with_a_header_of_an_exabyte(folder):
    sketches(folder, b"{}", 10**18)


@case
def sketches_of_a_million_million_numbers(folder):
    sketches(folder, {"total": {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}})


@case
def sketches_with_a_header_nested_100_000_deep(folder):
    content = json.dumps({"schema": 1, "kind": "Moments", "content": 0})[:-2] + "[" * 100_000
    sketches(folder, {"__metadata__": {"voxrank": content}})


def model(spec):
    from voxrank.encoders.registry import load_encoder

    load_encoder(spec)


def ct2_file(folder, rest):
    name = b"WhisperSpec\0"
    head = struct.pack("<IH", 6, len(name)) + name + struct.pack("<I", 3)
    (folder / "model.bin").write_bytes(head + rest)
    model(f"ct2:{folder}")


@case
def ct2_file_that_claims_four_thousand_million_variables(folder):
    ct2_file(folder, struct.pack("<I", 2**32 - 1) + bytes(1000))


@case
def ct2_variable_that_claims_more_numbers_than_there_are_atoms(folder):
    ct2_file(folder, struct.pack("<IH2sB", 1, 2, b"a\0", 255) + b"\xff" * 1020 + struct.pack("<BI", 0, 2**32 - 1))


def nemo_file(folder, content):
    (folder / "m.nemo").write_bytes(content)
    model(f"nemo:{folder / 'm.nemo'}")


@case
def nemo_header_of_a_hundred_gigabytes_that_is_compressed(folder):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 10**11
    nemo_file(folder, gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(100_000_000)))


@case
def nemo_configuration_of_300_mb_that_is_compressed(folder):
    member = tarfile.TarInfo("model_config.yaml")
    member.size = 300_000_000
    nemo_file(folder, gzip.compress(member.tobuf() + bytes(member.size + 100_000)))


def import_nemo_files():
    """Return the helpers for NeMo's files: this file also runs as a script, without pytest's paths."""
    sys.path.append(str(Path(__file__).parents[1] / "helpers"))
    import nemo_files

    return nemo_files


@case
def nemo_weights_that_repeat_one_number_a_million_million_times(folder):
    import torch

    nemo_files = import_nemo_files()
    weights = {"encoder.x": torch.zeros(1).expand(10**6, 10**6)}
    nemo_files.save(folder / "m.nemo", nemo_files.read("fastconformer_ctc")[0], weights)
    model(f"nemo:{folder / 'm.nemo'}")


@case
def nemo_configuration_of_a_billion_features(folder):
    nemo_files = import_nemo_files()
    config, weights = nemo_files.read("fastconformer_ctc")
    config["encoder"] |= {
        "d_model": 100_000,
        "n_layers": 512,
        "ff_expansion_factor": 1000,
        "subsampling_conv_channels": 9999,
    }
    nemo_files.save(folder / "m.nemo", config, weights)
    model(f"nemo:{folder / 'm.nemo'}")


@case
def onnx_graph_of_60_000_nodes(folder):
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Add", [f"t{n}", f"t{n}"], [f"t{n + 1}"]) for n in range(60_000)]
    value = helper.make_tensor_value_info
    ends = [value(name, TensorProto.FLOAT, [1, "n"]) for name in ("t0", "t60000")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    model(f"onnx:{folder / 'm.onnx'}")


@case
def onnx_graph_of_a_million_million_weights(folder):
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**6, 10**6])
    nodes = [helper.make_node("MatMul", ["audio", "w"], ["out"])]
    audio, out = (value(name, TensorProto.FLOAT, ["b", "n"]) for name in ("audio", "out"))
    graph = helper.make_graph(nodes, "g", [audio], [out], [weight])
    (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    model(f"onnx:{folder / 'm.onnx'}")


def hubert(folder, name="config.json", **settings):
    contents = {
        "config.json": {"model_type": "hubert", "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 1},
        "preprocessor_config.json": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000},
    }
    contents[name] |= settings
    for file, content in contents.items():
        (folder / file).write_text(json.dumps(content))
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    model(str(folder))


@case
def config_of_a_thousand_million_blocks(folder):
    hubert(folder, num_hidden_layers=10**9)


@case
def config_of_a_thousand_million_labels(folder):
    hubert(folder, num_labels=10**9)


@case
def config_of_a_million_million_weights(folder):
    hubert(folder, hidden_size=12 * 10**5)


@case
def extractor_with_a_spectrum_of_100_million_bands(folder):
    hubert(folder, "preprocessor_config.json", feature_extractor_type="WhisperFeatureExtractor", n_fft=10**8)


@case
def extractor_at_a_million_million_hertz(folder):
    hubert(folder, "preprocessor_config.json", sampling_rate=10**12)


@case
def safetensors_that_claim_a_million_million_numbers(folder):
    hubert(folder)
    header = json.dumps({"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    model(str(folder))


def run_alone(function, folder):
    """Return a case's outcome, peak memory above the start in MB, and processor seconds, from a fork."""
    from voxrank.errors import VoxrankError

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        signal.setitimer(signal.ITIMER_PROF, 3 * MOST_S)  # processor time, which does not depend on the load
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(writing, f"{before} ".encode())
        try:
            function(folder)
            outcome = "nothing was refused"
        except VoxrankError as error:
            outcome = f"refused: {error}"
        except BaseException as error:  # noqa: BLE001, whatever comes is the outcome
            outcome = f"{type(error).__name__}: {error}"
        os.write(writing, outcome.encode(errors="replace")[:2000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        before, _, outcome = pipe.read().partition(" ")
    _, status, used = os.wait4(child, 0)
    return {
        "outcome": outcome or f"killed by signal {status}",
        "mb": (used.ru_maxrss - int(before)) / 1024,
        "seconds": used.ru_utime + used.ru_stime,
    }


def main(folder):
    import torch
    import transformers as tf

    from voxrank.encoders.ct2 import encoder_from_buffer
    from voxrank.errors import ModelError

    torch.set_num_threads(1)
    with torch.device("meta"):
        tf.AutoModel.from_config(tf.HubertConfig(num_hidden_layers=1))
    with suppress(ModelError):
        encoder_from_buffer(b"", EncoderOptions())
    for name, function in CASES.items():
        place = Path(folder) / name
        place.mkdir()
        print(json.dumps({name: run_alone(function, place)}), flush=True)
        for file in place.iterdir():
            file.unlink()


@pytest.fixture(scope="module")
def results(tmp_path_factory, run_python):
    done = run_python(__file__, tmp_path_factory.mktemp("cases"))
    found = {}
    for line in done.stdout.splitlines():
        found |= json.loads(line)
    assert done.returncode == 0, done.stderr
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read as Linux tells them")
@pytest.mark.parametrize("name", CASES)
def test_files_that_claim_huge_sizes_are_refused_in_little_memory_and_time(results, name):
    found = results[name]
    assert found["outcome"].startswith("refused: "), found
    assert found["mb"] < MOST_MB, found
    assert found["seconds"] < MOST_S, found


if __name__ == "__main__":
    main(sys.argv[1])
