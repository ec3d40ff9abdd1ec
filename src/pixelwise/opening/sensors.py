"""Find bands by name or number, and the colours that they have in different sensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pixelwise.errors import InputError
from pixelwise.opening.products import Product, SceneFile, load_product, products
from pixelwise.rasters.headers import BandHeader, Header
from pixelwise.rasters.urls import Location
from pixelwise.stacks.formula import Expression
from pixelwise.stacks.parts import ValueOptions
from pixelwise.words import unknown

__all__ = ["alpha_note", "band_named", "band_of", "product_of_bands", "sensors_by_number"]


def band_named(header: Header, name: str) -> BandHeader:
    """Return the band that a formula names: by its description, or b1, b2, ... by its number."""
    if re.fullmatch("[bB][0-9]{1,9}", name):
        described = [band for band in header.bands if band.description.lower() == name.lower()]
        numbered = [band for band in header.bands if band.index == int(name[1:])]
        if numbered and not described:
            return numbered[0]
    return band_of(header, name)


def band_of(header: Header, wanted: int | str | None) -> BandHeader:
    """Return the band with a number or name; the first one by default."""
    if wanted is None:
        return header.bands[0]
    for band in header.bands:
        if wanted in (band.index, band.description):
            return band
    matches = [band for band in header.bands if str(wanted).lower() in (band.description.lower(), str(band.index))]
    if len(matches) == 1:
        return matches[0]
    names = [band.description or str(band.index) for band in header.bands]
    raise InputError(f"{header.path}: {unknown('band', str(wanted), names)}{alpha_note(header)}")


def alpha_note(header: Header) -> str:
    """List the bands that are not offered because GDAL treats them as alpha."""
    alpha = [str(band) for band in header.alpha if not header.alpha_is_data]
    return f"; band {', '.join(alpha)} is treated as alpha unless it is named" if alpha else ""


def sensors_by_number(
    paths: Sequence[Location], headers: Mapping[Location, Header], values: ValueOptions, expression: Expression | None
) -> str | None:
    """Report a band number or token that means different colours in different sensors; None if there is none.

    Landsat 5 has red in SR_B3 and Landsat 8 in SR_B4: a stack of all SR_B4 is near infrared at first, then red.
    """
    for name in products():
        product = load_product(name)
        matches = [(path, file) for path in paths if (file := product.match(path)) is not None]
        offsets = _offsets(product, [file for _, file in matches])
        if len(offsets) > 1 and values.offset is None:
            listed = "; ".join(f"{offset:g} from baseline {baseline} on" for offset, baseline in offsets.items())
            return (
                f"the files are from several processing baselines, whose numbers have different meanings (offset "
                f"{listed}); use --product {name} --band NAME"
            )
        for wanted in expression.names if expression is not None else (values.band,):
            listed = _colours(product, matches, headers, wanted, by_name=expression is not None)
            if listed:
                return (
                    f"the files are from several sensors, in which the same band is a different colour: {listed}; "
                    f"name the band with --product {name} --band NAME (or --value FORMULA)"
                )
    return None


def _offsets(product: Product, files: Sequence[SceneFile]) -> dict[float, str]:
    """Return the offsets of the files' bands, each with the earliest processing baseline that has it."""
    found: dict[float, str] = {}
    for file in sorted(files, key=lambda one: one.baseline or ""):
        rules = [product.band(file.sensor, name) for name in product.names(file.sensor)]
        rule = next((rule for rule in rules if file.band and rule.has(file.band)), None)
        if rule is not None and rule.later is not None and file.baseline is not None:
            offset = rule.offset_of(file.baseline)
            assert offset is not None  # noqa: S101 - the baseline is known
            found.setdefault(offset, file.baseline)
    return found


def product_of_bands(paths: Sequence[Location]) -> str | None:
    """Return the product of files that are several bands of one image; None if they are not."""
    for name in products():
        product = load_product(name)
        files = [product.match(path.absolute()) for path in paths]
        if all(file is not None for file in files) and len({file.band for file in files if file is not None}) > 1:
            return name
    return None


def _colours(
    product: Product,
    matches: Sequence[tuple[Location, SceneFile]],
    headers: Mapping[Location, Header],
    wanted: int | str | None,
    *,
    by_name: bool,
) -> str:
    """Say which colour a band is in each sensor, if it differs; else return an empty text."""
    colours: dict[str, set[str]] = {}
    example: dict[str, Location] = {}
    for path, file in matches:
        token = file.band or _description_of(headers[path], wanted, by_name=by_name)
        meant = {n for n in product.names(file.sensor) if token and product.band(file.sensor, n).has(token)}
        if meant:
            colours.setdefault(file.sensor, meant)
            example.setdefault(file.sensor, path)
    if len(colours) < 2 or set.intersection(*colours.values()):
        return ""
    return "; ".join(
        f"{'/'.join(sorted(colours[sensor]))} in {sensor} ({example[sensor].name})" for sensor in sorted(colours)
    )


def _description_of(header: Header, wanted: int | str | None, *, by_name: bool) -> str:
    try:
        if wanted is None:
            return ""
        band = band_named(header, str(wanted)) if by_name else band_of(header, wanted)
        return band.description
    except InputError:  # reported when bands are looked up
        return ""
