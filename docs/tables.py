"""Generate the tables of the documentation from the JSON of the benchmarks: `python docs/tables.py`."""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import dependency_tables
import layer_sets
import next_model_tables as next_model
import provenance
import scaling_tables as scaling
import simulation_tables as simulation
import study_tables as study
import terminal

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
GENERATED = ROOT / "docs" / "generated"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def made(result: dict[str, Any]) -> str:
    """Return the provenance of a result, in one line; a second one follows if it is older than the code."""
    m = result["made"]
    return (
        f"\nMade on {m['date']} at {m['commit']}: {m['processor']}, {m['cores']} cores, Python {m['python']}, "
        f"torch {m['torch']}, transformers {m['transformers']}.\n"
    ) + provenance.age_note([m])


def p_value(p: float) -> str:
    """Return a p-value as text."""
    return f"p = {p:.2f}" if p >= 0.01 else f"p = {p:.0e}"


def dependencies(result: dict[str, Any]) -> str:
    """Return the sizes and licences of the dependencies."""
    return dependency_tables.whole(result, table) + made(result)


def families(result: dict[str, Any]) -> str:
    """Return every family of audio encoders with its layers, frame rates, window and parity."""
    rows = [
        [
            row["family"].replace("_", " "),
            f"`{row['class']}`",
            f"{row['layers'][0]} … {row['layers'][-1]}",
            " · ".join(f"{rate:g}" for rate in dict.fromkeys(row["frames_per_second"])),
            f"{row['window_s']:g} s",
            " · ".join(_difference(value) for value in row["difference"].values()),
        ]
        for row in result["families"]
    ]
    header = ["family", "class that encodes", "layers", "frames/s", "longest window", "difference"]
    return table(header, rows) + made(result)


