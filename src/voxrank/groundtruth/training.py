"""A single training run: a backbone with a head, by the Trainer of transformers, with early stopping."""

from __future__ import annotations

import logging
import math
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset as TorchDataset

from voxrank.config import Seconds
from voxrank.errors import VoxrankError
from voxrank.groundtruth.answers import Answers, measure
from voxrank.groundtruth.audio import AudioBatch
from voxrank.groundtruth.backbones import Backbone
from voxrank.groundtruth.heads import Head
from voxrank.groundtruth.stopping import EarlyStopping

tf: Any = transformers  # much of transformers is not annotated

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
SCALE_BATCHES = 8
"""Number of batches from which the head learns the scale of the frames."""

Batch = dict[str, Any]


class TrialError(VoxrankError):
    """Raised when a trial cannot give a result."""


@dataclass(frozen=True)
class Fit:
    """Settings of a training run.

    Attributes:
        epochs: maximum number of epochs.
        patience: number of epochs without progress (`EarlyStopping`) after which training stops.
        learning_rate: learning rate of the backbone.
        head_learning_rate: learning rate of the head.
        seed: seed of the head's weights, of dropout and of the order of the batches.
        metric: metric for early stopping.
    """

    epochs: int
    patience: int
    learning_rate: float
    head_learning_rate: float
    seed: int
    metric: str


@dataclass(frozen=True)
class Outcome:
    """The results of a training run.

    Attributes:
        metrics: metrics of the test part, at the epoch with the best validation.
        untrained: metrics of the test part before training.
        validation: every metric of the validation part after each epoch, the untrained model's first.
        validation_losses: mean loss on the validation part, in the same order.
        losses: mean training loss of each epoch.
        chosen: the epoch with the best validation; 0 is the untrained model.
        epochs: number of epochs that were run.
        seconds: time of training and validation.
    """

    metrics: dict[str, float]
    untrained: dict[str, float]
    validation: list[dict[str, float]]
    validation_losses: list[float]
    losses: list[float]
    chosen: int
    epochs: int
    seconds: Seconds


class Batches(TorchDataset[Batch]):
    """The inputs of a backbone with their targets, prepared in advance or on each access.

    Args:
        ids: ids of the utterances of each batch.
        inputs: batches of audio, or the inputs that `prepare` made from them.
        answers: the training targets.
        prepare: turns audio into inputs; None if the inputs are prepared.
    """

    def __init__(
        self,
        ids: Sequence[tuple[str, ...]],
        inputs: Sequence[Any],
        answers: Answers,
        prepare: Callable[[AudioBatch], Any] | None = None,
    ) -> None:
        self._ids, self._inputs, self._answers, self._prepare = ids, inputs, answers, prepare

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self):
            raise IndexError(index)
        inputs = self._inputs[index]
        if self._prepare is not None:
            with torch.no_grad():
                inputs = self._prepare(inputs)
        rows = [torch.from_numpy(self._answers.by_utterance[utterance]) for utterance in self._ids[index]]
        counts = torch.tensor([len(row) for row in rows])
        return {"prepared": inputs, "targets": pad_sequence(rows, batch_first=True), "counts": counts}

    @property
    def targets(self) -> list[list[int]]:
        """The targets of all utterances, in order."""
        return [self._answers.by_utterance[utterance].tolist() for batch_ids in self._ids for utterance in batch_ids]

    @property
    def utterances(self) -> int:
        """Number of utterances."""
        return sum(map(len, self._ids))


