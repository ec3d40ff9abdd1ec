"""``pixelwise run``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pixelwise.choices import Scheme
from pixelwise.cli.apply import apply
from pixelwise.cli.job_files import check_named, function_in, output_of
from pixelwise.cli.options import BandNames, job_options, say_others
from pixelwise.cli.replacing import replacing_options
from pixelwise.cli.report import debug_option, emit, progress_bar

if TYPE_CHECKING:
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.opening.recipe_job import RecipeJob
    from pixelwise.stacks.spec import InputSpec

__all__ = ["run"]


@click.command()
@click.argument("recipe", metavar="JOB.toml", type=click.Path(dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write, instead of the one that the recipe names."
)
@click.option("--method", metavar="FILE.PY:FUNCTION", help="Your function that the recipe names as its method.")
@click.option("--composite", metavar="FILE.PY:FUNCTION", help="Your function that the recipe names for composites.")
@click.option(
    "--jit/--no-jit",
    "jit",
    default=None,
    help="Require or forbid compiling a function of your own.  [default: compile if results are the same]",
)
@click.option(
    "--allow-scheme",
    type=BandNames(),
    metavar="S[,S]",
    help=f"Read files from servers if their names begin so: {', '.join(get_args(Scheme))}.",
)
@job_options
@replacing_options
@click.option(
    "--part",
    metavar="I/N",
    help="Compute only the I-th of N parts of the map, into OUTPUT.parts; `pixelwise join OUTPUT` joins them.",
)
@click.option("--strict", is_flag=True, help="Stop if a function fails, instead of giving its pixel status 5.")
@click.option("--timings", is_flag=True, help="Print how long each step took.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@debug_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    recipe: str,
    output: Path | None,
    method: str | None,
    composite: str | None,
    allow_scheme: list[str] | None,
    **options: Any,
) -> None:
    r"""Run the job in a recipe, or update its output.

    Write the recipe with `apply --write-recipe` or `composite --write-recipe`, or by hand. If the output exists, the
    same command updates it: composites are appended, and a map is computed again if its files have changed. If nothing
    has changed, it stays as it is; if another job made it, it is only replaced with --overwrite. A function that the
    recipe names only runs if you name it here as well.

    \b
      pixelwise apply trend 'ndvi/*.tif' -o trend.tif --write-recipe job.toml
      pixelwise run job.toml
    """
    from pixelwise.errors import InputError
    from pixelwise.opening.recipe import read_job, read_recipe

    job, read = read_job(recipe), read_recipe(recipe)
    if not read.source:
        raise InputError(f"{recipe}: names no input; add input with paths in brackets")
    check_named(recipe, "method", "--method", job.function, method)
    check_named(recipe, "composites", "--composite", function_in(read.spec.composite), composite)
    path = output or (None if job.output is None else Path(job.output))
    if path is None:
        raise InputError(f"{recipe}: its job names no output; name it with -o OUTPUT")
    spec = read.spec.replace(allow_scheme=allow_scheme or ())
    if job.method is None:
        options.pop("jit")
        say_others(recipe, read.source)
        write_composites(ctx, list(read.source), spec, job, path, options)
        return
    written = output_of(recipe, job, read.needs)
    update = options["part"] is None and not options["overwrite"]
    if update:
        overwrite = is_replaced(list(read.source), spec, read.covariates, job, written, path, options)
        if overwrite is None:
            say_others(recipe, read.source)
            for one in (path, *job.write.values()):
                emit(str(one), lines=False)
            return
        options["overwrite"] = overwrite
    ctx.invoke(
        apply,
        method=job.method, source=(), recipe=recipe, output=path, composite=composite, allow_scheme=allow_scheme,
        parameters=tuple(job.parameters.items()), bands=None if job.bands is None else list(job.bands), per=job.per,
        dtype=job.dtype, write=tuple((kind, Path(file)) for kind, file in job.write.items()), base=job.base,
        fdr=job.fdr, driver=job.driver, compress=job.compress, zarr_format=job.zarr_format, **options,
    )  # fmt: skip


def is_replaced(
    source: list[str],
    spec: InputSpec,
    covariates: dict[str, str],
    job: RecipeJob,
    written: OutputSpec,
    output: Path,
    options: dict[str, Any],
) -> bool | None:
    """Return whether an existing map is replaced; None if it is up to date."""
    from pixelwise.existing import existing
    from pixelwise.jobs.execution import Execution
    from pixelwise.methods.lookup import resolve_method
    from pixelwise.opening.pairing import open_covariate
    from pixelwise.opening.survey import open_layers
    from pixelwise.updates import execution_of_update

    if existing(output) is None:
        return False
    method, wanted = resolve_method(job.method or "", job.bands, job.parameters)
    stack = open_layers(source, spec)
    inputs = {name: open_covariate(text, spec) for name, text in covariates.items()}
    execution = Execution(trust_function=options["trust_function"])
    found = execution_of_update(stack, method, output, inputs, replace(written, bands=wanted), execution)
    return None if found is None else found.overwrite


def write_composites(
    ctx: click.Context, source: list[str], spec: InputSpec, job: RecipeJob, output: Path, options: dict[str, Any]
) -> None:
    """Write composites, or append to them, as ``pixelwise composite --append`` does."""
    from pixelwise.appending import append_layers
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.opening.survey import open_layers
    from pixelwise.run import run_layers

    for name in ("part", "strict", "timings"):
        if options.pop(name):
            raise click.UsageError(f"--{name} is for jobs with a method, and this one writes composites")
    quiet = options.pop("quiet")
    stack = open_layers(source, spec)
    emit(str(stack), error=True)
    write = run_layers if options["overwrite"] else append_layers
    with progress_bar(quiet) as progress:
        execution = Execution(progress=progress, compress=job.compress, zarr_format=job.zarr_format, **options)  # type: ignore[arg-type]
        emit(str(write(stack, output, OutputSpec(dtype=job.dtype), execution)), lines=False)
