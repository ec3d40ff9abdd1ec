"""Files as people have them: packed, in pages, with older encodings, without CRS, beside the map of the last run."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import os
import re
import shlex
import shutil
import subprocess
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image
from rasterio.rio.main import main_group

import pixelwise as pw
from pixelwise.maps.map import is_map, open_map
from pixelwise.rasters import handles
from pixelwise.rasters.headers import read_header
from support.command_line import run
from support.rasters import MakeStack, problem_of, problems_of, write_raster

VALUES = np.random.default_rng(7).normal(0.5, 0.1, (5, 6, 7)).astype("float32")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rio(text: str) -> None:
    """Type rasterio's command that a message ends with."""
    found = re.search(r"rio ((?:edit-info|convert) .*?)(?:;|$)", text)
    assert found, text
    result = CliRunner().invoke(main_group, shlex.split(found[1]))
    assert result.exit_code == 0, result.output


# -------------------------------------------------------------------------------------------- encodings


def patched(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(("old", "new", "read"), [(b"ete", b"\xe9t\xe9", "été"), (b"_ber", b"\xfcber", "über")])
def test_a_description_in_latin_1_is_read_and_said(
    make_stack: MakeStack, caplog: pytest.LogCaptureFixture, old: bytes, new: bytes, read: str
) -> None:
    folder = make_stack(np.stack([VALUES, VALUES], axis=1), descriptions=["first", f"NDVI {old.decode()} \u2713"])
    plain = pw.open_stack(folder, band=2)
    assert not caplog.records
    odd = folder / "ndvi_2002.tif"
    patched(odd, old, new)
    stack = pw.open_stack(folder, band=2)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"{odd}: descriptions or units of its bands are not UTF-8 and are read as Latin-1: 'NDVI {read} \u2713'"
    )
    assert [band.description for band in read_header(odd).bands] == ["first", f"NDVI {read} \u2713"]
    assert np.array_equal(stack.read(stack.grid.block), plain.read(plain.grid.block))


def test_bands_are_dated_by_descriptions_in_latin_1(caplog: pytest.LogCaptureFixture) -> None:
    path = write_raster(Path("stack.tif"), VALUES, descriptions=[f"_t_ {year}" for year in range(2001, 2006)])
    path.write_bytes(path.read_bytes().replace(b"_t_", b"\xe9t\xe9"))
    assert [layer.date.year for layer in pw.open_stack(path).layers] == [2001, 2002, 2003, 2004, 2005]
    assert "'été 2001'" in caplog.text


def test_many_bands_in_latin_1_through_every_command(caplog: pytest.LogCaptureFixture) -> None:
    path = write_raster(Path("stack.tif"), VALUES, descriptions=[f"_t_ {year}" for year in range(2001, 2006)])
    path.write_bytes(path.read_bytes().replace(b"_t_", b"\xe9t\xe9"))
    [told] = pw.apply(pw.open_stack(path), "ols").provenance["warnings"]
    assert "are read as Latin-1: 'été 2001'" in told
    assert run("plan", path).exit_code == 0
    assert run("apply", "ols", path, "-o", "trend.tif").exit_code == 0


def test_a_unit_in_latin_1(caplog: pytest.LogCaptureFixture) -> None:
    path = write_raster(Path("x_2001.tif"), VALUES[0])
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ["W m-2 _C"]
    patched(path, b"_C", b"\xb0C")
    assert read_header(path).bands[0].unit == "W m-2 °C"
    assert f"{path}: descriptions or units" in caplog.text


