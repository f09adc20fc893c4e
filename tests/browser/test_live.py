"""The report while a run goes on, in a browser."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from functools import partial

import pytest

import voxrank.report.live
from voxrank.errors import OptionError
from voxrank.report.live import LiveView


@pytest.fixture
def live(monkeypatch):
    """Yield a view that serves pages, and that waits for no page when it ends."""
    monkeypatch.setattr(voxrank.report.live, "FINAL_WAIT_S", 0.0)
    with LiveView() as view:
        yield view


def get(view, path="/", *, host=None, method="GET"):
    """Return status, headers and body of an answer."""
    port = int(view.url.rsplit(":", 1)[1].strip("/"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host.format(port=port))
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def run_one(view, made, names, upto):
    """Report a run in which this many models are done, and the next one is half done."""
    recorder = view.recorder
    for place, name in enumerate(names[: upto + 1], start=1):
        recorder.start(name, place, len(names), 100.0)
        recorder.advance(50.0)
        if place <= upto:
            recorder.finish()
            recorder.ranked(partial(made.make_ranking, names[:place], details=False))


def test_the_page_grows_with_the_run_and_stays_after_its_end(visit_live, made):
    with LiveView() as view:
        seen = visit_live(view.url)
        page = seen.page
        page.wait_for_selector("#run-state:has-text('The run begins.')")
        assert "appears here when the first model is scored" in page.inner_text("main")
        view.recorder.note("1,200 utterances <b>")
        run_one(view, made, made.NAMES, 2)
        page.wait_for_selector("#ranking tbody tr >> nth=1")
        assert page.locator("#ranking tbody tr").count() == 2
        assert page.inner_text(".about").startswith("So far · ")
        page.wait_for_selector("#run-models li >> nth=2")
        assert "50 of 100 s" in page.locator("#run-models li").nth(2).inner_text()
        assert page.locator("#run-models progress").nth(2).evaluate("one => one.position") == 0.5
        assert "done in" in page.locator("#run-models li").first.inner_text()
        page.wait_for_selector("#chart-layers-1 svg")
        page.locator("#run-notes summary").click()
        assert "1,200 utterances <b>" in page.inner_text("#run-notes")
        view.complete(made.make_ranking())
    page.wait_for_selector("#run[data-state=done]")
    assert "The run is done" in page.inner_text("#run-state")
    assert page.inner_text(".about").startswith("classification")
    assert page.locator("#ranking tbody tr").count() == 4
    page.wait_for_selector("#chart-picture-3 svg")
    with pytest.raises(ConnectionRefusedError):
        get(view)
    page.locator("#ranking th button", has_text="parameters").click()  # the page still works
    assert page.locator("#ranking th[aria-sort]").inner_text() == "parameters"
    page.wait_for_timeout(1500)
    assert seen.complaints == []
    assert page.locator("#run[data-state=done]").count() == 1


def test_sorting_scrolling_and_focus_stay_when_the_page_is_updated(live, visit_live, made):
    run_one(live, made, made.NAMES, 2)
    page = visit_live(live.url, viewport={"width": 900, "height": 500}).page
    page.wait_for_selector("html[data-drawn]")
    page.wait_for_selector("#run-models li >> nth=2")
    page.locator("#layers summary").last.click()
    button = page.locator("#ranking th button", has_text="parameters")
    button.click()
    page.locator("#ranking").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.getElementById('ranking').offsetTop)")
    before = page.evaluate("document.getElementById('ranking').getBoundingClientRect().top")
    run_one(live, made, made.NAMES, 3)
    page.wait_for_selector("#ranking tbody tr >> nth=2")
    assert page.evaluate("document.activeElement.textContent") == "parameters"
    assert page.locator("#ranking th[aria-sort=ascending]").inner_text() == "parameters"
    assert (
        page.eval_on_selector_all("#ranking tr > :nth-child(6)", "all => all.map(one => one.innerText)")[1] == "1.0 M"
    )
    assert page.locator("#layers details[open]").count() == 1
    assert abs(page.evaluate("document.getElementById('ranking').getBoundingClientRect().top") - before) < 2


def test_the_page_reports_that_a_run_failed(visit_live, made):
    with LiveView() as view:
        page = visit_live(view.url).page
        run_one(view, made, made.NAMES, 1)
        page.wait_for_selector("#ranking tbody tr")
        view.__exit__(RuntimeError, RuntimeError("it <b>went wrong"), None)
    page.wait_for_selector("#run[data-state=failed]")
    assert page.inner_text("#run-state") == "The run failed: it <b>went wrong"
    assert page.locator("#ranking tbody tr").count() == 1


def test_the_page_reports_that_a_run_does_not_answer(visit_live, monkeypatch):
    monkeypatch.setattr(voxrank.report.live, "FAILED_WAIT_S", 0.0)
    with LiveView() as view:
        page = visit_live(view.url).page
        page.wait_for_selector("#run-state:has-text('The run begins.')")
        view.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    page.wait_for_selector("#run[data-state=gone], #run[data-state=failed]")


def test_the_end_of_a_run_does_not_wait_without_an_open_page(made, monkeypatch):
    waited = []
    with LiveView() as view:
        monkeypatch.setattr(view._received, "wait", waited.append)
        view.complete(made.make_ranking(details=False))
    assert waited == []


def test_the_end_of_a_run_waits_until_an_open_page_has_received_it(made, monkeypatch):
    monkeypatch.setattr(voxrank.report.live, "OPEN_PAGE_S", 600.0)
    waited = []
    with LiveView() as view:
        view.record_receipt("a page", ended=False)
        view.complete(made.make_ranking(details=False))

        def ask_again(seconds):
            waited.append(seconds)
            view.record_receipt("a page", ended=True)

        monkeypatch.setattr(view._received, "wait", ask_again)
    assert len(waited) == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", "", None])
def test_other_hosts_are_refused(live, host):
    status, _, body = get(live, "/state", host=host)
    assert status == 403
    assert "run" not in body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_this_host_is_answered(live, host):
    status, headers, body = get(live, "/state", host=host)
    assert status == 200
    assert json.loads(body)["run"]["state"] == "running"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/../../etc/passwd", "/ranking.json", "/%2e%2e/", "/state/", "/favicon.ico"]
)
def test_other_paths_are_not_served(live, path):
    assert get(live, path, host="127.0.0.1:{port}")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_only_get_is_answered(live, method):
    status, headers, _ = get(live, "/state", host="127.0.0.1:{port}", method=method)
    assert status == 405
    assert headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "query", ["have=x", "have=-1", "have=99999999999999999999", "have=%C2%B2", "id=" + "x" * 5000, "%"]
)
def test_malformed_requests_are_answered(live, query):
    assert get(live, f"/state?{query}", host="127.0.0.1:{port}")[0] == 200


def test_the_server_listens_on_the_loopback_address_alone(live):
    assert live._server.server_address[0] == "127.0.0.1"
    port = live._server.server_address[1]
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in [*others, "127.0.0.2"]:
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((address, port)) != 0


def test_a_port_in_use_is_refused(live):
    port = live._server.server_address[1]
    with pytest.raises(OptionError, match=rf"expected a free port of 127.0.0.1, got {port} .*; name another with"):
        LiveView(port).__enter__()
    with pytest.raises(OptionError, match="expected watch-port to be a whole number from 0 to 65535, got 70000"):
        LiveView(70_000)


def test_a_page_that_has_just_been_opened_receives_the_end(made):
    """The page requests the state of the run only after it was loaded."""
    states = []

    def ask():
        time.sleep(0.5)  # without a page to wait for, the server ends in a fifth of that
        states.append(json.loads(get(view, "/state?id=x", host="127.0.0.1:{port}")[2])["run"]["state"])

    page = threading.Thread(target=ask)
    with LiveView() as view:
        assert get(view, host="127.0.0.1:{port}")[0] == 200
        view.complete(made.make_ranking())
        page.start()
    page.join()
    assert states == ["done"]


HELD = """
import sys, time
from pathlib import Path
from voxrank.cli import main, rank
begin, go = rank._run_watched, Path(sys.argv[1])
def wait(*arguments):
    while not go.exists():
        time.sleep(0.01)
    return begin(*arguments)
