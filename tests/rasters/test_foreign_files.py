"""Nobody's file reaches the network, or a file that nobody named: a real server counts who comes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner
from rasterio.env import GDALVersion, get_gdal_config, set_gdal_config
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.errors import InputError
from pixelwise.methods.regress import regress
from pixelwise.rasters import datasets
from pixelwise.rasters import vrt as vrt_module
from pixelwise.rasters.datasets import OPTIONS, check_sidecars, files_behind, local_only, open_again, open_local
from pixelwise.rasters.handles import reading
from pixelwise.rasters.headers import read_header
from pixelwise.rasters.polygons import read_polygons
from pixelwise.rasters.vrt import DEEPEST, grids_elsewhere, sources_behind
from pixelwise.regular_files import read_text
from support.foreign import GOOD, VALUES, WAYS, Counter, aux, overviews, raster, service, source, spilled, vrt, warped
from support.rasters import write_raster

SUFFIXES = (".vrt", ".tif", ".img", ".mpr", ".rst")


@pytest.fixture
def server() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.shutdown()
    counter.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with four dates; where a way writes the fifth."""
    for year in range(2000, 2004):
        raster(tmp_path / "in" / f"ndvi_{year}.tif")
    return tmp_path / "in"


def written(folder: Path) -> Path:
    return next(path for path in folder.glob("ndvi_2005.*") if path.suffix in SUFFIXES)


def refused(path: Path, read: Callable[[Path], Any] = read_header) -> str:
    with pytest.raises(InputError) as raised:
        read(path)
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "kernel",
    [
        "",
        "<Scale><Size>3</Size><Coefs>0 0 0 0 1 0 0 0 0</Coefs></Scale>",
        "<Kernel><Coefs>1</Coefs></Kernel>",
        "<Kernel><Size>0</Size><Coefs></Coefs></Kernel>",
        "<Kernel/><Kernel><Size>3</Size><Coefs>0 0 0 0 1 0 0 0 0</Coefs></Kernel>",
        '<Kernel Size="0"><Size>3</Size><Coefs>0 0 0 0 1 0 0 0 0</Coefs></Kernel>',
        '<DstRect xOff="0"><Kernel><Size>3</Size><Coefs>0 0 0 0 1 0 0 0 0</Coefs></Kernel></DstRect>',
    ],
)
def test_a_filter_without_a_kernel_is_refused(folder: Path, kernel: str) -> None:
    """GDAL 3.10 crashes where it is read."""
    of_kernel = source("ndvi_2000.tif", relative=1, kind="KernelFilteredSource")
    text = of_kernel.replace("</KernelFilteredSource>", f"{kernel}</KernelFilteredSource>")
    assert "has a kernel other than one with a size" in refused(vrt(folder / "x.vrt", text))
    whole = "<Kernel><Size>3</Size><Coefs>0 0 0 0 1 0 0 0 0</Coefs></Kernel></KernelFilteredSource>"
    read_header(vrt(folder / "x.vrt", of_kernel.replace("</KernelFilteredSource>", whole)))


def test_a_sidecar_may_call_the_order_of_bands_anything(folder: Path) -> None:
    """rasterio's `interleaving` is a ValueError then."""
    path = folder / "ndvi_2000.tif"
    structure = '<Metadata domain="IMAGE_STRUCTURE"><MDI key="INTERLEAVE">RLEAVE</MDI></Metadata>'
    path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{structure}</PAMDataset>")
    np.testing.assert_array_equal(pw.open_stack(folder).read(pw.Block(0, 0, 6, 8))[0], VALUES)


