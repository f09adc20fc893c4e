"""Columns with times are read under common names."""

import pytest

from voxrank.data.read import read_dataset
from voxrank.data.times import time_column
from voxrank.errors import DataError


def read(folder, header, *rows, name="m.csv"):
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return read_dataset(path)


STRETCHES = {
    "DCASE": (
        "onset,offset",
        "0.2,0.5",
        (0.2, 0.5),
        "start is the column 'onset' (seconds), end is the column 'offset'",
    ),
    "onset and duration": (
        "onset,duration",
        "0.2,0.3",
        (0.2, 0.5),
        "start is the column 'onset' (seconds), duration is",
    ),
    "begin": ("begin,end", "0.2,0.5", (0.2, 0.5), "start is the column 'begin' (seconds)"),
    "times": ("start_time,end_time", "0.2,0.5", (0.2, 0.5), "end is the column 'end_time' (seconds)"),
    "without a space": ("starttime,endtime", "0.2,0.5", (0.2, 0.5), "start is the column 'starttime'"),
    "Raven": ("Begin Time (s),End Time (s)", "0.2,0.5", (0.2, 0.5), "start is the column 'Begin Time (s)' (seconds)"),
    "Praat": ("tmin,tmax", "0.2,0.5", (0.2, 0.5), "end is the column 'tmax' (seconds)"),
    "TextGrid": ("xmin,xmax", "0.2,0.5", (0.2, 0.5), "end is the column 'xmax' (seconds)"),
    "camel case": ("startTime,stopTime", "0.2,0.5", (0.2, 0.5), "end is the column 'stopTime' (seconds)"),
    "milliseconds": ("start_ms,end_ms", "200,500", (0.2, 0.5), "start is the column 'start_ms' (milliseconds)"),
    "from, to": ("from,to", "0.2,0.5", (0.2, 0.5), "start is the column 'from' (seconds)"),
    "NeMo": ("offset,duration", "0.2,0.3", (0.2, 0.5), ""),
    "a manifest": ("start,end", "0.2,0.5", (0.2, 0.5), ""),
    "a duration alone": ("duration", "0.5", (0.0, None), ""),
    "an end alone": ("end", "0.5", (0.0, 0.5), "there is no column 'start': utterances run from 0 s to 'end'"),
    "an offset alone": ("offset", "0.2", (0.2, None), "start is the column 'offset' (seconds)"),
    "more than one pair": ("start,end,xmin,xmax", "0.2,0.5,3,4", (0.2, 0.5), "are not read: 'xmin', 'xmax'"),
    "times of words": ("word_start,word_end", "0.2,0.5", (0.0, None), "are not read: 'word_start', 'word_end'"),
    "times of day": ("start_time", "12:30:05", (0.0, None), "are not read: 'start_time'"),
    "words like times": ("gender,trend,from", "f,up,anna", (0.0, None), ""),
}


@pytest.mark.parametrize(("header", "cells", "stretch", "note"), STRETCHES.values(), ids=STRETCHES)
def test_columns_with_times_are_recognised_by_their_names_and_noted(tmp_path, header, cells, stretch, note):
    dataset = read(tmp_path, f"path,label,{header}", f"a.wav,x,{cells}", f"b.wav,y,{cells}")
    assert [(one.start, one.end) for one in dataset.utterances] == [stretch, stretch]
    assert bool(dataset.notes) == bool(note)
    assert note in " ".join(dataset.notes)


@pytest.mark.parametrize("header", ["start_sample,end_sample", "start_frame,end_frame", "start,length"])
def test_times_in_unknown_units_are_refused(tmp_path, header):
    with pytest.raises(DataError, match=r"expected times in seconds, got the columns 'start.*, whose unit is"):
        read(tmp_path, f"path,label,{header}", "a.wav,x,16000,32000")


@pytest.mark.parametrize("header", ["start,end", "start_time,end_time", "Begin,End"])
def test_clock_times_are_refused(tmp_path, header):
    with pytest.raises(DataError, match="expected times in seconds, got the columns"):
        read(tmp_path, f"path,label,{header}", "a.wav,x,00:00:01.5,00:00:02.5", "b.wav,y,0:03,0:04")


def test_the_reason_for_a_bad_time_names_its_column(tmp_path):
    dataset = read(tmp_path, "path,label,onset,offset", "a.wav,x,0,1", "b.wav,x,soon,1", "c.wav,y,2,1", "d.wav,y,1,2")
    assert [one.reason for one in dataset.skipped] == [
        "expected a number in the column 'onset', got 'soon'",
        "expected an end after the start, got start 2 s and end 1 s",
    ]


@pytest.mark.parametrize("name", ["gender", "trend", "append", "label", "date", "num_frames"])
def test_other_names_are_not_columns_with_times(name):
    assert time_column(name) is None
