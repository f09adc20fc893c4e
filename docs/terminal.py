"""Draws the terminal output of `voxrank rank` from a recorded ranking."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME

from voxrank.report.terminal import show_ranking
from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue

FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>A ranking in the terminal</title>
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
    font-variant-east-asian: full-width;
}}
{styles}
</style>
<defs>
{lines}
</defs>
<rect fill="{background}" width="{width}" height="{height}" rx="8"/>
<g transform="translate(12, 12)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""Format of the SVG, without a window's frame, and without the fonts that rich would fetch from the network."""


def picture(recorded: dict[str, Any]) -> str:
    """Return the terminal's table of a ranking as SVG; `ranking.json` holds the ranking."""
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    show_ranking(console, ranking_of(recorded))
    background = "#{:02x}{:02x}{:02x}".format(*SVG_EXPORT_THEME.background_color)
    frame = FRAME.replace("{background}", background)
    return console.export_svg(code_format=frame, unique_id="voxrank", font_aspect_ratio=0.602)


def ranking_of(recorded: dict[str, Any]) -> Ranking:
    """Return a ranking from its record."""

    def scores(one: dict[str, Any]) -> dict[str, Any]:
        return one | {"scores": {name: ScoreValue(**value) for name, value in one["scores"].items()}}

    return Ranking(
        task=recorded["task"],
        data=DataSummary(**recorded["data"]),
        models=tuple(ModelScore(**scores(one)) for one in recorded["models"]),
        layers=tuple(LayerScore(**scores(one)) for one in recorded["layers"]),
        beats=tuple(map(tuple, recorded["beats"])),
        cost=Cost(**recorded["cost"]),
        skipped=(),
        options=recorded["options"],
    )
