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
    """Refuse a value that is none of a Literal's.

    Raises:
        OptionError: it is not.
    """
    if value not in get_args(known):
        raise OptionError(f"expected {name} to be one of {', '.join(get_args(known))}, got {value!r}")


def check_number(name: str, value: Any, least: float, most: float = math.inf, *, whole: bool = False) -> None:
    """Refuse a value that is no finite number, or outside `least` to `most`.

    Raises:
        OptionError: it is.
    """
    kind = int if whole else int | float
    if isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most:
        return
    what = "a whole number" if whole else "a finite number"
    bounds = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
    raise OptionError(f"expected {name} to be {what} {bounds}, got {value!r}")


@dataclass(frozen=True)
class EncoderOptions:
    """How a model is loaded and run.

    Attributes:
        device: "auto" (the best torch reports), or a torch device such as "cpu", "cuda:1", "mps".
        dtype: precision of the forward pass; features always leave it as float32.
        whisper_window: "full" pads every utterance to Whisper's 30 s, as it was trained;
            "fit" encodes a window cut to the utterance: faster, and not what the model was trained on.
        window_s: audio longer than this is cut into consecutive windows of at most this length,
            whose frames are joined (self-attention costs grow with the square of the window).
        batch_s: seconds of padded audio in one forward pass; halved when memory runs out.
        trust_remote_code: names of the hub models whose own code may run. Empty: none.

    Raises:
        OptionError: a value that its option cannot take.
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
    """How transcripts and timed segments become labels of frames.

    Attributes:
        unit: of transcripts: "char" (None is the same), "phone" (eSpeak NG), "word", or "tokens:SPEC", the pieces of a
            tokenizer.
        language: of transcripts, for phones: an eSpeak NG voice such as "en-us", a locale such as "de-DE" or an English
            name; a column `language` goes before it, where the language in it is known.
        aligner: what says when units are heard: "flat[:SPEC[@LAYER]]" needs no model trained for it and takes the
            features of a candidate that suit best, of a model, or of one of its layers; "ctc:SPEC" is a CTC checkpoint
            of transformers; "head[:SPEC[@LAYER]]" a CTC head fitted here; "uniform" makes all units equally long.
        silence: of the scored frames, how many may be silence, a class of its own; 0: none, 1: all there is. None: 0.1
            for transcripts, 0 for segments, which need not cover all that is said.
        tier: of TextGrid files.
        allow_leak: accept labels from a model that was trained on a candidate, or on its features.
        against: other labels that layers are ranked by too, to see how much depends on the alignment: aligners, and
            "jitter", the labels with every boundary moved by a frame at random.

    Raises:
        OptionError: a value that its option cannot take.
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
    """How audio becomes sketches.

    Attributes:
        sample: what one sample is: the "utterance" mean of its frames; the mean of a "segment" of them; every "frame"
            (temporal independence); "effective": every frame, weighted by how much of it is new. None: utterance, and
            frame where labels are those of frames.
        segment_s: the longest segment; an utterance, or a stretch of one label, is cut into the fewest equal ones.
        threads: decoders that run ahead of the encoder.
        blocks: resampling blocks that the data are dealt into, at most; below 2, no intervals.
        shard_s: audio in one shard, about.
        kept_samples: of each layer, for the scores that look at single samples (kNN and its kin); 0: none.
        projections: random directions that samples are projected on, for the sliced Wasserstein distance; 0: none.
        allow_skips: use what is left where more than half of the utterances are skipped.

    Raises:
        OptionError: a value that its option cannot take.
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
    """What else is found of layers, from the same sketches.

    Attributes:
        details: "none"; "quick": classes, pictures by principal components, a learning curve, and `besides`; "full":
            the pictures by t-SNE too, where scikit-learn is installed, which take some seconds.
        besides: other columns of the data: how much every layer knows of them.

    Raises:
        OptionError: a value that its option cannot take, or that does not fit the other.
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
    """Where sketches are kept, so that nothing is encoded twice.

    Attributes:
        folder: made if need be; None: the one that `VOXRANK_CACHE` names, else voxrank in the user's cache folder.
        size_gb: of all sketches (10⁹ bytes); those not used for the longest time go first.

    Raises:
        OptionError: a value that its option cannot take.
    """

    folder: str | None = None
    size_gb: float = 20.0

    def __post_init__(self) -> None:
        check_number("cache-size", self.size_gb, 0)


