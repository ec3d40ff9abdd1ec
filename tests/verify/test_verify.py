"""Maps are compared with their inputs: what is right passes, what is wrong is found, and nothing else is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.stats import linregress

import pixelwise as pw
from pixelwise.maps.tag import TAG, decode_provenance, encode_provenance
from pixelwise.verify import compare as door
from pixelwise.verify import exact, recompute
from pixelwise.verify.compare import Verification, verify
from support.command_line import run
from support.rasters import PROFILE, MakeStack, random_series, write_raster

SHAPE = (7, 6, 9)
FUNCTIONS = """\
import numpy as np
from pathlib import Path
import pixelwise as pw

Path(__file__).with_name("ran").touch()


def spread(values, times, factor: float = 1.0):
    return factor * (values.max() - values.min()), times[-1]


@pw.per_pixel(bands=["june", "gap"], gaps=True, jit=False)
def season(values, dates, doy):
    return np.nanmean(values[doy > 150]) if (doy > 150).any() else -1.0, np.isnan(values).sum()


@pw.per_pixel(bands=["first"], min_obs=3)
def fussy(values):
    if values[0] > 0.9:
        raise ValueError("large")
    return values[0]


@pw.per_block(bands=["mean", "top"])
def block(values, times):
    return np.nanmean(values, axis=0), np.nanmax(values, axis=0)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with functions.py; rasters lie in stack/."""
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def passes(*args: Any) -> str:
    result = run("verify", *args)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    assert ": no difference: " in result.stdout
    return result.stdout


def fails(*args: Any) -> list[str]:
    """Return the lines of a comparison that found differences."""
    result = run("verify", *args)
    assert result.exit_code == 1, result.output
    assert "error" not in result.stderr
    return result.stdout.splitlines()


def refuses(*args: Any) -> str:
    result = run("verify", *args)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    return result.stderr


def change(path: Path, band: int, row: int, col: int, *, factor: float = 1.0, to: float | None = None) -> None:
    with rasterio.open(path, "r+") as dataset:
        values = dataset.read(band)
        values[row, col] = values[row, col] * factor if to is None else to
        dataset.write(values, band)


def retell(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a map says of its making."""
    with rasterio.open(path, "r+") as dataset:
        provenance = decode_provenance(dataset.tags()[TAG])
        edit(provenance)
        dataset.update_tags(**{TAG: encode_provenance(provenance)})


def trend_of(source: Any, output: str = "trend.tif", method: Any = "ols", **options: Any) -> Path:
    own = {name: options.pop(name) for name in ("dtype", "bands", "executor") if name in options}
    map_ = pw.apply(pw.open_stack(source, **options), method, output, **{"executor": "inline", **own})
    return map_.paths[0]


@pytest.fixture
def trend(make_stack: Any) -> Path:
    make_stack(random_series(SHAPE))
    return trend_of("stack")


# ------------------------------------------------------------------------------------ what is right passes


def plain(folder: Path) -> None:
    for year, layer in enumerate(random_series(SHAPE), 2000):
        write_raster(folder / f"ndvi_{year}.tif", layer)


def scaled(folder: Path) -> None:
    stored = np.where(np.isnan(random_series(SHAPE)), -3000, random_series(SHAPE) * 10000).astype("int16")
    for month, layer in enumerate(stored, 1):
        write_raster(
            folder / f"ndvi_2001{month:02}16.tif", layer, nodata=-3000, scales=(1e-4,), offsets=(0.5,), compress="lzw"
        )


def large(folder: Path) -> None:
    values = 1e9 + random_series(SHAPE, dtype="float64")
    for day, layer in enumerate(values, 1):
        write_raster(folder / f"t_2001-02-{day:02}T101530.tif", layer, compress="deflate")


def on_a_line(folder: Path) -> None:
    """Perfect lines, constant pixels, empty ones, and an infinity."""
    years = np.arange(2000, 2000 + SHAPE[0])
    values = np.multiply.outer(years - 1990.0, np.linspace(-2, 2, 54).reshape(6, 9)).astype("float32")
    values[:, 0] = 3
    values[:, 1, :4] = np.nan
    values[1:, 1, 4:] = np.nan
    values[2, 2] = np.inf
    for year, layer in zip(years, values, strict=True):
        write_raster(folder / f"ndvi_{year}.tif", layer)


def bands_of_one_file(folder: Path) -> None:
    names = [f"2001-{month:02}-01" for month in range(1, 8)]
    write_raster(folder / "ndvi.tif", random_series(SHAPE), descriptions=names, interleave="pixel")


def with_masks(folder: Path) -> None:
    for year, layer in enumerate(random_series(SHAPE, gaps=0), 2000):
        mask = np.random.default_rng(year).random(SHAPE[1:]) > 0.3
        write_raster(folder / f"ndvi_{year}.tif", layer, mask=mask)


