"""Trials of one model. Frozen features are computed once for all layers and seeds; each trial is saved when it ends."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import nn

from voxrank.config import Seconds, TuningOptions
from voxrank.data.utterance import Skipped
from voxrank.encoders.base import Encoder
from voxrank.errors import OptionError, reason
from voxrank.groundtruth.answers import Answers
from voxrank.groundtruth.audio import AudioBatch, read_batches
from voxrank.groundtruth.backbones import (
    Backbone,
    FrozenLayer,
    StackedBlocks,
    WholeModel,
    every_layer,
    record_calls,
)
from voxrank.groundtruth.heads import CTCHead, Head, UtteranceHead
from voxrank.groundtruth.splits import Split
from voxrank.groundtruth.training import Batches, Fit, Outcome, TrialError, train
from voxrank.groundtruth.trials import Row, Trial, TrialStore

logger = logging.getLogger(__name__)

MAX_FEATURE_BYTES = 2 * 2**30
"""Maximum size of frozen features that are kept at a time; layers that do not fit are processed afterwards."""

LEARNING_RATES = {"probe": 0.0, "layer": 5e-4, "full": 1e-4}
ADAPTER_LEARNING_RATE = 1e-3

Heads = Callable[[Encoder, int, Answers], Callable[[], Head]]
"""Encoder, dim and targets → a function that creates a head; may raise OptionError."""


@dataclass(frozen=True)
class Work:
    """The work for every model.

    Attributes:
        split: the utterances.
        answers: the training targets.
        options: how models are tuned.
        setting: all settings that results depend on, besides model, layer and seed.
        part: "main" or "rival".
    """

    split: Split
    answers: Answers
    options: TuningOptions
    setting: dict[str, Any]
    part: str = "main"


@dataclass(frozen=True)
class TrialResults:
    """The trials of one model.

    Attributes:
        rows: results of each layer and seed.
        skipped: utterances that could not be used in the trials of this run.
    """

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]


def tunable_layers(encoder: Encoder, layers: Sequence[int], options: TuningOptions) -> list[int]:
    """Return the layers for which a strategy has trials; empty if it cannot tune the model.

    A probe reads any layer; "layer" needs the block that computes it, and "full" is one trial on the last layer. With
    "full", a model without weights, such as log-mel, has only its head trained, and counts as tuned.
    """
    if options.strategy == "probe":
        return list(layers)
    if options.strategy == "layer":
        return [layer for layer in layers if layer in encoder.blocks()]
    last = len(encoder.layers) - 1
    return [last] if encoder.network() is not None or not encoder.parameters else []


def run_trials(
    encoder: Encoder,
    layers: Sequence[int],
    work: Work,
    store: TrialStore,
    *,
    heads: Heads | None = None,
    on_trial: Callable[[Row], None] = lambda _: None,
) -> TrialResults:
    """Run the trials that are not in the store, and those that failed.

    Args:
        encoder: the loaded model.
        layers: layers from `tunable_layers`.
        work: data and options.
        store: store of the results.
        heads: function for heads that are neither linear nor have one hidden layer.
        on_trial: receives every new result.
    """
    trials = [
        Trial(encoder.spec, layer, seed, work.part, work.setting)
        for layer in layers
        for seed in range(work.options.seeds)
    ]
    rows = {trial.key: store.get(trial) for trial in trials}
    missing = [trial for trial in trials if (row := rows[trial.key]) is None or row.status == "failed"]
    skipped: list[Skipped] = []
    if missing:
        runner = _TrialRunner(encoder, work, heads or plain_heads(work.options))
        skipped = runner.skipped
        for backbone, parts, prepare_s in runner.prepared(sorted({trial.layer for trial in missing})):
            layer_trials = [trial for trial in missing if trial.layer == backbone.layer]
            for trial in layer_trials:
                row = runner.run(trial, backbone, parts, prepare_s / len(layer_trials))
                rows[trial.key] = row
                store.put(row)
                on_trial(row)
    return TrialResults(tuple(row for trial in trials if (row := rows[trial.key]) is not None), tuple(skipped))


def plain_heads(options: TuningOptions) -> Heads:
    """Return the function for linear heads, or for heads with one hidden layer."""

    def make(_: Encoder, dim: int, answers: Answers) -> Callable[[], Head]:
        hidden = options.head == "mlp"
        if answers.sequences:
            return partial(CTCHead, dim, len(answers.names) + 1, hidden_layer=hidden)
        return partial(UtteranceHead, dim, len(answers.names), hidden_layer=hidden)

    return make


class _TrialRunner:
    """A model with the audio at its sampling rate."""

    def __init__(self, encoder: Encoder, work: Work, heads: Heads) -> None:
        self._encoder, self._work = encoder, work
        self._head = cache(lambda dim: heads(encoder, dim, work.answers))  # a transducer is read from its files, once
        self.skipped: list[Skipped] = []
        self._audio: dict[str, list[AudioBatch]] = {}
        for name, items in work.split.parts().items():
            self._audio[name], unusable = read_batches(items, encoder, work.options.batch)
            self.skipped += unusable
            if not self._audio[name]:
                raise OptionError(f"{encoder.spec} can use none of the utterances of the {name} part")

    def backbone(self, layer: int) -> Backbone:
        """Return the backbone for a layer."""
        options, encoder = self._work.options, self._encoder
        if options.strategy == "probe" or not encoder.parameters:
            pooled = not self._work.answers.sequences and options.head == "linear"
            return FrozenLayer(encoder, layer, pooled=pooled)
        if options.strategy == "layer" and layer in encoder.stack():
            return StackedBlocks(encoder, layer, top=options.head_at == "top")
        return WholeModel(encoder, layer, only_block=options.strategy == "layer")

    def prepared(self, layers: Sequence[int]) -> Iterator[tuple[Backbone, dict[str, Batches], Seconds]]:
        """Yield each layer's backbone, its prepared batches, and its share of the preparation time.

        As many layers are prepared at a time as fit into `MAX_FEATURE_BYTES`.
        """
        remaining = [self.backbone(layer) for layer in layers]
        while remaining:
            size = max(1, MAX_FEATURE_BYTES // max(1, self._bytes(remaining[0])))
            group, remaining = remaining[:size], remaining[size:]
            started = time.perf_counter()
            batches = self._prepare(group)
            prepare_s = (time.perf_counter() - started) / len(group)
            for index, backbone in enumerate(group):
                yield backbone, batches[index], prepare_s

    def run(self, trial: Trial, backbone: Backbone, parts: dict[str, Batches], prepare_s: Seconds) -> Row:
        """Run one trial; a failed trial records its reason. Its share of the preparation is part of its time."""
        options, answers = self._work.options, self._work.answers
        learning_rate = options.learning_rate
        if learning_rate is None:
            learning_rate = ADAPTER_LEARNING_RATE if options.lora_rank else LEARNING_RATES[options.strategy]
        fit = Fit(
            options.epochs, options.patience, learning_rate, options.head_learning_rate, trial.seed, answers.metric
        )
        head = self._head(backbone.dim)
        sample = parts["train"][0]["prepared"] if options.lora_rank else None
        started = time.perf_counter()
        try:
            with adapted(backbone, options.lora_rank, trial.seed, send_to_device(sample, self._encoder.device)):
                outcome = train(backbone, head, parts, answers, fit, self._encoder.device.type)
        except (TrialError, RuntimeError, ValueError, MemoryError, ArithmeticError) as error:
            seconds = time.perf_counter() - started + prepare_s
            failure = str(error) if isinstance(error, TrialError) else reason(error)
            logger.warning("%s, layer %d, seed %d: %s", trial.model, trial.layer, trial.seed, failure)
            return Row(trial, "failed", None, {}, {}, seconds, failure)
        metrics, seconds = outcome.metrics, outcome.seconds + prepare_s
        logger.info("%s, layer %d, seed %d: %s", trial.model, trial.layer, trial.seed, metrics)
        return Row(trial, "done", metrics[answers.metric], metrics, _history(outcome), seconds)

    def _prepare(self, backbones: Sequence[Backbone]) -> list[dict[str, Batches]]:
        """Prepare batches for several backbones of one kind, from a single pass over the audio where possible."""
        lazy = isinstance(backbones[0], WholeModel) or self._bytes(backbones[0]) > MAX_FEATURE_BYTES
        if lazy:
            return [
                {name: self._batches(name, audio, backbone.prepare) for name, audio in self._audio.items()}
                for backbone in backbones
            ]
        prepared: list[dict[str, Batches]] = [{} for _ in backbones]
        for name, audio in self._audio.items():
            inputs: list[list[Any]] = [[] for _ in backbones]
            for batch in audio:
                for backbone_inputs, batch_input in zip(inputs, _inputs(self._encoder, backbones, batch), strict=True):
                    backbone_inputs.append(batch_input)
            for parts, backbone_inputs in zip(prepared, inputs, strict=True):
                parts[name] = self._batches(name, backbone_inputs)
        return prepared

    def _batches(self, name: str, inputs: Sequence[Any], prepare: Callable[[AudioBatch], Any] | None = None) -> Batches:
        return Batches([batch.ids for batch in self._audio[name]], inputs, self._work.answers, prepare)

    def _bytes(self, backbone: Backbone) -> int:
        """Estimate the size of the prepared inputs of a backbone, in bytes."""
        if isinstance(backbone, WholeModel):
            return 0
        layer, encoder = self._encoder.layers[backbone.layer], self._encoder
        rows = sum(len(batch.ids) for part in self._audio.values() for batch in part)
        if isinstance(backbone, FrozenLayer) and backbone.pooled:
            return rows * layer.dim * 4
        samples = sum(
            len(batch.ids) * encoder.cost_samples(max(map(len, batch.windows)))
            for part in self._audio.values()
            for batch in part
        )
        frames = samples / encoder.sample_rate * layer.frame_rate
        argument_bytes = self._argument_bytes if isinstance(backbone, StackedBlocks) else 0.0
        return round(frames * (layer.dim * 4 + argument_bytes))

    @cached_property
    def _argument_bytes(self) -> float:
        """Bytes per frame of the arguments of a block besides its hidden states, estimated from the first batch."""
        calls, lengths = record_calls(self._encoder, self._audio["train"][0])
        return max(_nbytes(call["arguments"]) for call in calls.values()) / max(1, sum(lengths))


def _nbytes(value: Any) -> int:
    """Return the size of the tensors in a nested value, in bytes."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return sum(_nbytes(part) for part in parts)