class Tuned(nn.Module):
    """A backbone with a head."""

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, prepared: Any, targets: torch.Tensor, counts: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean loss of a batch."""
        hidden, lengths = self.backbone(prepared)
        return {"loss": self.head.loss(hidden, lengths, targets, counts)}

    def predict(self, prepared: Any) -> list[list[int]]:
        """Predict the classes or units of a batch."""
        hidden, lengths = self.backbone(prepared)
        return self.head.predict(hidden, lengths)

    def predict_with_loss(
        self, prepared: Any, targets: torch.Tensor, counts: torch.Tensor
    ) -> tuple[list[list[int]], float]:
        """Return the classes or units of a batch, and its mean loss, from one pass."""
        hidden, lengths = self.backbone(prepared)
        return self.head.predict(hidden, lengths), float(self.head.loss(hidden, lengths, targets, counts))


def train(
    backbone: Backbone, head: Callable[[], Head], parts: dict[str, Batches], answers: Answers, fit: Fit, device: str
) -> Outcome:
    """Train and test a head on a backbone. The backbone's weights are restored afterwards.

    Args:
        backbone: part of the model below the head.
        head: creates the head, at random.
        parts: "train", "validation" and "test".
        answers: the training targets.
        fit: settings of the training run.
        device: device, as torch names it.

    Returns:
        The results on the test part, with the history of the run.

    Raises:
        TrialError: the loss is not finite, or most utterances have fewer frames than units.
    """
    started = time.perf_counter()
    with torch.random.fork_rng(), _preserved_random_state(), _preserved_weights(backbone):
        torch.manual_seed(fit.seed)
        model = Tuned(backbone, head()).to(device)
        trainer = _Trainer(model, parts["train"], parts["validation"], answers, fit, device)
        trainer.fit_scale(parts["train"])
        test_started = time.perf_counter()
        untrained = trainer.metrics(parts["test"])
        started += time.perf_counter() - test_started
        trainer.evaluate()
        trainer.train()
        seconds = time.perf_counter() - started
        trainer.restore_best()
        metrics = trainer.metrics(parts["test"])
    return Outcome(
        metrics,
        untrained,
        trainer.validation,
        trainer.validation_losses,
        trainer.losses,
        trainer.stopping.chosen,
        len(trainer.losses),
        seconds,
    )


@contextmanager
def _preserved_random_state() -> Iterator[None]:
    """Restore the global generators of Python and NumPy, which the Trainer seeds."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextmanager
def _preserved_weights(backbone: Backbone) -> Iterator[None]:
    """Let the tuned parts take gradients in this context, and restore their weights and flags afterwards."""
    parts = backbone.tuned()
    states = [{name: value.detach().clone() for name, value in part.state_dict().items()} for part in parts]
    trainable = [[p.requires_grad for p in part.parameters()] for part in parts]
    for part, flags in zip(parts, trainable, strict=True):
        if not any(flags):  # with adapters, some flags are set already
            part.requires_grad_(True)  # noqa: FBT003
    try:
        yield
    finally:
        for part, state, flags in zip(parts, states, trainable, strict=True):
            part.load_state_dict(state)
            for parameter, flag in zip(part.parameters(), flags, strict=True):
                parameter.requires_grad_(flag)
                parameter.grad = None
        backbone.train(mode=False)


