"""`onnx:model.onnx#PATTERN`: any ONNX graph that takes a waveform or log-mel features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, pick_device
from voxrank.encoders.baselines import LogMel
from voxrank.encoders.taps import TapEncoder, Taps, matches
from voxrank.errors import ModelError, did_you_mean

SAMPLE_RATE_HZ = 16_000
BAND_COUNTS = range(16, 257)
"""A static input axis of this size holds mel bands."""
BLOCK_OPERATORS = ("LayerNormalization", "Add", "Relu", "LSTM", "GRU", "Conv")
"""Without a pattern, layers are the outputs of the first of these that stands in the graph twice or more."""


@dataclass(frozen=True)
class Intake:
    """How the graph takes audio.

    Attributes:
        name: of the input.
        kind: raw samples, or log-mel with bands before time or after it.
        rank: of the input tensor.
        bands: mel bands; 0 for samples.
        one_at_a_time: the batch axis is fixed to 1, or is not there.
        fixed_samples: the only length that is taken, if fixed.
    """

    name: str
    kind: Literal["samples", "bands-time", "time-bands"]
    rank: int
    bands: int = 0
    one_at_a_time: bool = False
    fixed_samples: int | None = None


class Graph:
    """An ONNX graph whose inner tensors come out as layers.

    Args:
        content: the serialised graph.
        pattern: names of the tensors to expose (`*`, `?`); None picks the blocks.
        source: shown in errors.
        device: CUDA is used when torch's device is, and onnxruntime can.

    Raises:
        ModelError: not a valid graph, or nothing matches.
    """

    def __init__(self, content: bytes, pattern: str | None, source: str, device: torch.device) -> None:
        onnx, runtime = _libraries()
        try:
            model = onnx.load_model_from_string(content)
            onnx.checker.check_model(model)
        except Exception as error:
            raise ModelError(f"{source}: not a valid ONNX graph: {_first_line(error)}") from error
        self.sample_rate = int({p.key: p.value for p in model.metadata_props}.get("sample_rate", SAMPLE_RATE_HZ))
        self.parameters = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
        weights = {t.name for t in model.graph.initializer}
        self.inputs = [i for i in model.graph.input if i.name not in weights]
        self.names = _pick(model.graph, pattern, source)
        known = {o.name for o in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.names if name not in known)
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        providers = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = runtime.InferenceSession(model.SerializeToString(), options, providers=providers)
        except Exception as error:
            raise ModelError(f"{source}: onnxruntime cannot load it: {_first_line(error)}") from error

    def run(self, name: str, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Feed one input; the picked tensors come back by name."""
        return dict(zip(self.names, self._session.run(list(self.names), {name: array}), strict=True))


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load a graph whose only input is a waveform, of rank 1 to 3, or log-mel features of rank 3.

    PATTERN picks inner tensors by name, in the order of the graph; without one, the outputs of its blocks are taken.
    The sample rate is the graph's metadata entry ``sample_rate``, or 16,000 Hz. Which axis is time is found by probing.

    Raises:
        ModelError: the file, its input or the pattern cannot be used; or the extra `onnx` is not installed.
    """
    name, _, pattern = rest.partition("#")
    path, source = Path(name), f"onnx:{rest}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{source}: cannot read {path}: {error.strerror or error}; give the path of an .onnx file"
        ) from error
    device = pick_device(options.device)
    graph = Graph(content, pattern or None, source, device)
    if len(graph.inputs) != 1:
        names = ", ".join(i.name for i in graph.inputs) or "none"
        raise ModelError(f"{source}: expected a graph with one input, got: {names}; export it without states")
    try:
        return _encoder(graph, _intake(graph.inputs[0], source), options)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{source}: the graph failed on noise: {_first_line(error)}") from error


def _encoder(graph: Graph, intake: Intake, options: EncoderOptions) -> Encoder:
    mel = LogMel(options, n_mels=intake.bands) if intake.bands else None

    def run(waveforms: torch.Tensor) -> Taps:
        return {
            n: torch.from_numpy(np.array(a)) for n, a in graph.run(intake.name, _feed(waveforms, intake, mel)).items()
        }

    return TapEncoder(
        run,
        options,
        device=torch.device("cpu"),  # onnxruntime takes and gives host arrays
        sample_rate=graph.sample_rate,
        parameters=graph.parameters,
        one_at_a_time=intake.one_at_a_time,
        fixed_samples=intake.fixed_samples,
    )


def _feed(waveforms: torch.Tensor, intake: Intake, mel: LogMel | None) -> NDArray[np.float32]:
    if mel is None:
        array: NDArray[np.float32] = waveforms.numpy()
        return array[0] if intake.rank == 1 else array if intake.rank == 2 else array[:, None, :]
    frames = torch.stack([mel.features(waveform.to(mel.device)) for waveform in waveforms])
    fed: NDArray[np.float32] = (frames if intake.kind == "time-bands" else frames.transpose(1, 2)).cpu().numpy()
    return np.ascontiguousarray(fed)


def _intake(value: Any, source: str) -> Intake:
    dims = [d.dim_value or None for d in value.type.tensor_type.shape.dim]
    fixed_batch = dims[:1] == [1]
    if len(dims) == 1:
        return Intake(value.name, "samples", 1, one_at_a_time=True, fixed_samples=dims[0])
    if len(dims) == 2:
        return Intake(value.name, "samples", 2, one_at_a_time=fixed_batch, fixed_samples=dims[1])
    if len(dims) == 3 and dims[1] == 1:
        return Intake(value.name, "samples", 3, one_at_a_time=fixed_batch, fixed_samples=dims[2])
    if len(dims) == 3 and dims[1] in BAND_COUNTS and dims[2] is None:
        return Intake(value.name, "bands-time", 3, bands=dims[1] or 0, one_at_a_time=fixed_batch)
    if len(dims) == 3 and dims[2] in BAND_COUNTS and dims[1] is None:
        return Intake(value.name, "time-bands", 3, bands=dims[2] or 0, one_at_a_time=fixed_batch)
    raise ModelError(
        f"{source}: expected an input (batch, samples) or log-mel (batch, bands, time) with time free, "
        f"got {dims} for {value.name!r}"
    )


def _pick(graph: Any, pattern: str | None, source: str) -> list[str]:
    produced = [name for node in graph.node if node.op_type != "Constant" for name in node.output if name]
    if pattern is not None:
        names = [name for name in produced if matches(name, pattern)]
        if not names:
            raise ModelError(f"{source}: no tensor is named like {pattern!r}; {did_you_mean(pattern, produced[-40:])}")
        return names
    finals = [output.name for output in graph.output]
    for operator in BLOCK_OPERATORS:
        blocks = [node.output[0] for node in graph.node if node.op_type == operator]
        if len(blocks) > 1:
            return list(dict.fromkeys([*blocks, *finals]))
    return finals


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"ONNX models need onnx and onnxruntime ({error}); run: pip install 'voxrank[onnx]'"
        ) from error
    return onnx, onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
