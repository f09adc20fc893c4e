"""Tables of docs/scaling.md: measurements of workers, and projections to many of them."""

from __future__ import annotations

import math
from typing import Any

PCM_BYTES_PER_S = 32_000
"""Bytes per second of audio at 16 kHz, 16 bits, one channel."""
LARGE = "24 blocks of 1,024"

SPEED_HEADER = ["round", "one worker, s", "two workers, s", "gain", "gain of two plain processes"]
COST_HEADER = ["model", "parameters", "layers", "numbers", "core seconds for an hour of audio", "by the clock"]
BYTES_HEADER = ["what", "when it is sent", "bytes"]
PLAN_HEADER = ["what", "arithmetic", "comes to"]


def speed_rows(speed: dict[str, Any]) -> list[list[str]]:
    """Return a row for each round, and the medians."""
    rows = [
        [
            str(number),
            f"{row['one_s']:.1f}",
            f"{row['two_s']:.1f}",
            f"{row['one_s'] / row['two_s']:.2f}",
            f"{2 * row['spin_1_s'] / row['spin_2_s']:.2f}",
        ]
        for number, row in enumerate(speed["rounds"], start=1)
    ]
    return [*rows, ["median", "", "", f"{speed['gain']:.2f}", f"{speed['machine']:.2f}"]]


def cost_rows(cost: dict[str, Any]) -> list[list[str]]:
    """Return a row for each model, the cheapest first."""
    return [
        [
            row["model"],
            f"{row['parameters']:,}",
            str(row["layers"]),
            str(row["dim"]),
            f"{row['processor_s_per_hour']:,.0f}",
            f"{row['clock_s_per_hour']:,.0f}",
        ]
        for row in sorted(cost["rows"], key=lambda row: row["processor_s_per_hour"])
    ]


def bytes_rows(sizes: dict[str, Any]) -> list[list[str]]:
    """Return rows of the bytes that cross the network."""
    shard = f"a shard: {sizes['utterances_per_shard']:.0f} utterances, {sizes['shard_s']:.0f} s of audio"
    targets = f"targets, layers and options, for {sizes['assignment_utterances']:,} utterances"
    return [
        [shard, "for every shard and model", f"{sizes['shard_bytes']:,}"],
        [targets, "for every worker and model", f"{sizes['assignment_bytes']:,}"],
        *(
            [f"a sketch of {one['shape']}", "for every hand-over, and once more for its merge", f"{one['bytes']:,}"]
            for one in sizes["sketches"]
        ),
        ["audio, 16 kHz and 16 bits", "read by workers, for every minute and model", f"{60 * PCM_BYTES_PER_S:,}"],
    ]


def plan_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return rows of the plan, with its arithmetic."""
    plan, published = result["plan"], result["published"]["rtf"]
    hours, models, gpus = plan["hours"], plan["models"], plan["gpus"]
    rows = []
    for name, rtf in published.items():
        total = hours * models * rtf
        rows += [
            [f"GPU hours, all as {name}", f"{hours:,} h × {models} × {rtf}", f"{total:,.0f}"],
            [f"hours on {gpus} GPUs", f"{total:,.0f} / {gpus}", f"{total / gpus:.1f}"],
        ]
    name, rtf = next(iter(published.items()))
    return [*rows, [f"**of these, a model like {name}:**", "", ""], *_beside(result, hours * rtf * 3600 / gpus, rtf)]


def _beside(result: dict[str, Any], model_s: float, rtf: float) -> list[list[str]]:
    """Return the costs beside the forward passes of the first model, which take this many seconds on all GPUs."""
    plan, sizes = result["plan"], result["bytes"]
    gpus, audio_s = plan["gpus"], plan["hours"] * 3600
    sketch = next(one for one in sizes["sketches"] if one["shape"] == LARGE)
    each = math.floor(model_s / plan["hand_over_s"]) + 1
    given, size, merge = gpus * each, sketch["bytes"], sketch["merge_s"]
    depth = math.ceil(math.log2(gpus))
    merging = (given - 1) / gpus * merge + depth * merge
    moved = 2 * given * size
    read = audio_s * PCM_BYTES_PER_S
    decoding = next(row for row in result["cost"]["rows"] if row["model"] == "logmel")["processor_s_per_hour"]
    messages = plan["shards"] * sizes["shard_bytes"]
    return [
        ["seconds", f"{audio_s:,} s × {rtf} / {gpus}", f"{model_s:,.0f}"],
        ["audio read", f"{audio_s:,} s × {PCM_BYTES_PER_S:,} bytes", f"{read / 1e12:.2f} TB"],
        ["reading", f"{read / 1e12:.2f} TB / {model_s:,.0f} s", f"{read / model_s / 1e6:,.0f} MB/s in all"],
        ["shards sent", f"{plan['shards']:,} × {sizes['shard_bytes']:,} bytes", f"{messages / 1e9:.1f} GB"],
        ["sketches handed over", f"{gpus} × (⌊{model_s:,.0f} / {plan['hand_over_s']:.0f}⌋ + 1)", f"{given}"],
        ["sketches sent", f"2 × {given} × {size / 1e9:.2f} GB", f"{moved / 1e9:,.0f} GB"],
        [
            "sending",
            f"{moved / 1e9:,.0f} GB / {model_s:,.0f} s / {gpus}",
            f"{moved / model_s / gpus / 1e6:.1f} MB/s a GPU",
        ],
        [
            "merging",
            f"({given} − 1) / {gpus} × {merge} s + {depth} × {merge} s",
            f"{merging:.0f} s, {100 * merging / model_s:.1f} % of a model",
        ],
        [
            "cores for decoding WAV, resampling and log-mel",
            f"{decoding:.0f} s of a core / ({rtf} × 3,600 s)",
            f"{decoding / (rtf * 3600):.1f} a GPU",
        ],
    ]
