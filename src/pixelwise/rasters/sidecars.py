"""Files beside a raster that GDAL opens with it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.parsers import expat

from pixelwise.errors import InputError
from pixelwise.rasters.vrt import SYSTEM, SYSTEMS, as_utf8, grids_elsewhere
from pixelwise.regular_files import open_regular

__all__ = ["NAMERS", "SEARCHED", "TIFF", "WORDS", "is_own", "rasters_beside", "sidecars_of"]

#: Nanoseconds after which another change to a folder gets another time: FAT counts two seconds, ext4 milliseconds.
TICK = 2 * 10**9

#: Sidecars that are datasets of their own, which GDAL opens with any driver, and how they begin.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

DATASETS = {".msk": TIFF, ".ovr": (*TIFF, b"EHFA_HEADER_TAG"), ".rrd": (b"EHFA_HEADER_TAG",)}

#: Text sidecars, which GDAL reads whole; one with a table of 65 536 classes takes 20 MB.
TEXTS = (".aux.xml", ".prj", ".hdr", ".rdc", ".sgrd", ".grd", ".mpr", ".csy", ".grf", ".qpj", ".tab", ".ref")

LONGEST_SIDECAR = 64 << 20

#: How GDAL recognizes an ASCII grid, whose pixels are text. A .grd is such a grid, or a short header written by R.
ASCII_GRID = re.compile(rb"(?:ncols|nrows|xllcorner|yllcorner|xllcenter|yllcenter|dx|dy|cellsize)\b", re.IGNORECASE)

#: Texts that name further files, which must be beside them: names with a folder are refused.
NAMING = {
    ".mpr": re.compile(r"(?m)^\s*\w+\s*=([^\r\n]*(?:/|\\|:)[^\r\n]*\.(?:mp#|mpr|grf|csy|dom|rpr|prj)\b)"),
    ".grf": re.compile(r"(?m)^\s*\w+\s*=([^\r\n]*(?:/|\\|:)[^\r\n]*\.csy\b)"),
    ".rdc": re.compile(r"(?m)^ref\. system\s*:([^\r\n]*(?:/|\\)[^\r\n]*)"),
}

#: Suffixes of sidecars; a world file takes letters of the raster's own suffix before its w.
SIDECARS = (*DATASETS, ".aux", *TEXTS, ".wld", "w")

#: How files of other GDAL drivers begin, which open whatever such files name: XML and JSON, labels of planetary data,
#: scenes, charts and raw rasters, and containers. Most drivers look for such words up to the first zero byte. The words
#: are long because byte pixels between 60 and 122 now and then look like a "<" and some letters.
WORDS = re.compile(
    rb"<(?:\?xml\s|GDAL_?(?:TileIndex|WMT?S)|VRTDataset|WMS_Tile|WM[ST]_\w+_Capab|Capabilities|WCS_GDAL|MRF_META|kml[\s>]"
    rb"|NetworkLink|GroundOverlay|Dimap_Doc|PSD_DIMAP|n1:Level|xfdu:XFDU|level1Product|Table_of_Contents|CacheInfo"
    rb"|Product|rs2:product|OGRVRT|JGISRaster|phototiles|x-dem)"
    rb"|\{\s*\"\w{4,}\"\s*:|\"(?:stac_version|currentVersion)\""
    rb"|OziExplorer|DatasetHeader|IMAGINE_RAW_FILE|NDF_REVISION|(?:PDS|ODL)_VERSION_ID|\^QUBE|\^IMAGE|IsisCube|LBLSIZE="
    rb"|numTiles|REQ ID =|NOHRSC GIS",
    re.IGNORECASE,
)

#: Rasters whose texts name files in their folder, under any name.
NAMERS = (".mpr", ".rst")

#: Metadata of satellite scenes: one file serves many rasters beside it.
OF_SCENES = (".txt", ".xml", ".imd", ".rpb", ".rpc", ".att", ".eph", ".geo", ".til", ".pvl", ".met", ".dim")

#: Texts that hold pixels are searched for names of grids only up to here: their headers are shorter.
SEARCHED = 4 << 20


def sidecars_of(paths: Iterable[Path]) -> list[Path]:
    """Return the sidecars of some files, found by name as GDAL does: masks, overviews, metadata and world files."""
    listed: dict[Path, Mapping[str, tuple[str, ...]] | None] = {}
    found: dict[Path, None] = {}
    for path in paths:
        folder, suffix = path.parent, path.suffix
        if folder not in listed:
            try:
                listed[folder], _ = _beside(folder)
            except OSError:  # the folder may be entered, but not listed
                listed[folder] = None
        names = listed[folder]
        if names is not None and not names:
            continue
        world = (f".{suffix[1:2]}{suffix[-1:]}w", f"{suffix}w") if suffix else ()
        tried = [path.name + end for end in (".msk", ".ovr", ".aux.xml", ".aux", ".rrd")]
        tried += [path.stem + end for end in (".aux", ".rrd", ".tab", ".wld", *world)]
        for name in tried:
            exact = ((name,) if (folder / name).is_file() else ()) if names is None else names.get(name.lower(), ())
            found.update((folder / one, None) for one in exact)
    return list(found)


def _beside(folder: Path) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Return what matters in a folder now; see `_folder`. OSError where it cannot be listed."""
    changed = folder.stat().st_mtime_ns
    settled = abs(time.time_ns() - changed) > TICK
    return (_folder if settled else _folder.__wrapped__)(str(folder), changed)


