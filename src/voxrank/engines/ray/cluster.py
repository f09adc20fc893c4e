"""A cluster to run on: one that is there, or one of this machine for the time of a run."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from voxrank.config import EngineOptions, Seconds
from voxrank.errors import OptionError, RunError, reason

# Ray reads them when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
HERE = "127.0.0.1"
PREFIX = "voxrank-ray-"
"""Of a cluster's folder; then the number of the process that started it."""
KNOCK_S: Seconds = 5.0
SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5", "RAY_worker_niceness": "0"}
"""Of a cluster's processes: how long what is left looks for a head that was killed (Ray would for a minute); and
workers do not stand back behind all else on the machine, as Ray's would."""


class Cluster:
    """The cluster that this process belongs to already, or one that it joins or starts, and leaves at the end.

    Args:
        options: its address, or what it must hold.

    Attributes:
        own: whether it is there for this run only.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._folder: Path | None = None
        self._entered = False
        self.own = False

    def __enter__(self) -> Self:
        """Join or start it.

        Raises:
            OptionError: there is none at the address.
            RunError: none can be started.
        """
        if ray.is_initialized():
            return self
        self._entered = True
        _let_ray_print(on=False)
        try:
            if self._options.address is None:
                self._start()
            else:
                self._join(self._options.address)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it; one of this run's own is stopped."""
        if self._entered:
            ray.shutdown()
            _let_ray_print(on=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        workers, cpus = self._options.workers, self._options.cpus_per_worker
        self.own = True
        _sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_folder()))
        before = dict(os.environ)
        os.environ.update(SETTINGS | before)
        try:
            ray.init(
                num_cpus=None if workers is None else workers * cpus,
                _node_ip_address=HERE,
                _temp_dir=str(self._folder),
                **QUIET,
            )
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise RunError(f"a Ray cluster could not be started ({reason(error)}); take --engine local") from error
        finally:
            for name in SETTINGS.keys() - before.keys():
                del os.environ[name]

    def _join(self, address: str) -> None:
        try:
            _knock(address)
            ray.init(address=address, **QUIET)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise OptionError(
                f"expected a Ray cluster at {address!r} with a node on this machine ({reason(error)}); "
                "start one with `ray start --head`, or leave --ray-address out"
            ) from error


def _knock(address: str) -> None:
    """Whether anybody is there: Ray itself would wait for minutes.

    Raises:
        OSError, ValueError: nobody is, or it is no address.
    """
    host, colon, port = address.rpartition(":")
    if colon:
        own: Any = ray.util.get_node_ip_address
        host = own() if host in ("localhost", HERE) else host  # as Ray takes it
        socket.create_connection((host, int(port)), KNOCK_S).close()


def _short_folder() -> Path:
    """Ray's sockets lie in it, whose names may have no more than about a hundred characters."""
    short = Path("/tmp")  # noqa: S108
    return short if short.is_dir() else Path(tempfile.gettempdir())


def _sweep() -> None:
    """Delete the folders of runs that were killed."""
    for folder in _short_folder().glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not _runs(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    if os.name != "posix":  # where the signal would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _let_ray_print(*, on: bool) -> None:
    """Whether Ray tells of lost workers by itself, on standard output; voxrank does in its own way."""
    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = on  # noqa: SLF001
