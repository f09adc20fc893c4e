"""Compare the frames of every family of audio encoders with transformers' own class, and load a tower of a 7 B model.

The models are small and random. The 7 B model has the layout of Qwen2-Audio: its shards are sparse files, which take no
space on disk. The tower is read in a process of its own, whose peak of private memory is recorded.

Run: python benchmarks/families.py; writes benchmarks/results/families.json.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
import transformers as tf

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests" / "helpers")]

import audio_families
import hf_models
from common import in_own_process, provenance, save
from voxrank.config import EncoderOptions
from voxrank.encoders.architectures import find_architecture, load_weights
from voxrank.encoders.checkpoints import find_checkpoint, load_config
from voxrank.encoders.registry import load_encoder
from voxrank.errors import ModelError

families: Any = audio_families  # Any: helpers of tests have no annotations
models: Any = hf_models
SHARD_BYTES = 4_500_000_000
AUDIO_7B: dict[str, Any] = {"model_type": "qwen2_audio_encoder"}
"""The audio tower of Qwen2-Audio, with the sizes that transformers gives it."""
TEXT_7B = {
    "model_type": "qwen2", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 156032,
}  # fmt: skip
SAMPLING_S = 0.02
ROUNDS = 3
REFUSED: dict[str, Callable[[], tuple[Any, Any]]] = {
    "EnCodec of stereo audio": lambda: (
        tf.EncodecModel(tf.EncodecConfig(hidden_size=16, num_filters=2, codebook_size=8, audio_channels=2)),
        tf.EncodecFeatureExtractor(),
    ),
    "SpeechT5 for speech synthesis": lambda: (
        tf.SpeechT5ForTextToSpeech(tf.SpeechT5Config(**families.SPEECHT5)),
        tf.SpeechT5FeatureExtractor(),
    ),
    "BERT": lambda: (tf.BertModel(tf.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)), None),
}
"""Models that cannot be had, and how to build them."""


def main(words: Sequence[str]) -> None:
    if words[:1] == ["tower"]:
        print(json.dumps(load_tower(Path(words[1]))))
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = [compare(name) for name in families.FAMILIES]
    content = {"made": provenance(), "families": rows, "refused": dict(map(refusal, REFUSED)), "tower": measure_tower()}
    save("families", content)


def compare(name: str) -> dict[str, Any]:
    """Return what a family is, and the largest difference of its frames from those of its own class."""
    family = families.FAMILIES[name]
    differences = {}
    for alone in (False, True) if family.alone else (False,):
        with tempfile.TemporaryDirectory() as folder:
            place, model = families.save(Path(folder), name, alone=alone)
            encoder = load_encoder(place)
        states = families.own_states(name, model, encoder.sample_rate, alone=alone)
        pieces = list(encoder.encode([models.speech_like(encoder.sample_rate)]))
        differences["alone" if alone else "complete"] = max(
            (piece.frames - state[: len(piece.frames)]).abs().max().item() / state.abs().max().item()
            for piece, state in zip(pieces, states, strict=True)
        )
    network = encoder.network()
    return {
        "family": name,
        "class": type(getattr(network, "tower", network)).__name__,
        "layers": [layer.name for layer in encoder.layers],
        "frames_per_second": [round(layer.frame_rate, 2) for layer in encoder.layers],
        "window_s": encoder.window_samples / encoder.sample_rate,
        "difference": differences,
    }


def refusal(name: str) -> tuple[str, str]:
    """Return the message for a model that cannot be had, without its folder."""
    model, extractor = REFUSED[name]()
    with tempfile.TemporaryDirectory() as folder:
        place = models.save(Path(folder), model, extractor)
        try:
            load_encoder(place)
        except ModelError as error:
            return name, str(error).replace(f"{place}: ", "")
    raise SystemExit(f"{name} was not refused")


def measure_tower() -> dict[str, Any]:
    """Load the tower out of a 7 B model and from a checkpoint of its own, in turn; return sizes in GB and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"within": Path(folder) / "within", "alone": Path(folder) / "alone"}
        for place in places.values():
            place.mkdir()
        whole_gb = write_7b(places["within"])
        write_alone(places["alone"])
        rounds = [{name: tower_of(place) for name, place in places.items()} for _ in range(ROUNDS)]
    seconds = {name: min(found[name]["seconds"] for found in rounds) for name in places}
    return rounds[0]["within"] | {"whole_gb": whole_gb, "seconds": seconds["within"], "seconds_alone": seconds["alone"]}


def tower_of(folder: Path) -> dict[str, float]:
    """Load a tower in a process of its own."""
    result: dict[str, float] = json.loads(in_own_process(__file__, "tower", folder).splitlines()[-1])
    return result


def write_alone(folder: Path) -> None:
    """Write the tower of that model as a checkpoint of its own."""
    config = tf.Qwen2AudioEncoderConfig(**AUDIO_7B)
    with torch.device("meta"):
        weights = families.Qwen2AudioEncoder(config).state_dict()
    config.architectures = ["Qwen2AudioEncoder"]
    config.save_pretrained(folder)
    tf.WhisperFeatureExtractor(128).save_pretrained(folder)
    write_sparse(folder / "model.safetensors", {name: weight.shape for name, weight in weights.items()})


def write_7b(folder: Path) -> float:
    """Write a model of 8.4 billion weights in bfloat16, its shards as sparse files; return its size in GB."""
    config = tf.Qwen2AudioConfig(audio_config=AUDIO_7B, text_config=TEXT_7B)
    with torch.device("meta"):
        weights = tf.Qwen2AudioForConditionalGeneration(config).state_dict()
    config.architectures = ["Qwen2AudioForConditionalGeneration"]
    config.save_pretrained(folder)
    tf.WhisperFeatureExtractor(128).save_pretrained(folder)
    shards: list[dict[str, torch.Size]] = [{}]
    size = total = 0
    for name, weight in weights.items():
        needed = 2 * prod(weight.shape)
        if size + needed > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = weight.shape
        size, total = size + needed, total + needed
    names = {name: f"model-{i}.safetensors" for i, shard in enumerate(shards) for name in shard}
    for i, shard in enumerate(shards):
        write_sparse(folder / f"model-{i}.safetensors", shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return total / 1e9


def write_sparse(file: Path, shapes: dict[str, torch.Size]) -> None:
    """Write a safetensors file whose weights are a hole in the file, and so zero."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)


def load_tower(folder: Path) -> dict[str, float]:
    """Load the tower; return its size in float32, the peak of private memory above that at the start, and seconds."""
    torch.set_num_threads(1)
    start = private_gb()
    peak, ended = [start], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLING_S):
            peak[0] = max(peak[0], private_gb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    checkpoint = find_checkpoint(str(folder), EncoderOptions())
    model = load_weights(checkpoint, find_architecture(checkpoint, load_config(checkpoint)))
    seconds = time.perf_counter() - begun
    ended.set()
    watcher.join()
    tower_gb = sum(weight.numel() * weight.element_size() for weight in model.parameters()) / 1e9
    return {"tower_gb": tower_gb, "peak_gb": peak[0] - start, "seconds": seconds}


def private_gb() -> float:
    """Return the private memory of this process in GB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1e6


if __name__ == "__main__":
    main(sys.argv[1:])
