"""`rectify`: from files to a table of gains, on every executor, stopped and resumed."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.rectification import by_scene
from support.command_line import run
from support.limits import set_limits
from support.rasters import PROFILE, write_raster
from support.scene_files import BANDS, SceneFiles, landscape, write_scenes
from support.stopping import Stop, hidden, stopped_after

PRODUCT = {"product": "landsat-c2-l2"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SceneFiles:
    return write_scenes(tmp_path_factory.mktemp("scenes"), tiled=True, blockxsize=16, blockysize=16, cloudy=0.05)


@pytest.fixture(scope="module")
def table(scenes: SceneFiles) -> str:
    return pw.rectify(scenes.paths, **PRODUCT).as_csv()


def test_the_true_gains_are_found_but_for_one_common_line(scenes: SceneFiles) -> None:
    found = pw.rectify(scenes.paths, **PRODUCT)
    assert found.bands == BANDS
    assert len(found.rows) == len(scenes.paths) * 6
    for band, name in enumerate(BANDS):
        rows = found.of_band(name)
        assert [Path(row.path) for row in rows] == list(scenes.paths)
        # The middle of the scenes is the truth through a line of its own, which is the same for all.
        ratio = np.array([row.gain for row in rows]) / scenes.gains[:, band]
        # 5 000 pixels give the gain of the worst band to 1.1 %, in the median of simulations.
        assert np.ptp(ratio) < 0.03
        assert {flag for row in rows for flag in row.flags} == {"few"}
        assert all(row.rmse_after < 0.008 for row in rows)


def test_the_middle_of_scenes_and_thinned_pixels_by_hand(scenes: SceneFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.rectification.sample import sample_of
    from pixelwise.rectification.scenes import Reference, common, read_scene, scenes_of

    stack = pw.open_stack(scenes.paths, value="blue + green + red + nir + swir1 + swir2", **PRODUCT)
    sample = sample_of(stack, 2000, seed=4)
    assert 2000 <= len(sample) < 4000
    values = []
    for path in scenes.paths:
        with rasterio.open(path) as dataset:
            stored, quality = dataset.read(list(range(1, 7))).astype(float), dataset.read(7)
        bad = (stored < 7273 - 0.5) | (stored > 43636 + 0.5) | (quality != 5440)
        values.append(np.where(bad, np.nan, stored * 0.0000275 - 0.2))
    at = [(b.row + r, b.col + c) for b in sample.blocks for r in range(0, b.height, sample.step[0])
          for c in range(0, b.width, sample.step[1])]  # fmt: skip
    rows, cols = np.array(at).T
    expected = np.array(values)[:, :, rows, cols]
    own = scenes_of(stack.layers)
    for index, scene in enumerate(own):
        np.testing.assert_allclose(read_scene(stack, scene, sample), expected[index], rtol=1e-12)
    monkeypatch.setattr("pixelwise.rectification.scenes.HELD_BYTES", 4000)  # blocks are read in parts
    work = Reference(stack, own, sample)
    parts = [work.compute(block, None).values for block in sample.blocks]  # type: ignore[arg-type]
    middles = np.full(expected.shape[1:], np.nan)
    for place in np.ndindex(middles.shape):
        values = sorted(value for value in expected[(slice(None), *place)] if not np.isnan(value))
        cut = {0: 0, 1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 2}[len(values)]
        if values:
            middles[place] = np.mean(values[cut : len(values) - cut])
    found = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(found[:-1], middles, rtol=1e-10)
    np.testing.assert_array_equal(found[-1], (~np.isnan(expected)).sum(axis=0).min(axis=0))
    assert common(middles).sum() == (~np.isnan(middles).any(axis=0)).sum()


@pytest.mark.parametrize("executor", ["inline", "threads", pytest.param("processes", marks=pytest.mark.long)])
def test_the_same_table_on_every_executor(scenes: SceneFiles, table: str, executor: str) -> None:
    assert pw.rectify(scenes.paths, executor=executor, jobs=2, **PRODUCT).as_csv() == table
    assert pw.rectify(scenes.paths[::-1], executor=executor, jobs=1, **PRODUCT).as_csv() == table


@pytest.mark.long
def test_the_same_table_on_dask(scenes: SceneFiles, table: str) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        assert pw.rectify(scenes.paths, executor=cluster, **PRODUCT).as_csv() == table


def test_the_same_table_however_files_are_tiled(tmp_path: Path) -> None:
    tables = []
    for name, profile in {"strips": {}, "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 32}}.items():
        files = write_scenes(tmp_path / name, count=3, size=(60, 64), **profile)
        found = pw.rectify(files.paths, sample=1_000_000, **PRODUCT)  # all pixels; in another order
        tables.append([row.gain for row in found.rows])
    np.testing.assert_allclose(*tables, rtol=1e-3)


@pytest.mark.parametrize("blocks", [2, 5, 40, 41])
def test_a_stopped_run_resumes(
    scenes: SceneFiles, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    set_limits(monkeypatch, journal_seconds=0.0)
    output = tmp_path / "gains.csv"
    with pytest.raises(Stop):
        pw.rectify(scenes.paths, output, executor="inline", progress=stopped_after(blocks), **PRODUCT)
    assert hidden(tmp_path) == [".gains.csv.journal"]
    assert not output.exists()
    done: list[tuple[int, int]] = []
    pw.rectify(scenes.paths, output, progress=lambda *numbers: done.append(numbers), **PRODUCT)
    assert done[0][0] > done[-1][1] * (blocks - 1) / 200
    assert done[-1][0] == done[-1][1]
    assert hidden(tmp_path) == []
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = list(csv.DictReader(table.splitlines()))
    for row, other in zip(rows, expected, strict=True):
        assert (tmp_path / row.pop("path")).resolve() == Path(other.pop("path")).resolve()
        assert row == other


def test_another_job_does_not_resume(scenes: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(monkeypatch, journal_seconds=0.0)
    output = tmp_path / "gains.csv"
    with pytest.raises(Stop):
        pw.rectify(scenes.paths, output, executor="inline", progress=stopped_after(3), **PRODUCT)
    with pytest.raises(pw.OutputError, match="options seed was 0, is 1; --restart discards it"):
        pw.rectify(scenes.paths, output, seed=1, **PRODUCT)
    with pytest.raises(pw.OutputError, match=r"(scenes|had 6 entries, has 5)"):
        pw.rectify(scenes.paths[1:], output, **PRODUCT)
    assert hidden(tmp_path) == [".gains.csv.journal"]
    pw.rectify(scenes.paths, output, seed=1, restart=True, **PRODUCT)
    assert hidden(tmp_path) == []


def test_a_damaged_line_is_computed_again(
    scenes: SceneFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_limits(monkeypatch, journal_seconds=0.0)
    output = tmp_path / "gains.csv"
    with pytest.raises(Stop):
        pw.rectify(scenes.paths, output, executor="inline", progress=stopped_after(40), **PRODUCT)
    journal = tmp_path / ".gains.csv.journal"
    lines = journal.read_bytes().split(b"\n")
    lines[2], lines[-2] = lines[2][:-1] + b"!", b"00000000 {}"
    journal.write_bytes(b"\n".join(lines))
    pw.rectify(scenes.paths, output, **PRODUCT)
    assert "2 damaged line(s) of .gains.csv.journal" in caplog.text
    rows = output.read_text().splitlines()
    whole = pw.rectify(scenes.paths, tmp_path / "whole.csv", **PRODUCT)
    assert rows == whole.as_csv().splitlines()


@pytest.mark.long
def test_a_killed_command_resumes(tmp_path: Path) -> None:
    files = write_scenes(tmp_path / "scenes", count=40, size=(64, 64), tiled=True, blockxsize=16, blockysize=16)
    code = f"""
