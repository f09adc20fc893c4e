"""Frozen options, one dataclass per stage of the pipeline, and the requests that they make up.

A field states everything about its option: type, default, range, and its `Flag` on the command line. `voxrank.cli`
makes the options of its commands from these fields.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, Literal, TypedDict, TypeVar, get_args, get_origin, get_type_hints

from voxrank.errors import OptionError

Seconds = float
Hertz = float

WhisperWindow = Literal["auto", "full", "fit"]
DTypeName = Literal["float32", "float16", "bfloat16"]
Sample = Literal["utterance", "segment", "effective", "frame"]

DetailLevel = Literal["none", "quick", "full"]
EngineName = Literal["local", "ray"]

Strategy = Literal["probe", "layer", "full"]
Head = Literal["linear", "mlp", "transducer"]
HeadPlace = Literal["layer", "top"]

MAX_THREADS = 256
Function = TypeVar("Function", bound=Callable[..., Any])

MODELS, DATA, TIMES = "Models and scores", "Data", "Transcripts and segments"
TRAINING, SAMPLES, PASSES = "Training", "What a sample is", "Forward passes"
CERTAINTY, CACHE, WORKERS, OUTPUT = "Certainty and time", "Cache", "Workers", "Output"
PANELS = (MODELS, DATA, TIMES, TRAINING, SAMPLES, PASSES, CERTAINTY, CACHE, WORKERS, OUTPUT)
"""Panels of the options in `--help`, in order."""


@dataclass(frozen=True)
class Flag:
    """The option of the command line that sets a field.

    Attributes:
        name: spelling, such as "--window"; a short spelling follows after a space.
        help: short help text.
        panel: panel of `--help`.
        metavar: placeholder of the value in `--help`; None for the type.
        shown: the default in words; None for the value.
        complete: kind of name that the shell completes.
        unit: unit of the option in units of the field, such as 60 for minutes where the field has seconds.
    """

    name: str
    help: str
    panel: str
    metavar: str | None = None
    shown: str | None = None
    complete: str | None = None
    unit: float = 1.0

    @property
    def word(self) -> str:
        """The spelling without its dashes, for messages."""
        return self.name.split()[0].removeprefix("--")


@dataclass(frozen=True)
class Bounds:
    """The range of a number: from `least` to `most`; `whole` for integers."""

    least: float
    most: float = math.inf
    whole: bool = False


def option(default: Any, flag: Flag | None = None, bounds: Bounds | None = None) -> Any:
    """Return a field with its default, its option of the command line, and its range."""
    return field(default=default, metadata={"flag": flag, "bounds": bounds})


def part(kind: Any, *flags: str, optional: bool = False, **changes: str) -> Any:
    """Return a field that holds other options.

    Args:
        kind: class of these options.
        flags: names of the fields that the command line offers; by default every field that has a flag.
        optional: whether the field is None if none of its options is given.
        changes: further names of fields, with their help texts for this request.
    """
    made = {"default": None} if optional else {"default_factory": kind}
    offered = (*flags, *changes) or tuple(inner.name for inner in fields(kind) if inner.metadata.get("flag"))
    return field(**made, metadata={"part": kind, "flags": offered, "changes": changes})


def spelled_out(request: type, keywords: Any) -> Callable[[Function], Function]:
    """Show every keyword of a function in its signature, with its default, instead of ``**options``.

    Args:
        request: class with the defaults.
        keywords: `TypedDict` of the keywords.
    """

    def decorated(function: Function) -> Function:
        own = inspect.signature(function)
        parts = [setting.metadata["part"] for setting in fields(request) if "part" in setting.metadata]
        all_fields = (setting for kind in (*parts, request) for setting in fields(kind))
        defaults = {setting.name: setting.default for setting in all_fields if setting.default is not MISSING}
        shown = [setting for setting in own.parameters.values() if setting.kind is not inspect.Parameter.VAR_KEYWORD]
        for name, hint in keywords.__annotations__.items():
            text = getattr(hint, "__forward_arg__", hint)
            kind = inspect.Parameter.KEYWORD_ONLY
            shown.append(inspect.Parameter(name, kind, default=defaults.get(name), annotation=text))
        vars(function)["__signature__"] = own.replace(parameters=shown)
        return function

    return decorated


def check_fields(options: Any) -> None:
    """Check the value of every field: those of a Literal against its values, those with bounds against these.

    Raises:
        OptionError: a value is invalid.
    """
    kind: Any = type(options)
    types = types_of(kind)
    for setting in fields(options):
        value, flag, bounds = (
            getattr(options, setting.name),
            setting.metadata.get("flag"),
            setting.metadata.get("bounds"),
        )
        if value is None and setting.default is None:
            continue
        name = flag.word if flag else setting.name
        for known in (types[setting.name], *get_args(types[setting.name])):
            if get_origin(known) is Literal:
                check_choice(name, value, known)
        if bounds is not None:
            check_number(name, value, bounds.least, bounds.most, whole=bounds.whole)


@cache
def types_of(kind: Any) -> dict[str, Any]:
    """Return the types of the fields of a class by name."""
    return get_type_hints(kind)


def check_choice(name: str, value: Any, known: Any) -> None:
    """Check that a value is one of the values of a Literal.

    Raises:
        OptionError: the value is another one.
    """
    if value not in get_args(known):
        raise OptionError(f"expected {name} to be one of {', '.join(get_args(known))}, got {value!r}")


def check_number(name: str, value: Any, least: float, most: float = math.inf, *, whole: bool = False) -> None:
    """Check that a value is a finite number from `least` to `most`.

    Raises:
        OptionError: the value is not a number, is not finite, or lies outside the range.
    """
    kind = int if whole else int | float
    if isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most:
        return
    what = "a whole number" if whole else "a finite number"
    bounds = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
    raise OptionError(f"expected {name} to be {what} {bounds}, got {value!r}")


@dataclass(frozen=True)
class EncoderOptions:
    """Options for loading and running a model.

    Attributes:
        device: torch device such as "cpu", "cuda:1" or "mps"; "auto" takes the best device that torch reports.
        dtype: precision of the forward pass. Features are always float32.
        whisper_window: what follows an utterance in Whisper's window. "auto" is silence up to 30 s, as in Whisper's
            training, of which only some positions are computed; "full" is the same with every position; "fit" is
            nothing, which differs from the training. Other models take their fixed window with "auto" and "full".
        window_s: maximum length of a window, in seconds. Longer audio is cut into consecutive windows, and their frames
            are joined (the cost of self-attention grows with the square of the window).
        batch_s: padded audio in one forward pass, in seconds. It is halved when memory runs out.
        trust_remote_code: names of the hub models that may run the code of their repository; empty: none.

    Raises:
        OptionError: an option has an invalid value.
    """

    device: str = option(
        "auto",
        Flag("--device", "Device of the models: auto, cpu, cuda, cuda:1, mps …", PASSES, "NAME", complete="device"),
    )
    dtype: DTypeName = option(
        "float32", Flag("--dtype", "Precision of the forward pass: float32, float16 or bfloat16.", PASSES, "KIND")
    )
    whisper_window: WhisperWindow = option(
        "auto",
        Flag(
            "--whisper-window",
            "Window of Whisper: auto (30 s, little of the silence computed), full (all of it) or fit (no silence).",
            PASSES,
        ),
    )
    window_s: Seconds = option(
        60.0,
        Flag("--window", "Maximum length of a window; longer audio is cut into several.", PASSES, "SECONDS"),
        Bounds(0.1),
    )
    batch_s: Seconds = option(
        60.0, Flag("--batch", "Length of audio in one forward pass.", PASSES, "SECONDS"), Bounds(0.1)
    )
    trust_remote_code: tuple[str, ...] = option(
        (),
        Flag(
            "--trust-remote-code",
            "Let this hub model run its own code (repeatable).",
            PASSES,
            "MODEL",
            complete="hub_model",
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class SequenceOptions:
    """Options for turning transcripts and timed segments into frame labels.

    Attributes:
        unit: unit of transcripts: "char" (the default), "phone" (eSpeak NG), "word", or "tokens:SPEC", the pieces of a
            tokenizer.
        language: language of transcripts, for phones: an eSpeak NG voice such as "en-us", a locale such as "de-DE" or
            an English name. A column `language` takes precedence where it names a known language.
        aligner: method that locates units in time. "flat[:SPEC[@LAYER]]" needs no trained aligner; it takes the
            best-suited features of a candidate, of a model, or of one of its layers. "ctc:SPEC" is a CTC checkpoint
            of transformers. "head[:SPEC[@LAYER]]" fits a CTC head. "uniform" gives all units the same length.
        silence: maximum share of scored frames that may be silence, which is a separate class; 0: none, 1: no limit.
            None: 0.1 for transcripts, 0 for segments, which need not cover all speech.
        tier: tier of TextGrid files.
        allow_leak: accept labels from a model that was trained on a candidate, or on its features.
        against: alternative alignments that layers are ranked by too, to show how much depends on the alignment:
            aligners, and "jitter", the labels with every boundary moved by a frame at random.

    Raises:
        OptionError: an option has an invalid value.
    """

    unit: str | None = option(
        None,
        Flag(
            "--unit",
            "Unit of transcripts: char, phone, word or tokens:SPEC (a tokenizer).",
            TIMES,
            "UNIT",
            shown="char",
            complete="unit",
        ),
    )
    language: str | None = option(
        None, Flag("--language", "Language of transcripts, for phones: en-us, de, fr …", TIMES, "CODE", shown="")
    )
    aligner: str = option(
        "flat",
        Flag(
            "--aligner",
            "Aligner: flat, flat:SPEC or flat:SPEC@LAYER (no trained aligner), ctc:SPEC, head:SPEC@LAYER or uniform.",
            TIMES,
            "SPEC",
            complete="aligner",
        ),
    )
    silence: float | None = option(
        None,
        Flag(
            "--silence",
            "Maximum share of scored frames that may be silence, a separate class.",
            TIMES,
            "SHARE",
            shown="0.1 for transcripts, 0 for segments",
        ),
        Bounds(0, 1),
    )
    tier: str | None = option(
        None, Flag("--tier", "Tier of TextGrid or JSON files.", TIMES, "NAME", shown="phones, or the only one")
    )
    allow_leak: bool = option(
        default=False,
        flag=Flag("--allow-leak", "Accept labels from a model that was trained on a candidate.", TIMES),
    )
    against: tuple[str, ...] = option(
        (),
        Flag(
            "--against",
            "Compare with the ranking by other labels: uniform, jitter, flat:SPEC, ctc:SPEC (repeat).",
            TIMES,
            "LABELS",
            complete="labels",
        ),
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def searches(self) -> bool:
        """True if an aligner searches for the best path through the frames of each transcript."""
        return any(name not in ("uniform", "jitter") for name in (self.aligner, *self.against))


@dataclass(frozen=True)
class ExtractionOptions:
    """Options for turning audio into sketches.

    Attributes:
        sample: definition of one sample: "utterance", the mean of its frames; "segment", the mean of a part of them;
            "frame", every frame (temporal independence); "effective", every frame, weighted by how much new
            information it adds. None: "utterance", or "frame" where frames have labels.
        segment_s: maximum length of a segment, in seconds. An utterance, or a stretch with one label, is cut into the
            fewest segments of equal length.
        threads: number of decoding threads that run ahead of the encoder.
        blocks: maximum number of resampling blocks; below 2, there are no intervals.
        shard_s: approximate amount of audio in one shard, in seconds.
        kept_samples: number of samples kept per layer, for the scores that need single samples (such as kNN); 0: none.
        projections: number of random directions to project samples on, for the sliced Wasserstein distance; 0: none.
        allow_skips: accept data where more than half of the utterances are skipped.

    Raises:
        OptionError: an option has an invalid value.
    """

    sample: Sample | None = option(
        None,
        Flag(
            "--sample",
            "What one sample is: utterance (the mean), segment, effective or frame.",
            SAMPLES,
            "KIND",
            shown="utterance; frame for transcripts and segments",
        ),
    )
    segment_s: Seconds = option(
        0.2, Flag("--segment", "Maximum length of a segment, for --sample segment.", SAMPLES, "SECONDS"), Bounds(0.01)
    )
    threads: int = option(
        2, Flag("--threads", "Number of decoding threads.", PASSES, "N"), Bounds(1, MAX_THREADS, whole=True)
    )
    blocks: int = option(
        10, Flag("--blocks", "Number of resampling blocks; 1: no intervals.", CERTAINTY, "N"), Bounds(1, whole=True)
    )
    shard_s: Seconds = option(60.0, bounds=Bounds(0.1))
    kept_samples: int = option(2048, bounds=Bounds(0, whole=True))
    projections: int = option(0, bounds=Bounds(0, whole=True))
    allow_skips: bool = option(
        default=False,
        flag=Flag("--allow-skips", "Use the remaining utterances even if more than half are skipped.", DATA),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class DetailOptions:
    """Options for further results about layers, computed from the same sketches.

    Attributes:
        details: "none"; "quick": classes, plots of principal components, a learning curve, and `besides`; "full": also
            plots of t-SNE, which need scikit-learn and take some seconds.
        besides: other columns of the data to probe every layer for.

    Raises:
        OptionError: an option has an invalid value, or the two contradict each other.
    """

    details: DetailLevel = "quick"
    besides: tuple[str, ...] = option(
        (),
        Flag("--besides", "Another column, such as speaker, to probe every layer for (repeat).", DATA, "COLUMN"),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.besides and self.details == "none":
            raise OptionError("--besides needs details; leave --details none out")
        if len(set(self.besides)) < len(self.besides):
            raise OptionError(f"expected each column of --besides once, got {', '.join(self.besides)}; name each once")


@dataclass(frozen=True)
class CacheOptions:
    """Options for the cache of sketches, which avoids encoding audio twice.

    Attributes:
        folder: folder of the cache, created where it is missing. None: the folder that `VOXRANK_CACHE` names, else
            voxrank in the user's cache folder.
        size_gb: maximum size of the cache, in GB (10⁹ bytes). Least recently used entries are evicted first.

    Raises:
        OptionError: an option has an invalid value.
    """

    folder: str | None = option(
        None,
        Flag(
            "--cache",
            "Folder of the cache of sketches, so that nothing is encoded twice.",
            CACHE,
            "DIR",
            shown="VOXRANK_CACHE, or voxrank in your cache folder",
        ),
    )
    size_gb: float = option(
        20.0,
        Flag(
            "--cache-size",
            "Maximum size of the cache; least recently used entries are deleted first.",
            CACHE,
            "GB",
            shown="20",
        ),
        Bounds(0),
    )

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class EngineOptions:
    """Options for the engine that runs the models.

    Attributes:
        name: "local" runs models in this process, "ray" in workers of a Ray cluster.
        workers: number of Ray workers. None: as many as the cluster has room for.
        address: address of a running Ray cluster; "auto" for the cluster on this machine. None: start a cluster on this
            machine for this run.
        cpus_per_worker: number of cores per worker, for torch and BLAS.
        gpus_per_worker: number of GPUs per worker; 0.5 puts two workers on a GPU. None: 1 where there are GPUs, unless
            `device` is cpu.

    Raises:
        OptionError: an option has an invalid value, or the engine does not use it.
    """

    name: EngineName = option(
        "local",
        Flag("--engine", "Where models run: local (this process), or ray (workers of a Ray cluster).", WORKERS),
    )
    workers: int | None = option(
        None,
        Flag("--workers", "Number of workers of --engine ray.", WORKERS, "N", shown="as many as there is room"),
        Bounds(1, whole=True),
    )
    address: str | None = option(
        None,
        Flag(
            "--ray-address",
            "Address of a running Ray cluster; auto for the one on this machine.",
            WORKERS,
            "ADDRESS",
            shown="a new cluster on this machine, for this run",
        ),
    )
    cpus_per_worker: int = option(
        1,
        Flag("--cpus-per-worker", "Number of cores per worker of --engine ray.", WORKERS, "N"),
        Bounds(1, whole=True),
    )
    gpus_per_worker: float | None = option(
        None,
        Flag(
            "--gpus-per-worker",
            "Number of GPUs per worker of --engine ray, such as 0.5 for two on a GPU.",
            WORKERS,
            "SHARE",
            shown="1 where there are GPUs",
        ),
        Bounds(0, 1),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        given = (self.workers, self.address, self.cpus_per_worker, self.gpus_per_worker)
        if self.name == "local" and given != (None, None, 1, None):
            raise OptionError("workers, their cores and GPUs, and an address are for --engine ray; add it")


@dataclass(frozen=True)
class StoppingOptions:
    """Options for stopping before all models have encoded all data.

    Attributes:
        confidence: minimum probability of keeping the model that would rank first on all data.
        budget_s: wall time for forward passes and scores, in seconds. No round begins after it.

    Raises:
        OptionError: an option has an invalid value.
    """

    confidence: float = option(
        0.95,
        Flag(
            "--confidence",
            "Stop early: drop models that cannot be best any more, and keep the best with this confidence.",
            CERTAINTY,
            "P",
            shown="all models see all data; 0.95 with --budget",
        ),
        Bounds(0.5, 0.9999),
    )
    budget_s: Seconds | None = option(
        None,
        Flag("--budget", "Stop early: begin no round of data after this time.", CERTAINTY, "MINUTES", unit=60),
        Bounds(0),
    )

    def __post_init__(self) -> None:
        check_fields(self)


HEAD_AT = Flag(
    "--head-at", "Place of the head, for --strategy layer: the tuned layer, or the top of the model.", MODELS
)


@dataclass(frozen=True)
class UseOptions:
    """The fine-tuning strategy that layers are ranked for.

    Attributes:
        strategy: "probe" uses frozen features; "layer" tunes the block that computes the layer and freezes the rest;
            "full" tunes the whole model, which is ranked by its best layer.
        head_at: place of the head, for "layer": it reads the "layer" itself, or the "top" of the model, through the
            frozen blocks above the tuned block.

    Raises:
        OptionError: an option has an invalid value, or the two contradict each other.
    """

    strategy: Strategy = option(
        "probe",
        Flag(
            "--strategy",
            "Strategy to rank for: probe (frozen layers), layer (one block will be tuned) or full (the whole model "
            "will be tuned).",
            MODELS,
        ),
    )
    head_at: HeadPlace = option("layer", HEAD_AT)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.strategy != "layer" and self.head_at == "top":
            raise OptionError("--head-at top is for --strategy layer; a full model has its head there already")

    def head(self, block: int, last: int) -> int:
        """Return the index of the layer that the head reads when `block` is tuned and `last` is the last layer."""
        return last if self.head_at == "top" else block


@dataclass(frozen=True)
class TuningOptions:
    """Options for fine-tuning models, which shows how well the scores predict.

    Attributes:
        strategy: "probe" trains a head on frozen features of a layer; "layer" also trains the block that computes the
            layer and freezes the rest; "full" trains the whole model, with the head on its last layer.
        head: "linear", "mlp" (one hidden layer), or "transducer", the head of the model.
        head_at: place of the head, for "layer": it reads the "layer" itself, or the "top" of the model, through the
            frozen blocks above the tuned block.
        lora_rank: rank of low-rank adapters, which replace the training of the tuned part's linear maps; 0: no
            adapters.
        seeds: number of trials per candidate, each with a different seed.
        epochs: maximum number of passes over the training data.
        patience: number of epochs without progress before early stopping: no better validation metric, no lower
            validation loss and, until the untrained head is beaten, no lower training loss.
        batch: number of utterances in one step.
        learning_rate: peak learning rate of the tuned part. It rises over a tenth of the steps, then falls to 0. None:
            5e-4 for a block, 1e-4 for a whole model, 1e-3 for adapters.
        head_learning_rate: learning rate of the head.
        examples: maximum number of training utterances, per class, or in total for transcripts. None: no limit.
        validation: share of the training utterances for early stopping, where the data have no validation split.
        test: share of all utterances for the test metric, where the data have no test split.
        metric: "accuracy" for classes; "cer", "wer", "per" or "ter" for transcripts. None: the metric for the unit.
        split_seed: seed of the random splits.

    Raises:
        OptionError: an option has an invalid value, or options contradict each other.
    """

    strategy: Strategy = option(
        "probe",
        Flag(
            "--strategy",
            "Strategy: probe (a head on a frozen layer), layer (one block and a head) or full (the whole model).",
            MODELS,
        ),
    )
    head: Head = option(
        "linear", Flag("--head", "Head to train: linear, mlp, or transducer (the model's own).", TRAINING)
    )
    head_at: HeadPlace = option("layer", HEAD_AT)
    lora_rank: int = option(
        0,
        Flag("--lora", "Rank of low-rank adapters to train in the tuned part instead; 0: none.", TRAINING, "RANK"),
        Bounds(0, whole=True),
    )
    seeds: int = option(
        3,
        Flag("--seeds", "Number of trials per candidate, each with its own seed.", TRAINING, "N"),
        Bounds(1, whole=True),
    )
    epochs: int = option(
        30, Flag("--epochs", "Maximum number of passes over the training data.", TRAINING, "N"), Bounds(1, whole=True)
    )
    patience: int = option(
        5,
        Flag("--patience", "Number of epochs without progress after which training stops.", TRAINING, "N"),
        Bounds(1, whole=True),
    )
    batch: int = option(
        16, Flag("--batch-size", "Number of utterances in a training step.", TRAINING, "N"), Bounds(1, whole=True)
    )
    learning_rate: float | None = option(
        None,
        Flag(
            "--learning-rate",
            "Learning rate of the tuned part.",
            TRAINING,
            "RATE",
            shown="5e-4 for a block, 1e-4 for a model, 1e-3 for adapters",
        ),
        Bounds(0),
    )
    head_learning_rate: float = option(
        3e-3, Flag("--head-learning-rate", "Learning rate of the head.", TRAINING, "RATE"), Bounds(0)
    )
    examples: int | None = option(
        None,
        Flag(
            "--examples",
            "Maximum number of training utterances per class, or in total for transcripts.",
            TRAINING,
            "N",
            shown="no limit",
        ),
        Bounds(1, whole=True),
    )
    validation: float = option(0.15, bounds=Bounds(0.02, 0.9))
    test: float = option(0.25, bounds=Bounds(0.02, 0.9))
    metric: str | None = option(
        None,
        Flag(
            "--metric",
            "Metric of the trials: accuracy for classes; cer, wer, per or ter for transcripts.",
            TRAINING,
            "NAME",
            shown="the metric for the unit",
        ),
    )
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        UseOptions(self.strategy, self.head_at)
        if self.strategy == "probe" and self.lora_rank:
            raise OptionError("a probe tunes nothing but its head; take --strategy layer or full with --lora")

    @property
    def use(self) -> UseOptions:
        """The strategy and the place of the head."""
        return UseOptions(self.strategy, self.head_at)


MODEL = Flag(
    "--model -m",
    "Model, at least one (repeat): hub id, local directory, scheme:rest, or a group such as @base.",
    MODELS,
    "SPEC",
    shown="",
    complete="model",
)
TARGET = Flag("--target", "Column to predict.", DATA, "COLUMN", shown="the first known column", complete="column")
SPLIT = Flag("--split", "Rows to use; 'all' for every row.", DATA, "NAME", shown="train if there is one")
SOURCE = Flag("--source", "Speech as in pre-training, for the scores swd, frechet and tsne.", DATA, "DATA")
SEGMENTS = Flag(
    "--segments", "Timed segments: a folder of TextGrids, or a CTM, RTTM or JSON file.", TIMES, "PATH", shown=""
)


class _ColumnChoice:
    """The choice of the column to predict, for requests that name a column, segments or a unit of transcripts."""

    target: str | None
    segments: Any = None
    sequence: SequenceOptions

    @property
    def column(self) -> str | None:
        """Column to predict: the transcripts, if only their unit is named; None for the first that the data have."""
        no_column = self.target is None and self.segments is None
        return "text" if no_column and self.sequence.unit is not None else self.target


@dataclass(frozen=True, kw_only=True)
class InspectRequest(_ColumnChoice):
    """A request to `voxrank inspect`; see `RankRequest` for its attributes."""

    target: str | None = option(None, TARGET)
    split: str | None = option(None, SPLIT)
    segments: Any = option(None, SEGMENTS)
    sequence: SequenceOptions = part(SequenceOptions, "unit", "language", "tier")


@dataclass(frozen=True, kw_only=True)
class RankRequest(_ColumnChoice):
    """A request to rank models, as the user gave it.

    Attributes:
        models: specs of the models.
        scores: names of the scores; None for the default of the task.
        layers: indices, "all", and joint layers.
        target: column to predict; None for the first that the data have.
        split: rows to use; None for the training data.
        source: speech as in pre-training; None for none.
        segments: path of the file, or folder, of timed segments; None where the data have their own.
        encoder: device, precision, windows.
        extraction: the sample, blocks, threads.
        sequence: units and aligner of transcripts.
        use: whether layers are used as they are, or one block is tuned.
        stopping: early stopping; None to show all data to every model.
        details: the diagnostics.
        cache: the cache of sketches; None for no cache.
        engine: where models run.
        seed: seed of the resamples and of the rounds of early stopping.

    Raises:
        OptionError: an option has an invalid value.
    """

    models: Sequence[str] = option((), MODEL)
    scores: Sequence[str] | None = option(
        None,
        Flag(
            "--score",
            "",
            MODELS,
            "NAME",
            shown="accuracy for classes, r2 for values, map for several labels; "
            "tuned for --strategy layer; logme with --confidence",
            complete="score",
        ),
    )
    use: UseOptions = part(UseOptions)
    layers: str = option(
        "all",
        Flag(
            "--layers",
            "Layers: all, or indices such as 0,3,6 or -1; with mean or concat, also their joint layer.",
            MODELS,
            "LIST",
            complete="layers",
        ),
    )
    target: str | None = option(None, TARGET)
    split: str | None = option(None, SPLIT)
    source: Any = option(None, SOURCE)
    sequence: SequenceOptions = part(SequenceOptions)
    segments: Any = option(None, SEGMENTS)
    encoder: EncoderOptions = part(EncoderOptions)
    extraction: ExtractionOptions = part(ExtractionOptions)
    seed: int = option(0, Flag("--seed", "Seed of the resamples.", CERTAINTY, "N"), Bounds(0, whole=True))
    stopping: StoppingOptions | None = part(StoppingOptions, optional=True)
    details: DetailOptions = part(DetailOptions)
    cache: CacheOptions | None = part(CacheOptions, optional=True)
    engine: EngineOptions = part(EngineOptions)

    def __post_init__(self) -> None:
        check_fields(self)


class _ScoringKeywords(TypedDict, total=False):
    target: str | None
    source: Any
    scores: Sequence[str] | None
    layers: str
    encoder: EncoderOptions | None
    extraction: ExtractionOptions | None
    sequence: SequenceOptions | None
    seed: int


class RankKeywords(_ScoringKeywords, total=False):
    """The keywords of `rank`; see `RankRequest`."""

    split: str | None
    segments: str | os.PathLike[str] | None
    use: UseOptions | None
    cache: CacheOptions | None
    engine: EngineOptions | None
    stopping: StoppingOptions | None
    details: DetailLevel
    besides: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ValidateRequest(_ColumnChoice):
    """A request to fine-tune models and to compare scores with the results; see `RankRequest` and `TuningOptions`.

    Attributes:
        models: specs of the models.
        tuning: strategy, head, seeds and epochs.
        scores: names of the scores; None for the default of the task.
        layers: "all", or indices.
        target: column to predict; None for the first that the data have.
        source: speech as in pre-training; None for none.
        sequence: units and aligner of transcripts.
        extraction: what a sample is, for the scores.
        encoder: device, windows.
        seed: seed of the resamples.

    Raises:
        OptionError: an option has an invalid value.
    """

    models: Sequence[str] = option((), MODEL)
    tuning: TuningOptions = part(TuningOptions)
    scores: Sequence[str] | None = option(
        None,
        Flag(
            "--score",
            "Scores to judge (repeat); see `voxrank rank --help`.",
            MODELS,
            "NAME",
            shown="the default of `rank`",
            complete="score",
        ),
    )
    layers: str = option(
        "all", Flag("--layers", "Layers: all, or indices such as 0,3,6 or -1.", MODELS, "LIST", complete="layers")
    )
    target: str | None = option(None, TARGET)
    source: Any = option(None, SOURCE)
    sequence: SequenceOptions = part(SequenceOptions, "unit", "language", "aligner")
    extraction: ExtractionOptions = part(ExtractionOptions, "sample", "allow_skips")
    encoder: EncoderOptions = part(
        EncoderOptions,
        "whisper_window",
        "device",
        "trust_remote_code",
        window_s="Maximum length of a training utterance; longer ones are left out.",
    )
    seed: int = option(
        0, Flag("--seed", "Seed of the splits and the resamples.", CERTAINTY, "N"), Bounds(0, whole=True)
    )

    def __post_init__(self) -> None:
        check_fields(self)


class ValidateKeywords(_ScoringKeywords, total=False):
    """The keywords of `validate`; see `ValidateRequest`."""

    tuning: TuningOptions | None


@dataclass(frozen=True, kw_only=True)
class AlignRequest:
    """A request to align transcripts.

    Attributes:
        models: specs whose features the flat start may choose from.
        sequence: units, language and aligner.
        split: rows to use; None for the training data.
        encoder: device, precision, windows.
        extraction: threads, and whether many utterances may be skipped.
    """

    models: Sequence[str] = option(
        (),
        Flag(
            "--model -m",
            "Model whose features the flat start may use (repeat).",
            MODELS,
            "SPEC",
            shown="",
            complete="model",
        ),
    )
    sequence: SequenceOptions = part(SequenceOptions, "aligner", "unit", "language")
    split: str | None = option(None, SPLIT)
    encoder: EncoderOptions = part(EncoderOptions, "whisper_window", "device", "trust_remote_code")
    extraction: ExtractionOptions = part(ExtractionOptions, "allow_skips", "threads")
