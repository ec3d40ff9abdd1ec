"""Pictures and texts about maps, written so that nothing half-written has their name."""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import OutputError
from pixelwise.maps.disk import check_folder, check_target, create, remove, write
from pixelwise.regular_files import irregular

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_output", "save", "save_bytes", "save_text"]

#: Endings of pictures.
PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def check_output(path: str | Path, *, overwrite: bool = False, suffixes: Sequence[str] = PICTURES) -> Path:
    """Return the path of a file that can be written, a picture if nothing else is said.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether it may exist.
    suffixes
        What its name must end in.

    Raises
    ------
    OutputError
        When the file exists and `overwrite` is not set, its folder does not exist, or its suffix is unknown.
    """
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        what = "a picture's name" if suffixes == PICTURES else "its name"
        raise OutputError(f"{target}: {what} must end in {' or '.join(suffixes)}")
    check_folder(target)
    exists = check_target(target)
    try:
        irregular(_temporary(target))  # its name is longer
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from None
    if exists and not overwrite:
        raise OutputError(f"{target}: already exists; --overwrite replaces it")
    return target


def _temporary(target: Path) -> Path:
    """Return a hidden, unpredictable name beside a file."""
    return target.with_name(f".{target.stem}.partial-{secrets.token_hex(4)}{target.suffix}")


def save(figure: Figure, path: str | Path, *, overwrite: bool = True, dpi: int | None = None) -> None:
    """Write a figure; the file is complete whenever it has its name.

    Parameters
    ----------
    figure
        What `plot_map` returns, or any other figure.
    path
        Its suffix, one of ``.png``, ``.pdf``, ``.svg``, ``.jpg``, chooses the format.
    overwrite
        Whether an existing file may be replaced, as matplotlib does.
    dpi
        Dots per inch of a raster picture; those of the figure by default.

    Raises
    ------
    OutputError
        When it cannot be written there.
    """
    from matplotlib import rc_context

    target = check_output(path, overwrite=overwrite)
    with io.BytesIO() as picture:
        # TrueType: journals refuse the Type 3 fonts of matplotlib's default, which no editor can change.
        with rc_context({"pdf.fonttype": 42}):
            figure.savefig(picture, format=target.suffix[1:].lower(), dpi=dpi or "figure")
        content = picture.getvalue()
    save_bytes(content, target, overwrite=overwrite)


def save_bytes(content: bytes, target: Path, *, overwrite: bool = True) -> None:
    """Write a file; it is complete whenever it has its name.

    Parameters
    ----------
    content
        All of it.
    target
        As `check_output` returned it.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        When it cannot be written there.
    """
    temporary = _temporary(target)
    try:
        with create(temporary) as file:
            try:
                write(file, content)
                check_output(target, overwrite=overwrite, suffixes=(target.suffix.lower(),))  # making it takes seconds
                temporary.replace(target)
            except BaseException:
                remove(temporary)
                raise
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from None


def save_text(text: str, target: Path, *, overwrite: bool = True) -> None:
    """Write a text in UTF-8; see `save_bytes`."""
    save_bytes(text.encode(), target, overwrite=overwrite)
