"""The page as one HTML file: its sections, its charts, and the scripts that draw them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import vl_convert
from altair.utils.schemapi import debug_mode

from voxrank._support.files import write_atomically
from voxrank._support.words import count, duration
from voxrank.errors import OptionError
from voxrank.report.page import classes, features, models, run, scores, trade_off, truth
from voxrank.report.page.drawing import CONFIG
from voxrank.report.page.parts import Part
from voxrank.report.page.words import Verdict, shown, verdict
from voxrank.results.ranking import Ranking

if TYPE_CHECKING:
    from voxrank.groundtruth.verdict import Validation

TEMPLATES = "voxrank.report.page"
BUNDLE = "window.vegaEmbed = vegaEmbed;"
"""Code with which the bundle exports its only function."""
ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""Escapes of characters that must not stand in JSON inside a script element."""


@dataclass(frozen=True)
class Page:
    """The content of the page.

    Attributes:
        title: title of the window.
        about: one line about the data.
        warning: a warning before the verdict; empty if there is none.
        verdict: the headline.
        figures: key figures, each with its description.
        parts: the sections.
        datasets: rows that several charts share, by name.
    """

    title: str
    about: str
    warning: str
    verdict: Verdict
    figures: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    datasets: dict[str, list[dict[str, Any]]]

    @property
    def payload(self) -> dict[str, Any]:
        """Specs and data of the charts, for the page's script."""
        specs = {chart.id: chart.spec for part in self.parts for chart in part.charts}
        return {"config": CONFIG, "charts": specs, "datasets": self.datasets}


def page_of(ranking: Ranking, validation: Validation | None = None) -> Page:
    """Build the page of a ranking; sections without data are left out."""
    with debug_mode(False):  # noqa: FBT003, without it Altair checks every piece of a chart against its schema
        parts = _parts(ranking, validation)
    target = ranking.options.get("target")
    subject = ranking.task + (f" of {shown(target)}" if target else "")
    source = shown(ranking.options.get("data", ""))
    size = f"{count(ranking.data.used, 'utterance')}, {duration(ranking.data.seconds)} of audio"
    about = " · ".join(filter(None, [subject, source, size]))
    headline = verdict(ranking)
    return Page(
        f"{headline.before}{headline.model}{headline.after}",
        about,
        shown(ranking.warning),
        headline,
        run.figures(ranking),
        parts,
        {"curves": list(models.curve_rows(ranking))},
    )


def _parts(ranking: Ranking, validation: Validation | None) -> tuple[Part, ...]:
    parts = (
        models.ranking_part(ranking),
        models.layers_part(ranking),
        trade_off.trade_off_part(ranking),
        scores.agreement_part(ranking),
        classes.classes_part(ranking),
        features.pictures_part(ranking),
        features.knowledge_part(ranking),
        features.learning_part(ranking),
        run.labels_part(ranking),
        truth.truth_part(validation),
        run.cost_part(ranking),
        run.skipped_part(ranking),
        run.reproduce_part(ranking),
    )
    return tuple(part for part in parts if part is not None)


def page_html(ranking: Ranking, validation: Validation | None = None) -> str:
    """Render the report page of a ranking.

    Args:
        ranking: the ranking to show.
        validation: results of fine-tuning, if available.

    Returns:
        Self-contained HTML, which needs no network and no other file.
    """
    return html_of(page_of(ranking, validation))


def html_of(page: Page | None, *, live: bool = False) -> str:
    """Render a page, or a page that waits for its first ranking, as HTML.

    Args:
        page: content of the page; None: no ranking yet.
        live: whether the page polls its server for updates.
    """
    scripts = [bundle(), _text("page.js"), *([_text("live.js")] if live else [])]
    style = _text("page.css")
    policy = [
        "default-src 'none'",
        f"script-src {' '.join(map(_hash, scripts))}",
        f"style-src {_hash(style)}",
        "base-uri 'none'",
        "form-action 'none'",
        *(["connect-src 'self'"] if live else []),
    ]
    payload = {"config": CONFIG, "charts": {}, "datasets": {}} if page is None else page.payload
    return (
        environment()
        .get_template("page.html")
        .render(
            page=page, live=live, policy="; ".join(policy), style=style, scripts=scripts, payload=json_in_html(payload)
        )
    )


def fragments(page: Page) -> dict[str, str]:
    """Render the headline and each section of a page as HTML, by their ids."""
    macros: Any = environment().get_template("parts.html").module
    return {"verdict": str(macros.headline(page)), "contents": str(macros.contents(page))} | {
        part.id: str(macros.section(part)) for part in page.parts
    }


def write_page(path: str | os.PathLike[str], ranking: Ranking, validation: Validation | None = None) -> None:
    """Write the report page of a ranking as one HTML file that needs no network, completely or not at all.

    Args:
        path: path of the file, such as "report.html"; its folder is created if it does not exist.
        ranking: the ranking to show.
        validation: results of fine-tuning, if available.

    Raises:
        OptionError: the file cannot be written.

    Example:
        ``write_page("report.html", rank("train.csv", models=["openai/whisper-tiny", "logmel"]))``
    """
    file = Path(path)
    text = page_html(ranking, validation)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text)
    except OSError as error:
        raise OptionError(
            f"expected a place where a page can be written at {file}, got: {error.strerror or error}; choose another"
        ) from error


def json_in_html(content: Any) -> str:
    r"""Return JSON that is safe inside a script element, whatever names it contains.

    Example:
        >>> print(json_in_html({"a": "</script>"}))
        {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPES)


@cache
def bundle() -> str:
    """Return the charting library as one script, from vl-convert-python.

    Raises:
        RuntimeError: the script contains text that would end a script element.
    """
    text: str = vl_convert.javascript_bundle(BUNDLE)
    if "</script" in text.lower() or "<!--" in text:
        raise RuntimeError("the bundle of vl-convert-python cannot stand in a page")
    return text


@cache
def environment() -> jinja2.Environment:
    """Return the environment of the templates, which escapes all values."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(name: str) -> str:
    return files(TEMPLATES).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the hash of a script, as a Content-Security-Policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
