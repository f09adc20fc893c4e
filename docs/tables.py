"""Tables of the documentation from the JSON of the benchmarks: `python docs/tables.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GENERATED = ROOT / "docs" / "generated"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def made(result: dict[str, Any]) -> str:
    """What made a result, in one line."""
    m = result["made"]
    return (
        f"\nMade on {m['date']} at {m['commit']}: {m['processor']}, {m['cores']} cores, Python {m['python']}, "
        f"torch {m['torch']}, transformers {m['transformers']}.\n"
    )


def p_value(p: float) -> str:
    """A p-value as readers compare it."""
    return f"p = {p:.2f}" if p >= 0.01 else f"p = {p:.0e}"


def agreement(result: dict[str, Any]) -> str:
    """Spearman of the scores and of the rules with the truth, for each task; the best on average first."""
    lines = result["summary"]
    names = [name for name, value in lines[0].items() if isinstance(value, dict)]
    means = {name: sum(line[name]["spearman"] for line in lines) / len(lines) for name in names}
    rows = [
        [name.replace("_utterance", ", utterance").replace("_frame", ", frame"), f"{means[name]:.3f}"]
        + [f"{line[name]['spearman']:.3f} ({p_value(line[name]['p'])})" for line in lines]
        for name in sorted(names, key=lambda name: -means[name])
    ]
    rows.append(["truth with itself", "", *(f"{line['truth_with_itself']:.3f}" for line in lines)])
    header = ["score or rule", "mean", *(f"{line['task']} ({line['pairs']} pairs)" for line in lines)]
    return table(header, rows) + made(result)


def overhead(result: dict[str, Any]) -> str:
    """Time and memory beyond the bare passes."""
    time = [
        [
            r["model"],
            r["window"] or "",
            r["utterances"],
            f"{r['bare_s']:.2f}",
            f"{r['whole_s']:.2f}",
            f"{100 * r['overhead']:.1f} %",
        ]
        for r in result["time"]["rows"]
    ]
    times = table(["model", "window", "utterances", "bare, s", "whole, s", "overhead"], time)
    return times + made(result["time"]) + peaks(result["memory"])


def peaks(memory: dict[str, Any]) -> str:
    """Peak memory of bare passes and of whole runs."""
    rows = [[r["model"], r["window"], r["run"], r["utterances"], r["peak_rss_mb"]] for r in memory["rows"]]
    return "\n" + table(["model", "window", "run", "utterances", "peak memory, MB"], rows) + made(memory)


def windows(result: dict[str, Any]) -> str:
    """Scores and times in the two windows."""
    rows = [
        [
            r["model"],
            r["utterances"],
            f"{r['spearman']:.3f}",
            r["largest_difference"],
            "yes" if r["same_best_layer"] else "no",
            f"{r['encode_s_full']} / {r['encode_s_fit']}",
            r["times_quicker"],
        ]
        for r in result["rows"]
    ]
    header = [
        "model",
        "utterances",
        "Spearman of layers",
        "largest difference",
        "same best layer",
        "s, full / fit",
        "times",
    ]
    return table(header, rows) + made(result)


def rankings(result: dict[str, Any]) -> str:
    """What the main job printed, and what it took, for each command."""
    return "\n".join(one_ranking(r) + made(r) for r in result["rankings"].values())


def one_ranking(ranking: dict[str, Any]) -> str:
    """The command, its table of models and its cost."""
    data, cost = ranking["data"], ranking["cost"]
    header = ["", "model", "best layer", "LogME", "95 % interval", "best in"]
    return (
        f"`{ranking['command']}`\n\n"
        + table(header, [model_row(model) for model in ranking["models"]])
        + f"\n{data['used']:,} utterances, {data['seconds'] / 60:.1f} minutes of audio: "
        f"{ranking['process_s']:.0f} s in all, {cost['score_s']:.1f} s of it scoring; "
        f"peak memory {cost['peak_rss_mb']:,.0f} MB.\n"
    )


def model_row(model: dict[str, Any]) -> list[Any]:
    """A model at its best layer."""
    score = model["scores"]["logme"]
    interval = f"{score['low']:.3f} to {score['high']:.3f}"
    best_in = f"{100 * model['probability_best']:.0f} %"
    return [model["rank"], f"`{model['model']}`", model["layer"], f"{score['value']:.4f}", interval, best_in]


def scores(result: dict[str, Any]) -> str:
    """Time of the scores in matrix products, and against published algorithms."""
    rows = [
        [
            f"{name}, n = {r['n']:,}, D = {r['dim']}, "
            + (f"K = {r['classes']}" if "classes" in r else f"{r['projections']} directions"),
            f"{r['seconds']['product']:.2f}",
            f"{r['seconds']['score']:.2f}",
            f"{r['products']:.2f}",
            f"{r['times_quicker']} ({r['than']})",
            r["memory_mb"],
        ]
        for name, part in (("LogME", "logme"), ("sliced Wasserstein", "sliced"))
        for r in result[part]
    ]
    header = ["work", "bare product, s", "score, s", "in products", "times quicker than", "MB above the input"]
    return table(header, rows) + made(result)


README = ROOT / "README.md"
README_RANKINGS = ("arabic-commands --whisper-window fit", "fsdd --whisper-window fit")


def readme(text: str, result: dict[str, Any]) -> str:
    """The README with its rankings written anew, each between two comments that name it."""
    for name in README_RANKINGS:
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n" + one_ranking(result["rankings"][name]) + "\n" + end + rest.partition(end)[2]
    return text


TABLES = {"agreement": agreement, "overhead": overhead, "windows": windows, "rankings": rankings, "scores": scores}


def main() -> None:
    """Write every table whose result is there."""
    GENERATED.mkdir(exist_ok=True)
    for name, make in TABLES.items():
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        (GENERATED / f"{name}.md").write_text(make(result), encoding="utf-8")
    ranked = json.loads((RESULTS / "rankings.json").read_text(encoding="utf-8"))
    README.write_text(readme(README.read_text(encoding="utf-8"), ranked), encoding="utf-8")


if __name__ == "__main__":
    main()
