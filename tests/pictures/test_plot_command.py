"""`pixelwise plot`: files, options, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.cli import main
from pixelwise.cli.plot import inches_of
from pixelwise.maps import saving
from pixelwise.maps.saving import save
from pixelwise.pictures import drawing
from pixelwise.pictures import picture as plotting
from pixelwise.pictures.picture import plot_map
from support.drawn import entries, headings, key_title, labels, shares, trend_map
from support.rasters import write_raster


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".jpg", b"\xff\xd8"), (".JPEG", b"\xff\xd8")],
)
def test_save_writes_each_format_and_nothing_else(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"trend{suffix}"
    save(plot_map(trend_map()), path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_a_png_has_the_size_of_its_figure(tmp_path: Path) -> None:
    figure = plot_map(trend_map())
    for dpi in (None, 300):
        save(figure, str(tmp_path / "trend.png"), dpi=dpi)
        with Image.open(tmp_path / "trend.png") as image:
            image.load()
            assert image.size == tuple(int(inches * (dpi or drawing.DPI)) for inches in figure.get_size_inches())


def test_a_failing_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, data: bytes) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "trend.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(saving, "write", full)
    with pytest.raises(pw.OutputError, match=r"trend\.png: cannot be written \(No space left on device\)"):
        save(plot_map(trend_map(3, 3)), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def trend(tmp_path: Path) -> Path:
    """Return the map of a small stack, whose second pixel of the second row is constant."""
    values = np.random.default_rng(5).normal(0.5, 0.1, (6, 12, 16)).astype(np.float32)
    values[:, 0, 0] = -9999
    values[:, 1, 1] = 0.5
    for year, layer in enumerate(values, 2001):
        write_raster(tmp_path / "ndvi" / f"ndvi_{year}.tif", layer, nodata=-9999)
    pw.apply(pw.open_stack(tmp_path / "ndvi"), "ols", tmp_path / "trend.tif", executor="inline")
    return tmp_path / "trend.tif"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which the command adds what it draws."""
    drawn: list[Any] = []

    def remember(*args: Any, **options: Any) -> Any:
        drawn.append(plot_map(*args, **options))
        return drawn[-1]

    monkeypatch.setattr(plotting, "plot_map", remember)
    return drawn


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plot", *map(str, arguments)])


def test_the_command_writes_a_picture_and_prints_its_path(trend: Path, figures: list[Any]) -> None:
    output = trend.with_name("trend.png")
    result = run(trend, "-o", output)
    assert (result.exit_code, result.output) == (0, f"{output}\n")
    below = "ols, band slope: Change per year of the fitted line; 6 layers"
    assert headings(figures[0]) == ["NDVI change per year, 2001 to 2006", below]
    found = entries(figures[0])
    assert any(
        entry.startswith("no change (constant series) (0.5 %") for entry in found
    )  # the constant pixel, 1 of 191
    assert any(entry.startswith("missing (0.5 % of the area") for entry in found)
    assert "not tested" not in labels(figures[0])
    assert run(trend, "-o", output, "--overwrite", "--band", "stderr", "--title", "T").exit_code == 0
    assert headings(figures[1])[0] == "T"
    assert key_title(figures[1]).splitlines()[0] == "stderr (per year)"
    assert run(trend, "-o", trend.with_name("strict.svg"), "--classes", "trend", "--significant", "0.01").exit_code == 0
    assert labels(figures[2])[0] == "significant increase, p < 0.01"
    assert run(trend, "-o", trend.with_name("status.png"), "--band", "status").exit_code == 0
    assert labels(figures[3]) == ["0 ok", "1 no observation", "3 constant series"]
    assert run(trend, "-o", trend.with_name("two.png"), "--band", "slope", "--band", "n").exit_code == 0
    assert len(figures[4].legends) == 2


def test_options_reach_the_picture(trend: Path, figures: list[Any]) -> None:
    options = [
        "--width",
        "150mm",
        "--dpi",
        "100",
        "--palette",
        "warming",
        "--pvalue",
        "pvalue",
        "--classes",
        "confidence",
    ]
    assert run(trend, "-o", trend.with_name("a.png"), *options).exit_code == 0
    assert labels(figures[0])[0] == "increase at 99 %, p < 0.01"
    with Image.open(trend.with_name("a.png")) as image:
        assert image.width == int(150 / 25.4 * 100)


def test_a_figure_for_a_paper_has_its_caption_beside_it(trend: Path) -> None:
    output = trend.with_name("fig.pdf")
    result = run(trend, "-o", output, "--figure", "paper", "--width", "17cm")
    assert (result.exit_code, result.output) == (0, f"{output}\n{output.with_suffix('.txt')}\n")
    assert output.with_suffix(".txt").read_text().startswith("NDVI change per year, 2001 to 2006. (a) change per year;")
    # Journals want both; the caption is the same.
    other = output.with_suffix(".jpg")
    assert run(trend, "-o", other, "--figure", "paper").output == f"{other}\n{output.with_suffix('.txt')}\n"
    text = output.with_suffix(".txt")
    text.write_text(text.read_text() + "edited")
    result = run(trend, "-o", trend.with_name("fig.png"), "--figure", "paper")
    assert result.exit_code == 1
    assert "fig.txt: already exists; --overwrite replaces it" in result.output
    assert not trend.with_name("fig.png").exists()
    result = run(trend, "-o", trend.with_name("b.png"), "--figure", "paper", "--band", "slope", "--band", "n")
    assert (result.exit_code, "--figure paper draws one --band" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("text", "inches"), [("170mm", 170 / 25.4), ("17 cm", 17 / 2.54), ("6.7in", 6.7), (None, None)]
)
def test_lengths(text: str | None, inches: float | None) -> None:
    assert inches_of(text) == pytest.approx(inches)


