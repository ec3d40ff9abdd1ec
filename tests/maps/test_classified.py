"""`classify`: codes, colours, names, a style for QGIS, a table of areas."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.maps import classified
from pixelwise.maps.classified import classify
from pixelwise.maps.leftovers import remove_leftovers
from pixelwise.pictures.picture import plot_map
from pixelwise.pictures.tally import tally_of
from pixelwise.pictures.thinned import thinned
from support.drawn import MINUS, NAN, PVALUE, SLOPE, image_of, key_colors, labels, make_map, shares, trend_map
from support.rasters import write_raster

LABELS = [
    "not tested", "no change (constant series)", "significant decrease, p < 0.05", "decrease, not significant",
    "no change", "increase, not significant", "significant increase, p < 0.05",
]  # fmt: skip


def small_map(**options: Any) -> pw.Map:
    slope = np.array([[1, -1, 0, 2, NAN, NAN], [-3, 1, 1, 1, 1, NAN], [0, 0, NAN, NAN, NAN, NAN]])
    pvalue = np.array([[0.01, 0.5, 0.5, NAN, NAN, NAN], [0.01, 0.5, 0.5, 0.01, 0.01, NAN], [NAN] * 6])
    status = [[0, 0, 0, 6, 2, 9], [0, 0, 0, 0, 0, 9], [3, 3, 9, 9, 9, 9]]
    return make_map((SLOPE, PVALUE), slope, pvalue, status=status, **options)


CODES = [[6, 3, 4, 0, 255, 254], [2, 5, 5, 6, 6, 254], [1, 1, 254, 254, 254, 254]]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_holds_codes_colours_and_names(tmp_path: Path) -> None:
    path = tmp_path / "classes.tif"
    classify(small_map(), path)
    with rasterio.open(path) as dataset:
        assert dataset.read(1).tolist() == CODES
        assert (dataset.count, dataset.dtypes, dataset.nodata) == (1, ("uint8",), 255)
        assert dataset.crs.to_epsg() == 32617
        assert dataset.transform == small_map().grid.transform
        colors = dataset.colormap(1)
        assert dataset.descriptions == ("slope in classes",)
        tag = dataset.tags()[classified.TAG_CLASSES]
    assert '"levels": [0.05]' in tag
    figure = plot_map(small_map())
    legend = key_colors(figure)
    assert labels(figure)[:-1] == LABELS[::-1]
    for code, label in enumerate(LABELS):
        assert "#{:02x}{:02x}{:02x}".format(*colors[code][:3]) == legend[label]
    names = [category.text for category in ET.parse(f"{path}.aux.xml").getroot().iter("Category")]
    assert names[:7] == LABELS
    assert names[254:] == ["outside the area", "missing"]
    assert sorted(other.name for other in tmp_path.iterdir()) == ["classes.qml", "classes.tif", "classes.tif.aux.xml"]


def test_gdal_reads_the_names(tmp_path: Path) -> None:
    gdalinfo = shutil.which("gdalinfo")
    if gdalinfo is None:
        pytest.skip("gdalinfo is not installed")
    classify(small_map(), tmp_path / "classes.tif")
    said = subprocess.run([gdalinfo, str(tmp_path / "classes.tif")], capture_output=True, text=True, check=True).stdout
    for code, label in enumerate(LABELS):
        assert f"{code}: {label}" in said


def test_the_style_is_that_of_the_legend(tmp_path: Path) -> None:
    classify(small_map(), tmp_path / "classes.tif")
    root = ET.parse(tmp_path / "classes.qml").getroot()
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    found = {int(one.attrib["value"]): one.attrib for one in renderer.iter("paletteEntry")}
    assert [found[code]["label"] for code in range(7)] == LABELS
    assert {found[code]["label"]: found[code]["color"] for code in range(7)}.items() <= key_colors(
        plot_map(small_map())
    ).items()
    assert found[254]["alpha"] == "0"


QGIS = """
import sys
from qgis.core import QgsApplication, QgsRasterLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "classes")
assert layer.isValid()
print(layer.renderer().type())
for one in layer.renderer().classes():
    print(int(one.value), one.color.name(), one.label)
