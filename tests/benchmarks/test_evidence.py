"""Benchmarks of agreement and of alignment run to their end on small data, and the docs can show their results."""

import csv

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")  # scores of few rows may be equal
NUMBERS = {"LANGUAGES": ("en-us", "de", "fr"), "VARIANTS": ("m1", "f2", "m3"), "TEST_VARIANTS": 1, "TAKES": 4}
SENTENCES = {"VOICES": {"en-us": ("m1", "f2")}, "TAKES": 3, "WORDS": (2, 4), "FREQUENT": 60}


@pytest.fixture
def spoken(bench):
    """Let eSpeak NG speak few numbers and sentences."""
    bench.script("spoken", **NUMBERS)
    bench.script("sentences", **SENTENCES)


@pytest.mark.usefixtures("spoken")
def test_scores_are_compared_with_probes(bench, whisper):
    agreement = bench.script("agreement", PER_CLASS=2, WITH_VALUES=8)
    bench.script("agreement", TASKS=[agreement.TASKS[place] for place in (0, 3, 5)])
    agreement.main([])

    result = bench.result("agreement")
    assert len(result["rows"]) == 3 * 5
    assert {row["model"] for row in result["rows"]} == {whisper, "logmel"}
    assert len(result["held_out"]) == 3
    assert set(bench.tables("agreement")) == {"agreement", "dependence", "combined"}


@pytest.mark.usefixtures("spoken")
def test_held_out_scores_are_compared_with_probes_and_listed_as_truth(bench):
    bench.script("agreement", TASKS=[bench.script("agreement").TASKS[place] for place in (0, 5)])
    heldout = bench.script("heldout", SIZES=(5,), VALUES=(20,), SEGMENTS=(60,), DRAWS=2)
    heldout.main([])

    result = bench.result("heldout")
    assert {line["cell"] for line in result["summary"]} == {
        "fsdd digits, unseen speakers, 5", "speaking rate, unheard voices, 20", "phones, 60",
    }  # fmt: skip
    assert set(bench.tables("heldout")) == {"heldout", "heldout-calibration"}

    bench.script("truth").main()
    with (bench.results / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result["rows"]) * 2
    assert rows[0]["task"] == "heldout fsdd digits, unseen speakers"


@pytest.mark.usefixtures("spoken")
def test_alignments_are_compared_with_exact_times(bench, whisper):
    bench.script("long_utterance", HOUR=(600, 150))
    alignment = bench.script("alignment", MODEL=whisper, LAYERS=(1, 2), EPOCHS=2, ROUNDS=1, MINUTE=(200, 50))
    alignment.main()

    result = bench.result("alignment")
    assert [row["layer"] for row in result["languages"]] == [1, 2]
    assert result["speed"]["same_score_as_numpy"] is True
    assert result["speed"]["hour"]["frames"] == 600
    assert set(bench.tables("alignment")) == {"alignment", "alignment-speed"}


@pytest.mark.usefixtures("spoken")
def test_rankings_by_aligned_and_by_exact_labels_are_compared(bench, whisper):
    bench.script("alignment", MODEL=whisper)
    bench.script("stability", EVERY=1).main()

    row = bench.result("stability")["languages"][0]
    assert row["pairs"] == 5
    assert set(row["best"]) == {"exact times", "flat start", "jitter", "equal lengths"}
    assert "en-us" in bench.tables("stability")["stability"]


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")  # resamples may be constant
@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")
@pytest.mark.usefixtures("spoken")
def test_treatments_of_frame_labels_are_compared_with_a_trained_recogniser(bench, whisper):
    bench.script("alignment", MODEL=whisper)
    policies = bench.script(
        "policies",
        STEPS=30,
        LEARNING_RATE=0.1,
        BLANK_BIAS=0.0,
        RESAMPLES=20,
        KNN_SAMPLES={"flat": (64, 1024), "exact": (64,)},
    )
    for pauses in ("0", "0.4"):
        policies.main(["--languages", "en-us", "--pauses", pauses])

    result = bench.result("policies")
    assert [line["pauses"] for line in result["languages"]] == [0.0, 0.4]
    assert result["languages"][0]["pairs"] == 5
    assert "rule: depth" in bench.tables("policies")["policies"]


def test_early_stopping_is_measured(bench, whisper):
    stopping = bench.script("stopping", SETS=(("fsdd", "label"),), CONFIDENCES=(0.9,))
    stopping.main(["--draws", "1"])

    result = bench.result("stopping")
    assert set(result["encode_s"]["fsdd"]) == {whisper, "logmel"}
    assert result["sets"]["fsdd label"]["confidence"]["0.9"]["draws"] == 1
    assert "0.9" in bench.tables("stopping")["stopping"]


def test_a_published_table_is_compared_with_its_own_tasks(bench):
    bench.script("published").main()
    assert all(len(source["tasks"]) > 1 for source in bench.result("published")["sources"].values())
    assert set(bench.tables("published")) == {"published-agreement"}
