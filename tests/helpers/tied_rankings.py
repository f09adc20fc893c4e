"""Rankings with any names."""

from voxrank.results.ranking import Cost, DataSummary, LayerScore, ModelScore, Ranking, ScoreValue

NAMES = ("facebook/hubert-base", "b", "logmel")


def make_ranking(names=NAMES, *, intervals=True, joint=True, score="logme", layer_name="block 1", **changes):
    """Three layers and, with `joint`, their mean for each model; the first two models are tied, layer 1 is best."""

    def scores(model, layer):
        value = -1.0 - 0.1 * model - 0.05 * abs(layer - 1)
        ends = (value - 0.01, value + 0.02) if intervals else (None, None)
        return {score: ScoreValue(value, *ends), "cka": ScoreValue(0.1 * layer, None, None)}

    layers = [
        LayerScore(name, "mean" if layer == 3 else layer, layer_name, 8, scores(model, layer))
        for layer in (1, 0, 2, *((3,) if joint else ()))
        for model, name in enumerate(names)
    ]
    models = [ModelScore(n, 1, i + 1, 1 / len(names), 10**8 + i, scores(i, 1)) for i, n in enumerate(names)]
    beats = [[0.5 if {i, j} == {0, 1} else 0.99 for j in range(len(names))] for i in range(len(names))]
    options = {
        "voxrank": "0.1.0",
        "scores": [score, "cka"],
        "higher_is_better": {score: True, "cka": False},
        "strategy": "probe",
        "layers": "all",
    }
    given = {
        "task": "classification",
        "data": DataSummary(1200, 1199, 4000.0, "0abc9"),
        "models": tuple(models),
        "layers": tuple(layers),
        "beats": tuple(map(tuple, beats)),
        "cost": Cost(60.0, 1.0, 75.0, 900.0),
        "skipped": (),
        "options": options,
    }
    return Ranking(**given | changes)
