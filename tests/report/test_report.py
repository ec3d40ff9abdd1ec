"""`pixelwise report`: the page in a real browser without a network, its numbers, and what hostile files do to it."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.maps.classified import scheme_for, table_of
from pixelwise.maps.tag import TAG, decode_provenance, encode_provenance
from pixelwise.pictures.tally import tally_of
from pixelwise.report.page import page_of
from pixelwise.report.samples import Sample, chosen_pixels
from support.rasters import random_series

bokeh = pytest.importorskip("bokeh")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

NAN = np.nan


@pytest.fixture
def trend(make_stack: Any, tmp_path: Path) -> Path:
    values = random_series((12, 30, 40))
    values += 0.03 * np.arange(12)[:, None, None] * (np.arange(40) > 20)
    values[:, :3, :5] = NAN
    values[:, 20, 20] = 0.25
    pw.apply(pw.open_stack(make_stack(values, folder=tmp_path / "ndvi")), "trend", tmp_path / "trend.tif")
    return tmp_path / "trend.tif"


def samples() -> list[Sample]:
    years = np.arange(2000.0, 2006.0)
    curve = np.linspace(2000, 2005, 10)
    limits = curve * 0, curve * 0 + 2
    values = np.array([1, 2, NAN, 4, 5, 6.0])
    found = []
    for row in (10, 20):
        x, y = 500100.0 + 40 * row, 3399900.0 - 30 * row
        words = f"slope {row}, p = 0.01"
        found.append(Sample(row, 5, x, y, words, years, values * row, curve, curve * 0 + row, *limits, "increase"))
    return found


@pytest.fixture
def browser() -> Iterator[Any]:
    """A page of a browser without a network, that notes every request, message and error."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = window.new_context(offline=True, viewport={"width": 1200, "height": 900}).new_page()
        page.seen = []
        page.on("request", lambda request: page.seen.append(request.url))
        page.on("pageerror", lambda error: page.seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: page.seen.append(f"dialog: {dialog.message}"))
        yield page
        window.close()


def opened(page: Any, html: str, path: Path) -> Any:
    path.write_text(html, "utf-8")
    page.goto(path.as_uri())
    page.wait_for_function("document.body.dataset.ready === 'yes'", timeout=30_000)
    assert page.seen == [path.as_uri()]
    return page


