"""A headless Chromium without network, and its complaints."""

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
if os.environ.get("VOXRANK_CHROMIUM"):
    CHROMIUM = os.environ["VOXRANK_CHROMIUM"]


WAIT_MS = 120_000
"""Maximum wait in milliseconds, sufficient on a busy machine."""


@pytest.fixture(scope="session")
def chromium():
    """Start the browser once."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here; run: apt-get install chromium (or name another in VOXRANK_CHROMIUM)")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here; run: pip install playwright")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root with its sandbox
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def _on_disk(request):
    return request.url.startswith("file:")


class Visit:
    """A page in the browser, with its requests and complaints."""

    home: str

    def __init__(self, browser, *, offline=True, **options):
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(WAIT_MS)
        self.complaints, self.requests, self.dialogs = [], [], []
        self.context.set_offline(offline)
        self.page = self.context.new_page()
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.refused = {}
        self.page.on("requestfailed", lambda request: self.refused.update({request.url: request.failure}))
        self.page.on("request", lambda request: self.requests.append(request.url))
        if offline:  # otherwise its requests would wait for the test, which may wait for them
            self.page.route("**/*", lambda route: route.continue_() if _on_disk(route.request) else route.abort())

    def open(self, file):
        """Open a report from disk and wait until its charts are drawn."""
        self.page.goto(Path(file).as_uri())
        self.page.wait_for_selector("html[data-drawn]")
        return self.page


@contextmanager
def visits_to_disk(chromium):
    visits = []

    def begin(file, **options):
        one = Visit(chromium, **options)
        visits.append(one)
        one.open(file)
        return one

    yield begin
    for one in visits:
        one.context.close()
        assert one.complaints == []
        assert one.dialogs == []
        assert all(url.startswith(("file:", "data:")) for url in one.requests)
        assert sum(url.startswith("file:") for url in one.requests) == 1


@pytest.fixture
def visit(chromium):
    """Return a function that opens a report from disk without network; at the end there must be no complaints."""
    with visits_to_disk(chromium) as begin:
        yield begin


@pytest.fixture(scope="module")
def drawn(chromium, whole):
    """Yield the page of a whole report, for tests that only read it or undo their changes."""
    with visits_to_disk(chromium) as begin:
        yield begin(whole).page


@pytest.fixture
def visit_live(chromium):
    """Return a function that opens the page of a run; at the end there must be no other requests."""
    visits = []

    def begin(url, **options):
        one = Visit(chromium, offline=False, **options)
        visits.append(one)
        one.page.goto(url)
        one.home = url
        return one

    yield begin
    for one in visits:
        one.context.close()
        assert one.dialogs == []
        assert {re.sub(r"state.*", "state", request) for request in one.requests} <= {one.home, f"{one.home}state"}


@pytest.fixture(scope="session")
def whole(made, tmp_path_factory):
    """Write a report with all possible parts."""
    from voxrank.report.page import write_page

    path = tmp_path_factory.mktemp("report") / "a report.html"
    write_page(path, made.make_ranking(), made.make_validation())
    return path


@pytest.fixture
def report(made, tmp_path):
    """Return a function that writes a report and returns its path."""
    from voxrank.report.page import write_page

    def write(ranking, validation=None):
        path = tmp_path / "a report.html"
        write_page(path, ranking, validation)
        return path

    return write
