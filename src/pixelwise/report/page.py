"""The page: what is in it, put into its template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise._version import __version__
from pixelwise.bands import STATUS_WORDS, Band, Status
from pixelwise.errors import ParameterError
from pixelwise.maps.classified import scheme_for
from pixelwise.maps.info import facts_of, headline_of, shortened, status_of, warnings_of
from pixelwise.maps.map import Map
from pixelwise.pictures.agreement import disagreements
from pixelwise.pictures.captions import heading
from pixelwise.pictures.drawing import Histogram, Panel
from pixelwise.pictures.numbers import THIN, percent, square_kilometres
from pixelwise.pictures.palettes import MISSING_COLOR
from pixelwise.pictures.paper import histogram_of
from pixelwise.pictures.picture import panel_of
from pixelwise.pictures.quantities import quantity
from pixelwise.pictures.scheme import TestScheme
from pixelwise.pictures.tally import Tally, areas_of, tally_of
from pixelwise.report.adjusted import AdjustedTally, adjusted_tally
from pixelwise.report.figures import (
    INSTALL,
    components_of,
    histogram_figure,
    import_bokeh,
    map_figure,
    resources,
    series_figure,
)
from pixelwise.report.paragraph import REFERENCE, described_method, paragraph_of
from pixelwise.report.prose import blocks_of
from pixelwise.report.samples import OF_EACH, Sample

__all__ = ["page_of", "pvalue_histogram"]

MOVES = (
    ("in", "Zoom in"), ("out", "Zoom out"), ("left", "Left"), ("right", "Right"), ("up", "Up"), ("down", "Down"),
    ("all", "Whole map"),
)  # fmt: skip

#: What shares are shares of, wherever no other is named.
OF_REGION = "of the region"

#: In the place of warnings and method, for a raster of anyone.
UNKNOWN = "pixelwise did not make this map; how it was made is unknown."

#: Bars of the histogram of p-values: one to a step of 0.05.
P_BARS = 20

#: What each status means to a reader, beyond its name.
MEANINGS = {
    Status.OK: "the method has a result",
    Status.NO_OBSERVATION: "no layer has a value here: water, clouds, outside of the images",
    Status.TOO_FEW: "fewer values than the method needs (min_obs), or than you required",
    Status.CONSTANT: "all values are equal: there is no change, and nothing to test",
    Status.DEGENERATE: "the values do not determine the result, such as all on one date",
    Status.FUNCTION_FAILED: "the function raised an error, or returned no number",
    Status.TEST_UNDEFINED: "the test is undefined: these pixels are not tested",
    Status.TRUNCATED: "the computation stopped at a limit of the method",
    Status.DATES_LOST: "some dates could not be read, and the result is that of the others",
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
    jinja2 = import_jinja2()
    import_bokeh()
    band = headline_of(map_)
    # The classes of `plot`, `info` and `zones`: by q-values where the map has them. The table has both.
    panel = panel_of(map_, band.name)
    raw = _by_pvalues(map_, band, panel.tally)
    adjusted = adjusted_tally(map_, band)
    title, subtitle = heading(map_, band)
    pvalues = pvalue_histogram(map_, raw)
    figures: dict[str, Any] = {"map": map_figure(panel, samples)}
    figures["values"] = histogram_figure(histogram_of(map_, band.name), "Values")
    if pvalues is not None:
        figures["pvalues"] = histogram_figure(pvalues, "P-values", expected=1 / P_BARS)
    if samples:
        figures["series"] = series_figure(samples, _label(map_))
    script, elements = components_of(figures)
    shown = [one.as_dict() for one in samples]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("page.html.jinja").read_text("utf-8"))
    safe = jinja2.filters.do_mark_safe
    html: str = template.render(
        version=__version__,
        title=title,
        subtitle=subtitle,
        resources=safe(resources()),
        script=safe(script),
        elements={name: safe(text) for name, text in elements.items()} | _absent(figures),
        moves=MOVES,
        **_legend(panel),
        **_areas(map_, raw, adjusted, band),
        histogram_notes=_histogram_notes(pvalues is not None),
        samples=shown,
        no_samples=(no_samples or "No pixels were chosen.").splitlines(),
        tables=_tables(map_),
        of_each=OF_EACH,
        warnings=warnings_of(map_),
        no_warnings="None were given when the map was made." if map_.provenance else UNKNOWN,
        no_method=UNKNOWN,
        paragraph=paragraph_of(map_, band, raw, adjusted),
        method=_method(map_),
        facts=list(facts_of(map_).items()),
        provenance=json.dumps(shortened(map_.provenance), indent=1, ensure_ascii=False, default=str),
        data=safe(_script_json({"samples": shown})),
    )
    return html


def _by_pvalues(map_: Map, band: Band, tally: Tally) -> Tally:
    """Return the classes by p-values, where those of the picture are by q-values."""
    if not (isinstance(tally.scheme, TestScheme) and tally.scheme.adjusted and band.pvalue in map_):
        return tally
    return tally_of(map_, scheme_for(map_, band.name, pvalue=band.pvalue))


def import_jinja2() -> Any:
    """Return Jinja.

    Raises
    ------
    ParameterError
        When it is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ParameterError(f"a report needs jinja2: {INSTALL}") from error
    return jinja2


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
        much = [percent(tally.missing), OF_REGION] if tally.tested.any() else [percent(tally.missing)]
        amount = " ".join(much) + ("" if tally.km2 is None else f", {square_kilometres(tally.missing_km2)}")
        code = len(tally.scheme.classes)
        entries.append({"label": "missing", "color": MISSING_COLOR, "code": code, "amount": amount})
    note = "Areas are on the ellipsoid." if tally.km2 is not None else "Shares are those of pixels: areas are unknown."
    # Shares are those of the table below: of what is tested, which `plot`, `classify` and `zones` give as well.
    whole = "the region"
    if tally.tested.any():
        whole = "the tested area" if tally.km2 is not None else "the tested pixels"
    first, _, estimated = [*panel.name.split("\n"), "", ""][:3]
    title = "; ".join(filter(None, (first, f"share of {whole}", estimated)))
    return {"legend": entries, "legend_title": title, "map_note": note}


