"""`voxrank report` makes a page from saved files."""

import pytest

from voxrank.groundtruth.verdict import Validation


def test_the_page_of_a_saved_ranking_is_written(run, made, tmp_path):
    made.make_ranking().save(tmp_path)
    code, out, _ = run("report", tmp_path)
    assert code == 0
    assert out == f"Saved {tmp_path}/report.html\n"
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="pictures"' in html  # from details.json
    assert 'id="truth"' not in html


@pytest.mark.parametrize("beside", [True, False])
def test_the_page_shows_the_results_of_fine_tuning(run, made, tmp_path, beside):
    made.make_ranking().save(tmp_path / "ranked")
    home = tmp_path / ("ranked" if beside else "validated")
    made.make_validation().save(home)
    assert Validation.load(home) == made.make_validation()
    code, _, err = run("report", tmp_path / "ranked", *([] if beside else ["--truth", home]))
    assert (code, err) == (0, "")
    assert 'id="truth"' in (tmp_path / "ranked" / "report.html").read_text(encoding="utf-8")


def test_a_folder_without_a_ranking_is_refused(run, made, tmp_path):
    code, out, err = run("report", tmp_path)
    assert (code, out) == (2, "")
    assert "cannot read a ranking at" in err
    made.make_ranking().save(tmp_path)
    code, _, err = run("report", tmp_path, "--truth", tmp_path)
    assert code == 2
    assert "cannot read a validation at" in err
    (tmp_path / "validation.json").write_text('{"schema": 1}')
    code, _, err = run("report", tmp_path)
    assert code == 2
    assert "does not hold a validation" in err
    assert not (tmp_path / "report.html").exists()
