"""Folders that others write to: what lies under our names is refused before anything is computed, and kept as it is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from torture import POLE

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.demo import write_scene
from pixelwise.errors import OutputError
from pixelwise.maps.saving import save
from pixelwise.pictures.picture import plot_map
from support.limits import set_limits
from support.rasters import MakeStack, random_series
from support.stopping import Stop, hidden

pytestmark = pytest.mark.skipif(os.name == "nt", reason="FIFOs, links and owners of Unix")
root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def stack(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> pw.RasterStack:
    """A stack of 4 dates in four blocks; every job keeps a journal."""
    set_limits(monkeypatch, journal_seconds=0.0, window_bytes=1)
    return pw.open_stack(make_stack(random_series((4, 32, 32), seed=4), tiled=True, blockxsize=16, blockysize=16))


PRECIOUS = b"precious\n"
#: Scale, nodata and a mask of another map.
FOREIGN_PAM = (
    '<PAMDataset><PAMRasterBand band="1"><NoDataValue>0</NoDataValue><Scale>100</Scale></PAMRasterBand></PAMDataset>'
)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file that must not change, whatever leads to it."""
    path = tmp_path / "victim"
    path.write_bytes(PRECIOUS)
    yield path
    assert path.read_bytes() == PRECIOUS
    assert not (tmp_path / "nowhere").exists()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def make_loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


#: What may lie under a name, and how a message calls it.
KINDS: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "link": (lambda path, victim: path.symlink_to(victim), "link"),
    "dangling": (lambda path, victim: path.symlink_to(victim.with_name("nowhere")), "link"),
    "loop": (lambda path, victim: path.symlink_to(make_loop(victim.with_name("loop"))), "link"),
    "hard link": (lambda path, victim: os.link(victim, path), "several names of a file"),
    "FIFO": (lambda path, victim: os.mkfifo(path), "is a FIFO"),
    "folder": (lambda path, victim: path.mkdir(), "is a folder"),
    "socket": (lambda path, victim: make_socket(path), "is a socket"),
    "foreign": (lambda path, victim: path.write_bytes(PRECIOUS), "remove it"),
}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(stack: pw.RasterStack, output: Path, **options: Any) -> str:
    """Return the one line that a job ends with before it computes anything."""

    def progress(done: int, total: int) -> None:
        raise AssertionError("computed before it was refused")

    before = names_in(output.parent)
    with pytest.raises(OutputError) as raised:
        pw.apply(stack, "ols", output, progress=progress, **options)
    assert names_in(output.parent) == before
    text = str(raised.value)
    assert "\n" not in text
    assert str(output.parent) in text
    return text


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [".trend.tif.journal", ".trend.partial.tif", ".trend.partial.tif.aux.xml"])
def test_hidden_names(stack: pw.RasterStack, out: Path, victim: Path, name: str, kind: str, restart: bool) -> None:
    plant, words = KINDS[kind]
    plant(out / name, victim)
    text = refused(stack, out / "trend.tif", restart=restart)
    assert name in text
    assert words in text or name.endswith(".xml")
    assert "remove it" in text
    if kind == "foreign":
        assert (out / name).read_bytes() == PRECIOUS
    # The remedy works when typed.
    (out / name).rmdir() if kind == "folder" else (out / name).unlink()
    pw.apply(stack, "ols", out / "trend.tif", restart=restart)
    assert [path.name for path in out.iterdir()] == ["trend.tif"]


@pytest.mark.parametrize("kind", ["link", "dangling", "FIFO", "folder", "socket"])
@pytest.mark.parametrize("suffix", ["", ".aux.xml", ".ovr", ".msk"])
def test_names_of_what_is_set_aside(stack: pw.RasterStack, out: Path, victim: Path, kind: str, suffix: str) -> None:
    name = f".trend.partial.replaced.tif{suffix}"
    KINDS[kind][0](out / name, victim)
    assert f"{name} beside it is" in refused(stack, out / "trend.tif", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["link", "dangling", "loop", "FIFO", "folder", "socket"])
def test_the_output_itself(stack: pw.RasterStack, out: Path, victim: Path, kind: str, overwrite: bool) -> None:
    """A link that led nowhere was found when the map was complete, hours later."""
    plant, words = KINDS[kind]
    plant(out / "trend.tif", victim)
    text = refused(stack, out / "trend.tif", overwrite=overwrite)
    assert text.startswith(f"{out / 'trend.tif'}: is a ")
    assert words in text
    # One file per band, and what is written beside.
    (out / "trend.tif").rename(out / "trend_slope.tif")
    assert "trend_slope.tif: is a " in refused(stack, out / "trend_{band}.tif", overwrite=overwrite)
    write = {"residuals": out / "trend_slope.tif"}
    assert "trend_slope.tif: is a " in refused(stack, out / "trend.tif", write=write, overwrite=overwrite)


