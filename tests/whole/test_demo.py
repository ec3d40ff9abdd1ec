"""The demo, on a small scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import pixelwise as pw
from pixelwise import demo
from pixelwise.cli import main


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "HEIGHT", 80)
    monkeypatch.setattr(demo, "WIDTH", 90)


def test_the_scene_is_what_it_says(small: None, tmp_path: Path) -> None:
    paths = demo.write_scene(tmp_path / "a")
    stack = pw.open_stack(tmp_path / "a")
    assert str(stack) == "21 layers, 1995..2015, 80 x 90, EPSG:32617, float32, nodata -9999"
    again = [path.read_bytes() for path in demo.write_scene(tmp_path / "b")]
    assert [path.read_bytes() for path in paths] == again
    values = stack.read(stack.grid.block)
    assert 0.01 < np.isnan(values).mean() < 0.9
    assert np.nanmax(np.abs(values)) <= 1


def test_the_command(small: None, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert "7200 pixels x 21 years" in result.stdout
    assert "scipy.stats.linregress in a loop" in result.stdout
    assert "scaled" in result.stdout
    written = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert written == ["ndvi", "trend.png", "trend.tif"]
    difference = float(result.stdout.split("on the sample: ")[1].split()[0])
    assert difference < 1e-6


def test_without_scipy_the_loop_is_left_out(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert "scipy is not installed: nothing was compared with scipy.stats.linregress" in result.stdout
    assert "pixelwise apply ols" in result.stdout
    assert "in a loop" not in result.stdout
    assert "nan" not in result.stdout
    assert (tmp_path / "demo" / "trend.tif").exists()


@pytest.mark.long
def test_the_loop_agrees_with_the_map(small: None, tmp_path: Path) -> None:
    demo.write_scene(tmp_path / "ndvi")
    result = demo.compare(tmp_path / "ndvi", tmp_path / "trend.tif", rows=5, runs=1)
    assert result.sampled == 5 * 90
    assert result.largest_difference < 1e-6
    assert min(result.pixelwise, result.loop, result.loop_processes) > 0


def test_sampled_rows_are_those_of_the_scene(small: None, tmp_path: Path) -> None:
    demo.write_scene(tmp_path / "ndvi")
    stack = pw.open_stack(tmp_path / "ndvi")
    series, rows = demo.sample_series(stack, 4)
    assert rows.tolist() == [0, 26, 52, 79]
    np.testing.assert_array_equal(series[:, 90:180], stack.read(pw.Block(26, 0, 1, 90))[:, 0])
