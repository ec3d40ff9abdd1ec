"""Files that lead elsewhere: each way writes ``ndvi_2005.*`` into a folder, beside ``ndvi_2000.tif``.

What stands for the place is a server of this machine, or a folder; each says what the error must say.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

TRANSFORM = "500000,30,0,3400000,0,-30"
SHAPE = (6, 8)
VALUES = np.arange(48, dtype=np.float32).reshape(SHAPE)


class Counter(http.server.ThreadingHTTPServer):
    """A server that remembers who came; it answers nothing that is a raster."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        self.came = 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.came += 1
        return False

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


def raster(path: Path, driver: str = "GTiff", *, dtype: str = "float32", **profile: Any) -> Path:
    merged = {"crs": "EPSG:32617", "transform": Affine(30, 0, 500000, 0, -30, 3400000), **profile}
    path.parent.mkdir(exist_ok=True)
    height, width = SHAPE
    with rasterio.open(path, "w", driver=driver, width=width, height=height, count=1, dtype=dtype, **merged) as dataset:
        dataset.write(VALUES.astype(dtype), 1)
    return path


def source(name: str, *, relative: int = 0, kind: str = "SimpleSource") -> str:
    return (
        f'<{kind}><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename><SourceBand>1</SourceBand></{kind}>'
    )


GOOD = source("ndvi_2000.tif", relative=1)


def vrt(
    path: Path, band: str = GOOD, *, srs: str = "EPSG:32617", more: str = "", kind: str = "", of_band: str = ""
) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="6" {kind}><SRS>{srs}</SRS><GeoTransform>{TRANSFORM}</GeoTransform>'
        f'<VRTRasterBand dataType="Float32" band="1" {of_band}>{band}</VRTRasterBand>{more}</VRTDataset>'
    )
    return path


def warped(path: Path, transformer: str = "", *, name: str = "", options: str = "", attribute: str = "") -> Path:
    """Write a VRT as gdalwarp does, with something in it."""
    transformer = transformer or (
        f"<SrcGeoTransform>{TRANSFORM}</SrcGeoTransform>"
        "<SrcInvGeoTransform>-16666.67,0.0333333,0,113333.33,0,-0.0333333</SrcInvGeoTransform>"
    )
    named = name or '<SourceDataset relativeToVRT="1">ndvi_2000.tif</SourceDataset>'
    path.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="6" subClass="VRTWarpedDataset"><SRS>EPSG:32617</SRS>'
        f"<GeoTransform>{TRANSFORM}</GeoTransform>"
        '<VRTRasterBand dataType="Float32" band="1" subClass="VRTWarpedRasterBand"/>'
        f"<BlockXSize>8</BlockXSize><BlockYSize>6</BlockYSize><GDALWarpOptions {attribute}>"
        "<WarpMemoryLimit>6.71089e+07</WarpMemoryLimit><ResampleAlg>NearestNeighbour</ResampleAlg>"
        f"<WorkingDataType>Float32</WorkingDataType>{options}{named}<Transformer><GenImgProjTransformer>{transformer}"
        f"<DstGeoTransform>{TRANSFORM}</DstGeoTransform>"
        "<DstInvGeoTransform>-16666.67,0.0333333,0,113333.33,0,-0.0333333</DstInvGeoTransform>"
        '</GenImgProjTransformer></Transformer><BandList><BandMapping src="1" dst="1"/></BandList>'
        "</GDALWarpOptions></VRTDataset>"
    )
    return path


