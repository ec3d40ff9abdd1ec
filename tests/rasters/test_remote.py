"""Files on servers: the same pixels as of the same files here, whatever the server does, or one clear line."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as gdal_copy

import pixelwise as pw
from pixelwise.grid import Block
from pixelwise.rasters import remote, windows
from pixelwise.rasters.urls import Url, is_url
from support.command_line import run
from support.limits import set_limits
from support.rasters import random_series, read_all, write_raster
from support.servers import Odd, nginx, odd_server

TILES = {"tiled": True, "blockxsize": 64, "blockysize": 64}
YEARS = (2000, 2001, 2002)
#: How files may be written; each must be the same from a server.
KINDS: dict[str, dict[str, Any]] = {
    "deflate": {"compress": "deflate", "predictor": 3, **TILES},
    "lzw": {"compress": "lzw", "blockysize": 7},
    "zstd": {"compress": "zstd", **TILES},
    "plain": {},
    "bigtiff": {"compress": "deflate", "BIGTIFF": "YES", **TILES},
    "big-endian": {"compress": "deflate", "ENDIANNESS": "BIG", **TILES},
}


def series(seed: int = 0) -> Any:
    return random_series((3, 150, 210), seed=seed)


def served(root: Path, **profile: Any) -> None:
    for year, image in zip(YEARS, series(), strict=True):
        write_raster(root / f"ndvi_{year}.tif", image, nodata=np.nan, **profile)


def urls(base: str, *names: str) -> list[str]:
    return [f"{base}/{name}" for name in names or [f"ndvi_{year}.tif" for year in YEARS]]


def opened(base: str, *names: str, **options: Any) -> pw.RasterStack:
    return pw.open_stack(urls(base, *names), allow_scheme="http", **options)


def problem(base: str, *names: str, **options: Any) -> str:
    with pytest.raises(pw.InputError) as caught:
        read_all(opened(base, *names, **options))
    text = str(caught.value)
    assert "secret" not in text
    assert "obstore" not in text
    return text


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    root = tmp_path_factory.mktemp("web")
    root.chmod(0o755)
    with nginx(root, tmp_path_factory.mktemp("nginx")) as port:
        yield root, f"http://127.0.0.1:{port}"


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    monkeypatch.setattr(remote, "RETRIES", 1)
    monkeypatch.setattr(windows, "RETRY_SECONDS", (0.0, 0.0))
    root = tmp_path / "root"
    served(root, **KINDS["deflate"])
    with odd_server(root) as server:
        yield server
    remote.object_store.cache_clear()


# --------------------------------------------------------------------------------- the same as local files


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_writing(kind: str, web: tuple[Path, str]) -> None:
    root, base = web
    served(root / kind, **KINDS[kind])
    far = opened(f"{base}/{kind}")
    np.testing.assert_array_equal(read_all(far), series())
    part = Block(5, 66, 100, 91)
    np.testing.assert_array_equal(far.read(part), series()[(slice(None), *part.slices)])


def test_bands_masks_and_alpha(web: tuple[Path, str]) -> None:
    root, base = web
    values = np.nan_to_num(series() * 100, nan=7).clip(0, 255).astype("uint8")
    mask = np.where(series()[0] > 0.3, 255, 0).astype("uint8")
    alpha = np.stack([*values, mask])
    kinds: dict[str, Any] = {
        "masked.tif": (values, {"mask": mask, "compress": "deflate", **TILES}),
        "interleaved.tif": (values, {"interleave": "pixel", "compress": "zstd", "mask": mask, **TILES}),
        "planar.tif": (values, {"interleave": "band", "compress": "lzw", **TILES}),
        "alpha.tif": (alpha, {"photometric": "RGB", "alpha": "YES", "compress": "deflate", **TILES}),
    }
    for name, (bands, profile) in kinds.items():
        write_raster(root / name, bands, **profile, descriptions=("2000", "2001", "2002", "alpha")[: len(bands)])
        far, near = opened(base, name, band="20*"), pw.open_stack(root / name, band="20*")
        np.testing.assert_array_equal(read_all(far), read_all(near), err_msg=name)
        np.testing.assert_array_equal(far.read(Block(3, 60, 70, 70)), near.read(Block(3, 60, 70, 70)), err_msg=name)


def test_a_directory_at_the_end_and_jpeg_2000(web: tuple[Path, str]) -> None:
    root, base = web
    served(root / "updated", compress="deflate", blockysize=1)
    for year in YEARS:
        # A longer tag moves the directory to the end of the file.
        with rasterio.open(root / "updated" / f"ndvi_{year}.tif", "r+") as dataset:
            dataset.update_tags(text="x" * 500)
        one = np.nan_to_num(series()[year - 2000] * 100).clip(0, 250).astype("uint8")
        gdal_copy(
            write_raster(root / "jp2" / "one.tif", one),
            root / "jp2" / f"b_{year}.jp2", driver="JP2OpenJPEG", quality=100, reversible=True,
        )  # fmt: skip
    np.testing.assert_array_equal(read_all(opened(f"{base}/updated")), series())
    names = [f"b_{year}.jp2" for year in YEARS]
    near = pw.open_stack([root / "jp2" / name for name in names])
    np.testing.assert_array_equal(read_all(opened(f"{base}/jp2", *names)), read_all(near))


def test_aligned_masked_and_placed_by_files_on_the_server(web: tuple[Path, str]) -> None:
    root, base = web
    served(root / "fine", **KINDS["deflate"])
    for year in YEARS:
        write_raster(root / "fine" / f"clear_{year}.tif", (series(1)[year - 2000] > 0.4).astype("uint8"))
    half = dict(rasterio.open(root / "fine" / "ndvi_2000.tif").profile)
    like = write_raster(
        root / "like.tif", np.zeros((70, 100), "uint8"), transform=half["transform"] @ half["transform"].scale(2)
    )
    cover = write_raster(root / "cover.tif", np.full((70, 100), 1, "uint8"), transform=half["transform"])
    (root / "masks.csv").write_text("".join(f"fine/clear_{year}.tif,{year}\n" for year in YEARS))

    def stack(place: str, **options: Any) -> pw.RasterStack:
        names = [f"{place}/fine/ndvi_{year}.tif" for year in YEARS]
        return pw.open_stack(names, mask=f"{place}/masks.csv", mask_keep=1, allow_scheme="http", **options)

    for options in ({}, {"align": "like.tif", "resampling": "average"}, {"extent": "cover.tif"}):
        near, far = (
            stack(place, **{k: f"{place}/{v}" if v.endswith(".tif") else v for k, v in options.items()})
            for place in (str(root), base)
        )
        np.testing.assert_array_equal(read_all(far), read_all(near))
    assert like.exists()
    assert cover.exists()
    far = stack(base, where=f"{base}/cover.tif=1")
    inside = far.area.inside(far.grid.block)
    assert inside is not None
    assert (int(inside.sum()), far.area.paths) == (7000, (Url.parse(f"{base}/cover.tif"),))


# ---------------------------------------------------------------------------- requests, and what may go wrong


def test_a_job_asks_for_each_byte_once(odd: Odd, tmp_path: Path) -> None:
    stack = opened(odd.url)
    heads = len(odd.seen)
    assert heads == len(YEARS)
    found = pw.apply(stack, "ols", tmp_path / "far.tif", jobs=2)
    pw.apply(pw.open_stack(odd.root), "ols", tmp_path / "near.tif")
    for name in found.names:
        np.testing.assert_array_equal(found[name], pw.open_map(tmp_path / "near.tif")[name])
    asked = list(odd.seen[heads:])
    assert len(asked) == len(set(asked))
    # A row of tiles of a file is one request.
    assert len(asked) <= 3 * len(YEARS) * 2
    # Stamps are in the map; verify compares them with what the server says now.
    files = found.provenance["input"]["files"]
    assert [sorted(one) for one in files] == [["etag", "modified", "path", "size"]] * 3
    assert [one["path"] for one in files] == urls(odd.url)
    result = run("verify", tmp_path / "far.tif", *urls(odd.url), "--allow-scheme", "http", "--pixels", "20")
    assert (result.exit_code, "no difference" in result.stdout) == (0, True), result.stderr


def test_requests_in_flight(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a block are asked for at once, but not beyond the bytes that may be ahead."""
    stack = opened(odd.url)
    most = now = 0

    def slowly(number: int, path: str) -> str:
        nonlocal most, now
        now += 1
        most = max(most, now)
        time.sleep(0.05)
        now -= 1
        return ""

    odd.rule = slowly
    read_all(stack)
    assert most >= 3
    monkeypatch.setattr(windows, "AHEAD_BYTES", 0)
    most = 0
    stack.read(Block(0, 0, 64, 64))
    assert most <= 2


