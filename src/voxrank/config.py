"""Frozen options, one dataclass per stage of the pipeline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from voxrank.errors import OptionError

Seconds = float
Hertz = float

WhisperWindow = Literal["full", "fit"]
DTypeName = Literal["float32", "float16", "bfloat16"]
Sample = Literal["utterance", "segment", "effective", "frame"]

DetailLevel = Literal["none", "quick", "full"]
EngineName = Literal["local", "ray"]

Strategy = Literal["probe", "layer", "full"]
Head = Literal["linear", "mlp", "transducer"]
HeadPlace = Literal["layer", "top"]

MAX_THREADS = 256


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
        whisper_window: "full" pads every utterance to 30 s, as in Whisper's training; "fit" cuts the window to the
            utterance, which is faster but differs from the training.
        window_s: maximum length of a window, in seconds. Longer audio is cut into consecutive windows, and their frames
            are joined (the cost of self-attention grows with the square of the window).
        batch_s: padded audio in one forward pass, in seconds. It is halved when memory runs out.
        trust_remote_code: names of the hub models that may run the code of their repository; empty: none.

    Raises:
        OptionError: an option has an invalid value.
    """

    device: str = "auto"
    dtype: DTypeName = "float32"
    whisper_window: WhisperWindow = "full"
    window_s: Seconds = 60.0
    batch_s: Seconds = 60.0
    trust_remote_code: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, DTypeName)
        check_choice("whisper-window", self.whisper_window, WhisperWindow)
        check_number("window", self.window_s, 0.1)
        check_number("batch", self.batch_s, 0.1)


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

    unit: str | None = None
    language: str | None = None
    aligner: str = "flat"
    silence: float | None = None
    tier: str | None = None
    allow_leak: bool = False
    against: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.silence is not None:
            check_number("silence", self.silence, 0, 1)


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

    sample: Sample | None = None
    segment_s: Seconds = 0.2
    threads: int = 2
    blocks: int = 10
    shard_s: Seconds = 60.0
    kept_samples: int = 1024
    projections: int = 0
    allow_skips: bool = False

    def __post_init__(self) -> None:
        if self.sample is not None:
            check_choice("sample", self.sample, Sample)
        check_number("segment_s", self.segment_s, 0.01)
        check_number("threads", self.threads, 1, MAX_THREADS, whole=True)
        check_number("blocks", self.blocks, 1, whole=True)
        check_number("shard_s", self.shard_s, 0.1)
        check_number("kept_samples", self.kept_samples, 0, whole=True)
        check_number("projections", self.projections, 0, whole=True)


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
    besides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("details", self.details, DetailLevel)
        if self.besides and self.details == "none":
            raise OptionError("what layers know besides is a detail, and none are wanted; leave --details none out")
        if len(set(self.besides)) < len(self.besides):
            raise OptionError(f"expected each column besides once, got {', '.join(self.besides)}; name each once")


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

    folder: str | None = None
    size_gb: float = 20.0

    def __post_init__(self) -> None:
        check_number("cache-size", self.size_gb, 0)


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

    name: EngineName = "local"
    workers: int | None = None
    address: str | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        check_choice("engine", self.name, EngineName)
        if self.workers is not None:
            check_number("workers", self.workers, 1, whole=True)
        check_number("cpus-per-worker", self.cpus_per_worker, 1, whole=True)
        if self.gpus_per_worker is not None:
            check_number("gpus-per-worker", self.gpus_per_worker, 0, 1)
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

    confidence: float = 0.95
    budget_s: Seconds | None = None

    def __post_init__(self) -> None:
        check_number("confidence", self.confidence, 0.5, 0.9999)
        if self.budget_s is not None:
            check_number("budget", self.budget_s, 0)


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

    strategy: Strategy = "probe"
    head_at: HeadPlace = "layer"

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, Strategy)
        check_choice("head-at", self.head_at, HeadPlace)
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

    strategy: Strategy = "probe"
    head: Head = "linear"
    head_at: HeadPlace = "layer"
    lora_rank: int = 0
    seeds: int = 3
    epochs: int = 30
    patience: int = 5
    batch: int = 16
    learning_rate: float | None = None
    head_learning_rate: float = 3e-3
    examples: int | None = None
    validation: float = 0.15
    test: float = 0.25
    metric: str | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_choice("head", self.head, Head)
        UseOptions(self.strategy, self.head_at)
        for name, least in (("lora_rank", 0), ("seeds", 1), ("epochs", 1), ("patience", 1), ("batch", 1)):
            check_number(name.replace("_", "-"), getattr(self, name), least, whole=True)
        if self.examples is not None:
            check_number("examples", self.examples, 1, whole=True)
        if self.learning_rate is not None:
            check_number("learning-rate", self.learning_rate, 0)
        check_number("head-learning-rate", self.head_learning_rate, 0)
        for name in ("validation", "test"):
            check_number(name, getattr(self, name), 0.02, 0.9)
        if self.strategy == "probe" and self.lora_rank:
            raise OptionError("a probe tunes nothing but its head; take --strategy layer or full with --lora")

    @property
    def use(self) -> UseOptions:
        """The strategy and the place of the head."""
        return UseOptions(self.strategy, self.head_at)
