"""What the chunks of arrays cost is said before a job, with a line that really rewrites them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

import pixelwise as pw
from pixelwise.jobs.plan import Workers
from pixelwise.jobs.task import costs_of_chunks
from support.arrays import cube, write_zarr
from support.command_line import run
from support.rasters import random_series, read_all


def test_small_chunks_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_series((60, 20, 20))
    path = write_zarr(tmp_path / "a.zarr", cube(values), chunks=(1, 10, 10))
    stack = pw.open_stack(path)
    assert stack.layout.small_chunks == 60 * 4
    assert stack.take(range(30)).layout.small_chunks == 30 * 4
    monkeypatch.setattr("pixelwise.jobs.task.MANY_CHUNKS", 100)
    done = run("plan", path)
    assert done.exit_code == 0
    line = next(line for line in done.stdout.splitlines() if "take longer to find than to decode" in line)
    assert "240 chunks of 400 B take longer" in line
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", UserWarning)
        exec(line[line.index("xarray.open_dataset") :], {"xarray": xarray})
    np.testing.assert_array_equal(read_all(pw.open_stack(tmp_path / "a_chunked.zarr")), values)
    assert pw.open_stack(tmp_path / "a_chunked.zarr").layout.block_height == 20


def test_chunks_that_do_not_fit_into_memory(tmp_path: Path) -> None:
    values = random_series((200, 64, 64))
    stack = pw.open_stack(write_zarr(tmp_path / "a.zarr", cube(values), chunks=(1, 64, 64)))
    workers = Workers(memory=300 << 20)
    plan: Any = type("Plan", (), {"redecode": 4.0, "uncut": (594 << 20) - 1, "workers": workers})()
    [text] = costs_of_chunks(plan, (stack,))
    assert text.startswith(
        "with 300 MiB, each chunk is decoded 4 times; 594 MiB (--memory) avoids this, as does rewriting it in smaller"
    )
    plan.redecode = 1.0
    assert costs_of_chunks(plan, (stack,)) == []


def test_consecutive_steps_are_read_by_one_reader(tmp_path: Path) -> None:
    stack = pw.open_stack(write_zarr(tmp_path / "a.zarr", cube(random_series((40, 8, 8))), chunks=(3, 8, 8)))
    shares = [[band for read in reader.reads for band in read.bands] for reader in stack.readers(4, 10)]
    assert sorted(band for share in shares for band in share) == list(range(1, 41))
    for share in shares:
        assert share == list(range(share[0], share[-1] + 1))
        assert share[0] % 3 == 1  # no chunk is in two shares