def test_a_link_to_a_map_is_neither_replaced_nor_followed(stack: pw.RasterStack, out: Path) -> None:
    pw.apply(stack, "ols", out / "real.tif")
    before = (out / "real.tif").read_bytes()
    (out / "trend.tif").symlink_to("real.tif")
    text = refused(stack, out / "trend.tif", overwrite=True)
    assert text.endswith("trend.tif: is a link to real.tif; name that file instead, or remove the link")
    assert (out / "real.tif").read_bytes() == before


def test_a_folder_may_be_a_link(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(out)
    pw.apply(stack, "ols", tmp_path / "link" / "trend.tif")
    assert [path.name for path in out.iterdir()] == ["trend.tif"]


def test_another_name_of_the_old_map_keeps_it(stack: pw.RasterStack, out: Path, tmp_path: Path) -> None:
    pw.apply(stack, "ols", out / "trend.tif")
    os.link(out / "trend.tif", tmp_path / "kept.tif")
    before = (out / "trend.tif").read_bytes()
    pw.apply(stack, "ols", out / "trend.tif", bands=["slope"], overwrite=True)
    assert (tmp_path / "kept.tif").read_bytes() == before
    assert pw.open_map(out / "trend.tif").names == ("slope", "status")


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_another_name_of_an_input(stack: pw.RasterStack, out: Path, link: Any) -> None:
    link(stack.paths[0], out / "trend.tif")
    before = stack.paths[0].read_bytes()
    assert "is one of the inputs; choose another output" in refused(stack, out / "trend.tif", overwrite=True)
    assert stack.paths[0].read_bytes() == before


@root_only
@pytest.mark.parametrize("name", [".trend.tif.journal", ".trend.partial.tif"])
def test_what_another_user_left_is_not_resumed(stack: pw.RasterStack, out: Path, name: str) -> None:
    """Tiles that somebody else computed, with a journal that says they are ours."""
    stop_job(stack, out / "trend.tif")
    os.chown(out / name, 12345, -1)
    text = refused(stack, out / "trend.tif")
    assert f"{name} beside it belongs to another user (uid 12345); remove it, or choose another output" in text
    with pytest.raises(OutputError, match="belongs to another user"):
        pw.apply(stack, "ols", out / "trend.tif", restart=True)
    assert (out / name).exists()


@root_only
def test_where_all_files_belong_to_one_user(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network disks that know no others: what a job left there is resumed."""
    stop_job(stack, out / "trend.tif")
    for name in hidden(out):
        os.chown(out / name, 12345, -1)
    monkeypatch.setattr("pixelwise.maps.disk._owner_of_new_files", lambda folder: 12345)
    calls: list[int] = []
    pw.apply(stack, "ols", out / "trend.tif", progress=lambda done, total: calls.append(done))
    assert calls[0] > 32 * 32 // 4


def stop_job(stack: pw.RasterStack, output: Path, **options: Any) -> None:
    def progress(done: int, total: int) -> None:
        if done >= total // 4:
            raise Stop

    with pytest.raises(Stop):
        pw.apply(stack, "ols", output, progress=progress, **options)


# --- sidecars ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".aux.xml", ".ovr", ".msk", ".OVR", ".Aux.Xml"])
def test_a_sidecar_that_would_be_read_with_the_new_map(stack: pw.RasterStack, out: Path, suffix: str) -> None:
    """One of an older map gave its numbers another scale, and hid others."""
    sidecar = out / f"trend.tif{suffix}"
    sidecar.write_text(FOREIGN_PAM)
    text = refused(stack, out / "trend.tif")
    assert text.startswith(f"{sidecar}: exists, and would be read with trend.tif; remove it")
    if suffix.islower():
        assert text.endswith("remove it, or --overwrite does")
        pw.apply(stack, "ols", out / "trend.tif", overwrite=True)
        assert [path.name for path in out.iterdir()] == ["trend.tif"]
    else:
        refused(stack, out / "trend.tif", overwrite=True)
        sidecar.unlink()
        pw.apply(stack, "ols", out / "trend.tif")
    with rasterio.open(out / "trend.tif") as found:
        assert found.scales[0] == 1
        assert np.isnan(found.nodata)
        np.testing.assert_array_equal(found.read(1), pw.apply(stack, "ols")["slope"])


def test_that_a_sidecar_is_removed_is_said(stack: pw.RasterStack, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    pw.apply(stack, "ols", out / "trend.tif")
    caplog.set_level("INFO")
    pw.apply(stack, "ols", out / "trend.tif", overwrite=True)
    assert "is removed" not in caplog.text
    (out / "trend.tif.aux.xml").write_text(FOREIGN_PAM)
    pw.apply(stack, "ols", out / "trend.tif", overwrite=True)
    assert f"{out / 'trend.tif.aux.xml'}, which belongs to the old map, is removed" in caplog.text


@pytest.mark.parametrize("name", ["trend.tif.aux.xml", "trend.tif"])
@pytest.mark.parametrize("kind", ["link", "dangling", "FIFO", "foreign"])
def test_what_is_planted_while_a_job_runs(stack: pw.RasterStack, out: Path, victim: Path, name: str, kind: str) -> None:
    def progress(done: int, total: int) -> None:
        if not os.path.lexists(out / name):
            KINDS[kind][0](out / name, victim)

    with pytest.raises(OutputError, match=rf"{name}: (now exists|is now a (link|FIFO))"):
        pw.apply(stack, "ols", out / "trend.tif", progress=progress)
    (out / name).unlink()
    calls: list[int] = []
    found = pw.apply(stack, "ols", out / "trend.tif", progress=lambda *_: calls.append(1))
    assert not calls
    assert found["slope"].tobytes() == pw.apply(stack, "ols")["slope"].tobytes()


def test_a_half_written_file_that_is_replaced_by_another(stack: pw.RasterStack, out: Path) -> None:
    pw.apply(stack.select(end=2003), "ols", out / "other.tif")

    def progress(done: int, total: int) -> None:
        if done == total:
            (out / "other.tif").replace(out / ".trend.partial.tif")

    with pytest.raises(OutputError, match=r"\.trend\.partial\.tif beside it was replaced by another file"):
        pw.apply(stack, "ols", out / "trend.tif", progress=progress)
    assert not (out / "trend.tif").exists()


@pytest.mark.parametrize("kind", ["link", "dangling", "FIFO", "foreign"])
def test_the_sidecar_that_we_write_is_a_new_file(make_stack: MakeStack, out: Path, victim: Path, kind: str) -> None:
    """A CRS that GeoTIFF has no code for goes there: through a link it went into somebody's file."""
    rotated = pw.open_stack(make_stack(random_series((4, 20, 20)), folder="rotated", crs=POLE))
    sidecar = out / ".trend.partial.tif.aux.xml"

    def progress(done: int, total: int) -> None:
        KINDS[kind][0](sidecar, victim)

    with pytest.raises(OutputError) as raised:
        pw.apply(rotated, "ols", out / "trend.tif", progress=progress, executor="inline")
    assert "\n" not in str(raised.value)
    if kind == "foreign":
        assert sidecar.read_bytes() == PRECIOUS
    assert not (out / "trend.tif").exists()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("foreign", [False, True])
def test_a_kill_between_the_names_of_a_map_and_its_sidecar(
    make_stack: MakeStack, out: Path, monkeypatch: pytest.MonkeyPatch, again: bool, foreign: bool
) -> None:
    """Seen by ``make torture``: our own sidecar, which gets its name first, was in the way of its map."""
    set_limits(monkeypatch, journal_seconds=0.0)
    rotated = pw.open_stack(make_stack(random_series((4, 20, 20)), folder="rotated", crs=POLE))
    expected = pw.apply(rotated, "ols")
    with monkeypatch.context() as patch:
        patch.setattr("pixelwise.maps.files.publish", lambda *_, **__: (_ for _ in ()).throw(Stop()))
        with pytest.raises(Stop):
            pw.apply(rotated, "ols", out / "trend.tif", executor="inline")
    half, sidecar = out / ".trend.partial.tif.aux.xml", out / "trend.tif.aux.xml"
    content = half.read_bytes()
    sidecar.write_bytes(FOREIGN_PAM.encode() if foreign else content)
    if not again:  # the next run, killed early, may have written another one
        half.unlink()
    if foreign:
        with pytest.raises(OutputError, match=r"trend\.tif\.aux\.xml: now exists; --overwrite replaces it"):
            pw.apply(rotated, "ols", out / "trend.tif", executor="inline")
        assert sidecar.read_text() == FOREIGN_PAM
        return
    found = pw.apply(rotated, "ols", out / "trend.tif", executor="inline")
    np.testing.assert_array_equal(found["slope"], expected["slope"])
    assert {path.name: path.read_bytes() for path in out.glob("*.xml")} == {sidecar.name: content}
    assert not hidden(out)


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["x", "é", "木"])
def test_the_longest_name_that_is_said_is_taken(stack: pw.RasterStack, out: Path, letter: str) -> None:
    width = len(letter.encode())
    text = refused(stack, out / f"{letter * (250 // width)}.tif")
    most = int(text.partition("at most ")[2].partition(",")[0])
    name = letter * ((most - 4) // width) + ".tif"
    pw.apply(stack, "ols", out / name)
    assert [path.name for path in out.iterdir()] == [name]
    longer = letter * ((most - 4) // width + 1) + ".tif"
    for options in ({}, {"overwrite": True}):
        assert "choose a shorter one" in refused(stack, out / longer, **options)
    assert "choose a shorter one" in refused(stack, out / f"{{band}}{longer}")
    assert "choose a shorter one" in refused(stack, out / "t.tif", write={"residuals": out / longer})


def test_paths_that_no_system_has(stack: pw.RasterStack, out: Path) -> None:
    for output in (out / "/".join(["x" * 200] * 30) / "t.tif", out / ("x" * 300) / "t.tif"):
        # For Python 3.14, such a folder does not exist.
        with pytest.raises(OutputError, match=r": File name too long|/x+ does not exist"):
            pw.apply(stack, "ols", output)
    with pytest.raises(OutputError, match="holds a NUL character"):
        pw.apply(stack, "ols", f"{out}/a\0b.tif")


@pytest.mark.parametrize("where", ["name", "folder", "beside"])
def test_names_that_are_not_utf8(stack: pw.RasterStack, out: Path, where: str) -> None:
    strange = os.fsdecode(b"caf\xe9")
    (out / strange).mkdir()
    command = {
        "name": ["-o", f"{out}/{strange}.tif"],
        "folder": ["-o", f"{out}/{strange}/t.tif"],
        "beside": ["-o", f"{out}/t.tif", "--write", "residuals", f"{out}/{strange}.tif"],
    }[where]
    result = CliRunner().invoke(main, ["apply", "ols", str(stack.paths[0].parent), *command])
    assert result.exit_code == 1
    assert "its name is not UTF-8, so that GDAL cannot write it: choose another output" in result.stderr
    assert not isinstance(result.exception, UnicodeError)


def test_a_working_folder_that_is_not_utf8(stack: pw.RasterStack, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = out / os.fsdecode(b"caf\xe9")
    strange.mkdir()
    monkeypatch.chdir(strange)
    pw.apply(stack, "ols", "trend.tif")
    assert names_in(strange) == ["trend.tif"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".best.partial.tif", "is a name reserved for half-written maps; choose another one"),
        (".best.partial.replaced.tif", "is a name reserved for half-written maps; choose another one"),
        (".Best.Partial.TIFF", "is a name reserved for half-written maps; choose another one"),
        (".best_{band}.partial.tif", "is a name reserved for half-written maps; choose another one"),
        (".best.tif.journal", "its name must end in .tif"),
    ],
)
def test_outputs_do_not_get_hidden_names_of_ours(stack: pw.RasterStack, out: Path, name: str, words: str) -> None:
    assert words in refused(stack, out / name)
    if "{" not in name:
        assert words in refused(stack, out / "trend.tif", write={"residuals": out / name})
    assert names_in(out) == []


@pytest.mark.parametrize("name", [".best.tif", "best.partial.tif", ".best.partial.v2.tif"])
def test_outputs_may_be_hidden(stack: pw.RasterStack, out: Path, name: str) -> None:
    pw.apply(stack, "ols", out / name)
    assert names_in(out) == [name]


# --- pictures and the demo -----------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["link", "dangling", "loop", "FIFO", "folder", "socket"])
def test_pictures(stack: pw.RasterStack, out: Path, victim: Path, kind: str, overwrite: bool) -> None:
    figure = plot_map(pw.apply(stack, "ols"))
    KINDS[kind][0](out / "p.png", victim)
    with pytest.raises(OutputError, match=r"p\.png: is a (link|FIFO|folder|socket)"):
        save(figure, out / "p.png", overwrite=overwrite)
    assert names_in(out) == ["p.png"]


def test_another_name_of_a_picture_keeps_it(stack: pw.RasterStack, out: Path, victim: Path) -> None:
    os.link(victim, out / "p.png")
    save(plot_map(pw.apply(stack, "ols")), out / "p.png")
    assert (out / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match=r"cannot be written \(File name too long\)"):
        save(plot_map(pw.apply(stack, "ols")), out / f"{'x' * 245}.png")


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "FIFO"])
def test_the_demo_replaces_names_alone(out: Path, victim: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.demo.HEIGHT", 16)
    monkeypatch.setattr("pixelwise.demo.WIDTH", 16)
    (out / "ndvi").mkdir()
    KINDS[kind][0](out / "ndvi" / "ndvi_1995.tif", victim)
    KINDS[kind][0](out / "places.csv", victim)
    assert len(write_scene(out)) == 21
    assert (out / "places.csv").read_text().startswith("name,x,y\n")
    with rasterio.open(out / "ndvi" / "ndvi_1995.tif") as found:
        assert found.shape == (16, 16)


def test_the_demo_needs_a_folder(victim: Path, out: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be created \(File exists\)"):
        write_scene(victim)
    (out / "ndvi" / "ndvi_1995.tif").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"ndvi_1995\.tif: cannot be replaced \(Is a directory\)"):
        write_scene(out)
