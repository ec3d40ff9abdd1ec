"""How a job is cut into blocks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.errors import ParameterError
from pixelwise.grid import Grid
from pixelwise.jobs.limits import Limits
from pixelwise.jobs.plan import Demand, OutputDemand, Plan, Workers, make_plan, parse_size, redecode, size_text
from pixelwise.stacks.raster import Layout

TRANSFORM = Affine(30, 0, 0, 0, -30, 0)


def cut(grid: Grid, demand: Demand, **options: Any) -> Plan:
    """Plan a job by its options, whichever part of it each describes."""
    output = {name: options.pop(name) for name in ("bands", "in_memory") if name in options}
    options["threads"] = options.pop("jobs", 1)
    return make_plan(grid, [demand], OutputDemand(**output), Workers(**options), Limits())


def plan(height: int, width: int, source: tuple[int, int], layers: int = 21, **options: Any) -> Plan:
    demand = Demand(layers, Layout(*source, itemsize=4))
    return cut(Grid(None, TRANSFORM, height, width), demand, **{"bands": 8, "jobs": 2, **options})


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    source=st.tuples(st.integers(1, 600), st.integers(1, 4000)),
    layers=st.integers(2, 1000),
    jobs=st.integers(1, 16),
)
def test_blocks_are_whole_output_tiles(
    height: int, width: int, source: tuple[int, int], layers: int, jobs: int
) -> None:
    source = (min(source[0], height), min(source[1], width))
    made = plan(height, width, source, layers, jobs=jobs)
    assert sum(block.pixels for block in made.blocks()) == height * width
    assert len(made) == len(list(made.blocks()))
    for block, tile, size in (
        (made.block_height, made.tile_height, height),
        (made.block_width, made.tile_width, width),
    ):
        assert tile % 16 == 0
        assert block % tile == 0 or block >= size
    assert made.redecode >= 1


@pytest.mark.parametrize("tile", [128, 256, 512])
def test_tiles_are_never_cut(tile: int) -> None:
    made = plan(3000, 3000, (tile, tile))
    assert made.block_height % tile == 0
    assert made.block_width % tile == 0 or made.block_width == 3000
    assert made.redecode == 1


@pytest.mark.parametrize("rows", [1, 2, 4, 16, 28])
def test_strips_are_read_in_full_width(rows: int) -> None:
    made = plan(3000, 3000, (rows, 3000))
    assert made.block_width == 3000
    assert made.block_height % rows == 0
    assert made.redecode == 1


def test_a_raster_in_one_source_block_is_one_block() -> None:
    made = plan(144, 254, (144, 254), layers=23)
    assert (made.block_height, made.block_width, len(made)) == (144, 254, 1)


def test_every_worker_gets_some_blocks() -> None:
    assert len(plan(853, 856, (2, 856))) >= 8


def test_many_dates_cut_source_blocks_and_say_so() -> None:
    whole = plan(2048, 2048, (512, 512), layers=1000, jobs=1, memory=2 << 30)
    assert (whole.block_height, whole.block_width, whole.redecode) == (512, 512, 1)
    cut = plan(2048, 2048, (512, 512), layers=1000, jobs=1, memory=1 << 30)
    assert (cut.block_height, cut.block_width) == (256, 512)
    assert cut.redecode == 2


GIB = 1 << 30


def stored(edge: int, layers: int, size: int = 2048, **options: Any) -> Plan:
    """Plan for as many float32 files in square tiles, of which GDAL keeps half a tile each."""
    layout = Layout(
        edge, edge, itemsize=4, sources=layers, block_bytes=edge * edge * 4,
        open_file_bytes=edge * edge * 2, scratch_bytes_per_pixel=0,
    )  # fmt: skip
    arguments = {"bands": 6, "jobs": 2, "teamwork": True, **options}
    return cut(Grid(None, TRANSFORM, size, size), Demand(layers, layout), **arguments)


def test_few_dates_give_each_worker_its_own_blocks() -> None:
    made = stored(256, 21)
    assert (made.team, made.limit, made.handles, made.redecode) == (1, 4, 21, 1)


def test_many_dates_make_a_team_instead_of_cutting_source_blocks() -> None:
    made = stored(256, 1000)
    assert (made.block_height, made.block_width, made.team, made.redecode) == (256, 256, 2, 1)
    assert (made.limit, made.handles) == (2, 500)  # each file is open once
    alone = stored(256, 1000, teamwork=False)
    assert (alone.team, alone.handles) == (1, 1000)
    assert alone.memory > made.memory + 256 * 256 * 4 * 1000


def test_tight_memory_makes_a_team_before_it_opens_files_again() -> None:
    free = stored(256, 150, jobs=16)
    assert free.team == 1
    tight = stored(256, 150, jobs=16, memory=GIB)
    assert free.memory > GIB >= tight.memory
    assert (tight.team, tight.handles, tight.redecode) == (16, 10, 1)


def test_one_worker_is_no_team() -> None:
    assert stored(256, 1000, jobs=1).team == 1


def test_tight_memory_opens_files_again_before_it_cuts_source_blocks() -> None:
    free = stored(512, 1000)
    assert free.handles == 500
    tight = stored(512, 1000, memory=free.memory - (200 << 20))
    assert tight.redecode == 1
    assert tight.handles < free.handles
    assert tight.memory <= free.memory - (200 << 20)
    cut = stored(512, 1000, memory=GIB)
    assert cut.redecode == 2
    assert cut.memory <= GIB
    assert stored(512, 1000, memory=cut.uncut).redecode == 1
    assert stored(512, 1000, memory=cut.uncut - 1).redecode == 2
    assert tight.uncut == 0


@given(
    edge=st.sampled_from([128, 256, 512]),
    layers=st.integers(2, 3000),
    jobs=st.integers(1, 16),
    teamwork=st.booleans(),
    memory=st.integers(GIB, 8 * GIB),
)
def test_memory_is_a_promise(edge: int, layers: int, jobs: int, teamwork: bool, memory: int) -> None:
    try:
        made = stored(edge, layers, jobs=jobs, teamwork=teamwork, memory=memory)
    except ParameterError:  # refused before it starts
        return
    assert made.memory <= memory


def test_a_map_in_memory_does_not_make_blocks_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.jobs.plan.allowed_memory", lambda: 2 * GIB)
    kept, written = stored(256, 21, size=9000, in_memory=True), stored(256, 21, size=9000)
    assert (kept.block_height, kept.block_width) == (written.block_height, written.block_width)


def test_many_bands_make_smaller_blocks() -> None:
    few, many = plan(3000, 3000, (256, 256)), plan(3000, 3000, (256, 256), bands=200)
    assert many.block_height * many.block_width < few.block_height * few.block_width
    assert many.memory < 3 * few.memory


@pytest.mark.parametrize(
    ("size", "block", "source", "expected"),
    [(100, 10, 10, 1.0), (100, 5, 10, 2.0), (100, 15, 10, 1.3), (95, 100, 10, 1.0), (30, 7, 30, 5.0)],
)
def test_redecode(size: int, block: int, source: int, expected: float) -> None:
    assert math.isclose(redecode(size, block, source), expected)


def test_memory_shrinks_blocks_until_it_is_impossible() -> None:
    free = plan(3000, 3000, (256, 256), layers=100)
    tight = plan(3000, 3000, (256, 256), layers=100, memory=340 << 20)
    assert tight.block_height * tight.block_width < free.block_height * free.block_width
    assert tight.memory <= 340 << 20
    message = r"memory 240 MiB is too little: 2 workers with 100 layers need at least"
    with pytest.raises(ParameterError, match=message):
        plan(3000, 3000, (256, 256), layers=100, memory=240 << 20)


def test_memory_counts_what_gdal_decodes_at_once() -> None:
    # 5 x 5 pixels of 275 bands in pixel-interleaved tiles of 512 x 512: 288 MB for one window.
    demand = Demand(275, Layout(5, 5, itemsize=4, sources=1, block_bytes=512 * 512 * 4 * 275))
    made = cut(Grid(None, TRANSFORM, 5, 5), demand, bands=8, jobs=1)
    assert made.memory > 512 * 512 * 4 * 275 + (200 << 20)


@given(count=st.integers(1, 3000), threads=st.integers(1, 8), size=st.integers(1, 30000), layers=st.integers(2, 1000))
def test_blocks_of_a_cluster_do_not_depend_on_the_number_of_workers(
    count: int, threads: int, size: int, layers: int
) -> None:
    one = stored(512, layers, size=size, jobs=threads, local=False, teamwork=False)
    many = stored(512, layers, size=size, jobs=threads, count=count, local=False, teamwork=False)
    assert replace(many, workers=one.workers, limit=one.limit) == one
    assert many.jobs == count * threads


@pytest.mark.parametrize("count", [32, 100, 500])
def test_a_continent_is_decoded_once(count: int) -> None:
    """20 000 x 20 000 x 100 in tiles of 512, and a continent of 1 000 dates, with up to 1 000 blocks in flight.

    Planned as if all blocks were in the memory of this machine, tiles were decoded up to 127 times.
    """
    for size, layers in ((20_000, 100), (100_000, 1_000)):
        made = stored(512, layers, size=size, jobs=1, count=count, local=False, memory=4 * GIB, teamwork=False)
        assert made.redecode == 1
        assert made.limit == 2 * count
        assert made.memory < 4 * GIB


def test_a_worker_with_too_little_memory_is_named() -> None:
    with pytest.raises(ParameterError, match=r"^a worker may use 200 MiB, which is too little: 2 threads "):
        stored(512, 100, count=7, local=False, memory=200 << 20)


def test_memory_counts_processes_and_a_map_in_memory() -> None:
    base = plan(1000, 1000, (256, 256)).memory
    assert plan(1000, 1000, (256, 256), jobs=1, count=2, beside=True).memory - base == 2 * (296 << 20)
    kept, blocks = plan(1000, 1000, (256, 256), in_memory=True), 2 * 256 * 256
    # Nothing is encoded, of which three copies live at once.
    assert kept.memory - base == 1000 * 1000 * 8 * 4 - blocks * 3 * 8 * 4


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 4 << 30), ("500 MB", 500_000_000), ("1.5g", 1_500_000_000), (1024, 1024), ("64KiB", 65536)],
)
def test_parse_size(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "four", "4XB", "-1", "GiB"])
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(100, "100 B"), (2048, "2 KiB"), (5 << 20, "5.0 MiB"), (268 << 20, "268 MiB"), (3 << 40, "3072 GiB")],
)
def test_size_text(size: int, text: str) -> None:
    assert size_text(size) == text
