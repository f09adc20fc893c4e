"""The recorder keeps the progress of a run, and forwards it to listeners."""

from functools import partial

import pytest

from voxrank.report.live import LiveView, _LatestPage
from voxrank.report.progress import Together
from voxrank.report.recorder import DONE, NOTES, Recorder


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_speed_and_time_left_are_recorded():
    clock = Clock()
    recorder = Recorder(clock)
    recorder.start("a\x1b", 1, 2, 100.0)
    clock.now = 2.0
    recorder.advance(40.0)
    (bar,) = recorder.snapshot()["models"]
    assert bar == {
        "name": "a\N{REPLACEMENT CHARACTER}",
        "done_s": 40.0,
        "total_s": 100.0,
        "speed": 20.0,
        "left_s": 3.0,
        "took_s": 2.0,
        "ended": False,
    }
    recorder.finish()
    clock.now = 50.0
    (bar,) = recorder.snapshot()["models"]
    assert (bar["ended"], bar["done_s"], bar["took_s"], bar["speed"]) == (True, 100.0, 2.0, 50.0)


def test_no_time_left_is_given_before_the_first_audio():
    recorder = Recorder(Clock())
    recorder.start("a", 1, 1, 10.0)
    assert recorder.snapshot()["models"][0]["left_s"] is None


def test_the_current_step_is_recorded(made):
    recorder = Recorder()
    assert recorder.snapshot()["step"] == "The run begins."
    recorder.load("m", 2, 3)
    assert recorder.snapshot()["step"] == "Loading model 2 of 3: m."
    recorder.align("flat", 5.0)
    assert recorder.snapshot()["step"] == "Aligning transcripts."
    recorder.start("m", 1, 3, 5.0)
    assert recorder.snapshot()["step"] == "Model 1 of 3: m."
    recorder.trial("layer 1", 1, 4)
    for number in range(NOTES + 5):
        recorder.note(f"note {number}")
    assert len(recorder.snapshot()["notes"]) == NOTES
    recorder.complete(made.make_ranking(details=False))
    assert (recorder.snapshot()["state"], recorder.snapshot()["step"]) == ("done", DONE)


def test_rounds_of_the_same_model_share_a_bar():
    recorder = Recorder()
    for _ in range(2):
        recorder.start("a", 1, 1, 10.0)
        recorder.advance(10.0)
        recorder.finish()
    assert len(recorder.snapshot()["models"]) == 1


def test_a_page_is_made_once_for_each_ranking(made):
    recorder = Recorder()
    shown = _LatestPage(recorder)
    assert shown.page() == (0, None)
    assert shown.content() is None
    recorder.ranked(partial(made.make_ranking, ("a", "b"), details=False))
    version, page = shown.page()
    assert version == 1
    assert page.about.startswith("So far · ")
    assert shown.page()[1] is page
    assert shown.content() is shown.content()
    recorder.complete(made.make_ranking(("a", "b", "c"), details=False))
    assert shown.page()[0] == 2
    assert not shown.page()[1].about.startswith("So far")


def test_content_is_sent_only_to_pages_with_an_older_version(made):
    view = LiveView()
    assert view.state(0)["page"] is None
    view.recorder.ranked(partial(made.make_ranking, ("a", "b"), details=False))
    assert view.state(0)["page"]["version"] == 1
    assert view.state(1)["page"] is None


def test_together_passes_every_event_to_all(made):
    ears = Recorder(), Recorder()
    both = Together(*ears)
    both.note("n")
    both.scan("rows", 3)
    both.scanned(2)
    assert [ear.snapshot()["step"] for ear in ears] == ["Reading rows: 2 of 3."] * 2
    both.load("m", 1, 1)
    both.align("flat", 3.0)
    both.finish()
    both.start("m", 1, 1, 5.0)
    both.advance(2.0)
    both.finish()
    both.trial("t", 1, 1)
    both.ranked(partial(made.make_ranking, ("a",), details=False))
    first, second = (ear.snapshot() for ear in ears)
    assert first["notes"] == second["notes"] == ["n", "[1/1] t"]
    assert (
        [bar["name"] for bar in first["models"]] == ["alignment by flat", "m"] == [b["name"] for b in second["models"]]
    )
    assert all(ear.ranking[0] == 1 for ear in ears)


def test_together_has_every_method_of_progress():
    from voxrank._support.progress import Progress

    public = {name for name in vars(Progress) if not name.startswith("_")}
    assert public <= vars(Together).keys()
    assert public <= vars(Recorder).keys()


@pytest.mark.parametrize("port", [-1, 65_536, 1.5])
def test_ports_out_of_range_are_refused(port):
    with pytest.raises(ValueError, match="expected watch-port to be a whole number from 0 to 65535"):
        LiveView(port)