"""


def test_qgis_opens_it_classified(tmp_path: Path) -> None:
    """Where QGIS is: Debian's python3-qgis 3.22 was seen to do so."""
    python = "/usr/bin/python3"
    if not Path(python).exists() or subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode:
        pytest.skip("QGIS is not installed")
    classify(small_map(), tmp_path / "classes.tif")
    environment = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [python, "-c", QGIS, str(tmp_path / "classes.tif")], capture_output=True, text=True, env=environment, check=True
    )
    renderer, *classes = done.stdout.splitlines()
    assert renderer == "paletted"
    legend = key_colors(plot_map(small_map()))
    assert classes[:7] == [f"{code} {legend[LABELS[code]]} {LABELS[code]}" for code in range(6, -1, -1)]


def test_the_table_has_areas_and_three_shares(tmp_path: Path) -> None:
    tally = classify(small_map(), tmp_path / "classes.tif", table=tmp_path / "areas.csv")
    rows = table(tmp_path / "areas.csv")
    assert list(rows[0]) == ["code", "class", "pixels", "km2", "share_of_tested", "share_of_values", "share_of_region"]
    assert [row["class"] for row in rows] == [*LABELS[::-1], "missing"]
    assert [int(row["code"]) for row in rows] == [6, 5, 4, 3, 2, 1, 0, 255]
    assert [int(row["pixels"]) for row in rows] == [3, 2, 1, 1, 1, 2, 1, 1]
    # Pixels of 30 m in UTM have 900 m2, but for the scale of the projection.
    assert [float(row["km2"]) / int(row["pixels"]) for row in rows] == pytest.approx([0.0009] * 8, rel=2e-3)
    assert [float(row["share_of_tested"] or "nan") for row in rows[:-1]] == pytest.approx(
        [3 / 8, 2 / 8, 1 / 8, 1 / 8, 1 / 8, NAN, NAN], abs=1e-5, nan_ok=True
    )
    assert float(rows[6]["share_of_values"]) == pytest.approx(1 / 11, abs=1e-5)
    assert float(rows[-1]["share_of_region"]) == pytest.approx(1 / 12, abs=1e-5)
    assert sum(float(row["share_of_region"]) for row in rows) == pytest.approx(1, abs=1e-5)
    assert tally.km2 is not None
    assert tally.km2.sum() == pytest.approx(sum(float(row["km2"]) for row in rows[:-1]), abs=1e-5)


def test_what_is_no_test_has_no_share_of_tested(tmp_path: Path) -> None:
    for number, options in enumerate(({"band": "status"}, {"classes": "0,1"}, {"band": "pvalue"})):
        classify(small_map(), tmp_path / f"{number}.tif", table=tmp_path / f"{number}.csv", **options)
        assert {row["share_of_tested"] for row in table(tmp_path / f"{number}.csv")} == {""}


def test_without_crs_there_are_no_areas(tmp_path: Path) -> None:
    classify(small_map(crs=None), tmp_path / "classes.tif", table=tmp_path / "areas.csv")
    rows = table(tmp_path / "areas.csv")
    assert {row["km2"] for row in rows} == {""}
    assert float(rows[0]["share_of_tested"]) == 3 / 8


def test_classes_are_those_of_the_picture(tmp_path: Path) -> None:
    map_ = trend_map()
    for classes in ("trend", "confidence", "quantile:4", "0.001,0.01"):
        tally = classify(map_, tmp_path / "c.tif", classes=classes, overwrite=True)
        figure = plot_map(map_, classes=classes)
        with rasterio.open(tmp_path / "c.tif") as dataset:
            codes = dataset.read(1)
        colors = [one.color for one in tally.scheme.classes]
        painted = [[colors[code] if code < 250 else "" for code in line] for line in codes]
        known = codes < 250
        assert (np.array(image_of(figure))[known] == np.array(painted)[known]).all()
        drawn = {label: share for label, share in shares(figure).items() if label != "missing"}
        said = {one.label: 100 * share for one, share in zip(tally.scheme.classes, tally.shares, strict=True)}
        assert all(said[label] == pytest.approx(share, abs=0.051) for label, share in drawn.items())