def rpc(elevations: str) -> str:
    """Return a transformer by rational polynomials, over a model of elevations."""
    zeros = " 0" * 17
    values = {
        "LINE_OFF": "3", "SAMP_OFF": "4", "LAT_OFF": "30", "LONG_OFF": "-81", "HEIGHT_OFF": "0", "LINE_SCALE": "3",
        "SAMP_SCALE": "4", "LAT_SCALE": "1", "LONG_SCALE": "1", "HEIGHT_SCALE": "100",
        "LINE_NUM_COEFF": f"0 0 1{zeros}", "LINE_DEN_COEFF": f"1 0 0{zeros}", "SAMP_NUM_COEFF": f"0 1 0{zeros}",
        "SAMP_DEN_COEFF": f"1 0 0{zeros}",
    }  # fmt: skip
    items = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in values.items())
    return (
        f"<SrcRPCTransformer><RPCTransformer><Reversed>0</Reversed><PixErrThreshold>0.1</PixErrThreshold>"
        f"<DEMPath>{elevations}</DEMPath><Metadata>{items}</Metadata></RPCTransformer></SrcRPCTransformer>"
    )


def geolocated(name: str, key: str = "key") -> str:
    items = "".join(
        f'<MDI {key}="{axis}_DATASET">{name}</MDI><MDI key="{axis}_BAND">1</MDI>' for axis in ("X", "Y")
    ) + "".join(f'<MDI key="{of}_OFFSET">0</MDI><MDI key="{of}_STEP">1</MDI>' for of in ("PIXEL", "LINE"))
    return (
        "<SrcGeoLocTransformer><GeoLocTransformer><Reversed>0</Reversed>"
        f"<Metadata>{items}</Metadata></GeoLocTransformer></SrcGeoLocTransformer>"
    )


def aux(path: Path, content: str) -> None:
    path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{content}</PAMDataset>")


def overviews(name: str) -> str:
    return f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{name}</MDI></Metadata>'


def service(at: str) -> str:
    return f"<GDAL_WMTS><GetCapabilitiesUrl>http://{at}/w</GetCapabilitiesUrl></GDAL_WMTS>"


def spilled(folder: Path, name: str) -> Path:
    """Write an HFA raster that names its spill file so; return the spill file."""
    long = raster(folder / ("a" * (len(name) - 4) + ".img"), "HFA", USE_SPILL="YES")
    spill = long.with_suffix(".ige")
    content = long.read_bytes()
    assert spill.name.encode() in content
    (folder / "ndvi_2005.img").write_bytes(content.replace(spill.name.encode(), name.encode()))
    long.unlink()
    return spill


Way = Callable[[Path, str], Any]
#: By name: what writes it, and what the error says.
WAYS: dict[str, tuple[Way, str]] = {}


def way(name: str, words: str, write: Way) -> None:
    assert name not in WAYS
    WAYS[name] = write, words


def written_by(name: str, words: str) -> Callable[[Way], Way]:
    def keep(write: Way) -> Way:
        way(name, words, write)
        return write

    return keep


def of_vrt(name: str, words: str, band: Callable[[str], str], **more: Any) -> None:
    way(name, words, lambda folder, at: vrt(folder / "ndvi_2005.vrt", band(f"/vsicurl/http://{at}/a.tif"), **more))