def in_pieces(folder: Path) -> None:
    transform: Affine = PROFILE["transform"]
    for year, layer in enumerate(random_series(SHAPE), 2000):
        for row, col in ((0, 0), (0, 5), (4, 0), (4, 5)):
            part = layer[row : row + 4 if row == 0 else None, col : col + 5 if col == 0 else None]
            write_raster(
                folder / f"ndvi_{year}-{row:010}-{col:010}.tif",
                part,
                transform=transform @ Affine.translation(col, row),
            )


def twice_a_day(folder: Path) -> None:
    for layer, values in enumerate(random_series((12, *SHAPE[1:]))):
        write_raster(folder / f"{'abc'[layer % 3]}_200{layer // 3}-03-01.tif", values)


def shifted(folder: Path) -> None:
    """Two images of each date that lie partly upon each other, with gaps."""
    place = PROFILE["transform"]
    for layer, values in enumerate(random_series((12, *SHAPE[1:]))):
        row, col = (0, 0) if layer % 2 else (2, 3)
        write_raster(folder / f"{'ab'[layer % 2]}_200{layer // 2}-03-01.tif", values[row:, col:], nodata=np.nan,
                     transform=place @ Affine.translation(col, row))  # fmt: skip


def without_coordinates(folder: Path) -> None:
    for year, layer in enumerate(random_series(SHAPE), 2000):
        write_raster(folder / f"ndvi_{year}.tif", layer, crs=None, transform=None)


