"""Write the tables and charts of docs/performance.md from results.json: ``python benchmarks/report.py``.

The text between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is replaced, the rest of the document is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import measure

mpl.use("Agg")
import matplotlib.pyplot as plt

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
IMAGES = DOCUMENT.parent / "images"
TASKS = ("decode-only", "ols", "ols + write")

#: What is asked of the whole: (what, where it stands in the results, at least or at most, how much).
GOALS = (
    (
        "engine reading only / reference, tiled LZW",
        "pipeline/tile256-lzw, 3000² x 21/decode-only/ratio",
        "at most",
        1.05,
    ),
    (
        "engine reading only / reference, tiled DEFLATE",
        "pipeline/tile256-deflate-p2, 3000² x 21/decode-only/ratio",
        "at most",
        1.05,
    ),
    (
        "engine reading only / reference, DEFLATE strips",
        "pipeline/strips-deflate, 3000² x 21/decode-only/ratio",
        "at most",
        1.10,
    ),
    (
        "engine reading only / reference, LZW strips",
        "pipeline/strips-lzw, 3000² x 21/decode-only/ratio",
        "at most",
        1.10,
    ),
    (
        "ols, kept in memory / reference, tiled LZW",
        "pipeline/tile256-lzw, 3000² x 21/ols/ratio",
        "at most",
        1.25,
    ),
    (
        "ols, kept in memory / reference, tiled DEFLATE",
        "pipeline/tile256-deflate-p2, 3000² x 21/ols/ratio",
        "at most",
        1.25,
    ),
    (
        "whole job / reference, tiled LZW",
        "pipeline/tile256-lzw, 3000² x 21/ols + write/ratio",
        "at most",
        1.35,
    ),
    (
        "whole job / reference, tiled DEFLATE, predictor 2",
        "pipeline/tile256-deflate-p2, 3000² x 21/ols + write/ratio",
        "at most",
        1.40,
    ),
    (
        "whole job / reference, int16",
        "pipeline/int16-tile256-deflate-p2, 3000² x 21/ols + write/ratio",
        "at most",
        1.45,
    ),
    (
        "whole job / reference, ZSTD",
        "pipeline/tile512-zstd, 3000² x 21/ols + write/ratio",
        "at most",
        1.60,
    ),
    (
        "whole job / reference, 100 dates",
        "pipeline/tile256-deflate-p2, 3000² x 100/ols + write/ratio",
        "at most",
        1.30,
    ),
    (
        "21 bands, pixels interleaved / 21 files",
        "bands/bands-pixel/ols + write/ratio",
        "at most",
        1.10,
    ),
    (
        "21 bands, band by band / 21 files",
        "bands/bands-band/ols + write/ratio",
        "at most",
        1.10,
    ),
    (
        "job on 1 thread / on 2",
        "threads/tile256-lzw, 3000² x 21/1 thread/ratio",
        "at least",
        1.8,
    ),
    (
        "scipy loop, one process / whole job",
        "peers/scipy loop, 1 process/ratio",
        "at least",
        500,
    ),
    (
        "dask apply_ufunc / whole job",
        "peers/dask apply_ufunc/ratio",
        "at least",
        4,
    ),
    (
        "cdo trend / pixelwise with two bands",
        "peers/cdo trend/ratio",
        "at least",
        3,
    ),
    (
        "peak memory, 3000² x 21, MB",
        "memory/tile256-deflate-p2, 3000² x 21/peak_MB",
        "at most",
        400,
    ),
    (
        "kernel with gaps, Mpx/s",
        "kernel/5 % scattered gaps, with p-values/Mpx_per_s",
        "at least",
        25,
    ),
    (
        "kernel, complete, Mpx/s",
        "kernel/complete, with p-values/Mpx_per_s",
        "at least",
        35,
    ),
    *(
        (f"{case}, Mpx/s", f"methods/{case}/Mpx_per_s", "at least", goal)
        for case, goal in (
            ("theil_sen", 0.7),
            ("theil_sen, 200 layers", 0.01),
            ("mann_kendall s, z, p, ties", 15),
            ("harmonic 1", 5),
            ("robust huber", 0.2),
            ("contextual_mann_kendall s, z, p", 3),
        )
    ),
    (
        "IR-MAD, 50 000 pixels, 6 bands, s of a processor",
        "rectification/lines and standard errors/seconds",
        "at most",
        0.12,
    ),
    (
        "cold first call, s",
        "startup/cold first call/seconds",
        "at most",
        3,
    ),
    (
        "warm first call, s",
        "startup/warm first call/seconds",
        "at most",
        0.4,
    ),
)


def lookup(results: dict[str, Any], *keys: str) -> Any:
    """Follow keys; None where there is nothing."""
    found: Any = results
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def number(value: float) -> str:
    """Write a ratio or an amount with three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if 0.1 <= value < 10 else f"{value:.3g}"