@pytest.mark.parametrize("name", WAYS)
def test_no_way_leads_to_a_server(name: str, folder: Path, server: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    write, words = WAYS[name]
    write(folder, server.at)
    path = written(folder)
    assert words in refused(path)
    inputs = [*sorted(folder.glob("ndvi_200[0-3].tif")), path]
    with pytest.raises(InputError) as raised:
        pw.open_stack(inputs)
    assert words in str(raised.value)
    # A relative name is joined to no folder: HFA takes its spill file from anywhere then.
    monkeypatch.chdir(folder)
    assert words in refused(Path(path.name))
    assert server.came == 0


@pytest.mark.parametrize(
    "name", ["blank after the name", ".msk with overviews", "spill file of HFA", "service as .msk"]
)
def test_no_command_leads_to_a_server(name: str, folder: Path, server: Counter) -> None:
    out = folder.parent / "trend.tif"
    raster(folder / "ndvi_2005.tif")
    pw.apply(pw.open_stack(folder), "ols", out)
    (folder / "ndvi_2005.tif").unlink()
    WAYS[name][0](folder, server.at)
    for command in (["plan", str(folder)], ["apply", "ols", str(folder), "-o", str(folder.parent / "other.tif")]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1, result.output
        assert WAYS[name][1].split()[0] in result.output
    # The map still names ndvi_2005.tif; what lies there now, or beside it, is another file.
    result = CliRunner().invoke(main, ["verify", str(out), str(folder)])
    assert result.exit_code == 1, result.output
    assert server.came == 0


def test_a_map_leads_to_no_server(folder: Path, server: Counter) -> None:
    out = folder.parent / "trend.tif"
    pw.apply(pw.open_stack(folder), "ols", out)
    out.with_name("trend.tif.msk").write_text(service(server.at))
    with pytest.raises(InputError, match=r"its sidecar .* is not a GeoTIFF"):
        pw.open_map(out)
    out.with_name("trend.tif.msk").unlink()
    aux(out, overviews(f"/vsicurl/http://{server.at}/a.tif"))
    for command in (["verify", str(out)], ["plot", str(out), "-o", str(folder / "a.png")]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert "as the file of its overviews" in result.output
    assert server.came == 0


# ------------------------------------------------------------------------------------------------- the walls


@pytest.mark.parametrize("name", ["element", "OVERVIEW_FILE in a GeoTIFF", "service as .ovr", "warped: CRS"])
def test_the_server_counts_what_gdal_asks_without_a_wall(name: str, folder: Path, server: Counter) -> None:
    WAYS[name][0](folder, server.at)

    def ask() -> None:
        try:
            with DatasetReader(str(written(folder)), driver=["GTiff", "VRT"], sharing=False) as dataset:
                assert dataset.files
                dataset.read(1)
        except RasterioError:
            pass

    with rasterio.Env(GDAL_HTTP_TIMEOUT=2), local_only():
        ask()
    assert server.came == 0
    with rasterio.Env(GDAL_HTTP_TIMEOUT=2):
        ask()
    assert server.came > 0


HANDLERS = [
    "/vsicurl/http://{at}/{n}.tif", "/vsicurl?url=http%3A%2F%2F{at}%2F{n}.tif", "/vsicurl_streaming/http://{at}/{n}.tif",
    "/vsis3/b/{n}.tif", "/vsis3_streaming/b/{n}.tif", "/vsigs/b/{n}.tif", "/vsigs_streaming/b/{n}.tif",
    "/vsiaz/b/{n}.tif", "/vsiaz_streaming/b/{n}.tif", "/vsiadls/b/{n}.tif", "/vsioss/b/{n}.tif",
    "/vsioss_streaming/b/{n}.tif", "/vsiswift/b/{n}.tif", "/vsiswift_streaming/b/{n}.tif",
    "/vsiwebhdfs/http://{at}/webhdfs/v1/{n}.tif", "http://{at}/{n}.tif", "/vsizip//vsicurl/http://{at}/{n}.zip/a.tif",
    "WMTS:http://{at}/{n}", "<GDAL_WMTS><GetCapabilitiesUrl>http://{at}/{n}</GetCapabilitiesUrl></GDAL_WMTS>",
]  # fmt: skip


@pytest.mark.parametrize("name", HANDLERS)
def test_gdal_itself_may_ask_no_server(name: str, server: Counter) -> None:
    """Also of a user's own buckets and keys, while files are read that may be anybody's."""
    own = {
        "AWS_S3_ENDPOINT": server.at, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_NO_SIGN_REQUEST": "YES",
        "CPL_GS_ENDPOINT": f"http://{server.at}/", "GS_NO_SIGN_REQUEST": "YES", "OSS_ENDPOINT": server.at,
        "OSS_HTTPS": "NO", "OSS_VIRTUAL_HOSTING": "FALSE", "OSS_SECRET_ACCESS_KEY": "a", "OSS_ACCESS_KEY_ID": "b",
        "AZURE_STORAGE_CONNECTION_STRING":
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://{server.at}/a",
        "SWIFT_STORAGE_URL": f"http://{server.at}/v1/x", "SWIFT_AUTH_TOKEN": "t", "GDAL_HTTP_TIMEOUT": "2",
        "GDAL_HTTP_MAX_RETRY": "0",
    }  # fmt: skip

    def ask(number: int) -> None:
        with rasterio.Env(session=rasterio.session.DummySession(), **own):
            text = name.format(at=server.at.replace(":", "%3A") if "%3A" in name else server.at, n=number)
            with pytest.raises(RasterioError):
                DatasetReader(text, driver=None, sharing=False)

    with local_only():
        ask(1)
    assert server.came == 0
    ask(2)
    assert server.came > 0


def test_the_wall_stands_in_threads_and_falls_where_it_ends() -> None:
    key = "CPL_VSIL_CURL_ALLOWED_FILENAME"

    def now() -> str | None:
        return get_gdal_config(key, normalize=False)

    def within() -> tuple[str | None, str | None]:
        with local_only():
            inside = now()
        return inside, now()

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(within).result() == (OPTIONS[key], None)
        with local_only():
            assert now() == OPTIONS[key]
            # The thread sees what the main thread has set, and keeps nothing of it.
            assert thread.submit(within).result() == (OPTIONS[key], OPTIONS[key])
        assert now() is None
        assert thread.submit(now).result() is None
        assert thread.submit(within).result() == (OPTIONS[key], None)


def test_a_users_own_settings_come_back(folder: Path) -> None:
    key = "GDAL_HTTP_PROXY"
    with rasterio.Env(GDAL_HTTP_PROXY="http://proxy.example:3128"):
        pw.apply(pw.open_stack(folder), "ols")
        assert get_gdal_config(key, normalize=False) == "http://proxy.example:3128"
    assert get_gdal_config(key, normalize=False) is None
    set_gdal_config(key, "http://proxy.example:3128")
    try:
        pw.apply(pw.open_stack(folder), "ols")
        assert get_gdal_config(key, normalize=False) == "http://proxy.example:3128"
    finally:
        set_gdal_config(key, "")


def test_every_thread_that_reads_has_the_wall(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened again, in any thread, is opened within it: a file may have been replaced meanwhile."""
    seen = set()

    def spy(path: Path, driver: str) -> DatasetReader:
        dataset = open_again(path, driver)
        read = dataset.read

        def reading(*arguments: object, **named: object) -> object:
            allowed = get_gdal_config("CPL_VSIL_CURL_ALLOWED_FILENAME", normalize=False)
            seen.add((threading.current_thread() is threading.main_thread(), allowed))
            return read(*arguments, **named)

        monkeypatch.setattr(dataset, "read", reading, raising=False)
        return dataset

    for year in range(2000, 2004):
        vrt(folder / f"ndvi_{year}.vrt", source(f"ndvi_{year}.tif", relative=1))
    stack = pw.open_stack(str(folder / "*.vrt"))
    monkeypatch.setattr("pixelwise.rasters.handles.open_again", spy)
    pw.apply(stack, "ols", executor="threads", jobs=2)
    assert {allowed for _, allowed in seen} == {OPTIONS["CPL_VSIL_CURL_ALLOWED_FILENAME"]}


# --------------------------------------------------------------------------------------- what stays as it was


def test_vrts_of_gdalbuildvrt_and_gdalwarp_are_read(folder: Path) -> None:
    (folder / "vrt").mkdir()
    with rasterio.open(folder / "ndvi_2000.tif") as dataset:
        rasterio.shutil.copy(dataset, folder / "vrt" / "ndvi_2000.vrt", driver="VRT")
    with rasterio.open(folder / "ndvi_2000.tif") as dataset, WarpedVRT(dataset, crs="EPSG:4326") as other:
        rasterio.shutil.copy(other, folder / "vrt" / "warped.vrt", driver="VRT")
        expected = other.read(1)
    with open_local(folder / "vrt" / "warped.vrt") as dataset:
        np.testing.assert_array_equal(dataset.read(1), expected)
    assert read_header(folder / "vrt" / "ndvi_2000.vrt").driver == "VRT"
    outer = vrt(folder / "vrt" / "outer.vrt", source("ndvi_2000.vrt", relative=1))
    with open_local(outer) as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)
    assert [path.name for path in files_behind(outer)] == ["outer.vrt", "ndvi_2000.vrt", "ndvi_2000.tif"]
    (folder / "link").mkdir()
    (folder / "link" / "linked.vrt").symlink_to("../vrt/outer.vrt")
    with open_local(folder / "link" / "linked.vrt") as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)
    warped(folder / "by_hand.vrt")
    with open_local(folder / "by_hand.vrt") as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)


def test_sidecars_are_read(folder: Path) -> None:
    path = raster(folder / "ndvi_2005.tif", crs=None)
    aux(path, "<SRS>EPSG:32617</SRS><Metadata><MDI key='A'>http://example.org/a</MDI></Metadata>")
    mask = raster(folder / "ndvi_2005.tif.msk", dtype="uint8")
    with rasterio.open(mask, "r+") as dataset:
        dataset.write(np.where(VALUES == 7, 0, 255).astype("uint8"), 1)
        dataset.update_tags(INTERNAL_MASK_FLAGS_1="2")
    raster(folder / "ndvi_2005.tif.ovr")
    header = read_header(path)
    assert header.grid.crs == rasterio.CRS.from_epsg(32617)
    assert header.bands[0].masked
    stack = pw.open_stack([folder / "ndvi_2000.tif", path])
    with reading((stack,)):
        values = stack.read(stack.grid.block)
    assert np.isnan(values[1]).sum() == 1


#: A coordinate system that is bound to WGS 84 by a grid.
BOUND = (
    'BOUNDCRS[SOURCECRS[GEOGCRS["a",DATUM["b",ELLIPSOID["c",6378137,298.25]],CS[ellipsoidal,2],AXIS["lat",north],'
    'AXIS["lon",east],ANGLEUNIT["degree",0.0174532925199433]]],TARGETCRS[GEOGCRS["WGS 84",DATUM["World Geodetic System '
    '1984",ELLIPSOID["WGS 84",6378137,298.257223563]],CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT['
    '"degree",0.0174532925199433]]],ABRIDGEDTRANSFORMATION["d",METHOD["NTv2",ID["EPSG",9615]],PARAMETERFILE['
    '"Latitude and longitude difference file","NAME",ID["EPSG",8656]]]]'
)


def _quoted(text: str) -> str:
    return text.replace('"', "&quot;")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"<SRS>{_quoted(BOUND)}</SRS>".replace("NAME", "&#47;no&#x2f;grid"), "the grid '/no/grid'"),
        (f"<SRS><![CDATA[{BOUND}]]></SRS>".replace("NAME", "/no/grid"), "the grid '/no/grid'"),
        (f"<a><SRS>{_quoted(BOUND)}</SRS></a>".replace("NAME", "a&quot;&quot;/no/grid"), "/no/grid"),
        (f"<GCPList Projection='{_quoted(BOUND)}'/>".replace("NAME", "&#47;no&#47;grid"), "the grid '/no/grid'"),
        (f"<a>{'x' * (5 << 20)}</a><SRS>{_quoted(BOUND)}</SRS>".replace("NAME", "/no/grid"), "the grid '/no/grid'"),
        ("<SRS>&#47;no/file</SRS>", "holds '/no/file', which is not a coordinate system"),
        ("<SRS><![CDATA[/no/file]]></SRS>", "holds '/no/file', which is not a coordinate system"),
        ("<GCPList Projection='/no/file'/>", "holds '/no/file', which is not a coordinate system"),
        ("<a SRS='/no/file'/>", "holds '/no/file', which is not a coordinate system"),
        ("<SRS>EPSG:32617</SRS><b>", "not XML as GDAL writes it"),
    ],
)  # fmt: skip
def test_the_metadata_of_gdal_are_read_as_xml(content: str, message: str, folder: Path) -> None:
    path = raster(folder / "ndvi_2005.tif", crs=None)
    aux(path, content)
    with pytest.raises(InputError) as raised:
        open_local(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_metadata_of_gdal_have_no_document_type(folder: Path) -> None:
    path = raster(folder / "ndvi_2005.tif", crs=None)
    sidecar = folder / "ndvi_2005.tif.aux.xml"
    sidecar.write_text('<!DOCTYPE a [<!ENTITY b "c">]><PAMDataset/>')
    with pytest.raises(InputError, match="has a document type"):
        open_local(path)
    # What older programs wrote, and what GDAL writes beside it, is read.
    for good in (
        b"",
        b"<PAMDataset><SRS>EPSG:32617</SRS><a>\xe4</a></PAMDataset>",
        b"<PAMDataset><!-- a --></PAMDataset>",
    ):
        sidecar.write_bytes(good)
        open_local(path).close()


@pytest.mark.parametrize(
    "content", [f"<SRS>{_quoted(BOUND)}</SRS>", f"<GCPList Projection='{_quoted(BOUND)}'>GCP</GCPList>"]
)
def test_the_crs_that_gdal_returns_names_no_grid_elsewhere(
    content: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever text of a file it comes from."""
    monkeypatch.setattr("pixelwise.rasters.datasets.check_sidecars", lambda *_: None)
    path = raster(folder / "ndvi_2005.tif", crs=None)
    points = "".join(f'<GCP Id="" Pixel="{x}" Line="{y}" X="{x}" Y="{y}"/>' for x, y in ((0, 0), (8, 0), (0, 6)))
    aux(path, content.replace("NAME", "/no/grid").replace("GCP<", f"{points}<"))
    with pytest.raises(InputError, match=r"ndvi_2005\.tif: its CRS names the grid '/no/grid', which is not opened"):
        open_local(path)
    # PROJ looks for a plain name in its own folders.
    aux(path, content.replace("NAME", "grid").replace("GCP<", f"{points}<"))
    open_local(path).close()


@pytest.mark.parametrize(
    "system",
    [
        'PARAMETERFILE["","/a"]', 'PARAMETERFILE["a""b", "/a"]', 'PARAMETERFILE["a","b""/a"]', 'x +grids="/a b"',
        'EXTENSION["PROJ4","+nadgrids=""/a"""]', 'GEOIDMODEL["PROJ /a"]', "+geoidgrids=@b,~/a",
    ],
)  # fmt: skip
def test_grids_within_quotation_marks(system: str) -> None:
    assert "/a" in grids_elsewhere(system)
    assert not grids_elsewhere(system.replace("~", "").replace("/", ""))


def test_coordinates_are_no_raster_that_metadata_name(folder: Path) -> None:
    path = raster(folder / "ndvi_2005.tif")
    aux(path, '<Metadata domain="GEOLOCATION"><MDI key="X_DATASET">/no/raster</MDI></Metadata>')
    with pytest.raises(InputError, match="names '/no/raster' as the raster of its coordinates, which is not opened"):
        open_local(path)


def test_a_sidecar_of_the_same_tick_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raster(folder / "a.tif")
    now = folder.stat().st_mtime_ns
    check_sidecars(path)
    (folder / "a.tif.msk").write_text("no mask")
    os.utime(folder, ns=(now, now))
    with pytest.raises(InputError, match="is not a GeoTIFF"):
        check_sidecars(path)
    # A folder that rests is listed once, for a list of 10 000 files takes as long as to open some of them.
    (folder / "a.tif.msk").unlink()
    os.utime(folder, ns=(now, now - 10**10))
    scans = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scans.append(path) or scandir(path))
    for _ in range(3):
        check_sidecars(path)
    assert scans == [str(folder)]


def test_other_formats_are_read_with_what_lies_beside_them(folder: Path) -> None:
    for driver, suffix in (("HFA", "img"), ("ENVI", "img"), ("EHdr", "bil"), ("RST", "rst"), ("SAGA", "sdat"),
                           ("RRASTER", "grd"), ("AAIGrid", "asc"), ("ILWIS", "mpr")):  # fmt: skip
        path = raster(folder / driver.lower() / f"a.{suffix}", driver)
        with open_local(path) as dataset:
            np.testing.assert_array_equal(dataset.read(1), VALUES)
        if driver in ("HFA", "EHdr", "AAIGrid"):
            with open_local(vrt(path.with_name("a.vrt"), source(path.name, relative=1))) as dataset:
                np.testing.assert_array_equal(dataset.read(1), VALUES)
    spilled(folder, "abc.ige").rename(folder / "ndvi_2005.ige")
    with open_local(folder / "ndvi_2005.img") as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)


#: How files begin that GDAL's drivers of indexes, services and labels take for theirs; all name others.
OTHERS = [
    b"<GDALTileIndexDataset><IndexDataset>FIFO</IndexDataset><LocationField>a</LocationField></GDALTileIndexDataset>",
    b"abc <GDALTileIndexDataset><IndexDataset>FIFO</IndexDataset></GDALTileIndexDataset>",
    b"<GDAL_WMS><Service name='TMS'><ServerUrl>file://FIFO</ServerUrl></Service></GDAL_WMS>",
    b"<MRF_META><Raster><DataFile>FIFO</DataFile></Raster></MRF_META>",
    b"<kml><NetworkLink><Link><href>FIFO</href></Link></NetworkLink></kml>",
    b'{"stac_version": "1.0.0", "features": [{"assets": {"a": {"href": "FIFO"}}}]}',
    b"OziExplorer Map Data File Version 2.2\nname\nFIFO\n",
    b"IMAGINE_RAW_FILE\nPIXEL_FILES FIFO\n",
    b"PDS_VERSION_ID = PDS3\n^IMAGE = ('FIFO')\n",
    b"SQLite format 3\0",
    b"PK\x03\x04",
]


@pytest.mark.parametrize("begin", OTHERS, ids=lambda begin: begin[:12].decode())
def test_a_source_is_not_asked_of_all_drivers(begin: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw raster may begin with any text, of which another driver opens what it names."""
    path = raster(folder / "envi" / "d.dat", "ENVI", dtype="float64")
    fifo = folder / "fifo"
    content = begin.replace(b"FIFO", str(fifo).encode())
    path.write_bytes((content + path.read_bytes())[: max(path.stat().st_size, len(content))])
    opened = []
    monkeypatch.setattr("pixelwise.rasters.datasets._open_quietly", _noting(opened))
    with open_local(path) as dataset:
        assert dataset.driver == "ENVI"
    with pytest.raises(InputError, match=r"d\.dat: has the format ENVI but contains .* as another format"):
        open_local(vrt(path.with_name("a.vrt"), source("d.dat", relative=1)))
    # GDAL's list of all drivers is None.
    assert None not in opened


def test_a_source_that_gdal_takes_for_another_raster(folder: Path) -> None:
    path = raster(folder / "envi" / "d.dat", "ENVI")
    path.write_bytes(b"GIF89a" + path.read_bytes()[6:])
    with pytest.raises(InputError, match=r"has the format ENVI, but GDAL would read it as .* through a VRT"):
        open_local(vrt(path.with_name("a.vrt"), source("d.dat", relative=1)))


def _noting(opened: list[object]) -> Callable[[str, Sequence[str] | None], DatasetReader]:
    plain = datasets._open_quietly

    def noting(name: str, drivers: Sequence[str] | None) -> DatasetReader:
        opened.append(drivers)
        return plain(name, drivers)

    return noting


def test_pixels_of_one_byte_are_no_words(folder: Path) -> None:
    """Values between 60 and 122 are letters, such as those of classes and dark scenes."""
    path = raster(folder / "envi" / "d.dat", "ENVI", dtype="uint8")
    values = np.random.default_rng(1).integers(60, 123, (256, 256), dtype=np.uint8)
    values[0] = np.frombuffer(b"<abcdefgh:ijk>AB" * 16, np.uint8)
    with rasterio.open(path, "w", driver="ENVI", width=256, height=256, count=1, dtype="uint8", crs="EPSG:32617",
                       transform=Affine(30, 0, 500000, 0, -30, 3400000)) as dataset:  # fmt: skip
        dataset.write(values, 1)
    wide = source("d.dat", relative=1)
    with open_local(vrt(path.with_name("a.vrt"), wide)) as dataset:
        assert (dataset.read(1)[:, :8] >= 60).all()


def test_sources_of_many_formats_are_read(folder: Path) -> None:
    for driver, suffix, dtype in (("ENVI", "dat", "float32"), ("ENVI", "img", "uint8"), ("HFA", "img", "float32"),
                                  ("EHdr", "bil", "uint8"), ("RST", "rst", "float32"), ("SAGA", "sdat", "float32"),
                                  ("AAIGrid", "asc", "float32"), ("PNG", "png", "uint8"),
                                  ("JP2OpenJPEG", "jp2", "uint8")):  # fmt: skip
        path = folder / driver.lower() / f"a_{dtype}.{suffix}"
        if driver in ("PNG", "JP2OpenJPEG"):
            path.parent.mkdir()
            plain = raster(folder / f"{driver}.tif", dtype="uint8")
            more = {"QUALITY": "100", "REVERSIBLE": "YES"} if suffix == "jp2" else {}
            rasterio.shutil.copy(plain, path, driver=driver, **more)
        else:
            raster(path, driver, dtype=dtype)
        with open_local(vrt(path.with_name(f"{driver}.vrt"), source(path.name, relative=1))) as dataset:
            np.testing.assert_array_equal(dataset.read(1), VALUES)


# ------------------------------------------------------------------------------------------- VRTs within VRTs


def test_vrts_within_vrts_are_walked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = []
    really = vrt_module._named
    monkeypatch.setattr(vrt_module, "_named", lambda path: walked.append(path) or really(path))
    last = "ndvi_2000.tif"
    for number in range(24):
        last = vrt(folder / f"{number}.vrt", source(last, relative=1) + source(f"./{last}", relative=1)).name
    text = refused(folder / "23.vrt")
    assert "its sources are named 1.3e+05 times by VRTs within VRTs; the limit is 100000" in text
    assert len(walked) == 24
    with open_local(folder / "9.vrt") as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)


@pytest.mark.parametrize("deep", [DEEPEST, DEEPEST + 1, 1500])
def test_a_chain_of_vrts_is_as_deep_as_gdal_reads(deep: int, folder: Path) -> None:
    last = "ndvi_2000.tif"
    for number in range(deep):
        last = vrt(folder / f"{number}.vrt", source(last, relative=1)).name
    if deep > DEEPEST:
        assert refused(folder / last).endswith(f"nests VRTs more than {DEEPEST} levels deep")
        if not GDALVersion.runtime().at_least("3.10"):
            return  # before, GDAL knew no limit
        with pytest.raises(RasterioError), DatasetReader(str(folder / last), driver=["VRT"], sharing=False) as dataset:
            dataset.read(1)
        return
    with open_local(folder / last) as dataset:
        np.testing.assert_array_equal(dataset.read(1), VALUES)
    assert len(list(sources_behind(folder / last))) == deep


def test_vrts_that_go_round(folder: Path) -> None:
    vrt(folder / "a.vrt", source("b.vrt", relative=1))
    vrt(folder / "b.vrt", source("ndvi_2000.tif", relative=1) + source("a.vrt", relative=1))
    assert refused(folder / "a.vrt") == f"{folder / 'a.vrt'}: this VRT is a source of itself"
    (folder / "c.vrt").symlink_to("c.vrt")
    assert "symbolic links" in refused(folder / "c.vrt")


def test_xml_that_is_none_or_too_much(folder: Path) -> None:
    path = vrt(folder / "ndvi_2005.vrt")
    good = path.read_text()
    # GDAL takes the bytes as they are, whatever the encoding is called.
    path.write_text(f'<?xml version="1.0" encoding="foo"?>{good}')
    assert read_header(path).driver == "VRT"
    path.write_bytes(good.replace(GOOD, f"<Description>é</Description>{GOOD}").encode("latin-1"))
    assert read_header(path).bands[0].description == "é"
    for content, words in (
        (good.encode("utf-16"), "not a VRT"),
        (b"<VRTDataset>", "not a VRT (no element found"),
        (b"<VRTDataset>" + b"<Metadata>" * 100_000, "its elements are more than 40 deep"),
        (b"<!DOCTYPE a [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]>" + good.encode(), "a VRT with a document type"),
        (b"<a/>", "not a VRT (it begins with 'a')"),
    ):
        path.write_bytes(content)
        assert words in refused(path)
    path.write_text(good.replace('relativeToVRT="1"', 'relativeToVRT="yes"'))
    assert "neither 0 nor 1" in refused(path)
    path.write_text(good.replace("</VRTDataset>", "<Surprise>secret.tif</Surprise></VRTDataset>"))
    assert "its element 'Surprise' is unknown, and holds 'secret.tif'" in refused(path)
    path.write_text(good.replace("</VRTDataset>", "<Surprise>1 2 3</Surprise></VRTDataset>"))
    assert read_header(path).driver == "VRT"


@pytest.mark.skipif(os.name == "nt", reason="FIFOs are POSIX")
@pytest.mark.parametrize(
    "name", ["a.tif", "a.vrt", "a.tif.aux.xml", "a.tif.msk", "a.tif.ovr", "a.aux", "a.tfw", "A.PRJ", "a.hdr"]
)
def test_a_fifo_is_waited_for_nowhere(name: str, folder: Path) -> None:
    if name != "a.tif":
        raster(folder / "a.tif")
    os.mkfifo(folder / name)
    path = folder / name if name == "a.vrt" else folder / "a.tif"
    assert refused(path) == f"{folder / name}: is a FIFO; expected a file"
    if name == "a.tif":
        for inputs in (str(folder), str(path), str(folder / "a.*")):
            with pytest.raises(InputError, match="is a FIFO; expected a file"):
                pw.open_stack(inputs)


@pytest.mark.skipif(os.name == "nt", reason="FIFOs are POSIX")
def test_a_fifo_beside_what_is_opened_again(tmp_path: Path) -> None:
    """In a child, which is stopped where it waits: maps, and inputs, that were opened a moment before."""
    for year in (2000, 2001, 2002):
        write_raster(tmp_path / "in" / f"a_{year}.tif", np.full((20, 20), year, "float32"))
    code = """
import os, sys, pixelwise as pw
from pixelwise.cli import main
from pixelwise.verify.compare import verify
folder, map_ = sys.argv[1:]
pw.apply(pw.open_stack(folder), "ols", map_)
doors = {
    "open_map": lambda: pw.open_map(map_),
    "plot": lambda: main(["plot", map_, "-o", map_ + ".png"], standalone_mode=False),
    "verify": lambda: verify(map_),
    "open_stack": lambda: pw.open_stack(folder),
}
for file, names in ((map_, ("open_map", "plot", "verify")), (f"{folder}/a_2001.tif", ("open_stack", "verify"))):
    for suffix in (".aux.xml", ".ovr", ".msk"):
        os.mkfifo(file + suffix)
        for name in names:
            try:
                doors[name]()
            except pw.InputError as error:
                print("error:", error, file=sys.stderr)
            except SystemExit as error:
                assert error.code == 1
        os.remove(file + suffix)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "in", tmp_path / "map.tif"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    expected = [
        f"{file}{suffix}: is a FIFO; expected a file"
        for file, names in (
            (tmp_path / "map.tif", ("open_map", "plot", "verify")),
            (tmp_path / "in" / "a_2001.tif", ("open_stack", "verify")),
        )
        for suffix in (".aux.xml", ".ovr", ".msk")
        for _ in names
    ]
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected), done.stderr
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith("error: ")
        assert line.endswith(text)
    assert done.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="FIFOs are POSIX")
def test_a_fifo_that_gdal_does_not_try_is_no_matter(folder: Path) -> None:
    raster(folder / "a.tif")
    os.mkfifo(folder / "as.sock")
    assert read_header(folder / "a.tif").driver == "GTiff"
    # An ILWIS raster names its georeference, and GDAL waits for that.
    path = raster(folder / "a.mpr", "ILWIS")
    path.write_text(path.read_text().replace("GeoRef=a.grf", "GeoRef=b.grf"))
    (folder / "as.sock").unlink()
    os.mkfifo(folder / "b.grf")
    assert refused(path) == f"{folder / 'b.grf'}: is a FIFO; expected a file"


def test_a_large_ascii_grid_is_no_sidecar_of_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.rasters.sidecars.LONGEST_SIDECAR", 100)
    grid = raster(folder / "asc" / "a.asc", "AAIGrid").rename(folder / "a.grd")
    raster(folder / "a.tif")
    assert read_header(grid).driver == "AAIGrid"
    assert read_header(folder / "a.tif").driver == "GTiff"
    # The header of R's rasters has the same suffix.
    header = raster(folder / "R" / "a.grd", "RRASTER")
    assert refused(header) == f"{header}: is 0 MB; the limit for a header is 0 MB"
    (folder / "a.hdr").write_text("ncols 4\n" + " " * 100)
    assert refused(folder / "a.tif") == (
        f"{folder / 'a.tif'}: its sidecar {folder / 'a.hdr'} is 0 MB; the limit for a header is 0 MB"
    )


def test_a_link_to_nothing_is_no_date_less(folder: Path) -> None:
    (folder / "ndvi_2005.tif").symlink_to("nowhere.tif")
    for inputs in (str(folder), str(folder / "*.tif")):
        with pytest.raises(InputError, match=r"ndvi_2005\.tif: No such file or directory"):
            pw.open_stack(inputs)


# ------------------------------------------------------------------------------------------------ vector files


def region(path: Path) -> str:
    return refused(path, read_polygons)


def geojson(path: Path, crs: str) -> Path:
    ring = [[0, 0], [1, 0], [1, 1], [0, 0]]
    named = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring], "crs": named}))
    return path


