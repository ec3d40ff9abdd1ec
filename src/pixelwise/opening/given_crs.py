"""Files without a CRS get the one that a user gives; those that have another one are refused."""

from __future__ import annotations

from dataclasses import replace

from pixelwise.errors import InputError, Problems
from pixelwise.opening.observation import BandFile, Findings
from pixelwise.opening.sources import shortened_by_kind
from pixelwise.rasters.headers import Header

__all__ = ["with_given_crs"]


def with_given_crs(found: Findings, crs: str | None, problems: Problems) -> Findings:
    """Return what was found with the given CRS where files have none, masks included; collect problems."""
    if crs is None:
        return found
    refused: list[tuple[object, str]] = []
    # The time steps of an array share one header, and comparing grids is fast while they share one grid.
    placed: dict[int, Header] = {}

    def place(header: Header) -> Header:
        if id(header) not in placed:
            try:
                placed[id(header)] = header.with_crs(crs)
            except InputError as error:
                refused.extend((header.path, text) for text in error.problems)
                placed[id(header)] = header
        return placed[id(header)]

    def placed_band(band: BandFile) -> BandFile:
        header = place(band.header)
        return replace(band, header=header, grid=header.grid)

    observations = tuple(
        replace(
            one,
            bands=tuple(map(placed_band, one.bands)),
            masks=tuple(None if mask is None else placed_band(mask) for mask in one.masks),
        )
        for one in found.observations
    )
    headers = {path: place(header) for path, header in found.headers.items()}
    problems.add(*shortened_by_kind(refused))
    return replace(found, observations=observations, headers=headers)
