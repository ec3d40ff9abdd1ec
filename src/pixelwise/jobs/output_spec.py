"""What is written of the results of a method, as set by options and recorded in the provenance of a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

from pixelwise.choices import MapType, Per, Written
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import ParameterError
from pixelwise.jobs.climatology import FROM_CLIMATOLOGY, BasePeriod
from pixelwise.maps.false_discovery import FalseDiscovery
from pixelwise.maps.outputs import relative
from pixelwise.words import not_a_choice

__all__ = ["USUAL", "OutputSpec"]

#: Default values, which provenance does not mention.
USUAL: Mapping[str, Any] = {
    "min_valid": 0.0, "min_span": 0.0, "per": "year", "write": {}, "base": None, "fdr": None,
}  # fmt: skip


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
    base
        Years whose means anomalies are counted from; None for all years of the layers.
    fdr
        The false discovery rate at which pixels are significant; None for no q-values.

    Raises
    ------
    ParameterError
        When a type, a unit of time or a kind of stack is unknown, or nothing that is written has a base period.
    """

    bands: Sequence[str] | None = None
    needs: Completeness = Completeness()  # noqa: RUF009 - frozen
    write: Mapping[str, Path] = field(default_factory=dict)
    per: str = "year"
    dtype: str = "float32"
    base: BasePeriod | None = field(default=None, kw_only=True)
    fdr: FalseDiscovery | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.dtype not in get_args(MapType):
            raise not_a_choice("dtype", self.dtype, get_args(MapType))
        if self.per not in get_args(Per):
            raise not_a_choice("per", self.per, get_args(Per))
        for kind in self.write:
            if kind not in get_args(Written):
                raise not_a_choice("write", kind, get_args(Written))
        if self.base is not None and not set(FROM_CLIMATOLOGY) & set(self.write):
            raise ParameterError(
                f"base {self.base}: only {' and '.join(FROM_CLIMATOLOGY)} have a base period, and neither is written "
                "(--write anomalies FILE)"
            )
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
            "base": self.base and str(self.base),
            "fdr": None if self.fdr is None else self.fdr.describe(),
        }
        return {name: value for name, value in described.items() if value != USUAL.get(name)}

    @classmethod
    def from_provenance(cls, provenance: Mapping[str, Any]) -> Self:
        """Return what a map records, checked; without the choice of bands, files beside the map and their base period.

        Raises
        ------
        ParameterError
            When no job could have recorded this.
        """
        said = {**USUAL, **provenance}
        needs = Completeness(said["min_valid"], said["min_span"])
        return cls(needs=needs, per=said["per"], dtype=said.get("dtype", ""))
