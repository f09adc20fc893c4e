"""The sitemap of the site, for search engines: `sitemap.xml`, as sitemaps.org describes it."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"


def of_pages(base_url: str, pages: Iterable[str]) -> str:
    """Return a sitemap.

    Args:
        base_url: address of the folder that holds the pages, with or without a slash at its end.
        pages: names of the pages, without an ending.
    """
    root = ET.Element("urlset", xmlns=NAMESPACE)
    for page in pages:
        place = ET.SubElement(ET.SubElement(root, "url"), "loc")
        place.text = f"{base_url.rstrip('/')}/{page}.html"
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
