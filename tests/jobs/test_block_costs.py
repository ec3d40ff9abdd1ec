"""A memory limit that makes a job decode blocks repeatedly is warned of, with the limit that avoids it."""

import re
from pathlib import Path

import numpy as np

from support.command_line import run
from support.rasters import write_raster

WARNING = r"with (\d+) MiB, each block of the files is decoded ([\d.]+) times; (\d+) MiB \(--memory\) avoids this"


def test_blocks_that_are_decoded_repeatedly(tmp_path: Path) -> None:
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "lzw"}
    for year in range(2000, 2010):
        write_raster(tmp_path / f"in/{year}.tif", np.full((512, 512), year % 7, "uint8"), **tiles)
    words = [tmp_path / "in", "--jobs", 1, "--memory"]
    least = re.search(r"needs at least (\d+) MiB", run("plan", *words, "100MiB").output)
    assert least is not None
    told = re.search(WARNING, run("plan", *words, f"{least[1]}MiB").output)
    assert told is not None
    assert told[1] == least[1]
    assert float(told[2]) > 8
    enough = run("plan", *words, f"{told[3]}MiB")
    assert enough.exit_code == 0
    assert "decoded repeatedly" not in enough.output
    assert "avoids this" not in enough.output
    made = run("apply", "ols", *words, f"{least[1]}MiB", "-o", tmp_path / "o.tif")
    assert made.exit_code == 0, made.output
    again = re.search(WARNING, made.stderr)
    assert again is not None
    assert int(again[3]) >= int(told[3]) - 50
    assert "avoids this" in run("info", tmp_path / "o.tif").stdout
