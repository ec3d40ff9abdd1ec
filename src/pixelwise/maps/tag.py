"""The provenance of a map as a text: written, read back, and checked, as it may come from anyone."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

from pixelwise.errors import InputError, OutputError
from pixelwise.rasters.headers import TAG

__all__ = [
    "FIELDS",
    "LARGEST_UNASKED",
    "LONGEST_TEXT",
    "attributes_of",
    "decode_provenance",
    "encode_provenance",
    "misfit",
]

#: Longer texts are compressed: GDAL reads all tags with every header.
LONGEST_PLAIN_TAG = 4000
#: For 5000 dates of 3 files it takes 2.5 MB with 125 000 of ``[``, ``{`` and ``,`` (8.3 per file); more than 200 000
#: files would need is an attack.
LARGEST_PROVENANCE = 64 << 20
#: Reading it unasked must take less than a second: json reads about 100 MB in that time.
LARGEST_UNASKED = 32 << 20
#: Bytes per bracket or comma at the largest size: each may become an object of up to 160 bytes.
BYTES_PER_ITEM = 16
#: Nested brackets, of which real ones have 8; digits of an integer; characters of a name or a unit.
DEEPEST, LONGEST_NUMBER, LONGEST_TEXT = 32, 100, 1000

#: Fields that are checked whenever a map is opened, and what they hold if present: a type, a list of one kind, or
#: fields in turn. All others are checked by the code that reads them.
FIELDS: Mapping[str, Any] = {
    "method": str,
    "parameters": dict,
    "bands": [str],
    "dtype": str,
    "input": {
        "first": str,
        "last": str,
        "layers": int,
        "layers_used": [{"date": str, "precision": str, "pieces": list}],
        "files": list,
    },
    "fdr": {"method": str, "pvalue": str, "qvalue": str, "tests": int, "rejected": int, "domain": str, "note": str},
}
WORDS: Mapping[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
    dict: "a table",
    list: "a list",
}


def misfit(value: Any, kind: Any, name: str = "") -> str:
    """Describe the first field of the wrong type, and what it holds; empty if all are right."""
    wanted: type[Any] = kind if isinstance(kind, type) else type(kind)
    if not isinstance(value, wanted) or isinstance(value, bool):
        return f"{name} holds {WORDS[type(value)]} instead of {WORDS[wanted]}"
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{name} is longer than {LONGEST_TEXT} characters"
    if isinstance(kind, list):
        items: list[Any] = value
        return next(filter(None, (misfit(item, kind[0], f"{name}[{i}]") for i, item in enumerate(items))), "")
    if isinstance(kind, dict):
        prefix, table = f"{name}." if name else "", dict(value)
        own = (misfit(table[key], kind[key], prefix + key) for key in kind if key in table)
        return next(filter(None, own), "")
    return ""


def encode_provenance(provenance: Mapping[str, Any]) -> str:
    """Write provenance as JSON, compressed when long.

    Raises
    ------
    OutputError
        When `decode_provenance` would refuse it.
    """
    text = json.dumps(provenance, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if too_large := _too_large(text, LARGEST_PROVENANCE):
        raise OutputError(f"the map cannot name all its input files: its tag {TAG} would be too large ({too_large})")
    if len(text) <= LONGEST_PLAIN_TAG:
        return text
    return "zlib:" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def attributes_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of a dataset that is a map: its convention, what made it, and its provenance."""
    versions = provenance.get("versions", {})
    source = f"pixelwise {versions.get('pixelwise', '')}: {provenance.get('method', '')}"
    return {"Conventions": "CF-1.11", "source": source, TAG: encode_provenance(provenance)}


def decode_provenance(text: str, largest: int = LARGEST_PROVENANCE) -> dict[str, Any]:
    """Read what `encode_provenance` wrote; it is data only, nothing in it is ever executed.

    Parameters
    ----------
    text
        The content of the tag.
    largest
        The most bytes that it may unpack to.

    Raises
    ------
    InputError
        When it is damaged, or larger than any real provenance.
    """
    try:
        if text.startswith("zlib:"):
            stream = zlib.decompressobj()
            raw = stream.decompress(base64.b64decode(text.removeprefix("zlib:")), largest)
            if stream.unconsumed_tail:
                raise ValueError(f"it unpacks to more than {largest >> 20} MB")
            text = raw.decode()
        if too_large := _too_large(text, largest):
            raise ValueError(too_large)
        provenance = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_number)
    except (ValueError, RecursionError, zlib.error) as error:  # RecursionError: brackets nested a thousand deep
        raise InputError(f"the tag {TAG} is damaged ({error})") from None
    if not isinstance(provenance, dict):
        raise InputError(f"the tag {TAG} is damaged (it holds {WORDS[type(provenance)]} instead of {WORDS[dict]})")
    level: list[Any] = [provenance]
    for _ in range(DEEPEST):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
    if level:
        raise InputError(f"the tag {TAG} is damaged (more than {DEEPEST} nested brackets)")
    return provenance


def _too_large(text: str, largest: int) -> str:
    """Say why a text is longer than any provenance, or would become too many objects; empty if neither."""
    if len(text) > largest:
        return f"{len(text) / 1e6:.0f} MB, more than {largest >> 20}"
    items, most = sum(map(text.count, "[{,")), largest // BYTES_PER_ITEM
    return f"{items} brackets and commas, more than {most}" if items > most else ""


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is not a finite number")
    return number


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not a finite number")
