"""Recipes: TOML files that tell every command how to read a stack, and may hold a whole job.

Paths in a recipe are relative to its folder, so that it can be kept beside its data and moved with them.

A recipe may come from anywhere, so it is data, never an instruction: it names rasters, tables and polygons, which are
read; a function that it names is run only if the user names it again, and what it writes is inside its folder.
"""

from __future__ import annotations

import logging
import os
import shlex
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from pixelwise.choices import Extent
from pixelwise.dates.completeness import Completeness
from pixelwise.errors import InputError, OutputError, ParameterError
from pixelwise.opening.gain_presets import gain_presets
from pixelwise.opening.listed import warning_of_listed
from pixelwise.opening.recipe_job import RecipeJob, check_inside, job_of_table, moved_job, table_of_job
from pixelwise.opening.toml_fields import LONGEST_FILE, parse_toml, read_toml
from pixelwise.rasters.resolution import names_crs
from pixelwise.rasters.urls import is_url
from pixelwise.regular_files import is_file
from pixelwise.stacks.reductions import names_function
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import shown, unknown

__all__ = ["Recipe", "check_no_code", "find_job", "read_job", "read_recipe", "to_run", "write_recipe"]

log = logging.getLogger(__name__)


def _kinds(hint: Any) -> frozenset[type]:
    """Return the built-in types that a field of `InputSpec` may hold, without None."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return frozenset(map(type, inner))
    if origin is None or origin is tuple:
        return frozenset([origin or hint]) - {type(None)}
    return frozenset().union(*map(_kinds, inner))


_KINDS = {name: _kinds(hint) for name, hint in typing.get_type_hints(InputSpec).items()}
#: Fields of `InputSpec` that hold strings, single values, and integers. A year may be given as a number.
WORDS = frozenset(name for name, kinds in _KINDS.items() if kinds == {str}) - {"start", "end"}
SINGLE = frozenset(name for name, kinds in _KINDS.items() if tuple not in kinds)
COUNTS = frozenset(name for name, kinds in _KINDS.items() if kinds == {int})

#: The beginning of every recipe, which says what the file is.
HEAD = "# How pixelwise reads a stack: pixelwise COMMAND --recipe THIS_FILE\n"
HEAD_OF_JOB = "# A job of pixelwise: pixelwise run THIS_FILE\n"


class Recipe(NamedTuple):
    """The content of a recipe.

    Attributes
    ----------
    source
        The input, as given to commands.
    spec
        How to read it.
    covariates
        Covariates, as given to ``--with``.
    needs
        What the series of a pixel needs for a result.
    """

    source: tuple[str, ...]
    spec: InputSpec
    covariates: dict[str, str]
    needs: Completeness


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe; its job is only checked.

    Raises
    ------
    InputError
        When it cannot be read, or a field is unknown or wrong, naming file and field.
    """
    path = Path(path)
    return _recipe(path, read_toml(path))


def read_job(path: str | Path) -> RecipeJob:
    """Read the job of a recipe, with its paths as seen from here.

    Raises
    ------
    InputError
        When the recipe cannot be read, a field is wrong, or it holds no job.
    """
    if (job := find_job(path)) is None:
        raise InputError(
            f"{path}: holds no job; add a table [job] with method and output, or use the recipe with another command, "
            f"such as: pixelwise apply METHOD --recipe {shlex.quote(str(path))} -o OUTPUT"
        )
    return job


def find_job(path: str | Path) -> RecipeJob | None:
    """Return the job of a recipe as `read_job` does; None if it holds none."""
    path = Path(path)
    table = read_toml(path)
    if "job" not in table:
        return None
    job = job_of_table(path, table["job"])
    if job.method is None and "composite" not in table:
        raise InputError(f"{path}: its job has no method, and the recipe no composite: add one of them")
    moved = moved_job(job, _plain_mover(lambda text: str(path.parent / text)))
    check_inside(path, moved)
    return moved


