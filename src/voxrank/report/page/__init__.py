"""The report page: a ranking as one self-contained HTML file. It needs the extra `page`."""

from voxrank._support.packages import require

require("page", "the report page")

from voxrank.report.page.document import page_html, write_page  # noqa: E402, after the check

__all__ = ["page_html", "write_page"]
