"""What commands may write: nothing that they read, and nothing twice."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.maps.saving import check_output, inputs_of
from support.drawn import trend_map
from support.rasters import write_raster


def sums(folder: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a map, its layers elsewhere in it, a covariate, and a table of dates."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(5)
    lines = ["file,date"]
    for year in range(2001, 2009):
        for name in ("ndvi", "rain"):
            write_raster(tmp_path / name / f"{name}_{year}.tif", random.normal(0.5, 0.1, (6, 7)).astype(np.float32))
        lines.append(f"ndvi_{year}.tif,{year}")
    Path("dates.csv").write_text("\n".join(lines) + "\n")
    Path("maps").mkdir()
    pw.apply(
        pw.open_stack("ndvi", times="dates.csv"), "correlation", "maps/map.tif", inputs={"rain": pw.open_stack("rain")},
        executor="inline",
    )  # fmt: skip
    return tmp_path


def test_a_map_names_its_inputs(project: Path) -> None:
    found = {path.resolve() for path in inputs_of(pw.open_map("maps/map.tif"))}
    assert found >= {path.resolve() for path in (project / "maps/map.tif", *project.glob("*/*_20*.tif"))}
    assert inputs_of(trend_map()) == ()


def test_no_input_is_replaced_by_classes(project: Path) -> None:
    Path("link").symlink_to("ndvi")
    before = sums(project)
    for option, targets in (
        ("-o", ["maps/map.tif", "ndvi/ndvi_2004.tif", "rain/rain_2001.tif", "link/ndvi_2001.tif"]),
        ("--table", ["dates.csv"]),
    ):
        for target in targets:
            other = [] if option == "-o" else ["-o", "c.tif"]
            result = CliRunner().invoke(main, ["classify", "maps/map.tif", option, target, *other, "--overwrite"])
            assert result.output == f"error: {target}: is one of the inputs; choose another output\n"
            assert sums(project) == before


def test_a_second_name_of_an_input_is_one(project: Path) -> None:
    os.link("ndvi/ndvi_2001.tif", "other.tif")
    with pytest.raises(pw.OutputError, match=r"other\.tif: is one of the inputs"):
        check_output("other.tif", overwrite=True, suffixes=(".tif",), inputs=inputs_of(pw.open_map("maps/map.tif")))


def test_no_input_is_replaced_by_pictures_and_pages(project: Path) -> None:
    """Rasters may have any name."""
    for suffix, command in ((".png", ["plot"]), (".html", ["report"]), (".png", ["series", "--pixel", "1,1", "--map"])):
        folder = project / suffix[1:]
        for year in range(2001, 2009):
            folder.mkdir(exist_ok=True)
            shutil.copy(project / "ndvi" / f"ndvi_{year}.tif", folder / f"ndvi_{year}{suffix}")
        pw.apply(pw.open_stack(sorted(folder.iterdir())), "ols", "maps/of.tif", executor="inline", overwrite=True)
        target = str(folder / f"ndvi_2001{suffix}")
        before = sums(project)
        files = [str(path) for path in sorted(folder.iterdir())] if command[0] == "series" else []
        result = CliRunner().invoke(main, [*command, "maps/of.tif", *files, "-o", target, "--overwrite"])
        assert result.exit_code == 1, result.output
        assert f"error: {target}: is one of the inputs; choose another output\n" in result.output
        assert sums(project) == before


def test_what_lies_in_a_store_that_is_read_is_refused(tmp_path: Path) -> None:
    trend_map(status=np.zeros((30, 40))).save(tmp_path / "map.zarr")
    before = sums(tmp_path)
    result = CliRunner().invoke(
        main, ["classify", str(tmp_path / "map.zarr"), "-o", str(tmp_path / "map.zarr" / "c.tif")]
    )
    assert "c.tif: is inside" in result.output
    assert "which is one of the inputs" in result.output
    assert sums(tmp_path) == before


def test_two_outputs_have_two_names(tmp_path: Path) -> None:
    for one, other in (("a.csv", "a.csv"), ("a.csv", f"../{tmp_path.name}/a.csv")):
        with pytest.raises(pw.OutputError, match=r"a\.csv: is the name of two outputs"):
            check_output(tmp_path / one, suffixes=(".csv",), outputs=[tmp_path / other])
    assert check_output(tmp_path / "a.csv", suffixes=(".csv",), outputs=[tmp_path / "b.csv"]) == tmp_path / "a.csv"


def test_odd_records_are_no_obstacle(project: Path) -> None:
    map_ = pw.open_map("maps/map.tif")
    for name in ("", ".", "..", "https://example.org/a.tif", "/vsicurl/a", "//server/a", "a\0b", "x" * 5000, 3, None):
        odd = pw.Map(map_.grid, map_.bands, {"input": {"files": [{"path": name}]}}, files=map_.files)
        assert check_output("maps/c.png", inputs=inputs_of(odd)) == Path("maps/c.png")