def goals(results: dict[str, Any]) -> str:
    """Return what was asked and what was measured."""
    rows = []
    for what, where, comparison, goal in GOALS:
        *keys, value = where.split("/")
        row = lookup(results, *keys)
        if not isinstance(row, dict) or value not in row:
            continue
        measured = row[value]
        spread = f" ({number(row[f'{value}_min'])}..{number(row[f'{value}_max'])})" if f"{value}_min" in row else ""
        reached = measured <= goal if comparison == "at most" else measured >= goal
        rows.append((what, f"{comparison} {goal:g}", number(measured) + spread, "yes" if reached else "no"))
    return markdown(("", "goal", "measured (spread)", "reached"), rows)


def pipeline(results: dict[str, Any]) -> str:
    """Return ratios by layout."""
    rows = []
    for case, entries in sorted(results.get("pipeline", {}).items()):
        cells = [case, f"{entries['reference']['seconds']:.2f} s"]
        for task in TASKS:
            entry = entries[task]
            cells.append(f"{entry['ratio']:.2f} ({entry['ratio_min']:.2f}..{entry['ratio_max']:.2f})")
        rows.append(cells)
    return markdown(("stack", "reference", *TASKS), rows)


def bands(results: dict[str, Any]) -> str:
    """Return the cost of multi-band files."""
    rows = [
        (case, *(number(entries[task]["ratio"]) for task in ("decode-only", "ols + write")))
        for case, entries in sorted(results.get("bands", {}).items())
    ]
    return markdown(("21 dates in one file", "reading only / 21 files", "whole job / 21 files"), rows)


def peers(results: dict[str, Any]) -> str:
    """Return what others take."""
    rows = [
        (name, number(entry["seconds"]), number(entry["ratio"]), entry.get("note", ""))
        for name, entry in sorted(results.get("peers", {}).items(), key=lambda item: item[1].get("ratio") or 0)
        if isinstance(entry, dict) and entry.get("ratio")
    ]
    return markdown(("", "seconds", "x pixelwise", "note"), rows)


def memory(results: dict[str, Any]) -> str:
    """Return peaks, plans and limits."""
    rows = [
        (
            case, f"{entry['peak_MB']:.0f}", f"{entry['planned_MB']:.0f}",
            "" if entry["limit_MB"] is None else f"{entry['limit_MB']:.0f}", entry["block"],
            "together" if entry["team"] > 1 else "", f"{entry['redecode']:.2f}",
        )
        for case, entry in results.get("memory", {}).items()
    ]  # fmt: skip
    return markdown(("job", "peak MB", "planned", "limit", "block (width x height)", "team", "re-decode"), rows)


def methods(results: dict[str, Any]) -> str:
    """Return the speed of every method."""
    from kernel_methods import CASES

    found = results.get("methods", {})
    rows = [
        (name, case.layers, *(speed(found[name][key]) for key in ("Mpx_per_s", "slowest", "best")))
        for name, case in CASES.items()
        if name in found
    ]
    return markdown(("", "layers", "pixels per second", "slowest", "best"), rows)


def speed(millions: float) -> str:
    """Write pixels per second with three digits."""
    return f"{number(millions)} million" if millions >= 0.1 else f"{number(1000 * millions)} thousand"


def accessor(results: dict[str, Any]) -> str:
    """Return what the accessor on dask takes, beside the engine on the same store."""
    rows = [
        (
            case,
            f"{found['seconds']:.2f}",
            f"{found['ratio']:.2f} ({found['ratio_min']:.2f}..{found['ratio_max']:.2f})",
            f"{found['processor_ratio']:.2f}",
        )
        for case, found in results.get("accessor", {}).items()
    ]
    header = ("`ols` on 3000 x 3000 x 21 from Zarr, kept in memory", "seconds", "/ engine", "processor time / engine")
    return markdown(header, rows)


