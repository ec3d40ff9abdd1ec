"""What a VRT refers to: its elements are checked against a list of those that GDAL writes, before GDAL sees it.

GDAL opens whatever a VRT names with any of its drivers, network drivers included, and has its own way of reading XML:
an attribute can stand for an element, case does not matter, and neither does the declared encoding. So a name is
accepted only in the form that GDAL writes, and anything else that might be a name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from pixelwise.errors import InputError
from pixelwise.regular_files import check_regular, is_file, open_regular, read_bytes
from pixelwise.words import shown

__all__ = [
    "DEEPEST",
    "MOST_PATHS",
    "SYSTEM",
    "SYSTEMS",
    "as_utf8",
    "grids_elsewhere",
    "is_vrt",
    "sources_behind",
    "sources_of",
]

#: VRTs within VRTs: GDAL 3.10 says "Recursion detected" at 32.
DEEPEST = 31

#: Paths from a VRT down to files, all of which GDAL follows for every window: 4 us each, 0.4 s in all.
MOST_PATHS = 100_000

#: No real VRT is longer: a mosaic of 100 000 files takes 50 MB.
LONGEST = 128 << 20

#: How deeply elements may be nested; gdalwarp's are 9 deep.
DEEPEST_ELEMENT = 40

CLASSES = ("VRTDataset", "VRTWarpedDataset")

#: Elements that name files.
NAMES = frozenset(["sourcefilename", "sourcedataset", "dempath"])
#: Metadata that name files: rasters of longitudes and latitudes.
NAMING_KEYS = frozenset(["X_DATASET", "Y_DATASET"])
#: Metadata that name an overview file, which GDAL's own VRTs never have.
REFUSED_KEYS = frozenset(["OVERVIEW_FILE"])

SYSTEMS = frozenset(["srs", "sourcesrs", "targetsrs", "demsrs", "projection"])
#: A system as WKT, PROJ string, code, URN, or the URL that stands for a code; GDAL takes any other text for a file or
#: a URL.
SYSTEM = re.compile(
    r"(?:[A-Za-z_]+\s*[\[(]|\+|urn:|URN:|[A-Za-z_0-9]+:[\w.,+-]+$|https?://(?:www\.)?opengis\.net/def/crs/[\w/.-]+$"
    r"|(?:WGS84|WGS72|NAD27|NAD83)$|$)"
)
#: The files named by a system or a transformation, in PROJ strings and in WKT.
GRIDS = re.compile(
    r"(?<!\w)(?P<plus>\+)?(?:nadgrids|geoidgrids|grids|file|model|init)\s*=\s*(?:\"+([^\"]*)|([^\s\"]*))"
    r"|\"PROJ4_GRIDS\"\s*,\s*\"([^\"]*)\""
    r"|PARAMETERFILE\s*[\[(]\s*\"[^\"]*\"\s*,\s*\"([^\"]*)\""
    r"|GEOIDMODEL\s*[\[(]\s*\"PROJ ([^\"]*)\"",
    re.IGNORECASE,
)
#: What every PROJ string has: without it, "file=/data/x" is just a word in a note.
PROJ = re.compile(r"(?<!\w)(?:proj|init)\s*=", re.IGNORECASE)
#: Strings in WKT, in which a doubled quotation mark stands for one.
STRINGS = re.compile(r"\"([^\"]*(?:\"\"[^\"]*)*)\"")

#: Elements with free text, which GDAL keeps but does not open.
FREE = frozenset(
    [
        "description", "unittype", "category", "name", "f", "mdi", "metadata", "id", "info", "key", "domain",
        "unit", "colorinterp", "pixelfunctiontype",
    ]
)  # fmt: skip
#: All other elements that GDAL writes into VRTs and warped VRTs.
KNOWN = frozenset(
    [
        "vrtdataset", "geotransform", "gcplist", "gcp", "overviewlist", "blockxsize", "blockysize", "vrtrasterband",
        "maskband", "offset", "scale", "categorynames", "colortable", "entry", "gdalrasterattributetable", "fielddefn",
        "type", "usage", "row", "nodatavalue", "hidenodatavalue", "overview", "histograms", "histitem", "histmin",
        "histmax", "bucketcount", "includeoutofrange", "approximate", "histcounts", "simplesource", "complexsource",
        "averagedsource", "nodatafrommasksource", "kernelfilteredsource", "openoptions", "ooi", "sourceband",
        "sourceproperties", "srcrect", "dstrect", "scaleoffset", "scaleratio", "lut", "exponent", "srcmin", "srcmax",
        "dstmin", "dstmax", "clamp", "nodata", "usemaskband", "colortablecomponent", "kernel", "size", "coefs",
        "maskvaluethreshold", "remappedvalue", "sourcetransfertype", "pixelfunctionlanguage", "pixelfunctionarguments",
        "bufferradius", "skipnoncontributingsources",
        "gdalwarpoptions", "warpmemorylimit", "resamplealg", "workingdatatype", "option", "transformer",
        "approxtransformer", "maxerror", "maxerrorforward", "maxerrorreverse", "basetransformer",
        "genimgprojtransformer", "srcgeotransform", "srcinvgeotransform", "dstgeotransform", "dstinvgeotransform",
        "reprojecttransformer", "reprojectiontransformer", "options", "coordinateoperation", "sourcecoordinateepoch",
        "targetcoordinateepoch", "bandlist", "bandmapping", "srcnodatareal", "srcnodataimag", "dstnodatareal",
        "dstnodataimag", "srcalphaband", "dstalphaband", "initdest", "cutline", "cutlineblenddist", "srcovrlevel",
        "multithread", "srcgcptransformer", "dstgcptransformer", "gcptransformer", "order", "reversed", "refine",
        "minimumgcps", "tolerance", "srctpstransformer", "dsttpstransformer", "tpstransformer", "numthreads",
        "srcrpctransformer", "dstrpctransformer", "rpctransformer", "pixerrthreshold", "heightoffset", "heightscale",
        "deminterpolation", "demmissingvalue", "demapplyvdatumshift", "rpcfootprint", "rpcmaxiterations",
        "checkforwarddem", "srcgeoloctransformer", "dstgeoloctransformer", "geoloctransformer",
        "srchomographytransformer", "dsthomographytransformer", "homographytransformer", "homography",
    ]
)  # fmt: skip
#: Options with which a source may be opened: none of them names a file.
OPEN_OPTIONS = frozenset(["OVERVIEW_LEVEL", "NUM_THREADS", "GEOREF_SOURCES"])
#: Elements in which a slash may be a division or part of a WKT name ("WGS 84 / UTM zone 17N").
WITH_STROKES = frozenset(["option", "coordinateoperation", "pixelfunctionarguments"])
#: GDAL 3.10 crashes on a kernel without a size.
KERNEL_SIZE = re.compile(r"[1-9]\d{0,2}")
NUMBERS = re.compile(r"[-+\d.eE,;\s]*|true|false|yes|no", re.IGNORECASE)

#: How names for other drivers, in archives or on servers begin: ``WMTS:``, ``vrt://``.
CONNECTION = re.compile(r"[A-Za-z][A-Za-z0-9_]+:")


def is_vrt(path: Path) -> bool:
    """Whether a file is a VRT by its name, or by its content as GDAL judges it.

    Raises
    ------
    InputError
        When it cannot be opened, or is not a regular file.
    """
    if path.suffix.lower() == ".vrt":
        return True
    with open_regular(path) as file:
        return b"<vrtdataset" in file.read(1024).lower()


def sources_of(path: Path) -> dict[str, Path]:
    """Return the sources of a VRT, by the names used in it; does not check that they are files.

    Raises
    ------
    InputError
        When it is not a VRT as GDAL writes it, or contains something that might name further files.
    """
    return {name: place for name, place, _ in _named(path)}


def _named(path: Path) -> list[tuple[str, Path, int]]:
    """Return name, path and number of occurrences of each source."""
    check_regular(path)
    content = read_bytes(path, most=LONGEST)
    text = as_utf8(content)
    walk = _Walk(path)
    # A name that is not UTF-8 is refused.
    walk.ascii_only = text is not content
    try:
        walk.parse(text)
    except expat.ExpatError as error:
        raise InputError(f"{path}: not a VRT ({error})") from None
    # Before it resolves relative names, GDAL follows a link to the VRT itself, but not links among its folders.
    base = _followed(path).parent
    found: dict[tuple[str, bool], int] = {}
    for name, relative in walk.found:
        found[name, relative] = found.get((name, relative), 0) + 1
    return [(name, base / name if relative else Path(name), count) for (name, relative), count in found.items()]


def as_utf8(content: bytes) -> bytes:
    """Return XML text as UTF-8; text that is not UTF-8 is taken for Latin-1, which older programs wrote.

    GDAL ignores the declared encoding: it takes names as raw bytes.
    """
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content


def _followed(path: Path) -> Path:
    """Return the target of a path whose last part may be a link."""
    for _ in range(40):
        try:
            path = path.parent / path.readlink()
        except OSError:
            return path
    raise InputError(f"{path}: its links form a loop")


class _Walk:
    """One pass through a VRT's XML, without building a tree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[str, bool]] = []
        self.ascii_only = False
        self._open: list[str] = []
        self._texts: list[list[str]] = []
        self._attributes: dict[str, str] = {}
        self._sizes: list[str] = []

    def parse(self, content: bytes) -> None:
        parser = expat.ParserCreate(encoding="utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.CommentHandler = parser.StartCdataSectionHandler = self._odd
        parser.ProcessingInstructionHandler = self._odd
        parser.Parse(content, True)

    def _refuse(self, what: str) -> None:
        raise InputError(f"{self.path}: {what}; if you trust this VRT, convert it to GeoTIFF first (gdal_translate)")

    def _doctype(self, *_: Any) -> None:
        self._refuse("a VRT with a document type is not read")

    def _odd(self, *_: Any) -> None:
        if self._open and self._open[-1] in NAMES:
            self._refuse(f"its element {self._open[-1]} holds more than a name")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2].lower()
        known = {key.rpartition(":")[2].lower(): value for key, value in attributes.items()}
        if not self._open:
            kind = known.get("subclass", "VRTDataset")
            if name != "vrtdataset":
                raise InputError(f"{self.path}: not a VRT (it begins with {shown(tag)})")
            if kind not in CLASSES:
                raise InputError(f"{self.path}: a VRT of class {shown(kind)} is not read; convert it to GeoTIFF first")
        elif len(self._open) >= DEEPEST_ELEMENT:
            self._refuse(f"its elements are more than {DEEPEST_ELEMENT} deep")
        elif self._open[-1] in NAMES or self._open[-1] == "mdi":
            self._refuse(f"its element {self._open[-1]} holds another one, {shown(tag)}")
        # XML within metadata is kept unchanged.
        if name not in NAMES | SYSTEMS | FREE | KNOWN and "metadata" not in self._open:
            self._check_unknown(tag, attributes.values())
        for key, value in known.items():
            if key in NAMES:
                self._refuse(f"its element {shown(tag)} names {shown(value)} in an attribute, {key}")
            if key != "xmlns" and "metadata" not in self._open:
                self._check(name if name in WITH_STROKES and key not in SYSTEMS | FREE else key, value)
        if name == "ooi" and known.get("key", "").upper() not in OPEN_OPTIONS:
            self._refuse(f"its element {tag} has the open option {shown(known.get('key', ''))}")
        if name == "kernelfilteredsource":
            self._sizes = []
        if name == "kernel":
            if known or self._sizes or self._open[-1:] != ["kernelfilteredsource"]:
                self._refuse("its element KernelFilteredSource has a kernel other than one with a size")
            self._sizes.append("")
        if name in NAMES and set(known) - {"relativetovrt", "shared"}:
            self._refuse(f"its element {tag} has the attributes {shown(', '.join(attributes))}")
        self._open.append(name)
        self._texts.append([])
        self._attributes = known

    def _text(self, text: str) -> None:
        if self._texts:
            self._texts[-1].append(text)

    def _end(self, tag: str) -> None:
        name, text = self._open.pop(), "".join(self._texts.pop())
        if name == "size" and self._open[-1:] == ["kernel"]:
            self._sizes.append(text.strip())
        if name == "kernelfilteredsource" and not (len(self._sizes) == 2 and KERNEL_SIZE.fullmatch(self._sizes[1])):
            self._refuse("its element KernelFilteredSource has a kernel other than one with a size")
        if name in NAMES:
            if name == "dempath" and not text.strip():
                return
            relative = self._attributes.get("relativetovrt", "0")
            if relative not in ("0", "1"):
                self._refuse(f"its source {shown(text)} has relativeToVRT {shown(relative)}, neither 0 nor 1")
            if "metadata" in self._open:
                self._refuse(f"its metadata name {shown(text)}")
            self._take(text, relative=relative == "1")
        elif name == "mdi":
            keys = {value.upper() for value in self._attributes.values()}
            if keys & REFUSED_KEYS:
                self._refuse(f"its metadata name {shown(text)}")
            if keys & NAMING_KEYS:
                if not Path(text).is_absolute():
                    self._refuse(f"its metadata name {shown(text)}, which is not an absolute path")
                self._take(text, relative=False)
        elif name in NAMES | SYSTEMS | FREE | KNOWN:
            if "metadata" not in self._open:
                self._check(name, text)
        elif "metadata" not in self._open:
            self._check_unknown(tag, [text])

    def _take(self, name: str, *, relative: bool) -> None:
        """Take the name of a source if every reader takes it for the same file."""
        # GDAL ends the text where it says, other readers at the last letter: "a.tif" and "a.tif " are two files.
        if name != name.strip() or not name.isprintable() or not name:
            self._refuse(f"its source {name!r} begins or ends with a blank, or has unprintable characters")
        if self.ascii_only and not name.isascii():
            self._refuse(f"its source {name!r} is not UTF-8")
        if name.startswith(("/vsi", "\\vsi", "<", "{")) or "://" in name or CONNECTION.match(name):
            raise InputError(f"{self.path}: its source {shown(name)} is not a local file")
        self.found.append((name, relative))

    def _check(self, name: str, text: str) -> None:
        """Refuse a text that might lead somewhere."""
        text = text.strip()
        if name in SYSTEMS:
            if not SYSTEM.match(text):
                self._refuse(f"its element {name} holds {shown(text)}, which is not a coordinate system by code or WKT")
        elif name not in FREE:
            strokes = ("://", "/vsi", "\\") if name in WITH_STROKES else ("/", "\\")
            if any(stroke in text for stroke in strokes):
                self._refuse(f"its element {name} names {shown(text)}")
        if name in SYSTEMS or name in WITH_STROKES:
            elsewhere = grids_elsewhere(text)
            if elsewhere:
                self._refuse(f"its element {name} names the grid {shown(elsewhere)}")

    def _check_unknown(self, tag: str, texts: Any) -> None:
        odd = next((text for text in texts if not NUMBERS.fullmatch(text.strip())), None)
        if odd is not None:
            self._refuse(f"its element {shown(tag)} is unknown, and holds {shown(odd)}")