LOCAL = "is not a local file"
of_vrt("element", LOCAL, source)
of_vrt("complex source", LOCAL, lambda u: source(u, kind="ComplexSource"))
of_vrt("kernel source", LOCAL, lambda u: source(u, kind="KernelFilteredSource"))
of_vrt("characters by number", LOCAL, lambda u: source(u.replace("/", "&#47;")))
of_vrt("two names", LOCAL, lambda u: source(f"ndvi_2000.tif</SourceFilename><SourceFilename>{u}", relative=1))
of_vrt("name space", LOCAL, lambda u: source(u).replace("SourceFilename", "a:SourceFilename"))
of_vrt("overview", LOCAL, lambda u: f"{GOOD}<Overview><SourceFilename>{u}</SourceFilename></Overview>")
of_vrt(
    "mask", LOCAL, lambda u: f"{GOOD}<MaskBand><VRTRasterBand dataType='Byte'>{source(u)}</VRTRasterBand></MaskBand>"
)
of_vrt("raw", LOCAL, lambda u: f"<SourceFilename>{u}</SourceFilename>", of_band='subClass="VRTRawRasterBand"')
of_vrt("array", LOCAL, lambda u: f"<ArraySource><SingleSourceArray>{source(u)}</SingleSourceArray></ArraySource>")
IN_ATTRIBUTE = "in an attribute"
of_vrt("attribute", IN_ATTRIBUTE, lambda u: f'<SimpleSource SourceFilename="{u}" SourceBand="1"/>')
of_vrt("attribute of capitals", IN_ATTRIBUTE, lambda u: f'<SimpleSource SOURCEFILENAME="{u}" SourceBand="1"/>')
of_vrt("attribute of an overview", IN_ATTRIBUTE, lambda u: f'{GOOD}<Overview SourceFilename="{u}" SourceBand="1"/>')
of_vrt("CDATA", "holds more than a name", lambda u: source(f"<![CDATA[{u}]]>"))
of_vrt("comment", "holds more than a name", lambda u: source(f"<!-- -->{u}"))
of_vrt("element within", "holds another one", lambda u: source(f"ndvi_2000.tif<b/>{u}"))
of_vrt("Python", "PixelFunctionCode", lambda u: f"{GOOD}<PixelFunctionCode>open('{u}')</PixelFunctionCode>")
of_vrt(
    "open option",
    "has the open option",
    lambda u: GOOD.replace("<SourceB", f"<OpenOptions><OOI key='ROOT_PATH'>{u}</OOI></OpenOptions><SourceB"),
)
of_vrt("metadata as XML", "metadata name", lambda u: f"{GOOD}<Metadata format='xml'>{source(u)}</Metadata>")

for begin in (
    "/vsicurl_streaming/http://{at}/a.tif", "/vsicurl?url=http://{at}/a.tif", "/vsizip//vsicurl/http://{at}/a.zip/a.tif",
    "/vsisubfile/0_10,/vsicurl/http://{at}/a.tif", "/vsiwebhdfs/http://{at}/webhdfs/v1/a.tif", "http://{at}/a.tif",
    "vrt:///vsicurl/http://{at}/a.tif", "DERIVED_SUBDATASET:AMPLITUDE:/vsicurl/http://{at}/a.tif", "WMTS:http://{at}/a",
    "GTIFF_DIR:1:/vsicurl/http://{at}/a.tif", "ZARR:&quot;/vsicurl/http://{at}/a&quot;", "GTI:/vsicurl/http://{at}/a",
    "STACIT:&quot;/vsicurl/http://{at}/a&quot;", "/vsis3/bucket/a.tif", "/vsistdin/",
):  # fmt: skip
    way(
        f"source {begin.partition('{')[0]}", LOCAL,
        lambda folder, at, begin=begin: vrt(folder / "ndvi_2005.vrt", source(begin.format(at=at))),
    )  # fmt: skip


@written_by("inline VRT", LOCAL)
def _inline(folder: Path, at: str) -> None:
    inner = vrt(folder / "a.xml", source(f"/vsicurl/http://{at}/a.tif")).read_text()
    vrt(folder / "ndvi_2005.vrt", source(inner.replace("<", "&lt;").replace('"', "&quot;")))


@written_by("inline service", LOCAL)
def _inline_service(folder: Path, at: str) -> None:
    vrt(folder / "ndvi_2005.vrt", source(service(at).replace("<", "&lt;")))


@written_by("blank after the name", "begins or ends with a blank")
def _blank(folder: Path, at: str) -> None:
    raster(folder / "a.tif")
    vrt(folder / "a.tif ", source(f"/vsicurl/http://{at}/a.tif"))
    vrt(folder / "ndvi_2005.vrt", source("a.tif ", relative=1))


@written_by("entity", "a VRT with a document type is not read")
def _entity(folder: Path, at: str) -> None:
    path = vrt(folder / "ndvi_2005.vrt", source("&n;"))
    path.write_text(f'<!DOCTYPE VRTDataset [<!ENTITY n "/vsicurl/http://{at}/a.tif">]>{path.read_text()}')


