"""Blocks that do not fit into memory: refused by what headers say, before anything is read."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import pixelwise as pw
from pixelwise.jobs import plan as plan_module
from pixelwise.jobs import task
from pixelwise.jobs.execution import Execution
from pixelwise.rasters.handles import largest_behind
from pixelwise.stacks.base import layout_of
from pixelwise.verify.compare import verify
from support.rasters import write_raster
from support.tiffs import write_tiff

EDGE = 100_000
COMMON: dict[int, list[Any]] = {258: [8], 262: [1], 277: [1], 339: [1]}
#: 2 MB of zeros: what 2 GB of them are as a DEFLATE stream.
SMALL = bytes(2 << 20)


def huge(path: Path, compression: int = 8, edge: int = EDGE, stream: bytes = SMALL, *, tiled: bool = True) -> Path:
    tags = {**COMMON, 256: [edge], 257: [edge], 259: [compression]}
    write_tiff(path, "<", [stream], {**tags, **({322: [edge], 323: [edge]} if tiled else {278: [edge]})})
    return path


def folder_of(folder: Path, compression: int) -> Path:
    for year in (2000, 2001, 2002):
        huge(folder / f"a_{year}.tif", compression)
    return folder


def in_child(*arguments: object) -> tuple[int, str, float]:
    """Run a command with little memory; return its status, its last lines and its peak in MB."""
    code = (
        "import re, sys; from pathlib import Path; from pixelwise.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        # Not ru_maxrss, which begins with what the parent has.
        "    peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "    print('peak', int(peak) / 1024, file=sys.stderr)"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))

    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=100, check=False, preexec_fn=limit,
    )  # fmt: skip
    text = done.stdout + done.stderr
    return done.returncode, text, float(text.split("peak ")[1].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks as Linux has them")
def test_no_command_reads_what_cannot_fit(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", 8)
    output = tmp_path / "o.tif"
    for arguments in (
        ("plan", source, "--memory", "8GiB"),
        ("apply", "ols", source, "-o", output, "--memory", "8GiB"),
        ("composite", source, "--composite", "median", "-o", output, "--memory", "8GiB"),
    ):
        status, text, peak = in_child(*arguments)
        assert status == 1
        assert "a_2000.tif: one block of it takes 9.3 GiB when decoded" in text, text
        assert "rio convert" in text
        assert peak < 400
        assert not output.exists()


@pytest.mark.parametrize("compression", [8, 5, 50000], ids=["deflate", "lzw", "zstd"])
def test_python_refuses_it_too(tmp_path: Path, compression: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "free_memory", lambda: 16 << 30)
    stack = pw.open_stack(folder_of(tmp_path / "in", compression))
    words = r"a_2000\.tif: one block of it takes 9\.3 GiB when decoded.* 9\.6 GiB of memory, but only "
    with pytest.raises(pw.InputError, match=words + r"8\.0 GiB may be used \(half of what is free; --memory"):
        pw.apply(stack, "ols", tmp_path / "o.tif")
    with pytest.raises(pw.InputError, match=words + r"9\.0 GiB may be used; rewrite the file"):
        pw.apply(stack, "ols", memory="9GiB")
    with pytest.raises(pw.InputError, match=words):
        pw.write_layers(stack, tmp_path / "o.tif")
    pairs = pw.open_stack([write_raster(tmp_path / f"b_{y}.tif", np.ones((9, 9))) for y in (2000, 2001, 2002)])
    assert layout_of(pairs).block_bytes < 1 << 20


@pytest.mark.parametrize("kind", ["vrt", "mask", "mask beside"])
def test_blocks_that_bands_do_not_show(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a VRT's source and of masks, which GDAL decodes too."""
    for year in (2000, 2001, 2002):
        path = tmp_path / f"a_{year}.tif"
        if kind == "vrt":
            source = huge(tmp_path / "behind" / f"a_{year}.tif", edge=40_000)
            path = tmp_path / f"a_{year}.vrt"
            path.write_text(
                f'<VRTDataset rasterXSize="40000" rasterYSize="40000"><VRTRasterBand dataType="Byte" band="1">'
                f'<SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand>'
                "</SimpleSource></VRTRasterBand></VRTDataset>"
            )
        elif kind == "mask":
            rows = [zlib.compress(bytes(40_000))] * 40
            tags = {**COMMON, 256: [40_000], 257: [40], 278: [1], 259: [8]}
            mask_tags = {**COMMON, 254: [4], 258: [1], 262: [4], 256: [40_000], 257: [40], 278: [40], 259: [8]}
            write_tiff(path, "<", rows, tags, [zlib.compress(bytes(200_000))], mask_tags)
        else:
            write_raster(path, np.ones((40, 4000), "uint8"))
            with rasterio.open(
                f"{path}.msk",
                "w",
                driver="GTiff",
                height=40,
                width=4000,
                count=1,
                dtype="uint8",
                blockysize=40,
                transform=rasterio.Affine(1, 0, 9, 0, -1, 9),
            ) as mask:
                mask.update_tags(INTERNAL_MASK_FLAGS_1="2")
                mask.write(np.full((1, 40, 4000), 255, "uint8"))
    expected = {"vrt": 40_000 * 40_000, "mask": 40 * 40_000, "mask beside": 40 * 4000}[kind]
    assert largest_behind(path) == expected
    stack = pw.open_stack([tmp_path / f"a_{year}{path.suffix}" for year in (2000, 2001, 2002)])
    assert layout_of(stack).block_bytes == expected
    if kind == "vrt":
        with pytest.raises(pw.InputError, match=r"a_2000\.vrt: one block of it takes 1\.5 GiB when decoded"):
            pw.apply(stack, "ols", memory="1GiB")