class _Trainer(tf.Trainer):  # type: ignore[misc]
    """A Trainer with two learning rates, whole batches as samples, and the best weights kept in memory."""

    def __init__(
        self, model: Tuned, train_part: Batches, validation: Batches, answers: Answers, fit: Fit, device: str
    ) -> None:
        self._fit, self._answers = fit, answers
        self.validation: list[dict[str, float]] = []
        self.validation_losses: list[float] = []
        self.losses: list[float] = []
        self.stopping = EarlyStopping(fit.patience, perfect=1.0 if answers.higher_is_better else 0.0)
        self._best: dict[str, torch.Tensor] = {}
        with tempfile.TemporaryDirectory() as folder, _quiet():
            super().__init__(
                model=model,
                args=_arguments(folder, fit, len(train_part), device),
                train_dataset=train_part,
                eval_dataset=validation,
                data_collator=_single_batch,
                callbacks=[_ValidateAndStop(self)],
            )
            self.remove_callback(tf.PrinterCallback)
        self.accelerator.free_memory = _nothing_to_free

    def fit_scale(self, part: Batches) -> None:
        """Let the head learn the scale of the frames."""
        model: Tuned = self.model.eval()
        frames, too_short, seen = [], 0, 0
        with torch.no_grad():
            for index in range(min(len(part), SCALE_BATCHES)):
                batch = self._prepare_inputs(part[index])
                hidden, lengths = model.backbone(batch["prepared"])
                frames.append(torch.cat([row[:length] for row, length in zip(hidden, lengths, strict=True)]))
                too_short += int((lengths < batch["counts"]).sum()) if self._answers.sequences else 0
                seen += len(lengths)
        if too_short > seen / 2:
            raise TrialError(
                f"{too_short} of {seen} utterances have fewer frames than units: the frame rate is too low"
            )
        model.head.fit_scale(torch.cat(frames))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create AdamW with a separate learning rate for the head, and weight decay except for vectors."""
        del model
        optimizer: torch.optim.Optimizer | None = getattr(self, "optimizer", None)
        if optimizer is None:
            tuned_model: Tuned = self.model
            groups = []
            for part, rate in (
                (tuned_model.backbone, self._fit.learning_rate),
                (tuned_model.head, self._fit.head_learning_rate),
            ):
                trainable = [p for p in part.parameters() if p.requires_grad]
                for decay, parameters in (
                    (WEIGHT_DECAY, [p for p in trainable if p.ndim > 1]),
                    (0.0, [p for p in trainable if p.ndim < 2]),
                ):
                    if parameters:
                        groups.append({"params": parameters, "lr": rate, "weight_decay": decay})
            self.optimizer = optimizer = torch.optim.AdamW(groups)
        return optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation part, before training and after each epoch; keep the weights of the best epoch."""
        metrics, loss = self._metrics_and_loss(self.eval_dataset)
        self.validation.append(metrics)
        self.validation_losses.append(loss)
        goodness = metrics[self._fit.metric] * (1 if self._answers.higher_is_better else -1)
        if self.stopping.update(goodness, loss, self.losses[-1] if self.losses else math.inf):
            self._best = {
                name: value.detach().clone() for name, value in self.model.named_parameters() if value.requires_grad
            }
        return metrics

    @torch.no_grad()
    def _metrics_and_loss(self, part: Batches) -> tuple[dict[str, float], float]:
        """Return every metric of a part, and its mean loss."""
        model: Tuned = self.model.eval()
        predicted, loss_sum = [], 0.0
        for index in range(len(part)):
            rows, loss = model.predict_with_loss(**self._prepare_inputs(part[index]))
            predicted += rows
            loss_sum += loss * len(rows)
        return measure(predicted, part.targets, self._answers), loss_sum / max(1, len(predicted))

    @torch.no_grad()
    def metrics(self, part: Batches) -> dict[str, float]:
        """Return every metric of a part."""
        model: Tuned = self.model.eval()
        predicted = [
            row for index in range(len(part)) for row in model.predict(self._prepare_inputs(part[index])["prepared"])
        ]
        return measure(predicted, part.targets, self._answers)

    @torch.no_grad()
    def restore_best(self) -> None:
        """Restore the weights of the epoch with the best validation."""
        parameters = dict(self.model.named_parameters())
        for name, value in self._best.items():
            parameters[name].copy_(value)

    def record_loss(self, loss: float) -> None:
        """Record the mean training loss of an epoch.

        Raises:
            TrialError: the loss is not finite.
        """
        self.losses.append(loss)
        if not math.isfinite(loss):
            raise TrialError(f"the loss became {loss} in epoch {len(self.losses)}; take a lower learning rate")


class _ValidateAndStop(tf.TrainerCallback):  # type: ignore[misc]
    """Validates after each epoch, and stops a run without progress."""

    def __init__(self, trainer: _Trainer) -> None:
        self._trainer = trainer

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Record the training loss of an epoch, validate, and stop if there was no progress for `patience` epochs."""
        del args, state
        if logs and "loss" in logs:
            self._trainer.record_loss(float(logs["loss"]))
            self._trainer.evaluate()
            control.should_training_stop |= self._trainer.stopping.stops


def _arguments(folder: str, fit: Fit, steps: int, device: str) -> Any:
    """Return arguments of the Trainer with which it writes nothing, reports nothing and uses one device."""
    arguments = tf.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=1,
        num_train_epochs=fit.epochs,
        lr_scheduler_type="linear",
        warmup_steps=max(1, round(WARM_UP * steps * fit.epochs)),
        max_grad_norm=GRADIENT_NORM,
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=fit.seed,
        use_cpu=device == "cpu",
    )
    if arguments.n_gpu > 1:  # a batch is made for one device
        arguments._n_gpu = 1  # noqa: SLF001
    return arguments


def _nothing_to_free(*objects: Any) -> list[Any]:
    """Replace accelerate's function, whose garbage collection twice a trial takes longer than a small trial."""
    return list(objects)


def _single_batch(batches: Sequence[Batch]) -> Batch:
    """Return the only element: a sample of the loader is a whole batch."""
    (batch,) = batches
    return batch


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of transformers about its own settings."""
    level = tf.utils.logging.get_verbosity()
    tf.utils.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        tf.utils.logging.set_verbosity(level)


__all__ = ["Batches", "Fit", "Outcome", "TrialError", "Tuned", "train"]
