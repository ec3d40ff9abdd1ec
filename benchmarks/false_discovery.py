"""How often maps without any trend hold a significant pixel, and what adjusting p-values costs (docs/significance.md).

``python benchmarks/false_discovery.py [MAPS]`` simulates maps of 40 x 40 pixels of AR(1) noise without any trend, whose
pixels are independent or correlated in space, and prints in how many of them any pixel is significant. Then it prints
how much processor time it takes to read the p-values of a map of 4000 x 4000 pixels, and to adjust them.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
from affine import Affine
from numpy.typing import NDArray

import pixelwise as pw
from pixelwise.bands import Status
from pixelwise.choices import Correction
from pixelwise.grid import Grid
from pixelwise.maps.false_discovery import FalseDiscovery, adjust
from pixelwise.maps.map import Map

EDGE, SPIN_UP = 40, 50
METHODS: dict[str, Any] = {"ols": pw.methods.ols(), "trend": pw.methods.trend()}


def noise(random: np.random.Generator, years: int, phi: float, scale: float) -> NDArray[np.float64]:
    """Return (year, y, x) AR(1) noise, smoothed in space by a Gaussian of `scale` pixels, 0 for none."""
    white = random.normal(size=(years + SPIN_UP, EDGE, EDGE))
    if scale:
        frequencies = np.fft.fftfreq(EDGE)[:, None] ** 2 + np.fft.fftfreq(EDGE)[None] ** 2
        white = np.fft.ifft2(np.fft.fft2(white) * np.exp(-2 * (np.pi * scale) ** 2 * frequencies)).real
    for year in range(1, len(white)):
        white[year] += phi * white[year - 1]
    return white[SPIN_UP:]


def simulate(maps: int) -> None:
    """Print the shares of maps and pixels that are significant although there is nothing."""
    print("| years | phi | scale | method | p < 0.05 | p < 0.0001 | maps with q <= 0.1 | by | pixels with q <= 0.1 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    grid = Grid(None, Affine.identity(), EDGE, EDGE)
    for years, phi, scale in itertools.product((21, 41), (0.0, 0.4), (0.0, 3.0, 8.0)):
        random = np.random.default_rng(17)
        below = {name: np.zeros(3) for name in METHODS}
        found = {(name, how): 0 for name in METHODS for how in get_args(Correction)}
        for _ in range(maps):
            series = noise(random, years, phi, scale).reshape(years, -1)
            for name, method in METHODS.items():
                answer = method(series, np.arange(years) + 1980.0)
                pvalues = np.where(answer["status"] == Status.OK, answer["pvalue"], np.nan).astype("float32")
                map_ = Map(grid, (pw.Band("p", kind="test"),), arrays={"p": pvalues.reshape(EDGE, EDGE)})
                counts = {
                    how: pw.fdr(map_, 0.1, method=how).provenance["fdr"]["rejected"] for how in get_args(Correction)
                }
                for how, count in counts.items():
                    found[name, how] += count > 0
                below[name] += [*(np.nanmean(pvalues < limit) for limit in (0.05, 0.0001)), counts["bh"] / EDGE**2]
        for name in METHODS:
            usual, tail, kept = 100 * below[name] / maps
            shares = " | ".join(f"{100 * found[name, how] / maps:.0f} %" for how in get_args(Correction))
            row = f"| {years} | {phi:g} | {scale:g} px | {name} | {usual:.1f} % | {tail:.3f} % |"
            print(f"{row} {shares} | {kept:.2f} % |", flush=True)


def measure(edge: int = 4000) -> None:
    """Print how long it takes to read p-values, to adjust them, and to write the map with q-values."""
    random = np.random.default_rng(0)
    pvalues = random.random((edge, edge), dtype="float32")
    pvalues[: edge // 10] **= 6
    grid = Grid(None, Affine(30, 0, 0, 0, -30, 0), edge, edge)
    bands = (pw.Band("slope", kind="change", pvalue="pvalue"), pw.Band("pvalue", kind="test"))
    further = {f"b{number}": random.random((edge, edge), dtype="float32") for number in range(3)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tif"
        arrays = {"slope": pvalues - 0.5, "pvalue": pvalues, **further}
        pw.fdr(Map(grid, (*bands, *map(pw.Band, further)), arrays=arrays), 0.1, output=path)
        map_ = pw.open_map(path)
        bands = tuple(band for band in map_.bands if band.name not in ("qvalue", "significant"))
        for _ in range(3):
            times = [time.process_time()]
            for block in map_.blocks():
                map_.read("pvalue", block)
            times.append(time.process_time())
            with adjust(grid, bands, map_.read, FalseDiscovery(0.1), pvalue="pvalue", folder=Path(folder)):
                times.append(time.process_time())
            pw.fdr(Map(grid, bands, files=map_.files), 0.1, output=Path(folder) / "o.tif", overwrite=True)
            times.append(time.process_time())
            read, adjusted, whole = np.diff(times) / edge**2 * 1e9
            print(f"read {read:.0f} ns, adjust {adjusted:.0f} ns, all of fdr {whole:.0f} ns per pixel", flush=True)


if __name__ == "__main__":
    simulate(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    measure()
