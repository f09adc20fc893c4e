"""Make the catalogue of public speech encoders: `python scripts/make_catalogue.py --maeb PATH --superb PATH`.

It joins three inputs into `src/voxrank/encoders/catalogue.json`:

- `scripts/catalogue_facts.toml`, kept by hand: architectures, pre-training, and facts that no source of results states;
- MAEB: the id, licence, release date and main scores of each model. This is a JSON file of such records (`models`), or
  a clone of embeddings-benchmark/results at commit f4cc6c8 (CC0-1.0), in which each folder
  `results/OWNER__NAME/REVISION` has a `model_meta.json` and a file for each task. Of a clone, the models and tasks that
  the facts name are read.
- SUPERB: a JSON file of its leaderboard (`models`, each with `results`), or a clone of superbbenchmark/website-react at
  commit cacb90e, where `backend/utils.py` holds the same lists. No licence is stated there, so figures alone are taken.

The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT / "scripts" / "catalogue_facts.toml"
CATALOGUE = ROOT / "src" / "voxrank" / "encoders" / "catalogue.json"
SCHEMA = 1
SOURCES = {
    "maeb": {
        "title": "MAEB",
        "about": "logistic regression on the mean of the last layer; main score of each task, higher is better",
        "origin": "embeddings-benchmark/results, commit f4cc6c8",
        "licence": "CC0-1.0",
    },
    "superb": {
        "title": "SUPERB",
        "about": "heads trained on a weighted sum of the frozen layers; public test sets",
        "origin": "superbbenchmark/website-react, commit cacb90e",
        "licence": "not stated; figures only",
    },
}
FIELDS = (
    "id", "family", "parameters", "encoder_parameters", "layers", "width", "frame_rate", "hours", "pretraining",
    "languages", "licence", "released", "source", "reason",
)  # fmt: skip
FROM_MAEB = {"parameters": "parameters", "width": "dim", "licence": "licence", "released": "released"}
"""Field of the catalogue → field of a record of MAEB. `languages` is translated as well."""
MANY = "mul"
"""Code, of ISO 639-2, for more languages than those that are listed."""
PUBLIC = "_public"
"""Ending of SUPERB's names of results."""
FOLD = re.compile(r"ERfold\d")
"""Beginning of SUPERB's names of the results of one fold, whose mean is another result."""


class FactsError(ValueError):
    """The facts contradict a source, or name what does not exist."""


