"""A snippet for the card of the tuned model: its base model, and how that was chosen."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from voxrank.errors import one_line
from voxrank.exports.tables import Rows, markdown, markdown_escaped

TAGS = ("voxrank", "speech")
PIPELINES = {"classification": "audio-classification", "transcription": "automatic-speech-recognition"}
"""Task → its name on the hub; other tasks have no name there."""
_NOT_HEX = re.compile(r"[^0-9a-f]")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class Facts:
    """The facts about a ranking in a model card.

    Attributes:
        base_model: hub id of the model to tune; None if it is not on the hub.
        task: as `Ranking.task`.
        verdict: one sentence.
        models: table with one row per model, best first.
        method: method of the ranking, in full sentences.
        version: version of voxrank.
        fingerprint: fingerprint of the data.
    """

    base_model: str | None
    task: str
    verdict: str
    models: Rows
    method: str
    version: str
    fingerprint: str


def hub_id(spec: str) -> str | None:
    """Return the spec if it may be a hub id and is not a local directory; otherwise None.

    Example:
        >>> hub_id("facebook/hubert-base-ls960"), hub_id("./mine")
        ('facebook/hubert-base-ls960', None)
    """
    if spec.endswith(".nemo") or Path(spec).exists():
        return None
    return spec if _HUB_ID.fullmatch(spec) and "/" in spec else None


def model_card(facts: Facts) -> str:
    """Return YAML front matter and a section in Markdown, for the README.md of a repository on the Hugging Face hub.

    The snippet contains no metrics, because scores show which model to tune, not how well the tuned model performs.
    """
    front_matter = [] if facts.base_model is None else [f"base_model: {_yaml(facts.base_model)}"]
    front_matter += [f"pipeline_tag: {PIPELINES[facts.task]}"] if facts.task in PIPELINES else []
    front_matter += ["tags:", *(f"- {tag}" for tag in TAGS)]
    origin = f"Ranked by voxrank {markdown_escaped(facts.version)}, without fine-tuning; fingerprint of the data: "
    section = [
        "## How the base model was chosen",
        markdown_escaped(facts.verdict),
        markdown(facts.models).rstrip("\n"),
        markdown_escaped(facts.method),
        f"{origin}`{_NOT_HEX.sub('', facts.fingerprint)}`.",
    ]
    return "\n".join(["---", *front_matter, "---", "", "\n\n".join(section), ""])


def _yaml(text: str) -> str:
    """Return a text in double quotes; JSON strings are valid YAML unless a character needs a surrogate pair."""
    return json.dumps(one_line(text), ensure_ascii=False)
