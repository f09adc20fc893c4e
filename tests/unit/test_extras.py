"""A feature without its extra names the extra, in a line; everything else works without extras."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import try_release as release

ROOT = Path(__file__).parents[2]
HIDDEN = sorted({name for one in release.NEEDS for name in one.packages})


HIDE = f"""
import sys
for name in list(sys.modules):  # those that have seen the packages already
    if name.split(".")[0] == "voxrank":
        del sys.modules[name]
sys.modules.update(dict.fromkeys({HIDDEN!r}))
import pandas
pandas.set_option("mode.string_storage", "python")  # as where pyarrow is not installed
"""


@pytest.fixture
def without_extras(run_python):
    """Return a function that runs Python without the packages of all extras."""
    return lambda code: run_python("-c", HIDE + code, env={**os.environ, "COLUMNS": "80"})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    release.make_data(folder)
    return folder


@pytest.mark.parametrize("one", release.NEEDS, ids=[f"{one.extra}: {one.shown}" for one in release.NEEDS])
def test_a_missing_extra_is_named(one, data, without_extras):
    done = without_extras(one.code(data))
    assert done.returncode == 2, done.stderr
    assert len([line for line in done.stdout.splitlines() if one.says in line]) == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("one", [one for one in release.NEEDS if one.command], ids=lambda one: one.shown)
def test_a_missing_extra_is_named_before_slow_packages_are_imported(one, data):
    slow = set(release.HEAVY) - {"numpy"}
    ask = f"print(sorted(n for n in {slow!r} if sys.modules.get(n)))"
    hide = f"import atexit, sys\nsys.modules.update(dict.fromkeys({HIDDEN!r}))\natexit.register(lambda: {ask})\n"
    done = subprocess.run([sys.executable, "-c", hide + one.code(data)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert one.says in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_ranking_and_its_page_need_no_extra(data, without_extras, tmp_path):
    words = f"rank {data}/tones.csv -m logmel -m mfcc --json - --out {tmp_path}/out".split()
    done = without_extras(f"from voxrank.cli.main import exit_code\nsys.exit(exit_code({words!r}))")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_every_extra_that_messages_name_is_tried():
    """If this fails, a new feature needs an extra: add it to NEEDS in scripts/try_release.py."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"voxrank\[(\w+)\]", source))
    tried = {one.extra for one in release.NEEDS}
    assert named <= set(extras)
    assert named <= tried
    assert tried <= set(extras)


def seen(code):
    """Return the slow packages that the code imports."""
    ask = f"{code}\nimport sys; print(sorted(set({release.HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import voxrank",
        "import voxrank.cli.main",
        "from voxrank.cli.main import exit_code; exit_code(['--help'])",
        "from voxrank.cli.main import exit_code; exit_code(['rank', '--help'])",
        "from voxrank.cli.main import exit_code; exit_code(['rnak'])",
        "from voxrank.cli.main import exit_code; exit_code(['--version'])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    assert seen(code) == "[]"