def others(results: dict[str, Any]) -> str:
    """Return kernel, start-up, threads and user functions."""
    rows = [(f"kernel: {name}", f"{entry['Mpx_per_s']:.1f} Mpx/s") for name, entry in results.get("kernel", {}).items()]
    rows += [
        (f"start: {name}", f"{entry['seconds']:.2f} s ({entry['min']:.2f}..{entry['max']:.2f})")
        for name, entry in results.get("startup", {}).items()
    ]
    for case, entries in results.get("threads", {}).items():
        rows += [
            (f"{name} / 2 threads: {case}", number(entries[name]["ratio"]))
            for name in ("1 thread", "1 worker")
            if name in entries
        ]
    entry = lookup(results, "user function", "1 processes")
    if entry:
        rows.append(("scipy function, 1 process / 2 processes", number(entry["ratio"])))
    return markdown(("", ""), rows)


def rectification(results: dict[str, Any]) -> str:
    """Return the processor time of one scene."""
    rows = [
        (name, *(f"{1000 * found[key]:.0f} ms" for key in ("seconds", "best", "slowest")), number(found["ratio"]))
        for name, found in results.get("rectification", {}).items()
    ]
    return markdown(("50 000 pixels, 6 bands", "processor time", "best", "slowest", "/ weights alone"), rows)


def arrays(results: dict[str, Any]) -> str:
    """Return what Zarr and NetCDF take beside GeoTIFF, and beside their own libraries."""
    rows: list[Sequence[object]] = []
    notes = [f"Measured on {machine(results, 'arrays')}"] if "arrays" in results else []
    for case, formats in results.get("arrays", {}).items():
        if case.endswith("cdo"):
            found = formats["cdo"]
            notes.append(
                f"`cdo trend` from the compressed NetCDF ({case.removesuffix(', cdo')}) takes {number(found['ratio'])} "
                "times as long as the whole job from Zarr "
                f"({number(found['ratio_min'])}..{number(found['ratio_max'])}): both as processes of their own, cdo "
                "with one thread and two bands, pixelwise with five bands and the start of Python and its libraries, "
                "which is about half of its time here."
            )
            continue
        for name, clocks in formats.items():
            spreads = [
                f"{found['ratio']:.2f} ({found['ratio_min']:.2f}..{found['ratio_max']:.2f})"
                for kind in ("own", "reading", "job")
                for found in (clocks["CPU"][kind],)
            ]
            rows.append((name, *spreads, f"{clocks['wall']['job']['ratio']:.2f}"))
    header = ("", "its library / rasterio", "reading / its library", "whole job / GeoTIFF", "the same, wall")
    return "\n\n".join([markdown(header, rows), *notes])


def machine(results: dict[str, Any], benchmark: str = "pipeline") -> str:
    """Say what a benchmark was measured on."""
    facts = results["machines"][benchmark]
    return (
        f"{facts['cores']} cores of {facts['cpu']}, {facts['memory_GiB']} GiB; Python {facts['python']}, NumPy "
        f"{facts['numpy']}, numba {facts['numba']}, rasterio {facts['rasterio']} with GDAL {facts['gdal']}."
    )


def draw_pipeline(results: dict[str, Any]) -> None:
    """Draw the ratios of each layout as groups of bars."""
    cases = {name: entries for name, entries in sorted(results["pipeline"].items()) if name.endswith("3000² x 21")}
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(cases) + 1.2), layout="constrained")
    colours = ("#9ecae1", "#4292c6", "#08519c")
    for k, (task, colour) in enumerate(zip(TASKS, colours, strict=True)):
        positions = [i + (1 - k) * 0.26 for i in range(len(cases))]
        ratios = [entries[task]["ratio"] for entries in cases.values()]
        axes.barh(positions, ratios, height=0.24, color=colour, label=task)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(cases)), [name.partition(",")[0] for name in cases])
    axes.set_xlabel("time / time to decode the files with plain rasterio")
    axes.legend(loc="upper right", fontsize=8)
    figure.savefig(IMAGES / "performance-pipeline.png", dpi=130)
    plt.close(figure)


