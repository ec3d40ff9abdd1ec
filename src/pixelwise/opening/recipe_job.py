"""The table ``[job]`` of a recipe: what is computed of the stack, and which file it is written to.

A recipe may come from anywhere: what it writes is inside its own folder, and a function that it names is only a name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pixelwise.errors import InputError
from pixelwise.opening.toml_fields import Fields
from pixelwise.rasters.urls import is_url
from pixelwise.stacks.reductions import names_function
from pixelwise.words import shown

__all__ = ["RecipeJob", "check_inside", "files_written", "job_of_table", "moved_job", "table_of_job"]

#: What only a job with a method has.
OF_METHODS = ("parameters", "bands", "per", "write", "base", "fdr", "driver")


@dataclass(frozen=True)
class RecipeJob:
    """What a recipe says of a job, as the options of ``apply`` and ``composite`` do.

    Attributes
    ----------
    method
        Name of the method, or ``file.py:function``; None for a job that writes composites.
    parameters
        Its parameters, as text.
    output
        The file to write; None if it is named with the command.
    bands, per, dtype, write, base, fdr
        As in `OutputSpec`, as text.
    driver, compress, zarr_format
        How files are written, as in `Execution`.
    """

    method: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    bands: tuple[str, ...] | None = None
    per: str = "year"
    dtype: str = "float32"
    write: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    fdr: str | None = None
    driver: str = "GTiff"
    compress: str | None = None
    zarr_format: int = 3

    @property
    def function(self) -> str | None:
        """The method, if it is a function of somebody's own."""
        return self.method if self.method is not None and names_function(self.method) else None


USUAL = RecipeJob()


def job_of_table(path: Path, table: Any) -> RecipeJob:
    """Return the job that a recipe describes, with its paths as they are written there.

    Raises
    ------
    InputError
        When a field is unknown or wrong, or a file would be written outside the folder of the recipe.
    """
    given = Fields(str(path), "job", table)
    job = RecipeJob(
        method=given.take("method", str, 'expected a name, such as "trend"', "") or None,
        parameters=_parameters(given),
        output=given.take("output", str, 'expected a file, such as "trend.tif"', "") or None,
        bands=given.texts("bands", "expected names in brackets") if "bands" in given.left else None,
        per=given.take("per", str, "expected a string", USUAL.per),
        dtype=given.take("dtype", str, "expected a string", USUAL.dtype),
        write=_texts_by_name(given, "write", 'expected a table of kind = "file"'),
        base=given.take("base", str, 'expected a string, such as "1991..2020"', "") or None,
        fdr=_fdr(given),
        driver=given.take("driver", str, "expected a string", USUAL.driver),
        compress=given.take("compress", str, "expected a string", "") or None,
        zarr_format=given.take("zarr_format", int, "expected 2 or 3", USUAL.zarr_format),
    )
    given.done(" ".join(one.name for one in fields(RecipeJob)))
    if job.method is None:
        for name in OF_METHODS:
            if getattr(job, name) != getattr(USUAL, name):
                raise given.error(f"{name} is for jobs with a method, and this one writes composites; add a method")
    for name, file in files_written(job):
        if not _is_inside(path.parent, file):
            raise given.error(_outside(name, file))
    return job


def files_written(job: RecipeJob) -> list[tuple[str, str]]:
    """Return the files that a job writes, by the fields that name them."""
    output = [] if job.output is None else [("output", job.output)]
    return [*output, *((f"write.{kind}", file) for kind, file in job.write.items())]


def _outside(name: str, file: str) -> str:
    instead = ", or leave it out and name the file with the command (-o)" if name == "output" else ""
    return f"{name} {shown(file)} is outside the folder of the recipe; choose a relative path inside it{instead}"


def check_inside(path: Path, moved: RecipeJob) -> None:
    """Check the paths that a job really writes, as they are seen from here, whatever they were in the recipe.

    Raises
    ------
    InputError
        When one is outside the folder of the recipe.
    """
    folder = os.path.realpath(path.parent)
    for name, file in files_written(moved):
        if not Path(os.path.realpath(Path(file).parent)).is_relative_to(folder):
            raise InputError(f"{path}: job: {_outside(name, file)}")


def _parameters(given: Fields) -> dict[str, str]:
    """Return parameters as they are given on the command line."""
    table = given.table("parameters").left if "parameters" in given.left else {}
    return {name: _text_of(given, name, value) for name, value in table.items()}


def _text_of(given: Fields, name: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text_of(given, name, one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    raise given.wrong(f"parameters.{name}", value, "expected a string, a number, true or false, or several in brackets")


def _texts_by_name(given: Fields, name: str, remedy: str) -> dict[str, str]:
    table = given.take(name, dict, remedy, {}) if name in given.left else {}
    if not all(isinstance(one, str) and one for one in table.values()):
        raise given.wrong(name, table, remedy)
    return table


def _fdr(given: Fields) -> str | None:
    if "fdr" not in given.left:
        return None
    return str(given.take("fdr", (str, int, float), 'expected a number, such as 0.1, or "by:0.1"'))


def _is_inside(folder: Path, file: str) -> bool:
    """Whether a file is inside a folder, with links followed."""
    if os.path.isabs(file) or is_url(file) or file.startswith("/vsi"):  # noqa: PTH117 - as a text
        return False
    place = Path(os.path.realpath((folder / file).parent))
    return ".." not in Path(file).parts and place.is_relative_to(os.path.realpath(folder))


def moved_job(job: RecipeJob, move: Callable[[str], str]) -> RecipeJob:
    """Return a job whose paths are moved."""
    tables = re.compile(r".+\.csv(:.+)?", re.IGNORECASE)
    parameters = {
        name: ",".join(move(one) if tables.fullmatch(one) else one for one in text.split(","))
        for name, text in job.parameters.items()
    }
    return replace(
        job,
        method=move(job.method) if job.function is not None and job.method is not None else job.method,
        parameters=parameters,
        output=None if job.output is None else move(job.output),
        write={kind: move(file) for kind, file in job.write.items()},
    )


def table_of_job(job: RecipeJob) -> dict[str, Any]:
    """Return what differs from the defaults, in types that TOML can hold; tables last."""
    changed = {one.name: getattr(job, one.name) for one in fields(job)}
    changed = {name: value for name, value in changed.items() if value != getattr(USUAL, name)}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
    return dict(sorted(plain.items(), key=lambda item: isinstance(item[1], Mapping)))
