"""`pixelwise report`: the page in a real browser without a network, its numbers, and what hostile files do to it."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from PIL import Image
from pyproj import Geod
from scipy.stats import false_discovery_control

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.maps.classified import scheme_for, table_of
from pixelwise.maps.tag import TAG, decode_provenance, encode_provenance
from pixelwise.pictures.tally import tally_of
from pixelwise.report.page import page_of, pvalue_histogram
from pixelwise.report.paragraph import citations, paragraph_of
from pixelwise.report.samples import Sample, chosen_pixels
from pixelwise.stacks.fits import chart_of
from support.browsers import browser_window
from support.drawn import PVALUE, RVALUE, SLOPE, make_map
from support.rasters import random_series
from support.scene_files import write_scenes

bokeh = pytest.importorskip("bokeh")

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


def text_of(html: str) -> str:
    """The text of a page without its scripts, one line."""
    return " ".join(unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)).split())


@pytest.fixture
def browser() -> Iterator[Any]:
    """A page of a browser without a network, that notes every request, message and error."""
    with browser_window() as window:
        page = window.new_context(offline=True, viewport={"width": 1200, "height": 900}).new_page()
        page.seen = []
        page.on("request", lambda request: page.seen.append(request.url))
        page.on("pageerror", lambda error: page.seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: page.seen.append(f"dialog: {dialog.message}"))
        yield page


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
    assert f"{100 * (status == 0).mean():.1f} %" in rows["0 ok: the method has a result"]
    assert len(html) < 10e6


def test_the_legend_follows_the_q_values_of_a_map(make_stack: Any, tmp_path: Path) -> None:
    """As `plot`, `info` and `zones` do; the table has both, and says which is which."""
    values = random_series((12, 30, 40)) + 0.03 * np.arange(12)[:, None, None] * (np.arange(40) > 20)
    values[:, :15] = NAN
    map_ = pw.apply(pw.open_stack(make_stack(values)), "ols", tmp_path / "q.tif", fdr=0.1)
    html = page_of(map_)
    legend = html[html.index("<legend>") : html.index("</fieldset>")]
    share = 100 * ((map_["qvalue"] <= 0.1) & (map_["slope"] > 0)).sum() / np.isfinite(map_["qvalue"]).sum()
    assert f"significant increase, q \N{LESS-THAN OR EQUAL TO} 0.1 <small>({share:.1f} %, " in legend
    assert "share of the tested area</legend>" in legend
    assert "missing <small>(50.0 % of the region, " in legend
    assert "significant increase, p &lt; 0.05" in html[html.index('id="areas"') :]
    assert "adjusted (q \N{LESS-THAN OR EQUAL TO} 0.1), of tested" in html


def test_methods_are_described_without_markup(make_stack: Any) -> None:
    html = page_of(pw.apply(pw.open_stack(make_stack(random_series((8, 4, 5)))), "trend"))
    method = html[html.index('id="method"') : html.index('id="making"')]
    assert "`" not in method
    assert "::" not in method
    assert "(<code>ols</code>)" in method
    assert re.search(r"<pre>r_line +=", method)
    assert "<ul><li>Santer, B. D. et al. (2000)" in method


def test_only_tests_are_counted_as_tested(trend: Path) -> None:
    """One pixel is constant; of another band, nothing is tested."""
    map_ = pw.open_map(trend)
    html = page_of(map_)
    tests = f"{int(np.isfinite(map_['pvalue']).sum()):,}".replace(",", "\u202f")
    assert f"of the {tests} tests" in html
    (areas,) = [table for table in Tables(html).tables if any(row[0].startswith("significant in") for row in table)]
    (constant,) = [row for row in areas if row[0] == "no change (constant series)"]
    assert constant[2] == ""
    level = pw.Map(map_.grid, map_.bands[::-1], map_.provenance, arrays={name: map_[name] for name in map_.names})
    assert level.bands[1].kind != "change"
    heads = [row for table in Tables(page_of(level)).tables for row in table if "of the region" in row]
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
    assert palette[int(box.get_attribute("data-code"))] == "#ffffff00"


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
    assert page.locator("blockquote").count() == 0
    said = page.locator("main").text_content()
    assert said.count("pixelwise did not make this map; how it was made is unknown.") == 2
    assert "None were given" not in said
    assert "The region is the whole grid." in said
    assert page.locator("#status, a[href='#status']").count() == 0
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
    said = text_of((tmp_path / "s.html").read_text("utf-8"))
    assert "There are no series, as the inputs of the map were not opened:" in said
    assert f"name them: pixelwise report {tmp_path / 'trend.tif'} -o {tmp_path / 's.html'} FILES" in said


def test_scenes_of_a_product_with_clouds_have_a_page(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", size=(20, 30), cloudy=0.3)
    stack = pw.open_stack(scenes.paths, product="landsat-c2-l2", value="ndvi")
    pw.apply(stack, "ols", tmp_path / "trend.tif")
    result = CliRunner().invoke(main, ["report", str(tmp_path / "trend.tif"), "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.output
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', (tmp_path / "r.html").read_text())
    assert found is not None
    # About three of ten observations are clouds.
    counts = [len(one["observed"]["y"]) for one in json.loads(found[1])["samples"]]
    assert len(counts) > 3
    assert 3 <= min(counts) < 6


def test_wrong_inputs_are_an_error_and_no_page(trend: Path, make_stack: Any, tmp_path: Path) -> None:
    other = make_stack(random_series((3, 30, 40)), folder=tmp_path / "other")
    page = tmp_path / "r.html"
    for arguments, said in (
        ([trend, other], "these inputs are not those of the map"),
        ([trend, tmp_path / "none"], "none: no such file"),
    ):
        result = CliRunner().invoke(main, ["report", *map(str, arguments), "-o", str(page)])
        assert result.exit_code == 1
        assert said in result.output
        assert not page.exists()


def test_advice_names_no_option_that_reports_lack(make_stack: Any, tmp_path: Path) -> None:
    values = random_series((5, 6, 7))
    make_stack((values > 0).astype(np.uint8), folder=tmp_path / "clouds", dtype="uint8", nodata=None)
    stack = pw.open_stack(
        make_stack(values, folder=tmp_path / "ndvi"), mask=str(tmp_path / "clouds" / "*.tif"), mask_keep=(0, 1)
    )
    pw.apply(stack, "ols", tmp_path / "m.tif")
    call = ["report", str(tmp_path / "m.tif"), "-o", str(tmp_path / "r.html")]
    assert CliRunner().invoke(main, call).exit_code == 0
    said = text_of((tmp_path / "r.html").read_text("utf-8"))
    advice = f"`pixelwise series --map {tmp_path / 'm.tif'}` shows its series, if you add --mask with its present path"
    assert advice in said
    assert "5 layers; masked by clouds) of each pixel" in said


def test_a_correlation_says_why_it_has_no_series(make_stack: Any, tmp_path: Path) -> None:
    ndvi, rain = (random_series((9, 6, 7), seed=seed) for seed in (1, 2))
    stack, other = (pw.open_stack(make_stack(v, folder=tmp_path / n)) for v, n in ((ndvi, "ndvi"), (rain, "rain")))
    map_ = pw.apply(stack, "correlation", tmp_path / "r.tif", inputs={"x": other})
    call = ["report", str(tmp_path / "r.tif"), "-o", str(tmp_path / "r.html")]
    assert CliRunner().invoke(main, call).exit_code == 0
    said = text_of((tmp_path / "r.html").read_text("utf-8"))
    assert "its method compares the inputs with covariates, and a page has no series of both" in said
    assert "--map" not in said
    falls, rises = ((map_["pvalue"] < 0.05) & (np.sign(map_["rvalue"]) == sign) for sign in (-1, 1))
    assert re.search(
        rf"In {100 * rises.mean():.1f} % \(.*? km²\) of the tested area, rvalue was significantly positive, and in "
        rf"({100 * falls.mean():.1f}|0) % \(.*? km²\) significantly negative \(p < 0.05\)\.", said
    ), said  # fmt: skip
    result = CliRunner().invoke(main, [*call, "--overwrite", str(tmp_path / "ndvi")])
    assert result.exit_code == 1
    assert "leave INPUT and --method out" in result.output


def test_a_function_of_a_user_is_tried_once(make_stack: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # Its name is that of a method, whose description is not its own.
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nimport pixelwise as pw\n\n\n@pw.per_pixel(bands=['late'])\n"
        "def ols(values, years):\n    return values[-1] - values[0]\n"
    )
    values = random_series((8, 6, 7))
    make_stack(values, folder=tmp_path / "ndvi")
    own, function = str(tmp_path / "mine.tif"), f"{tmp_path / 'mine.py'}:ols"
    result = CliRunner().invoke(main, ["apply", function, str(tmp_path / "ndvi"), "-o", own])
    assert result.exit_code == 0, result.output
    caplog.clear()
    with caplog.at_level(logging.INFO):
        result = CliRunner().invoke(main, ["report", own, "--method", function, "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.output
    assert sum("plain Python" in one.message or "ols: compiled" in one.message for one in caplog.records) == 1
    html = (tmp_path / "r.html").read_text("utf-8")
    assert "was analysed with the function “ols”, run by pixelwise" in html
    assert "Draper" not in html
    assert '<th scope="col" class="number">of tested</th>' not in html


# Tests by chance, and the paragraph


@pytest.mark.parametrize(
    ("fdr", "reference"),
    [
        (None, "Benjamini and Hochberg 1995"),
        ("0.2", "Benjamini and Hochberg 1995"),
        ("by:0.2", "Benjamini and Yekutieli 2001"),
    ],
)
def test_what_chance_does_is_told_with_true_numbers(
    make_stack: Any, tmp_path: Path, fdr: str | None, reference: str
) -> None:
    values = random_series((12, 30, 40)) + 0.03 * np.arange(12)[:, None, None] * (np.arange(40) > 20)
    values[:, :3, :5] = NAN
    values[:, 20, 20] = 0.25
    map_ = pw.apply(pw.open_stack(make_stack(values)), "trend", tmp_path / "t.tif", fdr=fdr)
    said = text_of(page_of(map_))
    slope, pvalue, status = (map_[name] for name in ("slope", "pvalue", "status"))
    tests = (status == 0) & np.isfinite(pvalue)
    count, q = int(tests.sum()), 0.1 if fdr is None else 0.2
    assert (
        f"about one in twenty of the 1 {count - 1000:03} tests ({round(count / 20)}) would still have p < 0.05." in said
    )
    assert f"its q-value is at most {q:g}, so that on average at most {100 * q:g} % of the significant pixels" in said
    assert f"are there by chance ({reference}; for maps, Wilks 2016)." in said
    qvalue = np.full(slope.shape, NAN)
    qvalue[tests] = false_discovery_control(pvalue[tests].astype(float), method="by" if fdr == "by:0.2" else "bh")

    def share(passed: Any) -> str:
        # Pixels of UTM have the same area, nearly.
        share = 100 * (passed & tests).sum() / count
        return f"{share:.1f} %" if share else "0 %"

    def found(passed: Any) -> str:
        return rf"{share(passed & (slope > 0))} \([^)]*km²\) increased and {share(passed & (slope < 0))} \([^)]*km²\)"

    pattern = (
        r"The series of NDVI \(2000 to 2011, 12 layers\) of each pixel of a grid of 40 by 30 pixels "
        r"\(width by height; EPSG:32617\) was "
        rf"analysed with the method “trend” of pixelwise {re.escape(pw.__version__)} \(Santer et al. 2000; Weatherhead "
        r"et al. 1998; Sen 1968\)\. The test gives the two-sided p-value of the least-squares line, with the effective "
        r"sample "
        r"size \(Santer et al\. 2000\); it allows for lag-1 autocorrelation\. "
        rf"1\s{count - 1000:03} pixels were tested\. "
        rf"Of the tested area, {found(pvalue < 0.05)} decreased significantly \(p < 0.05\)\. "
        rf"At a false discovery rate of {q:g} \(procedure of {reference}\), "
        rf"{found(qvalue <= q)} decreased significantly\."
    )
    assert re.search(pattern, said), said[said.index("The series of") :][:600]


def test_one_test_is_not_adjusted(make_stack: Any) -> None:
    values = np.full((8, 4, 5), NAN)
    values[:, 1, 1] = random_series((8, 1, 1))[:, 0, 0]
    html = page_of(pw.apply(pw.open_stack(make_stack(values)), "ols"))
    assert "of tested" in html
    assert "adjusted" not in html[html.index('id="areas"') : html.index('id="histograms"')]
    assert "false discovery rate" not in html[html.index('id="paragraph"') : html.index("</blockquote>")]


def test_the_paragraph_names_what_was_left_out() -> None:
    described = {
        "layers": 30, "first": "1991-01-01", "last": "2020-01-01",
        "spec": {"variable": "ndvi", "product": "hls", "mask": "../clouds/", "every": "month"},
        "composite": {"how": "median", "periods": ["1991", "2020"]},
        "area": {"region": {"source": "../park.gpkg"}, "where": {"raster": "lc.tif", "values": "1,3..5"}},
    }  # fmt: skip
    map_ = make_map((SLOPE,), np.ones((2, 3)), provenance={"method": "ols", "input": described})
    assert paragraph_of(map_, SLOPE, tally_of(map_, scheme_for(map_, "slope")), None) == (
        "The series of NDVI (1991 to 2020, 30 layers; composites (median) of each month; masked by hls, clouds; within "
        "park.gpkg; where lc.tif is 1,3..5) of each pixel of a grid of 3 by 2 pixels "
        "(width by height; EPSG:32617) was analysed with "
        "the method “ols” of pixelwise (Draper and Smith 1998)."
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"method": "irmad, 16384 pixels, seed 0", "reference": "median of 33 scenes, 06-01..08-31", "scenes": 33,
             "left_out": 6},
            ("33 scenes were made comparable by relative radiometric normalization (IR-MAD: Nielsen 2007; Canty and "
            "Nielsen 2008; weighted reduced major axes; reference: median of 33 scenes, 06-01..08-31; 16 384 pixels); "
            "6 scenes with unreliable gains were left out"),
        ),
        (
            {"method": "irmad, 50000 pixels, seed 0, per sensor", "reference": "LC08, 11 pairs", "scenes": 33,
             "left_out": 0},
            ("33 scenes were made comparable by relative radiometric normalization (IR-MAD: Nielsen 2007; Canty and "
            "Nielsen 2008; weighted reduced major axes, between sensors; reference: LC08, 11 pairs; 50 000 pixels)"),
        ),
        (
            {"method": "by\x1b[31m hand", "scenes": 1, "left_out": 1},
            ("1 scene was made comparable by relative radiometric normalization (gains g.csv; method: by\\x1b[31m "
            "hand); 1 scene with unreliable gains was left out"),
        ),
        ({}, "scenes were made comparable by relative radiometric normalization (gains g.csv)"),
    ],
)  # fmt: skip
def test_the_paragraph_says_how_scenes_were_made_comparable(given: dict[str, Any], expected: str) -> None:
    described = {"layers": 30, "first": "1991-01-01", "last": "2020-01-01",
                 "composite": {"periods": ["1991", "2020"]}, "gains": given,
                 "spec": {"gains": "tables/g.csv", "value": "ndvi"}}  # fmt: skip
    map_ = make_map((SLOPE,), np.ones((2, 3)), provenance={"method": "ols", "input": described})
    text = paragraph_of(map_, SLOPE, tally_of(map_, scheme_for(map_, "slope")), None)
    assert text.startswith(f"The series of NDVI (1991 to 2020, 30 layers; {expected}) of each pixel")
    described["spec"]["value"] = "nir / red"
    assert paragraph_of(map_, SLOPE, tally_of(map_, scheme_for(map_, "slope")), None).startswith(
        "The series of nir / red ("
    )


def test_citations_are_authors_and_year() -> None:
    text = (
        "Santer, B. D. et al. (2000). Statistical\nsignificance. J. Geophys. Res. 105 (3), 7337.\n"
        "von Storch, H. (1995). Misuses.\nHamed, K. H. & Rao, A. R. (1998). A test.\n"
        "Hirsch, R. M., Slack, J. R. & Smith, R. A. (1982). Techniques."
    )
    assert citations(text) == ["Santer et al. 2000", "von Storch 1995", "Hamed and Rao 1998", "Hirsch et al. 1982"]
    assert citations("") == []


@pytest.mark.parametrize("package", ["jinja2", "bokeh"])
def test_missing_packages_are_told_at_once(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(pw.ParameterError, match=rf'a report needs {package}: pip install "pixelwise\[report\]"'):
        page_of(make_map((SLOPE,), np.ones((2, 3))))


# What is seen


def test_degrees_and_legend_are_those_of_pictures(browser: Any, tmp_path: Path) -> None:
    # Longitudes from 0 to 360: 170 to 290.
    values = np.arange(24.0).reshape(4, 6)
    map_ = make_map((SLOPE,), values, crs="EPSG:4326", transform=Affine(20, 0, 170, 0, -20, 40))
    page = opened(browser, page_of(map_), tmp_path / "r.html")
    ticks = "Bokeh.documents[0].get_model_by_name('map').%s[0].formatter.doFormat(%s, {loc: 0})"
    east = page.evaluate(ticks % ("below", "[0, 100, 172.5, 180, 190, 280, 360.1]"))
    assert east == ["0°", "100°E", "172.5°E", "180°", "170°W", "80°W", "0.1°E"]
    assert page.evaluate(ticks % ("left", "[-66.1, 0, 40]")) == ["66.1°S", "0°", "40°N"]
    legend, left = page.locator("form").bounding_box(), page.locator("[data-move=in]").bounding_box()
    assert legend["x"] > left["x"] + 560
    assert legend["y"] < left["y"]


def test_hidden_classes_are_hatched_and_not_white(browser: Any, tmp_path: Path) -> None:
    map_ = make_map((SLOPE,), np.arange(1.0, 2401).reshape(40, 60))
    page = opened(browser, page_of(map_), tmp_path / "r.html")
    for box in page.locator("input[data-code]").all():
        box.uncheck()
    page.wait_for_timeout(300)
    box = page.locator(".beside > div").first.bounding_box()
    with Image.open(io.BytesIO(page.screenshot())) as image:
        part = np.asarray(image.convert("L"))[int(box["y"]) + 100 :][:100, int(box["x"]) + 150 :][:, :200]
    # Lines of a darker grey on white, everywhere.
    for piece in np.split(part, 4):
        assert 0.05 < (piece < 200).mean() < 0.6
        assert (piece > 240).mean() > 0.2


def test_histograms_weigh_pixels_by_their_area() -> None:
    # Two rows that each cover 40 degrees of latitude.
    pvalue = np.array([[0.01, 0.01, 0.01], [0.99, 0.99, 0.99]])
    transform = Affine(5, 0, 0, 0, -40, 80)
    map_ = make_map((SLOPE, PVALUE), np.ones((2, 3)), pvalue, crs="EPSG:4326", transform=transform)
    html = page_of(map_)
    geod, km2 = Geod(ellps="WGS84"), []
    for top in (80, 40):
        lon = np.linspace(0, 5, 2000)
        ring = np.concatenate([lon, lon[::-1]]), np.repeat([top, top - 40], 2000)
        km2.append(abs(geod.polygon_area_perimeter(*ring)[0]))
    scheme = scheme_for(map_, "slope", pvalue="pvalue")
    tally = tally_of(map_, scheme)
    histogram = pvalue_histogram(map_, tally)
    assert histogram is not None
    assert histogram.shares[[0, -1]] == pytest.approx([km2[0] / sum(km2), km2[1] / sum(km2)], rel=1e-4)
    assert html.count("share of area (%)") == 2
    plain = make_map((RVALUE, PVALUE), np.ones((2, 3)), pvalue, crs=None, transform=transform)
    assert page_of(plain).count("share of pixels (%)") == 2


def test_series_and_reports_call_the_quantity_the_same(trend: Path) -> None:
    series = pw.open_stack(trend.parent / "ndvi").series(500_100.0, 3_399_900.0)
    assert series.quantity == "NDVI"
    assert chart_of(series).label == "NDVI"