def draw_peers(results: dict[str, Any]) -> None:
    """Draw how many times longer others take."""
    entries = sorted(
        ((name, entry["ratio"]) for name, entry in results["peers"].items() if entry.get("ratio")),
        key=lambda item: item[1],
    )
    figure, axes = plt.subplots(figsize=(8, 0.36 * len(entries) + 1), layout="constrained")
    axes.barh([name for name, _ in entries], [ratio for _, ratio in entries], color="#4292c6")
    for k, (_, ratio) in enumerate(entries):
        axes.text(ratio, k, f" {number(ratio)}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time / time of pixelwise (logarithmic)")
    axes.margins(x=0.12)
    figure.savefig(IMAGES / "performance-peers.png", dpi=130)
    plt.close(figure)


def engines(results: dict[str, Any]) -> str:
    """Return what jobs cost on each engine, and what tasks of Dask cost."""
    found = results["clusters"]
    rows = [
        (name, f"{case['ratio']:.2f}", f"{case['ratio_min']:.2f} to {case['ratio_max']:.2f}")
        for name, case in found["jobs"].items()
    ]
    header = ("`ols`, 3000 x 3000 x 100 (LZW), two workers", "processor time / threads", "spread")
    tasks, blocks = found["tasks"], found["blocks"]
    return (
        f"{markdown(header, rows)}\n\n"
        f"Processor time of parent, workers and scheduler together, medians of {found['jobs']['threads']['rounds']} "
        "rounds, measured by `benchmarks/clusters.py` on two cores. "
        f"{tasks['blocks']} tasks of one block each, of a job that weighs 1 MB, took {tasks['parent_ms']:.1f} ms of "
        f"the parent's processor time each; the parent grew by {tasks['parent_mb']:.0f} MB and the scheduler by "
        f"{tasks['scheduler_mb']:.0f} MB. In runs of blocks that last two seconds, {blocks['blocks']} blocks took "
        f"{blocks['parent_ms']:.2f} ms each and {blocks['seconds']:.0f} s in all."
    )


def outputs_at_scale(results: dict[str, Any]) -> str:
    """Return what the parent does for each format."""
    found = results["clusters"]["outputs"]
    rows = [
        (name, f"{found[file]['mb_per_parent_second']:.0f}", f"{found[file]['mpx_per_parent_second']:.0f}")
        for name, file in (("GeoTIFF", "trend.tif"), ("Zarr", "trend.zarr"))
    ]
    header = ("map from workers of Dask", "MB per second of the parent's processor time", "Mpx")
    return f"{markdown(header, rows)}\n\nMeasured with five bands of noise, which cannot be compressed."


def cost_model(results: dict[str, Any]) -> str:
    """Return the model of a job's cost, and what it foretells."""
    found = results["cost_model"]
    cases = {name: case for name, case in found.items() if isinstance(case, dict)}
    rows = [
        (name, f"{case['foretold']:.1f} s", f"{case['seconds']:.1f} s", f"{case['ratio']:.2f}")
        for name, case in cases.items()
    ]
    return (
        f"A job takes {found['start_seconds']:.1f} s of processor time to start, and "
        f"{found['nanoseconds_per_value']:.0f} ns for each value, which are pixels times dates: `ols` from LZW tiles "
        "of 256 x 256, on threads. Two small jobs gave both numbers; others were predicted by them "
        "(`benchmarks/cost_model.py`):\n\n" + markdown(("job", "predicted", "measured", "ratio"), rows)
    )


def main() -> None:
    """Replace the generated parts."""
    results = json.loads(measure.RESULTS.read_text())
    parts = (machine, goals, pipeline, arrays, bands, peers, memory, methods, rectification, others)
    measure.write_parts(DOCUMENT, {part.__name__: part(results) for part in parts})
    measure.write_parts(DOCUMENT.with_name("xarray.md"), {"accessor": accessor(results)})
    scale = (engines, outputs_at_scale, cost_model)
    measure.write_parts(DOCUMENT.with_name("scale.md"), {part.__name__: part(results) for part in scale})
    IMAGES.mkdir(exist_ok=True)
    draw_pipeline(results)
    if results.get("peers"):
        draw_peers(results)


if __name__ == "__main__":
    main()
