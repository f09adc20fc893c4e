"""Takes pictures of the report page and of the live view, from a real run. It needs Chromium and the extra dev.

    python scripts/screenshots.py DATA --model SPEC --model SPEC ... [any option of `voxrank rank`]

It runs `voxrank rank` with these arguments and writes docs/images/*.webp.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH_PX, HEIGHT_PX = 1080, 1120
QUALITY = 82
WAIT_MS = 1_800_000
"""Maximum wait for the first models of the run."""


def main(arguments: list[str]) -> None:
    """Run the ranking and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        command = [sys.executable, "-m", "voxrank", "rank", *arguments, "--out", folder, "--watch", "--no-cache"]
        run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert run.stderr is not None
        found = re.search(r"http://\S+", run.stderr.readline())
        if found is None:
            sys.exit(run.stderr.read())
        Thread(target=run.stderr.read, daemon=True).start()
        live = opened(browser, found.group(), "light")
        live.wait_for_selector("#ranking tbody tr >> nth=1", timeout=WAIT_MS)
        live.wait_for_selector("#chart-layers-1 svg")
        picture("watch", live.screenshot())
        live.close()
        if run.wait():
            sys.exit(f"the run ended with {run.returncode}")
        report(browser, Path(folder) / "report.html")


def report(browser: Browser, file: Path) -> None:
    """Take the top of the page in light, then each section in dark and light."""
    for scheme in ("light", "dark"):
        page = opened(browser, file.as_uri(), scheme)
        picture(f"report-{scheme}", page.screenshot())
        for section in page.locator("main section").all():
            name = section.get_attribute("id")
            if name in SHOWN[scheme]:
                section.scroll_into_view_if_needed()
                box = section.evaluate(BOX)
                picture(f"report-{name}", page.screenshot(full_page=True, clip=box))
        page.close()


MARGIN_PX = 24
BOX = f"""one => {{
  const box = one.getBoundingClientRect();
  return {{ x: box.left + scrollX - {MARGIN_PX}, y: box.top + scrollY - {MARGIN_PX},
           width: box.width + 2 * {MARGIN_PX}, height: box.height + 2 * {MARGIN_PX} }};
}}"""
SHOWN = {"light": ("trade-off", "pictures", "data"), "dark": ("layers",)}


def opened(browser: Browser, address: str, scheme: Any) -> Page:
    """Return a page after its charts are drawn."""
    page = browser.new_page(
        viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, color_scheme=scheme, device_scale_factor=1.25
    )
    page.goto(address)
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)
    return page


def picture(name: str, png: bytes) -> None:
    """Write a picture as a small file."""
    path = IMAGES / f"{name}.webp"
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Return the browser of this machine."""
    path = os.environ.get("VOXRANK_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