def test_a_strip_that_is_shown_as_rows_counts(tmp_path: Path) -> None:
    """GDAL shows one strip of more than 2000 rows as single rows; up to 16 MiB it is decoded whole here."""
    for rows, expected in ((2001, 2001 * 50), (2000, 2000 * 50)):
        for year in (2000, 2001):
            path = tmp_path / str(rows) / f"a_{year}.tif"
            write_raster(path, np.ones((rows, 50), "uint8"), compress="lzw", blockysize=rows)
        assert layout_of(pw.open_stack(path.parent)).block_bytes == expected
        assert largest_behind(path) == (expected if rows > 2000 else 0)
    assert largest_behind(write_raster(tmp_path / "b.tif", np.ones((2001, 50), "uint8"), blockysize=2001)) == 0


def test_what_fits_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of one large strip are common; there are as many workers as have memory for one each."""
    rows, width = 1900, 10_000
    for year in (2000, 2001, 2002):
        values = np.full((rows, width), year - 1999, "uint8")
        path = write_raster(tmp_path / "in" / f"a_{year}.tif", values, compress="deflate", blockysize=rows)
    stack = pw.open_stack(tmp_path / "in")
    assert layout_of(stack).block_bytes == rows * width
    assert largest_behind(path) == 0
    for module in (plan_module, task):
        monkeypatch.setattr(module, "free_memory", lambda: 4 * rows * width)
    monkeypatch.setattr(task, "usable_cores", lambda: 5)
    bound = pw.methods.ols().bind(stack.axis, None, {})
    assert task.plan_job((stack,), bound, Execution()).jobs == 2
    with pytest.raises(pw.InputError, match=r"a_2000\.tif: one block of it takes 18\.1 MiB"):
        task.check_memory((stack,), Execution())
    monkeypatch.setattr(plan_module, "free_memory", lambda: 4 << 30)
    task.check_memory((stack,), Execution())
    assert pw.apply(stack, "ols", bands=["slope"])["slope"][0, 0] == 1


def test_verify_refuses_what_is_behind(tmp_path: Path) -> None:
    for year in (2000, 2001, 2002):
        write_raster(tmp_path / "in" / f"a_{year}.tif", np.ones((20, 20), "uint8"))
    pw.apply(pw.open_stack(tmp_path / "in"), "ols", tmp_path / "map.tif")
    assert not verify(tmp_path / "map.tif").differing
    for year in (2000, 2001, 2002):
        path = tmp_path / "in" / f"a_{year}.tif"
        tags = {**COMMON, 256: [20], 257: [20], 259: [1], 278: [20]}
        mask_tags = {**COMMON, 254: [4], 262: [4], 256: [20], 257: [20], 259: [8], 322: [50_000], 323: [50_000]}
        write_tiff(path, "<", [bytes(400)], tags, [zlib.compress(bytes(20))], mask_tags)
    assert largest_behind(path) == 50_000**2
    with pytest.raises(pw.InputError, match=r"a_2000\.tif"):
        verify(tmp_path / "map.tif")
