"""Names of scores are known without importing any, and are those of the scores."""

import re
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

from voxrank.scores import get_score
from voxrank.scores.names import COMBINATIONS, DEFAULT, MODULES, NAMES, TUNED
from voxrank.testing.scores import check_score

ROOT = Path(__file__).parents[3]


def test_every_listed_module_defines_its_scores_in_the_order_listed():
    defined = []
    for module in dict.fromkeys(MODULES.values()):
        there = import_module(f"voxrank.scores.{module}")
        scores = getattr(there, "SCORES", None) or (there.SCORE,)
        defined += [(score.name, module) for score in scores]
        assert all(get_score(score.name) is score for score in scores)
    assert defined == list(MODULES.items())
    assert (DEFAULT, *COMBINATIONS, TUNED, *MODULES) == NAMES


def test_every_score_has_a_title_a_summary_and_the_direction_of_its_class():
    for name in MODULES:
        score = get_score(name)
        assert score.title
        assert score.summary
        assert score.estimator.higher_is_better == score.higher_is_better


def test_reading_the_names_imports_no_score():
    code = "import sys, voxrank.scores.names; print(sorted({'numpy', 'torch', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_of_the_package_is_refused_without_importing_a_score():
    code = (
        "import sys, voxrank.scores as scores\n"
        "try: scores.Toy\n"
        "except AttributeError as error: print(error, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "module 'voxrank.scores' has no attribute 'Toy' False"


def test_the_worked_example_of_a_score_passes_the_battery():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    file = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], file)
    assert file["SCORE"].name == "spread"
    make = file["SCORE"].estimator
    check_score(make)
    check_score(partial(make, regression=True), values=True)