class Tables(HTMLParser):
    """The rows of every table of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell).strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


def test_the_table_of_areas_is_that_of_classify(trend: Path) -> None:
    map_ = pw.open_map(trend)
    html = page_of(map_)
    rows = {row[0]: row for table in Tables(html).tables for row in table if row}
    for row in csv.DictReader(io.StringIO(table_of(tally_of(map_, scheme_for(map_, "slope", pvalue="pvalue"))))):
        if not int(row["pixels"]):
            continue
        shown = rows[row["class"]]
        assert float(shown[1].replace("\u202f", "")) == pytest.approx(float(row["km2"]), rel=0.01)
        share = shown[3].removesuffix(" %")
        assert share.startswith("<") or float(share) == pytest.approx(100 * float(row["share_of_region"]), abs=0.051)
    with rasterio.open(trend) as dataset:
        status = dataset.read(dataset.count)
    assert f"{100 * (status == 0).mean():.1f} %" in rows["0 ok: the method has an answer"]
    assert len(html) < 10e6


def test_only_tests_are_counted_as_tested(trend: Path) -> None:
    """One pixel is constant; of another band, nothing is tested."""
    map_ = pw.open_map(trend)
    html = page_of(map_)
    assert f"of {int(np.isfinite(map_['pvalue']).sum())} tests at p &lt; 0.05" in html
    (areas,) = [table for table in Tables(html).tables if any(row[0].startswith("significant in") for row in table)]
    (constant,) = [row for row in areas if row[0] == "no change (constant series)"]
    assert constant[2] == ""
    level = pw.Map(map_.grid, map_.bands[::-1], map_.provenance, arrays={name: map_[name] for name in map_.names})
    assert level.bands[1].kind != "change"
    heads = [row for table in Tables(page_of(level)).tables for row in table if "of all asked for" in row]
    assert heads
    assert all("of tested" not in row for row in heads)


def test_nothing_is_fetched_from_elsewhere(trend: Path) -> None:
    html = page_of(pw.open_map(trend), samples())
    head = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r'(?:src|srcset|action)\s*=|href="(?!#)|url\(|@import', head)
    assert not re.findall(r"<script[^>]*\bsrc\b", html)


def test_the_map_moves_and_classes_hide_by_the_keyboard_alone(trend: Path, browser: Any, tmp_path: Path) -> None:
    page = opened(browser, page_of(pw.open_map(trend), samples()), tmp_path / "r.html")
    extent = (
        "(() => { const m = Bokeh.documents[0].get_model_by_name('map'); return [m.x_range.start, m.x_range.end]; })()"
    )
    before = page.evaluate(extent)
    page.locator("[data-move=in]").focus()
    page.keyboard.press("Enter")
    middle, half = sum(before) / 2, (before[1] - before[0]) / 4
    assert page.evaluate(extent) == pytest.approx([middle - half, middle + half])
    page.locator("[data-move=right]").focus()
    page.keyboard.press("Space")
    assert page.evaluate(extent) == pytest.approx([middle - half / 2, middle + 1.5 * half])
    page.locator("[data-move=all]").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(extent) == pytest.approx(before)
    shown = page.screenshot()
    box = page.locator("input[data-code]").first
    box.focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(300)
    assert page.screenshot() != shown
    palette = page.evaluate("Bokeh.documents[0].get_model_by_name('colors').palette")
    assert palette[int(box.get_attribute("data-code"))] == "#ffffff"


def test_a_pixel_is_chosen_by_click_and_by_keyboard(trend: Path, browser: Any, tmp_path: Path) -> None:
    page = opened(browser, page_of(pw.open_map(trend), samples()), tmp_path / "r.html")
    words, drawn = page.locator("#words"), "Bokeh.documents[0].get_model_by_name('observed').data.y"
    assert words.text_content() == "row 10, column 5 (500500, 3399600): increase. slope 10, p = 0.01"
    assert page.evaluate(drawn) == [10, 20, 40, 50, 60]
    page.locator("#sample").focus()
    page.keyboard.press("ArrowDown")
    assert "slope 20" in words.text_content()
    assert page.evaluate(drawn) == [20, 40, 80, 100, 120]
    assert page.locator("#numbers tbody tr").count() == 5
    page.locator("#sample").select_option("0")
    # Where the second circle is on the screen.
    page.evaluate("window.scrollTo(0, 0)")
    x, y = page.evaluate(
        """() => {
            const views = Object.values(Bokeh.index.roots ?? Bokeh.index);
            const view = views.find(one => one.model.name === 'map'), box = view.el.getBoundingClientRect();
            return [box.x + view.frame.x_scale.compute(500900), box.y + view.frame.y_scale.compute(3399300)];
        }"""
    )
    page.mouse.click(x, y)
    page.wait_for_timeout(300)
    assert "slope 20" in words.text_content()
    assert page.locator("#sample").input_value() == "1"


HOSTILE = "</script><script>document.hacked = 1; alert(1)</script><img src=x onerror='document.hacked = 1'>{{ 7 * 7 }}"


def test_texts_from_files_are_shown_and_never_run(trend: Path, browser: Any, tmp_path: Path) -> None:
    with rasterio.open(trend, "r+") as dataset:
        said: dict[str, Any] = decode_provenance(dataset.get_tag_item(TAG))
        said |= {"method": HOSTILE, "warnings": [HOSTILE], "parameters": {"source": HOSTILE, HOSTILE: HOSTILE}}
        said["input"]["spec"] = {"variable": HOSTILE}
        said["versions"] = {"pixelwise": HOSTILE}
        dataset.update_tags(PIXELWISE=encode_provenance(said))
        dataset.set_band_unit(1, HOSTILE)
        dataset.update_tags(1, DESCRIPTION=HOSTILE)
    one = samples()[0]
    strange = Sample(0, 0, 0.0, 0.0, HOSTILE, one.years, one.values, label=HOSTILE)
    page = opened(browser, page_of(pw.open_map(trend), [strange]), tmp_path / "r.html")
    assert page.evaluate("document.hacked") is None
    assert HOSTILE in page.locator(".warning").first.text_content()
    assert "{{ 7 * 7 }}" in page.locator("h1").text_content()
    assert page.locator("img").count() == 0
    assert page.locator("#words").text_content().endswith(HOSTILE)


def test_pixels_are_chosen_from_every_class() -> None:
    codes = np.full((50, 60), 255, np.uint8)
    codes[:20], codes[20:21, :3], codes[30:] = 0, 1, 2
    chosen = chosen_pixels(codes, 3)
    assert len(chosen) == len(set(chosen)) == 13
    assert sorted(codes[row, col] for row, col in chosen) == [0] * 5 + [1] * 3 + [2] * 5
    assert chosen_pixels(codes, 3) == chosen
    assert chosen_pixels(np.full((3, 3), 255, np.uint8), 4) == []


@pytest.mark.parametrize("crs", [None, "EPSG:4326"])
def test_a_raster_of_anyone_has_a_page_too(tmp_path: Path, browser: Any, crs: str | None) -> None:
    path = tmp_path / "plain.tif"
    profile = {"driver": "GTiff", "count": 1, "height": 20, "width": 30, "dtype": "float32", "nodata": -1}
    with rasterio.open(path, "w", crs=crs, transform=rasterio.Affine(0.1, 0, 10, 0, -0.1, 50), **profile) as dataset:
        dataset.write(np.arange(-1, 599, dtype=np.float32).reshape(1, 20, 30))
    result = CliRunner().invoke(main, ["report", str(path), "-o", str(tmp_path / "plain.html")])
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'plain.html'}\n")
    page = opened(browser, (tmp_path / "plain.html").read_text("utf-8"), tmp_path / "again.html")
    assert page.locator("h1").text_content() == "Band 1"
    assert ("km²" in page.content()) == (crs is not None)


def test_mistakes(trend: Path) -> None:
    for arguments, said in (
        ([trend, "-o", trend.with_suffix(".pdf")], "its name must end in .html or .htm"),
        ([trend.with_name("none.tif"), "-o", trend.with_suffix(".html")], "none.tif: No such file"),
    ):
        result = CliRunner().invoke(main, ["report", *map(str, arguments)])
        assert result.exit_code == 1
        assert said in result.output
        assert result.output.count("\n") == 1
    trend.with_suffix(".html").write_text("mine")
    result = CliRunner().invoke(main, ["report", str(trend), "-o", str(trend.with_suffix(".html"))])
    assert "already exists; --overwrite replaces it" in result.output
    assert trend.with_suffix(".html").read_text() == "mine"


@pytest.mark.parametrize("fdr", [None, 0.1])
def test_inputs_beside_the_map_give_the_series(make_stack: Any, tmp_path: Path, fdr: float | None) -> None:
    values = random_series((12, 20, 30)) + 0.05 * np.arange(12)[:, None, None] * (np.arange(30) > 15)
    stack = pw.open_stack(make_stack(values, folder=tmp_path / "ndvi"))
    map_ = pw.apply(stack, "ols", tmp_path / "trend.tif", fdr=fdr)
    result = CliRunner().invoke(main, ["report", str(tmp_path / "trend.tif"), "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.output
    html = (tmp_path / "r.html").read_text("utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])  # type: ignore[index]
    assert len(data["samples"]) > 10
    for one in data["samples"]:
        row, col = map(int, re.match(r"row (\d+), column (\d+)", one["title"]).groups())  # type: ignore[union-attr]
        observed = values[:, row, col]
        assert one["observed"]["y"] == pytest.approx(observed[~np.isnan(observed)].tolist(), rel=1e-6)
        slope = np.polyfit(one["curve"]["x"], one["curve"]["y"], 1)[0]
        assert slope == pytest.approx(map_["slope"][row, col], rel=1e-4, abs=1e-6)
        assert ("q \u2264 0.1" in one["title"] or "not significant" in one["title"]) or fdr is None
    shutil.rmtree(tmp_path / "ndvi")
    result = CliRunner().invoke(main, ["report", str(tmp_path / "trend.tif"), "-o", str(tmp_path / "s.html")])
    assert result.exit_code == 0, result.output
    assert "The inputs of the map could not be read: " in (tmp_path / "s.html").read_text("utf-8")
