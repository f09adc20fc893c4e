"""The scripts of the study run to their end on small data, and the documentation can show their results."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

RATE = 16_000
CORPUS = {"variants": {"train": ("m1", "f1"), "validation": ("m4",), "test": ("m2",)}}


@pytest.fixture
def spoken(bench):
    """Let eSpeak NG speak few sentences."""
    speech = bench.script("study.speech")
    takes = {"train": 4, "validation": 2, "test": 2}
    small = {
        name: replace(corpus, accents=corpus.accents[:1], takes=takes, frequent=60, words=(2, 4), **CORPUS)
        for name, corpus in speech.CORPORA.items()
    }
    bench.script("study.speech", CORPORA=small)
    bench.script("sentences", VOICES={"en-us": ("m1", "f2")}, TAKES=3, WORDS=(2, 4), FREQUENT=60)


def noise(seconds, seed):
    """Return noise whose colour differs by seed."""
    rng = np.random.default_rng(seed)
    return 0.1 * np.convolve(rng.normal(size=round(seconds * RATE)), np.ones(1 + seed % 9) / 3, mode="same")


@pytest.fixture
def packages(bench, monkeypatch):
    """Replace Debian's packages by a few recordings with the same names."""
    debian = bench.script("study.debian")

    def fetch(folder):
        for voice in debian.VOICES.values():
            for kind in ("digits", "letters", "."):
                for name in ("7", "9") if kind == "digits" else ("a", "b"):
                    path = folder / "usr/share/asterisk/sounds" / voice / kind / f"{name}.g722"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"G.722")
        for number, language in enumerate(("es", "it", "tn", "ru", "pt_BR")):
            for kind, names in (("syllab", ("ba", "be", "do")), ("alpha", ("a", "b"))):
                for place, name in enumerate(names):
                    path = folder / "usr/share/klettres" / language / kind / f"{name}.ogg"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    soundfile.write(path, noise(0.4, number + 7 * place), RATE)

    monkeypatch.setattr(debian, "fetch", fetch)
    monkeypatch.setattr(debian, "read_g722", lambda path: noise(0.6, len(str(path)) + ord(path.stem[0])))


@pytest.fixture
def study(bench, whisper):
    """Return `study/run.py` with small models, few epochs and the cells of digits."""
    bench.script("study.cells", WHISPERS=(whisper,))
    bench.script("study.real", PROBE_EPOCHS=dict.fromkeys((5, 20, 100), 2), EPOCHS=dict.fromkeys((5, 20, 100), 1))
    return bench.script("study.run")


@pytest.mark.usefixtures("packages")
def test_cells_of_real_weights_run_and_are_judged(bench, study):
    names = ["probe-digits-5", "layer-digits-5", "full-digit-speakers-5"]
    study.main(["--cells", *names, "--seeds", "1"])

    assert [cell["strategy"] for cell in map(bench.result, (f"real/{name}" for name in names))] == [
        "probe", "layer", "full",
    ]  # fmt: skip
    tables = bench.tables("real")
    assert all(name in tables["real-costs"] for name in names)


@pytest.mark.usefixtures("packages")
def test_another_draw_of_a_cell_is_kept_apart(bench, study):
    study.main(["--cells", "probe-digits-5", "--seeds", "1", "--draw", "1"])
    assert bench.result("real/draws/probe-digits-5-1")["cell"] == "probe-digits-5"


@pytest.mark.usefixtures("packages")
def test_the_data_of_every_real_cell_can_be_made(bench, study, capsys):
    real = bench.script("study.real")
    for task in real.TASKS:
        assert {one.split for one in task.data(5).utterances} <= {"train", "validation", "test"}
    for data, _ in real.TIMED.values():
        assert len(data()) > 0
    study.main(["--list"])
    assert len(capsys.readouterr().out.splitlines()) == len(real.cells())


def test_recordings_of_packages_are_converted(bench, packages, capsys):
    bench.script("study.debian").main()
    assert capsys.readouterr().out == "24 prompts, 25 letters and syllables\n"


