"""What is written of the results of a method, as set by options and recorded in the provenance of a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

from pixelwise.choices import MapType, Per, Written
from pixelwise.dates.completeness import Completeness
from pixelwise.maps.false_discovery import FalseDiscovery
from pixelwise.maps.outputs import relative
from pixelwise.words import not_a_choice

__all__ = ["USUAL", "OutputSpec"]

#: Default values, which provenance does not mention.
USUAL: Mapping[str, Any] = {"min_valid": 0.0, "min_span": 0.0, "per": "year", "write": {}, "fdr": None}


@dataclass(frozen=True)
class OutputSpec:
    """What is written of the results of a method; see `apply`.

    Attributes
    ----------
    bands
        Names of the bands to write; None for the default ones.
    needs
        What the series of a pixel needs for its result to count.
    write
        Files of the stacks that are written beside the map, by kind.
    per
        Unit of time for bands that are a change per year.
    dtype
        Data type of the map.
    fdr
        The false discovery rate at which pixels are significant; None for no q-values.

    Raises
    ------
    ParameterError
        When a type, a unit of time or a kind of stack is unknown.
    """

    bands: Sequence[str] | None = None
    needs: Completeness = Completeness()  # noqa: RUF009 - frozen
    write: Mapping[str, Path] = field(default_factory=dict)
    per: str = "year"
    dtype: str = "float32"
    fdr: FalseDiscovery | None = None

    def __post_init__(self) -> None:
        if self.dtype not in get_args(MapType):
            raise not_a_choice("dtype", self.dtype, get_args(MapType))
        if self.per not in get_args(Per):
            raise not_a_choice("per", self.per, get_args(Per))
        for kind in self.write:
            if kind not in get_args(Written):
                raise not_a_choice("write", kind, get_args(Written))
        # In the order in which they are written, not in which they are named.
        ordered = {kind: self.write[kind] for kind in get_args(Written) if kind in self.write}
        object.__setattr__(self, "write", ordered)

    def describe(self, folder: Path | None) -> dict[str, Any]:
        """Return the record for the map, ready for JSON; paths are relative to `folder`, that of the map."""
        described = {
            "dtype": self.dtype,
            "min_valid": self.needs.min_valid,
            "min_span": self.needs.min_span,
            "per": self.per,
            "write": {kind: relative(path, folder) for kind, path in self.write.items()},
            "fdr": None if self.fdr is None else self.fdr.describe(),
        }
        return {name: value for name, value in described.items() if value != USUAL.get(name)}

    @classmethod
    def from_provenance(cls, provenance: Mapping[str, Any]) -> Self:
        """Return what a map records, checked; without files beside the map and the choice of bands.

        Raises
        ------
        ParameterError
            When no job could have recorded this.
        """
        said = {**USUAL, **provenance}
        needs = Completeness(said["min_valid"], said["min_span"])
        return cls(needs=needs, per=said["per"], dtype=said.get("dtype", ""))
