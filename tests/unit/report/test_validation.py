"""A validation in the terminal: at most 80 columns, names as plain text, and no unknown facts."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from voxrank.data.utterance import Skipped
from voxrank.groundtruth.agreement import agreement
from voxrank.groundtruth.verdict import Cost, Judged, Parts, Truth, Validation
from voxrank.report.validation import agreement_table, in_words, show_validation, truth_table

LONG = "facebook/wav2vec2-large-xlsr-53-and-much-more-of-it"
EVIL = "[red]x\x1b[31m\nnext"


def validation(values, scores=None, *, metric="accuracy", names=None, rules=(), notes=(), skipped=(), seconds=1.0):
    """Return a validation of one model per candidate; `scores` are the first predictor's, rules have other values."""
    names = names or [f"model-{place}" for place in range(len(values))]
    truth = tuple(
        Truth(name, 3, "block 3", 32, 1000, tuple(row), ("it went wrong",) * list(row).count(None), 2.4)
        for name, row in zip(names, values, strict=True)
    )
    higher = metric == "accuracy"
    numbers = [[float("nan") if value is None else value for value in row] for row in values]
    own = list(scores) if scores is not None else [float(place) for place in range(len(values))]

    def judged(name, kind, given):
        clean = [float("nan") if value is None else value for value in given]
        found = agreement(clean, numbers, truth_higher_is_better=higher, n_resamples=50)
        return Judged(name, kind, True, tuple(given), 0.0 if kind == "rule" else seconds, found)

    return Validation(
        "classification",
        "probe",
        metric,
        higher,
        Parts("speaker", 90, 10, 30, 300.0),
        truth,
        (
            judged("logme", "score", own),
            judged("probe on 10 %", "rival", own),
            *(judged(name, "rule", given) for name, given in rules),
        ),
        Cost(1.0, 1.0, 0.0, 240.0, 20.0, 300.0, 900.0),
        tuple(skipped),
        tuple(notes),
        {},
    )


def printed(show, width=80):
    text = io.StringIO()
    show(Console(file=text, width=width, highlight=False))
    return text.getvalue()


def shown(made):
    return printed(lambda console: show_validation(console, made))


def table(made):
    return printed(lambda console: console.print(truth_table(made))).splitlines()


def words(made):
    return " ".join(printed(lambda console: console.print(in_words(made))).split())


def agreed(made):
    """Return the cells of each predictor."""
    lines = printed(lambda console: console.print(agreement_table(made))).splitlines()
    return {line.split("  ")[1]: line[3:].split("  ", 1)[1].split() for line in lines if line.startswith("  ")}


GOOD = [(0.9, 0.8), (0.7, 0.72), (0.5, 0.4), (0.2, 0.3)]


def test_candidates_are_listed_best_first(capsys):
    lines = table(validation(GOOD[::-1], scores=[1.0, 3.0, 2.0, 5.0]))
    assert [line.split() for line in lines] == [
        ["model", "layer", "accuracy", "by", "seed", "logme", "seconds"],
        ["model-3", "3", "0.850", "0.900", "0.800", "5.000", "2"],
        ["model-2", "3", "0.710", "0.700", "0.720", "2.000", "2"],
        ["model-1", "3", "0.450", "0.500", "0.400", "3.000", "2"],
        ["model-0", "3", "0.250", "0.200", "0.300", "1.000", "2"],
    ]
    assert capsys.readouterr() == ("", "")


def test_the_lowest_error_rate_comes_first():
    lines = table(validation(GOOD, metric="cer"))
    assert [line.split()[0] for line in lines[1:]] == ["model-3", "model-2", "model-1", "model-0"]
    assert lines[0].split()[2] == "cer"
    assert words(validation(GOOD, metric="cer")).startswith("Fine-tuned best: model-3 layer 3, cer 0.2500. ")


def test_failed_trials_are_counted_and_come_last():
    made = validation([(None, None), (0.5, None), (0.4, 0.6), (0.2, 0.1)])
    lines = table(made)
    assert [line.split()[0] for line in lines[1:]] == ["model-1", "model-2", "model-3", "model-0"]
    assert lines[1].split()[2:5] == ["0.500", "0.500", "failed"]
    assert lines[4].split()[2:5] == ["-", "failed", "failed"]
    text = " ".join(shown(made).split())
    assert "Failed trials, which are not counted: 3; the first: it went wrong" in text
    assert "over 3 candidates" in text
    assert made.failed == 3
    assert "failed" not in shown(validation(GOOD))


def test_only_the_failures_are_reported_where_every_trial_failed():
    text = " ".join(shown(validation([(None, None)] * 3)).split())
    assert "Failed trials, which are not counted: 6; the first: it went wrong" in text
    assert "Fine-tuned best" not in text


