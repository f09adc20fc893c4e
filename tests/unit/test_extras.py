"""A feature without its extra names the extra, in a line; everything else works without extras."""

import os
import re
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest

import dependency_sizes
import try_release as release
from voxrank._support.packages import PACKAGES
from voxrank.cli.extras import check_extras, check_transcripts
from voxrank.config import EngineOptions, RankRequest, SequenceOptions
from voxrank.errors import OptionError

ROOT = Path(__file__).parents[2]
HIDDEN = sorted({name for one in release.NEEDS for name in one.packages})


HIDE = f"""
import sys
for name in list(sys.modules):  # those that have seen the packages already
    if name.split(".")[0] == "voxrank":
        del sys.modules[name]
sys.modules.update(dict.fromkeys({HIDDEN!r}))
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


def test_a_ranking_needs_no_extra_and_one_line_says_that_its_page_does(data, without_extras, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.html").write_text("of an earlier ranking")
    words = f"rank {data}/tones.csv -m logmel -m mfcc --out {folder}".split()
    done = without_extras(f"from voxrank.cli.main import exit_code\nsys.exit(exit_code({words!r}))")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"ranking.json", "layers.csv", "details.json", "run.log"}
    message = "report.html was not written: the page needs the extra page; run: pip install 'voxrank[page]', then: "
    assert [line for line in done.stderr.splitlines() if "voxrank[" in line] == [f"{message}voxrank report {folder}"]
    assert "report.html" not in done.stdout


def test_exports_of_a_ranking_need_no_extra(data, without_extras, tmp_path):
    done = without_extras(
        f"import voxrank\nranking = voxrank.rank({str(data / 'tones.csv')!r}, ['logmel'])\n"
        f"ranking.save({str(tmp_path / 'out')!r})\nranking.to_markdown(); ranking.to_latex(); ranking.model_card()\n"
        "print(ranking.to_csv('models').splitlines()[1].split(',')[3], ranking._repr_html_()[:4])"
    )
    assert done.stdout.splitlines()[-1:] == ["logmel <div"], done.stderr


def test_transcripts_are_aligned_uniformly_without_extras(data, without_extras):
    words = f"rank {data}/transcripts.csv -m logmel --aligner uniform".split()
    done = without_extras(f"from voxrank.cli.main import exit_code\nsys.exit(exit_code({words!r}))")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ("transcripts.csv", True),
        ("transcripts.csv --aligner uniform", False),
        ("transcripts.csv --aligner uniform --against ctc:x", True),
        ("transcripts.csv --aligner uniform --against jitter", False),
        ("transcripts.csv --segments times", False),
        ("tones.csv", False),
        ("tones.csv --target text", True),
        ("transcripts.jsonl", True),
        ("labels.jsonl", False),
        ("cuts.jsonl", False),
        ("nowhere.csv", False),
        ("nowhere --unit char", True),
    ],
)
def test_transcripts_are_recognised_by_the_columns_of_the_data(data, monkeypatch, options, refused):
    (data / "transcripts.jsonl").write_text('{"audio_filepath": "0.wav", "text": "yes"}\n')
    (data / "labels.jsonl").write_text('{"path": "0.wav", "text": "yes", "label": "a"}\n')
    name, *words = options.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    sequence = SequenceOptions(
        unit=given.get("--unit"),
        aligner=given.get("--aligner", "flat"),
        against=tuple(filter(None, [given.get("--against")])),
    )
    request = RankRequest(
        models=("logmel",), sequence=sequence, target=given.get("--target"), segments=given.get("--segments")
    )
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    with pytest.raises(OptionError, match="needs the extra align") if refused else nullcontext():
        check_transcripts(str(data / name), request)


def test_all_missing_extras_of_a_request_are_named_in_one_line(monkeypatch):
    monkeypatch.setattr("voxrank._support.packages.find_spec", lambda name: None)
    request = RankRequest(models=("onnx:x.onnx",), engine=EngineOptions("ray"))
    with pytest.raises(OptionError, match=r"^--engine ray needs the extra ray, and a model .*\[onnx,ray\]'$"):
        check_extras(request)


def test_a_ranking_by_labels_imports_no_package_of_the_extras(data):
    words = f"rank {data}/tones.csv -m logmel -m mfcc --no-cache".split()
    ask = f"print(sorted(n for n in {[*HIDDEN, 'pandas']!r} if n in sys.modules))"
    code = f"import sys\nfrom voxrank.cli.main import exit_code\ncode = exit_code({words!r})\n{ask}\nsys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_extra_all_has_what_users_may_need():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    [everything] = extras["all"]
    named = set(re.search(r"\[(.+)\]", everything)[1].split(","))
    assert named == set(extras) - {"all", "audit", "dev", "docs", "release", "study", "workflows"}


IMPORT_NAMES = {
    "espeakng-loader": "espeakng_loader",
    "mlflow-skinny": "mlflow",
    "scikit-learn": "sklearn",
    "vl-convert-python": "vl_convert",
}


@pytest.mark.parametrize("extra", sorted(PACKAGES))
def test_the_packages_of_an_extra_are_those_of_pyproject(extra):
    required = {IMPORT_NAMES.get(one.name, one.name) for one in dependency_sizes.requirements()[extra]}
    assert set(PACKAGES[extra]) == required - ({"numba"} if extra == "validate" else set())  # transcripts alone need it


def test_every_extra_that_messages_name_is_tried():
    """If this fails, a new feature needs an extra: add it to NEEDS in scripts/try_release.py."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"voxrank\[(\w+)\]", source))
    tried = {extra for one in release.NEEDS for extra in one.extra.split(",")}
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