import os, sys
from dataclasses import replace
from pixelwise.jobs import limits
limits.LIMITS = replace(limits.LIMITS, journal_seconds=0.0)
import pixelwise as pw
def progress(done, total):
    if done > 0.7 * total and len(sys.argv) > 1:
        os.kill(os.getpid(), 9)
pw.rectify({[str(path) for path in files.paths]}, {str(tmp_path / "gains.csv")!r}, product="landsat-c2-l2",
           progress=progress)
"""
    killed = subprocess.run([sys.executable, "-c", code, "kill"], check=False)
    assert killed.returncode == -9
    assert hidden(tmp_path) == [".gains.csv.journal"]
    subprocess.run([sys.executable, "-c", code], check=True)
    assert hidden(tmp_path) == []
    assert (tmp_path / "gains.csv").read_text() == pw.rectify(files.paths, tmp_path / "again.csv", **PRODUCT).as_csv()


def test_a_reference_may_be_a_file_or_a_date(scenes: SceneFiles) -> None:
    by_file = pw.rectify(scenes.paths, reference=scenes.paths[2], **PRODUCT)
    by_date = pw.rectify(scenes.paths, reference="1992-07-07", **PRODUCT)
    assert [row.gain for row in by_file.rows] == [row.gain for row in by_date.rows]
    own = [row for row in by_file.rows if Path(row.path) == scenes.paths[2]]
    assert {(row.gain, row.offset, row.gain_se, row.rmse_before) for row in own} == {(1.0, 0.0, 0.0, 0.0)}
    assert by_file.rows[0].reference == scenes.paths[2].name
    assert by_date.rows[0].reference == "1992-07-07"
    for band, name in enumerate(BANDS):
        gains = np.array([row.gain for row in by_file.of_band(name)])
        np.testing.assert_allclose(gains, scenes.gains[:, band] / scenes.gains[2, band], rtol=0.03)


def test_a_reference_that_is_not_among_the_scenes_joins_them(scenes: SceneFiles) -> None:
    found = pw.rectify(scenes.paths[1:], reference=scenes.paths[0], **PRODUCT)
    assert len(found.rows) == 6 * 6


def write_other_places(folder: Path) -> list[Path]:
    files = write_scenes(folder, count=3)
    with rasterio.open(files.paths[2]) as dataset:
        bands, descriptions = dataset.read(), dataset.descriptions
    write_raster(files.paths[2], bands, descriptions=descriptions, nodata=0, crs="EPSG:32618")
    return list(files.paths)


def season_of(paths: tuple[Path, ...], folder: Path) -> list[Path]:
    moved = [
        folder / path.name.replace("07", "01", 1) if index == 1 else folder / path.name
        for index, path in enumerate(paths)
    ]
    for old, new in zip(paths, moved, strict=True):
        new.write_bytes(old.read_bytes())
    return moved


def test_refusals(scenes: SceneFiles, tmp_path: Path) -> None:
    few = write_scenes(tmp_path / "few", count=2, size=(30, 30)).paths
    other = write_other_places(tmp_path / "other")
    (tmp_path / "winter").mkdir()
    winter = season_of(scenes.paths, tmp_path / "winter")
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (
            few,
            {},
            r"^the area has 900 pixels, but 2000 are needed \(1.8 km2 at 30 m\): take a larger one \(--region,",
        ),
        (other[:2], {"reference": other[2]}, r"CRS EPSG:32618 instead of EPSG:32617"),
        (winter, {}, r"spread over 1\d\d days of the year, .* --season MM-DD..MM-DD"),
        (winter, {"season": "01-01..01-31"}, "1 scene within --season"),
        (scenes.paths, {"reference": "1989"}, "reference 1989: is neither a file nor a date of the 6 scenes"),
        (scenes.paths, {"reference": "medain"}, "reference medain: is neither"),
        (scenes.paths, {"reference": scenes.paths[2], "season": "07-01..07-05"}, "within --season 07-01..07-05"),
        (scenes.paths, {"sample": 1999}, "sample 1999 is invalid"),
        (
            scenes.paths,
            {"bands": ["red", "nirr"]},
            "^bands: unknown band 'nirr'; did you mean 'nir'.*blue, green, red, nir",
        ),
        (scenes.paths, {"bands": ["Red"]}, "^bands: unknown band 'Red'; did you mean 'red'"),
        (
            scenes.paths,
            {"bands": ["nir - red"]},
            "^bands: 'nir - red' is not the name of a band; a formula is a --value",
        ),
        (scenes.paths, {"method": "regression"}, "where that is true"),
        (scenes.paths, {"composite": "max"}, "not for composites"),
        (scenes.paths, {"product": None}, "--bands"),
        (scenes.paths, {"method": "irmd"}, "irmd"),
        (scenes.paths, {"controls": "sets.gpkg"}, "is for method controls"),
        (scenes.paths, {"per": "sensor", "reference": "1990"}, "is for gains per scene"),
        (scenes.paths, {"bands": ["red"], "value": "ndvi"}, "give one of them"),
    ]
    for source, options, expected in cases:
        with pytest.raises((pw.InputError, pw.ParameterError), match=expected) as refused:
            pw.rectify(source, **{**PRODUCT, **options})
        if isinstance(refused.value, pw.ParameterError):
            assert "\n" not in str(refused.value)
        else:
            assert all("\n" not in line for line in refused.value.problems), expected


def test_scenes_without_enough_pixels_are_refused_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = write_scenes(tmp_path, count=4)
    with rasterio.open(files.paths[3]) as dataset:
        bands, descriptions = dataset.read(), dataset.descriptions
    bands[6, 10:] = 5896  # cloud
    write_raster(files.paths[3], bands, descriptions=descriptions, nodata=0)
    found = pw.rectify(files.paths, **PRODUCT)
    last = [row for row in found.rows if Path(row.path) == files.paths[3]]
    assert {row.flags for row in last} == {("refused",)}
    assert all(np.isnan(row.gain) for row in last)
    assert "1 of 4 scenes get no gains" in caplog.text
    assert files.paths[3].name in caplog.text


def test_a_scene_is_not_its_own_reference(tmp_path: Path) -> None:
    """Of five scenes, one shows half of the area and as much beside it, where no other has values."""
    random = np.random.default_rng(2)
    truth = landscape((100, 240), random)[:3]
    for index, gain in enumerate((1.0, 0.9, 1.1, 0.95, 1.25)):
        noisy = ((truth + random.normal(0, 0.004, truth.shape)) / gain).astype("float32")
        part, left = (noisy[:, :, 80:], 80) if index == 4 else (noisy[:, :, :160], 0)
        place = PROFILE["transform"] @ PROFILE["transform"].translation(left, 0)
        write_raster(tmp_path / f"s_200{index}-07-01.tif", part, descriptions=("g", "r", "n"), transform=place)
    found = pw.rectify(str(tmp_path / "*.tif"), bands=["g", "r", "n"], extent="union")
    gains = np.array([[row.gain for row in found.of_band(band)] for band in ("g", "r", "n")])
    np.testing.assert_allclose(gains / gains[:, :1], [[1.0, 0.9, 1.1, 0.95, 1.25]] * 3, rtol=0.02)
    assert {row.n for row in found.rows if row.path.endswith("2004-07-01.tif")} == {8000}


def test_the_reference_of_many_scenes_is_made_once(scenes: SceneFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    make = by_scene._find_reference

    def counted(*given: Any) -> Any:
        turns.append(given[-1])
        return make(*given)

    monkeypatch.setattr(by_scene, "_find_reference", counted)
    pw.rectify(scenes.paths, **PRODUCT)
    assert turns in ([0, 1], [0, 1, 2])
    turns.clear()
    monkeypatch.setattr(by_scene, "MANY", 5)
    pw.rectify(scenes.paths, **PRODUCT)
    assert turns == [0]


@pytest.mark.long
def test_limits_of_gains_cover_the_truth_under_many_clouds(tmp_path: Path) -> None:
    """95 % limits, but for the one line per band that all scenes share."""
    files = write_scenes(tmp_path, count=25, size=(160, 200), cloudy=0.5)
    found = pw.rectify(files.paths, **PRODUCT)
    gains, errors = (
        np.array([[getattr(row, name) for row in found.of_band(band)] for band in BANDS]).T
        for name in ("gain", "gain_se")
    )
    ratio = gains / files.gains
    apart = (ratio / np.median(ratio, axis=0) - 1) * files.gains
    print(f"rms {100 * np.sqrt((apart**2).mean()):.2f} %, covered {(np.abs(apart) <= 2.131 * errors).mean():.2f}")
    assert (np.abs(apart) <= 2.131 * errors).mean() >= 0.85


def test_bands_of_one_name_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    for year in (2000, 2001):
        values = np.random.default_rng(year).random((2, 60, 60)).astype("float32")
        write_raster(tmp_path / f"s_{year}-07-01.tif", values, descriptions=("reflectance", "reflectance"))
    with pytest.raises(pw.InputError, match="two of its bands have one name"):
        pw.rectify(str(tmp_path / "*.tif"), bands=["b1", "b2"])


def test_no_input_is_replaced_by_the_table(scenes: SceneFiles, tmp_path: Path) -> None:
    listed = tmp_path / "scenes.csv"
    listed.write_text("path,date\n" + "".join(f"{path},{1990 + i}-07-01\n" for i, path in enumerate(scenes.paths)))
    before = listed.read_text()
    with pytest.raises(pw.OutputError, match="is one of the inputs"):
        pw.rectify([listed], listed, overwrite=True, **PRODUCT)
    times = tmp_path / "dates.csv"
    times.write_text(before)
    with pytest.raises(pw.OutputError, match="is one of the inputs"):
        pw.rectify(scenes.paths, times, overwrite=True, times=str(times), **PRODUCT)
    result = run("rectify", listed, "--product", "landsat-c2-l2", "-o", listed, "--overwrite")
    assert result.exit_code == 1
    assert listed.read_text() == times.read_text() == before


def test_one_band_is_allowed_and_said(scenes: SceneFiles, caplog: pytest.LogCaptureFixture) -> None:
    found = pw.rectify(scenes.paths, bands=["red"], **PRODUCT)
    assert {row.band for row in found.rows} == {"red"}
    assert all("one_band" in row.flags for row in found.rows)
    assert [one.getMessage()[:57] for one in caplog.records if "flagged one_band" in one.getMessage()] == [
        "one band (red): change and gain cannot be distinguished, "
    ]


def test_a_stack_names_its_bands(scenes: SceneFiles) -> None:
    stack = pw.open_stack(scenes.paths, value="ndvi", **PRODUCT)
    assert set(pw.rectify(stack).bands) == {"red", "nir"}
    with pytest.raises(pw.ParameterError, match="bands: is for files"):
        pw.rectify(stack, bands=["red"])
    with pytest.raises(pw.ParameterError, match="expected files or a stack of files, not CompositeStack"):
        pw.rectify(stack.composite("max"))


def test_files_without_a_product(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    truth = random.gamma(4, 0.05, (3, 60, 60))
    for index, gain in enumerate((1.0, 1.2, 0.9)):
        noisy = (truth + random.normal(0, 0.003, truth.shape)) / gain
        write_raster(tmp_path / f"s_200{index}-07-01.tif", noisy.astype(np.float32), descriptions=("g", "r", "n"))
    found = pw.rectify(str(tmp_path / "*.tif"), bands=["g", "r", "n"], reference="2000-07-01")
    gains = np.array([[row.gain for row in found.of_band(band)] for band in ("g", "r", "n")])
    np.testing.assert_allclose(gains, [[1.0, 1.2, 0.9]] * 3, rtol=0.02)
    assert {row.sensor for row in found.rows} == {""}


def test_regression_takes_all_pixels_of_a_region(scenes: SceneFiles) -> None:
    left, top = PROFILE["transform"].c, PROFILE["transform"].f
    bounds = (left, top - 30 * 70, left + 30 * 80, top)
    found = pw.rectify(scenes.paths, method="regression", region=bounds, **PRODUCT)
    assert {row.n <= 70 * 80 for row in found.rows} == {True}
    assert {row.mean_weight for row in found.rows} == {1.0}


def test_the_command(scenes: SceneFiles, tmp_path: Path) -> None:
    output = tmp_path / "gains.csv"
    result = run("rectify", *scenes.paths, "--product", "landsat-c2-l2", "--bands", "red,nir,swir1", "-o", output)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert {row["band"] for row in rows} == {"red", "nir", "swir1"}
    exists = run("rectify", *scenes.paths, "--product", "landsat-c2-l2", "-o", output)
    assert exists.exit_code == 1
    assert "already exists; --overwrite replaces it" in exists.output
    table = output.read_text()
    # A recipe for apply names the table; its composites and gains do not count, its season does.
    recipe = tmp_path / "ndvi.toml"
    words = ("--product", "landsat-c2-l2", "--value", "ndvi", "--gains", output, "--gains-flagged", "keep",
             "--composite", "max", "--every", "year", "--season", "07-01..07-10", "--min-count", "2")  # fmt: skip
    assert run("plan", *scenes.paths, *words, "--write-recipe", recipe).exit_code in (0, 1)
    by_recipe = run("rectify", "--recipe", recipe, "-o", tmp_path / "again.csv")
    assert by_recipe.exit_code == 0, by_recipe.output
    assert f"{recipe}: its gains {output} are ignored" in by_recipe.stderr
    rows = list(csv.DictReader((tmp_path / "again.csv").read_text().splitlines()))
    assert {row["band"] for row in rows} == {"red", "nir"}
    assert {row["date"][5:] for row in rows} == {"07-01", "07-04", "07-07", "07-10"}
    options = ("--bands", "red,nir,swir1", "--season", "07-01..07-31", "--overwrite")
    by_recipe = run("rectify", "--recipe", recipe, *options, "-o", tmp_path / "again.csv")
    assert by_recipe.exit_code == 0, by_recipe.output
    numbers = [(row["path"], row["band"], row["gain"], row["offset"]) for row in csv.DictReader(table.splitlines())]
    again = csv.DictReader((tmp_path / "again.csv").read_text().splitlines())
    assert [(row["path"], row["band"], row["gain"], row["offset"]) for row in again] == numbers
    for option in ("--gains", "--composite"):
        refused = run("rectify", *scenes.paths, option, "max", "-o", tmp_path / "no.csv")
        assert refused.exit_code == 2
        assert re.search(f"No such option:? '?{option}", refused.stderr)
    wrong = run("rectify", *scenes.paths, "--product", "landsat-c2-l2", "-o", tmp_path / "gains.tif")
    assert wrong.exit_code == 1
    assert "must end in .csv" in wrong.output


def write_apart(folder: Path, beside: int) -> None:
    """Write scenes of which only `beside` show the same place, and each of the others one of its own."""
    random = np.random.default_rng(3)
    truth = landscape((60, 240), random)[:3]
    for index in range(4):
        left = 0 if index < beside else 60 * index
        part = (truth[:, :, left : left + 60] + random.normal(0, 0.004, (3, 60, 60))).astype("float32")
        place = PROFILE["transform"] @ PROFILE["transform"].translation(left, 0)
        write_raster(folder / f"s_200{index}-07-01.tif", part, descriptions=("g", "r", "n"), transform=place)


def test_scenes_that_share_no_place_are_refused_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.rectification.comparing.LEAST_PIXELS", 10_000)  # of 3 600 in each
    write_apart(tmp_path, 1)
    with pytest.raises(pw.InputError, match="no scene can be rectified"):
        pw.rectify(str(tmp_path / "*.tif"), bands=["g", "r", "n"], extent="union")


def test_a_reference_is_not_made_again_of_one_or_two_scenes(tmp_path: Path) -> None:
    write_apart(tmp_path, 2)
    found = pw.rectify(str(tmp_path / "*.tif"), bands=["g", "r", "n"], extent="union")
    refused = [row.path[-14:-4] for row in found.rows if row.refused]
    assert refused == ["2002-07-01"] * 3 + ["2003-07-01"] * 3
    assert all(row.gain_se > 1e-4 for row in found.rows if not row.refused)