@torch.no_grad()
def _inputs(encoder: Encoder, backbones: Sequence[Backbone], batch: AudioBatch) -> list[Any]:
    """Return the inputs of each backbone for a batch, from one forward pass."""
    if all(isinstance(backbone, StackedBlocks) for backbone in backbones):
        calls, frames = record_calls(encoder, batch)
        return [backbone.of_calls(calls, frames) for backbone in backbones if isinstance(backbone, StackedBlocks)]
    indices = {backbone.layer: index for index, backbone in enumerate(backbones)}
    inputs: list[Any] = [None] * len(backbones)
    for layer, hidden, lengths in every_layer(encoder, batch):
        backbone = backbones[indices[layer]] if layer in indices else None
        if isinstance(backbone, FrozenLayer):
            inputs[indices[layer]] = backbone.of_frames(hidden, lengths)
    return inputs


@contextmanager
def adapted(backbone: Backbone, rank: int, seed: int, prepared: Any) -> Iterator[None]:
    """Add low-rank adapters (Hu et al., arXiv 2106.09685) to the tuned part in this context; none with rank 0.

    Every linear map that is called receives an adapter. A map whose weights the model reads directly, as WavLM's
    attention does, would learn nothing, and receives none.

    Args:
        backbone: the backbone, whose weights are restored afterwards.
        rank: rank of the adapters.
        seed: seed of their weights.
        prepared: input of the backbone, to find out which maps are called.

    Raises:
        TrialError: no linear map is called.
    """
    if not rank:
        yield
        return
    import peft

    (part,) = backbone.tuned()
    names = _called_maps(backbone, part, prepared)
    if not names:
        raise TrialError("there is no linear map in the tuned part that could take low-rank adapters")
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):  # peft warns about models without a name
        torch.manual_seed(seed)
        wrapped: Any = peft.get_peft_model(part, config)
    backbone.replace(wrapped)
    try:
        yield
    finally:
        backbone.replace(wrapped.unload())


@torch.no_grad()
def _called_maps(backbone: Backbone, part: nn.Module, prepared: Any) -> list[str]:
    """Return the names of the linear maps of a part that are called."""
    called: set[str] = set()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.add(name))
        for name, module in part.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        backbone(prepared)
    finally:
        for hook in hooks:
            hook.remove()
    return sorted(called)


def _history(outcome: Outcome) -> dict[str, Any]:
    """Return the history of a training run, to be stored with its result."""
    return {
        "losses": outcome.losses,
        "validation": outcome.validation,
        "validation_losses": outcome.validation_losses,
        "untrained": outcome.untrained,
        "chosen": outcome.chosen,
        "epochs": outcome.epochs,
    }
