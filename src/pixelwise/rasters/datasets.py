"""The only way to open a dataset: local files only, and no files other than those that the user named.

There are two lines of defence. Whatever a file refers to is checked before GDAL opens the file (`vrt`, and the
sidecars here) and compared with what GDAL says it opened. And GDAL itself is configured to refuse network names.
"""

from __future__ import annotations

import os
import re
import shlex
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.env import hasenv
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.session import DummySession
from rasterio.windows import Window

from pixelwise.errors import InputError
from pixelwise.rasters.sidecars import SEARCHED, TIFF, WORDS, is_own, rasters_beside
from pixelwise.rasters.urls import Location
from pixelwise.rasters.vrt import grids_elsewhere, is_vrt, sources_behind
from pixelwise.regular_files import check_regular, open_regular
from pixelwise.words import one_line, shown

__all__ = [
    "GDAL_ERRORS",
    "OPTIONS",
    "WARNINGS",
    "TextGrid",
    "allowed_drivers",
    "check_sidecars",
    "check_texts",
    "files_behind",
    "files_named",
    "local_only",
    "open_again",
    "open_alone",
    "open_geotiff",
    "open_local",
    "open_page",
]

#: Local raster formats. GDAL's network, service and container drivers are never tried. Nor is ERS: its header may name
#: any file, even one on the network, which GDAL then opens with any driver.
DRIVERS = (
    "GTiff", "VRT", "JP2OpenJPEG", "RRASTER", "ENVI", "HFA", "AAIGrid", "EHdr", "RST", "SAGA", "GSBG",
    "ILWIS", "PCRaster", "PNG", "JPEG", "SRTMHGT", "USGSDEM",
)  # fmt: skip

#: GDAL's errors as rasterio raises them. Properties that read a directory late, such as `colorinterp`, raise classes
#: without a public name.
GDAL_ERRORS = (RasterioError, CPLE_BaseError)

#: `catch_warnings` is not thread-safe, so files that may warn are opened one at a time.
WARNINGS = threading.Lock()

#: A name that matches no file.
NOWHERE = "/vsicurl/none:"

#: GDAL's options while it opens and reads files.
OPTIONS: Mapping[str, str] = {
    # Refuse a raw file (ENVI, EHdr) that is too short, rather than read zeros.
    "RAW_CHECK_FILE_SIZE": "YES",
    # /vsicurl/, /vsis3/ and the like may open only this file (GDAL 3.10: all of them except the login of /vsiswift/).
    "CPL_VSIL_CURL_ALLOWED_FILENAME": NOWHERE,
    # Everything else that contacts a server (WMS, WCS, a CRS by URL) goes through curl, which rejects this proxy.
    "GDAL_HTTP_PROXY": "none://",
    "GDAL_HTTPS_PROXY": "none://",
    # Pixel functions that come with a VRT.
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "SIBLING_OR_CHILD_OF_VRT_PATH",
    # GDAL's own threads would not inherit options set in one thread; the pool is the only parallelism.
    "VRT_NUM_THREADS": "1",
}

CONTAINERS = frozenset((".nc", ".nc4", ".hdf", ".h5", ".he5"))

#: Metadata that name rasters of longitudes and latitudes, which GDAL opens with any driver when it warps.
LOCATIONS = ("X_DATASET", "Y_DATASET")
#: Files that an ILWIS map names but GDAL does not list: data, domain, grid and coordinate system.
ILWIS_NAMES = re.compile(r"(?mi)^\s*\w+\s*=\s*'?([^\r\n'=;]+\.(?:mp#|dom|grf|csy))(?!\w)")
CONTAINER = re.compile(rb"SQLite format 3|PK\x03\x04|fgb|CDF|NITF|NSIF|(?s:.*?)(?:\x89HDF\r\n|%PDF-)")
#: GDAL's drivers identify a file by its first 1024 bytes; some then read more.
LOOKED_AT = 64 << 10


class _Wall(threading.local):
    """Whether the options are set in this thread: setting them again takes as long as opening a file."""

    stands = False


_WALL = _Wall()


