"""Python processes for tests, forked from one that has already imported voxrank (`fork_server.py`).

They are like any other process, with a separate folder, environment, streams and signals, with two exceptions. voxrank
and its dependencies are imported already. `/proc/PID/environ`, and what libraries read from the environment on import,
are the server's. Tests of these start Python with `subprocess`.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

VARIABLE = "VOXRANK_TESTS_FORK_SERVER"
"""The variable with the folder of the server's socket: all workers of pytest-xdist share one server."""
WAIT_S = 0.01


def pytest_configure(config):
    """Choose the folder, in the process that starts the workers; the first process of a test starts the server."""
    if not hasattr(config, "workerinput"):
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="voxrank-tests-")


def pytest_unconfigure(config):
    """Remove the folder, which ends the server."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(VARIABLE), ignore_errors=True)


class ForkServer:
    """A connection to the server, which it starts if necessary."""

    def __init__(self):
        folder = Path(os.environ[VARIABLE])
        self._socket = socket.socket(socket.AF_UNIX)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "socket").exists():
                self._begin(folder)
        self._socket.connect(str(folder / "socket"))
        self._answers = self._socket.makefile()

    def _begin(self, folder):
        owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        with (folder / "log").open("w") as log:
            command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), folder / "socket", str(owner)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        assert done.returncode == 0, (folder / "log").read_text()

    def close(self):
        """Close the connection; others may still use the server."""
        self._answers.close()
        self._socket.close()

    def ask(self, request, streams=()):
        """Send a request; return the answer."""
        socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], streams)
        return json.loads(self._answers.readline())


class Process:
    """A Python process with the methods of `subprocess.Popen`.

    Args:
        server: the server that forks it.
        arguments: arguments of `python`.
        cwd: its folder.
        env: its environment.
        stdin, stdout, stderr: `subprocess.PIPE`, a file or a descriptor; nothing: `/dev/null`.
        text: whether its pipes contain text.
    """

    def __init__(self, server, arguments, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None, text=True):
        self._server, self.returncode, opened = server, None, []
        streams = [_stream(given, number, text, opened) for number, given in enumerate((stdin, stdout, stderr))]
        theirs, ours = zip(*streams, strict=True)
        self.stdin, self.stdout, self.stderr = ours
        request = {
            "arguments": [str(one) for one in arguments],
            "folder": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        self.args = request["arguments"]
        self.pid = server.ask(request, theirs)
        for number in opened:
            os.close(number)

    def poll(self):
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask({"status": self.pid})
        return self.returncode

    def wait(self, timeout=None):
        """Wait for its end; return the exit code."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(WAIT_S)
        return self.returncode

    def communicate(self, given=None, timeout=None):
        """Write to it, read its output, and wait for its end."""
        if self.stdin is not None:
            if given:
                self.stdin.write(given)
            self.stdin.close()
        with ThreadPoolExecutor(2) as threads:
            printed = [one and threads.submit(one.read) for one in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        for one in (self.stdout, self.stderr):
            if one is not None:
                one.close()
        return tuple(one and one.result() for one in printed)

    def send_signal(self, number):
        """Send a signal while it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Kill it at once."""
        self.send_signal(signal.SIGKILL)


def _stream(given, number, text, opened):
    """Return the descriptor for the process, and this end of a pipe; add descriptors to close here to `opened`."""
    if given is None:
        theirs = os.open(os.devnull, os.O_RDWR)
    elif given == subprocess.PIPE:
        read, write = os.pipe()
        theirs, ours = (read, write) if number == 0 else (write, read)
        opened.append(theirs)
        return theirs, os.fdopen(ours, ("w" if number == 0 else "r") + ("" if text else "b"))
    else:
        return (given if isinstance(given, int) else given.fileno()), None
    opened.append(theirs)
    return theirs, None


@pytest.fixture(scope="session")
def fork_server():
    """Yield the server, if the system can fork a process that already uses its libraries."""
    if sys.platform != "linux":
        yield None
        return
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def start_python(fork_server):
    """Return a function that starts `python ARGUMENTS` as `subprocess.Popen` does."""

    def start(*arguments, text=True, **options):
        if fork_server is None:
            return subprocess.Popen([sys.executable, *map(str, arguments)], text=text, **options)
        return Process(fork_server, arguments, text=text, **options)

    return start


@pytest.fixture(scope="session")
def run_python(start_python):
    """Return a function that runs `python ARGUMENTS` and returns exit code, standard output and error."""

    def run(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **options):
        process = start_python(*arguments, stdout=stdout, stderr=stderr, **options)
        out, err = process.communicate()
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        if check:
            assert done.returncode == 0, err
        return done

    return run
