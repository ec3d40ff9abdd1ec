"""The commands of docs/rectification.md run as they stand, on invented scenes, and find what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.stacks.gains import COLUMNS, GainFlag, read_gains
from support.drifting_scenes import greening, write_drifting_scenes
from support.pages import run_sessions, samples
from support.places import ROOT

PAGE = ROOT / "docs" / "rectification.md"
#: What the page says of each map: the share with p < 0.05 and the slope where nothing changes, and the slope elsewhere.
FOUND = {
    "drift": (0.2, 0.87, 0.044, 0.099),
    "trend": (0.2, 0.05, 0.000, 0.054),
    "step": (0.2, None, 0.024, 0.079),
    "lost": (0.6, None, -0.043, 0.008),
    "controls": (0.6, 0.056, 0.000, 0.051),
    "stable": (0.6, 0.05, 0.000, 0.051),
}
#: By how much NDVI rises there, by share of the area.
TRUTH = {0.2: 0.053, 0.6: 0.049}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the commands of the page ran."""
    home = tmp_path_factory.mktemp("rectification")
    write_drifting_scenes(home / "scenes")
    write_drifting_scenes(home / "greener", share=0.6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert run_sessions(PAGE) == 15
    return home


def test_commands_write_what_they_say(made: Path) -> None:
    names = {path.name for path in made.iterdir()}
    assert names >= {f"{name}.tif" for name in FOUND}
    assert names >= {
        f"{name}{end}" for name in ("gains", "greener", "controls", "stable", "sensors") for end in (".csv", ".png")
    }
    for name in ("drift.png", "trend.png", "lost.png", "gains.png"):
        assert (made / name).stat().st_size > 1000
    for name in re.findall(r"\]\((images/.*?)\)", PAGE.read_text()):
        assert (PAGE.parent / name).exists()


@pytest.mark.parametrize("name", FOUND)
def test_maps_are_as_good_and_as_bad_as_the_page_says(made: Path, name: str) -> None:
    share, significant, slope, greener = FOUND[name]
    found, strip = pw.open_map(made / f"{name}.tif"), greening(share)
    if significant is not None:
        assert (found["pvalue"][~strip] < 0.05).mean() == pytest.approx(significant, abs=0.006)
    # Where the greener pixels are taken for the unchanged ones, little decides which scenes are flagged, and left out.
    near = 0.006 if name == "lost" else 0.0015
    assert np.median(found["slope"][~strip]) == pytest.approx(slope, abs=near)
    assert np.median(found["slope"][strip]) == pytest.approx(greener, abs=near)


@pytest.mark.parametrize("share", TRUTH)
def test_the_truth_is_that_of_the_page(tmp_path: Path, share: float) -> None:
    write_drifting_scenes(tmp_path / "true", share=share, perfect=True)
    found = pw.apply(pw.open_stack(tmp_path / "true" / "*.tif", product="landsat-c2-l2", value="ndvi"), "ols",
                     per="decade")  # fmt: skip
    strip = greening(share)
    assert np.median(found["slope"][strip]) == pytest.approx(TRUTH[share], abs=0.0006)
    assert np.median(found["slope"][~strip]) == pytest.approx(0, abs=0.001)
    assert f"{TRUTH[share]} per decade" in PAGE.read_text()


def test_python(made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(made)
    [sample] = samples(PAGE, "python")
    names: dict[str, Any] = {}
    exec(compile(sample, str(PAGE), "exec"), names)
    assert capsys.readouterr().out == "('blue', 'green', 'red', 'nir', 'swir1', 'swir2') 198\n"
    written = read_gains(made / "gains.csv")
    assert [(row.gain, row.offset) for row in names["gains"].rows] == [(row.gain, row.offset) for row in written.rows]
    np.testing.assert_array_equal(names["trend"]["slope"], pw.open_map(made / "trend.tif")["slope"])


def test_every_flag_and_column_is_described() -> None:
    text = PAGE.read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) >= set(get_args(GainFlag))
    assert set(re.findall(r"`(\w+)`", text)) >= set(COLUMNS)