def read_maeb(path: Path, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return MAEB's records, from a JSON file or a clone.

    Args:
        path: the file, or the root of the clone.
        facts: what `catalogue_facts.toml` holds; for a clone, its models and the tasks in `maeb.tasks` are read.
    """
    if path.is_file():
        return list(json.loads(path.read_text(encoding="utf-8"))["models"])
    records: dict[str, dict[str, Any]] = {}
    for model in facts["models"]:
        folder = path / "results" / model["id"].replace("/", "__")
        for meta in sorted(folder.glob("*/model_meta.json")):
            record = _record(meta, facts["maeb"]["tasks"])
            known = records.get(model["id"], {"tasks": {}})
            if len(record["tasks"]) > len(known["tasks"]):  # several revisions
                records[model["id"]] = record
    return list(records.values())


def _record(meta: Path, tasks: Sequence[str]) -> dict[str, Any]:
    """Return the record of one revision of a model."""
    about = json.loads(meta.read_text(encoding="utf-8"))
    found = {name: meta.with_name(f"{name}.json") for name in tasks}
    return {
        "id": about["name"],
        "released": about["release_date"],
        "languages": about.get("languages") or [],
        "parameters": about["n_parameters"],
        "dim": about["embed_dim"],
        "licence": about["license"],
        "tasks": {
            name: _task(json.loads(file.read_text(encoding="utf-8"))) for name, file in found.items() if file.is_file()
        },
    }


def _task(result: dict[str, Any]) -> dict[str, float]:
    """Return the main score of a task, from its first split, with the spread over experiments."""
    rows = next(iter(result["scores"].values()))
    scores = [row["main_score"] for row in rows]
    experiments = [
        float(one["accuracy"]) for row in rows for one in row.get("scores_per_experiment", ()) if "accuracy" in one
    ]
    spread = stdev(experiments) if len(experiments) > 1 else 0.0
    return {"score": round(fmean(scores), 5), "spread": round(spread, 5)}


def read_superb(path: Path) -> list[dict[str, Any]]:
    """Return SUPERB's models, each with `model`, `results` and `paramShared`, from a JSON file or a clone."""
    if path.is_file():
        return list(json.loads(path.read_text(encoding="utf-8"))["models"])
    tree = ast.parse((path / "backend" / "utils.py").read_text(encoding="utf-8"))
    return list(_leaderboard(tree))


def _leaderboard(tree: ast.AST) -> Iterator[dict[str, Any]]:
    """Yield the literal dictionaries of a leaderboard in Python source, which is not run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and any(_is_result(key) for key in node.keys):
            row: dict[str, Any] = {}
            for key, value in zip(node.keys, node.values, strict=True):
                try:
                    row[ast.literal_eval(key)] = ast.literal_eval(value)  # type: ignore[arg-type]
                except ValueError:
                    continue  # an expression, such as a date
            results = {
                name: float(value)
                for name, value in row.items()
                if name.endswith(PUBLIC) and _is_number(value) and not FOLD.match(name)
            }
            yield {"model": row.get("submitName"), "paramShared": row.get("paramShared"), "results": results}


def _is_result(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.endswith(PUBLIC)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def published_of_maeb(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of a record, by task."""
    return [
        {
            "source": "maeb",
            "task": task,
            "metric": "score",
            "value": result["score"],
            **({"spread": result["spread"]} if result.get("spread") else {}),
        }
        for task, result in sorted(record["tasks"].items())
    ]


def published_of_superb(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of a model, by task and metric; `SF_f1_public` is the metric f1 of the task SF.

    `ASR_LM_wer_public`, recognition with a language model, is another metric of the task ASR.
    """
    figures = []
    for name, value in sorted(model["results"].items()):
        task, _, metric = name.removesuffix(PUBLIC).partition("_")
        figures.append({"source": "superb", "task": task, "metric": metric, "value": round(float(value), 5)})
    return figures


def catalogue(
    facts: dict[str, Any], maeb: Sequence[dict[str, Any]], superb: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the content of the catalogue.

    Args:
        facts: what `catalogue_facts.toml` holds.
        maeb: the records of MAEB.
        superb: the models of SUPERB.

    Raises:
        FactsError: a model of MAEB has no facts, a fact contradicts MAEB without being named as a correction, or a
            shape or a model of SUPERB does not exist.
    """
    records = {record["id"]: record for record in maeb}
    models = facts["models"]
    unknown = sorted(set(records) - {model["id"] for model in models})
    if unknown:
        raise FactsError(f"expected facts of every model of MAEB, got none of {', '.join(unknown)}")
    rows = {row["model"]: row for row in superb}
    taken = {model["superb"] for model in models if "superb" in model}
    if taken - set(rows):
        raise FactsError(f"SUPERB has no model {', '.join(sorted(taken - set(rows)))}")
    codes = dict(pair.split(":") for pair in facts["iso639"]["codes"].split())
    entries = []
    for model in models:
        counted = {"parameters": rows[model["superb"]].get("paramShared")} if "superb" in model else {}
        entry = _entry({**counted, **model} if model["id"] not in records else model, facts["shapes"], records, codes)
        figures = published_of_maeb(records[model["id"]]) if model["id"] in records else []
        figures += published_of_superb(rows[model["superb"]]) if "superb" in model else []
        entries.append(entry | {"published": figures})
    others = {name: published_of_superb(row) for name, row in rows.items() if name not in taken}
    return {"schema": SCHEMA, "sources": SOURCES, "others": others, "models": entries}


def _entry(
    model: dict[str, Any], shapes: dict[str, Any], records: dict[str, Any], codes: dict[str, str]
) -> dict[str, Any]:
    """Return the facts of one model, from MAEB, the shape and the model's own, each overriding those before."""
    if "shape" in model and model["shape"] not in shapes:
        raise FactsError(f"{model['id']}: there is no shape {model['shape']!r} in [shapes]")
    shape = dict(shapes[model["shape"]]) if "shape" in model else {}
    if "encoder" in shape:
        shape["encoder_parameters"] = shape.pop("encoder")
    record = records.get(model["id"], {})
    stated = {field: record[name] for field, name in FROM_MAEB.items() if record.get(name) is not None}
    known = shape | model | dict.fromkeys(model.get("unknown", ()))
    languages = _languages(model, records, codes)
    if record:
        theirs = {"languages": _translated(record, codes)} if isinstance(model.get("languages"), list) else {}
        _check_corrections(model, stated | theirs, known | {"languages": languages})
    merged = {**dict.fromkeys(FIELDS), "reason": "", "pretraining": "", "source": ""} | stated | known
    return {field: merged[field] for field in FIELDS} | {"languages": languages}


def _check_corrections(model: dict[str, Any], stated: dict[str, Any], known: dict[str, Any]) -> None:
    """Refuse facts that differ from MAEB's and are not named as corrections, and corrections that change nothing."""
    differing = sorted(field for field, value in stated.items() if field in known and known[field] != value)
    corrects = sorted(model.get("corrects", ()))
    if differing != corrects:
        raise FactsError(
            f"{model['id']}: the facts differ from MAEB in {', '.join(differing) or 'nothing'}, and `corrects` names "
            f"{', '.join(corrects) or 'nothing'}; name exactly what is corrected"
        )


def _languages(model: dict[str, Any], records: dict[str, Any], codes: dict[str, str]) -> list[str]:
    """Return the codes of a model's languages, sorted: its own, those of the model that it names, or MAEB's."""
    own = model.get("languages")
    if isinstance(own, list):
        return sorted(own)
    found = _translated(records.get(own or model["id"], {}), codes)
    return sorted({*found, MANY} if model.get("more_languages") else found)


def _translated(record: dict[str, Any], codes: dict[str, str]) -> list[str]:
    """Return the languages of a record of MAEB, such as deu-Latn, as the shortest codes of ISO 639."""
    found = {tag.partition("-")[0] for tag in record.get("languages", ())}
    return sorted({codes.get(code, code) for code in found})


def text(content: dict[str, Any]) -> str:
    """Return the catalogue as JSON, with one line for the facts of a model and one for each figure."""
    lines = ["{"]
    lines += [f' "{key}": {_line(content[key])},' for key in ("schema", "sources")]
    lines += [' "others": {', ",\n".join(f'  "{name}": {_figures(f)}' for name, f in content["others"].items()), " },"]
    models = [
        f"  {_line({k: v for k, v in model.items() if k != 'published'})[:-1]},\n"
        f'   "published": {_figures(model["published"])}}}'
        for model in content["models"]
    ]
    return "\n".join([*lines, ' "models": [', ",\n".join(models), " ]", "}", ""])


def _figures(figures: Sequence[dict[str, Any]]) -> str:
    return "[" + "".join(f"\n    {_line(one)}" + ("," if one is not figures[-1] else "") for one in figures) + "]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the catalogue."""
    parser = argparse.ArgumentParser(description="Make the catalogue of public speech encoders.")
    parser.add_argument("--maeb", type=Path, required=True, help="JSON file, or clone of embeddings-benchmark/results")
    parser.add_argument("--superb", type=Path, required=True, help="JSON file, or clone of website-react")
    parser.add_argument("--facts", type=Path, default=FACTS)
    parser.add_argument("--out", type=Path, default=CATALOGUE)
    given = parser.parse_args(arguments)
    facts = tomllib.loads(given.facts.read_text(encoding="utf-8"))
    content = catalogue(facts, read_maeb(given.maeb, facts), read_superb(given.superb))
    given.out.write_text(text(content), encoding="utf-8")
    print(
        f"{len(content['models'])} models, {sum(len(m['published']) for m in content['models'])} figures: {given.out}"
    )


if __name__ == "__main__":
    main()