rank._run_watched = wait
sys.exit(main.exit_code(sys.argv[2:]))
"""


def test_the_command_line_serves_the_page_while_it_ranks(tones, tmp_path, visit_live, start_python):
    command = ("rank", tones, "-m", "logmel", "-m", "mfcc", "--watch", "--json", "--out", tmp_path / "o")
    run = start_python("-c", HELD, tmp_path / "go", *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    url = re.search(r"http://127\.0\.0\.1:\d+/", run.stderr.readline()).group()
    heard = threading.Thread(target=run.stderr.read)
    heard.start()
    page = visit_live(url).page
    (tmp_path / "go").touch()
    page.wait_for_selector("#run[data-state=done]", timeout=120_000)
    assert page.locator("#ranking tbody tr").count() == 2
    out = run.communicate(timeout=120)[0]
    heard.join()
    assert run.returncode == 0
    assert json.loads(out)["schema"] == 1
    assert (tmp_path / "o" / "report.html").exists()


def test_the_server_ends_when_the_run_is_interrupted(start_python):
    code = "import sys, time\nfrom voxrank.cli import rank\n"
    code += "from voxrank.cli.outputs import Outputs\n"
    code += "def wait(progress):\n    print('waiting', file=sys.stderr, flush=True)\n    time.sleep(600)\n"
    code += "rank.run_and_show(wait, Outputs(watch=True), json_out='-')"
    run = start_python("-c", code, stderr=subprocess.PIPE)
    assert "Watch at http://127.0.0.1:" in run.stderr.readline()
    assert run.stderr.readline() == "waiting\n"
    os.kill(run.pid, signal.SIGINT)
    assert "no ranking was written" in run.communicate(timeout=120)[1]
