"""Generates a script that fine-tunes the winner of a ranking, from the texts in `templates`."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from voxrank._support.words import percent
from voxrank.data.tables import OPEN_REASON
from voxrank.errors import OptionError
from voxrank.integrations.finetune.winner import Winner, find_winner

if TYPE_CHECKING:
    from voxrank.results.ranking import Ranking

TASKS = {
    "classification": "classification",
    "multilabel": "multilabel",
    "regression": "regression",
    "transcription": "ctc",
}
"""Task → the template of its head."""

METRICS = {"classification": "accuracy", "multilabel": "F1", "regression": "R²", "transcription": "error rate"}
FIELDS = {"classification": "label", "multilabel": "labels", "regression": "value", "transcription": "text"}
"""Task → the attribute of an utterance that contains its target."""

PATH_COLUMNS = {"path", "audio_filepath", "file", "audio"}
DELIMITERS = {".csv": "", ".tsv": ', delimiter="\\t"'}
LINES = (".jsonl", ".ndjson")

LEARNING_RATES = {"probe": "5e-4", "layer": "5e-4", "full": "1e-4"}
LONGEST_S = 60.0
IMPORTS = "IMPORTS"
"""Placeholder of the imports in the script."""

STANDARD = {
    r"\bcsv\.": "import csv",
    r"\bjson\.": "import json",
    r"\brandom\.": "import random",
    r"\bre\.": "import re",
    r"\bunicodedata\.": "import unicodedata",
    r"\bCounter\(": "from collections import Counter",
    r"@dataclass": "from dataclasses import dataclass",
    r"\bpartial\(": "from functools import partial",
    r"\bislice\(": "from itertools import islice",
    r"\bPath\b": "from pathlib import Path",
    r"\bAny\b": "from typing import Any",
}
INSTALLED = {
    r"\bsoundfile\.": "import soundfile",
    r"\bsoxr\.": "import soxr",
    r"\btorch\.": "import torch",
    r"\bload_file\(": "from safetensors.torch import load_file",
    r"\bnn\.": "from torch import nn",
    r"\bDataLoader\(": "from torch.utils.data import DataLoader, Dataset",
    r"\bTrainer\(": "from transformers import (\n    AutoFeatureExtractor,\n    AutoModel,\n"
    "    EarlyStoppingCallback,\n    Trainer,\n    TrainingArguments,\n    set_seed,\n)",
    r"\bread_dataset\(": "from voxrank import read_dataset",
    r"\bdecode\(": "from voxrank.data.audio import decode, probe",
    r"\bSpeller\(": "from voxrank.targets.units import Speller",
}
"""Pattern of code → the import that the code needs, in order."""


def script(ranking: Ranking, name: str = "finetune.py", *, trust: Sequence[str] = ()) -> str:
    """Return a script that fine-tunes the best model of a ranking, with the parts frozen that the strategy freezes.

    Args:
        ranking: ranking by classes, values or transcripts.
        name: name of the file.
        trust: names of the models whose own code may run, here and in the script; options of the ranking do not count.

    Returns:
        The text of the script.

    Raises:
        OptionError: transformers cannot tune the best model, or there is no script for the task.
        ModelError: the model's files cannot be read, or it runs its own code and is not trusted.
    """
    if ranking.task not in TASKS:
        raise OptionError(
            f"there are scripts for labels, values and transcripts, and this ranking is of {ranking.task}; "
            "rank by one of those for a script"
        )
    winner = find_winner(ranking, trust)
    body = _structure(ranking, winner)
    named = body.replace(IMPORTS, _imports(body), 1) + "\n"
    data = literal(ranking.options["data"])
    return Template(named).substitute(
        name=name if re.fullmatch(r"[\w.-]+", name) else "finetune.py",
        model=literal(winner.model),
        data=data if by_voxrank(ranking) else f"Path({data})",
        target=literal(ranking.options["target"]),
        unit=literal(ranking.options.get("unit")),
        language=literal(ranking.options.get("language")),
    )


def _structure(ranking: Ranking, winner: Winner) -> str:
    """Return the script without names."""
    strategy = ranking.options.get("strategy", "probe")
    on_top = strategy == "full" or ranking.options.get("head_at") == "top"
    return _fill(
        "script",
        about=_about(ranking, winner),
        strategy=literal(strategy),
        layer=str(winner.layer),
        head_layer="-1" if on_top else str(winner.layer),
        metric=METRICS[ranking.task],
        learning_rate=LEARNING_RATES[strategy],
        longest=str(min(LONGEST_S, winner.longest_s or LONGEST_S)),
        constants=_constants(ranking),
        reader=_reader(ranking),
        task=_task(ranking),
        inputs=_inputs(winner),
        frames=_fill(f"frames_{winner.kind}", lengths=_lengths(winner)),
        load=_load(winner),
        blocks=winner.blocks,
        trust=_trust(winner),
    )


def _fill(template: str, **parts: str) -> str:
    """Fill the parts of a template; names from users, which come last, stay open."""
    text = (files("voxrank.integrations.finetune") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).safe_substitute(parts).rstrip("\n")


def _about(ranking: Ranking, winner: Winner) -> str:
    """Describe the origin of the script and its differences from the ranking, without names."""
    best, data = ranking.best, ranking.data
    share = "" if best.probability_best is None else f", best in {percent(best.probability_best)} of resamples"
    lines = [
        f"The ranking was of {len(ranking.models)} models by {data.used:,} utterances{share}; fingerprint of the data:",
        f"{re.sub('[^0-9a-f]', '', data.fingerprint)}.",
    ]
    if isinstance(best.layer, str):
        lines.append("Several of its layers together came first; the best single layer is tuned here.")
    if winner.model != winner.spec:
        lines.append("It was ranked in another format; the checkpoint that transformers loads is tuned here.")
    if winner.kind == "whisper" and ranking.options.get("whisper_window") == "fit":
        lines.append("It was ranked on windows cut to the utterance; Whisper's whole window is used here.")
    if winner.kind == "whisper" and ranking.options.get("whisper_window") == "auto":
        lines.append("It was ranked with part of the silence in Whisper's window; the whole window is used here.")
    if ranking.options.get("unit") == "word":
        lines.append("It was ranked by words; characters are learnt here.")
    return "\n".join(lines)


def by_voxrank(ranking: Ranking) -> bool:
    """Return whether only voxrank can read the data.

    This holds for data that are neither a table nor lines of JSON, or that lack the columns that the script reads. It
    also holds if voxrank had to guess how to read the data, which the notes of the ranking record.
    """
    path = Path(ranking.options["data"])
    if path.suffix.lower() not in (*DELIMITERS, *LINES) or ranking.options.get("notes"):
        return True
    if any(OPEN_REASON in skip.reason for skip in ranking.skipped) or _may_hold_stray_quotes(path):
        return True
    return path.is_file() and not (PATH_COLUMNS & (columns := _columns(path)) and ranking.options["target"] in columns)


def _may_hold_stray_quotes(path: Path) -> bool:
    """Return whether the file is a TSV with quotation marks, which may be ordinary characters."""
    if path.suffix.lower() != ".tsv" or not path.is_file():
        return False
    with suppress(OSError), path.open("rb") as file:
        return any(b'"' in line for line in file)
    return False


def _columns(path: Path) -> set[str]:
    """Return the columns in the first row of a manifest."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in LINES:
                first = json.loads(file.readline())
                return set(first) if isinstance(first, dict) else set()
            return set(next(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), []))
    except (OSError, ValueError, csv.Error):
        return set()


