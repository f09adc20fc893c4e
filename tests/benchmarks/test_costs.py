"""Benchmarks of time and memory run to their end on small sizes, and the documentation can show what they write."""

import gc

import pytest
import transformers as tf

from voxrank.config import EncoderOptions
from voxrank.errors import ModelError
from voxrank.testing.encoders import check_encoder

HUBERT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "conv_dim": (4,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def test_overhead_measures_times_and_memory(bench, whisper):
    overhead = bench.script(
        "overhead",
        PAIRS=1,
        TIME_RUNS=(("logmel", "fit", 12), (whisper, "full", 6)),
        MEMORY_RUNS=((whisper, "fit", "bare", 6), (whisper, "fit", "whole", 6)),
    )
    overhead.main([])

    result = bench.result("overhead")
    assert [row["model"] for row in result["time"]["rows"]] == ["logmel", whisper]
    assert all(row["whole_s"] > 0 and row["bare_s"] > 0 for row in result["time"]["rows"])
    assert all(row["peak_rss_mb"] > 50 for row in result["memory"]["rows"])
    assert "logmel" in bench.tables("overhead")["overhead"]


def test_overhead_measures_one_part_alone(bench):
    overhead = bench.script("overhead", PAIRS=1, TIME_RUNS=(("logmel", "fit", 12),))
    overhead.main(["time"])
    assert "memory" not in bench.result("overhead")


def test_scores_are_timed_against_products_and_published_algorithms(bench):
    scores = bench.script(
        "scores",
        ROUNDS=1,
        REFERENCE_ROUNDS=1,
        LOGME=((300, 8, 3),),
        SLICED=((300, 8, 4),),
        HOUR={"layers": 2, "dim": 8, "classes": 4, "hours": 1},
        CLIP_S=2,
        CLIPS_OF_HOUR=24,
        HUBERT=tf.HubertConfig(**HUBERT),
    )
    scores.main([])

    result = bench.result("scores")
    assert result["logme"][0]["times_quicker"] > 0
    assert result["sliced"][0]["difference_from_pot"] < 1e-3
    for row in (*result["logme"], *result["sliced"]):
        assert set(row["products"]) == {"auto", "strips", "blas", "torch"}
        assert all(ratio > 0 for ratio in row["products"].values())
    assert result["made"]["blas"]
    assert set(bench.tables("scores")) == {"scores", "hour"}


def test_one_part_of_the_scores_is_timed_alone(bench):
    scores = bench.script("scores", ROUNDS=1, REFERENCE_ROUNDS=1, SLICED=((30, 8, 4),))
    scores.main(["sliced"])
    assert set(bench.result("scores")) == {"made", "rounds", "sliced"}
    with pytest.raises(SystemExit, match="expected parts among logme, sliced, hour, got all"):
        scores.main(["all"])


def test_families_are_compared_and_the_tower_is_loaded_alone(bench, monkeypatch):
    small = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    families = bench.script(
        "families",
        ROUNDS=1,
        AUDIO_7B={"model_type": "qwen2_audio_encoder", **small},
        TEXT_7B={"model_type": "qwen2", "intermediate_size": 16, "vocab_size": 64, **text},
        SHARD_BYTES=20_000,
    )
    monkeypatch.setattr(families.families, "FAMILIES", {"lasr": families.families.FAMILIES["lasr"]})
    families.main([])

    result = bench.result("families")
    assert result["families"][0]["difference"]["complete"] < 1e-4
    assert list(result["refused"]) == ["EnCodec of stereo audio", "SpeechT5 for speech synthesis", "BERT"]
    assert result["tower"]["seconds"] > 0
    assert set(bench.tables("families")) == {"families", "families-refused", "families-tower"}


def test_the_cache_is_timed_empty_and_filled(bench, whisper):
    cache = bench.script("cache", MODELS=("logmel", whisper), SAMPLES=("utterance",), EVERY=3)
    cache.main(["--rounds", "1"])

    assert [row["model"] for row in bench.result("cache")["rows"]] == ["logmel", whisper]
    assert all(row["mb_an_hour"] > 0 for row in bench.result("cache")["rows"])
    assert "logmel" in bench.tables("cache")["cache"]


def test_whisper_windows_are_compared(bench, whisper):
    windows = bench.script("windows", MODELS=(whisper,), TIMED_UTTERANCES=1, ROUNDS=1)
    windows.main("words", "digits")

    rows = bench.result("windows")["rows"]
    assert [(row["set"], row["window"]) for row in rows] == [
        (name, window) for name in ("words", "digits") for window in windows.WINDOWS
    ]
    assert all(len(row["accuracy"]) == 4 for row in rows)
    assert all(row["largest"] == row["regret"] == 0 and row["share"] == 1 for row in rows if row["window"] == "full")
    assert all(0 < row["share"] < 1 for row in rows if row["window"] in ("0", "auto"))
    assert whisper in bench.tables("windows")["windows"]


def test_sets_for_whispers_windows_are_balanced_and_have_labels_or_transcripts(bench):
    windows = bench.script("windows")
    words, speakers, phones = (windows.SETS[name].data() for name in ("words", "speakers", "phones"))
    assert {one.label for one in words.utterances} == {"cancel", "close", "open", "stop"}
    assert {one.label for one in speakers.utterances} == {f"s{number}" for number in range(1, 7)}
    counts = [[one.label for one in speakers.utterances].count(label) for label in ("s1", "s6")]
    assert counts == [8, 8]
    assert all(one.text and windows.length(one) <= 3 for one in phones.utterances)


def test_the_main_job_is_recorded_with_its_command(bench, whisper):
    rankings = bench.script(
        "rankings", MODELS=(whisper, "logmel"), DEMO=["rank", "fsdd/manifest.csv", "--model", "logmel"],
        SETS=("fsdd",), TRANSCRIPTS={"char": []},
    )  # fmt: skip
    rankings.main([])

    found = bench.result("rankings")["rankings"]
    assert list(found) == ["demo", "fsdd", "asterisk-en char"]
    assert found["demo"]["process_s"] > 0
    assert "`voxrank rank fsdd/manifest.csv" in bench.tables("rankings")["rankings"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves files of servers to the collector
def test_workers_are_timed_and_what_they_send_is_counted(bench, whisper):
    scaling = bench.script(
        "scaling", ROUNDS=1, SPEED_MODEL=whisper, SPEED_UTTERANCES=24, COST_UTTERANCES=12,
        SHAPES={"24 blocks of 1,024": (2, 8)}, MODELS=("logmel",), SPINS=5,
    )  # fmt: skip
    scaling.main([])
    gc.collect()  # the files that Ray leaves, here, where their warnings are ignored
    assert set(bench.tables("scaling")) == {"scaling-speed", "scaling-cost", "scaling-bytes", "scaling-plan"}


def test_a_teacher_is_probed_for_words_and_voices(bench, whisper):
    teacher = bench.script("teacher", MODELS=(whisper,))
    teacher.main()

    rows = bench.result("teacher")["rows"]
    assert {row["layer"] for row in rows} == {0, 1, 2, 3, "mean"}
    assert all(0 <= row["word"] <= 1 and 0 <= row["speaker"] <= 1 for row in rows)
    assert "mean" in bench.tables("teacher")["teacher"]


def test_many_hours_are_simulated_to_the_end(bench):
    simulation = bench.script(
        "simulation", SIZES=(500, 1000), RUNS=((40, 2), (120, 2), (40, 3)), RACE=(400, 2), ENTRY_ITEMS=300
    )
    simulation.main([])

    result = bench.result("simulation")
    assert [size["utterances"] for size in result["rows"]["sizes"]] == [500, 1000]
    assert all(size["parts_found"] >= size["entries"] for size in result["rows"]["sizes"])
    assert result["run"]["race"]["best"] == result["run"]["rows"][1]["best"] == "simulated:0"
    assert result["run"]["race"]["share"] < 1
    assert result["run"]["rows"][1]["virtual_gpu_s"] == pytest.approx(2 * 120 * 7.2 * 0.0026, abs=0.01)
    assert set(bench.tables("simulation")) == {"simulation-steps", "simulation-run"}


def test_a_simulated_encoder_keeps_the_contract_of_encoders(bench):
    simulated = bench.script("simulated")
    check_encoder(lambda: simulated.load("1", EncoderOptions(device="cpu")))
    with pytest.raises(ModelError, match="expected simulated:N with a number"):
        simulated.load("x", EncoderOptions(device="cpu"))