@dataclass(frozen=True)
class EngineOptions:
    """Where models run.

    Attributes:
        name: "local", this process; or "ray", workers of a Ray cluster.
        workers: of ray; None: as many as there is room for.
        address: of a running cluster, "auto" for the one of this machine; None: one of this machine, for this run.
        cpus_per_worker: cores of one worker, which its torch and BLAS use.
        gpus_per_worker: of one worker, 0.5 for two on a GPU; None: 1 where there are GPUs, unless `device` is cpu.

    Raises:
        OptionError: a value that its option cannot take, or that the engine has no use for.
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
    """When to stop before all models have seen all data.

    Attributes:
        confidence: with which the model that all data would put first is kept.
        budget_s: of wall time for forward passes and scores; no round begins after it.

    Raises:
        OptionError: a value that its option cannot take.
    """

    confidence: float = 0.95
    budget_s: Seconds | None = None

    def __post_init__(self) -> None:
        check_number("confidence", self.confidence, 0.5, 0.9999)
        if self.budget_s is not None:
            check_number("budget", self.budget_s, 0)


@dataclass(frozen=True)
class UseOptions:
    """What layers are ranked for.

    Attributes:
        strategy: "probe": features as they are; "layer": the block that makes the layer will be tuned, all else frozen;
            "full": the whole model will be, and its best layer speaks for it.
        head_at: of "layer": the head will read the "layer" itself, or the "top" of the model, through the frozen blocks
            above the tuned one.

    Raises:
        OptionError: a value that its option cannot take, or that does not fit the other.
    """

    strategy: Strategy = "probe"
    head_at: HeadPlace = "layer"

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, Strategy)
        check_choice("head-at", self.head_at, HeadPlace)
        if self.strategy != "layer" and self.head_at == "top":
            raise OptionError("--head-at top is for --strategy layer; a full model has its head there already")

    def head(self, block: int, last: int) -> int:
        """Index of the layer that the head reads when a block is tuned in a model with this last layer."""
        return last if self.head_at == "top" else block


@dataclass(frozen=True)
class TuningOptions:
    """How models are fine-tuned, to see what the scores are worth.

    Attributes:
        strategy: "probe" trains a head on frozen features of a layer; "layer" also the block that makes the layer, all
            else frozen; "full" the whole model, with the head on its last layer.
        head: "linear", "mlp" (one hidden layer), or "transducer", the model's own.
        head_at: of "layer": the head reads the "layer" itself, or the "top" of the model, through the frozen blocks
            above the tuned one.
        lora_rank: above 0, low-rank adapters of this rank on the tuned part's linear maps are trained in their stead.
        seeds: trials of each candidate, which differ by their seed.
        epochs: passes over the training data, at most.
        patience: epochs without progress after which training stops: no better validation metric, no lower validation
            loss and, until the untrained head is beaten, no lower training loss.
        batch: utterances in one step.
        learning_rate: of the tuned part, at first; it rises over a tenth of the steps, then falls to 0. None: 5e-4
            for a block, 1e-4 for a whole model, 1e-3 for adapters.
        head_learning_rate: of the head.
        examples: training utterances at most, of each class, or in all for transcripts. None: all there are.
        validation: share of the training utterances that early stopping looks at, where the data name no such split.
        test: share of all utterances that the metric is of, where the data name no such split.
        metric: "accuracy" for classes; for transcripts "cer", "wer", "per" or "ter". None: what suits the unit.
        split_seed: of the splits that are drawn.

    Raises:
        OptionError: a value that its option cannot take, or that does not fit the others.
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
        """What the layers are for."""
        return UseOptions(self.strategy, self.head_at)
