"""``pixelwise plan``."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from pixelwise.cli.completing import methods
from pixelwise.cli.job_files import planned_job
from pixelwise.cli.options import PARAMETER_OPTION, all_input_options, job_options, layer_options
from pixelwise.cli.planned import show
from pixelwise.cli.planned_scenes import describe_scenes
from pixelwise.cli.report import debug_option, emit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pixelwise.bands import Band
    from pixelwise.dates.axis import TimeAxis
    from pixelwise.grid import Grid
    from pixelwise.jobs.answer import LayerOutputs
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.output_spec import OutputSpec
    from pixelwise.jobs.plan import Plan
    from pixelwise.method import BoundMethod, Method
    from pixelwise.opening.survey import Survey
    from pixelwise.stacks.base import FileStack
    from pixelwise.stacks.raster import Layer
    from pixelwise.stacks.spec import InputSpec

__all__ = ["plan"]


@click.command()
@all_input_options
@click.option(
    "--method", shell_complete=methods, help="Method to plan for.  [default: that of the recipe's job, or ols]"
)
@PARAMETER_OPTION
@layer_options
@job_options
@click.option(
    "--layers", is_flag=True, help="List all layers: file, band, date, and the rule by which the date was found."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, which always has all layers.")
@click.option(
    "--write-recipe",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write input and options for --recipe.",
)
@click.option("--strict", is_flag=True, help="Exit with status 1 on warnings as well.")
@debug_option
def plan(
    *,
    source: list[str],
    spec: InputSpec,
    covariates: dict[str, str],
    written: OutputSpec,
    method: str | None,
    parameters: tuple[tuple[str, str], ...],
    as_json: bool,
    write_recipe: str | None,
    strict: bool,
    **options: Any,
) -> None:
    """Show what a job would read: dates, grid, gaps, memory, blocks.

    Reads only headers and a small sample. --layers lists every layer with its date and the rule by which the date was
    found. Problems and warnings are printed last: problems would stop a job, and give exit status 1; warnings should be
    checked.
    """
    from pixelwise.errors import InputError
    from pixelwise.methods.lookup import resolve_method
    from pixelwise.opening.survey import Survey, survey
    from pixelwise.rasters.handles import reading

    listed = options.pop("layers")
    name, values, written = planned_job(method, parameters, written)
    chosen = None if name is None else resolve_method(name, parameters=values)[0]
    try:
        found = survey(source, spec)
    except InputError as error:
        if not as_json:
            raise
        found = Survey(spec, (), {}, None, error.problems)
    with reading():  # the same pixels are sampled several times: open each file only once
        report = describe(found, covariates, chosen, written, options)
    if as_json:
        emit(json.dumps(report, indent=2))
    else:
        assumed = method is None and click.get_current_context().params.get("recipe") is None
        show(report, layers=listed, method=f"{name}, as no --method is given" if assumed else name)
    if write_recipe is not None and not report["problems"]:
        from pixelwise.opening.recipe import to_run
        from pixelwise.opening.recipe import write_recipe as write
        from pixelwise.stacks.reductions import names_function

        write(write_recipe, source, spec, covariates, written.needs)
        emit(f"recipe    {write_recipe}", error=True, lines=False)
        if spec.composite is not None and names_function(spec.composite):
            emit(f"          use it with {to_run(spec.composite)}: code that a recipe names is not run", error=True)
    if report["problems"] or (strict and report["warnings"]):
        sys.exit(1)


def describe(
    found: Survey,
    covariates: Mapping[str, str],
    method: Method | None,
    written: OutputSpec,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything that the command shows; `options` are those of `Execution`, not checked yet.

    Without a method, layers are written as they are: a job of composites.
    """
    from pixelwise.errors import PixelwiseError
    from pixelwise.jobs.answer import PostProcessed
    from pixelwise.jobs.copying import Copy
    from pixelwise.jobs.execution import Execution
    from pixelwise.jobs.provenance import doubts_of
    from pixelwise.jobs.task import check_memory, costs_of_chunks
    from pixelwise.maps.false_discovery import CAUTION
    from pixelwise.methods.functions.pixel import SMALL_JOB
    from pixelwise.opening.checks import warnings_of_all
    from pixelwise.opening.pairing import open_covariate, pair
    from pixelwise.opening.scene_counts import clear_scenes
    from pixelwise.opening.survey import composite_of
    from pixelwise.run import layers_beside, warnings_of_function, warnings_of_values
    from pixelwise.stacks.composite import CompositeStack
    from pixelwise.stacks.sampling import sample_pixels

    report: dict[str, Any] = {
        "layers": [describe_layer(layer) for layer in found.layers] + [undated(path) for path in found.undated],
        "grid": describe_grid(found.grid),
        "problems": list(found.problems),
        "warnings": [],
        "plan": None,
    }
    if found.problems:
        return report
    try:
        scenes = found.stack()
        report["grid"] = describe_grid(scenes.grid)
        stack = composite_of(scenes)
        inputs = {name: open_covariate(text, found.spec) for name, text in covariates.items()}
        report["with"] = {name: describe_covariate(other) for name, other in inputs.items()}
        pairing = pair(stack, inputs)
        stack = pairing.stack
        report["pairing"] = pairing.describe() if inputs else None
        report["time"] = describe_time(stack.axis)
        report["needs"] = written.needs.describe(stack.axis) if written.needs else None
        method = method or Copy(stack.names)
        method.check_axis(stack.axis)
        execution = Execution(**options)
        check_memory(pairing.stacks, execution)
        axes = {name: other.axis for name, other in pairing.inputs.items()}
        method = method.rehearse(stack.axis, lambda: sample_pixels(stack), stack.grid.block.pixels)
        layered = layers_beside(stack, method, written)
        report["write"] = describe_layers(written, layered)
        answer = PostProcessed.of(method, stack.axis, axes, written, layered)
        bound = answer.simplest
        report["fdr"] = describe_fdr(written, answer.written)
        job = cut(pairing.stacks, method, bound, execution)
        report["plan"] = describe_plan(job, pairing.stacks)
        report["warnings"] += costs_of_chunks(job, pairing.stacks)
        report |= describe_scenes(found, scenes)
        report["area"] = stack.area.describe()
        report["composite"] = stack.describe() if isinstance(stack, CompositeStack) else None
        report["clear"] = clear_scenes(stack)
        report["warnings"] += [*pairing.warnings, *warnings_of_all(pairing, method), *warnings_of_function(method)]
        report["warnings"] += [*layered.cautions(), *warnings_of_values(method, stack), *[CAUTION] * bool(written.fdr)]
        if (doubts := doubts_of(method, pairing.stacks)) and stack.grid.block.pixels * len(stack.axis) > SMALL_JOB:
            report["warnings"].append(f"if the job is interrupted, it cannot be resumed: {doubts}")
    except PixelwiseError as error:
        report["problems"] += getattr(error, "problems", [in_one_line(error)])
    return report


