"""A damaged line of a table costs no other line, and every line is read, skipped or noted."""

import csv
import io

import pytest

from voxrank.data.read import read_dataset

OPEN = 'a cell opens with " and nothing closes it; close it'


def read(folder, text, name="m.csv", **options):
    path = folder / name
    path.write_text(text, newline="")
    return read_dataset(path, **options)


def spoken(dataset):
    return [(one.id, one.text) for one in dataset.utterances]


def sentences(*texts, header="spk\tpath\ttext\tvotes"):
    """Return a table in Common Voice's format."""
    return "\n".join([header, *(f"s{n}\tc{n}.flac\t{text}\t2" for n, text in enumerate(texts))]) + "\n"


STRAY = {
    "one opens and a later one closes": ["plain", '"Opens here', "plain", 'closes"', "plain"],
    "one opens at the end": ["plain", '"Opens here'],
    "one opens in every line": ['"a', '"b', '"c'],
    "one opens and the next line closes": ['"Opens here', 'closes"'],
    "quoted words": ['"Hello" he said', "plain", '"whole"'],
    "quotes within": ['say "a" or "b"', 'an 8" disc'],
}


@pytest.mark.parametrize("texts", STRAY.values(), ids=STRAY)
def test_quotation_marks_in_a_tsv_are_text_unless_all_enclose_cells(tmp_path, texts):
    dataset = read(tmp_path, sentences(*texts), "m.tsv")
    assert spoken(dataset) == [(f"c{n}.flac", text) for n, text in enumerate(texts)]
    assert (dataset.skipped, dataset.notes) == ((), ())


@pytest.mark.parametrize("texts", [["a\tb"], ["one\ntwo"], ['"Hi," he said'], ["plain", ""]], ids=repr)
@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_cells_quoted_by_a_csv_writer_are_read_as_written(tmp_path, texts, delimiter, quoting):
    table = io.StringIO()
    writer = csv.writer(table, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerows([("text", "path"), *((text, f"{n}.wav") for n, text in enumerate([*texts, "last"]))])
    dataset = read(tmp_path, table.getvalue(), "m.csv" if delimiter == "," else "m.tsv")
    assert spoken(dataset) == [(f"{n}.wav", text) for n, text in enumerate([*texts, "last"]) if text]


BROKEN = {
    "a later line closes it": ["a.wav,x,s", 'b.wav,"Opens,s', "c.wav,y,s", 'd.wav,closes",s', "e.wav,z,s"],
    "a later line opens another": ["a.wav,x,s", 'b.wav,"Opens,s', 'c.wav,"y, z",s', "d.wav,z,s"],
    "the last line is open": ["a.wav,x,s", "c.wav,y,s", 'b.wav,"Opens,s'],
    "two in a row are open": ["a.wav,x,s", 'b.wav,"Opens,s', 'c.wav,"Opens,s', "d.wav,z,s"],
    "the name is open": ["a.wav,x,s", '"b.wav,x,s', "c.wav,y,s"],
}


@pytest.mark.parametrize("lines", BROKEN.values(), ids=BROKEN)
def test_only_the_csv_line_with_an_unclosed_quote_is_skipped(tmp_path, lines):
    dataset = read(tmp_path, "\n".join(["path,text,speaker", *lines]))
    broken = [f"m.csv, line {n}" for n, line in enumerate(lines, start=2) if "Opens" in line or line[0] == '"']
    assert [(one.utterance, one.reason) for one in dataset.skipped] == [(line, OPEN) for line in broken]
    assert len(dataset) == len(lines) - len(broken)


LONG_CELLS = {
    "text last": 'path,text\na.wav,"one\ntwo\nthree"\nb.wav,x\n',
    "text first": 'text,path\n"one, 1\ntwo\nthree",a.wav\nx,b.wav\n',
    "commas as in a row": 'path,text\na.wav,"one\ntwo, 2\nthree, 3"\nb.wav,x\n',
}


@pytest.mark.parametrize("text", LONG_CELLS.values(), ids=LONG_CELLS)
def test_a_cell_that_spans_lines_is_kept_and_noted(tmp_path, text):
    dataset = read(tmp_path, text)
    assert [one.id for one in dataset.utterances] == ["a.wav", "b.wav"]
    assert dataset.utterances[0].text.count("\n") == 2
    assert dataset.notes == ("1 row with a cell that spans lines; the first: lines 2 to 4 (3 lines)",)


def test_rows_without_content_and_with_too_few_cells_are_noted(tmp_path):
    dataset = read(tmp_path, "path,label,note\na.wav,x\n,,\n\n , ,\nb.wav,y,z\n")
    assert [one.id for one in dataset.utterances] == ["a.wav", "b.wav"]
    assert dataset.notes == (
        "1 row with fewer cells than the header; the first: line 2",
        "2 rows without any content; the first: line 3",
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_line_ends_of_every_system_are_accepted(tmp_path, end):
    dataset = read(tmp_path, end.join(["\ufeffpath,label", "a.wav,x", "b.wav,y"]))
    assert [(one.id, one.label) for one in dataset.utterances] == [("a.wav", "x"), ("b.wav", "y")]


def test_a_header_with_an_unclosed_quote_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a header line with column names, got: unexpected end of data"):
        read(tmp_path, 'path,"label\na.wav,x\n')


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", ['"a\n', 'x,"a\nwords\n', '"a.wav,x\n', 'a.wav,"x""\n', '"\n""\n'])
def test_the_time_grows_linearly_with_the_number_of_lines(tmp_path, line):
    """Each line is read a few times, whatever the number of open quotation marks before it."""
    import voxrank.data.tables as tables

    seen = []
    is_row = tables._is_row
    path = tmp_path / "m.csv"
    for count in (500, 1000):
        path.write_text("path,label\n" + count * line)
        looks = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "_is_row", lambda cells, form: looks.append(1) or is_row(cells, form))  # noqa: B023
            try:
                read_dataset(path)
            except ValueError as error:
                assert "found none" in str(error)  # noqa: PT017
        seen.append(len(looks))
    assert seen[1] <= 2.2 * seen[0] + 10


@pytest.mark.parametrize(("name", "sign"), [("m.csv", ";"), ("m.csv", "\t"), ("m.tsv", ","), ("m.csv", "|")])
def test_another_delimiter_is_recognised_from_the_header_and_noted(tmp_path, name, sign):
    rows = [["path", "text"], ["a.wav", '"one, two"'], ["b.wav", "three"]]
    text = "\n".join(sign.join(row) for row in rows)
    dataset = read(tmp_path, text, name)
    assert spoken(dataset) == [("a.wav", "one, two"), ("b.wav", "three")]
    assert f"are separated by {sign!r}" in dataset.notes[0]


def test_a_usual_header_keeps_its_delimiter(tmp_path):
    dataset = read(tmp_path, "path,text;x\na.wav,one;two\n", target="text;x")
    assert [one.label for one in dataset.utterances] == ["one;two"]
    assert dataset.notes == ()
