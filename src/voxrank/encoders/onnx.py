"""The encoder of `onnx:FILE#PATTERN`: any ONNX graph that takes a waveform or log-mel, with inner tensors as layers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from math import prod
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from voxrank._support.memory import is_out_of_memory
from voxrank.config import EncoderOptions
from voxrank.encoders.base import Encoder, pick_device
from voxrank.encoders.finite import is_finite, refuse_not_finite
from voxrank.encoders.mel import MelBank
from voxrank.encoders.plausible import check_rate
from voxrank.encoders.taps import Intake, TapEncoder, Tapped, matches, nearest
from voxrank.errors import ModelError, VoxrankError, reason, shortened

Arrays = dict[str, NDArray[Any]]

SAMPLE_RATE_HZ = 16_000
WINDOW_S, HOP_S = 0.025, 0.010
"""Window and hop of the log-mel features for graphs without a front end, in seconds."""
FFT_SAMPLES = 512
BANDS = range(8, 257)
"""Plausible numbers of mel bands."""

MAX_NODES = 50_000
"""Maximum number of nodes: the ancestors of a node are stored as one bit per earlier node."""
MAX_DIGITS = 9

LEARNED = ("MatMul", "Gemm", "Conv", "LSTM", "GRU", "Attention")
"""Substrings of the names of operators that have weights."""
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


def load(rest: str, options: EncoderOptions) -> Encoder:
    """Load a graph that takes a waveform or a spectrogram.

    A waveform has rank 1, 2 (batch, samples) or 3 (with a channel axis of 1). A spectrogram has the shape (batch,
    bands, time) or (batch, time, bands), where the static axis gives the number of bands. It holds natural logarithms
    of the power in Slaney bands, in 25 ms windows every 10 ms. Integer inputs are taken for lengths or masks, and are
    filled in. The sample rate is `sample_rate` in the metadata, else 16,000 Hz. The graph's precision is kept.

    Layers are the floating-point tensors whose names match PATTERN, in the order of the graph. Without PATTERN they are
    the sums of the residual connections, then the outputs; layer 0 is the input of the first residual connection. A
    graph with fewer than two such sums gives its outputs only.

    Raises:
        ModelError: the file, its inputs or the pattern are unusable, it fails on noise, or the extra is not installed.
    """
    name, _, pattern = rest.partition("#")
    try:
        model = read_model(Path(name))
        device = pick_device(options.device)
        return _encoder(model, layer_names(model, pattern), options, device)
    except ModelError as error:
        raise ModelError(f"onnx:{rest}: {error}") from error
    except Exception as error:
        if isinstance(error, VoxrankError) or is_out_of_memory(error):
            raise
        raise ModelError(f"onnx:{rest}: its parts do not fit together ({reason(error)}); export it again") from error


def libraries() -> tuple[Any, Any]:
    """Return the packages onnx and onnxruntime.

    Raises:
        ModelError: they are not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"ONNX graphs need more packages ({error}); run: pip install 'voxrank[onnx]'") from error
    return onnx, onnxruntime


def read_model(path: Path) -> Any:
    """Read a graph and its external weights; onnx refuses weights outside the folder of the graph.

    Raises:
        ModelError: the file is missing or damaged.
    """
    onnx, _ = libraries()
    if path.is_fifo():  # reading would block
        raise ModelError(f"{path} is a pipe; give the path of an .onnx file")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror or error}); give the path of an .onnx file") from error
    except Exception as error:
        raise ModelError(f"not an ONNX graph that can be read ({reason(error)}); export it again") from error
    if len(model.graph.node) > MAX_NODES:
        raise ModelError(f"expected a graph of up to {MAX_NODES:,} nodes, got {len(model.graph.node):,}")
    return model


class Graph:
    """A session that returns chosen tensors of a graph, including inner tensors.

    Attributes:
        names: names of the tensors that it returns.
        digest: digest of the graph with its weights.

    Args:
        model: the graph; it is not changed.
        names: names of the tensors; those that are not floating point are left out.
        device: CUDA is used if it is requested and onnxruntime supports it, else the CPU.

    Raises:
        ModelError: onnxruntime cannot run it.
    """

    def __init__(self, model: Any, names: Sequence[str], device: torch.device) -> None:
        onnx, runtime = libraries()
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        outputs = {output.name for output in copy.graph.output}
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # errors are raised as exceptions
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_mem_pattern = False  # patterns are of one shape, and shapes vary from batch to batch
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to the decoders
        providers = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, "CUDAExecutionProvider")
        content = copy.SerializeToString()
        self.digest = hashlib.sha256(content).hexdigest()
        try:
            self._session = runtime.InferenceSession(content, options, providers=providers)
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run it ({reason(error)}); export it again") from error
        floats = {output.name for output in self._session.get_outputs() if output.type in FLOATS}
        self.names = [name for name in names if name in floats]

    def run(self, feeds: Arrays) -> dict[str, torch.Tensor]:
        """Run the graph; the tensors are returned by name, on the CPU."""
        try:
            arrays = self._session.run(self.names, feeds)
        except Exception as error:
            problem = MemoryError if is_out_of_memory(error) else RuntimeError
            raise problem(reason(error)) from error
        return {name: torch.from_numpy(array) for name, array in zip(self.names, arrays, strict=True)}


