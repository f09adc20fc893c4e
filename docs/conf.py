"""Sphinx configuration."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import reference

project = "voxrank"
author = "The voxrank authors"
version = release = version_of("voxrank")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "voxrank"
html_show_copyright = False
html_copy_source = False  # some pages are generated, so that their source differs
highlight_language = "sh"
exclude_patterns = ["_build", "generated/*.md"]
nitpicky = False
autodoc_member_order = "bysource"
napoleon_google_docstring = True
html_static_path = ["_static"]
html_css_files = ["voxrank.css"]
myst_heading_anchors = 3


def setup(app: Any) -> None:
    """Fill reference pages from the code whenever they are built."""
    app.connect("source-read", fill)


def fill(_app: Any, _page: str, source: list[str]) -> None:
    """Replace the comments by what is generated from the code."""
    source[0] = reference.filled(source[0])
