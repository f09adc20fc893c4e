"""Rankings whose winner is a small checkpoint, and the scripts generated from them."""

import pytest

import hf_models
from loading import load_file
from voxrank.integrations.finetune import script
from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return a function that returns the directory of a small random model of a family."""
    made = {}

    def save(family):
        if family not in made:
            made[family] = hf_models.save(tmp_path_factory.mktemp(family), *hf_models.build(family))
        return made[family]

    return save


@pytest.fixture
def ranking():
    """Return a function that makes a ranking whose winner is a spec at a layer."""

    def make(spec, data="data.csv", task="classification", target="label", layer=2, **options):
        scores = {"logme": ScoreValue(0.5, 0.4, 0.6)}
        told = {"scores": ["logme"], "higher_is_better": {"logme": True}, "data": str(data), "target": target}
        layers = [LayerScore(spec, index, f"block {index}", 32, scores) for index in (layer, 0)]
        return Ranking(
            task,
            DataSummary(36, 36, 9.0, "abc123"),
            (ModelScore(spec, layer, 1, 0.9, 1000, scores), ModelScore("logmel", 0, 2, 0.1, 0, scores)),
            (*layers, LayerScore("logmel", 0, "log-mel", 80, scores)),
            None,
            Cost(1.0, 1.0, 1.0, 1.0),
            (),
            told | {"strategy": "probe", "head_at": "layer"} | options,
        )

    return make


@pytest.fixture
def loaded(tmp_path, ranking):
    """Return a function that writes the script of a ranking, and imports it."""
    count = iter(range(100))

    def load(*arguments, edit=lambda text: text, **options):
        path = tmp_path / f"script{next(count)}.py"
        path.write_text(edit(script(ranking(*arguments, **options))), encoding="utf-8")
        module = load_file(path)
        module.OUT = tmp_path / path.stem
        module.path = path
        return module

    return load


@pytest.fixture
def executed(run_python):
    """Return a function that runs a script as a user does, and returns its output."""
    return lambda path, folder: run_python(path, cwd=folder, check=True).stdout