def test_the_first_study_runs_and_its_default_is_timed(bench, whisper, study):
    cells = bench.script("study.cells")
    tuning = replace(cells.PROBE, epochs=2)
    small = tuple(
        replace(cell, models=(whisper, "logmel"), tuning=tuning)
        for cell in cells.CELLS
        if cell.name in ("probe-digits", "probe-digit-speakers")
    )
    for name in ("study.cells", "study.run"):
        bench.script(name, CELLS=small)
    study.main(["--set", "study", "--seeds", "1"])
    bench.script("study.costs").main([])

    assert set(bench.result("study/costs")["cells"]) == {"probe-digits", "probe-digit-speakers"}
    assert "probe-digits" in bench.tables("study")["study-costs"]
    assert "probe-digits" in bench.tables("study/costs")["study-default-costs"]


def test_a_ranking_is_priced_beside_fine_tuning(bench, whisper):
    bench.script("study.price", MODEL=whisper, BLOCK="2").main()
    assert bench.result("price")["layers"] == 4
    assert "each block" in bench.tables("price")["price"]


def test_published_tables_are_compared_with_depth(bench):
    bench.script("study.published").main()
    assert len(bench.result("study/published")["tables"]) == 3
    assert "chance" in bench.tables("study/published")["published"]


@pytest.mark.usefixtures("spoken")
def test_sentences_are_spoken_once(bench, capsys):
    speech = bench.script("study.speech")
    speech.main(["de"])
    speech.main(["de"])
    assert capsys.readouterr().out == "de 12 clips\n" * 2


@pytest.mark.usefixtures("spoken")
def test_the_conformer_is_trained_and_written(bench):
    conformer = bench.script("study.conformer")
    conformer.main(["pretrain"], conformer.Settings(epochs=1, warmup=1))

    assert len(bench.result("study/conformer-pretraining")["epochs"]) == 1
    assert (bench.made / "study" / "conformer" / "config.json").exists()
    assert "recorded" in bench.tables("study/conformer-pretraining")["study-training"]


def test_the_conformer_has_one_command(bench):
    with pytest.raises(SystemExit, match="pretrain"):
        bench.script("study.conformer").main([])


@pytest.mark.usefixtures("spoken")
def test_the_hubert_is_trained_in_two_stages_and_probed(bench, whisper):
    hubert = bench.script("study.hubert", FRONT_END_STEPS=1, HELD_OUT=0.4, HELD_OUT_BATCHES=1, PROBED_FRAMES=60)
    crops = {"CROP_FRAMES": (20, 30), "FULL": hubert.HOP * 29 + hubert.WINDOW, "BATCH_FRAMES": 60}
    stages = tuple(replace(stage, units=4, steps=2) for stage in hubert.STAGES)
    bench.script("study.hubert", STAGES=stages, **crops)
    hubert.main(["pretrain"])

    result = bench.result("study/hubert-pretraining")
    assert [row["step"] for row in result["log"]] == [2, 2]
    assert len(result["phone_probe_accuracy"]["model"]) == 13


@pytest.mark.usefixtures("spoken")
def test_advice_on_several_layers_is_compared_with_probes(bench, whisper):
    bench.script("spoken", LANGUAGES=("en-us", "de"), VARIANTS=("m1", "f2", "m3"), TEST_VARIANTS=1, TAKES=5)
    layersets = bench.script("study.layersets", MODELS=(whisper,))
    small = tuple(replace(task, per_class=(4, 5)) for task in layersets.TASKS if task.name in ("words", "digits"))
    bench.script("study.layersets", TASKS=small, FSDD_SHARE=1, TARGETS=("de",))
    bench.script("study.jointgram", STRENGTHS=(30.0,))
    bench.script("study.evidence", STEPS=3)
    bench.script("study.advised", RESAMPLES=20)
    layersets.main(["--corpora", "arabic", "fsdd-10", "numbers", "sentences", "phones-en-us"])
    bench.script("study.advice", SPLITS=2, ADAM_STEPS=2).main([])

    assert bench.result("advice")["halves"]["reporting"]["tasks"] == ["digits"]
    assert all(bench.tables("advice").values())