def test_codes_keep_their_words(tmp_path: Path) -> None:
    tally = classify(small_map(), tmp_path / "c.tif", "status")
    assert {one.label for one in tally.scheme.classes} == {
        "0 ok", "2 too few observations", "3 constant series", "6 test undefined",
    }  # fmt: skip


def test_a_map_larger_than_a_block_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.maps.map.READ_EDGE", 512)
    map_ = trend_map(1300, 700)
    classify(map_, tmp_path / "c.tif")
    with rasterio.open(tmp_path / "c.tif") as dataset:
        codes = dataset.read(1)
        assert dataset.profile["tiled"]
    up = (map_["slope"] > 0) & (map_["pvalue"] < 0.05)
    assert np.array_equal(codes == 6, up)
    assert np.array_equal(codes == 255, np.isnan(map_["slope"]))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a map of 60 x 60 pixels a large one: one pixel in nine is looked at, none at the upper left."""
    monkeypatch.setattr("pixelwise.pictures.thinned.MOST_PIXELS", 100)
    monkeypatch.setattr("pixelwise.pictures.thinned.MOST_SAMPLES", 20)

    def make(values: Any, band: pw.Band) -> pw.Map:
        map_ = make_map((band,), np.asarray(values).reshape(60, 60))
        assert thinned(map_, [band.name]).grid.height == 20
        return map_

    return make


LEVEL, NUMBER = pw.Band("level"), pw.Band("n", integer=True, kind="count")


@pytest.mark.parametrize("classes", [None, "quintile", "equal:4", "fisher:3"])
@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_labels_hold_for_every_pixel_of_a_large_map(tmp_path: Path, large: Any, classes: str, kind: str) -> None:
    values = np.random.default_rng(3).integers(100, 200, 3600).astype(kind)
    # Seen by no sample: it looks at rows and columns 1, 4, 7 ...
    values[[0, 2, 3, 5]] = -1000, 50, 5000, 250
    band = LEVEL if kind == "float32" else NUMBER
    map_ = large(values, band)
    tally = classify(map_, tmp_path / "c.tif", classes=classes)
    with rasterio.open(tmp_path / "c.tif") as dataset:
        codes = dataset.read(1).ravel()
    assert tally.pixels.sum() == 3600
    for code, one in enumerate(tally.scheme.classes):
        low, high = (float(text.replace(MINUS, "-")) for text in (one.label.split(" to ") * 2)[:2])
        own = values[codes == code]
        # A limit belongs to the class above it.
        assert not own.size or (low <= own.min() and own.max() <= high), one.label
    limits = [one.limits for one in tally.scheme.classes]
    assert (limits[0][0], limits[-1][1]) == (-1000, 5000)  # type: ignore[index]


def test_infinite_and_rare_numbers_of_a_large_map_have_classes(tmp_path: Path, large: Any) -> None:
    values = np.full(3600, 3, np.int16)
    values[[0, 2]] = 1, 7
    tally = classify(large(values, NUMBER), tmp_path / "n.tif")
    assert [one.label for one in tally.scheme.classes] == ["1", "3", "7"]
    assert tally.pixels.tolist() == [1, 3598, 1]
    values = np.arange(3600, dtype=np.int16)
    assert classify(large(values, NUMBER), tmp_path / "m.tif", classes="equal:3").pixels.tolist() == [1200] * 3
    level = np.linspace(0, 1, 3600)
    level[0] = np.inf
    tally = classify(large(level, LEVEL), tmp_path / "i.tif")
    assert (tally.scheme.classes[-1].label, tally.pixels[-1], tally.missing_pixels) == ("infinite", 1, 0)
    # What no sample sees may be all there is.
    level[:] = NAN
    level[2] = 0.5
    tally = classify(large(level, LEVEL), tmp_path / "o.tif")
    assert (tally.pixels.sum(), tally.missing_pixels) == (1, 3599)


def test_labels_from_files_are_escaped(tmp_path: Path) -> None:
    odd = pw.Band("a&<b>\"'", '0 <script>&"', integer=True, kind="code")
    classify(make_map((odd,), np.array([[0, 1]], np.int32)), tmp_path / "c.tif")
    entry = next(ET.parse(tmp_path / "c.qml").getroot().iter("paletteEntry"))
    assert entry.get("label") in ('0 <script>&"', "1 unknown")
    assert next(ET.parse(tmp_path / "c.tif.aux.xml").getroot().iter("Category")).text in ('0 <script>&"', "1 unknown")


def test_control_characters_in_labels_leave_valid_files(tmp_path: Path) -> None:
    odd = pw.Band("code", "0 red\x1b[31m\x00\N{RIGHT-TO-LEFT OVERRIDE}", integer=True, kind="code")
    classify(make_map((odd,), np.array([[0, 0]], np.int32)), tmp_path / "c.tif", table=tmp_path / "a.csv")
    assert next(ET.parse(tmp_path / "c.qml").getroot().iter("paletteEntry")).attrib["label"].isprintable()
    assert next(ET.parse(tmp_path / "c.tif.aux.xml").getroot().iter("Category")).text
    assert table(tmp_path / "a.csv")[0]["class"].isprintable()


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classified, "tally_of", fail)
    with pytest.raises(pw.OutputError, match=r"c\.tif: cannot be written"):
        classify(small_map(), tmp_path / "c.tif", table=tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"classes": "continuous"},
            r"a colour bar \(continuous\) has no classes: choose quantile:K, equal:K or limits",
        ),
        ({"band": "slop"}, "unknown band 'slop'; did you mean 'slope'"),
        ({"band": "status", "classes": "trend"}, "codes with one class each"),
    ],
)
def test_mistakes(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(pw.ParameterError, match=message):
        classify(small_map(), tmp_path / "c.tif", **options)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_kept(tmp_path: Path) -> None:
    for name in ("c.tif", "c.qml", "a.csv"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(pw.OutputError, match=f"{name}: already exists; --overwrite replaces it"):
            classify(small_map(), tmp_path / "c.tif", table=tmp_path / "a.csv")
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).unlink()
    classify(small_map(), tmp_path / "c.tif", table=tmp_path / "a.csv")
    classify(small_map(), tmp_path / "c.tif", table=tmp_path / "a.csv", classes="confidence", overwrite=True)
    assert "increase at 99 %, p < 0.01" in (tmp_path / "a.csv").read_text()
    for name, message in (("c.png", "its name must end in .tif"), ("no/c.tif", "the folder .* does not exist")):
        with pytest.raises(pw.OutputError, match=message):
            classify(small_map(), tmp_path / name)


def test_nothing_of_other_classes_stays_beside_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "c.tif"
    classify(small_map(), path)
    with rasterio.open(path, "r+", TIFF_USE_OVR=True) as dataset:
        dataset.build_overviews([2])
    (tmp_path / "c.tif.ovr").touch()
    classify(small_map(), path, classes="confidence", overwrite=True)
    assert sorted(other.name for other in tmp_path.iterdir()) == ["c.qml", "c.tif", "c.tif.aux.xml"]
    assert "increase at 99 %" in (tmp_path / "c.tif.aux.xml").read_text()


@pytest.mark.parametrize("suffix", [".aux.xml", ".ovr", ".msk"])
def test_what_gdal_would_read_with_the_file_is_not_replaced_unasked(tmp_path: Path, suffix: str) -> None:
    beside = tmp_path / f"c.tif{suffix}"
    beside.write_bytes(b"mine")
    with pytest.raises(pw.OutputError, match=rf"c\.tif\{suffix}: exists, and would be read with c\.tif"):
        classify(small_map(), tmp_path / "c.tif")
    assert beside.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [beside]


def test_what_came_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> Any:
        (tmp_path / "c.tif").write_bytes(b"of another command")
        return tally_of(*arguments)

    monkeypatch.setattr(classified, "tally_of", slow)
    with pytest.raises(pw.OutputError, match=r"c\.tif: already exists"):
        classify(small_map(), tmp_path / "c.tif")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"of another command"]


def test_a_style_that_cannot_be_written_leaves_no_classes_with_the_names_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify(small_map(), tmp_path / "c.tif")

    def full(_: bytes, target: Path, **__: Any) -> None:
        raise pw.OutputError(f"{target}: cannot be written (No space left on device)")

    monkeypatch.setattr(classified, "save_bytes", full)
    with pytest.raises(pw.OutputError, match="No space left"):
        classify(small_map(), tmp_path / "c.tif", classes="confidence", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["c.tif"]
    with rasterio.open(tmp_path / "c.tif") as dataset:
        assert "increase at 99 %" in dataset.tags()[classified.TAG_CLASSES]


KILLED = """
import os, sys
from pixelwise.maps import classified
from support.drawn import trend_map
def stop(map_, scheme, write):
    block = next(map_.blocks())
    write(block, scheme.codes(map_, block))
    print("begun", flush=True)
    sys.stdin.read()
