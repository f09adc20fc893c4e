"""The base class of all encoders, which map audio to the frames of every layer in one forward pass."""

from __future__ import annotations

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from voxrank.config import EncoderOptions, Hertz, Seconds
from voxrank.data.audio import Waveform
from voxrank.errors import OptionError

__all__ = [
    "Encoder",
    "Layer",
    "LayerFrames",
    "Waveform",
    "Window",
    "code_digest",
    "count_parameters",
    "cut",
    "numbered",
    "pick_device",
    "pick_dtype",
]


@dataclass(frozen=True)
class Layer:
    """A layer of an encoder.

    Attributes:
        index: 0 is the input of the first block; the last index is the last block.
        name: name of its place in the model.
        dim: number of features in a frame.
        frame_rate: frames per second of audio, in Hz.
    """

    index: int
    name: str
    dim: int
    frame_rate: Hertz


@dataclass(frozen=True)
class Window:
    """A window of audio and the number of frames that a layer gives for it.

    Attributes:
        owner: index in the batch of the waveform that it was cut from.
        start: seconds from the beginning of the waveform.
        frames: number of frames.
        seconds: length of the window. The next window of the waveform begins at its end.
    """

    owner: int
    start: Seconds
    frames: int
    seconds: Seconds


@dataclass(frozen=True)
class LayerFrames:
    """The frames of one layer for one batch.

    Attributes:
        layer: `Layer.index`.
        frames: (sum(lengths), dim) float32 on the encoder's device: every utterance's frames,
            packed end to end in batch order, without padding.
        lengths: frames of each waveform of the batch; 0 where this piece holds none of it.
        windows: the windows that the frames come from, in order; set by `Encoder.encode`, empty after a single forward
               pass.
    """

    layer: int
    frames: torch.Tensor
    lengths: tuple[int, ...]
    windows: tuple[Window, ...] = ()