@dataclass(frozen=True)
class Case:
    write: Callable[[Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    output: str = "trend.tif"


CASES = {
    "float32": Case(plain),
    "float64": Case(plain, {"dtype": "float64"}),
    "some bands": Case(plain, {"bands": ["pvalue", "n"]}),
    "a file per band": Case(plain, {}, "trend_{band}.tif"),
    "min_obs": Case(plain, {"method": pw.methods.ols(min_obs=6)}),
    "valid range": Case(plain, {"valid_range": (0.2, 0.6)}),
    "nodata option": Case(plain, {"nodata": (0.4, float("nan"))}),
    "start and end": Case(plain, {"start": "2001", "end": 2005}),
    "int16, scaled": Case(scaled, {"dtype": "float64"}),
    "int16, scaled by options": Case(scaled, {"scale": 0.01, "offset": -1.0, "nodata": (100, 1.5, 99999)}),
    "int16, no nodata": Case(scaled, {"nodata": ()}),
    "int16, valid range": Case(scaled, {"valid_range": (0.7, 1.1)}),
    "months": Case(scaled, {"months": [2, 3, 5, 7]}),
    "large offset": Case(large, {"dtype": "float64"}),
    "lines": Case(on_a_line, {"dtype": "float64"}),
    "bands of one file": Case(bands_of_one_file),
    "period": Case(bands_of_one_file, {"times": "dates.txt", "period": "middle", "dtype": "float64"}),
    "masks": Case(with_masks),
    "pieces": Case(in_pieces),
    "crop": Case(plain, {"bounds": (500035, 3399850, 500150, 3399960)}),
    "crop of pieces": Case(in_pieces, {"bounds": (500100, 3399850, 500200, 3399960)}),
    "duplicates kept": Case(twice_a_day, {"same_date": "keep"}),
    "duplicates first": Case(twice_a_day, {"same_date": "first"}),
    "duplicates mean": Case(twice_a_day, {"same_date": "mean", "dtype": "float64"}),
    "duplicates max": Case(twice_a_day, {"same_date": "max"}),
    "images mosaicked": Case(shifted, {"same_date": "mosaic", "extent": "union"}),
    "first images": Case(shifted, {"same_date": "first", "extent": "union"}),
    "no coordinates": Case(without_coordinates),
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", CASES)
def test_a_right_map_passes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    case.write(tmp_path / "stack")
    (tmp_path / "dates.txt").write_text("\n".join(f"2001-{month:02}" for month in range(1, 8)))
    trend_of("stack", case.output, **case.options)
    text = passes(case.output, "--all")
    assert "by exact arithmetic and a power series for the p-value, within 1" in text


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", CASES)
def test_without_an_oracle_the_method_gives_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.setattr(recompute, "ORACLES", {})
    case.write(tmp_path / "stack")
    (tmp_path / "dates.txt").write_text("\n".join(f"2001-{month:02}" for month in range(1, 8)))
    path = trend_of("stack", case.output, **case.options)
    assert "by ols itself, pixel by pixel, bit for bit" in passes(case.output, "--all")
    change(path, 1, 5 if name[:4] != "crop" else 1, 2, factor=1 + 3e-7)
    assert verify(path, everything=True).differing == 1


def test_what_is_not_computed_again_is_said(tmp_path: Path) -> None:
    plain(tmp_path / "stack")
    path = trend_of("stack", align=str(tmp_path / "stack" / "ndvi_2001.tif"))
    assert "cannot be verified: the effect of --align is not recomputed" in refuses(str(path))


def test_the_oracle_is_scipy_where_scipy_is_exact() -> None:
    random = np.random.default_rng(3)
    times = np.sort(random.uniform(1990, 2020, 25))
    for _ in range(20):
        series = random.normal(size=25) + 0.05 * (times - 2000)
        answer = exact.exact_line(pw.methods.ols(), times.tolist(), series.tolist())
        fit = linregress(times, series)
        for band in ("slope", "intercept", "rvalue", "pvalue", "stderr", "intercept_stderr"):
            value, slack = answer[band]
            assert value == pytest.approx(getattr(fit, band), rel=1e-11), band
            assert slack <= 1e-9 * abs(value), band


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("spread", {"bands": ["range", "last"]}),
        ("spread", {"bands": ["range", "last"], "jit": True}),
        ("spread", {"parameters": {"factor": 2.5}}),
        ("season", {}),
        ("season", {"bands": ["gap"]}),
        ("fussy", {"dtype": "float64", "jit": True}),
        ("block", {}),
    ],
)
def test_a_map_of_a_function_passes(function: str, options: dict[str, Any], tmp_path: Path) -> None:
    scaled(tmp_path / "stack")
    parameters = [text for key, value in options.get("parameters", {}).items() for text in ("-p", f"{key}={value}")]
    bands = ["--bands", ",".join(options["bands"])] if "bands" in options else []
    code = f"functions.py:{function}"
    dtype = ["--dtype", options.get("dtype", "float32")]
    more = [*parameters, *bands, *dtype, *(["--jit"] if options.get("jit") else [])]
    result = run("apply", code, "stack", "-o", "map.tif", "--executor", "inline", *more)
    assert result.exit_code == 0, result.output
    text = passes("map.tif", "--all", "--method", code)
    compiled = "compiled, " if options.get("jit") else ""
    assert f"by {function} itself, {compiled}pixel by pixel, bit for bit" in text
    change(tmp_path / "map.tif", 1, 4, 4, factor=1.001)
    assert fails("map.tif", "--all", "--method", code)[1].startswith("row 4, column 4 ")


def test_a_function_object_will_do(make_stack: Any, tmp_path: Path) -> None:
    middle = pw.per_pixel(lambda y: np.median(y), bands=["median"], jit=False)
    make_stack(random_series(SHAPE))
    path = trend_of("stack", method=middle)
    assert verify(path, method=middle, everything=True).differing == 0
    other = pw.per_pixel(lambda y: np.median(y) + 1, bands=["median"], jit=False)
    with pytest.raises(pw.ParameterError, match="was made by another <lambda>: its source differs"):
        verify(path, method=other)


# ------------------------------------------------------------------------------------ what is wrong is found


@pytest.mark.parametrize("band", range(1, 9))
def test_one_changed_number_is_found(band: int, trend: Path) -> None:
    good = pw.open_map(trend)
    name = good.names[band - 1]
    before = float(good[name][3, 5])
    if name in ("n", "status"):
        change(trend, band, 3, 5, to=before + 1)
    else:
        change(trend, band, 3, 5, factor=1 + 1e-5)
    summary, line = fails("trend.tif", "--all")
    assert summary.startswith("trend.tif: 1 number differs: 54 of 54 pixels computed again from 7 files by exact ")
    assert line.startswith(f"row 3, column 5 (x 500165, y 3399895): {name} ")
    assert float(line.rpartition(" ")[2]) == pytest.approx(before, rel=2**-24)


def test_float64_maps_are_compared_more_closely(make_stack: Any) -> None:
    make_stack(random_series(SHAPE))
    path = trend_of("stack", dtype="float64")
    for band in range(1, 7):
        change(path, band, band - 1, 2, factor=1 + 1e-8)
    result = verify(path, everything=True)
    assert [(d.band, d.row, d.col) for d in result.differences] == [
        (name, row, 2) for row, name in enumerate(pw.open_map(path).names[:6])
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_value_that_is_no_answer_is_found(value: float, trend: Path) -> None:
    change(trend, 1, 0, 8, to=value)
    assert len(fails("trend.tif", "--all")) == 2


def test_an_answer_where_there_is_none_is_found(make_stack: Any) -> None:
    values = random_series(SHAPE)
    values[:, 2, 2] = np.nan
    make_stack(values)
    path = trend_of("stack")
    change(path, 1, 2, 2, to=0.0)
    assert "slope 0, recomputed nan" in fails(path, "--all")[1]


def test_all_pixels_are_looked_at(trend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "AT_ONCE", 7 * 4)  # four pixels at a time: neither rows nor their ends fit
    good = trend.read_bytes()
    for pixel in range(0, 54, 5):
        trend.write_bytes(good)
        change(trend, 1, *divmod(pixel, 9), factor=1.5)
        [found] = verify(trend, everything=True).differences
        assert (found.row, found.col) == divmod(pixel, 9)
        assert found.value == pytest.approx(1.5 * found.recomputed)


def test_many_differences_are_counted(trend: Path) -> None:
    for band in range(1, 4):
        with rasterio.open(trend, "r+") as dataset:
            dataset.write(dataset.read(band) + 1, band)
    lines = fails("trend.tif", "--all")
    found = int(lines[0].split()[1])
    assert found > 100
    assert len(lines) == 22
    assert lines[-1] == f"and {found - 20} more"


def test_the_sample_is_seeded(trend: Path) -> None:
    with rasterio.open(trend, "r+") as dataset:
        dataset.write(np.full(SHAPE[1:], 7, "float32"), 7)  # band n of gappy series

    def places(seed: int) -> list[tuple[int, int]]:
        return [(d.row, d.col) for d in verify(trend, pixels=20, seed=seed).differences if d.band == "n"]

    assert places(0) == places(0) != places(1)
    assert verify(trend, pixels=20).pixels == 20
    assert verify(trend, pixels=20).total == 54
    assert verify(trend).pixels == 54
    with pytest.raises(pw.ParameterError, match="pixels 0 is impossible"):
        verify(trend, pixels=0)
    assert fails("trend.tif", "--pixels", 20, "--seed", 1) == fails("trend.tif", "--pixels", 20, "--seed", 1)


def test_dates_and_options_matter(trend: Path) -> None:
    retell(trend, lambda p: p["input"]["layers_used"][-1].update(date="2010-01-01"))
    assert len(fails("trend.tif")) > 20
    retell(trend, lambda p: p["input"]["layers_used"][-1].update(date="2006-01-01"))
    passes("trend.tif")
    retell(trend, lambda p: p["input"]["spec"].update(valid_range=[0.3, 1]))
    assert len(fails("trend.tif")) > 20


# ------------------------------------------------------------------------------------------- changed inputs


def test_changed_and_missing_files_are_named(trend: Path, tmp_path: Path) -> None:
    files = sorted((tmp_path / "stack").glob("*.tif"))
    files[1].write_bytes(files[1].read_bytes() + b"x")
    files[2].unlink()
    second, third = refuses("trend.tif").splitlines()
    size = files[1].stat().st_size
    assert second == f"error: {files[1]}: changed since the map was made: {size - 1} bytes then, now {size}"
    assert third == f"error: {files[2]}: No such file or directory"


def test_a_copy_is_compared_though_it_is_younger(trend: Path, tmp_path: Path) -> None:
    path = tmp_path / "stack" / "ndvi_2003.tif"
    os.utime(path, ns=(5, 5))
    result = run("verify", "trend.tif", "--all")
    assert result.exit_code == 0
    assert (
        "warning: 1 input file(s) have a different modification time from when the map was made, "
        f"as copies have: {path}" in result.stderr
    )
    write_raster(path, random_series(SHAPE)[4])
    assert run("verify", "trend.tif", "--all").exit_code == 1


def test_a_file_that_is_no_longer_where_it_was(trend: Path, tmp_path: Path) -> None:
    """The same bytes, and by an unlucky copy the same time, but another place or number of bands."""
    path = tmp_path / "stack" / "ndvi_2003.tif"
    for profile, words in (
        ({"transform": Affine(30, 0, 500010, 0, -30, 3400000)}, "is not on the grid of the map: off by 0.33 pixels"),
        ({"crs": "EPSG:32618"}, "its CRS is not that of the map"),
    ):
        write_raster(path, random_series(SHAPE)[3], **profile)
        now = path.stat()
        retell(
            trend,
            lambda p, now=now: p["input"]["files"][3].update(size=now.st_size, mtime_ns=now.st_mtime_ns),
        )
        assert refuses("trend.tif") == f"error: {path}: {words}\n"


# ---------------------------------------------------------------------- a map's word is data, never an order


@pytest.fixture
def apart(tmp_path: Path, make_stack: Any) -> Path:
    """A map whose inputs lie outside its folder."""
    make_stack(random_series(SHAPE))
    (tmp_path / "maps").mkdir()
    return trend_of("stack", "maps/trend.tif")


def test_files_outside_the_folder_are_opened_only_when_named(apart: Path, tmp_path: Path) -> None:
    *lines, last = refuses("maps/trend.tif").splitlines()
    assert lines[0] == (
        "error: maps/trend.tif: its file ../stack/ndvi_2000.tif is outside its folder and is opened only if you name it"
    )
    assert lines[-1] == "error: ... and 2 more files like these"
    command = f"pixelwise verify maps/trend.tif {tmp_path / 'stack'}"
    assert last == f"error: if these are the files that you mean: {command}"
    passes(*command.split()[2:])
    passes("maps/trend.tif", "stack/*.tif")
    passes("maps/trend.tif", *sorted((tmp_path / "stack").glob("*.tif")))
    assert "its file ../stack/ndvi_2006.tif is outside" in refuses("maps/trend.tif", "stack/ndvi_200[0-5].tif")


def test_a_folder_that_is_a_link_is_no_obstacle(apart: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "down")
    trend_of("stack", "link/trend.tif")
    passes("link/trend.tif", "stack")


def test_links_are_followed_out_of_the_folder(apart: Path, tmp_path: Path) -> None:
    (tmp_path / "maps" / "stack").symlink_to(tmp_path / "stack")

    def inside(provenance: dict[str, Any]) -> None:
        for file in provenance["input"]["files"]:
            file["path"] = file["path"].removeprefix("../")
        for layer in provenance["input"]["layers_used"]:
            layer["pieces"][0][0] = layer["pieces"][0][0].removeprefix("../")

    retell(apart, inside)
    assert "its file stack/ndvi_2000.tif is outside its folder" in refuses("maps/trend.tif")
    passes("maps/trend.tif", "stack")


@pytest.mark.parametrize("name", ["/vsicurl/http://127.0.0.1:9/a.tif", "/vsimem/a.tif"])
def test_schemes_are_refused_even_when_named(name: str, trend: Path) -> None:
    rename(trend, name)
    assert "is not local and is not opened" in refuses("trend.tif")
    run_again = run("verify", "trend.tif", name)
    assert run_again.exit_code == 1
    assert "only local files are read" in run_again.stderr


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/a.tif", "s3://bucket/a.tif", "file:///etc/passwd"])
def test_a_server_is_asked_only_if_it_is_named_and_allowed(name: str, trend: Path) -> None:
    rename(trend, name)
    refused = refuses("trend.tif")
    if name.startswith("file"):
        assert "only https, http, s3, gs, az are read from servers" in refused
        return
    assert f"its file {name} is outside its folder and is opened only if you name it" in refused
    scheme = name.partition(":")[0]
    assert f"pixelwise verify trend.tif {name} --allow-scheme {scheme}" in refused
    # Allowed, but not named; and named, but not allowed.
    run_again = run("verify", "trend.tif", "--allow-scheme", scheme)
    assert "is opened only if you name it" in run_again.stderr
    run_again = run("verify", "trend.tif", name)
    assert f"to read it, add --allow-scheme {scheme}" in run_again.stderr


@pytest.mark.parametrize(
    "name",
    ["{home}/stack/ndvi_2000.tif", "../{folder}/../../etc/passwd", "stack/../../x.tif", "../" * 30 + "vsicurl/a"],
)
def test_other_ways_out_of_the_folder_are_refused(name: str, trend: Path, tmp_path: Path) -> None:
    name = name.format(home=tmp_path, folder=tmp_path.name)
    rename(trend, name)
    assert f"its file {name} is outside its folder and is opened only if you name it" in refuses("trend.tif")


def rename(path: Path, name: str) -> None:
    """Let a map's first input be another file."""

    def edit(provenance: dict[str, Any]) -> None:
        provenance["input"]["files"][0]["path"] = name
        provenance["input"]["layers_used"][0]["pieces"][0][0] = name

    retell(path, edit)


def test_an_absolute_path_within_the_folder_is_opened_when_named(trend: Path, tmp_path: Path) -> None:
    rename(trend, str(tmp_path / "stack" / "ndvi_2000.tif"))
    passes("trend.tif", "stack")


def test_sources_of_a_vrt_are_held_to_the_same_rule(tmp_path: Path, make_stack: Any) -> None:
    make_stack(random_series(SHAPE), folder="elsewhere")
    for year in range(2000, 2007):
        (tmp_path / "maps" / "ndvi").mkdir(parents=True, exist_ok=True)
        (tmp_path / "maps" / "ndvi" / f"ndvi_{year}.vrt").write_text(
            '<VRTDataset rasterXSize="9" rasterYSize="6"><SRS>EPSG:32617</SRS>'
            "<GeoTransform>500000,30,0,3400000,0,-30</GeoTransform>"
            '<VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">../../elsewhere/ndvi_{year}.tif</SourceFilename>'
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
    trend_of("maps/ndvi", "maps/trend.tif")
    text = refuses("maps/trend.tif")
    assert "ndvi_2000.vrt names ../../elsewhere/ndvi_2000.tif, which is outside its folder" in text
    passes("maps/trend.tif", "maps/ndvi")


@pytest.mark.parametrize("end", [".tif.msk", ".tif.aux.xml", ".tfw", ".TIF.OVR"])
def test_sidecars_are_held_to_the_same_rule(tmp_path: Path, make_stack: Any, end: str) -> None:
    """Links are followed."""
    make_stack(random_series(SHAPE), folder="maps/ndvi")
    trend_of("maps/ndvi", "maps/trend.tif")
    sidecar = tmp_path / "maps" / "ndvi" / f"ndvi_2000{end}"
    outside, inside = tmp_path / f"secret{end}", tmp_path / "maps" / f"own{end}"
    outside.write_bytes(b"")
    sidecar.symlink_to(outside)
    text = refuses("maps/trend.tif")
    assert f": {sidecar.name} beside its file " in text
    assert "ndvi_2000.tif is a link to a file outside the map's folder; if you mean it: " in text
    sidecar.unlink()
    inside.write_text("<PAMDataset></PAMDataset>" if "xml" in end else "30\n0\n0\n-30\n500015\n3399985\n")
    if end in (".tif.aux.xml", ".tfw"):
        sidecar.symlink_to(inside)
        passes("maps/trend.tif")
        sidecar.unlink()
        sidecar.write_bytes(inside.read_bytes())
        sidecar.rename(outside)
        sidecar.symlink_to(outside)
        passes("maps/trend.tif", "maps/ndvi")
        sidecar.unlink()
    # A link that has nothing to do with an input is nobody's business.
    (tmp_path / "maps" / "ndvi" / "notes.txt").symlink_to(outside)
    passes("maps/trend.tif")


def test_metadata_that_a_viewer_changed_are_told(make_stack: Any, tmp_path: Path) -> None:
    make_stack(random_series(SHAPE))
    sidecar = tmp_path / "stack" / "ndvi_2000.tif.aux.xml"
    sidecar.write_text("<PAMDataset></PAMDataset>")
    trend_of("stack")
    assert run("verify", "trend.tif").stderr == ""
    sidecar.write_text("<PAMDataset>\n</PAMDataset>")
    passes("trend.tif")
    told = run("verify", "trend.tif").stderr
    assert "1 input file(s) have a different modification time" in told
    assert sidecar.name in told
    sidecar.unlink()
    assert sidecar.name in refuses("trend.tif")


def test_code_that_a_map_names_is_not_run(make_stack: Any, tmp_path: Path) -> None:
    make_stack(random_series(SHAPE))
    path = trend_of("stack", method="functions.py:spread")
    (tmp_path / "ran").unlink()
    text = refuses("trend.tif")
    assert "was made by the function spread of a file functions.py" in text
    assert "--method functions.py:spread" in text
    assert not (tmp_path / "ran").exists()
    for name in ("functions.py:spread", str(tmp_path / "functions.py:spread"), "os.system", "../functions"):
        retell(path, lambda p, name=name: (p.update(method=name), p.update(parameters={})))
        text = refuses("trend.tif")
        assert "its record of how it was made is damaged (" in text
        assert "unknown method" in text or "names files, not a method" in text
        assert not (tmp_path / "ran").exists()


def test_another_function_is_told_apart(make_stack: Any, tmp_path: Path) -> None:
    make_stack(random_series(SHAPE))
    trend_of("stack", method="functions.py:spread")
    assert "was made by spread, not by block" in refuses("trend.tif", "--method", "functions.py:block")
    (tmp_path / "functions.py").write_text(FUNCTIONS.replace("times[-1]", "times[-2]"))
    assert "was made by another spread: its source differs" in refuses("trend.tif", "--method", "functions.py:spread")
    assert "'ols' is not file.py:function" in refuses("trend.tif", "--method", "ols")


BENEATH = """import numpy as np
def inner(v):
    return v.max()
def f(v, q=2.0):
    return inner(v) * q
"""


def test_what_changed_beneath_a_function_is_told(
    make_stack: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_stack(random_series(SHAPE))
    (tmp_path / "mine.py").write_text(BENEATH)
    path = trend_of("stack", method="mine.py:f")
    passes("trend.tif", "--method", "mine.py:f")
    assert "has changed since" not in caplog.text
    # Other numbers, of which the source of `f` shows no reason.
    (tmp_path / "mine.py").write_text(BENEATH.replace("max", "min"))
    fails("trend.tif", "--method", "mine.py:f")
    assert "trend.tif: what f uses has changed since: its own code or values differ" in caplog.text
    (tmp_path / "mine.py").write_text(BENEATH)
    caplog.clear()
    retell(path, put("function", "packages", "numpy", value="1.0"))
    passes("trend.tif", "--method", "mine.py:f")
    assert "what f uses has changed since: numpy was '1.0', is " in caplog.text


@pytest.mark.parametrize("told", [None, [], {}, {"packages": []}, {"packages": {}, "digest": 5}, "x"])
def test_older_and_damaged_maps_tell_less_of_a_function(make_stack: Any, tmp_path: Path, told: Any) -> None:
    make_stack(random_series(SHAPE))
    (tmp_path / "mine.py").write_text(BENEATH)
    retell(trend_of("stack", method="mine.py:f"), put("function", value=told))
    passes("trend.tif", "--method", "mine.py:f")


def test_a_function_for_a_map_of_a_method(trend: Path) -> None:
    text = refuses("trend.tif", "--method", "functions.py:spread")
    assert text == "error: trend.tif: was made by ols, not by a function of your own\n"


def test_a_parameter_of_a_function_is_a_number_or_a_text(make_stack: Any, tmp_path: Path) -> None:
    make_stack(random_series(SHAPE))
    path = trend_of("stack", method="functions.py:spread")
    retell(path, put("parameters", "parameters", value={"factor": [2]}))
    assert "damaged (parameter 'factor' is a list)" in refuses("trend.tif", "--method", "functions.py:spread")
    retell(path, put("parameters", "parameters", value={"factor": 2.0}))
    assert len(fails("trend.tif", "--method", "functions.py:spread")) > 20


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(provenance: dict[str, Any]) -> None:
        holder: Any = provenance
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = value

    return edit


LAYER, FILE = ("input", "layers_used", 0), ("input", "files", 0)


ODD = (
    None,
    5,
    "x",
    [],
    {},
    [[]],
    True,
    10**400,
    -1,
    "\x1b[31m",
    {"a": {"b": 1}},
    [["\x1b[31m", 1]],
    ["nan", 10**400],
    "a" * 100_000,
)


@pytest.mark.parametrize(
    "keys",
    [
        ("method",), ("parameters",), ("parameters", "min_obs"), ("parameters", "other"), ("bands",), ("dtype",),
        ("per",), ("min_valid",), ("min_span",),
        ("input",), ("input", "spec"), ("input", "spec", "nodata"), ("input", "spec", "scale"),
        ("input", "spec", "valid_range"), ("input", "spec", "same_date"), ("input", "spec", "other"),
        ("input", "layers_used"), LAYER, (*LAYER, "date"), (*LAYER, "precision"), (*LAYER, "pieces"),
        (*LAYER, "pieces", 0), (*LAYER, "pieces", 0, 0), (*LAYER, "pieces", 0, 1), ("input", "files"), FILE,
        (*FILE, "path"), (*FILE, "size"), (*FILE, "mtime_ns"), ("further_inputs",), ("files",), ("timings",),
        ("input", "kind"), ("parameters", "function"),
    ],
    ids=lambda keys: ".".join(map(str, keys)),
)  # fmt: skip
def test_whatever_a_map_says_ends_in_one_line(keys: Sequence[Any], trend: Path) -> None:
    good = trend.read_bytes()
    for value in ODD:
        trend.write_bytes(good)
        retell(trend, put(*keys, value=value))
        result = run("verify", "trend.tif", "--pixels", 5)
        assert result.exit_code in (0, 1), value
        assert result.output.count("\n") <= (22 if result.exit_code else 2), value
        assert "\x1b" not in result.output
        assert len(result.output) < 5000


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("dtype",), "int8", "dtype='int8' is not one of float32, float64"),
        (("bands",), ["slope"], "its bands are not slope, intercept"),
        (("method",), "least_trees", "unknown method 'least_trees'"),
        (("parameters",), {"min_obs": 1}, "min_obs=1: ols needs a whole number"),
        ((*LAYER, "pieces", 0, 0), "other.tif", "'other.tif' is not among its files"),
        ((*LAYER, "date"), "2009-01-01", "its dates do not ascend"),
        ((*LAYER, "precision"), "hour", "'2000-01-01' has the precision 'hour'"),
        ((*LAYER, "pieces"), [], "2000-01-01 has no pieces"),
    ],
)
def test_what_is_damaged_is_said(keys: Sequence[Any], value: Any, words: str, trend: Path) -> None:
    retell(trend, put(*keys, value=value))
    text = refuses("trend.tif")
    assert text.startswith("error: trend.tif: its record of how it was made is damaged (")
    assert words in text


def test_a_band_that_a_file_has_not(trend: Path, tmp_path: Path) -> None:
    retell(trend, put(*LAYER, "pieces", 0, 1, value=5))
    file = tmp_path / "stack" / "ndvi_2000.tif"
    assert refuses("trend.tif") == f"error: {file}: has 1 bands, but the map was made from band 5\n"


def test_pieces_that_overlap_are_refused(trend: Path) -> None:
    def edit(provenance: dict[str, Any]) -> None:
        first, second, *_ = layers = provenance["input"]["layers_used"]
        first["pieces"] += second["pieces"]
        layers.remove(second)

    retell(trend, edit)
    assert "pieces of 2000-01-01 overlap" in refuses("trend.tif")


def test_a_deep_provenance_is_no_overflow(trend: Path) -> None:
    with rasterio.open(trend, "r+") as dataset:
        dataset.update_tags(**{TAG: "[" * 100_000})
    assert "damaged" in refuses("trend.tif")


def test_no_map(tmp_path: Path, make_stack: Any) -> None:
    make_stack(random_series(SHAPE))
    assert "not a pixelwise map" in refuses("stack/ndvi_2000.tif")
    assert refuses("absent.tif") == "error: absent.tif: No such file or directory\n"


def test_what_cannot_be_verified_is_said(trend: Path) -> None:
    retell(trend, put("further_inputs", value={"rain": {}}))
    assert refuses("trend.tif") == "error: trend.tif: cannot be verified: its method has covariates\n"
    retell(trend, lambda p: (p.update(further_inputs={}), p.update(input={"kind": "Composite"})))
    assert "cannot be verified: its input is not a file stack but 'Composite'" in refuses("trend.tif")


def test_a_truncated_input_is_named(trend: Path, tmp_path: Path) -> None:
    path = tmp_path / "stack" / "ndvi_2004.tif"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 40])
    now = path.stat()
    retell(trend, lambda p: p["input"]["files"][4].update(size=now.st_size, mtime_ns=now.st_mtime_ns))
    assert f"error: {path}: cannot be read (" in refuses("trend.tif")


