"""`--engine ray` from outside: the same ranking, nothing left behind however it ends, and little work lost."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import voxrank
from voxrank.cache.store import Cache
from voxrank.cli.main import exit_code
from voxrank.config import CacheOptions

MODULE = """
import os
import time
from torch import nn
from voxrank.cache.store import Cache
from voxrank.config import CacheOptions

def held():
    # Whether as many utterances are kept as the test wants
    most = int(os.environ.get("KEPT_AT_MOST", 0))
    return most and sum(one.utterances for one in Cache(CacheOptions()).holdings()) >= most

class Slow(nn.Module):
    sample_rate, min_samples = 16_000, 400

    def __init__(self):
        super().__init__()
        self.front = nn.Conv1d(1, 8, 400, 160)
        nn.init.constant_(self.front.weight, 0.01)
        nn.init.constant_(self.front.bias, 0.1)

    def forward(self, waveforms):
        while held():
            time.sleep(0.05)
        return self.front(waveforms[:, None]).transpose(1, 2)
"""
MODEL = "py:slow:Slow"


@pytest.fixture
def folder(tones):
    """Return the folder of the tones, with a model that can be held."""
    (tones.parent / "slow.py").write_text(MODULE)
    return tones.parent


def processes_of(folder):
    """Return all processes with this folder in their environment, including indirect children."""
    mark, found = f"VOXRANK_CACHE={folder / 'kept'}".encode(), []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if (
                mark in (one / "environ").read_bytes().split(b"\0")
                and b"State:\tZ" not in (one / "status").read_bytes()
            ):
                found.append((one / "cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.fixture
def begin(folder, start_python):
    """Return a function that starts a ranking in a separate process group, as a shell does."""

    def start(**variables):
        rank = ("rank", "tones.csv", "-m", MODEL, "--engine", "ray", "--workers", "2")
        environment = {**os.environ, "VOXRANK_CACHE": str(folder / "kept"), **variables}
        return start_python(
            "-m", "voxrank", *rank, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start


def utterances_kept(folder):
    return sum(one.utterances for one in Cache(CacheOptions(str(folder / "kept"))).holdings())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_driver_ends_its_workers_and_loses_only_current_shards(
    begin, folder, monkeypatch, wait_until, assert_same
):
    started = begin(KEPT_AT_MOST="9")
    wait_until(lambda: utterances_kept(folder) >= 9)
    assert started.poll() is None
    started.kill()
    started.communicate()
    wait_until(lambda: not any(name.startswith(b"ray::") for name in processes_of(folder)))
    kept = utterances_kept(folder)
    assert 9 <= kept < 36
    monkeypatch.chdir(folder)
    found = json.loads(voxrank.rank("tones.csv", [MODEL], cache=CacheOptions(str(folder / "kept"))).to_json())
    assert found["cost"]["cached_s"] == pytest.approx(found["data"]["seconds"] * kept / 36, rel=0.1)
    assert_same(found, json.loads(voxrank.rank("tones.csv", [MODEL]).to_json()))
    wait_until(lambda: not processes_of(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupt_is_reported_in_one_line_and_leaves_no_process(begin, folder, wait_until):
    started = begin(KEPT_AT_MOST="1")
    wait_until(lambda: utterances_kept(folder) >= 1)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert err.splitlines()[-1] == "voxrank: stopped; no ranking was written"
    assert "Traceback" not in err
    wait_until(lambda: not processes_of(folder))
    assert not list(Path("/tmp").glob(f"voxrank-ray-{started.pid}-*"))


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "localhost:port"])
def test_an_address_without_a_cluster_is_refused_in_one_line(tones, capsys, address):
    arguments = ["rank", str(tones), "-m", "logmel", "--engine", "ray", "--ray-address", address]
    assert exit_code(arguments) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert f"expected a Ray cluster at '{address}' with a node on this machine" in err


def test_options_of_workers_without_ray_are_refused_in_one_line(tones, capsys):
    assert exit_code(["rank", str(tones), "-m", "logmel", "--workers", "2"]) == 2
    assert "are for --engine ray; add it" in " ".join(capsys.readouterr().err.split())


def test_ray_without_its_extra_is_refused_in_one_line(tones, capsys, monkeypatch):
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None if name == "ray" else find_spec(name))
    assert exit_code(["rank", str(tones), "-m", "logmel", "--engine", "ray"]) == 2
    assert "--engine ray needs the extra ray; run: pip install 'voxrank[ray]'" in capsys.readouterr().err.replace(
        "\n", ""
    )