def _constants(ranking: Ranking) -> str:
    parts = _fill("constants_parts")
    return parts if by_voxrank(ranking) else _fill("constants_manifest", parts=parts)


def _reader(ranking: Ranking) -> str:
    if by_voxrank(ranking):
        return _fill("reader_voxrank", field=FIELDS[ranking.task])
    suffix = Path(ranking.options["data"]).suffix.lower()
    rows = _fill("reader_jsonl") if suffix in LINES else _fill("reader_csv", delimiter=DELIMITERS[suffix])
    return _fill("reader_manifest", rows=rows)


def _task(ranking: Ranking) -> str:
    if ranking.task != "transcription":
        return _fill(f"task_{TASKS[ranking.task]}", head=_fill("head_utterances"))
    unit = ranking.options.get("unit") or "char"
    if unit in ("char", "word"):
        return _fill("task_ctc", spell=_fill("spell_char"), joint="")
    return _fill("task_ctc", spell=_fill("spell_voxrank"), joint=" " if unit == "phone" else "")


def _inputs(winner: Winner) -> str:
    masked = _fill("inputs_masked", input=winner.input)
    window = f"{winner.longest_s or 0:.0f} * extractor.sampling_rate"
    return _fill(f"inputs_{winner.kind}", input=winner.input, window=window, masked=masked)


def _load(winner: Winner) -> str:
    """Return the lines that load the encoder."""
    settings = "".join(f", {name}={value}" for name, value in winner.settings.items())
    loader = f"AutoModel.from_pretrained(MODEL, dtype=torch.float32{settings}{_trust(winner)})"
    lines = (
        [f"model = {loader}", "self.encoder = model.get_encoder()"] if winner.decoder else [f"self.encoder = {loader}"]
    )
    if winner.kind == "by_row":
        lines.append("self.encoder.feature_extractor = RowByRow(self.encoder.feature_extractor)")
    return "\n".join(f"        {line}" for line in lines)


def _lengths(winner: Winner) -> str:
    return "mask.sum(1)" if winner.counter is None else f"self.encoder.{winner.counter}(mask.sum(1))"


def _trust(winner: Winner) -> str:
    return ", trust_remote_code=True" if winner.trusted else ""


def _imports(body: str) -> str:
    """Return the imports that a script needs, in the order of ruff and isort."""
    groups = [[line for pattern, line in group.items() if re.search(pattern, body)] for group in (STANDARD, INSTALLED)]
    text = "\n\n".join("\n".join(lines) for lines in groups)
    return text.replace("import islice", "import groupby, islice") if "groupby(" in body else text


def literal(text: str | None) -> str:
    """Return a Python literal of a text or of None, in double quotes if that needs no escape.

    Example:
        >>> print(literal("a b"), literal('"'))
        "a b" '"'
    """
    written = repr(text)
    return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in written else written
