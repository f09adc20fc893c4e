"""The report page in a browser: from disk, with the network off."""

import re
from itertools import pairwise

import pytest

EVIL = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"'><svg onload=alert(3)>&amp;",
    "a\u202eb\u2028c",
)
SECTIONS = [
    *("ranking", "layers", "trade-off", "agreement", "classes", "pictures", "knowledge", "data"),
    *("labels", "truth", "cost", "skipped", "reproduce"),
]
LARGEST_BYTES = 3_000_000


def headings(page):
    return page.eval_on_selector_all("h1, h2, h3", "all => all.map(one => [one.tagName, one.textContent.trim()])")


def column(page, place):
    return page.eval_on_selector_all(f"#ranking tbody tr > :nth-child({place})", "all => all.map(one => one.innerText)")


def sort_by_rank(page):
    """Sort the table by rank, the initial order."""
    page.locator("#ranking th button", has_text="rank").first.click()
    assert column(page, 1) == ["1", "2", "3", "4"]


def test_every_section_and_every_chart_is_shown(drawn):
    page = drawn
    assert page.eval_on_selector_all("main section", "all => all.map(one => one.id)") == SECTIONS
    assert page.inner_text("h1") == "Fine-tune openai/whisper-base from layer 2"
    assert "best of 4 models in 100\xa0% of resamples" in page.inner_text(".lead").lower()
    charts = page.eval_on_selector_all(
        ".drawing", "all => all.map(one => one.querySelectorAll('svg path, svg rect').length)"
    )
    assert len(charts) == page.evaluate("Object.keys(voxrank.page.charts).length") == 16
    assert min(charts) > 3
    assert page.locator(".failed").count() == 0
    assert page.locator("#truth .drawing svg").count() == 1
    assert "p " in page.inner_text("#truth figcaption")


def test_headings_are_in_order_and_every_link_has_a_target(drawn):
    page = drawn
    levels = [int(tag[1]) for tag, _ in headings(page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate(
        "[...document.querySelectorAll('a')].every(a => document.querySelector(a.getAttribute('href')))"
    )
    ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_a_click_sorts_and_a_second_click_reverses_the_order(drawn):
    page = drawn
    button = page.get_by_role("button", name="parameters").first
    assert page.locator("#ranking th[aria-sort]").inner_text().startswith("rank")
    button.click()
    heading = page.locator("#ranking th", has_text="parameters")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.locator("#ranking th[aria-sort]").count() == 1
    sizes = ["0", "1.0 M", "10.0 M", "100.0 M"]
    assert column(page, 6) == sizes
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, 6) == sizes[::-1]
    sort_by_rank(page)


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_sorts_and_keeps_the_focus(drawn, key):
    page = drawn
    page.locator("#ranking th button", has_text="model").focus()
    page.keyboard.press(key)
    names = [name.split("\n")[0] for name in column(page, 2)]
    assert names == sorted(names)
    page.keyboard.press(key)
    assert [name.split("\n")[0] for name in column(page, 2)] == names[::-1]
    assert page.evaluate("document.activeElement.textContent") == "model"
    sort_by_rank(page)


def test_the_first_tab_is_a_skip_link_and_focus_is_visible(visit, whole):
    page = visit(whole).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_points_have_a_tooltip_with_the_name_of_the_model(visit, whole):
    page = visit(whole).page
    point = page.locator("#chart-by-parameters .mark-symbol path").last
    point.scroll_into_view_if_needed()
    point.hover()
    tip = page.locator(".vg-tooltip.visible")
    tip.wait_for()
    assert "model" in tip.inner_text()
    assert any(name in tip.inner_text() for name in ("openai/whisper-base", "logmel", "pack:ge2e", "facebook/hubert"))
    assert tip.evaluate("one => getComputedStyle(one).position") == "fixed"


def test_names_are_text_everywhere_in_the_page(visit, report, made):
    ranking = made.make_ranking(EVIL, classes=EVIL, columns=EVIL[:2])
    seen = visit(report(ranking, made.make_validation(EVIL)))
    page = seen.page
    assert page.locator("img, script:not([type]) ~ svg[onload]").count() == 0
    assert page.inner_text("h1 .model") == EVIL[0]
    assert EVIL[1] in page.inner_text("#ranking")
    assert page.locator("main script").count() == 0
    page.locator("#classes summary").first.click()
    assert EVIL[1] in page.inner_text("#classes table")
    assert EVIL[0] in page.inner_text("#reproduce code")
    assert "\u202e" not in page.content()
    point = page.locator("#chart-picture-0 .mark-symbol path").first
    point.scroll_into_view_if_needed()
    point.hover()
    page.locator(".vg-tooltip.visible").wait_for()
    assert page.locator(".vg-tooltip *").evaluate_all("all => all.map(one => one.tagName)").count("SCRIPT") == 0


def test_the_content_policy_blocks_added_scripts_and_images(visit, whole):
    seen = visit(whole)
    seen.page.evaluate(
        """() => {
          const script = Object.assign(document.createElement('script'), { textContent: 'window.ran = true' });
          const image = Object.assign(document.createElement('img'), { src: 'https://example.org/x.png' });
          document.body.append(script, image);
        }"""
    )
    seen.page.wait_for_timeout(200)
    assert seen.page.evaluate("window.ran") is None
    assert len(seen.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in seen.complaints)
    seen.complaints.clear()
    assert seen.refused == {"https://example.org/x.png": "csp"}  # blocked before the network
    seen.requests.remove("https://example.org/x.png")


def test_charts_change_to_dark_and_light_without_drawing_again(visit, whole):
    page = visit(whole, color_scheme="dark").page
    colours = """() => [
      getComputedStyle(document.body).backgroundColor,
      getComputedStyle(document.querySelector('#chart-layers-0 .role-axis-label text')).fill,
    ]"""
    dark = page.evaluate(colours)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colours)
    assert light[0] == "rgb(255, 255, 255)"
    assert max(map(int, re.findall(r"\d+", dark[0]))) < 40
    assert dark[1] != light[1]
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(colours) == light