def test_a_tag_in_latin_1_matters_to_nobody(make_stack: MakeStack, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_stack(VALUES)
    path = folder / "ndvi_2002.tif"
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(PLACE="B_le")
    patched(path, b"B_le", b"B\xe2le")
    assert len(pw.open_stack(folder)) == 5
    assert not caplog.records
    assert not is_map(path)
    # In a map neither, but its bands must be as pixelwise described them.
    pw.apply(pw.open_stack(folder), "ols", Path("trend.tif"), executor="inline")
    with rasterio.open("trend.tif", "r+") as dataset:
        dataset.update_tags(PLACE="B_le")
    patched(Path("trend.tif"), b"B_le", b"B\xe2le")
    assert open_map("trend.tif").names[0] == "slope"
    content = Path("trend.tif").read_bytes()
    Path("trend.tif").write_bytes(content.replace(b'role="description">slope<', b'role="description">sl\xf6pe<'))
    with pytest.raises(pw.InputError, match=r"trend\.tif: descriptions or units of its bands are not UTF-8"):
        open_map("trend.tif")


def test_a_file_name_in_latin_1_is_said(make_stack: MakeStack) -> None:
    folder = make_stack(VALUES)
    odd = os.fsencode(folder) + b"/\xe9t\xe9_2002.tif"
    try:
        os.rename(folder / "ndvi_2002.tif", odd)  # noqa: PTH104 - a name in bytes
    except OSError:
        pytest.skip("this file system knows UTF-8 only")
    assert problem_of(folder) == (
        f"{folder}/\\xe9t\\xe9_2002.tif: its name is not UTF-8, so that GDAL cannot open it: rename the file"
    )
    assert "error" in run("apply", "ols", folder, "-o", "trend.tif").stderr


# -------------------------------------------------------------------------------------------- own maps


def test_the_map_in_the_input_folder_is_left_out_and_said(make_stack: MakeStack) -> None:
    folder = make_stack(VALUES)
    first = run("apply", "ols", folder, "-o", folder / "trend.tif")
    assert first.exit_code == 0
    assert "left out" not in first.output
    with rasterio.open(folder / "trend.tif") as dataset:
        before = dataset.read()
    # A folder, a quoted glob, and what a shell makes of one that is not.
    for source in ([folder], [f"{folder}/*.tif"], sorted(folder.glob("*.tif"))):
        again = run("apply", "ols", *source, "-o", folder / "trend.tif", "--overwrite")
        assert again.exit_code == 0
        assert (
            f"warning: {folder / 'trend.tif'} left out: pixelwise wrote it, as a map or as derived layers"
            in again.stderr
        )
        with rasterio.open(folder / "trend.tif") as dataset:
            assert np.array_equal(dataset.read(), before, equal_nan=True)
        [told] = pw.open_map(folder / "trend.tif").provenance["warnings"]
        assert f"warning: {told}" in again.stderr
    planned = run("plan", folder, "--strict")
    assert planned.exit_code == 0
    assert planned.stderr.count("left out") == 1
    assert "trend.tif" not in planned.stdout
    assert "5 layers, 2000 .. 2004" in planned.stdout


@pytest.mark.parametrize(("output", "maps"), [("trend_2010.tif", 1), ("trend_2011_{band}.tif", 8)])
def test_a_map_whose_name_has_a_date_is_no_layer(
    make_stack: MakeStack, caplog: pytest.LogCaptureFixture, output: str, maps: int
) -> None:
    folder = make_stack(VALUES)
    pw.apply(pw.open_stack(folder), "ols", folder / output, executor="inline")
    assert len(list(folder.iterdir())) == 5 + maps
    stack = pw.open_stack(folder, band=1)
    assert [layer.date.year for layer in stack.layers] == [2000, 2001, 2002, 2003, 2004]
    assert caplog.text.count("left out") == 1


def test_maps_that_are_named_on_purpose_are_layers(make_stack: MakeStack, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_stack(VALUES)
    for year in (2001, 2002):
        pw.apply(pw.open_stack(folder), "ols", Path(f"slope_{year}.tif"), executor="inline")
    assert len(pw.open_stack("slope_*.tif", band="slope")) == 2
    mixed = {folder / "ndvi_2000.tif": "2000", "slope_2001.tif": "2001"}
    assert len(pw.open_stack(mixed, band=1)) == 2
    assert "left out" not in caplog.text


def test_layers_that_pixelwise_wrote_are_layers(make_stack: MakeStack, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_stack(VALUES)
    stack = pw.open_stack(folder)
    pw.write_layers(stack.composite("max", every="year"), folder / "annual.tif", executor="inline")
    pw.apply(stack, "ols", folder / "trend.tif", write={"residuals": folder / "residuals.tif"}, executor="inline")
    assert read_header(folder / "trend.tif").is_map
    assert len(pw.open_stack(folder / "annual.tif")) == len(pw.open_stack(folder / "residuals.tif")) == 5
    assert "left out" not in caplog.text
    # Beside what they are made of, they are no further scenes.
    assert len(pw.open_stack(folder)) == 5
    assert caplog.text.count("left out") == 1
    assert all(name in caplog.text for name in ("annual.tif", "trend.tif", "residuals.tif"))
    assert len(pw.open_stack([folder / "annual.tif", folder / "trend.tif"])) == 5


def test_a_map_among_masks_is_left_out(make_stack: MakeStack, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_stack(VALUES)
    masks = make_stack((VALUES > 0.5).astype("uint8"), folder="masks")
    pw.apply(pw.open_stack(folder), "ols", masks / "trend_2003_{band}.tif", executor="inline")
    assert len(pw.open_stack(folder, mask=str(masks), mask_drop=1)) == 5
    assert caplog.text.count("left out") == 1


# -------------------------------------------------------------------------------------------- pages


def write_pages(path: Path, *pages: Any) -> Path:
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=others)
    return path


@pytest.mark.parametrize("count", [2, 5])
def test_pages_of_a_tiff_are_said_and_become_files(count: int) -> None:
    path = write_pages(Path("my stack.tif"), *VALUES[:count])
    problem = problem_of(path)
    assert problem.startswith(
        f"{path}: has {count} pages (TIFF directories), of which only the first would be read; "
        "split it into one file per page"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        rio(problem)
        with rasterio.open("my stack_2.tif") as dataset:
            assert np.array_equal(dataset.read(1), VALUES[1])


def test_a_page_of_another_size_is_no_layer() -> None:
    path = write_pages(Path("x_2001.tif"), VALUES[0], VALUES[1][::2, ::2].copy())
    assert read_header(path).grid.height == 6


# -------------------------------------------------------------------------------------------- packed files


def pack(path: Path, suffix: str) -> Path:
    """Replace a file by a packed one."""
    packed = path.with_name(f"{path.name}{suffix}")
    if suffix.lower() == ".zip":
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, path.name)
    elif suffix == ".zst":
        subprocess.run(["zstd", "-q", path, "-o", packed], check=True)
    else:
        packed.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(path.read_bytes()))
    path.unlink()
    return packed


def type_in(command: str) -> None:
    """Type a command where nobody answers: unzstd then fails where files are there already."""
    program = command.split(maxsplit=1)[0]
    assert program in ("gunzip", "bunzip2", "unxz", "unzip", "unzstd"), command
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    subprocess.run(command, shell=True, check=program != "unzstd", stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", ["stack", "my stack [1]"])
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".zip", ".ZIP"])
def test_packed_files_are_said_with_a_remedy_that_works(make_stack: MakeStack, suffix: str, name: str) -> None:
    if suffix == ".zst" and shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    folder = make_stack(VALUES, folder=name)
    whole = pw.open_stack(folder)
    packed = [pack(folder / f"ndvi_{year}.tif", suffix) for year in (2001, 2003, 2004)]
    # Three years would be missing without a word.
    problem = problem_of(folder)
    assert problem.startswith(f"{folder}: 3 rasters are packed ({packed[0].name}); unpack with")
    assert len(problems_of(sorted(folder.iterdir()))) == 3
    of_one = problem_of(packed[0])
    assert of_one.startswith(f"{packed[0]}: is packed ({suffix})")
    type_in(of_one.rpartition("; unpack it first: ")[2])
    assert (folder / "ndvi_2001.tif").exists()
    typed = re.search(r"unpack with (.*), or list", problem_of(folder))
    assert typed
    type_in(typed[1])
    # Packed files that are unpacked beside, as unzip and unzstd leave them, are nobody's business.
    assert len(pw.open_stack(folder)) == 5
    assert np.array_equal(pw.open_stack(folder).read(whole.grid.block), whole.read(whole.grid.block))


def test_other_archives_in_a_folder_are_nobodys_business(make_stack: MakeStack) -> None:
    folder = make_stack(VALUES)
    (folder / "readme.txt.gz").write_bytes(b"")
    (folder / "delivery_2010.zip").write_bytes(b"")
    assert len(pw.open_stack(folder)) == 5


# -------------------------------------------------------------------------------------------- ENVI


@pytest.mark.parametrize("suffix", [".dat", "", ".raw", ".DAT"])
def test_a_folder_of_envi_files(suffix: str) -> None:
    for index, values in enumerate(VALUES):
        write_raster(Path("envi") / f"x_{2001 + index}{suffix}", values, driver="ENVI")
    Path("envi/notes.dat").write_text("of another program")
    Path("envi/README").write_text("nothing")
    stack = pw.open_stack("envi")
    assert [layer.date.year for layer in stack.layers] == [2001, 2002, 2003, 2004, 2005]
    assert np.array_equal(stack.read(stack.grid.block), VALUES)


def test_data_beside_the_header_of_another_program_are_no_raster() -> None:
    folder = Path("other")
    folder.mkdir()
    (folder / "x_2001.dat").write_bytes(b"data")
    (folder / "x_2001.hdr").write_text("NROWS 2")
    assert "no raster in this folder" in problem_of(folder)


# -------------------------------------------------------------------------------------------- without CRS


@pytest.mark.parametrize("bare", [[2002], [2000, 2001, 2003, 2004]])
@pytest.mark.parametrize("options", [{}, {"extent": "union"}, {"align": "with"}, {"align": "without"}])
def test_the_remedy_for_files_without_crs_works(
    make_stack: MakeStack, bare: list[int], options: dict[str, str]
) -> None:
    folder = make_stack(VALUES)
    for year in bare:
        write_raster(folder / f"ndvi_{year}.tif", VALUES[year - 2000], crs=None)
    known = next(year for year in range(2000, 2005) if year not in bare)
    files = {"with": known, "without": bare[0]}
    options = {name: str(folder / f"ndvi_{files[v]}.tif") if v in files else v for name, v in options.items()}
    for _ in range(len(bare)):
        problems = [text for text in problems_of(folder, **options) if "rio edit-info" in text]
        assert problems
        assert not any("--align FILE" in text for text in problems_of(folder, **options))
        rio(problems[0])
    stack = pw.open_stack(folder, **options)
    assert stack.grid.crs_name == "EPSG:32617"
    assert np.array_equal(stack.read(stack.grid.block), VALUES)


def test_masks_extents_and_further_inputs_without_crs(make_stack: MakeStack) -> None:
    folder = make_stack(VALUES)
    bare = make_stack((VALUES > 0.5).astype("uint8"), folder="bare", crs=None)
    one = bare / "ndvi_2000.tif"
    for options in ({"mask": str(bare), "mask_drop": 1}, {"extent": str(one)}, {"where": f"{one}=1"}):
        for _ in range(5):
            with pytest.raises(pw.InputError) as caught:
                pw.open_stack(folder, **options)
            rio(caught.value.problems[0])
            if "mask" not in options:
                break
        assert len(pw.open_stack(folder, **options)) == 5
        bare = make_stack((VALUES > 0.5).astype("uint8"), folder="bare", crs=None)
    with pytest.raises(pw.InputError) as caught:
        pw.apply(pw.open_stack(folder), "correlation", inputs={"other": pw.open_stack(bare)})
    for year in range(2000, 2005):
        rio(str(caught.value).replace("FILE", str(bare / f"ndvi_{year}.tif")))
    pw.apply(pw.open_stack(folder), "correlation", inputs={"other": pw.open_stack(bare)}, executor="inline")


def test_files_none_of_which_has_a_crs_are_a_stack(make_stack: MakeStack) -> None:
    assert pw.open_stack(make_stack(VALUES, crs=None)).grid.crs is None


# -------------------------------------------------------------------------------------------- names of one CRS


def test_files_with_two_names_of_one_crs_are_a_stack(make_stack: MakeStack) -> None:
    folder = make_stack(VALUES, crs="EPSG:3035")
    write_raster(folder / "ndvi_2002.tif", VALUES[2], crs="IGNF:ETRS89LAEA")
    stack = pw.open_stack(folder)
    assert stack.grid.crs_name == "EPSG:3035"
    assert np.array_equal(stack.read(stack.grid.block), VALUES)
    write_raster(folder / "ndvi_2002.tif", VALUES[2], crs="EPSG:3034")
    assert "CRS EPSG:3034 instead of EPSG:3035" in "".join(problems_of(folder))


# -------------------------------------------------------------------------------------------- cost


@pytest.mark.parametrize(
    "options", [[], ["--composite", "max", "--every", "year"], ["--mask", "masks", "--mask-drop", "1"]]
)
def test_a_plan_opens_each_file_once_for_its_sample(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    dates = [f"{year}{month:02d}15" for year in range(2001, 2006) for month in (6, 7, 8)]
    folder = make_stack(np.repeat(VALUES, 3, axis=0), times=dates)
    make_stack((np.repeat(VALUES, 3, axis=0) > 0.6).astype("uint8"), times=dates, folder="stack/../masks")
    opened: Counter[Path] = Counter()
    original = handles._open

    def counted(piece: Any, **more: Any) -> Any:
        opened[piece.path] += 1
        return original(piece, **more)

    monkeypatch.setattr(handles, "_open", counted)
    assert run("plan", folder, *options).exit_code == 0
    assert len(opened) == (30 if "--mask" in options else 15)
    # Those with which kernels are made ready are opened by GDAL as well, each time that a stack is read.
    assert sum(opened.values()) - len(opened) <= 8
    assert sorted(opened.values())[: len(opened) - 2] == [1] * (len(opened) - 2)