def layer_names(model: Any, pattern: str) -> list[str]:
    """Return the names of the layers: those that match, or without a pattern the residual stream and the outputs.

    Raises:
        ModelError: no name matches.
    """
    computed = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output if name]
    if pattern:
        names = [name for name in computed if matches(name, pattern)]
        if not names:
            raise ModelError(f"no tensor is named like {pattern}; {nearest(pattern, computed)}")
        return names
    outputs = [output.name for output in model.graph.output]
    stream = residual_stream(model.graph)
    if len(stream) < 3:
        return outputs
    return list(dict.fromkeys([name for name in stream if name in computed] + outputs))


def residual_stream(graph: Any) -> list[str]:
    """Return the input of the first residual connection, and the sum at the end of each.

    A residual connection is the addition of a tensor and something computed from it by an operator with weights.
    """
    bits = {name: 1 << i for i, name in enumerate(input_names(graph))}
    behind = dict.fromkeys(bits, 0)  # ancestors of a tensor, one bit each
    learned = dict.fromkeys(bits, 0)  # those ancestors with an operator with weights on the path from them
    stream: list[str] = []
    for node in graph.node:
        inputs = [name for name in node.input if name in bits]
        if node.op_type == "Add" and len(inputs) == 2:
            skips = [a for a, b in (inputs, inputs[::-1]) if bits[a] & learned[b]]
            stream += [*(skips if not stream else ()), *(node.output if skips else ())]
        passed = [reduce(or_, (table[name] for name in inputs), 0) for table in (bits, behind, learned)]
        has_weights = any(part in node.op_type for part in LEARNED)
        for name in node.output:
            bits[name] = 1 << len(bits)
            behind[name] = passed[0] | passed[1]
            learned[name] = behind[name] if has_weights else passed[2]
    return stream


def input_names(graph: Any) -> list[str]:
    """Return the names of the graph's inputs that are not weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in weights]


@dataclass(frozen=True)
class Form:
    """The layout of an input tensor.

    Attributes:
        dims: sizes of the axes; None for free axes.
        time: the axis of samples or of spectrogram frames.
        bands: number of mel bands; 0 for samples.
    """

    dims: tuple[int | None, ...]
    time: int
    bands: int = 0


def read_form(name: str, dims: tuple[int | None, ...]) -> Form:
    """Return the layout of an input, which its sizes show to be a waveform or a spectrogram.

    Raises:
        ModelError: the input is neither.
    """
    rank, inner = len(dims), dims[1:]
    if rank in (1, 2):
        return Form(dims, rank - 1)
    if rank == 3 and 1 in inner:
        return Form(dims, 2 if inner[0] == 1 else 1)
    static = [size for size in inner if size is not None]
    if rank == 3 and static and min(static) in BANDS:
        return Form(dims, 2 if inner[0] == min(static) else 1, min(static))
    raise ModelError(
        f"expected an input of samples (batch, samples) or log-mel (batch, bands, time) with a static number of bands, "
        f"got {name} {['?' if size is None else size for size in dims]}"
    )


class Feeder:
    """Converts waveforms to the inputs of a graph.

    Args:
        graph: the graph whose inputs are filled.
        sample_rate: in Hz.
        device: device that computes the features.

    Raises:
        ModelError: the graph does not have exactly one audio input, or has an input that is not audio, length or mask.
    """

    def __init__(self, graph: Any, sample_rate: int, device: torch.device) -> None:
        onnx, _ = libraries()
        names = input_names(graph)
        inputs = {value.name: value.type.tensor_type for value in graph.input if value.name in names}
        self._dtypes = {name: onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) for name, kind in inputs.items()}
        dims = {name: tuple(dim.dim_value or None for dim in kind.shape.dim) for name, kind in inputs.items()}
        audio = [name for name, dtype in self._dtypes.items() if np.issubdtype(dtype, np.floating)]
        self._ranks = {name: len(dims[name]) for name in names if name not in audio}
        if len(audio) != 1 or not set(self._ranks.values()) <= {1, 2}:
            raise ModelError(f"expected one input of audio, and lengths or masks, got {', '.join(names) or 'none'}")
        self.name, self.form = audio[0], read_form(audio[0], dims[audio[0]])
        self._window, self._hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
        fft = FFT_SAMPLES * max(1, -(-self._window // FFT_SAMPLES)) * (2 if self.form.bands > FFT_SAMPLES // 4 else 1)
        self._bank = MelBank(self.form.bands, self._window, fft, sample_rate, device) if self.form.bands else None

    def intake(self, sample_rate: int) -> Intake:
        """Return what audio the graph takes."""
        steps, rows = self.form.dims[self.form.time], self.form.dims[0] if len(self.form.dims) > 1 else 1
        if rows not in (1, None):
            raise ModelError(
                f"expected a free batch axis, or one of size 1, got {rows} in {self.name}; export it again"
            )
        fixed = (steps - 1) * self._hop + self._window if steps and self._bank else steps
        return Intake(sample_rate, fixed_samples=fixed, one_at_a_time=rows == 1)

    def __call__(self, waveforms: torch.Tensor) -> Arrays:
        """Return the inputs by name for waveforms (rows, samples)."""
        audio = waveforms
        if self._bank is not None:
            audio = self._bank.log(waveforms.unfold(1, self._window, self._hop))
        rows, steps = audio.shape[:2]
        feeds = {self.name: self._arranged(audio).cpu().numpy()}
        for name, rank in self._ranks.items():
            feeds[name] = np.full(rows, steps) if rank == 1 else np.ones((rows, steps))
        return {name: np.ascontiguousarray(array, self._dtypes[name]) for name, array in feeds.items()}

    def _arranged(self, audio: torch.Tensor) -> torch.Tensor:
        """Arrange (rows, samples) or (rows, time, bands) in the order of the graph's axes."""
        rank, time = len(self.form.dims), self.form.time
        if rank < 3:
            return audio if rank == 2 else audio[0]
        frames = audio if self.form.bands else audio.unsqueeze(2)
        return frames if time == 1 else frames.transpose(1, 2)


