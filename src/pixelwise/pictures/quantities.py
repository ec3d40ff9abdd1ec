"""What the numbers of an input are, as far as its files say."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pixelwise.pictures.source import Source

__all__ = ["quantity", "quantity_named"]

#: What names of files say of their numbers; products and indices that many people know by these letters.
QUANTITIES = re.compile(
    r"(?<![a-z])(ndvi|evi2?|savi|ndwi|ndmi|ndsi|nbr2?|lai|fpar|fapar|gpp|npp|lst|sst|albedo|lswi|kndvi|vod|precip|rain|"
    r"chirps|temperature)(?![a-z])",
    re.IGNORECASE,
)
NAMES = {"precip": "precipitation", "rain": "rain", "chirps": "CHIRPS precipitation", "temperature": "temperature",
         "albedo": "albedo"}  # fmt: skip


def quantity(source: Source) -> str:
    """Return what the input's numbers are, as its index, variable or the names of its files say; empty if they do not.

    Other formulas of bands than indices are too long for a name, and files from which anything is computed have none.
    """
    given = source.provenance.get("input")
    if not isinstance(given, Mapping):
        return ""
    spec = given.get("spec")
    variable, value = (spec.get(name) if isinstance(spec, Mapping) else None for name in ("variable", "value"))
    if isinstance(value, str):
        return quantity_named(value, "") if QUANTITIES.fullmatch(value) else ""
    files = given.get("files")
    paths = [file.get("path") for file in files[:1] if isinstance(file, Mapping)] if isinstance(files, list) else []
    path = paths[0] if paths and isinstance(paths[0], str) else ""
    return quantity_named(variable if isinstance(variable, str) else "", path)


def quantity_named(variable: str, path: str) -> str:
    """Return what numbers are, as the name of their variable or else that of their file says.

    Parameters
    ----------
    variable
        Its name; empty without one, and the file's name is all that is known.
    path
        The first file.
    """
    if variable:
        found = QUANTITIES.fullmatch(variable)
        return (NAMES.get(variable.lower()) or variable.upper()) if found else variable
    # "pacificSST" is two words.
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.rpartition("/")[2])
    if found := QUANTITIES.search(name):
        return NAMES.get(found[1].lower()) or found[1].upper()
    return ""