def test_heads_of_many_files_at_once(odd: Odd) -> None:
    for index in range(40):
        os.link(odd.root / "ndvi_2000.tif", odd.root / f"a_{1900 + index}.tif")

    def slowly(number: int, path: str) -> str:
        time.sleep(0.1)
        return ""

    odd.rule = slowly
    began = time.perf_counter()
    assert len(opened(odd.url, *(f"a_{1900 + index}.tif" for index in range(40)))) == 40
    assert time.perf_counter() - began < 2.5


def test_dropped_requests_are_made_again(odd: Odd) -> None:
    odd.rule = lambda number, path: "drop" if number % 5 == 0 else ""
    np.testing.assert_array_equal(read_all(opened(odd.url)), series())
    assert len(odd.seen) > 6


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("403", "ndvi_2001.tif: access is denied; credentials come from the environment only"),
        ("404", "ndvi_2001.tif: there is no such file on the server (HTTP 404)"),
        ("416", "(HTTP 416)"),
        ("500", "the server answered HTTP 500 2 times"),
        ("drop", "the connection broke, or the server did not answer"),
        ("whole", "ndvi_2001.tif: its server ignores the Range header"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", ["deflate", "zstd"])
def test_what_a_server_answers(what: str, expected: str, later: bool, kind: str, odd: Odd) -> None:
    served(odd.root, **KINDS[kind])

    def rule(number: int, path: str) -> str:
        return what if path.endswith("2001.tif") and (number > 3 or not later) else ""

    odd.rule = rule
    text = problem(odd.url)
    assert expected in text
    assert "\n" not in text


@pytest.mark.parametrize("driver", ["deflate", "zstd"])
def test_a_file_that_changes_stops_the_job(odd: Odd, driver: str, tmp_path: Path) -> None:
    served(odd.root, **KINDS[driver])
    stack = opened(odd.url, on_read_error="missing")
    served(odd.root, compress="lzw")
    with pytest.raises(pw.InputError, match=r"ndvi_2000\.tif: (changed on the server since|.* was it replaced)"):
        pw.apply(stack, "ols", tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_blocks_that_cannot_be_fetched_may_count_as_missing(odd: Odd) -> None:
    stack = opened(odd.url, on_read_error="missing")
    odd.rule = lambda number, path: "500" if path.endswith("2001.tif") else ""
    values = read_all(stack)
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[[0, 2]], series()[[0, 2]])


def test_an_empty_file_and_a_page(odd: Odd) -> None:
    (odd.root / "a_2000.tif").write_bytes(b"")
    (odd.root / "b_2000.tif").write_text("<html>Sign in</html>")
    text = problem(odd.url, "a_2000.tif", "b_2000.tif")
    assert "a_2000.tif" in text
    assert "b_2000.tif: not a raster that can be read from a server" in text


def test_in_processes(odd: Odd, tmp_path: Path) -> None:
    """Each process asks for the directories again; the job travels with the URLs."""
    stack = pickle.loads(pickle.dumps(opened(odd.url)))
    found = pw.apply(stack, "ols", executor="processes", jobs=2)
    expected = pw.apply(pw.open_stack(odd.root), "ols")
    for name in found.names:
        np.testing.assert_array_equal(found[name], expected[name])


# -------------------------------------------------------------------------------------- nothing else is opened


@pytest.mark.parametrize("address", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"])
def test_metadata_services_are_not_asked(address: str) -> None:
    with pytest.raises(pw.InputError, match="which is of this machine's own network; not opened"):
        pw.open_stack([f"http://{address}/a_2000.tif"], allow_scheme="http")


def test_redirects_to_other_hosts_are_not_followed(odd: Odd) -> None:
    with Odd(odd.root, "127.0.0.2") as other:
        for target in (f"{other.url}/ndvi_2000.tif", "http://169.254.169.254/latest/meta-data"):
            odd.rule = lambda number, path, target=target: target  # type: ignore[misc]
            assert "redirect to another one, which is not followed" in problem(odd.url)
        assert other.seen == []


def test_a_query_is_sent_but_never_shown(odd: Odd, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    signed = [f"{url}?sig=SECRET{number}" for number, url in enumerate(urls(odd.url))]
    stack = pw.open_stack(signed, allow_scheme="http")
    found = pw.apply(stack, "ols", tmp_path / "out.tif")
    assert all("?sig=SECRET" in path for path, _ in odd.seen)
    assert found.provenance["input"]["files"][0]["path"] == f"{odd.url}/ndvi_2000.tif"
    assert b"SECRET" not in (tmp_path / "out.tif").read_bytes()
    odd.rule = lambda number, path: "403"
    with pytest.raises(pw.InputError) as caught:
        read_all(stack)
    assert "SECRET" not in str(caught.value) + repr(stack) + repr(stack.paths) + caplog.text
    assert "SECRET" not in str(found.provenance)
    # Pickled for workers, it is there.
    assert b"SECRET2" in pickle.dumps(stack)
    with pytest.raises(pw.InputError, match=r"is named twice with different queries") as caught:
        pw.open_stack([*signed, f"{urls(odd.url)[0]}?sig=SECRET"], allow_scheme="http")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://u:hunter2@a.org/x.tif", "https://a.org/x.tif: holds a user name or password"),
        ("ftp://a.org/x.tif", "only https, http, s3, gs, az are read from servers"),
        ("file:///etc/passwd", "only https, http, s3, gs, az are read from servers"),
        ("https://a.org/", "is a folder on a server"),
        ("https://a.org/*.tif", "no pattern is matched"),
        ("https:///x.tif", "is not a URL of a file"),
        ("https://a.org:99999/x.tif", "is not a URL of a file"),
        ("https://a.org/a b.tif", "is not a URL of a file"),
        ("s3://bucket/a.tif?versionId=hunter2", "has a query"),
        ("http://a.org/x.tif", "is on a server; to read it, add --allow-scheme http (allow_scheme='http')"),
    ],
)
def test_urls_that_are_refused(text: str, expected: str) -> None:
    with pytest.raises(pw.InputError) as caught:
        pw.open_stack([text], allow_scheme="https,s3")
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_type() -> None:
    url = Url.parse("https://A.org:8443/ndvi/a_2000.tif?sig=1")
    assert (str(url), url.name, url.stem, url.suffix) == (
        "https://a.org:8443/ndvi/a_2000.tif", "a_2000.tif", "a_2000", ".tif",
    )  # fmt: skip
    assert url == Url.parse("https://a.org:8443/ndvi/a_2000.tif?sig=2")
    assert str(url.parent / "../b.tif") == "https://a.org:8443/b.tif"
    assert str(url.with_name("b.tif")) == "https://a.org:8443/ndvi/b.tif"
    assert sorted([url, url.with_name("a.tif")])[0].name == "a.tif"
    with pytest.raises(TypeError):
        Path(url)  # type: ignore[arg-type]
    assert not is_url("C:\\a.tif")
    assert not is_url("a/b.tif")
    with pytest.raises(pw.ParameterError, match="ftp"):
        pw.open_stack([], allow_scheme=("https", "ftp"))


# ------------------------------------------------------------------------------------------------------- Zarr


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_stores(version: int, odd: Odd, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    values = series()[:, :60, :70]
    for year, image in zip(YEARS, values, strict=True):
        write_raster(tmp_path / "tif" / f"ndvi_{year}.tif", image, nodata=np.nan)
    store = odd.root / "ndvi.zarr"
    pw.open_stack(tmp_path / "tif").to_xarray().rename("ndvi").to_dataset().to_zarr(
        store, consolidated=True, zarr_format=version
    )
    near, far = pw.open_stack(store), opened(odd.url, "ndvi.zarr")
    np.testing.assert_array_equal(read_all(far), read_all(near))
    assert [str(day) for day in far.axis.days] == [str(day) for day in near.axis.days]
    found = pw.apply(far, "ols", tmp_path / "out.tif")
    assert found.provenance["input"]["files"][0]["path"] == f"{odd.url}/ndvi.zarr"
    odd.rule = lambda number, path: "403" if "/ndvi/" in path and path[-1].isdigit() else ""
    assert "access is denied" in problem(odd.url, "ndvi.zarr")
    odd.rule = lambda number, path: "404"
    assert "no Zarr store is there" in problem(odd.url, "ndvi.zarr")


def test_other_arrays_are_refused(odd: Odd) -> None:
    assert "of arrays on servers, only Zarr stores without a query are read" in problem(odd.url, "a.nc")
    assert "only Zarr stores without a query" in problem(odd.url, "a.zarr?sig=secret")
    assert odd.seen == []


# -------------------------------------------------------------------------------------------------------- jobs


def test_without_obstore(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.object_store.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(pw.ParameterError, match=r'reading it needs obstore: pip install "pixelwise\[remote\]"'):
        opened(odd.url)


def test_a_stopped_job_resumes_only_from_the_same_files(
    odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=1, block_bytes=1)
    stack, done = opened(odd.url), []

    def stop(now: int, total: int) -> None:
        done.append(now)
        if now > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "ols", tmp_path / "out.tif", jobs=1, progress=stop)
    # As a run on another day: with another signature, but the same files.
    again = pw.open_stack([f"{url}?sig=2" for url in urls(odd.url)], allow_scheme="http")
    seen: list[int] = []
    found = pw.apply(again, "ols", tmp_path / "out.tif", jobs=1, progress=lambda now, total: seen.append(now))
    assert seen[0] > done[-2]
    expected = pw.apply(pw.open_stack(odd.root), "ols")
    for name in found.names:
        np.testing.assert_array_equal(found[name], expected[name])
    with pytest.raises(KeyboardInterrupt):
        pw.apply(stack, "ols", tmp_path / "other.tif", jobs=1, progress=stop)
    os.utime(odd.root / "ndvi_2001.tif")
    with pytest.raises(pw.OutputError, match=r"ndvi_2001\.tif etag was"):
        pw.apply(opened(odd.url), "ols", tmp_path / "other.tif", jobs=1)
