"""The Ray cluster of a run: an existing cluster, or a cluster on this machine that is started for the run."""

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

# Ray reads these variables when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
HERE = "127.0.0.1"
PREFIX = "voxrank-ray-"
"""Prefix of the folder of a cluster; the number of the process that started it follows."""
KNOCK_S: Seconds = 5.0
"""Timeout of the connection to an address, in seconds."""
SETTINGS = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5", "RAY_worker_niceness": "0"}
"""Environment of the processes of a cluster. The first variable is the time in seconds that processes look for a killed
head (the default of Ray is a minute). The second one gives workers normal priority (the default of Ray is low)."""


class Cluster:
    """The cluster of a run. The process uses the cluster it is connected to, or else joins or starts one.

    Args:
        options: address of the cluster, or its size.

    Attributes:
        own: whether the cluster was started for this run only.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._folder: Path | None = None
        self._entered = False
        self.own = False

    def __enter__(self) -> Self:
        """Join or start the cluster.

        Raises:
            OptionError: there is no cluster at the address.
            RunError: no cluster can be started.
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
        """Leave the cluster; a cluster that was started for this run is stopped."""
        if self._entered:
            ray.shutdown()
            _let_ray_print(on=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        workers, cpus = self._options.workers, self._options.cpus_per_worker
        self.own = True
        _delete_leftovers()
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
            _check_reachable(address)
            ray.init(address=address, **QUIET)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise OptionError(
                f"expected a Ray cluster at {address!r} with a node on this machine ({reason(error)}); "
                "start one with `ray start --head`, or leave --ray-address out"
            ) from error


def node_names() -> dict[str, str]:
    """Return the identifier of each node of the cluster → its name; by default the name is the address."""
    return {node["NodeID"]: node["NodeName"] for node in ray.nodes()}


def _check_reachable(address: str) -> None:
    """Check that an address accepts connections, because Ray itself would wait for minutes.

    Raises:
        OSError, ValueError: the address does not accept connections, or is not an address.
    """
    host, colon, port = address.rpartition(":")
    if colon:
        get_address: Any = ray.util.get_node_ip_address
        host = get_address() if host in ("localhost", HERE) else host  # as Ray does
        socket.create_connection((host, int(port)), KNOCK_S).close()


def _short_folder() -> Path:
    """Return a folder with a short path for the sockets of Ray, whose paths are limited to about 100 characters."""
    short = Path("/tmp")  # noqa: S108
    return short if short.is_dir() else Path(tempfile.gettempdir())


def _delete_leftovers() -> None:
    """Delete the folders of runs that were killed."""
    for folder in _short_folder().glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere the signal would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _let_ray_print(*, on: bool) -> None:
    """Set whether Ray reports lost workers on standard output; voxrank reports them itself."""
    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = on  # noqa: SLF001
