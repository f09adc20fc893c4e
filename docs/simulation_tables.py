"""Tables of docs/scaling.md on the simulation of many hours: steps at several sizes, and what a whole run comes to."""

from __future__ import annotations

import math
from typing import Any

ROW_BYTES = 25 * 1024 * 8
"""Bytes of the sums of an utterance in a cache entry of a model of 24 blocks of 1,024."""
ENTRY_BYTES = 1 << 28
"""Maximum size of the sums in an entry (`voxrank.cache.store.JOINED_BYTES`)."""
NOT_ONCE = ("start", "write an index", "find all in the index")
"""Steps that a run does not take, or takes for each model."""
RUN_HEADER = ["what", "measured, or arithmetic", "comes to"]


def step_header(result: dict[str, Any]) -> list[str]:
    """Return the header of the table of steps."""
    sizes = result["rows"]["sizes"]
    return [
        "step",
        *(f"µs a row, {size['utterances']:,} rows" for size in sizes),
        f"processor seconds, {sizes[-1]['utterances']:,} rows",
        "peak of memory, MB",
    ]


def step_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return a row for each step, and the sum."""
    sizes = result["rows"]["sizes"]
    names = [name for name in sizes[-1]["steps"] if name not in NOT_ONCE[:2]]
    rows = []
    for name in names:
        last = sizes[-1]["steps"][name]
        each = [1e6 * size["steps"][name]["processor_s"] / size["utterances"] for size in sizes]
        rows.append([name, *(f"{us:.1f}" for us in each), f"{last['processor_s']:.0f}", f"{last['peak_mb']:,.0f}"])
    sums = [sum(size["steps"][name]["processor_s"] for name in names) for size in sizes]
    each = [1e6 * total / size["utterances"] for total, size in zip(sums, sizes, strict=True)]
    peak = max(step["peak_mb"] for step in sizes[-1]["steps"].values())
    return [*rows, ["**all**", *(f"{us:.1f}" for us in each), f"{sums[-1]:.0f}", f"{peak:,.0f}"]]


def run_rows(result: dict[str, Any]) -> list[list[str]]:
    """Return what the plan comes to, with its arithmetic."""
    plan, race = result["plan"], result["run"]["race"]
    few, many, wide = result["run"]["rows"]
    shard_s = _slope(few, many, lambda run: run["shards"] * run["models"])
    model_s = _slope(few, wide, lambda run: run["models"]) - shard_s * few["shards"]
    gpu_s = wide["virtual_gpu_s"] / wide["models"] / wide["utterances"] * plan["utterances"]
    last = result["rows"]["sizes"][-1]
    shards = round(last["shards"] * plan["utterances"] / last["utterances"])
    index_s = last["steps"]["find all in the index"]["processor_s"] * plan["utterances"] / last["utterances"]
    gpu_h = plan["models"] * gpu_s / 3600
    targets = f"targets of {last['target_bytes'] / 1e6:.0f} MB a worker"
    once_s = sum(step["processor_s"] for name, step in last["steps"].items() if name not in NOT_ONCE)
    once_s *= plan["utterances"] / last["utterances"]
    driver_s = index_s + max(model_s, 0.0)
    per_entry = ENTRY_BYTES // ROW_BYTES
    return [
        [
            "GPU hours, charged and not waited for",
            f"{plan['models']} × {gpu_s / 3600:,.1f} h",
            f"{gpu_h:,.0f}; {gpu_h / plan['gpus']:.1f} h on {plan['gpus']}",
        ],
        [
            "share of the audio with early stopping",
            f"{race['utterances']:,} utterances",
            f"{100 * race['share']:.0f} %",
        ],
        [
            "worker: decoding, sums and cache of a shard, beside the passes",
            f"{1000 * shard_s:.1f} ms; {shards:,} × {plan['models']} shards",
            f"{shards * plan['models'] * shard_s / 3600 / plan['gpus']:.1f} h on each of {plan['gpus']}",
        ],
        ["driver, once a run: all steps above but the last", "processor seconds", f"{once_s / 60:.1f} min"],
        [
            "driver: a model (index of the cache, scores, details)",
            f"{index_s:.0f} s + {max(model_s, 0.0):.1f} s of tiny layers",
            f"{plan['models'] * driver_s / 60:.0f} min for {plan['models']}",
        ],
        [
            "sent to workers, a model",
            f"{shards:,} shards × {last['shard_bytes']:,} bytes; {targets}",
            f"{(shards * last['shard_bytes'] + plan['gpus'] * last['target_bytes']) / 1e9:.1f} GB",
        ],
        [
            "files of the cache, 24 blocks of 1,024",
            f"⌈{plan['utterances']:,} / {per_entry:,}⌉ a model, of {ENTRY_BYTES / 1e6:.0f} MB",
            f"{math.ceil(plan['utterances'] / per_entry):,}",
        ],
        [
            "size of the cache without its limit, a model",
            f"{plan['utterances']:,} × {ROW_BYTES:,} bytes",
            f"{plan['utterances'] * ROW_BYTES / 1e12:.1f} TB",
        ],
        ["`ranking.json`, no utterance skipped", f"{wide['models']} models", f"{wide['ranking_bytes'] / 1e3:.0f} kB"],
        ["`report.html`", f"{wide['models']} models", f"{wide['report_bytes'] / 1e6:.1f} MB"],
    ]


def _slope(first: dict[str, Any], second: dict[str, Any], amount: Any) -> float:
    """Return the processor seconds of a unit, from two runs."""
    return float((second["processor_s"] - first["processor_s"]) / (amount(second) - amount(first)))