def _amount(tally: Tally, code: int) -> str:
    if tally.tested[code]:
        share = percent(float(tally.shares_of_tested[code]))
    else:
        of = f" {OF_REGION}" if tally.tested.any() else ""
        share = percent(float(tally.shares_of_region[code])) + of
    return share if tally.km2 is None else f"{share}, {square_kilometres(float(tally.km2[code]))}"


def _areas(map_: Map, tally: Tally, adjusted: AdjustedTally | None, band: Band) -> dict[str, Any]:
    """Return the table of areas, raw and adjusted for the number of tests."""
    unit = "pixels" if tally.km2 is None else "km²"
    tested = isinstance(tally.scheme, TestScheme)
    heads = [unit, *(["of tested"] if tested else []), OF_REGION]
    labels = [] if adjusted is None else [_plain(one.label) for one in adjusted.tally.scheme.classes]
    if adjusted is not None:
        level = f"adjusted (q \N{LESS-THAN OR EQUAL TO} {adjusted.request.q:g})"
        heads += [f"{level}, {unit}", f"{level}, of tested"]
    rows = []
    for code in reversed(range(len(tally.pixels))):
        one = tally.scheme.classes[code]
        if one.optional and not tally.pixels[code]:
            continue
        row = [one.label, _much(tally, code), *([_share(tally.shares_of_tested[code])] if tested else [])]
        row.append(percent(float(tally.shares_of_region[code])))
        if adjusted is not None:
            other = labels.index(_plain(one.label))
            row += [_much(adjusted.tally, other), _share(adjusted.tally.shares_of_tested[other])]
        rows.append(row)
    if tally.missing_pixels:
        much = _grouped(tally.missing_pixels) if tally.km2 is None else square_kilometres(tally.missing_km2)[:-4]
        blank = [""] if tested else []
        rows.append(["missing", much, *blank, percent(tally.missing), *(["", ""] if adjusted is not None else [])])
    caption = f"Areas of the classes of {band.name}" + ("" if tally.km2 is None else ", in km² on the ellipsoid")
    asked = "part of the grid that was asked for (--region, --where), or all of it"
    notes = [f"The region is the {asked if map_.provenance else 'whole grid'}."]
    if adjusted is not None and isinstance(tally.scheme, TestScheme):
        notes.append(_of_chance(adjusted, tally.scheme.levels[0], band))
    notes += [f"{text[:1].upper()}{text[1:]}." for text in disagreements(map_)]
    return {"areas": rows, "area_heads": heads, "areas_caption": caption, "areas_notes": notes}