def in_one_line(error: Exception) -> str:
    """Return what an error says; of the traceback of a user's function only its place and last line."""
    first, *rest = str(error).splitlines() or [""]
    if not rest:
        return first
    places = re.findall(r'^ *File "(.+)", line (\d+)', "\n".join(rest), re.MULTILINE)
    place = f" ({places[-1][0]}, line {places[-1][1]})" if places else ""
    return f"{first}: {rest[-1].strip()}{place}"


def describe_fdr(written: OutputSpec, bands: Sequence[Band]) -> dict[str, Any] | None:
    """Return for JSON which pixels are to be significant, and the bands that say so."""
    from pixelwise.maps.false_discovery import ADDED, pvalues_of

    if written.fdr is None:
        return None
    return {**written.fdr.describe(), "pvalue": pvalues_of(bands), "bands": list(ADDED)}


def describe_covariate(stack: FileStack) -> dict[str, Any]:
    """Return a covariate stack for JSON, before it is paired."""
    from pixelwise.opening.scene_counts import scenes_of

    layers = [describe_layer(layer) for layer in scenes_of(stack).layers]
    return {"words": str(stack), "layers": layers, "time": describe_time(stack.axis)}


def describe_layer(layer: Layer) -> dict[str, Any]:
    """Return one layer for JSON."""
    first = layer.pieces[0]
    more: dict[str, Any] = {}
    if layer.masks:
        more["masks"] = list(dict.fromkeys(str(piece.path) for piece in layer.masks))
    if layer.sensors:
        more["sensors"] = list(layer.sensors)
    return {
        "paths": list(dict.fromkeys(str(piece.path) for piece in layer.pieces)),
        "band": first.band,
        "date": layer.iso_date,
        "precision": layer.precision,
        "time": layer.year,
        "rule": layer.rule,
        "dtype": first.dtype,
        "nodata": [value if value == value else "nan" for value in first.nodata],
        "scale": first.scale,
        "offset": first.offset,
        **more,
    }


