"""`voxrank cache`, and the cache of `voxrank rank`, from the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from voxrank.cache.store import SCHEMA


def cost(out):
    return json.loads(out)["cost"]


def test_a_second_run_of_the_command_encodes_nothing(run, tones, own_cache):
    first, again, without = (run("rank", tones, "-m", "logmel", "--json", *more) for more in ((), (), ("--no-cache",)))
    assert [code for code, _, _ in (first, again, without)] == [0, 0, 0]
    assert cost(first[1])["cached_s"] == cost(without[1])["cached_s"] == 0
    assert cost(again[1])["cached_s"] > 0
    assert cost(again[1])["encode_s"] == 0
    for name, score in json.loads(again[1])["models"][0]["scores"].items():
        assert score == pytest.approx(json.loads(first[1])["models"][0]["scores"][name], rel=1e-9)
    assert any(own_cache.iterdir())


def test_the_table_shows_the_share_that_came_from_the_cache(run, tones):
    run("rank", tones, "-m", "logmel")
    out = run("rank", tones, "-m", "logmel")[1]
    assert "from the cache" in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_cached_data_are_listed_and_deleted(run, tones, own_cache):
    assert f"0.0 MB in {own_cache}" in run("cache", "ls")[1].replace("\n", "")
    run("rank", tones, "-m", "logmel", "-m", "mfcc")
    code, out, _ = run("cache", "ls")
    assert code == 0
    assert "logmel" in out
    assert "mfcc" in out
    assert max(len(line) for line in out.splitlines()[:-1]) <= 80
    listed = json.loads(run("cache", "ls", "--json")[1])
    assert listed["folder"] == str(own_cache)
    assert {one["about"]["model"] for one in listed["holdings"]} == {"logmel", "mfcc"}
    assert all(one["utterances"] == 36 and one["size"] > 0 for one in listed["holdings"])
    code, out, _ = run("cache", "prune", "--size", "100")
    assert (code, out) == (0, "deleted 0 files, 0.0 MB\n")
    freed = json.loads(run("cache", "prune", "--all", "--json")[1])
    assert freed["bytes"] == sum(one["size"] for one in listed["holdings"])
    assert json.loads(run("cache", "ls", "--json")[1])["holdings"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cache", "prune"), "expected either --size GB or --all"),
        (("cache", "prune", "--size", "-1"), "expected cache-size to be a finite number of at least 0, got -1"),
    ],
)
def test_wrong_requests_are_refused(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_names_in_the_list_cannot_control_the_terminal(run, tones, own_cache):
    run("rank", tones, "-m", "logmel")
    [about] = own_cache.glob(f"v{SCHEMA}/*/about.json")
    about.write_text(json.dumps({"model": "\x1b[2Jevil", "layers": 3, "sample": ["\x07"]}))
    out = run("cache", "ls")[1]
    assert "evil" in out
    assert not {"\x1b", "\x07"} & set(out)
    about.write_text("[" * 100_000)
    assert run("cache", "ls")[0] == 0


SLOW = """
import os, sys, time
from pathlib import Path
import torch
from torch import nn

def held():
    # Whether two shards are kept, and the test wants no more
    return Path("hold").exists() and len(list(Path(os.environ["VOXRANK_CACHE"]).glob("v*/*/*.safetensors"))) >= 2


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv1d(1, 8, 400, 160)

    def forward(self, waveforms):
        while held():
            time.sleep(0.05)
        return self.front(waveforms[:, None]).transpose(1, 2)


def make():
    return Slow()
"""


@pytest.fixture
def started(tmp_path, tones, start_python):
    """Return a function that starts a ranking by a model that waits while a file exists."""
    (tmp_path / "slow_model.py").write_text(SLOW)

    def start(*options):
        command = ("-m", "voxrank", "rank", tones, "-m", "py:slow_model:make", "--json", *options)
        return start_python(*command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return start


def entries(folder):
    return list(folder.glob(f"v{SCHEMA}/*/*.safetensors"))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_killed_run_resumes_from_the_cache(tmp_path, own_cache, started, how, wait_until):
    """The code of the model is part of its key, so that a separate file says whether it continues."""
    hold = tmp_path / "hold"
    hold.touch()
    begun = started()
    wait_until(lambda: len(entries(own_cache)) >= 2 or begun.poll() is not None)
    begun.send_signal(how)
    out, err = begun.communicate(timeout=120)
    assert out == ""
    if how == signal.SIGINT:
        assert begun.returncode == 130
        assert err.strip().splitlines()[-1] == "voxrank: stopped; no ranking was written"
    left = len(entries(own_cache))
    assert left >= 2
    hold.unlink()
    finished = started().communicate(timeout=120)[0]
    whole = started("--no-cache").communicate(timeout=120)[0]
    assert 0 < cost(finished)["cached_s"] < json.loads(whole)["data"]["seconds"]
    mine, theirs = (
        {x["layer"]: x["scores"]["logme"]["value"] for x in json.loads(out)["layers"]} for out in (finished, whole)
    )
    assert mine == pytest.approx(theirs, rel=1e-9)


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="names of files are text there")
def test_file_names_that_are_not_text_and_circular_links_are_skipped(run, tmp_path, write_wav):
    rng = np.random.default_rng(0)
    root = tmp_path / "classes"
    for label, level in (("quiet", 0.05), ("loud", 0.2)):
        for n in range(6):
            write_wav(root / label / f"{n}.wav", (rng.normal(size=4000) * level).astype(np.float32))
    shutil.copy(root / "loud" / "0.wav", os.fsencode(root / "loud") + b"/caf\xe9.wav")
    (root / "loud" / "circle").symlink_to(root)
    (root / "loud" / "itself.wav").symlink_to(root / "loud" / "itself.wav")
    code, out, _ = run("rank", root, "-m", "logmel", "--json", "--out", tmp_path / "out")
    assert code == 0
    found = json.loads(out)
    assert found["data"]["used"] == 12
    assert len(found["skipped"]) == 2
    reasons = " ".join(one["reason"] for one in found["skipped"])
    assert "expected UTF-8 text" in reasons
    assert "symbolic link" in reasons
