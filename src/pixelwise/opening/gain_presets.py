"""Gains that were published, each in a TOML file in the folder ``gain_data``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from pixelwise.opening.toml_fields import Fields
from pixelwise.rasters.pieces import Line

__all__ = ["GainPreset", "gain_presets", "load_gain_preset"]


@dataclass(frozen=True)
class GainPreset:
    """Gains of some sensors, by band of a product.

    Attributes
    ----------
    name, title, source
        Its name, what it is for, and where it was published.
    collection
        The version of the data from which it was found.
    wrong_for, why
        Products for which it should not be used, and why.
    changed, unchanged
        Codes of the sensors whose values are changed, and of those to which they are made comparable.
    unmeasured
        Codes of sensors that look like those that are changed, but were not measured.
    lines
        The gain and offset of each band.
    sha256
        Of its file, in hexadecimal.
    """

    name: str
    title: str
    source: str
    collection: str
    wrong_for: tuple[str, ...]
    why: str
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    unmeasured: tuple[str, ...]
    lines: Mapping[str, Line]
    sha256: str


@cache
def gain_presets() -> tuple[str, ...]:
    """Return the names of the presets."""
    files = resources.files("pixelwise.opening").joinpath("gain_data").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


@cache
def load_gain_preset(name: str) -> GainPreset:
    """Load a preset that is among `gain_presets`."""
    content = resources.files("pixelwise.opening").joinpath("gain_data", f"{name}.toml")
    fields = Fields.of_file(f"{name}.toml", content)
    bands = fields.table("bands")
    lines = {}
    for band in tuple(bands.left):
        line = bands.table(band)
        lines[band] = Line(line.number("gain"), line.number("offset"))
        line.done("gain offset")
    preset = GainPreset(
        name=fields.take("name", str, "expected the name of the preset"),
        title=fields.take("title", str, "expected what it makes comparable"),
        source=fields.take("source", str, "expected where it was published"),
        collection=fields.take("collection", str, "expected the data from which it was found"),
        wrong_for=fields.texts("wrong_for", "expected names of products"),
        why=fields.take("why", str, "expected a reason"),
        changed=fields.texts("from", "expected codes of sensors"),
        unchanged=fields.texts("to", "expected codes of sensors"),
        unmeasured=fields.texts("unmeasured", "expected codes of sensors"),
        lines=lines,
        sha256=hashlib.sha256(content.read_bytes()).hexdigest(),
    )
    fields.done("name title source collection wrong_for why from to unmeasured bands")
    return preset