@lru_cache(maxsize=16)
def _folder(folder: str, mtime_ns: int) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Return what matters in a folder: sidecar names by their lower-case name, and names of non-regular files.

    GDAL ignores case when it looks for sidecars. The folder keeps its modification time as long as nothing in it is
    created, renamed or removed.
    """
    sidecars: dict[str, tuple[str, ...]] = {}
    odd = []
    with os.scandir(folder) as entries:
        for entry in entries:
            lower = entry.name.lower()
            if lower.endswith(SIDECARS):
                sidecars[lower] = (*sidecars.get(lower, ()), entry.name)
            try:
                if not entry.is_file() and not entry.is_dir() and entry.stat():
                    odd.append(entry.name)
            except OSError:
                continue  # a dangling link
    return sidecars, tuple(odd)


def rasters_beside(path: Path, seen: frozenset[Path]) -> list[tuple[Path, str]]:
    """Return rasters beside a file that GDAL would open with it, and their drivers; refuse what GDAL did not write.

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
    folder = path.parent
    lower, stem = path.name.lower(), path.stem.lower()
    try:
        sidecars, odd = _beside(folder)
    except PermissionError:
        # A folder that may be entered but not listed: there GDAL tries the names themselves.
        names = [base + suffix for base in (path.name, path.stem) for suffix in (*DATASETS, ".aux", *TEXTS)]
        sidecars, odd = {name.lower(): (name,) for name in names if os.path.lexists(folder / name)}, ()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    # GDAL's drivers append many suffixes, such as .tfw and _rpc.txt: all start with a dot or an underscore.
    tried = "" if path.suffix.lower() in NAMERS else (lower, f"{stem}.", f"{stem}_")
    for name in odd:
        if name.lower().startswith(tried):
            open_regular(folder / name).close()
    found: list[tuple[Path, str]] = []
    for suffix in (*DATASETS, ".aux", *TEXTS):
        # GDAL finds masks and overviews only by the whole name of the file they belong to.
        bases = (lower,) if suffix in (".msk", ".ovr") else (lower, stem)
        for name in {name for base in bases for name in sidecars.get(base + suffix, ())}:
            if folder / name not in seen and (name != path.name or suffix in TEXTS):
                driver = _check_sidecar(path, folder / name, suffix)
                if driver:
                    found.append((folder / name, driver))
    return found


