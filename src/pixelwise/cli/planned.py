"""What `plan` prints for people: a summary, the layers if asked, and what to look at last."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pixelwise.cli.report import clipped, emit
from pixelwise.words import width_by_height

__all__ = ["show"]


def show(report: dict[str, Any], *, layers: bool, method: str | None) -> None:
    """Print the report for people: problems and warnings last, where a reader sees them; all `layers` if asked.

    `method` says what is planned for; None for composites.
    """
    grid, time = report["grid"], report.get("time")
    if grid is not None:
        emit(f"grid      {width_by_height(grid['width'], grid['height'])}, {grid['crs'] or 'no CRS'}")
        if grid["evenly_spaced"]:
            emit(f"pixel     {words_of_pixels(grid)}")
    if time is not None:
        digits = 4 if time["precision"] == "year" else 10
        span = f"{time['first'][:digits]} .. {time['last'][:digits]}"
        emit(f"time      {time['layers']} layers, {span}, {describe_step(time)}")
    show_dates(report["layers"], listed=layers)
    for name, other in report.get("with", {}).items():
        emit(f"with      {name}: {other['words']}", lines=False)
    pairing = report.get("pairing")
    if pairing:
        emit(f"paired    {pairing['layers']} layers of each, by the {pairing['by']}")
        for name, runs in pairing["left_out"].items():
            emit(f"          left out of {name}: {', '.join(runs)}", lines=False)
    show_making(report)
    if method is not None:
        emit(f"method    {method}", lines=False)
    if report.get("needs"):
        emit(f"needed    {describe_needs(report['needs'])} for a result at a pixel")
    for kind, one in report.get("write", {}).items():
        emit(f"write     {kind}: {one['path']}" + (f" ({one['words']})" if "words" in one else ""), lines=False)
    if wanted := report.get("fdr"):
        rate = f"{wanted['method']}, q = {wanted['q']:.6g}"
        emit(f"adds      {' and '.join(wanted['bands'])}, from {wanted['pvalue']} ({rate})")
    if report["plan"] is not None:
        show_job(report["plan"])
    if layers and report["layers"]:
        emit()
        show_layers(report["layers"])
    for kind in ("problems", "warnings"):
        if report[kind]:
            emit(f"\n{len(report[kind])} {kind if len(report[kind]) > 1 else kind[:-1]}")
            for line in report[kind]:
                emit(f"  {clipped(line)}", lines=False)


def words_of_pixels(grid: dict[str, Any]) -> str:
    """Return the size of a pixel and the bounds of the grid."""
    across, down = grid["transform"][0], -grid["transform"][4]
    edges = ", ".join(f"{edge:.10g}" for edge in grid["bounds"])
    unit = {"": "", "metre": " m"}.get(grid["unit"], f" {grid['unit']}")
    return f"{across:.10g} x {down:.10g}{unit}; left, bottom, right, top: {edges}"


def show_dates(layers: list[dict[str, Any]], *, listed: bool) -> None:
    """Print how dates were found, with the first and the last as examples, and the files that have none."""
    dated = [layer for layer in layers if layer["date"] is not None]
    if dated:
        counts = Counter(layer["rule"] for layer in dated).most_common()
        rules = ", ".join(f"{count} by rule {rule}" for rule, count in counts)
        emit(f"dates     {rules}" + ("" if listed else "; --layers lists all"), lines=False)
        for word, layer in zip(("first", "last"), dated[:: max(len(dated) - 1, 1)], strict=False):
            band = f", band {layer['band']}" if layer["band"] not in (None, 1) else ""
            emit(f"          {word:5} {date_of(layer)}: {layer['paths'][0]}{band}", lines=False)
    for layer in layers:
        if layer["date"] is None:
            emit(f"no date   {layer['paths'][0]}", lines=False)


def show_layers(layers: list[dict[str, Any]]) -> None:
    """Print a table of all layers."""
    from pixelwise.rasters.nodata import spelled

    rows = [("file", "band", "date", "rule", "type", "nodata")]
    for layer in layers:
        more = f" (+{len(layer['paths']) - 1} pieces)" if len(layer["paths"]) > 1 else ""
        nodata = ",".join(spelled(float(value)) for value in layer.get("nodata", ())) or "-"
        band = str(layer["band"] or "-")
        rule, dtype = layer["rule"] or "-", layer.get("dtype", "-")
        rows.append((layer["paths"][0] + more, band, date_of(layer), rule, dtype, nodata))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        emit(line, lines=False)


def date_of(layer: dict[str, Any]) -> str:
    """Return the date of a layer, and no more than the year if only that is known."""
    found = layer["date"][:4] if layer["precision"] == "year" else layer["date"] or "?"
    return str(found)


def show_job(job: dict[str, Any]) -> None:
    """Print what is read, in which blocks, and how much memory that takes."""
    from pixelwise.jobs.plan import size_text

    emit(
        f"read      {size_text(job['file_bytes'])} in files, {size_text(job['bytes_to_read'])} decoded"
        + (f", parts of it repeatedly ({job['redecode']:.2f} times in all)" if job["redecode"] > 1.05 else "")
    )
    height, width = job["source_block"]
    emit(
        "blocks    "
        + (f"{job['touched']} of " if job["touched"] < job["blocks"] else "")
        + f"{job['blocks']} of {width_by_height(job['block_width'], job['block_height'])}; "
        + f"files have {width} x {height}; "
        + (f"{job['jobs']} at once" if job["team"] == 1 else f"one at a time, by {job['team']} threads")
    )
    of_each = " of each worker" if job["of_each_worker"] else ""
    emit(f"memory    about {size_text(job['memory_bytes'])}{of_each}")


def show_making(report: dict[str, Any]) -> None:
    """Print how layers are made from files, if there is more to it than reading them."""
    made, aligned = report.get("derivation", {}), report.get("aligned")
    if pieces := report.get("pieces"):
        each = f"{pieces['least']}" if pieces["least"] == pieces["most"] else f"{pieces['least']} to {pieces['most']}"
        emit(f"pieces    {pieces['files']} files, {each} for each date, joined")
    if given := report.get("crs"):
        emit(
            f"crs       {given['given']} is that of {given['files']} of {given['of']} files, which have none",
            lines=False,
        )
    if aligned:
        emit(
            f"aligned   {aligned['files']} of {aligned['of']} files to {aligned['to']}, {aligned['resampling']}",
            lines=False,
        )
    for text in words_of_alpha(report.get("alpha", [])):
        emit(f"alpha     {text}", lines=False)
    if arrays := report.get("arrays"):
        read = [", ".join(arrays["variables"]), *(f"{dim} {value}" for dim, value in arrays["select"].items())]
        read += [f"group {arrays['group']}"] * bool(arrays["group"])
        read += [f"calendar {arrays['calendar']}"] * (arrays["calendar"] != "standard")
        emit(f"variable  {'; '.join(read)}", lines=False)
    if "product" in made:
        emit(f"product   {made['product']}", lines=False)
    if report.get("sensors"):
        counts = [
            f"{year}: {', '.join(f'{sensor} {count}' for sensor, count in of_year.items())}"
            for year, of_year in report["sensors"].items()
        ]
        emit(f"sensors   {'; '.join(counts)}", lines=False)
    if report.get("gains"):
        emit(f"gains     {report['gains']['words']}", lines=False)
    if "formula" in made:
        emit(f"value     {made['formula']}", lines=False)
    for band, source, rule in made.get("masks", []):
        emit(f"mask      {band} {rule}" + ("" if source == rule else f": {source}"), lines=False)
    if report.get("masked") is not None:
        emit(f"dropped   {report['masked']:.0%} of sampled pixels by masks")
    composite = report.get("composite")
    if composite:
        least, most = min(composite["layers"]), max(composite["layers"])
        each = f"{least}" if least == most else f"{least} to {most}"
        given = composite.get("parameters", {}).get("parameters", {})
        how = composite["how"] + (f" ({', '.join(f'{key}={value}' for key, value in given.items())})" if given else "")
        emit(f"composite {how} of {each} layers each; {composite['unused']} layers are not used")
        for text in composite["dropped"]:
            emit(f"          left out as incomplete: {text}")
        if composite["empty"]:
            emit(f"          without a layer: {', '.join(composite['empty'])}")
    for name, part in report.get("area", {}).items():
        words = (
            f"{part['polygons']} polygon(s) of {part['source']}"
            if name == "region"
            else (f"{part['raster']} is {part['values']}")
        )
        emit(f"{name:9} {words}", lines=False)
    if report.get("clear"):
        clear = "; ".join(f"{label}: {count:.1f}" for label, count in report["clear"].items())
        emit(f"clear     scenes per sampled pixel: {clear}")


def words_of_alpha(alpha: list[dict[str, Any]]) -> list[str]:
    """Return what alpha bands are used for, in words, one line for each use."""
    meanings = {
        "data": "is read as data because it is named or dated",
        "mask": "says which pixels are missing; if it is data, name it (--band {band})",
        "none": "is not used; if it is data, name it (--band {band})",
    }
    files: dict[tuple[str, int], list[str]] = {}
    for one in alpha:
        files.setdefault((one["use"], one["band"]), []).append(one["path"])
    return [
        f"band {band} of {paths[0]}{f' and {len(paths) - 1} more files' if paths[1:] else ''} "
        f"{meanings[use].format(band=band)}"
        for (use, band), paths in files.items()
    ]


def describe_needs(needs: dict[str, Any]) -> str:
    """Return what the series of a pixel needs, in words."""
    words = [f"{needs['layers']} valid layers"] if "min_valid" in needs else []
    if "min_span" in needs:
        words.append(f"{100 * needs['min_span']:.10g} % of the time between the first and the last")
    return " and ".join(words)


def describe_step(time: dict[str, Any]) -> str:
    """Return how regular the dates are, in words."""
    if time["step"] is None:
        words = "irregular"
    elif time["missing_steps"]:
        gaps = "; ".join(f"{a} to {b}" for a, b in time["gaps_between"][:5])
        more = f" and {len(time['gaps_between']) - 5} more" if len(time["gaps_between"]) > 5 else ""
        words = f"every {time['step']}, {time['missing_steps']} missing (between {gaps}{more})"
    else:
        words = f"every {time['step']}, no gap"
    if time["duplicates"]:
        words += f", {len(time['duplicates'])} dates occur more than once ({', '.join(time['duplicates'][:5])})"
    return words