@pytest.mark.parametrize(
    ("method", "bands", "by"),
    [
        (pw.methods.ols(origin=2000.5), None, "exact arithmetic"),
        (pw.methods.ols(), ["slope", "low_slope", "change"], "ols itself"),
        (pw.methods.theil_sen(confidence_level=0.9), None, "theil_sen itself"),
        (pw.methods.mann_kendall(correction="yue_wang"), None, "mann_kendall itself"),
        (pw.methods.trend(), None, "trend itself"),
    ],
    ids=["origin", "derived", "theil_sen", "mann_kendall", "trend"],
)
def test_maps_of_other_methods_pass(
    method: Any, bands: list[str] | None, by: str, make_stack: MakeStack, tmp_path: Path
) -> None:
    folder = make_stack(random_series((9, 20, 30), seed=5))
    pw.apply(pw.open_stack(folder), method, tmp_path / "map.tif", bands=bands)
    result = verify(tmp_path / "map.tif", folder, pixels=600)
    assert result.differences == ()
    assert result.by.startswith(by)


# ---------------------------------------------------------------------------------------------- real data


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("tura_landsat/geotiff", {}, id="int16 with nodata"),
        pytest.param("stfit_landsat/landsat106_stack_990dates.tif", {}, id="990 bands, no CRS"),
        pytest.param("skmap_landsat_seasonal/ndvi/gappy", {}, id="CRS of another authority"),
        pytest.param("remote_sst_gpcp/multiband/pacificSST_198201_201012.tif", {}, id="months"),
        pytest.param("rts_mod13a3/ndvi/ndvi.grd", {}, id="RRASTER"),
        pytest.param("remoteparts_ak_ndvi/geotiff", {"valid_range": (2, 15)}, id="years, valid range"),
    ],
)
def test_maps_of_real_data_pass(name: str, options: Any, shared: Any, tmp_path: Path) -> None:
    source = shared(name)
    stack = pw.open_stack(source, **options)
    path = pw.apply(stack, "ols", tmp_path / "trend.tif", dtype="float64").paths[0]
    result: Verification = verify(path, source, pixels=60)
    assert result.differences == ()
    assert result.pixels == 60
    with rasterio.open(path, "r+") as dataset:
        dataset.write(dataset.read(1) * (1 + 1e-7), 1)
    bands = {difference.band for difference in verify(path, source, pixels=60).differences}
    assert bands == {"slope"}


# --------------------------------------------------------------------------------------- maps of other versions


def older(version: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda provenance: provenance["versions"].update(pixelwise=version)


def test_where_numbers_differ_it_says_which_version_made_the_map(trend: Path) -> None:
    retell(trend, older("0.1.0"))
    assert "made by" not in passes(trend)
    change(trend, 1, 2, 3, factor=1.1)
    assert fails(trend)[-1] == (
        f"the map was made by pixelwise 0.1.0, this is {pw.__version__}: CHANGELOG.md lists what changed in between; "
        "make the map again to get the numbers of this version"
    )
    assert verify(trend).made_by == "0.1.0"


@pytest.mark.parametrize("version", [pw.__version__, 3, None, "1\n2", "x" * 1000], ids=str)
def test_no_version_is_named_that_is_this_one_or_none(trend: Path, version: Any) -> None:
    retell(trend, older(version))
    change(trend, 1, 2, 3, factor=1.1)
    assert "made by" not in "\n".join(fails(trend))
