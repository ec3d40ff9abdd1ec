"""A table with a row for each zone, and the files that it is written to."""

from __future__ import annotations

import csv
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import OutputError
from pixelwise.maps.saving import check_output, inputs_of, save_bytes
from pixelwise.words import one_line

if TYPE_CHECKING:
    from pixelwise.maps.map import Map
    from pixelwise.zonal.series import ZoneSeries
    from pixelwise.zonal.zones import Zones

__all__ = ["SUFFIXES", "ZoneTable", "check_table", "free_names", "inputs_of_zones", "spelled"]

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".gpkg")

#: Names of columns that a GeoPackage has anyway.
OWN_OF_GPKG = ("fid", "geom")


@dataclass(frozen=True, eq=False, repr=False)
class ZoneTable(Mapping[str, NDArray[Any]]):
    """A row for each zone: ``table["slope_mean"]`` is a (zone,) array, ``pandas.DataFrame(dict(table))`` a data frame.

    Attributes
    ----------
    columns
        (zone,) arrays by name: attributes of the zones first.
    shapes
        (zone,) polygons of shapely in their own coordinates; None for the classes of a raster.
    crs
        That of the shapes.
    series
        The mean series of the zones, if they were requested.
    inputs
        The files that it was made from, which it never replaces.
    """

    columns: Mapping[str, NDArray[Any]]
    shapes: Any = None
    crs: Any = None
    series: ZoneSeries | None = None
    inputs: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        zones: Zones,
        columns: Mapping[str, NDArray[Any]],
        inputs: tuple[Path, ...],
        series: ZoneSeries | None = None,
    ) -> ZoneTable:
        """Return the table of zones with their statistics; attributes with the name of a column get another."""
        attributes = free_names(zones.columns, (*columns, *OWN_OF_GPKG), f"zones {zones.name}", "the table")
        features = getattr(zones, "features", None)
        shapes, crs = (None, None) if features is None else (features.shapes, features.crs)
        return cls({**attributes, **columns}, shapes, crs, series, inputs)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        return f"<ZoneTable: {self.rows} zones; {', '.join(self)}>"

    @property
    def rows(self) -> int:
        """Number of zones."""
        return len(next(iter(self.columns.values())))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the table: as text, or with the shapes of the zones.

        Parameters
        ----------
        path
            ``.csv`` (UTF-8; numbers to 10 digits, empty where there is none), or ``.gpkg``.
        overwrite
            Whether an existing file may be replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            When it cannot be written, when zones of a raster, which have no shapes, are to be written as GeoPackage, or
            when it would replace a file that it was made from.
        """
        target = check_table(path, overwrite=overwrite, shapes=self.shapes is not None, inputs=self.inputs)
        content = self._csv() if target.suffix.lower() == ".csv" else self._geopackage(target)
        save_bytes(content, target, overwrite=overwrite)
        return target

    def _csv(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*(map(spelled, values) for values in self.columns.values()), strict=True))
        return text.getvalue().encode()

    def _geopackage(self, target: Path) -> bytes:
        import pyogrio
        import shapely

        shapes = np.where(shapely.is_missing(self.shapes), shapely.Polygon(), self.shapes)
        # SQLite puts other files beside its own while it writes: nothing of them may stay beside the output.
        with tempfile.TemporaryDirectory(prefix="pixelwise-") as folder, warnings.catch_warnings():
            made = Path(folder) / "zones.gpkg"
            try:
                warnings.filterwarnings("ignore", "'crs' was not provided")
                pyogrio.raw.write(
                    str(made),
                    shapely.to_wkb(shapes),
                    list(self.columns.values()),
                    list(self.columns),
                    layer=target.stem,
                    driver="GPKG",
                    geometry_type="MultiPolygon",
                    promote_to_multi=True,
                    crs=None if self.crs is None else self.crs.to_wkt(),
                )
                return made.read_bytes()
            except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FieldError,
                    pyogrio.errors.GeometryError, pyogrio.errors.FeatureError) as error:  # fmt: skip
                raise OutputError(f"{target}: cannot be written ({one_line(error)}); try .csv") from None


def check_table(path: str | Path, *, overwrite: bool, shapes: bool, inputs: Iterable[str | Path] = ()) -> Path:
    """Return the path of a table that can be written.

    Raises
    ------
    OutputError
        When it exists, is an input, its name does not say a known format, or the zones have no shapes to put into it.
    """
    target = check_output(path, overwrite=overwrite, suffixes=SUFFIXES, inputs=inputs)
    if target.suffix.lower() == ".gpkg" and not shapes:
        raise OutputError(f"{target}: zones of a raster have no shapes to put into a GeoPackage; write a .csv")
    return target


def free_names(
    attributes: Mapping[str, NDArray[Any]], columns: Iterable[str], name: str, what: str
) -> dict[str, NDArray[Any]]:
    """Return attributes of zones under names that no column has; others get another, which a warning says."""
    taken = set(map(str.lower, columns))
    found: dict[str, NDArray[Any]] = {}
    renamed: list[str] = []
    for own, values in attributes.items():
        free = own
        while free.lower() in taken:
            free = f"zones_{free}"
        if free != own:
            renamed.append(f"{own} is called {free}")
        taken.add(free.lower())
        found[free] = values
    if renamed:
        more = f", and {len(renamed) - 1} more" if len(renamed) > 1 else ""
        log.warning(
            "%s: its attribute %s in %s, which already has a column of that name%s", name, renamed[0], what, more
        )
    return found


def inputs_of_zones(zones: str | Path, map_: Map) -> tuple[Path, ...]:
    """Return the files that a table is made from: that of the zones, the map, and what it says it was made of."""
    text = str(zones)
    named = (text, text.rpartition(":")[0])  # FILE or FILE:LAYER
    return (*inputs_of(map_), *(Path(name) for name in named if name))


def spelled(value: Any) -> str:
    """Return a value in a text file: empty if it is missing."""
    if value is None or value != value:  # NaN and NaT
        return ""
    return f"{value:.10g}" if isinstance(value, (float, np.floating)) else str(value)
