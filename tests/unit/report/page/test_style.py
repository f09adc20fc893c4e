"""Colours are readable: text at 4.5 to 1, marks at 3 to 1 (WCAG 2.2), in light and dark."""

import re
from importlib.resources import files

import pytest

STYLE = files("voxrank.report.page").joinpath("templates", "page.css").read_text(encoding="utf-8")
BLOCKS = [
    dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
]
THEMES = {"light": BLOCKS[0], "dark": BLOCKS[1]}


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_measured_as_in_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


def test_both_themes_define_the_same_colours():
    assert THEMES["light"].keys() == THEMES["dark"].keys()
    assert len(THEMES["light"]) == 23


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
@pytest.mark.parametrize(
    ("text", "paper"),
    [
        *(("text", "paper"), ("text", "panel"), ("muted", "paper"), ("muted", "panel")),
        *(("accent", "paper"), ("accent", "panel"), ("warm", "warm-panel"), ("warm", "paper")),
    ],
)
def test_the_contrast_of_text_is_sufficient(theme, text, paper):
    assert contrast(theme[text], theme[paper]) >= 4.5


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_the_contrast_of_marks_is_sufficient(theme):
    for name, colour in theme.items():
        if name.startswith(("series", "step")):
            assert contrast(colour, theme["paper"]) >= 3, name


def test_every_colour_that_is_used_is_defined():
    from voxrank.report.page import charts, drawing

    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", STYLE))
    for module in (charts, drawing):
        for value in vars(module).values():
            names = value if isinstance(value, tuple) else (value,)
            used |= {m for name in names if isinstance(name, str) for m in re.findall(r"^var\(--([a-z0-9-]+)\)$", name)}
    assert used <= THEMES["light"].keys()
    assert "series-10" in used