@contextmanager
def local_only(**options: Any) -> Iterator[None]:
    """Let GDAL open and read only local files in this context: in this thread or, if it is the main one, in all.

    rasterio sets options process-wide in the main thread and per thread elsewhere. Programs that use rasterio to read
    from servers get their own settings back when the context ends.

    Parameters
    ----------
    **options
        Further options of GDAL.
    """
    with ExitStack() as entered:
        if not _WALL.stands:
            # Only an outermost `Env` saves the options that it replaces, to restore them; otherwise a thread would
            # permanently keep what the main thread had set temporarily.
            if not hasenv() and threading.current_thread() is not threading.main_thread():
                entered.enter_context(rasterio.Env(session=DummySession()))
            entered.enter_context(rasterio.Env(session=DummySession(), **OPTIONS, **options))
            entered.callback(setattr, _WALL, "stands", False)
            _WALL.stands = True
        elif options:
            entered.enter_context(rasterio.Env(session=DummySession(), **options))
        yield


@cache
def allowed_drivers() -> tuple[str, ...]:
    """Return those of `DRIVERS` that this GDAL has."""
    with rasterio.Env() as env:
        present = env.drivers()
    return tuple(driver for driver in DRIVERS if driver in present)


@cache
def _plain_drivers() -> tuple[str, ...]:
    """Return the drivers that open files naming no others; a file counts as VRT only if `is_vrt` says so."""
    return tuple(driver for driver in allowed_drivers() if driver != "VRT")


def open_local(path: Path) -> DatasetReader:
    """Open a file with a local driver; a VRT only if all its sources, direct and nested, are local files too.

    Raises
    ------
    InputError
        When the file, one of its sidecars or one of its sources is not local or not a raster.
    """
    if not is_vrt(path):
        return _open_explained(path, _plain_drivers())
    behind = set()
    for source in sources_behind(path):
        behind.add(os.path.realpath(source))
        try:
            if is_vrt(source):
                check_sidecars(source)
                continue
            with _open_explained(source, _plain_drivers()) as dataset:
                if isinstance(dataset, TextGrid):
                    _read_all_lines(dataset, source)
                behind.update(map(os.path.realpath, dataset.files))
                driver = dataset.driver
            _check_driver(source, driver)
        except InputError as error:
            raise InputError(f"{path}: a source of this VRT is wrong: {error}") from None
    return _open_explained(path, ("VRT",), behind)


def open_again(path: Path, driver: str) -> DatasetReader:
    """Open a file that `open_local` opened before; raises GDAL's `RasterioError` where that fails."""
    return _open(str(path), (driver,))


def open_page(name: str) -> DatasetReader:
    """Open a page of an open TIFF by GDAL's name for it; only its shape may be used.

    Raises
    ------
    InputError
        When the page is damaged.
    """
    try:
        return _open_quietly(name, ("GTiff",))
    except GDAL_ERRORS as error:
        raise InputError(f"{name}: cannot be opened ({one_line(error)})") from None


def open_geotiff(path: Path) -> DatasetReader:
    """Open a GeoTIFF, such as a map; raises GDAL's `RasterioError` where that fails.

    Raises
    ------
    InputError
        When it is not a regular file, or refers to other files.
    """
    check_regular(path)
    return _open_checked(path, ("GTiff",))


