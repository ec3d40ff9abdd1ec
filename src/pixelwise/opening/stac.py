"""Lists of files: what a list, a table or STAC items name, as far as the user allows it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pixelwise.dates.axis import Moment
from pixelwise.dates.tables import parse_date
from pixelwise.errors import InputError, ParameterError
from pixelwise.rasters.remote import read_whole
from pixelwise.rasters.urls import Location, Url, is_url, permitted
from pixelwise.regular_files import read_text
from pixelwise.words import first_of, shortened, shown

__all__ = ["STAC_SUFFIXES", "Found", "named_in", "stac_files", "text_of"]

#: A file that is found, and the date that is given with it.
Found = tuple[Location, Moment | None]

STAC_SUFFIXES = frozenset([".json", ".geojson"])
#: Media types of rasters that are read: the part before parameters, such as `profile=cloud-optimized`.
RASTER_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2")


def text_of(place: Location) -> str:
    """Return the text of a list or table, here or on a server.

    Raises
    ------
    InputError
        When it cannot be read, or is not UTF-8.
    """
    if isinstance(place, Path):
        return read_text(place)
    try:
        return read_whole(place).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{place}: not a text file in UTF-8") from None


def named_in(place: Location, name: str, allowed: Sequence[str]) -> Location:
    """Return a file that a list, a table or a STAC item names.

    What is on a server names files on servers only: a relative name is one beside it.

    Raises
    ------
    InputError
        When it is not allowed.
    """
    if is_url(name):
        try:
            return permitted(name, allowed)
        except InputError as error:
            raise InputError(*(f"{place}: names {text}" for text in error.problems)) from None
    if isinstance(place, Url):
        if os.path.isabs(name) or name.startswith(("~", "\\")):  # noqa: PTH117 - not a local path
            raise InputError(f"{place}: names {shown(name)}, a local path, which a list on a server may not")
        return permitted(f"{place.parent / name}", allowed)
    return place.parent / name


def stac_files(place: Location, allowed: Sequence[str], asset: str | None) -> list[Found]:
    """Return the files of one asset of STAC items, with the dates of the items.

    Parameters
    ----------
    place
        A path or a URL of an ItemCollection, a list of items, or one item.
    allowed
        Schemes of servers from which files may be read.
    asset
        The name of the asset; None if each item has one raster.

    Raises
    ------
    InputError
        When it is no list of items, or an item lacks the asset or a date.
    """
    try:
        content = json.loads(text_of(place))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not a list of STAC items ({error})") from None
    items = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{place}: not a list of STAC items; expected an ItemCollection, or items in brackets")
    found: list[Found] = []
    refused: list[str] = []
    for number, item in enumerate(items, 1):
        named = f"{place}: item {shown(item.get('id', number), 80)}"
        try:
            found.append((named_in(place, _href(item, asset, named), allowed), _moment(item, named)))
        except InputError as error:
            refused.extend(error.problems)
    if refused:
        raise InputError(*shortened(refused, "items"))
    return found


def _href(item: dict[str, Any], asset: str | None, named: str) -> str:
    """Return the name of the file of an asset."""
    assets = item.get("assets")
    if not isinstance(assets, dict) or not assets:
        raise InputError(f"{named} has no assets")
    if asset is None:
        names = list(_rasters(assets))
        if len(names) != 1:
            listed = first_of(sorted(map(str, names or assets)), 20)
            raise InputError(f"{named} has {len(names)} rasters ({listed}); choose one with --asset NAME")
        asset = names[0]
    chosen = assets.get(asset)
    if not isinstance(chosen, dict) or not isinstance(chosen.get("href"), str):
        raise InputError(f"{named} has no asset {asset!r}; its assets are {first_of(sorted(map(str, assets)), 20)}")
    return str(chosen["href"])


def _rasters(assets: dict[str, Any]) -> Iterator[str]:
    """Yield the names of assets that are data in a format that is read."""
    for name, asset in assets.items():
        if not isinstance(asset, dict):
            continue
        kind, roles = str(asset.get("type", "")).partition(";")[0].strip(), asset.get("roles")
        shows = isinstance(roles, list) and ("thumbnail" in roles or "overview" in roles)
        if kind in RASTER_TYPES and not shows:
            yield name


def _moment(item: dict[str, Any], named: str) -> Moment:
    """Return the date of an item."""
    properties = item.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    date = properties.get("datetime") or properties.get("start_datetime")
    try:
        # Fractions of seconds, which STAC allows, distinguish no layers.
        return parse_date(re.sub(r"(:\d\d)\.\d+", r"\1", str(date)))
    except ParameterError as error:
        raise InputError(f"{named} has the datetime {shown(date, 80)}: {error}") from None