def _check_sidecar(path: Path, sidecar: Path, suffix: str) -> str:
    """Refuse a sidecar with the wrong content or a text that leads elsewhere; return the driver if it is a raster."""
    with open_regular(sidecar) as file:
        begin = file.read(64)
        if suffix in DATASETS and begin and not begin.startswith(DATASETS[suffix]):
            kind = "GeoTIFF" if suffix == ".msk" else "raster"
            raise InputError(f"{path}: its sidecar {sidecar} is not a {kind} as GDAL writes it; remove it")
        if suffix in TEXTS:
            size = os.fstat(file.fileno()).st_size
            if size > LONGEST_SIDECAR and not _has_pixels(begin, suffix):
                whose = f"{path}: " if sidecar == path else f"{path}: its sidecar {sidecar} "
                raise InputError(
                    f"{whose}is {size / 1e6:.0f} MB; the limit for a header is {LONGEST_SIDECAR / 1e6:.0f} MB"
                )
            content = begin + file.read(SEARCHED if _has_pixels(begin, suffix) else LONGEST_SIDECAR)
            if suffix == ".aux.xml":
                text, systems = _pam(sidecar, content)
            else:
                text, systems = content.decode("latin-1"), []
            elsewhere = grids_elsewhere(text)
            if elsewhere:
                raise InputError(f"{sidecar}: names the grid {elsewhere!r}, which is not opened")
            for system in systems:
                if not SYSTEM.match(system):
                    raise InputError(f"{sidecar}: holds {system!r}, which is not a coordinate system by code or WKT")
            if suffix in NAMING:
                named = NAMING[suffix].search(text)
                if named:
                    raise InputError(f"{sidecar}: names {named[1].strip()!r}, which is not opened")
            return ""
    if begin.startswith(TIFF):
        return "GTiff"
    return "HFA" if begin.startswith(b"EHFA_HEADER_TAG") else ""


def _pam(sidecar: Path, content: bytes) -> tuple[str, list[str]]:
    """Return all texts in GDAL's own metadata, and those that are coordinate systems.

    As in VRTs, GDAL treats an attribute like an element and ignores the declared encoding.
    """
    texts: list[str] = []
    systems: list[str] = []
    # Where the text of a coordinate system begins in `texts`; text of nested elements belongs to it too.
    begins: list[int | None] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        for key, value in attributes.items():
            texts.extend(("\n", value))
            if key.lower() in SYSTEMS:
                systems.append(value.strip())
        texts.append("\n")
        begins.append(len(texts) if tag.lower() in SYSTEMS else None)

    def end(_: str) -> None:
        begin = begins.pop()
        if begin is not None:
            systems.append("".join(texts[begin:]).strip())
        texts.append("\n")

    def doctype(*_: Any) -> None:
        raise InputError(f"{sidecar}: has a document type, which GDAL never writes; remove it")

    if not content.strip():
        return "", []
    parser = expat.ParserCreate(encoding="utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.append
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(as_utf8(content), True)
    except expat.ExpatError as error:
        raise InputError(f"{sidecar}: not XML as GDAL writes it ({error}); remove it") from None
    return "".join(texts), systems


def _has_pixels(begin: bytes, suffix: str) -> bool:
    """Whether a file with a text suffix holds pixels: raw ones, or those of an ASCII grid."""
    return b"\0" in begin or (suffix == ".grd" and ASCII_GRID.match(begin) is not None)


def is_own(path: Path, name: str) -> bool:
    """Whether a file is a sidecar of another: it is beside it and its name begins with the other's name.

    So are metadata of a satellite scene, which GDAL finds by file names alone.
    """
    folder, base = os.path.split(os.path.abspath(name))  # noqa: PTH100 - by name, links not followed
    if folder != os.path.abspath(path.parent):  # noqa: PTH100
        proxies = os.environ.get("GDAL_PAM_PROXY_DIR")
        return proxies is not None and folder == os.path.abspath(proxies)  # noqa: PTH100
    return base.lower().startswith(path.stem.lower()) or base.lower().endswith(OF_SCENES)