def open_alone(path: Path) -> DatasetReader:
    """Open a GeoTIFF as if there were no files beside it; raises GDAL's `RasterioError` where that fails.

    Raises
    ------
    InputError
        When it is not a regular file.
    """
    check_regular(path)
    # GDAL looks for no other files in the folder, neither now nor when a property is read.
    with local_only(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        return _open_quietly(str(path), ("GTiff",))


def files_behind(path: Path) -> Iterator[Path]:
    """Yield a file that `open_local` opens and, if it is a VRT, all its direct and nested sources, each once."""
    yield path
    if is_vrt(path):
        yield from sources_behind(path)


def files_named(dataset: DatasetReader, path: Path) -> tuple[Path, ...]:
    """Return what GDAL reads for an open file besides the file and its sidecars: data of a header, sources of a VRT.

    Raises
    ------
    InputError
        When a source of a VRT is missing or not a raster.
    """
    # A GeoTIFF refers to no other files, and asking GDAL takes 0.3 ms.
    if dataset.driver == "GTiff":
        return ()
    if dataset.driver != "VRT":
        found = list(map(Path, dataset.files))
        if dataset.driver == "ILWIS":
            found += _files_of_ilwis(path)
    else:
        found = []
        for source in sources_behind(path):
            found.append(source)
            with open_regular(source) as file:
                begin = file.read(4)
            if begin not in TIFF and not is_vrt(source):
                with open_local(source) as opened:
                    found += files_named(opened, source)
    return tuple(dict.fromkeys(file for file in found if file != path))


def _files_of_ilwis(path: Path) -> list[Path]:
    found: dict[Path, None] = {}
    pending = [path]
    while pending:
        with open_regular(pending.pop()) as file:
            text = file.read(SEARCHED).decode("latin-1")
        for name in ILWIS_NAMES.findall(text):
            named = path.parent / name
            # Domains and systems that ship with ILWIS are not files here.
            if named not in found and named.is_file():
                found[named] = None
                pending += [named] if named.suffix.lower() == ".grf" else []
    return list(found)


def check_sidecars(path: Path, seen: frozenset[Path] = frozenset()) -> None:
    """Refuse files beside a raster that GDAL would open but that are not sidecars as GDAL writes them.

    Parameters
    ----------
    path
        The file, which may be a sidecar itself.
    seen
        The files that it is a sidecar of.

    Raises
    ------
    InputError
        When a file has a sidecar's name but not its content, or refers to files elsewhere.
    """
    for sidecar, driver in rasters_beside(path, seen):
        _open_explained(sidecar, (driver,), seen=seen | {path}).close()


def _open_explained(
    path: Path, drivers: Sequence[str], behind: Collection[str] = (), seen: frozenset[Path] = frozenset()
) -> DatasetReader:
    try:
        return _open_checked(path, drivers, behind, seen)
    except (InputError, MemoryError):
        raise
    # Some of GDAL's own errors, which rasterio passes on, have no public base class.
    except Exception as error:
        hint = "; NetCDF and HDF are not read: export GeoTIFFs first" if path.suffix.lower() in CONTAINERS else ""
        raise InputError(f"{path}: not a raster that can be read ({_reason(error, path)}){hint}") from None


def _open_checked(
    path: Path, drivers: Sequence[str], behind: Collection[str] = (), seen: frozenset[Path] = frozenset()
) -> DatasetReader:
    """Open a file with the first driver that accepts it, and compare what GDAL opened with what it may open."""
    check_sidecars(path, seen)
    with local_only():
        dataset = _open_quietly(str(path), drivers)
        try:
            _check_opened(dataset, path, behind)
        except BaseException:
            dataset.close()
            raise
    return dataset


def _open_quietly(name: str, drivers: Sequence[str] | None) -> DatasetReader:
    # A raster without georeferencing is valid input; the warning would be an error in strict programs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return _open(name, drivers)


def _open(name: str, drivers: Sequence[str] | None) -> DatasetReader:
    # rasterio.open() takes a single driver, its reader a list of drivers to try.
    with local_only():
        dataset = DatasetReader(name, driver=drivers if drivers is None else list(drivers), sharing=False)
        if dataset.driver != "AAIGrid":
            return dataset
        dataset.close()
        return TextGrid(name, driver=["AAIGrid"], sharing=False)


class TextGrid(DatasetReader):  # type: ignore[misc]
    """An ASCII grid, whose lines GDAL is made to read in order from the first.

    To read a line n lines below a damaged one, GDAL 3.10 tries the damaged one 2^n times.
    """

    #: Lines before this one have been read.
    line = 0

    def read_lines(self, count: int) -> None:
        """Let GDAL find the first lines; the `RasterioError` it raises tells which one is damaged."""
        while self.line < count:
            super().read(1, window=Window(0, self.line, 1, 1))
            self.line += 1

    def read(self, indexes: Any = None, out: Any = None, window: Window | None = None, **options: Any) -> Any:
        """Read as from any dataset."""
        self.read_lines(self.height if window is None else int(window.row_off + window.height))
        return super().read(indexes, out=out, window=window, **options)


def _read_all_lines(grid: TextGrid, path: Path) -> None:
    """Refuse an ASCII grid with a damaged line, where GDAL reads it through a VRT."""
    try:
        grid.read_lines(grid.height)
    except GDAL_ERRORS as error:
        reason = one_line(error.__cause__ or error)
        raise InputError(
            f"{path}: row {grid.line} of its grid cannot be read ({reason}); is the file truncated?"
        ) from None


def _check_driver(source: Path, driver: str) -> None:
    """Refuse a source that GDAL would read as another format: for a VRT's source it tries all its drivers."""
    # GeoTIFF's driver comes first, except for drivers that look for words, and no TIFF begins with those.
    if driver == "GTiff":
        return
    # Judge by content, without GDAL: to identify a file, GDAL opens it and whatever it refers to.
    with open_regular(source) as file:
        head = file.read(LOOKED_AT)
    other_words = CONTAINER.match(head) or WORDS.search(head.split(b"\0", 1)[0])
    if other_words:
        words = shown(other_words[0].decode("latin-1"))
        raise InputError(
            f"{source}: has the format {driver} but contains {words}, so GDAL would read it as another format through "
            "a VRT; open the raster itself instead of the VRT"
        )
    try:
        with _open_quietly(str(source), None) as dataset:
            other = dataset.driver
    except GDAL_ERRORS:
        other = "something else"
    if other != driver:
        raise InputError(
            f"{source}: has the format {driver}, but GDAL would read it as {other} through a VRT; convert it to "
            f"GeoTIFF first: {shlex.join(['rio', 'convert', str(source), f'{source.stem}.tif'])}"
        )


def _reason(error: Exception, path: Path) -> str:
    """Return GDAL's reason in one line, without the path that the message gives anyway."""
    text = one_line(error)
    return text.replace(f"'{path}' ", "").replace(f"{path}: ", "").replace(str(path), path.name)


def _check_opened(dataset: DatasetReader, path: Path, behind: Collection[str]) -> None:
    """Refuse a dataset that has its overviews elsewhere, or for which GDAL opened files that it may not.

    Overviews are checked first: GDAL opens them, wherever they are, when asked for the list of files.
    """
    overviews = dataset.get_tag_item("OVERVIEW_FILE", "OVERVIEWS")
    if overviews is not None and not is_own(path, str(path.parent / overviews.removeprefix(":::BASE:::"))):
        raise InputError(f"{path}: names {overviews!r} as the file of its overviews, which is not one of its sidecars")
    check_texts(dataset, path)
    # A GeoTIFF refers to nothing else, and its sidecars were checked by name.
    for name in dataset.files if dataset.driver != "GTiff" else ():
        if not (name == str(path) or is_own(path, name) or os.path.realpath(name) in behind):
            raise InputError(f"{path}: names {name!r}, which is not one of its sidecars")


def check_texts(dataset: DatasetReader, path: Location) -> None:
    """Refuse a dataset whose texts name files that GDAL would open later.

    Raises
    ------
    InputError
    """
    # Whatever text it comes from, this is the coordinate system that GDAL would use for transformations.
    elsewhere = _grids_of(dataset.crs) or (_grids_of(dataset.gcps[1]) if dataset.crs is None else "")
    if elsewhere:
        raise InputError(f"{path}: its CRS names the grid {elsewhere!r}, which is not opened")
    # The sources of a VRT have been checked already.
    places = dataset.tags(ns="GEOLOCATION") if dataset.driver != "VRT" else {}
    place = next((value for key, value in places.items() if key.upper() in LOCATIONS), None)
    if place is not None:
        raise InputError(f"{path}: names {place!r} as the raster of its coordinates, which is not opened")


#: Files of a series share one system, and searching it takes a tenth of the time of opening a file.
_grids_in = lru_cache(maxsize=64)(grids_elsewhere)


def _grids_of(crs: CRS | None) -> str:
    """Return the first grid file elsewhere that a coordinate system names; empty where there is none."""
    if crs is None:
        return ""
    # WKT 2 has all operations, WKT 1 the PROJ strings of extensions. WKT 2 first: to write WKT 1, PROJ opens grids.
    for version in ("WKT2_2019", None):
        try:
            elsewhere = _grids_in(crs.to_wkt(version=version))
        except CRSError:
            continue
        if elsewhere:
            return elsewhere
    return ""