@written_by("service as a source", "a source of this VRT is wrong")
def _service(folder: Path, at: str) -> None:
    (folder / "a.tif").write_text(service(at))
    vrt(folder / "ndvi_2005.vrt", source("a.tif", relative=1))


@written_by("raw pixels that are a service", "read it as another format")
def _polyglot(folder: Path, at: str) -> None:
    raster(folder / "masks" / "a.bil", "EHdr")
    pixels = service(at).encode().ljust(48 * 4)
    assert len(pixels) == 48 * 4
    (folder / "masks" / "a.bil").write_bytes(pixels)
    vrt(folder / "ndvi_2005.vrt", source("masks/a.bil", relative=1))


SYSTEM = "not a coordinate system by code or WKT"
way("CRS", SYSTEM, lambda folder, at: vrt(folder / "ndvi_2005.vrt", srs=f"http://{at}/a"))
way("CRS of control points", SYSTEM, lambda folder, at: vrt(
    folder / "ndvi_2005.vrt", more=f'<GCPList Projection="http://{at}/a"/>'
))  # fmt: skip
way("CRS that is a file", SYSTEM, lambda folder, at: vrt(folder / "ndvi_2005.vrt", srs="/dev/zero"))
way("grid of a CRS", "names the grid", lambda folder, at: vrt(
    folder / "ndvi_2005.vrt", srs=f"+proj=longlat +nadgrids=https://{at}/a.tif"
))  # fmt: skip
way("class: pansharpened", "is not read", lambda folder, at: vrt(
    folder / "ndvi_2005.vrt", kind='subClass="VRTPansharpenedDataset"'
))  # fmt: skip
way("class: processed", "is not read", lambda folder, at: vrt(
    folder / "ndvi_2005.vrt", kind='subClass="VRTProcessedDataset"'
))  # fmt: skip
way("OVERVIEW_FILE of a VRT", "metadata name", lambda folder, at: vrt(
    folder / "ndvi_2005.vrt", more=overviews(f"/vsicurl/http://{at}/a.tif")
))  # fmt: skip
way("longitudes of a VRT", LOCAL, lambda folder, at: vrt(
    folder / "ndvi_2005.vrt", more=f'<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">/vsicurl/http://{at}/a</MDI></Metadata>'
))  # fmt: skip

way("warped: attribute", IN_ATTRIBUTE, lambda folder, at: warped(
    folder / "ndvi_2005.vrt", name=" ", attribute=f'SourceDataset="/vsicurl/http://{at}/a.tif"'
))  # fmt: skip
way("warped: longitudes", LOCAL, lambda folder, at: warped(
    folder / "ndvi_2005.vrt", geolocated(f"/vsicurl/http://{at}/a.tif")
))  # fmt: skip
way("warped: longitudes by another attribute", LOCAL, lambda folder, at: warped(
    folder / "ndvi_2005.vrt", geolocated(f"/vsicurl/http://{at}/a.tif", key="name")
))  # fmt: skip
way("warped: elevations", LOCAL, lambda folder, at: warped(
    folder / "ndvi_2005.vrt", rpc(f"/vsicurl/http://{at}/a.tif")
))  # fmt: skip
way("warped: CRS", SYSTEM, lambda folder, at: warped(
    folder / "ndvi_2005.vrt",
    "<ReprojectTransformer><ReprojectionTransformer>"
    f"<SourceSRS>http://{at}/a</SourceSRS><TargetSRS>EPSG:32617</TargetSRS>"
    "</ReprojectionTransformer></ReprojectTransformer>",
))  # fmt: skip
way("warped: operation", "names the grid", lambda folder, at: warped(
    folder / "ndvi_2005.vrt",
    options=f'<Option name="COORDINATE_OPERATION">+proj=pipeline +step +proj=hgridshift +grids=//{at}/a</Option>',
))  # fmt: skip


@written_by("warped: elevations that are a VRT", LOCAL)
def _elevations(folder: Path, at: str) -> None:
    vrt(folder / "masks" / "a.vrt", source(f"/vsicurl/http://{at}/a.tif"))
    warped(folder / "ndvi_2005.vrt", rpc(str(folder / "masks" / "a.vrt")))


