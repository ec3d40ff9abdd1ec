"""The page: what is in it, put into its template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise._version import __version__
from pixelwise.bands import STATUS_BAND, STATUS_WORDS, Status
from pixelwise.maps.info import MapInfo, info_of
from pixelwise.maps.map import Map
from pixelwise.methods import METHODS
from pixelwise.methods.description import describe
from pixelwise.pictures.captions import heading, layers_of, period
from pixelwise.pictures.drawing import Histogram, Panel
from pixelwise.pictures.numbers import percent, square_kilometres
from pixelwise.pictures.palettes import MISSING_COLOR
from pixelwise.pictures.paper import histogram_of
from pixelwise.pictures.picture import panel_of
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.scheme import CONSTANT, TestScheme
from pixelwise.pictures.tally import Tally
from pixelwise.report.adjusted import adjusted_tally
from pixelwise.report.figures import components_of, histogram_figure, map_figure, resources, series_figure
from pixelwise.report.samples import Sample

__all__ = ["page_of"]

MOVES = (
    ("in", "Zoom in"), ("out", "Zoom out"), ("left", "Left"), ("right", "Right"), ("up", "Up"), ("down", "Down"),
    ("all", "Whole map"),
)  # fmt: skip

#: Bars of the histogram of p-values: one to a step of 0.05.
P_BARS = 20

#: What each status means to a reader, beyond its name.
MEANINGS = {
    Status.OK: "the method has an answer",
    Status.NO_OBSERVATION: "no layer has a value here: water, clouds, outside of the images",
    Status.TOO_FEW: "fewer values than the method needs (min_obs), or than was asked for",
    Status.CONSTANT: "all values are equal: there is no change, and nothing to test",
    Status.DEGENERATE: "the values leave the answer open, such as all on one date",
    Status.FUNCTION_FAILED: "the function raised an error, or returned no number",
    Status.TEST_UNDEFINED: "there is an answer, but no p-value: these pixels are not tested",
    Status.TRUNCATED: "the answer stopped at a limit of the method",
    Status.DATES_LOST: "some dates could not be read, and the answer is that of the others",
    Status.OUTSIDE: "not asked for",
}


def page_of(map_: Map, samples: Sequence[Sample] = (), *, no_samples: str = "") -> str:
    """Return a map as one page of HTML that needs nothing else.

    Parameters
    ----------
    map_
        What `open_map` returned.
    samples
        Pixels whose series can be looked at.
    no_samples
        Why there are no samples.

    Raises
    ------
    ParameterError
        When a package is missing.
    InputError
        When the map cannot be read.
    """
    import jinja2

    band = next((one for one in map_.bands if one.name != STATUS_BAND.name), map_.bands[0])
    # Raw classes first; adjusted ones are beside them.
    panel = panel_of(map_, band.name, pvalue=band.pvalue if band.pvalue in map_ else None)
    info = info_of(map_)
    adjusted = adjusted_tally(map_, band)
    title, subtitle = heading(map_, band)
    pvalues = _pvalues(map_, panel)
    figures: dict[str, Any] = {"map": map_figure(panel, samples)}
    figures["values"] = histogram_figure(histogram_of(map_, band.name), "Values")
    if pvalues is not None:
        figures["pvalues"] = histogram_figure(pvalues, "P-values", expected=1 / P_BARS)
    if samples:
        figures["series"] = series_figure(samples, _label(map_))
    script, elements = components_of(figures)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("page.html.jinja").read_text("utf-8"))
    safe = jinja2.filters.do_mark_safe
    return template.render(
        version=__version__,
        title=title,
        subtitle=subtitle,
        resources=safe(resources()),
        script=safe(script),
        elements={name: safe(text) for name, text in elements.items()} | _absent(figures),
        moves=MOVES,
        **_legend(panel),
        **_areas(panel.tally, adjusted),
        histogram_notes=_histogram_notes(pvalues is not None),
        samples=[one.as_dict() for one in samples],
        no_samples=no_samples or "No pixels were chosen.",
        tables=_tables(map_, info),
        warnings=info.warnings,
        paragraph=_paragraph(map_, panel, adjusted),
        method=_method(map_),
        facts=list(info.facts.items()),
        provenance=json.dumps(info.provenance, indent=1, ensure_ascii=False, default=str),
        data=safe(_script_json({"samples": [one.as_dict() for one in samples]})),
    )


def _absent(figures: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" for name in ("pvalues", "series") if name not in figures}


def _script_json(data: Any) -> str:
    """Return JSON that cannot end the script element that it is in."""
    return json.dumps(data).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _label(map_: Map) -> str:
    return quantity(map_) or "value"


def _legend(panel: Panel) -> dict[str, Any]:
    tally = panel.tally
    entries = [
        {"label": one.label, "color": one.color, "code": code, "amount": _amount(tally, code)}
        for code, one in enumerate(tally.scheme.classes)
        if tally.pixels[code] or not one.optional
    ][::-1]
    if tally.missing_pixels:
        amount = percent(tally.missing) + ("" if tally.km2 is None else f", {square_kilometres(tally.missing_km2)}")
        code = len(tally.scheme.classes)
        entries.append({"label": "missing", "color": MISSING_COLOR, "code": code, "amount": amount})
    note = "Areas are on the ellipsoid." if tally.km2 is not None else "Shares are those of pixels: areas are unknown."
    return {"legend": entries, "legend_title": panel.name.replace("\n", "; "), "map_note": note}


def _amount(tally: Tally, code: int) -> str:
    share = percent(float(tally.shares[code]))
    return share if tally.km2 is None else f"{share}, {square_kilometres(float(tally.km2[code]))}"


def _areas(tally: Tally, adjusted: Tally | None) -> dict[str, Any]:
    """Return the table of areas, raw and adjusted for the number of tests."""
    unit = "pixels" if tally.km2 is None else "km²"
    # Of limits and levels, nothing is tested.
    of_tested = isinstance(tally.scheme, TestScheme)
    heads = [unit, *(["of tested"] if of_tested else []), "of all asked for"]
    labels = [] if adjusted is None else [_plain(one.label) for one in adjusted.scheme.classes]
    if adjusted is not None:
        heads += [f"adjusted, {unit}", "adjusted, of tested"]
    rows = []
    for code in reversed(range(len(tally.pixels))):
        one = tally.scheme.classes[code]
        if one.optional and not tally.pixels[code]:
            continue
        row = [one.label, _much(tally, code)]
        row += [_share(tally.shares_of_tested[code])] if of_tested else []
        row.append(_share(tally.shares_of_region[code]))
        if adjusted is not None:
            other = labels.index(_plain(one.label))
            row += [_much(adjusted, other), _share(adjusted.shares_of_tested[other])]
        rows.append(row)
    if tally.missing_pixels:
        much = f"{tally.missing_pixels:,}" if tally.km2 is None else square_kilometres(tally.missing_km2)[:-4]
        rows.append(["missing", much, *([""] if of_tested else []), percent(tally.missing),
                     *(["", ""] if adjusted is not None else [])])  # fmt: skip
    notes = []
    if adjusted is not None and isinstance(adjusted.scheme, TestScheme):
        tests = int(tally.pixels[tally.tested].sum())
        notes.append(
            f"Adjusted: of {tests} tests at p < 0.05, one in twenty is significant by chance "
            f"alone. The adjusted columns call a pixel significant if its q-value is at most "
            f"{adjusted.scheme.levels[0]:g}: no more than that share of the significant pixels is expected to be false "
            "(Benjamini and Hochberg 1995; for maps, Wilks 2016)."
        )
    caption = "Areas of the classes of the first band" + ("" if tally.km2 is None else ", in km² on the ellipsoid")
    return {"areas": rows, "area_heads": heads, "areas_caption": caption, "areas_notes": notes}


def _plain(label: str) -> str:
    """Return the label of a class without its level: those of p- and q-values correspond."""
    return label.split(", p ", maxsplit=1)[0].split(", q ", maxsplit=1)[0]


def _much(tally: Tally, code: int) -> str:
    return f"{int(tally.pixels[code]):,}" if tally.km2 is None else square_kilometres(float(tally.km2[code]))[:-4]


def _share(share: float) -> str:
    return "" if np.isnan(share) else percent(float(share))


def _pvalues(map_: Map, panel: Panel) -> Histogram | None:
    """Return how the p-values are spread."""
    scheme = panel.tally.scheme
    if not isinstance(scheme, TestScheme):
        return None
    counts = np.zeros(P_BARS, np.int64)
    for block in map_.blocks():
        values = map_.read(scheme.pvalue, block)
        counts += np.histogram(values[np.isfinite(values)], P_BARS, (0, 1))[0]
    total = max(int(counts.sum()), 1)
    return Histogram(np.linspace(0, 1, P_BARS + 1), counts / total, scheme.pvalue, ())


def _histogram_notes(tested: bool) -> list[str]:
    notes = ["The first and the last bar of the values also hold what lies beyond them."]
    if tested:
        notes.append(
            "Without any trend, p-values would be spread evenly, along the dashed line; trends pile up at the left. A "
            "pile at the right, or a slope the other way, says that the test's assumptions do not hold."
        )
    return notes


def _tables(map_: Map, info: MapInfo) -> list[dict[str, Any]]:
    """Return the tables of status and of the number of observations."""
    tables = []
    if info.status is not None:
        rows = []
        for code in reversed(range(len(info.status.pixels))):
            label = info.status.scheme.classes[code].label
            number = int(label.split(" ")[0])
            meaning = MEANINGS[Status(number)] if number in STATUS_WORDS else "of a later version"
            amount = _much(info.status, code)
            rows.append([f"{label}: {meaning}", amount, percent(float(info.status.shares_of_region[code]))])
        unit = "pixels" if info.status.km2 is None else "km²"
        tables.append(
            {"caption": "Why each pixel has its values (band status)", "heads": ["status", unit, "share"], "rows": rows}
        )
    if "n" in map_:
        tally = panel_of(map_, "n").tally
        rows = [
            [one.label, _much(tally, code), percent(float(tally.shares[code]))]
            for code, one in reversed(list(enumerate(tally.scheme.classes)))
        ]
        unit = "pixels" if tally.km2 is None else "km²"
        tables.append({"caption": "Observations that each pixel's answer is made of (band n)",
                       "heads": ["observations", unit, "share"], "rows": rows})  # fmt: skip
    return tables


def _method(map_: Map) -> list[dict[str, str]]:
    """Return what is computed, its limits and references; the source text of a user's function."""
    name = map_.provenance.get("method")
    for factory in METHODS:
        if factory.__name__ == name:
            said = describe(factory)
            titles = {"Method": f"{name}: {said['summary']}", "Notes": "Notes", "References": "References"}
            return [{"title": title, "text": said["sections"][part].replace("``", "`")}
                    for part, title in titles.items() if said["sections"].get(part)]  # fmt: skip
    parameters = map_.provenance.get("parameters")
    source = parameters.get("source") if isinstance(parameters, dict) else None
    return [{"title": f"Function {name}", "text": source}] if isinstance(source, str) else []


