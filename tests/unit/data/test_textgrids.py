"""TextGrids of Praat and of other tools give every number and label as written, or one reason."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid
from praatio.data_classes.interval_tier import IntervalTier
from praatio.data_classes.point_tier import PointTier

from voxrank.data.textgrids import parse_textgrid
from voxrank.data.timed import SegmentSource, TimedRow
from voxrank.data.utterance import Segment, Utterance
from voxrank.errors import UtteranceError

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = {start}
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = {start}
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = {start}
            xmax = 0.5
            text = {label}
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = ""
"""
SHORT = """File type = "ooTextFile short"
"TextGrid"

{start}
1
<exists>
1
"IntervalTier"
"phones"
{start}
1
2
{start}
0.5
{label}
0.5
1
""
"""
FORMS = {
    "long": LONG,
    "short": SHORT,
    "Windows": LONG.replace("\n", "\r\n"),
    "no spaces": LONG.replace(" = ", "="),
    "on few lines": " ".join(SHORT.split("\n")),
}


def first_of(text):
    [tier] = parse_textgrid(text)
    assert tier.name == "phones"
    assert tier.entries[1] == (0.5, 1.0, "")
    return tier.entries[0]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    ("text", "value"), [("-0.01", -0.01), ("5e-05", 5e-5), ("-5E-5", -5e-5), (".25", 0.25), ("-0", 0.0), ("0", 0.0)]
)
def test_times_keep_their_sign_and_exponent(form, text, value):
    assert first_of(form.format(start=text, label='"a"')) == (value, 0.5, "a")


LABELS = {
    '"a"': "a",
    '""': "",
    '"a ""b"""': 'a "b"',
    '"!"': "!",
    '"! no comment"': "! no comment",
    '"xmin = 3"': "xmin = 3",
    '"<exists>"': "<exists>",
    '"a\nintervals [7]:\nb"': "a\nintervals [7]:\nb",
    '" 5 "': "5",
}


@pytest.mark.parametrize("form", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize(("written", "label"), LABELS.items())
def test_labels_are_read_as_written(form, written, label):
    assert first_of(form.format(start=0, label=written)) == (0.0, 0.5, label)


@pytest.mark.parametrize(("written", "label"), [('"say "hi" now"', 'say "hi" now'), ('"a"b"', 'a"b'), ('"6"x"', '6"x')])
def test_quotation_marks_that_are_not_doubled_are_read_in_the_long_format(written, label):
    assert first_of(LONG.format(start=0, label=written)) == (0.0, 0.5, label)


@given(
    bounds=st.lists(st.floats(-1, 99), min_size=2, max_size=6, unique=True).map(sorted),
    label=st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8),
    form=st.sampled_from(["long_textgrid", "short_textgrid"]),
)
def test_textgrids_written_by_praatio_are_read(tmp_path_factory, bounds, label, form):
    entries = [(start, end, label.strip()) for start, end in pairwise(bounds) if end - start > 1e-6]
    grid = textgrid.Textgrid(bounds[0], bounds[-1])
    grid.addTier(PointTier("points", [(bounds[0], "x")], bounds[0], bounds[-1]))
    grid.addTier(IntervalTier("phones", entries, bounds[0], bounds[-1]))
    path = tmp_path_factory.mktemp("grids") / "a.TextGrid"
    grid.save(str(path), format=form, includeBlankSpaces=False)
    [tier] = parse_textgrid(path.read_text(encoding="utf-8"))
    assert tier.entries == tuple(entries)


def test_tiers_of_the_same_name_are_numbered():
    single = LONG.format(start=0, label='"a"').replace("size = 1\n", "size = 2\n")
    twice = single + single[single.index("    item [1]:") :]
    assert [tier.name for tier in parse_textgrid(twice)] == ["phones", "phones_2"]


WHOLE = LONG.format(start=0, label='"a"')
DAMAGED = {
    "nothing": "",
    "another class": WHOLE.replace('"TextGrid"', '"Pitch 1"'),
    "no number": WHOLE.replace("xmax = 0.5", "xmax = half"),
    "decimal comma": WHOLE.replace("xmax = 0.5", "xmax = 0,5"),
    "text for a number": WHOLE.replace("xmax = 0.5", 'xmax = "0.5"'),
    "more intervals than counted": WHOLE.replace("intervals: size = 2", "intervals: size = 1"),
    "fewer intervals than counted": WHOLE.replace("intervals: size = 2", "intervals: size = 3"),
    "half a tier": WHOLE.replace("intervals: size = 2", "intervals: size = 1.5"),
    "another kind of tier": WHOLE.replace("IntervalTier", "Tier"),
    "no closing mark": WHOLE.replace('"a"', '"a'),
    "binary": "ooBinaryFile\x08TextGrid",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_textgrids_are_refused(content):
    with pytest.raises(UtteranceError):
        parse_textgrid(content)


@pytest.mark.parametrize("form", [LONG, SHORT], ids=["long", "short"])
def test_a_textgrid_that_was_cut_short_is_refused(form):
    whole = form.format(start=0, label='"a ""b"""').rstrip()
    for length in range(len(whole)):
        with pytest.raises(UtteranceError):
            parse_textgrid(whole[:length])


def test_a_textgrid_without_tiers_gives_no_tiers():
    assert parse_textgrid(SHORT.split("<exists>", maxsplit=1)[0].format(start=0) + "<exists>\n0\n") == []


def segments_of(path):
    row = TimedRow("a.wav", {}, None, None)
    source = SegmentSource(path.parent, path, None, [row])
    return source.of(row, Utterance("a.wav", path)), source.notes


def test_a_negative_start_is_cut_and_an_interval_without_length_is_counted(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(
        LONG.format(start="-0.01", label='"a"').replace('xmax = 1\n            text = ""', 'xmax = 0.5\n text = "b"')
    )
    found, [note] = segments_of(path)
    assert found == (Segment("a", 0.0, 0.5),)
    assert note.startswith("1 segment of zero length is left out; the first: a.TextGrid, interval 2: ")


@pytest.mark.parametrize("form", ["json", "textgrid_json"])
@pytest.mark.parametrize("ending", ["TextGrid", "json"])
def test_textgrids_in_json_are_read(tmp_path, form, ending):
    grid = textgrid.Textgrid(0, 1)
    grid.addTier(IntervalTier("words", [(0, 1, "x")], 0, 1))
    grid.addTier(IntervalTier("phones", [(5e-5, 0.5, "a")], 0, 1))
    path = tmp_path / f"a.{ending}"
    grid.save(str(path), format=form, includeBlankSpaces=False)
    assert json.loads(path.read_text())
    assert segments_of(path) == ((Segment("a", 5e-5, 0.5),), ())