@pytest.mark.parametrize("text", ["170", "mm", "0mm", "-5cm", "nanmm", "infin", "1e400mm", "99in", "5ft", ""])
def test_no_lengths(trend: Path, text: str) -> None:
    result = run(trend, "-o", trend.with_name("a.png"), "--width", text)
    assert result.exit_code == 2
    assert "--width" in result.output
    assert not trend.with_name("a.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "there.png"], "there.png: already exists; --overwrite replaces it"),
        (["-o", "no/trend.png"], "no/trend.png: the folder no does not exist"),
        (["-o", "trend.bmp"], "trend.bmp: a picture's name must end in .png or .pdf or .svg or .jpg or .jpeg"),
        (["-o", "trend"], "trend: a picture's name must end in"),
        (["-o", "folder.png", "--overwrite"], "folder.png: is a folder"),
        (["-o", "new.png", "--band", "pvalu"], "unknown band 'pvalu'; did you mean 'pvalue'? (known: slope,"),
        (["-o", "new.png", "--band", "n", "--classes", "trend"], "band n has no p-value, which trend classes need"),
        (["-o", "new.png", "--classes", "stripes"], "classes='stripes' is not one of trend, confidence"),
        (["-o", "new.png", "--overlay", "none.gpkg"], "overlay none.gpkg: No such file or directory"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(
    trend: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(trend.parent)
    Path("there.png").write_bytes(b"old")
    Path("folder.png").mkdir()
    before = sorted(Path().iterdir())
    result = run("trend.tif", *options)
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {message}")
    assert result.output.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    assert Path("there.png").read_bytes() == b"old"


def test_other_geotiffs_are_drawn_and_other_files_are_not(trend: Path) -> None:
    output = trend.with_name("new.png")
    assert run(trend.parent / "ndvi" / "ndvi_2001.tif", "-o", output).exit_code == 0
    for path, message in (
        (trend.parent / "none.tif", "No such file or directory"),
        (write_text(trend.with_name("a.tif")), ""),
    ):
        result = run(path, "-o", output, "--overwrite")
        assert result.exit_code == 1
        assert result.output.startswith(f"error: {path}: {message}")
        assert result.output.count("\n") == 1


def write_text(path: Path) -> Path:
    path.write_text("no raster")
    return path


def test_a_map_without_p_values(trend: Path) -> None:
    short = trend.with_name("short.tif")
    pw.apply(pw.open_stack(trend.parent / "ndvi"), "ols", short, bands=["slope"], executor="inline")
    assert run(short, "-o", short.with_suffix(".png")).exit_code == 0
    result = run(short, "-o", short.with_suffix(".pdf"), "--classes", "trend")
    assert result.exit_code == 1
    assert result.output == (
        "error: trend classes need the band pvalue, which this map lacks: write it with the map, "
        "or choose other classes, such as quintile\n"
    )


def test_every_form_of_a_map_is_drawn_alike(trend: Path) -> None:
    stack = pw.open_stack(trend.parent / "ndvi")
    expected = entries(plot_map(pw.open_map(trend)))
    for name in ("t.zarr", "t.nc", "t_{band}.tif"):
        pw.apply(stack, "ols", trend.with_name(name), executor="inline")
        assert entries(plot_map(pw.open_map(trend.with_name(name)))) == expected


def test_untested_pixels_of_the_sea_are_in_no_other_class(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """Land is constant 0; no test of today's methods is undefined on this sea, so some p-values are taken away."""
    files = sorted((shared("remote_sst_gpcp") / "multiband").glob("*.tif"))
    made = pw.apply(pw.open_stack(files), "mann_kendall", tmp_path / "sst.tif")
    arrays = {name: made[name].copy() for name in made}
    arrays["pvalue"][:3] = np.nan
    map_ = pw.Map(made.grid, made.bands, made.provenance, arrays=arrays)
    assert headings(plot_map(made))[0] == "SST change per year, January 1982 to December 2010"
    assert "not tested" not in labels(plot_map(made))
    constant = made.status == Status.CONSTANT
    untested = np.isfinite(arrays["slope"]) & ~np.isfinite(arrays["pvalue"]) & ~constant
    assert 0.08 < untested.mean() < 0.1
    # Pixels near the equator are a little larger than others.
    drawn = shares(plot_map(map_))
    assert drawn["not tested"] == pytest.approx(100 * untested.mean(), abs=0.3)
    assert drawn["no change (constant series)"] == pytest.approx(100 * constant.mean(), abs=0.3)


def test_wrong_usage_exits_with_2(trend: Path) -> None:
    assert run(trend).exit_code == 2
    assert run(trend, "-o", "x.png", "--palette", "rainbow").exit_code == 2
    assert run(trend, "-o", "x.png", "--significant", "1.5").exit_code == 2
    assert run(trend, "-o", "x.png", "--dpi", "5").exit_code == 2


def test_debug_shows_the_traceback(trend: Path) -> None:
    result = run(trend, "-o", "x.bmp", "--debug")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("pixelwise.errors.OutputError: x.bmp: ")
