"""Only regular files are opened."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from pixelwise.errors import InputError, OutputError, PixelwiseError
from pixelwise.regular_files import (
    IrregularError,
    check_encodable,
    check_regular,
    open_checked,
    open_regular,
    read_bytes,
    read_text,
)
from pixelwise.words import one_line, shown, unknown

if os.name == "nt":
    pytest.skip("FIFOs and devices are POSIX", allow_module_level=True)


@pytest.fixture(params=["folder", "FIFO", "device", "socket", "missing"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Give something that is no file, and what an error calls it."""
    path = tmp_path / "odd.tif"
    if request.param == "folder":
        path.mkdir()
    elif request.param == "FIFO":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(path))
    else:
        return path, "No such file or directory"
    return path, f"is a {request.param}; expected a file"


@pytest.mark.parametrize("read", [check_regular, open_regular, read_bytes, read_text])
def test_what_is_no_file_is_refused_at_once(odd: tuple[Path, str], read: object) -> None:
    path, words = odd
    with pytest.raises(InputError) as raised:
        read(path, "region")  # type: ignore[operator]
    assert str(raised.value) == f"region {path}: {words}"


@pytest.mark.parametrize("own", [False, True])
def test_what_is_no_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """Opening a tape rewinds it."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "folder").mkdir()

    def refuse(*_: object, **__: object) -> int:
        raise AssertionError("was opened")

    monkeypatch.setattr(os, "open", refuse)
    for name, kind in (("fifo", "a FIFO"), ("folder", "a folder"), ("link", "a link" if own else "a FIFO")):
        with pytest.raises(IrregularError, match=f"^is {kind}$"):
            open_checked(tmp_path / name, own=own)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("other", ["file", "FIFO"])
def test_what_comes_in_its_place_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool, other: str
) -> None:
    path, real, opened = tmp_path / "a.tif", os.open, list[int]()
    path.touch()
    os.mkfifo(tmp_path / "other") if other == "FIFO" else (tmp_path / "other").touch()

    def swap(*arguments: Any) -> int:
        (tmp_path / "other").replace(path)
        opened.append(real(*arguments))
        return opened[0]

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(FileNotFoundError, match="was replaced while it was opened"):
        open_checked(path, own=own)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


@pytest.mark.parametrize("own", [False, True])
def test_children_do_not_get_the_file(tmp_path: Path, own: bool) -> None:
    (tmp_path / "a.tif").write_bytes(b"abc")
    with open_checked(tmp_path / "a.tif", own=own) as file:
        assert not os.get_inheritable(file.fileno())
        assert file.read() == b"abc"
        assert file.writable() == own


def test_a_text_is_read_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa\nø\n".encode())
    assert read_text(path) == "a\nø\n"
    assert read_bytes(path, most=path.stat().st_size) == path.read_bytes()
    with pytest.raises(InputError, match="is too long; the limit"):
        read_bytes(path, most=path.stat().st_size - 1)


@pytest.mark.parametrize(
    ("content", "words"), [(b"ab\xff", "byte 0xff at position 2"), (b"a\0b", "it holds NUL characters")]
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_text(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (os.fsdecode(b"\xe9.tif"), r"\xe9.tif: its name is not UTF-8, so that GDAL cannot {}: "),
        ("\ud800.tif", r"\ud800.tif: its name is not UTF-8, so that GDAL cannot {}: "),
    ],
)
def test_a_name_that_is_not_utf8_is_refused(name: str, words: str) -> None:
    check_encodable(Path("木.tif"))
    with pytest.raises(InputError) as raised:
        check_encodable(Path(name))
    assert str(raised.value) == words.format("open it") + "rename the file"
    with pytest.raises(OutputError) as refused:
        check_encodable(Path(name), output=True)
    assert str(refused.value) == words.format("write it") + "choose another output"


@pytest.mark.parametrize("output", [False, True])
def test_a_locale_that_has_no_such_names(monkeypatch: pytest.MonkeyPatch, output: bool) -> None:
    """The name is UTF-8, and Python was told that names are ASCII."""
    name = "é.tif".encode().decode("ascii", "surrogateescape")
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("ascii", "surrogateescape"))
    with pytest.raises(PixelwiseError) as raised:
        check_encodable(Path(name), output=output)
    assert str(raised.value) == "é.tif: this locale cannot represent such names; set PYTHONUTF8=1 (or LC_ALL=C.UTF-8)"


def test_a_name_with_nul_is_refused() -> None:
    for read in (check_regular, open_regular):
        with pytest.raises(InputError, match="not a valid path"):
            read(Path("a\0b"))


def test_what_was_given_is_named_at_a_bounded_length() -> None:
    assert shown("a" * 80, 82) == repr("a" * 80)
    assert shown("a" * 500, 80) == f"'{'a' * 39} ... {'a' * 19}'"
    assert shown(10**5000) == "a number of thousands of digits"
    assert one_line("a\n  b\r\nc") == "a b c"


def test_of_many_known_names_some_are_listed() -> None:
    names = [f"b{number:03}" for number in range(100)]
    assert str(unknown("band", "b99", names[:40])).endswith("b038, b039)")
    text = str(unknown("band", "b99", names))
    assert text.startswith("unknown band 'b99'; did you mean 'b099'? (known: b000, ")
    assert text.endswith("b038, b039, ... and 60 more)")
    # Minutes, where a long name is compared.
    started = time.perf_counter()
    assert "mean" not in str(unknown("band", "ab" * 10**5, ["ab" * 1000, *names]))
    assert time.perf_counter() - started < 5