def test_a_perfect_score_is_shown_beside_a_useless_rule():
    made = validation(GOOD, scores=[4.0, 3.0, 2.0, 1.0], rules=[("depth", [1.0, 2.0, 3.0, 4.0])])
    cells = agreed(made)
    assert cells["logme"][:2] == ["1.000", "0.083"]  # 2 of the 24 orders are as extreme
    assert cells["logme"][4:] == ["1.00", "0.000", "1.00", "1"]
    assert cells["depth"][0] == "-1.000"
    assert cells["depth"][4:] == ["-1.00", "0.600", "0.67", "0"]  # 0.85 less 0.25; two of the best three
    text = words(made)
    assert text == (
        "Fine-tuned best: model-0 layer 3, accuracy 0.8500. logme agrees with fine-tuning by Spearman 1.000 over 4 "
        "candidates; one seed agrees with another by 1.000. The best rule that looks at no data, depth, does worse: "
        "-1.000. The scores took 120 times less than fine-tuning."
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([4.0, 3.0, 1.0, 2.0], "does worse: 0.800"), ([4.0, 3.0, 2.0, 1.0], "does as well: 1.000")],
)
def test_the_best_rule_is_compared_with_the_score(values, sentence):
    rules = [("depth", [1.0, 2.0, 3.0, 4.0]), ("dim", values)]
    assert f"The best rule that looks at no data, dim, {sentence}." in words(
        validation(GOOD, [4.0, 3.0, 2.0, 1.0], rules=rules)
    )


def test_a_rule_that_does_better_is_named():
    made = validation(GOOD, scores=[1.0, 3.0, 2.0, 4.0], rules=[("dim", [4.0, 3.0, 2.0, 1.0])])
    assert "The best rule that looks at no data, dim, does better: 1.000." in words(made)


def test_undefined_values_are_shown_as_dashes():
    tied = validation(GOOD, scores=[1.0] * 4, rules=[("depth", [1.0, 2.0, 3.0, 4.0])])
    assert agreed(tied)["logme"][:4] == ["-"] * 4
    assert "logme: it scores all 4 candidates the same, so that no rank correlation is defined." in words(tied)
    assert "The best rule" not in words(tied)  # there is nothing to compare it with
    few = validation(GOOD[:2])
    assert agreed(few)["logme"][:4] == ["-"] * 4
    assert "logme: no rank correlation can be given over 2 candidates." in words(few)
    assert "nan" not in shown(tied) + shown(few)


def test_several_best_candidates_are_all_named():
    made = validation([(0.7, 0.8), (0.2, 0.2), (0.8, 0.7), (0.5, 0.5)])
    assert words(made).startswith(
        "Fine-tuned best, 2 exactly equal: model-0 layer 3; model-2 layer 3, accuracy 0.7500 each. logme agrees"
    )


def test_many_best_candidates_are_cut_short():
    made = validation([(0.7,)] * 6 + [(0.2,)])
    named = "; ".join(f"model-{place} layer 3" for place in range(4))
    assert words(made).startswith(f"Fine-tuned best, 6 exactly equal: {named} and 2 more, accuracy 0.7000 each.")


def test_candidates_that_are_all_equal_have_no_best():
    text = words(validation([(0.25, 0.25)] * 5))
    assert text.startswith(
        "Fine-tuning does not separate the candidates: all 5 have accuracy 0.2500. No score can agree with that: a "
        "rank correlation is undefined."
    )
    assert "best" not in text
    assert "Spearman" not in text


def test_scored_candidates_that_are_all_equal_are_remarked_on():
    made = validation([(0.5,), (0.5,), (0.5,), (0.2,)], scores=[3.0, 2.0, 1.0, None])
    assert "logme: the 3 candidates that it scores are equal after fine-tuning, so that no rank" in words(made)


def untrained(made, *beaten, value=0.25):
    """Return a validation with the results of untrained heads, and whether each trial beat them."""
    own = iter(beaten)
    truth = tuple(
        replace(
            one,
            untrained=tuple(None if v is None else value for v in one.values),
            beat_untrained=tuple(None if v is None else next(own) for v in one.values),
        )
        for one in made.truth
    )
    return replace(made, truth=truth)


def test_the_report_begins_with_the_failure_to_beat_untrained_heads():
    made = untrained(validation([(0.25, 0.2), (0.3, 0.25), (0.2, 0.2)]), *[False] * 6)
    text = words(made)
    assert text == (
        "No trial beat its untrained head on held-out data (6 trials): they learnt nothing that generalises, so "
        "no candidate is best. Use more data, more epochs or another learning rate. Any agreement of a score with it "
        "is chance. The scores took 120 times less than fine-tuning."
    )
    assert shown(made).count("untrained") == 1
    equal = words(untrained(validation([(0.25, 0.25)] * 3), *[False] * 6))
    assert "or another learning rate. All 3 candidates have accuracy 0.2500. Any" in equal


