"""The report page: a ranking as one self-contained HTML file."""

from voxrank.report.page.document import page_html, write_page

__all__ = ["page_html", "write_page"]