def grids_elsewhere(system: str) -> str:
    """Return the first grid that a coordinate system names with a path or URL; empty where there is none.

    Grids without a path are looked up in PROJ's own folders.
    """
    plain = STRINGS.sub(_without_marks, system) if '""' in system else system
    for text in dict.fromkeys((system, plain)):
        is_proj = PROJ.search(text) is not None
        for found in GRIDS.finditer(text):
            if not (is_proj or found["plus"]) and (found[2] is not None or found[3] is not None):
                continue
            for name in next(filter(None, found.groups()[1:]), "").replace("@", "").split(","):
                if "/" in name or "\\" in name or "~" in name:
                    return name
    return ""


def _without_marks(string: re.Match[str]) -> str:
    return f'"{string[1].replace(chr(34) * 2, chr(39))}"'


def sources_behind(path: Path) -> Iterator[Path]:
    """Yield all files behind a VRT once, its own sources first; sources that are VRTs are walked too.

    Raises
    ------
    InputError
        When a source is missing or not a local file, a VRT is a source of itself, or VRTs are nested too deeply or
        name too many files for GDAL.
    """
    walks: dict[Path, list[tuple[Path, int]]] = {}
    depths: dict[Path, int] = {}
    ways: dict[Path, int] = {}
    # Depth first, without recursion: a VRT is entered, and left once everything it names is known.
    stack: list[tuple[Path, Path, bool]] = [(path, path.resolve(), False)]
    entered: set[Path] = set()
    yielded: set[Path] = {path.resolve()}
    while stack:
        this, real, done = stack.pop()
        if done:
            entered.discard(real)
            below = walks[real]
            depths[real] = 1 + max((depths.get(source, 0) for source, _ in below), default=0)
            ways[real] = sum(count * ways.get(source, 1) for source, count in below)
            if depths[real] > DEEPEST:
                raise InputError(f"{path}: nests VRTs more than {DEEPEST} levels deep")
            if ways[real] > MOST_PATHS + sum(count for _, count in below):
                raise InputError(
                    f"{path}: its sources are named {ways[real]:.2g} times by VRTs within VRTs; "
                    f"the limit is {MOST_PATHS}"
                )
            continue
        if real in depths:
            continue
        if real in entered:
            raise InputError(f"{this}: this VRT is a source of itself")
        entered.add(real)
        if len(entered) > DEEPEST:
            raise InputError(f"{path}: nests VRTs more than {DEEPEST} levels deep")
        stack.append((this, real, True))
        below = walks[real] = []
        for name, source, count in _named(this):
            if not is_file(source):
                raise InputError(f"{this}: its source {shown(name)} is not a local file")
            target = source.resolve()
            below.append((target, count))
            if target not in yielded:
                yielded.add(target)
                yield source
            if is_vrt(source):
                if target in entered:
                    raise InputError(f"{source}: this VRT is a source of itself")
                stack.append((source, target, False))
