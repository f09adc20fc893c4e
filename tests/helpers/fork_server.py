"""A process that has imported voxrank and its dependencies, and forks: a Python that starts in 0.1 s instead of 5.

`python fork_server.py SOCKET PID` returns as soon as the server listens. The server ends with process PID or
with the folder of the socket. `processes.py` is its client in the tests.

A connection sends one line of JSON at a time. A request to start has the arguments, folder and environment, and comes
with the three file descriptors of the standard streams; its answer is the new process's id. A request for the status
of a process is answered with its exit code, or null while it runs.
"""

import gc
import io
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import types
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path

PRELOADED = (
    "voxrank.cli.main",
    "voxrank.cli.rank",
    "voxrank.ranking.rank",
    "voxrank.ranking.diagnosing",
    "voxrank.report.page",
    "voxrank.report.terminal",
    "voxrank.groundtruth.validation",
    "transformers.models.hubert.modeling_hubert",
    "transformers.models.wav2vec2.modeling_wav2vec2",
)
LOOK_EVERY_S = 1.0


def main(place: Path, owner: int) -> None:
    """Import, listen, return to the caller, and serve."""
    for name in PRELOADED:
        import_module(name)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    warnings.simplefilter("ignore", DeprecationWarning)  # a library may have started a thread
    if os.fork():
        os._exit(0)
    os.setsid()
    request = serve(listener, place, owner)
    if request is None:
        shutil.rmtree(place.parent, ignore_errors=True)
    else:
        become(request)


def serve(listener: socket.socket, place: Path, owner: int) -> dict | None:
    """Answer until the session ends; in a new process, return its request."""
    clients: dict[socket.socket, bytes] = {}
    ended: dict[int, int] = {}
    while place.exists() and is_alive(owner):
        ready, _, _ = select.select([listener, *clients], [], [], LOOK_EVERY_S)
        for one in ready:
            if one is listener:
                clients[listener.accept()[0]] = b""
                continue
            data, descriptors, _, _ = socket.recv_fds(one, 1 << 16, 3)
            if not data:
                del clients[one]
                one.close()
                continue
            request = dict(read_request(one, data))
            if "status" in request:
                reap(ended)
                answer = ended.get(request["status"])
            else:
                answer = os.fork()
                if answer == 0:
                    for other in (listener, *clients):
                        other.close()
                    return {**request, "streams": descriptors}
            for number in descriptors:
                os.close(number)
            one.sendall(json.dumps(answer).encode() + b"\n")
    return None


def read_request(client: socket.socket, data: bytes) -> dict:
    """Return the request, after reading the rest of its line."""
    while not data.endswith(b"\n"):
        data += client.recv(1 << 16)
    request: dict = json.loads(data)
    return request


def is_alive(pid: int) -> bool:
    """Return whether a process exists."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def reap(ended: dict[int, int]) -> None:
    """Note the exit codes of processes that ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])


def become(request: dict) -> None:
    """Become the requested process: run to the end of this interpreter."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, theirs in enumerate(request["streams"]):
        os.dup2(theirs, number)
        os.close(theirs)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding=encoding)
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    run(request["arguments"])


def run(arguments: list[str]) -> None:
    """Do what `python` does with these arguments: `-m MODULE …`, `-c CODE …` or `SCRIPT …`."""
    added = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry not in sys.path]
    kind, *rest = arguments
    first = str(Path(kind).resolve().parent) if kind not in ("-m", "-c") else os.getcwd()  # noqa: PTH109
    sys.path[:] = [first, *added, *sys.path[1:]]
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