def _paragraph(map_: Map, panel: Panel, adjusted: Tally | None) -> str:
    """Return the sentences that a paper needs: data, method, result."""
    provenance, tally = map_.provenance, panel.tally
    what, when, layers = quantity(map_) or "the variable", period(provenance), layers_of(provenance)
    method = provenance.get("method")
    known = next((describe(factory) for factory in METHODS if factory.__name__ == method), None)
    sentences = []
    about = f" ({when}, {layers})" if when and layers else ""
    if isinstance(method, str):
        how = f"the method {method}: {known['summary'].rstrip('.')}" if known else f"the function {method}"
        sentences.append(f"For each pixel, the series of {what}{about} was analysed with {how}")
    sentences.append(f"on a grid of {map_.grid.height} by {map_.grid.width} pixels ({map_.grid.crs_name})")
    text = " ".join(sentences) + f", computed with pixelwise {_version(map_)}."
    if isinstance(tally.scheme, TestScheme):
        text += f" {_found(tally)}"
        if adjusted is not None and isinstance(adjusted.scheme, TestScheme):
            text += (
                f" After adjusting for the number of tests (Benjamini and Hochberg 1995, false discovery rate "
                f"{adjusted.scheme.levels[0]:g}), {_found(adjusted)[:1].lower()}{_found(adjusted)[1:]}"
            )
    return text


def _found(tally: Tally) -> str:
    """Say what share of the tested area is significant, by direction."""
    scheme, shares = tally.scheme, tally.shares_of_tested
    assert isinstance(scheme, TestScheme)  # noqa: S101  (asked before)
    down, up = CONSTANT + 1, len(shares) - 1
    parts = [
        f"{percent(float(shares[code]))} of the tested area"
        + ("" if tally.km2 is None else f" ({square_kilometres(float(tally.km2[code]))})")
        + f" had a {scheme.classes[code].label}"
        for code in (up, down)
    ]
    return " and ".join(parts) + "."


def _version(map_: Map) -> str:
    versions = map_.provenance.get("versions")
    version = versions.get("pixelwise") if isinstance(versions, dict) else None
    return version if isinstance(version, str) else __version__
