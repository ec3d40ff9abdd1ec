"""Pictures and texts about maps, written so that nothing half-written has their name."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.errors import OutputError
from pixelwise.maps.disk import check_folder, check_target, create, remove, write
from pixelwise.maps.outputs import identity_of
from pixelwise.rasters.urls import is_url
from pixelwise.regular_files import irregular

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pixelwise.maps.map import Map

__all__ = ["check_output", "hidden_beside", "inputs_of", "save", "save_bytes", "save_text"]

#: Endings of pictures.
PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def check_output(
    path: str | Path,
    *,
    overwrite: bool = False,
    suffixes: Sequence[str] = PICTURES,
    inputs: Iterable[str | Path] = (),
    outputs: Iterable[str | Path] = (),
) -> Path:
    """Return the path of a file that can be written, a picture if nothing else is said.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether it may exist.
    suffixes
        What its name must end in.
    inputs
        Files and folders that are read, as far as they are there; see `inputs_of`.
    outputs
        What else the same command writes.

    Raises
    ------
    OutputError
        When the file exists and `overwrite` is not set, its folder does not exist, its suffix is unknown, or it is an
        input, lies in one, or is another output.
    """
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        what = "a picture's name" if suffixes == PICTURES else "its name"
        raise OutputError(f"{target}: {what} must end in {' or '.join(suffixes)}")
    check_folder(target)
    exists = check_target(target)
    try:
        irregular(hidden_beside(target))  # its name is longer
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from None
    if any(_same(target, Path(other)) for other in outputs):
        raise OutputError(f"{target}: is the name of two outputs; choose another name for one of them")
    _check_apart(target, inputs)
    if exists and not overwrite:
        raise OutputError(f"{target}: already exists; --overwrite replaces it")
    return target


def _check_apart(target: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse an output that is an input, or lies in one."""
    own, exists = identity_of(target), target.exists()
    for file in map(Path, inputs):
        # What is not there yet can only be within an input: a folder, such as a Zarr store.
        if exists and _same(target, file):
            raise OutputError(f"{target}: is one of the inputs; choose another output")
        input_ = identity_of(file)
        if input_ in own.parents and input_.is_dir():
            raise OutputError(f"{target}: is inside {file}, which is one of the inputs; choose another output")


def _same(one: Path, other: Path) -> bool:
    """Whether two names are those of one file; links and hard links count."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one is not there, or is no name at all
        return os.path.normcase(identity_of(one)) == os.path.normcase(identity_of(other))


def inputs_of(map_: Map) -> tuple[Path, ...]:
    """Return the files of a map, and those that it says it was made of; nothing is opened.

    Parameters
    ----------
    map_
        A map, which may be anyone's.

    Returns
    -------
    tuple of Path
        Some may not exist.
    """
    paths = map_.paths
    if not paths:
        return ()
    folder = identity_of(paths[0].parent)
    record = [map_.provenance.get(name) for name in ("input", "further_inputs", "method_files")]
    names = (name for name in dict.fromkeys(_named(record)) if not _elsewhere(name))
    named = (Path(os.path.normpath(folder / name)) for name in names)
    # A map lies in none of its inputs, whatever it says.
    return (*paths, *(file for file in named if file not in (folder, *folder.parents)))


def _named(record: Any) -> Iterator[str]:
    """Yield the files that the record of a map's inputs names: layers, what is behind them, areas, and in options."""
    if isinstance(record, list):
        for one in record:
            yield from _named(one)
    elif isinstance(record, dict):
        for field, value in record.items():
            if field == "spec" and isinstance(value, dict):
                # A table of dates, a mask: options are texts, and a file has a suffix. Their paths are as they were
                # typed, in the folder where the command ran, which may be this one or that of the map.
                texts = [text for text in value.values() if isinstance(text, str) and Path(text).suffix]
                yield from (*texts, *(str(Path.cwd() / text) for text in texts if not _elsewhere(text)))
            elif isinstance(value, str) and value:
                yield from (value,) if field in ("path", "source", "raster") else ()
            elif field != "layers_used":  # the same files again, a line for each layer
                yield from _named(value)


def _elsewhere(name: str) -> bool:
    """Whether looking a name up might ask the network, or is impossible."""
    return is_url(name) or name.startswith(("//", "\\\\", "/vsi")) or "\0" in name


def hidden_beside(target: Path) -> Path:
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
    temporary = hidden_beside(target)
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