def undated(path: Any) -> dict[str, Any]:
    """Return a file without a date in the form of a layer."""
    return {"paths": [str(path)], "band": None, "date": None, "precision": None, "time": None, "rule": None}


def describe_grid(grid: Grid | None) -> dict[str, Any] | None:
    """Return a grid for JSON."""
    if grid is None:
        return None
    return {
        "crs": None if grid.crs is None else grid.crs_name,
        "evenly_spaced": grid.places is None,
        "unit": "" if grid.crs is None else "degrees" if grid.crs.is_geographic else str(grid.crs.linear_units),
        "height": grid.height,
        "width": grid.width,
        "transform": list(grid.transform)[:6],
        "bounds": list(grid.bounds),
    }


def describe_time(axis: TimeAxis) -> dict[str, Any]:
    """Return time step, gaps and duplicate dates for JSON."""
    import numpy as np

    dates = [str(day) for day in axis.days]
    index = axis.index
    missing = [] if index is None else sorted(set(range(int(index[-1]) + 1)) - set(index.tolist()))
    repeated = sorted({date for date, gap in zip(dates[1:], np.diff(axis.years), strict=True) if gap == 0})
    gaps = []
    if index is not None:
        gaps = [[dates[i], dates[i + 1]] for i in np.flatnonzero(np.diff(index) > 1)]
    return {
        "layers": len(axis),
        "first": dates[0],
        "last": dates[-1],
        "precision": axis.precision,
        "step": None if axis.step is None else str(axis.step),
        "missing_steps": len(missing),
        "gaps_between": gaps,
        "duplicates": repeated,
    }


def describe_layers(written: OutputSpec, layered: LayerOutputs) -> dict[str, dict[str, Any]]:
    """Return the stacks beside the map for JSON, and what anomalies are counted from."""
    from pixelwise.jobs.climatology import FROM_CLIMATOLOGY

    usual = {} if layered.climatology is None else layered.climatology.describe()
    return {
        kind: {"path": str(path), **(usual if kind in FROM_CLIMATOLOGY else {})} for kind, path in written.write.items()
    }


def cut(stacks: Sequence[FileStack], method: Method, bound: BoundMethod, execution: Execution) -> Plan:
    """Cut a job for its workers, which are asked whether they are fit for it."""
    from pixelwise.jobs.executors import open_engine
    from pixelwise.jobs.task import check_travels, engine_for, executor_for, files_of, plan_job

    check_travels(method, stacks, executor_for(bound, stacks, execution))
    with open_engine(engine_for(bound, stacks, execution)) as engine:
        engine.check(files_of(stacks))
        return plan_job(stacks, bound, execution, engine)


def describe_plan(job: Plan, stacks: Sequence[FileStack]) -> dict[str, Any]:
    """Return blocks, memory and bytes for JSON."""
    stack = stacks[0]
    files = sum(one.stamps[path].size for one in stacks for path in one.paths)
    decoded = stack.grid.block.pixels * sum(one.layout.stored_bytes_per_pixel for one in stacks)
    return {
        "blocks": len(job),
        "touched": sum(stack.area.touches(block) for block in job.blocks()) if stack.area else len(job),
        "block_height": job.block_height,
        "block_width": job.block_width,
        "source_block": [stack.layout.block_height, stack.layout.block_width],
        "redecode": round(job.redecode, 3),
        "tile_height": job.tile_height,
        "tile_width": job.tile_width,
        "jobs": job.jobs,
        "team": job.team,
        "memory_bytes": job.memory,
        "of_each_worker": not job.workers.local,
        "file_bytes": files,
        "bytes_to_read": decoded,
    }