@pytest.mark.parametrize("crs", ["http://{at}/a", "https://{at}/a", "/dev/zero", "secret.prj", "ESRI::secret.prj"])
def test_the_crs_of_geojson_is_no_page_and_no_file(crs: str, tmp_path: Path, server: Counter) -> None:
    pytest.importorskip("shapely")
    path = geojson(tmp_path / "a.geojson", crs.format(at=server.at))
    assert "which is not a coordinate reference system" in region(path)
    assert server.came == 0


def test_the_crs_of_geojson_is_a_code(tmp_path: Path) -> None:
    pytest.importorskip("shapely")
    path = geojson(tmp_path / "a.geojson", "+proj=longlat +nadgrids=/dev/zero")
    assert "its CRS names the grid '/dev/zero', which is not opened" in region(path)
    for good in ("EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84", "http://www.opengis.net/def/crs/EPSG/0/4326"):
        assert read_polygons(geojson(path, good)).count == 1


def test_geojson_has_a_limit_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boundaries of a country are longer than any list of files."""
    pytest.importorskip("shapely")
    path = geojson(tmp_path / "a.geojson", "EPSG:32617")
    size = path.stat().st_size
    monkeypatch.setitem(read_text.__kwdefaults__, "most", size - 1)
    assert read_polygons(path).crs == rasterio.CRS.from_epsg(32617)
    monkeypatch.setattr("pixelwise.rasters.polygons.LONGEST_GEOJSON", size - 1)
    assert region(path).endswith(f"convert it: ogr2ogr a.gpkg {path}")


def geopackage(path: Path) -> Path:
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    box = np.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], dtype=object)
    pyogrio.raw.write(
        path, box, field_data=[np.array([1])], fields=["a"], geometry_type="Polygon", crs="EPSG:4326", layer="boxes"
    )
    return path


def test_a_layer_of_a_geopackage_is_no_query(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg")
    assert read_polygons(path).count == 1
    with closing(sqlite3.connect(path)) as base:
        # A view that is no layer is not asked.
        base.execute("CREATE VIEW counts AS SELECT count(*) FROM boxes")
        base.commit()
        assert read_polygons(path).count == 1
        base.executescript(
            """CREATE VIEW asks AS SELECT fid, geom, ogr_geocode('here') AS a FROM boxes;
            INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)
                VALUES ('asks', 'features', 'asks', 4326);
            INSERT INTO gpkg_geometry_columns VALUES ('asks', 'geom', 'POLYGON', 4326, 0, 0);"""
        )
    assert f"region {path}: its layer asks is a view, which is not read" in region(path)


#: A query without end.
ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r"


def _region_of_a_child(path: Path) -> str:
    """Return what is said of a region, or of how many polygons it is, by a process that may be ended."""
    code = (
        "import sys\nfrom pixelwise.errors import InputError\nfrom pixelwise.rasters.polygons import read_polygons\n"
        "try: print(read_polygons(sys.argv[1]).count)\nexcept InputError as error: print(error)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30, check=True
    )
    return child.stdout.strip()


@pytest.mark.parametrize(
    "table", ["gpkg_contents", "gpkg_spatial_ref_sys", "gpkg_geometry_columns", "gpkg_extensions", "GPKG_Ogr_Contents"]
)
def test_the_tables_of_a_geopackage_are_no_queries(table: str, tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            f"""PRAGMA foreign_keys = 0; CREATE TABLE kept AS SELECT * FROM {table}; DROP TABLE {table};
            CREATE VIEW {table} AS SELECT kept.* FROM kept WHERE (SELECT count(*) FROM ({ENDLESS})) > 0;"""
        )
    assert _region_of_a_child(path) == f"region {path}: its table {table} is a view, which no GeoPackage has"


def test_a_layer_of_a_geopackage_is_no_query_in_another_case(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            f"""ALTER TABLE boxes RENAME TO plain;
            CREATE VIEW BOXES AS SELECT fid, geom FROM plain, ({ENDLESS});
            UPDATE gpkg_contents SET table_name = 'boxes'; UPDATE gpkg_geometry_columns SET table_name = 'boxes';"""
        )
    assert f"region {path}: its layer BOXES is a view, which is not read" in _region_of_a_child(path)


def test_columns_of_a_geopackage_are_not_computed(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            """CREATE TABLE large(fid INTEGER PRIMARY KEY, geom POLYGON AS (zeroblob(900000000)));
            UPDATE gpkg_contents SET table_name = 'large'; UPDATE gpkg_geometry_columns SET table_name = 'large';"""
        )
    assert region(path) == f"region {path}: its table large computes the column geom, which is not read"


def test_a_virtual_table_of_a_geopackage_is_an_index(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            """PRAGMA writable_schema = 1; INSERT INTO sqlite_master
            VALUES ('table', 'v', 'v', 0, 'create virtual table v using "VirtualOGR"(''/no/file'')');"""
        )
    assert region(path) == f"region {path}: its table v is a virtual table of 'virtualogr', which is not read"


def test_a_geopackage_of_a_desktop_program_is_read(tmp_path: Path) -> None:
    """With an index of boxes and its triggers, styles, a view of somebody, and an index of words."""
    path = geopackage(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        kinds = dict(base.execute("SELECT name, type FROM sqlite_master"))
        assert (kinds["rtree_boxes_geom"], kinds["rtree_boxes_geom_insert"]) == ("table", "trigger")
        base.executescript(
            f"""CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, f_table_name TEXT, styleQML TEXT);
            CREATE TABLE qgis_projects (name TEXT PRIMARY KEY, metadata BLOB, content BLOB);
            CREATE VIEW "somebody's" AS SELECT count(*) AS a FROM ({ENDLESS});
            CREATE VIRTUAL TABLE words USING fts5(a);
            CREATE TABLE computed(a INTEGER, b INTEGER AS (a + 1));"""
        )
    assert _region_of_a_child(path) == "1"


def test_a_geopackage_is_not_searched_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = geopackage(tmp_path / "a.gpkg")
    with closing(sqlite3.connect(path)) as base:
        base.execute(
            f"INSERT INTO gpkg_spatial_ref_sys SELECT 'a', x + 9e6, 'b', x, 'c', 'd' FROM ({ENDLESS} LIMIT 40000)"
        )
        base.commit()
    assert read_polygons(path).count == 1
    monkeypatch.setattr("pixelwise.rasters.geopackages.LONGEST_QUERY", -1.0)
    assert region(path) == f"region {path}: cannot be read (interrupted)"


def test_the_crs_of_a_geopackage_names_no_grid(tmp_path: Path) -> None:
    path = geopackage(tmp_path / "b.gpkg")
    with closing(sqlite3.connect(path)) as base:
        text = 'GEOGCS["a",DATUM["b",SPHEROID["c",1,1],EXTENSION["PROJ4_GRIDS","/dev/zero"]]]'
        base.execute("UPDATE gpkg_spatial_ref_sys SET definition = ? WHERE srs_id = 4326", (text,))
        base.commit()
    assert "its CRS names the grid '/dev/zero', which is not opened" in region(path)


def test_pyogrio_has_its_own_settings_again(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    path = geopackage(tmp_path / "a.gpkg")
    pyogrio.set_gdal_config_options({"GDAL_HTTP_PROXY": "http://proxy.example:3128"})
    try:
        read_polygons(path)
        assert pyogrio.get_gdal_config_option("GDAL_HTTP_PROXY") == "http://proxy.example:3128"
        assert pyogrio.get_gdal_config_option("CPL_VSIL_CURL_ALLOWED_FILENAME") is None
    finally:
        pyogrio.set_gdal_config_options({"GDAL_HTTP_PROXY": None})


# -------------------------------------------------------------------------------------------------- other inputs


@pytest.mark.skipif(os.name == "nt", reason="FIFOs and devices are POSIX")
def test_lists_tables_and_masks_are_regular_files(tmp_path: Path, folder: Path) -> None:
    for name in ("@/dev/zero", "/dev/zero"):
        with pytest.raises(InputError, match="/dev/zero: is a device; expected a file"):
            pw.open_stack(name)
    for suffix in ("csv", "gpkg", "geojson", "tif"):
        fifo = tmp_path / f"a.{suffix}"
        os.mkfifo(fifo)
        uses = [(f"@{fifo}", {}), (str(fifo), {}), (folder, {"region": str(fifo)}), (folder, {"where": f"{fifo}=1"})]
        if suffix == "csv":
            uses.append((folder, {"times": str(fifo)}))
        for inputs, options in uses:
            with pytest.raises(InputError, match=rf"a\.{suffix}: is a FIFO; expected a file"):
                pw.open_stack(inputs, **options)
    with pytest.raises(InputError, match=r"a\.csv: is a FIFO; expected a file"):
        pw.apply(pw.open_stack(folder), regress(covariates=str(tmp_path / "a.csv")))


@pytest.mark.parametrize(
    "words",
    [
        "dem file = /data/dem/srtm.img",
        "description = {Input file=/home/tom/b4.img}",
        "history = --lut_file=/data/luts/oli.csv --model=/data/m.bin",
        "profile=C:\\\\data\\\\x",
    ],
)
def test_notes_that_name_a_file_are_no_grids(folder: Path, words: str) -> None:
    path = raster(folder / "a.img", "ENVI")
    header = path.with_suffix(".hdr")
    header.write_text(f"{header.read_text()}{words}\n")
    assert read_header(path).driver == "ENVI"
    assert grids_elsewhere(words) == ""
    # The same words in a system of PROJ lead to the file.
    for system in ("+proj=utm +zone=17 +nadgrids=/data/x.gsb", "proj = utm nadgrids = /data/x.gsb", "+init=/data/x:1"):
        assert grids_elsewhere(f"{words} {system}").startswith(("/", "C:"))


def test_an_ascii_grid_with_a_broken_line_ends_at_once(folder: Path) -> None:
    """GDAL tries a broken line 2^n times where one n below is read: 40 below takes days."""
    grids = folder / "grids"
    grids.mkdir()
    for year in (2000, 2001, 2002):
        rows = [" ".join(["1"] * 30)] * 60
        rows[4] = "1 x"
        head = "ncols 30\nnrows 60\nxllcorner 0\nyllcorner 0\ncellsize 30\n"
        (grids / f"a_{year}.asc").write_text(head + "\n".join(rows[:5]) + "\n")
        (grids / f"a_{year}.prj").write_text(rasterio.CRS.from_epsg(32617).to_wkt())
    code = """
import sys, pixelwise as pw
stack = pw.open_stack(sys.argv[1])
for row in (40, 59, 0, 30):
    try:
        stack.read(pw.Block(row, 0, 1, 30))
    except pw.InputError as error:
        print(error)
    else:
        print("read")
"""
    done = subprocess.run([sys.executable, "-c", code, grids], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert [("cannot be read" in line, line == "read") for line in lines] == [
        (True, False), (True, False), (False, True), (True, False)
    ]  # fmt: skip
