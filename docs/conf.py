"""Sphinx configuration."""

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import reference
import sitemap

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
# Absolute links need the address of the host. Read the Docs gives it; elsewhere: sphinx-build -D html_baseurl=URL.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
linkcheck_timeout = 20
linkcheck_workers = 4
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]  # made by a script after the page is loaded
linkcheck_ignore = [r"http://localhost.*"]


def setup(app: Any) -> None:
    """Fill reference pages from the code whenever they are built, and write a sitemap when all are."""
    app.connect("source-read", fill)
    app.connect("build-finished", write_sitemap)


def fill(_app: Any, _page: str, source: list[str]) -> None:
    """Replace the comments by what is generated from the code."""
    source[0] = reference.filled(source[0])


def write_sitemap(app: Any, failed: Exception | None) -> None:
    """Write `sitemap.xml` beside the pages, if the address of the host is known."""
    if app.builder.name == "html" and app.config.html_baseurl and not failed:
        text = sitemap.of_pages(app.config.html_baseurl, sorted(app.env.found_docs))
        (Path(app.outdir) / "sitemap.xml").write_text(text, encoding="utf-8")