classified.tally_of = stop
classified.classify(trend_map(600, 600), "c.tif")
"""


def test_what_a_killed_command_left_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / ".mine.partial-01234567.tif").write_bytes(b"II*\0")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"begun\n"
        (left,) = tmp_path.glob(".c.partial-*.tif")
        assert {one.path.name: one.kept for one in remove_leftovers(tmp_path)} == {
            left.name: "a running job uses it", ".mine.partial-01234567.tif": "it is not a pixelwise file",
        }  # fmt: skip
        running.kill()
    assert left.exists()
    assert {one.path.name: one.kept for one in remove_leftovers(tmp_path)}[left.name] == ""
    assert [path.name for path in tmp_path.iterdir()] == [".mine.partial-01234567.tif"]


# --- the command --------------------------------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["classify", *map(str, arguments)])


@pytest.fixture
def trend(tmp_path: Path) -> Path:
    """Return the map of a small stack."""
    values = np.random.default_rng(5).normal(0.5, 0.1, (6, 12, 16)).astype(np.float32)
    for year, layer in enumerate(values, 2001):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer)
    pw.apply(pw.open_stack(tmp_path / "ndvi"), "ols", tmp_path / "trend.tif", executor="inline")
    return tmp_path / "trend.tif"


def test_the_command_prints_the_table(trend: Path) -> None:
    output = trend.with_name("classes.tif")
    result = run(trend, "-o", output, "--table", trend.with_name("areas.csv"))
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split() == [
        "code", "class", "pixels", "km2", "share_of_tested", "share_of_values", "share_of_region",
    ]  # fmt: skip
    assert lines[-1] == str(output)
    rows = table(trend.with_name("areas.csv"))
    assert len(lines) == len(rows) + 2
    for line, row in zip(lines[1:], rows, strict=False):
        assert row["class"] in line
        assert row["km2"] in line.split()
    assert sum(int(row["pixels"]) for row in rows) == 12 * 16


def test_the_method_of_maps_does_the_same(trend: Path) -> None:
    pw.open_map(trend).classify(trend.with_name("a.tif"), classes="quantile:3")
    assert run(trend, "-o", trend.with_name("b.tif"), "--classes", "quantile:3").exit_code == 0
    with rasterio.open(trend.with_name("a.tif")) as one, rasterio.open(trend.with_name("b.tif")) as other:
        assert np.array_equal(one.read(1), other.read(1))


def test_a_file_of_anyone_is_classified(trend: Path) -> None:
    result = run(trend.parent / "ndvi" / "ndvi_2001.tif", "-o", trend.with_name("c.tif"), "--classes", "0.4,0.5")
    assert result.exit_code == 0, result.output
    assert "0.4 to 0.5" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "c.png"], "c.png: its name must end in .tif or .tiff"),
        (["-o", "c.tif", "--table", "a.txt"], "a.txt: its name must end in .csv"),
        (
            ["-o", "c.tif", "--band", "n", "--classes", "trend"],
            "band n has no p-value, which trend classes need: choose",
        ),
        (["-o", "c.tif", "--classes", "stripes"], "classes='stripes' is not one of trend, confidence"),
        (["-o", "trend.tif", "--overwrite"], "trend.tif: is one of the inputs; choose another output"),
        (
            ["-o", "ndvi/ndvi_2001.tif", "--overwrite"],
            "ndvi/ndvi_2001.tif: is one of the inputs; choose another output",
        ),
    ],
)
def test_mistakes_on_the_command_line(
    trend: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(trend.parent)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    result = run("trend.tif", *options)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {message}")
    assert result.output.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
