"""What a GeoPackage holds, read without running anything that is stored in it."""

from __future__ import annotations

import re
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import InputError
from pixelwise.rasters.vrt import grids_elsewhere
from pixelwise.words import one_line, shown

if TYPE_CHECKING:
    import sqlite3

__all__ = ["layers_with_shapes"]

#: All tables and views of a GeoPackage, and those of them that are layers.
TABLES = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'view')"
LAYERS = ("SELECT table_name FROM gpkg_contents", "SELECT table_name FROM gpkg_geometry_columns")
#: GDAL itself queries tables with these prefixes, but not tables of other programs, such as QGIS's layer_styles.
SYSTEM_TABLES = ("gpkg_", "rtree_", "sqlite_", "ogr_")
#: A virtual table, and the module that computes it.
VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s+TABLE\b(?s:.*?)\bUSING\s+([^\s(]+)", re.IGNORECASE)
#: The kinds of table that may be read: SQLite's spatial and full-text indexes read no other files.
READ = ("table", "view", "rtree", "fts3", "fts4", "fts5")
#: SQLite's codes for columns that are computed when read, and when written.
COMPUTED = (2, 3)
#: Seconds: a GeoPackage has a few hundred coordinate systems and tables, which take milliseconds.
LONGEST_QUERY = 30.0


def layers_with_shapes(path: Path, what: str) -> list[str]:
    """Return the layers with shapes of a GeoPackage, none of which is a query.

    What a query computes, how long it takes and which servers it contacts is up to its author. GeoPackage's own tables,
    which GDAL reads first, may be queries too: only the list of all tables cannot be one.
    """
    import sqlite3

    deadline = time.monotonic() + LONGEST_QUERY
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
            base.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
            kinds = {name.lower(): (name, _kind(kind, sql or "")) for kind, name, sql in base.execute(TABLES)}
            for lower, (name, kind) in kinds.items():
                if lower.startswith(SYSTEM_TABLES) and kind not in ("table", "rtree"):
                    raise InputError(f"{what} {path}: its table {name} is a {kind}, which no GeoPackage has")
                if kind not in READ:
                    raise InputError(f"{what} {path}: its table {name} is a {kind}, which is not read")
            listed, shaped = ([str(name) for (name,) in base.execute(query)] for query in LAYERS)
            layers = {name.lower() for name in (*listed, *shaped)}
            for lower in layers & kinds.keys():
                name, kind = kinds[lower]
                if kind != "table":
                    raise InputError(
                        f"{what} {path}: its layer {name} is a {kind}, which is not read; if you trust it, convert it "
                        f"to a table first: {shlex.join(['ogr2ogr', f'{path.stem}_tables.gpkg', str(path)])}"
                    )
            for lower, (name, kind) in kinds.items():
                if kind == "table" and (lower in layers or lower.startswith(SYSTEM_TABLES)):
                    _check_columns(path, base, name, what)
            systems = base.execute("SELECT definition FROM gpkg_spatial_ref_sys")
            elsewhere = next(filter(None, (grids_elsewhere(str(text)) for (text,) in systems)), "")
    except (sqlite3.Error, ValueError) as error:
        raise InputError(f"{what} {path}: cannot be read ({one_line(error)})") from None
    if elsewhere:
        raise InputError(f"{what} {path}: its CRS names the grid {elsewhere!r}, which is not opened")
    with_shapes = {name.lower() for name in shaped}
    return [name for name in listed if name.lower() in with_shapes]


def _kind(kind: str, sql: str) -> str:
    """Return what an SQLite table is; for a virtual one, the module behind it, which may do anything."""
    virtual = VIRTUAL.match(sql)
    if virtual is None:
        return kind
    module = virtual[1].strip("\"'`[]").lower()
    return module if module in READ else f"virtual table of {shown(module)}"


def _check_columns(path: Path, base: sqlite3.Connection, name: str, what: str) -> None:
    """Refuse computed columns: the file does not say how long computing them takes, or how large they become."""
    # The statement, not the function of the same name, which a table in the file may hide.
    quoted = name.replace('"', '""')
    for _, column, *_, hidden in base.execute(f'PRAGMA table_xinfo("{quoted}")'):
        if hidden in COMPUTED:
            raise InputError(f"{what} {path}: its table {name} computes the column {column}, which is not read")