def _of_chance(adjusted: AdjustedTally, level: float, band: Band) -> str:
    """Say what many tests find by chance, and what adjusting does about it."""
    nothing, most = ("had changed", "changed") if band.kind == "change" else ("could be found", "differ from 0")
    by_chance = adjusted.tests * level
    number = _grouped(round(by_chance)) if by_chance >= 10 else f"{by_chance:.2g}"
    q = adjusted.request.q
    return (
        f"If nothing {nothing} anywhere, about {_one_in(level)} of the {_grouped(adjusted.tests)} tests ({number}) "
        f"would still have p < {level:g}. The adjusted columns allow for that: they call a pixel significant if its "
        f"q-value is at most {q:g}, so that on average at most {100 * q:g} % of the significant pixels are there by "
        f"chance ({adjusted.reference}; for maps, Wilks 2016). The two levels mean different things; where most pixels "
        f"{most}, more can be significant after adjusting."
    )


def _one_in(level: float) -> str:
    return "one in twenty" if level == 0.05 else f"{100 * level:g} %"


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", THIN)


def _plain(label: str) -> str:
    """Return the label of a class without its level: those of p- and q-values correspond."""
    return label.split(", p ", maxsplit=1)[0].split(", q ", maxsplit=1)[0]


def _much(tally: Tally, code: int) -> str:
    return _grouped(int(tally.pixels[code])) if tally.km2 is None else square_kilometres(float(tally.km2[code]))[:-4]


def _share(share: float) -> str:
    return "" if np.isnan(share) else percent(float(share))


def pvalue_histogram(map_: Map, tally: Tally) -> Histogram | None:
    """Return how the p-values of a band are spread over its area; None where its classes are not those of a test."""
    scheme = tally.scheme
    if not isinstance(scheme, TestScheme):
        return None
    sums, areas = np.zeros(P_BARS), areas_of(map_.grid)
    for block in map_.blocks():
        values = map_.read(scheme.pvalue, block)
        tested = np.isfinite(values)
        weights = None if areas is None else areas.of(block)[tested]
        sums += np.histogram(values[tested], P_BARS, (0, 1), weights=weights)[0]
    whole = "pixels" if areas is None else "area"
    return Histogram(np.linspace(0, 1, P_BARS + 1), sums / (sums.sum() or 1), scheme.pvalue, (), whole=whole)


def _histogram_notes(tested: bool) -> list[str]:
    notes = ["The first and the last bar of the values also count the values beyond them."]
    if tested:
        notes.append(
            "Where there is nothing to find, p-values are spread evenly, along the dashed line. Trends pile up at the "
            "left, and so does autocorrelation that the test does not allow for. Bars that rise to the right mean that "
            "the test's assumptions do not hold."
        )
    return notes


def _tables(map_: Map) -> list[dict[str, Any]]:
    """Return the tables of status and of the number of observations."""
    tables = []
    if (status := status_of(map_)) is not None:
        rows = []
        for code in reversed(range(len(status.pixels))):
            label = status.scheme.classes[code].label
            number = int(label.split(" ")[0])
            meaning = MEANINGS[Status(number)] if number in STATUS_WORDS else "of a later version"
            amount = _much(status, code)
            rows.append([f"{label}: {meaning}", amount, percent(float(status.shares_of_region[code]))])
        unit = "pixels" if status.km2 is None else "km²"
        tables.append(
            {
                "caption": "Why each pixel has its values (band status)",
                "heads": ["status", unit, OF_REGION],
                "rows": rows,
            }
        )
    if "n" in map_:
        tally = panel_of(map_, "n").tally
        rows = [
            [one.label, _much(tally, code), percent(float(tally.shares_of_region[code]))]
            for code, one in reversed(list(enumerate(tally.scheme.classes)))
        ]
        unit = "pixels" if tally.km2 is None else "km²"
        tables.append({"caption": "Observations used for each pixel (band n)",
                       "heads": ["observations", unit, OF_REGION], "rows": rows})  # fmt: skip
    return tables


def _method(map_: Map) -> list[dict[str, Any]]:
    """Return what is computed, its limits and references; the source text of a user's function."""
    name, said = map_.provenance.get("method"), described_method(map_.provenance)
    if said is not None:
        sections = dict(said["sections"])
        if "References" in sections:  # one to a line, or several lines
            sections["References"] = REFERENCE.sub(lambda found: f"- {found[0]}", sections["References"])
        titles = {"Method": f"{name}: {said['summary']}", "Notes": "Notes", "References": "References"}
        return [{"title": titles[part].replace("`", ""), "blocks": blocks_of(sections[part])}
                for part in titles if sections.get(part)]  # fmt: skip
    parameters = map_.provenance.get("parameters")
    source = parameters.get("source") if isinstance(parameters, dict) else None
    return [{"title": f"Function {name}", "blocks": [("pre", [("", source)])]}] if isinstance(source, str) else []