def test_some_trials_that_did_not_beat_their_untrained_head_are_counted():
    made = untrained(validation(GOOD), *[True] * 6, False, False)
    assert "2 of 8 trials did not beat their untrained head on held-out data." in " ".join(shown(made).split())
    assert words(made).startswith("Fine-tuned best: model-0 layer 3, accuracy 0.8500 (untrained 0.2500). logme agrees")
    assert "did not beat" not in shown(untrained(validation(GOOD), *[True] * 8))
    assert "did not beat" not in shown(validation(GOOD))  # a result of a version that did not measure it


def test_a_missing_score_of_a_candidate_is_shown_as_a_dash():
    made = validation(GOOD, scores=[None, 3.0, 2.0, 1.0])
    assert table(made)[1].split()[-2:] == ["-", "2"]
    assert "over 3 candidates" in words(made)


def test_the_noise_is_unknown_with_a_single_seed():
    made = validation([row[:1] for row in GOOD])
    assert "the noise of the truth is unknown: it has one seed" in words(made)
    assert agreed(made)["logme"][2] == "-"


def test_seeds_with_equal_results_are_not_called_one_seed():
    tied = [(1.0, 1.0), (1.0, 1.0), (0.9, 1.0)]
    made = validation(tied)
    assert made.judged[0].agreement.reliability is None
    assert "one seed:" not in words(made)


def test_a_correlation_of_zero_has_no_sign():
    made = validation([(0.9, 1.0), (0.9, 0.9), (1.0, 0.9)], scores=[1 / 3, 2 / 3, 1.0])
    assert made.judged[0].agreement.spearman.value == 0
    assert agreed(made)["logme"][0] == "0.000"


def test_small_p_values_keep_a_digit():
    values = [(place / 40,) for place in range(40)]
    assert agreed(validation(values))["logme"][1] == "2e-48"


def test_many_candidates_are_cut_short():
    lines = table(validation([(place / 30,) for place in range(30)]))
    assert len(lines) == 1 + 12 + 1
    assert lines[1].split()[0] == "model-29"
    assert lines[-1].strip() == "and 18 more"


def test_many_seeds_are_cut_short():
    lines = table(validation([(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)] * 3))
    assert "0.100 0.200 0.300 0.400 …" in lines[1]


@pytest.mark.parametrize("seeds", [1, 2, 4, 7])
def test_the_report_fits_eighty_columns(seeds):
    made = validation(
        [(0.1234,) * seeds, (None,) * seeds, *[(0.2,) * seeds] * 20],
        scores=[-1234.5678] * 22,
        names=[f"{LONG}-{place}" for place in range(22)],
        rules=[("a-rule-with-a-long-name-of-its-own", [float(place) for place in range(22)])],
        notes=[f"{LONG} has no weights that can be tuned here, and is left out"],
        skipped=[Skipped(f"{LONG}/{LONG}.wav", f"{LONG} {LONG}", LONG)],
        seconds=123_456.0,
    )
    lines = shown(made).splitlines()
    assert max(map(len, lines)) <= 80
    assert f"Fine-tuned best, 20 exactly equal: {LONG}-2 layer 3; {LONG}-3 layer 3" in " ".join(" ".join(lines).split())


def test_names_are_neither_markup_nor_control_codes():
    made = validation(
        [(0.5, None), (0.4, 0.3), (0.2, 0.2)],
        names=[EVIL, "b", "c"],
        notes=[EVIL],
        skipped=[Skipped(EVIL, EVIL)],
    )
    text = shown(made)
    assert "[red]x" in text
    assert "\x1b" not in text
    assert "\n next" not in text
    assert text.count("[red]x\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}next") >= 4
    assert all(line.lstrip()[:4] != "next" for line in text.splitlines())


def test_names_of_rules_are_plain_text():
    assert "\x1b" not in shown(validation(GOOD, rules=[(EVIL, [1.0, 2.0, 3.0, 4.0])]))


def test_reasons_of_failures_are_plain_text():
    made = validation([(0.5, None), (0.4, 0.3), (0.2, 0.2)])
    evil = Truth("a", 0, "", 1, 1, (None,), (EVIL,), 1.0)
    text = shown(Validation(**{**vars(made), "truth": (evil, *made.truth[1:])}))
    assert "the first: [red]x\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}next" in " ".join(text.split())
    assert "\x1b" not in text


def test_notes_and_skipped_utterances_are_listed():
    made = validation(GOOD, notes=["m is left out"], skipped=[Skipped("u1", "too short"), Skipped("u2", "too short")])
    text = shown(made)
    assert "m is left out" in text
    assert "2 skipped:" in text
    assert "2 × too short (u1)" in text


def test_times_below_a_second_are_not_rounded_to_zero():
    cells = agreed(validation(GOOD, rules=[("depth", [1.0, 2.0, 3.0, 4.0])], seconds=0.3))
    assert [cells[name][-1] for name in ("logme", "probe on 10 %", "depth")] == ["<1", "<1", "0"]