class Encoder(ABC):
    """A frozen pre-trained model.

    A subclass sets the attributes and defines `_forward`. `encode` cuts long audio into windows, groups
    windows by equal length where padding would leak, and keeps each forward pass within the budget.

    Attributes:
        spec: the model as the user named it.
        sample_rate: sample rate of the waveforms that it takes, in Hz.
        layers: the layers in order of index.
        parameters: number of weights of the encoder.
        pads: True when windows of different lengths may share a batch; this is checked, not assumed.
        window_samples: length of the longest window that one forward pass takes.
        min_samples: length of the shortest window; shorter audio is padded with zeros to it.
        budget_samples: maximum number of padded samples in one forward pass.
        device: device that the model runs on.
        origin: for a plug-in, the package that provides the encoder and its version; set by the registry.
        notes: what the user should know about the model as it was loaded, one line each.
    """

    spec: str
    sample_rate: int
    layers: tuple[Layer, ...]
    parameters: int
    pads: bool
    window_samples: int
    min_samples: int
    budget_samples: int
    device: torch.device
    origin: str = ""
    notes: tuple[str, ...] = ()
    _dtype: torch.dtype = torch.float32
    _offsets: dict[int, Seconds] | None = None

    def cost_samples(self, n_samples: int) -> int:
        """Return the number of samples that the model processes for a window of `n_samples` (Whisper: always 30 s)."""
        return max(n_samples, self.min_samples)

    @abstractmethod
    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        """Yield each layer's frames of these windows, in order of layer, with one `LayerFrames` per layer.

        Windows have `min_samples` to `window_samples` samples; all have one `padded_samples` unless `pads`.
        """

    def padded_samples(self, n_samples: int) -> int:
        """Return the length that the model itself pads a window to; unless `pads`, equal ones share a pass."""
        return n_samples

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[Waveform]) -> Iterator[LayerFrames]:
        """Yield the frames of every layer, one layer at a time, so that the caller need not keep them all.

        Each layer comes once if the batch is within `budget_samples` and its windows may share a pass. Otherwise a
        layer comes in several pieces: their lengths add up, and the frames of an utterance stay in order.

        Args:
            waveforms: mono float32 audio at `sample_rate`.
        """
        for group in self._groups(self._windows(waveforms)):
            for piece in self._forward([cutting.samples for cutting in group]):
                lengths, windows = [0] * len(waveforms), []
                for cutting, length in zip(group, piece.lengths, strict=True):
                    lengths[cutting.owner] += length
                    start, seconds = cutting.start / self.sample_rate, len(cutting.samples) / self.sample_rate
                    windows.append(Window(cutting.owner, start, length, seconds))
                yield LayerFrames(piece.layer, piece.frames, tuple(lengths), tuple(windows))

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights by name, where they are known; they show whether two models are equal or related."""
        network = self.network()
        return {} if network is None else dict(network.state_dict())

    def settings(self) -> dict[str, str]:
        """Return what else the frames depend on, besides the weights and the loading options, as name → text.

        Examples are a configuration, or a digest of the graph or of the code. A model that gives neither weights nor
        settings is never looked up in the cache, unless it is a model of voxrank without weights.
        """
        return {}

    def network(self) -> torch.nn.Module | None:
        """Return the module that holds the weights, if they can be tuned; `_forward` then lets gradients through."""
        return None

    def blocks(self) -> dict[int, torch.nn.Module]:
        """Return layer → the part of `network` that computes it from the layer below, for layers with such weights."""
        return {}

    def stack(self) -> dict[int, torch.nn.Module]:
        """Return the blocks that can run alone: layer → module from hidden states (rows, frames, dim) to the next."""
        return {}

    def running(self, lengths: Sequence[int]) -> AbstractContextManager[None]:
        """Return a context in which blocks of `stack` run outside a forward pass, on rows of `lengths` valid frames."""
        del lengths
        return nullcontext()

    def offsets(self) -> dict[int, Seconds]:
        """Return layer → seconds from the start of a window to the centre of the audio that its first frame covers.

        The centre of frame i lies i / frame_rate later. The offsets are measured on the model (`encoders.timing`),
        unless a subclass knows them by construction.
        """
        if self._offsets is None:
            from voxrank.encoders.timing import measure_offsets

            self._offsets = measure_offsets(self)
        return self._offsets

    def _windows(self, waveforms: Sequence[Waveform]) -> list[_Cutting]:
        windows = []
        for owner, waveform in enumerate(waveforms):
            start = 0
            for samples in cut(waveform, self.window_samples):
                short = self.min_samples - len(samples)
                windows.append(_Cutting(owner, start, np.pad(samples, (0, short)) if short > 0 else samples))
                start += len(samples)
        return windows

    def _groups(self, windows: list[_Cutting]) -> Iterator[list[_Cutting]]:
        """Yield the windows that one forward pass may take. Unless `pads`, those of one length come together.

        The windows of a waveform stay in order, because the last one is the shortest.
        """
        if not self.pads:
            windows = sorted(windows, key=lambda window: -self.padded_samples(len(window.samples)))
        group: list[_Cutting] = []
        longest = 0
        for window in windows:
            size = len(window.samples)
            longest = max(longest, size)
            full = self.cost_samples(longest) * (len(group) + 1) > self.budget_samples
            mixed = not self.pads and group and self._differ(len(group[0].samples), size)
            if group and (full or mixed):
                yield group
                group, longest = [], size
            group.append(window)
        if group:
            yield group

    def _differ(self, first: int, second: int) -> bool:
        return self.padded_samples(first) != self.padded_samples(second)


@dataclass(frozen=True)
class _Cutting:
    """A window's samples, the waveform that they were cut from, and the position of the first sample in it."""

    owner: int
    start: int
    samples: Waveform


def numbered(network: torch.nn.Module, count: int) -> dict[int, torch.nn.Module]:
    """Return layer (from 1) → block, from the heaviest `ModuleList` of length `count`; empty if none exists."""
    lists = [part for part in network.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == count]
    heaviest = max(lists, key=count_parameters, default=torch.nn.ModuleList())
    return dict(enumerate(heaviest, start=1))


def cut(waveform: Waveform, window_samples: int) -> list[Waveform]:
    """Cut audio into the fewest windows of at most `window_samples`, all equal but for a slightly shorter last one."""
    count = max(1, -(-len(waveform) // window_samples))
    size = max(1, -(-len(waveform) // count))
    return [waveform[i * size : (i + 1) * size] for i in range(count)]


def pick_device(name: str) -> torch.device:
    """Return the torch device for an option: "auto" takes the accelerator that torch reports, else the CPU.

    Raises:
        OptionError: the device does not exist, or this machine cannot use it.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(
            f"the device {name!r} cannot be used here; take auto, cpu, or one that torch reports"
        ) from error
    return device


def pick_dtype(options: EncoderOptions) -> torch.dtype:
    """Return the torch dtype of the forward pass."""
    dtype = getattr(torch, options.dtype)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(options.dtype)
    return dtype


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of weights; shared weights count once."""
    return sum(p.numel() for p in module.parameters())


def code_digest(kinds: Iterable[type]) -> str:
    """Return the hex digest of the source files that define these classes.

    Another forward pass on the same weights gives other frames.
    """
    files = set()
    for kind in set(kinds):
        with suppress(OSError, TypeError):  # built-in or interactively defined
            files.add(inspect.getsourcefile(kind))
    digest = hashlib.sha256()
    for file in sorted(filter(None, files)):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()