def _difference(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def refused_families(result: dict[str, Any]) -> str:
    """Return models that cannot be had, with their messages."""
    return table(["model", "message"], list(result["refused"].items()))


def tower(result: dict[str, Any]) -> str:
    """Return the cost of loading a tower out of a large model, in a sentence."""
    one = result["tower"]
    return (
        f"The tower of {one['tower_gb']:.1f} GB (in float32) inside a checkpoint of {one['whole_gb']:.0f} GB took "
        f"{one['peak_gb']:.1f} GB of memory at most, and {one['seconds'] / one['seconds_alone']:.1f} times the seconds "
        "of a checkpoint that holds the tower alone.\n"
    )


VIEWS = ("utterance", "segment", "effective", "frame")
RULES = ("depth", "dim", "parameters")


def agreement(result: dict[str, Any]) -> str:
    """Return every score of utterance means and the rules against the truth; the best on average first."""
    names = [name for name in _names(result) if name.endswith("_utterance") or name in RULES]
    somewhere = {name for line in result["summary"] for name in line["spearman"] if name.endswith("_utterance")}
    names += sorted(somewhere.difference(names))
    rows = [[name.removesuffix("_utterance"), *_spearman(result, name, p=True)] for name in names]
    rows.append(["truth with itself", "", *(f"{line['truth_with_itself']:.3f}" for line in result["summary"])])
    return table(["score or rule", "mean", *_tasks(result)], rows) + made(result)


HELD_OUT_NAMES = ("default", "accuracy", "likelihood", "likelihood+logme", "default before", "logme", "loo", "knn")


def heldout(result: dict[str, Any]) -> str:
    """Return rank correlation and regret of the defaults and of other scores, for each cell."""
    lines = result["summary"]
    of_name = {name: [line["scores"][name] for line in lines if name in line["scores"]] for name in HELD_OUT_NAMES}
    itself = statistics.mean(line["truth_with_itself"] for line in lines)
    mean = ["mean", "", *map(_correlation_and_regret, of_name.values()), f"{itself:.2f}"]
    rows = [
        [
            line["cell"],
            f"{100 * line['best']:.0f} %",
            *(_correlation_and_regret([line["scores"][n]] if n in line["scores"] else []) for n in HELD_OUT_NAMES),
            f"{line['truth_with_itself']:.2f}",
        ]
        for line in lines
    ]
    header = ["cell", "best", *HELD_OUT_NAMES, "truth with itself"]
    return table(header, [*rows, mean]) + "\nSpearman · regret of the first place." + made(result)


def _correlation_and_regret(values: Sequence[dict[str, float]]) -> str:
    return study.correlation_and_regret(
        *(study.mean_of_known([value[key] for value in values]) for key in ("spearman", "regret"))
    )


def heldout_calibration(result: dict[str, Any]) -> str:
    """Return how near the expected accuracy is to that of the probes, for each cell."""
    rows = [
        [
            line["cell"],
            f"{100 * line['bias']:+.1f}",
            f"{100 * line['error']:.1f}",
            f"{100 * line['covered']:.0f} %",
            f"{1000 * line['seconds']:.0f}",
        ]
        for line in result["summary"]
        if "bias" in line
    ]
    header = ["cell", "bias, points", "mean error, points", "in the interval", "ms for all scores of a layer"]
    return table(header, rows) + made(result)


def dependence(result: dict[str, Any]) -> str:
    """Return the same scores by the kind of sample."""
    rows = [
        [score, view, *_spearman(result, f"{score}_{view}")] for score in ("logme", "hscore", "ridge") for view in VIEWS
    ]
    tau = [
        f"{statistics.median(r['inflation'] for r in result['rows'] if r['task'] == line['task']):.1f}"
        for line in result["summary"]
    ]
    return table(["score", "sample", "mean", *_tasks(result)], [*rows, ["τ", "", "", *tau]]) + made(result)


def combined(result: dict[str, Any]) -> str:
    """Return mean ranks of scores of utterance means: the best, and the choice when a task is left out of it."""
    names = _names(result)
    best = [name for name in names if "+" in name][:8]
    parts = sorted({f"{part}_utterance" for name in best for part in name.split("+")}, key=names.index)
    rows = [
        [name.removesuffix("_utterance"), *_spearman(result, name)] for name in sorted([*best, *parts], key=names.index)
    ]
    kept = [
        [
            line["task"],
            line["chosen"].removesuffix("_utterance"),
            f"{line['spearman']:.3f}",
            _logme(result, line["task"]),
        ]
        for line in result["held_out"]
    ]
    first = table(["mean rank of", "mean", *_tasks(result)], rows)
    return (
        first + "\n" + table(["task left out", "best on the others", "on this one", "LogME alone"], kept) + made(result)
    )


def _names(result: dict[str, Any]) -> list[str]:
    """Return the names that occur on every task, best on average first."""
    everywhere = set.intersection(*(set(line["spearman"]) for line in result["summary"]))
    return sorted(everywhere, key=lambda name: (-_mean(result, name), name))


def _mean(result: dict[str, Any], name: str) -> float:
    return float(statistics.mean(line["spearman"][name] for line in result["summary"]))


def _spearman(result: dict[str, Any], name: str, *, p: bool = False) -> list[str]:
    """Return the mean, if every task has a value, then each task."""
    lines = result["summary"]
    mean = f"{_mean(result, name):.3f}" if all(name in line["spearman"] for line in lines) else "-"
    return [mean, *(_cell(line, name, p=p) for line in lines)]


def _cell(line: dict[str, Any], name: str, *, p: bool) -> str:
    if name not in line["spearman"]:
        return "-"
    return f"{line['spearman'][name]:.3f}" + (f" ({p_value(line['p'][name])})" if p else "")


def _logme(result: dict[str, Any], task: str) -> str:
    return next(f"{line['spearman']['logme_utterance']:.3f}" for line in result["summary"] if line["task"] == task)


def _tasks(result: dict[str, Any]) -> list[str]:
    return [f"{line['task']} ({line['pairs']} pairs)" for line in result["summary"]]


def overhead(result: dict[str, Any]) -> str:
    """Return time and memory beyond the bare passes."""
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
    """Return peak memory of bare passes and of whole runs."""
    rows = [[r["model"], r["window"], r["run"], r["utterances"], r["peak_rss_mb"]] for r in memory["rows"]]
    return "\n" + table(["model", "window", "run", "utterances", "peak memory, MB"], rows) + made(memory)


def windows(result: dict[str, Any]) -> str:
    """Return how each window of Whisper agrees with 30 s, over all sets and by set."""
    names = {"0": "none (`fit`)", "auto": "`auto`"} | {name: f"{name} s" for name in ("0.5", "1", "2")}
    parts = {name: [r for r in result["rows"] if r["window"] == name] for name in names}
    pairs = len(parts["auto"])
    summary = [
        [
            names[name],
            f"{statistics.mean(r['typical'] for r in rows):.3f}",
            f"{max(r['largest'] for r in rows):.3f}",
            f"{statistics.mean(r['at_best'] for r in rows):+.3f}",
            f"{statistics.mean(r['spearman'] or 0 for r in rows):.2f}",
            f"{sum(r['best'] == r['best_full'] for r in rows)} of {pairs}",
            f"{statistics.mean(r['regret'] for r in rows):.3f}",
            f"{100 * min(r['share'] for r in rows):.0f} to {100 * max(r['share'] for r in rows):.0f} %",
        ]
        for name, rows in parts.items()
    ]
    header = ["silence", "mean difference", "largest", "at the best layer", "Spearman", "same best layer", "regret"]
    return table([*header, "time of `full`"], summary) + "\n" + windows_by_set(parts["auto"]) + made(result)


def windows_by_set(rows: list[dict[str, Any]]) -> str:
    """Return how `auto` agrees with 30 s in each set."""
    cells = [
        [
            r["set"],
            r["model"].removeprefix("pack:"),
            r["utterances"],
            f"{r['mean_s']:.1f} s",
            f"{r['typical']:.3f}",
            f"{r['at_best']:+.3f}",
            f"{r['best']} / {r['best_full']}",
            f"{r['regret']:+.3f}",
            f"{100 * r['share']:.0f} %",
        ]
        for r in rows
    ]
    header = ["set", "model", "utterances", "mean length", "mean difference", "at the best layer"]
    return table([*header, "best layer, `auto` / `full`", "regret", "time"], cells)


def rankings(result: dict[str, Any]) -> str:
    """Return the output of the main job and its cost, for each command."""
    return "\n".join(one_ranking(r) + made(r) for r in result["rankings"].values())


def one_ranking(ranking: dict[str, Any]) -> str:
    """Return the command, its table of models and its cost."""
    names = ranking["options"]["scores"]
    header = ["", "model", "best layer", names[0], "95 % interval", "best in", *names[1:]]
    return (
        f"`{ranking['command']}`\n\n"
        + table(header, [model_row(model, names) for model in ranking["models"]])
        + f"\n{cost_line(ranking)}\n"
        + "".join(against(one) for one in ranking.get("sensitivity", ()))
    )


def cost_line(ranking: dict[str, Any]) -> str:
    """Return the size of the data, and what the ranking cost."""
    data, cost = ranking["data"], ranking["cost"]
    return (
        f"{data['used']:,} utterances, {data['seconds'] / 60:.1f} minutes of audio: {ranking['process_s']:.0f} s in "
        f"all, {cost['score_s']:.1f} s of it scoring; peak memory {cost['peak_rss_mb']:,.0f} MB."
    )


def against(found: dict[str, Any]) -> str:
    """Return the comparison with the ranking by other labels, in one line."""
    return (
        f"\nBy `{found['labels']}` labels: Spearman {found['spearman']:.3f} ({p_value(found['p'])}), best is "
        f"`{found['model']}`, layer {found['layer']}.\n"
    )


def model_row(model: dict[str, Any], names: Sequence[str]) -> list[Any]:
    """Return a row of a model at its best layer."""
    first, *others = (model["scores"][name] for name in names)
    interval = f"{first['low']:.3f} to {first['high']:.3f}"
    best_in = f"{100 * model['probability_best']:.0f} %"
    row = [model["rank"], f"`{model['model']}`", model["layer"], f"{first['value']:.3f}", interval, best_in]
    return [*row, *(f"{other['value']:.3f}" for other in others)]


def scores(result: dict[str, Any]) -> str:
    """Return the time of the scores in matrix products, and against published algorithms."""
    rows = [
        [
            f"{name}, n = {r['n']:,}, D = {r['dim']}, "
            + (f"K = {r['classes']}" if "classes" in r else f"{r['projections']} directions"),
            f"{r['seconds']['numpy']:.2f} / {r['seconds']['torch']:.2f}",
            f"{r['seconds']['score, auto']:.2f}",
            f"{r['products']['auto']:.2f}",
            " / ".join(f"{r['products'][method]:.2f}" for method in ("strips", "blas", "torch")),
            f"{r['times_quicker']} ({r['than']})",
            r["memory_mb"],
        ]
        for name, part in (("LogME", "logme"), ("sliced Wasserstein", "sliced"))
        for r in result[part]
    ]
    header = [
        "work",
        "bare product by NumPy / torch, s",
        "score, s",
        "in products",
        "by strips / blas / torch",
        "times quicker than",
        "MB above the input",
    ]
    m = result["made"]
    load = "" if m["load"] is None else f" Load average before the run: {m['load']}."
    clock = "one thread, seconds of the processor" if m["threads"] == 1 else f"{m['threads']} threads"
    hardware = f"{', '.join(m['instructions'])}; {'; '.join(m['blas'])}; torch with {m['torch_blas']}; {clock}."
    return table(header, rows) + made(result) + f"\n{hardware}{load}\n"


def hour(result: dict[str, Any]) -> str:
    """Return the cost of all scores of an hour of frames against the forward passes."""
    h = result["hour"]
    what = f"{h['hours']} h of speech at 50 Hz, {h['layers']} layers, D = {h['dim']}, K = {h['classes']}"
    row = [
        f"{what}: sketches, {h['scores']} scores and their intervals",
        f"{h['seconds']['hubert_hour']:.0f}",
        f"{h['seconds']['all']:.0f}",
        f"{h['share_of_passes']:.1%}",
        f"{h['intervals_share_of_run']:.1%}",
    ]
    header = ["work", "passes of HuBERT base, s", "scoring, s", "share of the passes", "share of the run for intervals"]
    return table(header, [row]) + made(h)


ALIGNERS = ("equal lengths", "flat start", "CTC head", "exact times")


def device(result: dict[str, Any]) -> str:
    """Return the results of a GPU, and which parts of the script gave none."""
    rows = [
        [
            row["model"],
            row["dtype"],
            row["sample"],
            f"{row['hours_a_second_bare']:.3f}",
            f"{row['hours_a_second']:.3f}",
            f"{100 * row['share_of_sketches_and_copies']:.0f} %",
        ]
        for row in result["throughput"].get("rows", [])
    ]
    header = ["model", "precision", "sample", "hours a second, passes", "hours a second, whole", "sketches and copies"]
    apart = max(value for row in result["sketches"]["relative"].values() for value in row.values())
    lines = [f"- `{part}`: {content['error']}." for part, content in result.items() if "error" in content]
    notes = f"\nScores of equal frames, summed on the device and the CPU, differ by at most {apart:.1e} (aim 1e-5).\n"
    missing = "\nParts without all of their figures:\n\n" + "\n".join(lines) + "\n" if lines else ""
    return table(header, rows) + notes + missing + f"\nDevice: {result['made']['device']}." + made(result)


def alignment(result: dict[str, Any]) -> str:
    """Return the error of alignments against exact phone times, by language and over all."""
    rows = []
    for layer in dict.fromkeys(r["layer"] for r in result["languages"]):
        own = [r for r in result["languages"] if r["layer"] == layer]
        rows += [[r["language"], layer, *(_near(r[name]) for name in ALIGNERS)] for r in own]
        means = {name: {key: sum(r[name][key] for r in own) / len(own) for key in own[0][name]} for name in ALIGNERS}
        rows.append(["**mean**", layer, *(_near(means[name]) for name in ALIGNERS)])
    header = ["language", "layer", *ALIGNERS]
    return table(header, rows) + made(result)


def _near(found: dict[str, float]) -> str:
    return f"{found['frames_right']:.1%}; {found['mean_ms']:.0f}, {found['p90_ms']:.0f} ms"


def alignment_speed(result: dict[str, Any]) -> str:
    """Return the speed of forced alignment on one core."""
    speed, hour = result["speed"], result["speed"]["hour"]
    what = f"{speed['frames']:,} frames, {speed['labels']:,} labels, {speed['symbols']} symbols"
    rows = [[what, name, f"{times:,}", ""] for name, times in speed["times_real_time"].items()]
    long, memory = f"{hour['frames']:,} frames, {hour['labels']:,} labels", hour["memory_mb"]
    rows.append([long, "voxrank", f"{hour['times_real_time']:,}", f"{memory} (process {hour['process_mb']})"])
    return table(["utterance", "by", "times real time", "MB above the input"], rows) + made(result)


def alignment_ties(result: dict[str, Any]) -> str:
    """Return how forced alignments compare with every path on all small problems, and their times."""
    rows, problems = [], result["problems"]
    for name, counts in result["aligners"].items():
        right, times = counts["optimal"] + counts["refused"], result["speed"]["times_voxrank"][name]
        cells = [counts[key] for key in ("suboptimal", "wrongly refused", "accepted")]
        rows.append([name, f"{right:,}", *(f"{cell:,}" for cell in cells), f"{times:.1f}"])
    header = ["by", "right", "not the best path", "refused, with a path", "accepted, without a path", "time"]
    version = result["made"].get("torchaudio")
    release = f"torchaudio is release {version}, on a CPU. " if version else ""
    note = (
        f"\n{problems['all']:,} problems; {problems['feasible']:,} have a path, {problems['tied']:,} several best "
        f"ones, and {problems['without_labels']:,} a path without a label. {release}The time is that of one "
        f"utterance of {result['speed']['frames']:,} frames and {result['speed']['labels']:,} labels, as a "
        "multiple of voxrank's.\n"
    )
    return table(header, rows) + note + made(result)


def stability(result: dict[str, Any]) -> str:
    """Return rankings by other labels against those by exact times."""
    names = ("flat start", "jitter", "equal lengths")
    rows = [
        [r["language"], r["pairs"], *(f"{r[name]['spearman']:.3f} ({r[name]['p']:.0e})" for name in names)]
        for r in result["languages"]
    ]
    means = [sum(r[name]["spearman"] for r in result["languages"]) / len(rows) for name in names]
    rows.append(["**mean**", "", *(f"{mean:.3f}" for mean in means)])
    header = ["language", "(model, layer) pairs", "flat start", "exact times, a frame off at random", "equal lengths"]
    return table(header, rows) + made(result)


POLICIES = {
    "frames, silence a tenth": "flat, 10 %, frame, logme",
    "frames, silence dropped": "flat, drop, frame, logme",
    "frames, silence kept": "flat, keep, frame, logme",
    "effective frames, silence a tenth": "flat, 10 %, effective, logme",
    "segment means, silence a tenth": "flat, 10 %, segment, logme",
    "frames, soft labels, silence kept": "soft, keep, frame, logme",
    "frames, soft labels, silence dropped": "soft, drop, frame, logme",
    "frames, exact times, silence a tenth": "exact, 10 %, frame, logme",
    "frames, silence dropped, LogME and kNN combined": "flat, drop, frame, combined 1024",
    "frames, silence dropped, kNN": "flat, drop, frame, knn 1024",
    "rule: dimension": "dim",
    "rule: parameters": "parameters",
    "rule: depth": "depth",
}


def policies(result: dict[str, Any]) -> str:
    """Return Spearman with a trained recogniser, by the treatment of frames and silence."""
    by_pauses = [{row["policy"]: row for row in part["table"]} for part in result["tables"]]
    languages = list(dict.fromkeys(line["language"] for line in result["languages"]))
    rows = [
        [
            title,
            *(f"{part[name]['mean']:.3f}" for part in by_pauses),
            *(f"{part[name]['by_language'][language]:.3f}" for part in by_pauses for language in languages),
        ]
        for title, name in POLICIES.items()
    ]
    when = [f"{part['pauses']:g} s" for part in result["tables"]]
    header = [
        "labels and samples",
        *(f"mean, pauses {p}" for p in when),
        *(f"{x}, {p}" for p in when for x in languages),
    ]
    own = ", ".join(f"{x['language']} {x['pauses']:g} s {x['truth_with_itself']:.3f}" for x in result["languages"])
    pairs = result["languages"][0]["pairs"]
    return (
        table(header, rows)
        + f"\n{pairs} (model, layer) pairs. The truth with itself over two seeds: {own}.\n"
        + made(result)
    )


README = ROOT / "README.md"
README_RANKING = "arabic-commands"


def study_summary(found: list[dict[str, Any]], kinds: study.Kinds = study.REAL_KINDS) -> str:
    """Return the default ranking against its targets, by half and by kind."""
    rows = [[half, *study.summary(own)] for half, own in study.halves(found) if own and half != "without room"]
    both = [cell for cell in found if study.has_room(cell)]
    for title, chosen in kinds.items():
        own = [cell for cell in both if chosen(cell)]
        rows += [[title, *study.summary(own)]] if own else []
    return table(study.SUMMARY_HEADER, [["all with room", *study.summary(both)], *rows]) + dates(found)


def study_targets(found: list[dict[str, Any]]) -> str:
    """Return the aims, and what the cells with room reach."""
    own = [cell for cell in found if study.has_room(cell)]
    halves = [[cell for cell in own if cell["half"] == half] for half in ("reporting", "development")]
    parts = {"reporting half": halves[0], "development half": halves[1], "all cells": own}
    rows = [[aim, *(show(part) if part else "-" for part in parts.values())] for aim, show in study.TARGETS.items()]
    return table(["aim", *parts], rows)


def study_before(found: list[dict[str, Any]]) -> str:
    """Return the default of earlier versions beside the default and its rivals, reporting half first."""
    parts = {half: cells for half, cells in study.halves(found) if cells and half != "without room"}
    tables = [f"**{half}**\n\n{table(study.BEFORE_HEADER, study.before_rows(own))}" for half, own in parts.items()]
    return "\n".join(tables) + "\nSpearman · regret of the first place.\n"


def study_calibration(found: list[dict[str, Any]]) -> str:
    """Return the expected accuracy against that of trained heads."""
    return table(study.CALIBRATION_HEADER, study.calibration_rows(found))


EPOCHS = (10, 30, 100)


def price(result: dict[str, Any]) -> str:
    """Return what a ranking costs beside fine-tuning, by the number of epochs."""
    cost, layers = result["rank"], result["layers"]
    ranked = cost["encode_s"] + cost["align_s"] + cost["score_s"]
    rows = []
    for title, part, count in (
        ("one block", result["block"], 1),
        ("each block, one after the other", result["block"], layers - 1),
        ("the whole model", result["whole"], 1),
        ("the whole model, from each of its layers", result["whole"], layers),
    ):
        seconds = [count * (part["before_s"] + epochs * part["epoch_s"]) for epochs in EPOCHS]
        rows.append([title, *(f"{one / ranked:,.0f}" for one in seconds)])
    text = (
        f"\nTimes the cost of a ranking: {cost['encode_s']:.0f} s of forward passes, {cost['align_s']:.0f} s of "
        f"alignment and {cost['score_s']:.1f} s of scoring, for {result['audio_s'] / 60:.0f} minutes of speech and "
        f"`{result['model']}`. An epoch takes {result['block']['epoch_s']:.0f} s for a block and "
        f"{result['whole']['epoch_s']:.0f} s for the model.\n"
    )
    return table(["fine-tuning", *(f"{epochs} epochs" for epochs in EPOCHS)], rows) + text + made(result)


def study_cells(half: str) -> Any:
    """Return a function that makes the table of one half."""

    def make(found: list[dict[str, Any]]) -> str:
        own = dict(study.halves(found))[half]
        return table(study.CELL_HEADER, [study.cell_row(cell) for cell in own]) if own else "None.\n"

    return make


def study_predictors(found: list[dict[str, Any]]) -> str:
    """Return every score, rule and the rival over the cells with room."""
    return table(study.PREDICTOR_HEADER, study.predictor_rows([cell for cell in found if study.has_room(cell)]))


def study_worst(found: list[dict[str, Any]]) -> str:
    """Return the cells in which the default ranking was worst."""
    return table(study.WORST_HEADER, study.worst_rows([cell for cell in found if study.has_room(cell)]))


def study_layers(name: str) -> Any:
    """Return a function that makes the layer table of one model, from the cells of this name and a language."""

    def make(found: list[dict[str, Any]]) -> str:
        own = [cell for cell in found if cell["cell"].rpartition("-")[0] == name]
        return table(*study.layer_table(own)) if own else "Not made yet.\n"

    return make


def study_models(found: list[dict[str, Any]]) -> str:
    """Return a table for each task of whole models."""
    own = [cell for cell in found if cell["strategy"] == "full"]
    return "\n".join(f"**{cell['cell']}**\n\n{table(*study.model_table(cell))}" for cell in own) or "Not made yet.\n"


def study_costs(found: list[dict[str, Any]]) -> str:
    """Return the costs in seconds."""
    return table(study.COST_HEADER, [study.cost_row(cell) for cell in found])


def study_default_costs(result: dict[str, Any]) -> str:
    """Return the seconds of the default ranking alone, and their share of the fine-tuning that they replace."""
    tuned = {cell["cell"]: cell["cost"]["tune_s"] / len(cell["truth"][0]["values"]) for cell in read("study")}
    rows = [
        [
            name,
            cost["score"],
            f"{tuned[name]:.0f}",
            f"{cost['encode_s']:.1f}",
            f"{cost['align_s']:.1f}",
            f"{cost['score_s']:.2f}",
            f"{tuned[name] / (cost['encode_s'] + cost['align_s'] + cost['score_s']):,.0f}",
            f"{tuned[name] / cost['score_s']:,.0f}",
        ]
        for name, cost in sorted(result["cells"].items())
        if name in tuned
    ]
    header = ["cell", "score", "fine-tuning, one seed, s", "forward passes, s", "aligning, s", "scoring, s"]
    return table([*header, "ratio, all of it", "ratio, scoring"], rows) + made(result)


def study_failures(found: list[dict[str, Any]]) -> str:
    """Return the trials without a result."""
    rows = study.failures(found)
    return table(["cell", "model", "layer", "reason"], rows) if rows else "No trial failed.\n"


def study_training(result: dict[str, Any]) -> str:
    """Return losses and error rates of the Conformer's pre-training, a row per epoch."""
    rows = []
    for epoch in result["epochs"]:
        spoken, recorded = epoch["spoken validation"], epoch["recorded validation"]
        rows.append(
            [epoch["epoch"], *(f"{part[name]:.3f}" for part in (spoken, recorded) for name in ("loss", "wer", "cer"))]
        )
    header = ["epoch", *(f"{part} {name}" for part in ("eSpeak", "recorded") for name in ("loss", "WER", "CER"))]
    return table(header, rows)


def cache(result: dict[str, Any]) -> str:
    """Return time with the cache over time without, and its size."""
    rows = [
        [
            f"`{row['model']}`",
            row["sample"],
            row["layers"],
            row["dim"],
            f"{row['empty']:.2f}",
            f"{row['filled']:.2f}",
            f"{row['mb_an_hour'] * row['seconds'] / 3600:,.1f}",
        ]
        for row in result["rows"]
    ]
    header = ["model", "a sample is", "layers", "dim", "empty / no cache", "filled / no cache", "MB"]
    minutes = result["rows"][0]["seconds"] / 60
    data = f"\n{result['data']} in {minutes:.1f} minutes; medians of {result['rounds']} rounds.\n"
    return table(header, rows) + data + made(result)


def stopping(result: dict[str, Any]) -> str:
    """Return what early stopping saved, and whether it kept the winner, by confidence."""
    rows = [
        [
            name,
            f"{one['utterances']:,}",
            level,
            f"{race['kept']} of {race['draws']}",
            f"{race['first']} of {race['draws']}",
            f"{100 * race['saved']:.0f} %",
            f"{100 * race['saved_least']:.0f} %",
        ]
        for name, one in result["sets"].items()
        for level, race in one["confidence"].items()
    ]
    header = ["data", "utterances", "confidence", "winner kept", "winner first", "encoding saved", "at least"]
    return table(header, rows) + made(result)


def published(result: dict[str, Any]) -> str:
    """Return the paper's tables, with the rule."""
    return table(study.PUBLISHED_HEADER, study.published_rows(result)) + made(result)


def published_agreement(result: dict[str, Any]) -> str:
    """Return how far a published table predicts a task that is not in it, by source."""
    rows = []
    for source in result["sources"].values():
        tasks = sorted(source["tasks"].items(), key=lambda one: -one[1])
        ends = [f"{name} {value:.2f}" for name, value in (tasks[0], tasks[-1])]
        rows.append([source["title"], source["models"], len(tasks), f"{source['mean']:.2f}", *ends])
    return table(["source", "models", "tasks", "mean", "best task", "worst task"], rows) + made(result)


def teacher(result: dict[str, Any]) -> str:
    """Return what each layer, and the mean of all, knows of the word and of the speaker."""
    ordered = sorted(result["rows"], key=lambda row: (row["model"], isinstance(row["layer"], str), row["layer"]))
    rows = [
        [f"`{row['model']}`", row["layer"], f"{100 * row['word']:.1f} %", f"{100 * row['speaker']:.1f} %"]
        for row in ordered
    ]
    chance = f"Guessing is right about the speaker in {100 * result['rows'][0]['chance']:.1f} % of recordings.\n"
    return table(["model", "layer", "words", "speakers"], rows) + f"\n{chance}" + made(result)


def dates(found: list[dict[str, Any]]) -> str:
    """Return when and on which machine the cells were computed."""
    days = sorted({cell["made"]["date"] for cell in found})
    commits = sorted({cell["made"]["commit"].removesuffix("+changes") for cell in found})
    m = found[0]["made"]
    return (
        f"\nMade from {days[0]} to {days[-1]} at {', '.join(commits)}: {m['processor']}, {m['cores']} cores, one "
        f"thread a process, Python {m['python']}, torch {m['torch']}, transformers {m['transformers']}.\n"
    ) + provenance.age_note(cell["made"] for cell in found)


def readme(text: str, result: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """Return the README with a new ranking and new figures of the study, each between two comments that name it."""
    parts = {"ranking": readme_ranking(result["rankings"][README_RANKING]), "trust": trust(found)}
    for name, part in parts.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n" + part + "\n" + end + rest.partition(end)[2]
    return text


def readme_ranking(ranking: dict[str, Any]) -> str:
    """Return the models of a ranking with what to expect of each, and its cost."""
    shown = [model_row(model, ranking["options"]["scores"][:1]) for model in ranking["models"]]
    header = ["", "model", "best layer", "expected accuracy", "95 % interval", "best in"]
    return table(header, shown) + f"\n{cost_line(ranking)}\n"


def trust(found: list[dict[str, Any]]) -> str:
    """Return how far the study says that a ranking can be trusted, in one paragraph."""
    reporting = [cell for cell in found if cell["half"] == "reporting" and study.has_room(cell)]
    count, rho, least, sure, regret, *_ = study.summary(reporting)
    rules = [study.best_rule(cell)[1] for cell in reporting]
    _, error, inside = study.calibration_rows(reporting)[-1][1:]
    paragraph = (
        f"Models with real pre-trained weights were fine-tuned on recorded speech, in {count} settings that were set "
        "aside before any was run: words, digits, speakers, languages, letters, phones, with 5, 20 and 100 examples of "
        f"each class. The order of a ranking agreed with that of fine-tuning by a Spearman correlation of {rho} on "
        f"average and {least} at worst, with p < 0.05 in {sure} settings. The best rule that reads no data, chosen "
        f"with hindsight, has {statistics.fmean(rules):.3f}. The first place lost {regret} of the best accuracy. The "
        f"expected accuracy of a linear head was off by {error} points on average, and {inside} of the heads lay in "
        "its interval. So a ranking narrows a dozen candidates down to two or three. With five recordings of a class, "
        "or three voices, it can be wrong."
    )
    return textwrap.fill(paragraph, 120, break_on_hyphens=False) + "\n"


def scaling_part(part: str, header: Sequence[str], rows: Any) -> Any:
    """Return a function that makes the table of one part of the measurements of workers."""
    return lambda result: table(header, rows(result[part])) + made(result[part])


def scaling_plan(result: dict[str, Any]) -> str:
    """Return the table of the costs of many hours, models and GPUs."""
    return table(scaling.PLAN_HEADER, scaling.plan_rows(result))


def simulation_steps(result: dict[str, Any]) -> str:
    """Return the cost of each step that the driver takes for every row."""
    return table(simulation.step_header(result), simulation.step_rows(result)) + made(result["rows"])


def simulation_run(result: dict[str, Any]) -> str:
    """Return what a simulated run comes to."""
    return table(simulation.RUN_HEADER, simulation.run_rows(result)) + made(result["run"])


def of_layer_sets(make: Callable[[dict[str, Any], layer_sets.Table], str]) -> Callable[[dict[str, Any]], str]:
    """Return a function that makes one of the tables of sets of layers, or of the next model to try."""
    return lambda result: make(result, table) + made(result)


TABLES = {
    "agreement": ("agreement", agreement),
    "dependence": ("agreement", dependence),
    "combined": ("agreement", combined),
    "heldout": ("heldout", heldout),
    "heldout-calibration": ("heldout", heldout_calibration),
    "overhead": ("overhead", overhead),
    "windows": ("windows", windows),
    "rankings": ("rankings", rankings),
    "scores": ("scores", scores),
    "hour": ("scores", hour),
    "device": ("device", device),
    "alignment": ("alignment", alignment),
    "alignment-speed": ("alignment", alignment_speed),
    "alignment-ties": ("alignment-ties", alignment_ties),
    "stability": ("stability", stability),
    "scaling-speed": ("scaling", scaling_part("speed", scaling.SPEED_HEADER, scaling.speed_rows)),
    "scaling-cost": ("scaling", scaling_part("cost", scaling.COST_HEADER, scaling.cost_rows)),
    "scaling-bytes": ("scaling", scaling_part("bytes", scaling.BYTES_HEADER, scaling.bytes_rows)),
    "scaling-plan": ("scaling", scaling_plan),
    "simulation-steps": ("simulation", simulation_steps),
    "simulation-run": ("simulation", simulation_run),
    "policies": ("policies", policies),
    "cache": ("cache", cache),
    "dependencies": ("dependencies", dependencies),
    "stopping": ("stopping", stopping),
    "real-summary": ("real", study_summary),
    "real-targets": ("real", study_targets),
    "real-worst": ("real", study_worst),
    "real-before": ("real", study_before),
    "real-calibration": ("real", study_calibration),
    "real-reporting": ("real", study_cells("reporting")),
    "real-development": ("real", study_cells("development")),
    "real-without-room": ("real", study_cells("without room")),
    "real-predictors": ("real", study_predictors),
    "real-models": ("real", study_models),
    "real-costs": ("real", study_costs),
    "real-failures": ("real", study_failures),
    "price": ("price", price),
    "study-summary": ("study", partial(study_summary, kinds=study.KINDS)),
    "study-reporting": ("study", study_cells("reporting")),
    "study-development": ("study", study_cells("development")),
    "study-without-room": ("study", study_cells("without room")),
    "study-predictors": ("study", study_predictors),
    "study-conformer": ("study", study_layers("conformer")),
    "study-conformer-cut": ("study", study_layers("conformer-cut")),
    "study-hubert": ("study", study_layers("hubert")),
    "study-models": ("study", study_models),
    "study-costs": ("study", study_costs),
    "study-default-costs": ("study/costs", study_default_costs),
    "study-failures": ("study", study_failures),
    "study-training": ("study/conformer-pretraining", study_training),
    "published": ("study/published", published),
    "families": ("families", families),
    "families-refused": ("families", refused_families),
    "families-tower": ("families", tower),
    "teacher": ("teacher", teacher),
    "published-agreement": ("published", published_agreement),
    "layer-sets-summary": ("advice", of_layer_sets(layer_sets.summary)),
    "layer-sets-criterion": ("advice", of_layer_sets(layer_sets.criterion)),
    "layer-sets-predictors": ("advice", of_layer_sets(layer_sets.predictors)),
    "layer-sets-tasks": ("advice", of_layer_sets(layer_sets.tasks)),
    "layer-sets-margins": ("advice", of_layer_sets(layer_sets.margins)),
    "layer-sets-lost": ("advice", of_layer_sets(layer_sets.lost)),
    "next-model": ("next_model", of_layer_sets(next_model.summary)),
    "next-model-ways": ("next_model", of_layer_sets(next_model.ways)),
    "next-model-odds": ("next_model", of_layer_sets(next_model.odds)),
    "next-model-reliability": ("next_model", of_layer_sets(next_model.reliability)),
    "next-model-variants": ("next_model", of_layer_sets(next_model.variants)),
    "next-model-tasks": ("next_model", of_layer_sets(next_model.tasks)),
}


def main() -> None:
    """Write every table that has a result."""
    GENERATED.mkdir(exist_ok=True)
    for name, (source, make) in TABLES.items():
        (GENERATED / f"{name}.md").write_text(make(read(source)), encoding="utf-8")
    draw({"real": read("real"), "study": read("study")}, read("stopping"))
    shown = terminal.picture(read("rankings")["rankings"]["demo"])
    (GENERATED / "terminal.svg").write_text(shown, encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8"), read("rankings"), read("real")), encoding="utf-8")


def read(source: str) -> Any:
    """Return a result; for a study, its cells."""
    if source in ("study", "real"):
        return study.cells(RESULTS / source)
    return json.loads((RESULTS / f"{source}.json").read_text(encoding="utf-8"))


def draw(studies: dict[str, list[dict[str, Any]]], races: dict[str, Any]) -> None:
    """Draw the pictures of the studies and of early stopping."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "voxrank"
    for name, found in studies.items():
        study.picture(found).savefig(GENERATED / f"{name}.svg", format="svg", metadata={"Date": None})
    curve = Figure(figsize=(6, 3.2), layout="constrained")
    axes = curve.subplots()
    for name, one in races["sets"].items():
        levels = [float(level) for level in one["confidence"]]
        saved = [100 * race["saved"] for race in one["confidence"].values()]
        axes.plot(levels, saved, marker="o", label=name)
    axes.set(xlabel="confidence", ylabel="encoding saved, %", ylim=(0, 100))
    axes.legend(fontsize=8, loc="lower left")
    curve.savefig(GENERATED / "stopping.svg", format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
