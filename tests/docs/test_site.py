"""Pages are short, lines fit a screen, links lead somewhere, and the site can be hosted."""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from loading import load_file

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
sitemap = load_file(DOCS / "sitemap.py")
check_links = load_file(ROOT / "scripts" / "check_links.py")

WORDS = 1_500
"""Maximum number of words of a page."""
COLUMNS = 120
"""Maximum number of characters of a line."""
LONG = {"changelog": "a log, which is read from its top until a known version"}
"""Pages of any length, with the reason. The API reference is made of docstrings: its source has few words."""
INCLUDED = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)


def source(path):
    """Return the text of a page with the files that it includes, except for generated tables."""

    def included(match):
        target = path.parent / match[1]
        return "" if target.parent.name == "generated" else source(target)

    return INCLUDED.sub(included, path.read_text(encoding="utf-8"))


def words(text):
    """Count runs of characters between spaces that hold a letter or digit: prose, tables and code alike."""
    return sum(re.search(r"\w", word) is not None for word in text.split())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_have_at_most_1500_words(path):
    if path.stem not in LONG:
        assert words(source(path)) <= WORDS


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"], ids=lambda path: path.stem)
def test_lines_of_pages_have_at_most_120_characters(path):
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    assert [number for number, line in lines if len(line) > COLUMNS] == []


def test_words_are_counted_without_generated_tables(tmp_path):
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "table.md").write_text("not counted")
    (tmp_path / "other.md").write_text("three more words")
    page = tmp_path / "page.md"
    page.write_text("# Two words\n\n```{include} generated/table.md\n```\n\n```{include} other.md\n```\n\n| a | b |\n")
    assert words(source(page)) == 2 + 3 + 2


def test_every_row_of_the_task_table_names_a_page():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and ".md)" in line]
    assert len(rows) > 15
    linked = {page for row in rows for page in re.findall(r"\((\w[\w-]*)\.md\)", row)}
    assert linked <= {path.stem for path in PAGES}
    assert {"keywords", "phones", "asr", "speaker", "language", "emotion", "regression"} <= linked


def test_links_between_markdown_files_lead_to_files_and_headings():
    for path in [*PAGES, *ROOT.glob("*.md")]:
        assert list(check_links.broken(path)) == []


def test_a_link_without_a_file_or_an_anchor_is_named(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#there">b</a><a href="https://x.org/#y">x</a>')
    (tmp_path / "b.html").write_text('<p id="here"></p><a href="a.html#top">a</a><img src="gone.png">')
    found = [line for name in ("a.html", "b.html") for line in check_links.broken(tmp_path / name)]
    assert found == [
        f"{tmp_path / 'a.html'}: b.html#there: no such anchor",
        f"{tmp_path / 'b.html'}: gone.png: no such file",
    ]


def test_checking_links_gives_exit_code_1_if_one_is_broken(tmp_path, capsys):
    (tmp_path / "a.html").write_text('<a href="gone.html">b</a>')
    assert check_links.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.endswith("1 pages, 1 broken links\n")
    (tmp_path / "gone.html").write_text("")
    assert check_links.main([str(tmp_path)]) == 0


def test_anchors_of_headings_are_those_of_github():
    assert (
        check_links.slug("Which layer as the [teacher](x.md) of a `codec`?") == "which-layer-as-the-teacher-of-a-codec"
    )
    assert check_links.slug("The earlier default: `combined`") == "the-earlier-default-combined"


def test_a_sitemap_names_every_page_under_the_address_of_the_host():
    for base in ("https://docs.example.org/en/latest", "https://docs.example.org/en/latest/"):
        root = ET.fromstring(sitemap.of_pages(base, ["api", "index"]))
        places = [place.text for place in root.iter(f"{{{sitemap.NAMESPACE}}}loc")]
        assert places == [
            "https://docs.example.org/en/latest/api.html",
            "https://docs.example.org/en/latest/index.html",
        ]


def test_read_the_docs_builds_with_extras_that_exist():
    config = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    assert (ROOT / config["sphinx"]["configuration"]).is_file()
    assert config["sphinx"]["fail_on_warning"] is True
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    [command] = config["build"]["jobs"]["install"]
    assert set(re.search(r"\[([\w,]+)\]", command)[1].split(",")) <= set(extras)