OVERVIEWS = "as the file of its overviews"


@written_by("OVERVIEW_FILE beside a GeoTIFF", OVERVIEWS)
def _beside(folder: Path, at: str) -> None:
    aux(raster(folder / "ndvi_2005.tif"), overviews(f"/vsicurl/http://{at}/a.tif"))


@written_by("OVERVIEW_FILE in a GeoTIFF", OVERVIEWS)
def _within(folder: Path, at: str) -> None:
    with rasterio.open(raster(folder / "ndvi_2005.tif"), "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/http://{at}/a.tif")


@written_by("CRS beside a GeoTIFF", SYSTEM)
def _crs_beside(folder: Path, at: str) -> None:
    aux(raster(folder / "ndvi_2005.tif", crs=None), f"<SRS>http://{at}/a</SRS>")


for suffix in ("msk", "MSK", "ovr", "Ovr"):
    for kind in ("VRT", "service"):

        @written_by(f"{kind} as .{suffix}", "as GDAL writes it")
        def _sidecar(folder: Path, at: str, suffix: str = suffix, kind: str = kind) -> None:
            raster(folder / "ndvi_2005.tif")
            path = folder / f"ndvi_2005.tif.{suffix}"
            path.write_text(service(at))
            if kind == "VRT":
                vrt(path, source(f"/vsicurl/http://{at}/a.tif"))


for suffix in ("msk", "ovr"):

    @written_by(f".{suffix} with a .msk", "as GDAL writes it")
    def _chain(folder: Path, at: str, suffix: str = suffix) -> None:
        raster(folder / "ndvi_2005.tif")
        raster(folder / f"ndvi_2005.tif.{suffix}", dtype="uint8")
        (folder / f"ndvi_2005.tif.{suffix}.msk").write_text(service(at))

    @written_by(f".{suffix} with overviews", OVERVIEWS)
    def _chained(folder: Path, at: str, suffix: str = suffix) -> None:
        raster(folder / "ndvi_2005.tif")
        aux(raster(folder / f"ndvi_2005.tif.{suffix}", dtype="uint8"), overviews(f"/vsicurl/http://{at}/a.tif"))


@written_by("mask of a VRT", "as GDAL writes it")
def _mask_of_vrt(folder: Path, at: str) -> None:
    vrt(folder / "ndvi_2005.vrt").with_name("ndvi_2005.vrt.msk").write_text(service(at))


@written_by("mask of a VRT's source", "as GDAL writes it")
def _mask_of_source(folder: Path, at: str) -> None:
    raster(folder / "masks" / "a.tif").with_name("a.tif.msk").write_text(service(at))
    vrt(folder / "ndvi_2005.vrt", source("masks/a.tif", relative=1))


@written_by("spill file of HFA", "not one of its sidecars")
def _spill(folder: Path, at: str) -> None:
    spilled(folder, f"/vsicurl/http://{at}/a.ige").unlink()


@written_by("spill file of another", "not one of its sidecars")
def _spill_of_another(folder: Path, at: str) -> None:
    (folder / "masks").mkdir()
    spilled(folder, "masks/secret.ige").rename(folder / "masks" / "secret.ige")


@written_by("georeference of ILWIS", "which is not opened")
def _ilwis(folder: Path, at: str) -> None:
    path = raster(folder / "ndvi_2005.mpr", "ILWIS")
    text = path.read_text("latin-1")
    path.write_text(re.sub("(?m)^GeoRef=.*$", f"GeoRef=/vsicurl/http://{at}/a.grf", text), "latin-1")


@written_by("reference system of Idrisi", "which is not opened")
def _idrisi(folder: Path, at: str) -> None:
    path = raster(folder / "ndvi_2005.rst", "RST").with_suffix(".rdc")
    path.write_text(re.sub("(?m)^ref. system *: .*$", f"ref. system : /vsicurl/http://{at}/a", path.read_text()))