def test_a_narrow_screen_scrolls_only_vertically(visit, report, made):
    wide = made.make_ranking(("facebook/" + "w" * 120, *made.NAMES[1:]))
    page = visit(report(wide, made.make_validation()), viewport={"width": 390, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_printing_opens_folded_parts_and_hides_buttons(drawn):
    page = drawn
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#layers details table").is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.locator(".copy").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="screen")


def test_controls_and_pictures_have_names(drawn):
    page = drawn
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a, summary, [role=img], [role=region], nav, section, table')]
          .filter(one => one.checkVisibility())
          .filter(one => !(one.getAttribute('aria-label') || (one.getAttribute('aria-labelledby') || '').split(' ')
            .map(id => document.getElementById(id)?.textContent).join('') || one.textContent).trim())
          .map(one => one.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(one => one.tabIndex === 0)")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("table caption").count() == page.locator("table").count()
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)")


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}])
def test_readers_with_a_keyboard_or_a_screen_reader_meet_no_serious_obstacle(visit, whole, options):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe here; run: make setup")
    page = visit(whole, **options).page
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_no_column_is_cut_off_on_a_desktop(visit, report, made):
    page = visit(report(made.make_ranking(), made.make_validation()), viewport={"width": 1350, "height": 900}).page
    cut = page.eval_on_selector_all(".scroll", "all => all.filter(one => one.scrollWidth > one.clientWidth).length")
    assert cut == 0
    assert page.locator("nav a").first.bounding_box()["y"] < 150


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_verdict_and_what_to_expect_are_seen_without_scrolling(visit, whole, width, height):
    page = visit(whole, viewport={"width": width, "height": height}).page
    for place in ("h1", ".lead", ".figures div:first-child"):
        box = page.locator(place).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height


@pytest.mark.parametrize(
    "changes",
    [
        {
            "names": ("only/one",),
            "n_layers": 1,
            "scores": {"logme": True},
            "details": False,
            "skipped": 0,
            "sensitivity": (),
        },
        {"intervals": False, "details": False, "task": "regression"},
        {"joint": True, "details": False, "task": "transcription"},
        {"scores": {"frechet": False}, "task": "segmentation"},
        {"lead": 0.6, "task": "multilabel"},
    ],
)
def test_rankings_without_some_parts_are_drawn_without_errors(visit, report, made, changes):
    page = visit(report(made.make_ranking(**changes))).page
    assert page.locator(".failed").count() == 0
    assert page.locator("#layers svg").count() >= 1
    assert "undefined" not in page.inner_text("main")
    assert "None" not in page.inner_text("main").replace("None: every utterance", "")
    assert "NaN" not in page.inner_text("main")


def test_the_page_of_a_large_ranking_is_small_enough(visit, report, made):
    names = tuple(f"organisation-{i}/a-speech-model-of-{i}-million-parameters" for i in range(30))
    scores = dict.fromkeys(("combined", "logme", "knn", "hscore", "ridge"), True)
    classes = tuple(f"word number {i}" for i in range(60))
    path = report(made.make_ranking(names, n_layers=25, scores=scores, classes=classes, skipped=20_000))
    assert path.stat().st_size <= LARGEST_BYTES
    page = visit(path).page
    assert page.locator("#layers svg").count() == 30


def test_tables_are_shown_without_javascript(chromium, whole):
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(whole.as_uri())
    assert "Charts are drawn by JavaScript" in page.inner_text("body")
    assert page.locator("#ranking tbody tr").count() == 4
    context.close()
