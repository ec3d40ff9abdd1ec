"""How the layers of a plan are made of their files, for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelwise.opening.survey import Survey
    from pixelwise.stacks.base import FileStack
    from pixelwise.stacks.raster import RasterStack

__all__ = ["describe_scenes", "words_of_alignment"]


def describe_scenes(found: Survey, scenes: RasterStack) -> dict[str, Any]:
    """Return for JSON how the layers were made of their files."""
    from pixelwise.opening.checks import masked_share

    return {
        "derivation": scenes.derivation.describe(),
        "arrays": describe_arrays(scenes),
        "sensors": describe_sensors(scenes),
        "gains": describe_gains(scenes),
        "aligned": describe_alignment(scenes),
        "crs": describe_crs(found),
        "alpha": describe_alpha(found, scenes),
        "masked": masked_share(scenes),
        "pieces": describe_pieces(scenes),
    }


def describe_pieces(stack: RasterStack) -> dict[str, int] | None:
    """Count the files that are joined to one image for each date; None if every image is one file."""
    joined = [layer for layer in stack.layers if len(layer.images) == 1 or layer.reduce == "mosaic"]
    counts = [len({piece.path for image in layer.images for piece in image.bands[0]}) for layer in joined]
    if max(counts, default=0) < 2:
        return None
    return {"files": sum(counts), "least": min(counts), "most": max(counts)}


def describe_sensors(stack: RasterStack) -> dict[str, dict[str, int]]:
    """Count layers by year and sensor."""
    from pixelwise.opening.named_sensors import sensors_of

    counts: dict[str, dict[str, int]] = {}
    for layer, sensors in zip(stack.layers, sensors_of(stack.layers), strict=True):
        of_year = counts.setdefault(str(layer.date.year), {})
        for sensor in sensors:
            of_year[sensor] = of_year.get(sensor, 0) + 1
    return {year: of_year for year, of_year in counts.items() if of_year}


def words_of_alignment(stack: FileStack) -> str:
    """Say how many files are resampled, to which grid and how; empty if none is."""
    from pixelwise.opening.scene_counts import scenes_of

    found = describe_alignment(scenes_of(stack))
    return "" if found is None else "{files} of {of} files resampled to {to}, {resampling}".format(**found)


def describe_gains(stack: RasterStack) -> dict[str, Any] | None:
    """Return what makes the scenes comparable; None if nothing does."""
    if stack.gains is None:
        return None
    return {**stack.gains.describe(str(stack.gains.table)), "words": str(stack.gains)}


def describe_alignment(stack: RasterStack) -> dict[str, Any] | None:
    """Return how many files are resampled, to which grid and how; None if none is."""
    pieces = [piece for layer in stack.layers for piece in (*layer.pieces, *layer.masks)]
    warped = {piece.path for piece in pieces if piece.warp is not None}
    if not warped:
        return None
    return {
        "files": len(warped),
        "of": len(stack.paths),
        "to": stack.spec.align,
        "resampling": stack.spec.resampling,
    }


def describe_crs(found: Survey) -> dict[str, Any] | None:
    """Return the CRS that was given, and how many files have none of their own; None if none was given."""
    if found.spec.crs is None:
        return None
    given = sum(header.crs_is_given for header in found.headers.values())
    return {"given": found.spec.crs, "files": given, "of": len(found.headers)}


def describe_alpha(found: Survey, stack: RasterStack) -> list[dict[str, Any]]:
    """List the alpha bands of the files, and what they are used for."""
    pieces = {piece.path: piece for layer in stack.layers for piece in (*layer.pieces, *layer.masks)}
    return [
        {
            "path": str(path),
            "band": band.index,
            "use": "data" if header.alpha_is_data else "mask" if pieces[path].masked else "none",
        }
        for path, header in found.headers.items()
        for band in header.alpha
        if path in pieces
    ]


def describe_arrays(stack: RasterStack) -> dict[str, Any] | None:
    """Return which arrays are read for JSON; None for rasters."""
    if not stack.arrays:
        return None
    return {
        "variables": [place.variable for place in stack.arrays],
        "group": stack.spec.group or "",
        "select": stack.spec.arrays.selected,
        "calendar": stack.axis.calendar,
    }