class TappedGraph:
    """A graph that takes waveforms.

    Attributes:
        settings: the graph's digest.
    """

    def __init__(self, graph: Graph, feed: Feeder) -> None:
        self._graph, self._feed = graph, feed
        self.settings = {"graph": graph.digest}

    def __call__(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the graph and return its tensors by name."""
        return self._graph.run(self._feed(waveforms))


def _encoder(model: Any, names: Sequence[str], options: EncoderOptions, device: torch.device) -> Encoder:
    rate = _sample_rate(model)
    feed = Feeder(model.graph, rate, device)

    def tapped(graph: Graph) -> Tapped:
        return TappedGraph(graph, feed)

    graph = Graph(model, names, device)
    if not graph.names:
        raise ModelError(f"expected tensors of floating point, got {', '.join(names)}; pick others with #PATTERN")
    check_weights(model.graph)
    intake, parameters = feed.intake(rate), count_weights(model.graph)
    make = partial(TapEncoder, tapped(graph), intake, options, device=device, parameters=parameters)
    if intake.fixed_samples is None:
        return make()
    try:
        return make(probed=tapped(Graph(freed(model, feed), names, device)))
    except ModelError:  # the graph does not run on other lengths
        return make()


def _sample_rate(model: Any) -> int:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    text = metadata.get("sample_rate", str(SAMPLE_RATE_HZ))
    if not text.isdecimal() or len(text) > MAX_DIGITS or not int(text):
        raise ModelError(f"expected the metadata's sample_rate to be a whole number of Hz, got {shortened(text, 40)!r}")
    check_rate("the metadata", int(text))
    return int(text)


def count_weights(graph: Any) -> int:
    """Return the number of floating-point values stored in a graph."""
    onnx, _ = libraries()
    constants = [part.t for node in graph.node if node.op_type == "Constant" for part in node.attribute]
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    return sum(prod(tensor.dims) for tensor in [*graph.initializer, *constants] if tensor.data_type in floats)


def check_weights(graph: Any) -> None:
    """Refuse a graph whose weights are NaN or infinite.

    Weights of operators such as convolutions must be finite. Other constants may hold -inf, as masks do. Scalars may
    have any value, because some are the limits of a range.

    Args:
        graph: the graph.

    Raises:
        ModelError: a weight is not finite.
    """
    onnx, _ = libraries()
    constants = {node.output[0]: part.t for node in graph.node if node.op_type == "Constant" for part in node.attribute}
    stored = {tensor.name: tensor for tensor in graph.initializer} | constants
    learned = {name for node in graph.node if any(part in node.op_type for part in LEARNED) for name in node.input}
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    broken = []
    for name, tensor in stored.items():
        if tensor.data_type in floats and (name in learned or prod(tensor.dims) > 1):
            values = onnx.numpy_helper.to_array(tensor)
            double = values.dtype == np.float64
            values = np.array(values, np.float64 if double else np.float32)  # torch lacks numpy's bfloat16
            if not is_finite(torch.from_numpy(values), masks=name not in learned):
                broken.append(name)
    refuse_not_finite(broken)


def freed(model: Any, feed: Feeder) -> Any:
    """Return a copy of a fixed-length graph that accepts any length, so that its layouts can be probed."""
    onnx, _ = libraries()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    audio = next(value for value in graph.input if value.name == feed.name)
    audio.type.tensor_type.shape.dim[feed.form.time].dim_param = "time"
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    return copy
