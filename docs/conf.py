"""Sphinx configuration."""

from importlib.metadata import version as version_of

project = "voxrank"
author = "The voxrank authors"
version = release = version_of("voxrank")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "voxrank"
exclude_patterns = ["_build"]
nitpicky = False
autodoc_member_order = "bysource"
napoleon_google_docstring = True
