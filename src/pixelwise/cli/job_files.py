"""Jobs in recipes, between the options of a command and the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixelwise.cli.report import emit

if TYPE_CHECKING:
    from pixelwise.dates.completeness import Completeness
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.opening.recipe_job import RecipeJob
    from pixelwise.stacks.spec import InputSpec

__all__ = ["WRITE_JOB_OPTION", "check_named", "function_in", "output_of", "planned_job", "write_job"]

WRITE_JOB_OPTION = click.option(
    "--write-recipe",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the whole job to a file for `pixelwise run FILE`, instead of running it.",
)


def write_job(
    path: str,
    source: Sequence[str],
    spec: InputSpec,
    written: OutputSpec,
    output: Path,
    options: Mapping[str, Any],
    method: str | None = None,
    parameters: Sequence[tuple[str, str]] = (),
    covariates: Mapping[str, str] | None = None,
) -> None:
    """Write the recipe of a job.

    Parameters
    ----------
    path
        The recipe.
    source, spec, covariates, written, output, method, parameters
        What the command was given; no method for composites.
    options
        Its other options.

    Raises
    ------
    OutputError
        When the file exists, or the output is outside its folder.
    """
    from pixelwise.opening.recipe import to_run, write_recipe
    from pixelwise.opening.recipe_job import RecipeJob

    rate = written.fdr
    job = RecipeJob(
        method=method,
        parameters=dict(parameters),
        output=str(output),
        bands=None if written.bands is None else tuple(written.bands),
        per=written.per,
        dtype=written.dtype,
        write={kind: str(file) for kind, file in written.write.items()},
        base=None if written.base is None else str(written.base),
        fdr=None if rate is None else f"{rate.q!r}" if rate.method == "bh" else f"{rate.method}:{rate.q!r}",
        driver=options.get("driver") or "GTiff",
        compress=options["compress"],
        zarr_format=options["zarr_format"],
    )
    write_recipe(path, source, spec, covariates, written.needs, job, overwrite=options["overwrite"])
    emit(f"recipe    {path}", error=True, lines=False)
    for option, function in (("--method", job.function), ("--composite", function_in(spec.composite))):
        if function is not None:
            emit(f"          run it with {to_run(function, option)}: code that a recipe names is not run", error=True)


def planned_job(
    method: str | None, parameters: Sequence[tuple[str, str]], written: OutputSpec
) -> tuple[str | None, dict[str, str], OutputSpec]:
    """Return what a plan is for: the job of the recipe, if the command was given one and names no other method.

    Without a method, it writes composites.

    Raises
    ------
    ParameterError
        When its method is a function that the command does not name.
    """
    from pixelwise.opening.recipe import find_job

    recipe = click.get_current_context().params.get("recipe")
    job = None if recipe is None else find_job(recipe)
    if job is not None and job.method is None and method is None:
        return None, {}, written
    if job is None or job.method is None or not (method is None or _place(method) == _place(job.method)):
        return method or "ols", dict(parameters), written
    check_named(str(recipe), "method", "--method", job.function, method if job.function else None)
    asked = output_of(str(recipe), job, written.needs)
    merged = replace(
        asked,
        bands=None if job.function else asked.bands,
        write={**asked.write, **written.write},
        base=written.base or asked.base,
        fdr=written.fdr or asked.fdr,
    )
    return job.method, {**job.parameters, **dict(parameters)}, merged


def function_in(composite: str | None) -> str | None:
    """Return the function that makes composites; None if it is a built-in one."""
    from pixelwise.stacks.reductions import names_function

    return composite if composite is not None and names_function(composite) else None


def check_named(recipe: str, what: str, option: str, function: str | None, named: str | None) -> None:
    """Refuse a function that the recipe names and the user does not, and one that only the user names."""
    from pixelwise.errors import ParameterError
    from pixelwise.opening.recipe import to_run

    if function is None and named is not None:
        raise ParameterError(f"{option} {named}: {recipe} names no function for its {what}; leave the option out")
    if function is None or (named is not None and _place(named) == _place(function)):
        return
    found = "" if named is None else f", not {named}"
    raise ParameterError(
        f"{recipe}: its {what} is the function {function}{found}; code that a recipe names is run only when you "
        f"name it again: {to_run(function, option)}"
    )


def _place(function: str) -> tuple[str, str]:
    """Return the real path of a function's file, and its name."""
    file, _, name = function.rpartition(":")
    return os.path.realpath(file), name


def output_of(recipe: str, job: RecipeJob, needs: Completeness) -> OutputSpec:
    """Return what a job writes.

    Raises
    ------
    InputError
        When a value is impossible, naming the recipe.
    """
    from pixelwise.errors import InputError, ParameterError
    from pixelwise.jobs.climatology import BasePeriod
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.maps.false_discovery import FalseDiscovery

    try:
        return OutputSpec(
            job.bands, needs, {kind: Path(file) for kind, file in job.write.items()}, job.per, job.dtype,
            base=None if job.base is None else BasePeriod.of(job.base),
            fdr=None if job.fdr is None else FalseDiscovery.of(job.fdr),
        )  # fmt: skip
    except ParameterError as error:
        raise InputError(f"{recipe}: job: {error}") from None
