"""Serves the report page during a run, on this machine's loopback address only."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from voxrank.config import Seconds, check_number
from voxrank.errors import OptionError
from voxrank.report.page.document import Page, fragments, html_of, page_of
from voxrank.report.recorder import Recorder
from voxrank.results.ranking import Ranking

HOST = "127.0.0.1"
LARGEST_PORT = 65535
OPEN_PAGE_S: Seconds = 5.0
"""Time for which a page counts as open after its last request; pages send a request every second."""
FINAL_WAIT_S: Seconds = 10.0
"""Maximum time to wait at the end of a run until all open pages have received the final state."""
FAILED_WAIT_S: Seconds = 3.0
"""Maximum time to wait if the run failed or was stopped."""
CHECK_INTERVAL_S: Seconds = 0.1
"""Interval between checks whether all pages have received the final state."""
SLOW_CLIENT_S = 10
KNOWN_PAGES = 100
"""Maximum number of open pages that are tracked."""


class LiveView:
    """Serves the page of a run from its start to its end, as a context manager; `recorder` receives the progress.

    Args:
        port: port of the loopback address; 0: any free port.

    Raises:
        OptionError: the port is out of range.
    """

    def __init__(self, port: int = 0) -> None:
        check_number("watch-port", port, 0, LARGEST_PORT, whole=True)
        self.recorder = Recorder()
        self._port = port
        self._latest = _LatestPage(self.recorder)
        self._received = Condition()
        self._open_pages: dict[str, tuple[Seconds, bool]] = {}
        self._served_at = -math.inf

    def __enter__(self) -> Self:
        """Start the server.

        Raises:
            OptionError: the port is not available.
        """
        try:
            self._server = _Server((HOST, self._port), self)
        except OSError as error:
            raise OptionError(
                f"expected a free port of {HOST}, got {self._port} ({error.strerror or error}); "
                "name another with --watch-port, or leave it out"
            ) from error
        self._port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), daemon=True, name="voxrank live view")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server as soon as open pages have received the final state of the run."""
        if error is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            self.recorder.fail("The run was stopped." if stopped else f"The run failed: {error}")
        try:
            self._wait(FINAL_WAIT_S if error is None else FAILED_WAIT_S)
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self._port}/"

    @property
    def hosts(self) -> tuple[str, str]:
        """Valid values of the Host header; other values point to a DNS name that was redirected to this machine."""
        return f"{HOST}:{self._port}", f"localhost:{self._port}"

    def complete(self, ranking: Ranking) -> None:
        """Record the final ranking."""
        self.recorder.complete(ranking)

    def page(self) -> str:
        """Return the current page as HTML; it counts as open from now on."""
        with self._received:
            self._served_at = time.monotonic()
        return html_of(self._latest.page()[1], live=True)

    def state(self, have_version: int) -> dict[str, Any]:
        """Return the state of the run, with the page's content if the client has an older version.

        Args:
            have_version: number of the ranking that the client shows; 0 for none.
        """
        run = self.recorder.snapshot()
        version, page = self._latest.page()
        content = None if page is None or version == have_version else self._latest.content()
        return {"run": run, "page": content}

    def record_receipt(self, page_id: str, *, ended: bool) -> None:
        """Record that a page received the state of the run.

        Args:
            page_id: identifier of the page.
            ended: whether that state was final.
        """
        with self._received:
            if page_id not in self._open_pages:
                self._served_at = -math.inf  # the page that was served last asks for itself now
            if page_id in self._open_pages or len(self._open_pages) < KNOWN_PAGES:
                self._open_pages[page_id] = (time.monotonic(), ended)
            self._received.notify_all()

    def _wait(self, timeout: Seconds) -> None:
        deadline = time.monotonic() + timeout
        with self._received:
            while not self._all_received() and time.monotonic() < deadline:
                self._received.wait(CHECK_INTERVAL_S)

    def _all_received(self) -> bool:
        now = time.monotonic()
        if now - self._served_at <= OPEN_PAGE_S:
            return False
        return all(ended or now - received > OPEN_PAGE_S for received, ended in self._open_pages.values())


class _LatestPage:
    """The page of the latest ranking, rendered on request."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._lock = recorder, Lock()
        self._version = 0
        self._page: Page | None = None
        self._content: dict[str, Any] | None = None

    def page(self) -> tuple[int, Page | None]:
        """Return the version of the page and the page."""
        with self._lock:
            version, ranking, complete = self._recorder.ranking
            if ranking is not None and version != self._version:
                page = page_of(ranking)
                self._page = page if complete else replace(page, about=f"So far · {page.about}")
                self._version, self._content = version, None
            return self._version, self._page

    def content(self) -> dict[str, Any] | None:
        """Return the content with which an open page updates itself."""
        with self._lock:
            if self._content is None and self._page is not None:
                self._content = {
                    "version": self._version,
                    "title": self._page.title,
                    "html": fragments(self._page),
                    "sections": [part.id for part in self._page.parts],
                    "payload": self._page.payload,
                }
            return self._content


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], view: LiveView) -> None:
        self.view = view
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a connection, such as a browser that disconnects."""


class _Handler(BaseHTTPRequestHandler):
    """Answers GET requests for the page and the state, and refuses all others."""

    server: _Server
    timeout = SLOW_CLIENT_S

    def do_GET(self) -> None:
        """Answer a GET request."""
        view = self.server.view
        if self.headers.get("Host") not in view.hosts:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", f"this page is at {view.url}\n")
            return
        url = urlsplit(self.path)
        if url.path == "/":
            self._answer(HTTPStatus.OK, "text/html", view.page())
        elif url.path == "/state":
            query = parse_qs(url.query)
            version = query.get("have", ["0"])[0]
            state = view.state(int(version) if version.isdecimal() and len(version) < 10 else 0)
            self._answer(HTTPStatus.OK, "application/json", json.dumps(state, allow_nan=False))
            view.record_receipt(query.get("id", [""])[0][:40], ended=state["run"]["state"] != "running")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here\n")

    def _refuse(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "only GET is answered\n", allow=True)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def _answer(self, status: HTTPStatus, content_type: str, text: str, *, allow: bool = False) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if allow:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return the name of the server for headers, without the version of Python."""
        return "voxrank"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Suppress the log of requests in the terminal."""