def _recipe(path: Path, table: dict[str, Any]) -> Recipe:
    if "job" in table:
        job_of_table(path, table.pop("job"))
    source = table.pop("input", [])
    if not isinstance(source, list) or not all(isinstance(text, str) for text in source):
        raise InputError(f"{path}: input {shown(source)} is wrong; expected paths in brackets")
    covariates = table.pop("with", {})
    if not isinstance(covariates, dict) or not all(isinstance(text, str) for text in covariates.values()):
        raise InputError(f'{path}: with {shown(covariates)} is wrong; expected a table of name = "files"')
    needed = [field.name for field in fields(Completeness)]
    known = [*(field.name for field in fields(InputSpec)), *needed]
    if "allow_scheme" in table:
        raise InputError(
            f"{path}: a recipe cannot allow files of servers to be read; leave allow_scheme out, and give "
            "--allow-scheme with the command"
        )
    for name in table:
        if name not in known:
            raise InputError(f"{path}: {unknown('field', name, ['input', 'with', 'job', *known])}")
    for name, value in table.items():
        if expected := _expected(name, value):
            raise InputError(f"{path}: {name} {shown(value)} is wrong; expected {expected}")
    try:
        needs = Completeness(**{name: table.pop(name) for name in needed if name in table})
        spec = InputSpec(**table)
    except (ParameterError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {error}") from None
    folder = path.parent

    def joined(text: str) -> str:
        return str(folder / text)

    move = _mover(joined)
    # A date format looks like a path; it is one if there is such a file.
    moved = _moved(spec, joined, lambda text: is_file(folder / text))
    return Recipe(tuple(map(move, source)), moved, {name: move(text) for name, text in covariates.items()}, needs)


def _expected(name: str, value: Any) -> str:
    """Say what a field should hold if its value has the wrong type; else return an empty text."""
    several = isinstance(value, list)
    items = value if several else [value]
    if any(isinstance(item, (bool, dict, list)) for item in items):
        return "a string, a number, or several of these in brackets"
    if name in WORDS and not isinstance(value, str):
        return "a string"
    if name in SINGLE and several:
        return "one value, not several in brackets"
    if name in COUNTS and not isinstance(value, int):
        return "a whole number"
    if name == "mask_field" and not all(isinstance(item, str) for item in items):
        return 'a string such as "8-9=2,3", or several in brackets'
    if name == "composite_parameters" and not all(isinstance(item, str) for item in items):
        return 'a string such as "q=0.9", or several in brackets'
    return ""


def to_run(function: str, option: str = "--composite") -> str:
    """Return the option by which a user names a recipe's function again, as it is typed."""
    return f"{option} {shlex.quote(function)}"


def check_no_code(recipe: str | Path, spec: InputSpec, remedy: str) -> None:
    """Refuse a recipe whose composites are made by a function.

    Parameters
    ----------
    recipe
        Its path.
    spec
        The input options in it.
    remedy
        The command to suggest.

    Raises
    ------
    ParameterError
        When it names a function.
    """
    if spec.composite is not None and names_function(spec.composite):
        raise ParameterError(
            f"{recipe}: its composites are made by the function {spec.composite}; code that a recipe names is run only "
            f"when you name it again: {remedy}"
        )


def write_recipe(
    path: str | Path,
    source: Sequence[str],
    spec: InputSpec,
    covariates: Mapping[str, str] | None = None,
    needs: Completeness = Completeness(),  # noqa: B008 - frozen
    job: RecipeJob | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write a recipe; see `Recipe` and `RecipeJob`.

    Raises
    ------
    OutputError
        When the file exists, unless an existing recipe is to be overwritten; when it cannot be written, or could not be
        read again.
    """
    path = Path(path)

    def relative(text: str) -> str:
        return Path(os.path.relpath(text, path.parent)).as_posix()

    move = _mover(relative)
    moved = _moved(spec, relative, lambda text: is_file(Path(text)))
    table: dict[str, Any] = {"input": [move(one) for one in source], **moved.as_dict(), **needs.as_dict()}
    if covariates:
        table["with"] = {name: move(one) for name, one in covariates.items()}
    if job is not None:
        table["job"] = table_of_job(moved_job(job, _plain_mover(relative)))
    text = (HEAD if job is None else HEAD_OF_JOB) + tomli_w.dumps(table)
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise OutputError(f"{path}: not written, as a path in it is not UTF-8; rename that file") from None
    if len(content) > LONGEST_FILE:
        raise OutputError(
            f"{path}: not written, as it would be {len(content) / 1e6:.1f} MB long; the limit for a recipe is "
            f"{LONGEST_FILE / 1e6:.1f} MB; list the files in a text file, and name it as input: @files.txt"
        )
    try:
        _recipe(path, parse_toml(str(path), text))
    except InputError as error:
        problem = str(error).removeprefix(f"{path}: ")
        raise OutputError(f"{path}: not written, as no command could read it: {problem}") from None
    try:
        _write(path, content, overwrite=overwrite)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from None
    if (warning := warning_of_listed(source)) is not None:
        log.warning("%s: %s", path, warning)


def _write(path: Path, content: bytes, *, overwrite: bool) -> None:
    if overwrite and os.path.lexists(path):
        try:
            read_recipe(path)
        except InputError:
            raise OutputError(f"{path}: is not a recipe, and only recipes are replaced; choose another name") from None
        # The old one stays until the new one is complete.
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise OutputError(f"{path}: exists; choose another name, or remove it") from None


def _mover(move: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function that moves the path of an input as users write it: that of a list begins with @."""
    plain = _plain_mover(move)
    return lambda text: "@" + plain(text[1:]) if text.startswith("@") else plain(text)


def _plain_mover(move: Callable[[str], str]) -> Callable[[str], str]:
    """Return a function that moves a path; URLs and absolute ones stay."""
    return lambda text: text if is_url(text) or os.path.isabs(text) else move(text)  # noqa: PTH117 - globs


def _moved(spec: InputSpec, join: Callable[[str], str], is_file: Callable[[str], bool]) -> InputSpec:
    """Return a spec whose paths are moved."""
    move, plain = _mover(join), _plain_mover(join)
    changed: dict[str, Any] = {}
    if spec.times is not None and is_file(spec.times):
        changed["times"] = move(spec.times)
    if spec.gains is not None and spec.gains not in gain_presets():
        changed["gains"] = move(spec.gains)
    for name in ("align", "mask", "region"):
        value = getattr(spec, name)
        is_word = (name == "mask" and value == "none") or (
            name == "align" and names_crs(str(value)) and not is_file(str(value))
        )
        if isinstance(value, str) and not is_word:
            changed[name] = move(value)
    if isinstance(spec.extent, str) and spec.extent not in typing.get_args(Extent):
        changed["extent"] = move(spec.extent)
    if spec.product is not None and spec.product.lower().endswith(".toml"):
        changed["product"] = move(spec.product)
    if spec.where is not None:
        raster, sign, values = spec.where.rpartition("=")
        changed["where"] = move(raster) + sign + values
    if spec.composite is not None and names_function(spec.composite):
        changed["composite"] = plain(spec.composite)
    return replace(spec, **changed)
