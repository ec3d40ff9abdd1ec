"""The accessor on dask beside the engine, on the same Zarr store of 3000 x 3000 x 21, and what chunks cost.

Prints, for each case, median seconds and the ratio to the engine of the same round: ``ols`` with all bands kept in
memory, only its slope, and reading alone. Then how long dask takes to prepare, and to run, many tiny chunks: what the
accessor costs per chunk, whatever is in it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import dask.array
import measure
import numpy as np
import stacks
import xarray

import pixelwise as pw
import pixelwise.xarray

#: Tiny chunks of 16 x 16 pixels: the numbers of them that are prepared, and run.
CHUNKS = (1024, 5041, 19881)


def write_cube(folder: Path, size: int) -> Path:
    """Write 21 years in chunks of all dates x 256 x 256."""
    layers = np.stack([stacks.make_layer(size, index) for index in range(21)])
    layers[layers == stacks.NODATA] = np.nan
    coordinates = {
        "time": np.array([f"{year}-01-01" for year in range(1995, 2016)], "datetime64[ns]"),
        "y": 3399985 - 30.0 * np.arange(size),
        "x": 500015 + 30.0 * np.arange(size),
    }
    cube = xarray.DataArray(layers, coordinates, ("time", "y", "x"), "ndvi")
    path = folder / "cube.zarr"
    cube.to_dataset().to_zarr(path, encoding={"ndvi": {"chunks": (21, 256, 256)}}, consolidated=False)
    return path


def tiny(count: int) -> xarray.DataArray:
    """Return a lazy array of that many chunks."""
    edge = round(count**0.5)
    zeros = dask.array.zeros((21, 16 * edge, 16 * edge), chunks=(21, 16, 16), dtype="float32")
    return xarray.DataArray(zeros, {"time": np.arange(1995, 2016)}, ("time", "y", "x"))


def per_chunk(count: int) -> dict[str, float]:
    """Return seconds to prepare and to run a result of many chunks, and tasks for each."""
    lazy = tiny(count).pixelwise.apply("ols")
    began = time.perf_counter()
    (prepared,) = dask.optimize(lazy)
    tasks = len(dict(prepared.__dask_graph__()))
    prepared_after = time.perf_counter() - began
    began = time.perf_counter()
    prepared.compute()
    return {"prepare": prepared_after, "run": time.perf_counter() - began, "tasks": tasks / count}


def with_processor_time(task: Callable[[], object], spent: list[float]) -> None:
    """Run a task, and add the processor time of this process to those spent: others on the machine matter less."""
    began = time.process_time()
    task()
    spent.append(time.process_time() - began)


def main() -> None:
    """Alternate the engine and the accessor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = write_cube(Path(name), options.size)
        stack = pw.open_stack(path)
        array = xarray.open_zarr(path, chunks={}, consolidated=False)["ndvi"]

        def lazy(bands: list[str] | None) -> object:
            return array.pixelwise.apply("ols", bands=bands).compute()

        first = {"dtype": "float32", "chunks": (1, 1, 1), "meta": np.empty((0, 0, 0), "float32")}
        tasks = {
            "engine, all bands": partial(pw.apply, stack, "ols"),
            "accessor, all bands": partial(lazy, None),
            "engine, slope": partial(pw.apply, stack, "ols", bands=["slope"]),
            "accessor, slope": partial(lazy, ["slope"]),
            "dask, reading only": lambda: array.data.map_blocks(lambda block: block[:1, :1, :1], **first).compute(),
        }
        spent: dict[str, list[float]] = {name: [] for name in tasks}
        timed = {name: partial(with_processor_time, task, spent[name]) for name, task in tasks.items()}
        times = measure.alternate(timed, options.rounds)
    cases = {}
    for bands in ("all bands", "slope"):
        names = (f"engine, {bands}", f"accessor, {bands}", "dask, reading only")
        found = measure.compare({name: times[name] for name in names}, names[0])
        # Without the round that warms up.
        processor = measure.compare({name: spent[name][1:] for name in names}, names[0])
        for name in names:
            case = name if bands in name else f"{name}, beside {bands}"
            cases[case] = {**found[name], "processor_ratio": processor[name]["ratio"]}
    measure.save("accessor", cases)
    rows = [
        (name, f"{row['seconds']:.2f}", f"{row['ratio']:.2f}", f"{row['processor_ratio']:.2f}")
        for name, row in cases.items()
    ]
    print(measure.table(rows, ("", "seconds", "/ engine", "processor time / engine")))
    chunks = {f"{count} chunks": per_chunk(count) for count in CHUNKS}
    measure.save("accessor per chunk", chunks)
    rows = [(name, f"{c['prepare']:.1f}", f"{c['run']:.1f}", f"{c['tasks']:.0f}") for name, c in chunks.items()]
    print(measure.table(rows, ("", "prepare, s", "run, s", "tasks a chunk")))


if __name__ == "__main__":
    main()
