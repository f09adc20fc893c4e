"""What every encoder is: audio in, the frames of every layer out, from one forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

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
    "count_parameters",
    "cut",
    "numbered",
    "pick_device",
    "pick_dtype",
]


@dataclass(frozen=True)
class Layer:
    """One layer of an encoder.

    Attributes:
        index: 0 is the input of the first block; the last index is the last block.
        name: where it stands in the model.
        dim: numbers in a frame.
        frame_rate: frames in a second of audio.
    """

    index: int
    name: str
    dim: int
    frame_rate: Hertz


@dataclass(frozen=True)
class Window:
    """A window of audio that frames were made of.

    Attributes:
        owner: which waveform of the batch it was cut from.
        start: seconds from the beginning of the waveform.
        frames: how many were made of it.
    """

    owner: int
    start: Seconds
    frames: int


@dataclass(frozen=True)
class LayerFrames:
    """Frames that one layer made of one batch.

    Attributes:
        layer: `Layer.index`.
        frames: (sum(lengths), dim) float32 on the encoder's device: every utterance's frames,
            packed end to end in batch order, without padding.
        lengths: frames of each waveform of the batch; 0 where this piece holds none of it.
        windows: where they come from, in order; `Encoder.encode` tells, a single forward pass does not know.
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
        sample_rate: in Hz, of the waveforms it takes.
        layers: in order of index.
        parameters: number of weights of the encoder.
        pads: True when windows of different lengths may share a batch: proven, not assumed.
        window_samples: the longest window one forward pass takes.
        min_samples: the shortest; shorter audio is padded with zeros to it.
        budget_samples: padded samples in one forward pass.
        device: where it runs.
        origin: the package that brings it and its version, where that is a plug-in; the registry says it.
        notes: what the user should know about the model as it was loaded, a line each.
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
        """Samples that the model computes on for a window of `n_samples` (Whisper: always 30 s)."""
        return max(n_samples, self.min_samples)

    @abstractmethod
    def _forward(self, windows: Sequence[Waveform]) -> Iterator[LayerFrames]:
        """Yield each layer's frames of these windows, in order of layer, one `LayerFrames` a layer.

        Windows have `min_samples` to `window_samples` samples; all have one length unless `pads`.
        """

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[Waveform]) -> Iterator[LayerFrames]:
        """Yield the frames of every layer, a layer at a time, so that nothing need be kept.

        A batch within `budget_samples`, of windows that may share a pass, yields each layer once. Otherwise a
        layer comes in several pieces; their lengths add up, and an utterance's frames stay in order.

        Args:
            waveforms: mono float32 at `sample_rate`.
        """
        for group in self._groups(self._windows(waveforms)):
            for piece in self._forward([cutting.samples for cutting in group]):
                lengths, windows = [0] * len(waveforms), []
                for cutting, length in zip(group, piece.lengths, strict=True):
                    lengths[cutting.owner] += length
                    windows.append(Window(cutting.owner, cutting.start / self.sample_rate, length))
                yield LayerFrames(piece.layer, piece.frames, tuple(lengths), tuple(windows))

    def weights(self) -> dict[str, torch.Tensor]:
        """The model's weights by name, where they can be told; to see whether two models are the same, or related."""
        network = self.network()
        return {} if network is None else dict(network.state_dict())

    def settings(self) -> dict[str, str]:
        """What else its frames follow from, beside weights and the options that it was loaded with: name → text.

        A configuration, a digest of the graph or of the code. A model that tells neither weights nor this is never
        looked up in the cache, unless it is one of voxrank's own that has no weights.
        """
        return {}

    def network(self) -> torch.nn.Module | None:
        """What holds the weights, where they can be tuned; `_forward` then passes gradients on."""
        return None

    def blocks(self) -> dict[int, torch.nn.Module]:
        """Layer → the part of `network` that makes it from the layer below, for those that have such weights."""
        return {}

    def stack(self) -> dict[int, torch.nn.Module]:
        """The same where blocks may be run by themselves: each maps hidden states (rows, frames, dim) to the next."""
        return {}

    def running(self, lengths: Sequence[int]) -> AbstractContextManager[None]:
        """Blocks of `stack` run here outside a forward pass, on rows of so many true frames."""
        del lengths
        return nullcontext()

    def offsets(self) -> dict[int, Seconds]:
        """Layer → seconds from the beginning of a window to the centre of what its first frame hears.

        Frame i is then centred i / frame_rate later. It is measured on the model (`encoders.timing`); a subclass whose
        offsets follow from its construction says them.
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
        """Consecutive runs of windows that one forward pass may take, in order of owner."""
        group: list[_Cutting] = []
        longest = 0
        for window in windows:
            size = len(window.samples)
            longest = max(longest, size)
            full = self.cost_samples(longest) * (len(group) + 1) > self.budget_samples
            mixed = not self.pads and group and len(group[0].samples) != size
            if group and (full or mixed):
                yield group
                group, longest = [], size
            group.append(window)
        if group:
            yield group


@dataclass(frozen=True)
class _Cutting:
    """Samples of a window, the waveform that they were cut from, and the first one's place in it."""

    owner: int
    start: int
    samples: Waveform


def numbered(network: torch.nn.Module, count: int) -> dict[int, torch.nn.Module]:
    """Layer, from 1, → its block: the members of the heaviest list of `count` in a network; none where it has none."""
    lists = [part for part in network.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == count]
    heaviest = max(lists, key=count_parameters, default=torch.nn.ModuleList())
    return dict(enumerate(heaviest, start=1))


def cut(waveform: Waveform, window_samples: int) -> list[Waveform]:
    """Cut into the fewest consecutive windows, none above `window_samples`, all equal but a slightly shorter last."""
    count = max(1, -(-len(waveform) // window_samples))
    size = max(1, -(-len(waveform) // count))
    return [waveform[i * size : (i + 1) * size] for i in range(count)]


def pick_device(name: str) -> torch.device:
    """The torch device for an option: "auto" takes the accelerator that torch reports, else the CPU.

    Raises:
        OptionError: no such device, or this machine cannot use it.
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
    """The torch dtype of the forward pass."""
    dtype = getattr(torch, options.dtype)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(options.dtype)
    return dtype


def count_parameters(module: torch.nn.Module) -> int:
    """Number of weights, shared ones counted once."""
    return sum(p.numel() for p in module.parameters())
