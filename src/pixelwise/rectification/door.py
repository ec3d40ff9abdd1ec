"""`rectify`: gains for files, or for a stack, as one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pixelwise.choices import PerScene, Rectification
from pixelwise.errors import InputError, ParameterError
from pixelwise.jobs.execution import Execution, Progress
from pixelwise.opening.products import Product, load_product
from pixelwise.opening.sources import Source, resolve
from pixelwise.opening.survey import open_stack
from pixelwise.rectification.options import RectifyOptions
from pixelwise.rectification.rectify import rectify_stack
from pixelwise.regular_files import is_file
from pixelwise.stacks.base import Stack
from pixelwise.stacks.gains import Gains
from pixelwise.stacks.raster import RasterStack
from pixelwise.stacks.spec import InputSpec
from pixelwise.words import shown, unknown

__all__ = ["open_scenes", "rectify"]


def rectify(
    source: Source | RasterStack,
    output: str | Path | None = None,
    *,
    bands: Sequence[str] | None = None,
    per: PerScene = "scene",
    reference: str | os.PathLike[str] = "median",
    method: Rectification = "irmad",
    controls: str | Path | None = None,
    sample: int = 50_000,
    seed: int = 0,
    season: str | None = None,
    executor: Any = None,
    jobs: int | None = None,
    memory: int | str | None = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: Progress | Literal[False] | None = None,
    **options: Any,
) -> Gains:
    """Find a gain and an offset for each band of each scene, which make all scenes comparable.

    Sensors drift and are replaced, and the atmosphere differs from scene to scene: a trend of unrectified scenes
    includes all of that. Here each scene is compared with a reference at the same sample of pixels, those that did not
    change are found, and a line through them is fitted for each band. No rectified scene is written:
    ``open_stack(..., gains=output)`` applies the lines while it reads.

    Parameters
    ----------
    source
        The scenes, as for `open_stack`; or a stack of files, whose formula names the bands.
    output
        The table to write, ``gains.csv``. Its paths are relative to its folder. If the call is interrupted, the same
        call resumes. None only returns the table.
    bands
        Names of the bands. By default, with a product: all that its sensors share, in the same unit. With more bands,
        change is easier to recognize; three to six are good.
    per
        ``scene``: each scene has gains of its own. ``sensor``: pairs of scenes of different sensors, at most 8 days
        apart, give one line for each sensor and band, chained to the newest sensor.
    reference
        What scenes are compared with: ``median`` of all at each pixel (the mean of the middle third of the values,
        as the median itself is one of them), a file of one scene, or its date.
    method
        ``irmad``: iteratively reweighted multivariate alteration detection [1]_ [2]_ finds out which pixels did not
        change; lines are weighted reduced major axes. ``controls``: the line through the means of a bright and a dark
        control set [3]_. ``regression``: the reduced major axis through all pixels of `region` or `where`, which must
        hold invariant pixels only.
    controls
        Polygons of the bright and dark sets for method ``controls``; by default they are found in each scene.
    sample
        Number of pixels at which scenes are compared: 50 000 give gains to 0.3 %, 10 000 to 0.5 %, 2 000 to 2.8 %.
    seed
        Seed of the sample; the same seed gives the same table, whatever the executor.
    season
        Days of each year that are compared, ``06-01..08-31``; needed if the scenes are of several seasons.
    executor, jobs, memory, overwrite, restart, progress
        As for `apply`.
    **options
        Other options of `open_stack`, such as ``product`` or ``region``.

    Returns
    -------
    Gains
        One row for each band of each file.

    Raises
    ------
    InputError
        When files do not fit together, are of several seasons, or have too few pixels in common.
    ParameterError
        When an option is unknown or impossible.
    OutputError
        When the table exists, or cannot be written.

    References
    ----------
    .. [1] Nielsen, A. A. (2007). The regularized iteratively reweighted MAD method for change detection in multi- and
       hyperspectral data. IEEE Transactions on Image Processing 16, 463-478.
    .. [2] Canty, M. J., Nielsen, A. A. (2008). Automatic radiometric normalization of multitemporal satellite imagery
       with the iteratively re-weighted MAD transformation. Remote Sensing of Environment 112, 1025-1036.
    .. [3] Hall, F. G., Strebel, D. E., Nickeson, J. E., Goetz, S. J. (1991). Radiometric rectification: toward a common
       radiometric response among multidate, multisensor images. Remote Sensing of Environment 35, 11-27.

    Examples
    --------
    >>> gains = pw.rectify(  # doctest: +SKIP
    ...     "scenes/*.TIF", "gains.csv", product="landsat-c2-l2", season="06-01..08-31"
    ... )
    >>> pw.open_stack("scenes/*.TIF", product="landsat-c2-l2", value="ndvi", gains="gains.csv")  # doctest: +SKIP
    >>> pw.plot_gains(gains).savefig("gains.png")  # doctest: +SKIP
    """
    polygons = None if controls is None else Path(controls)
    chosen = RectifyOptions(method, per, str(reference), sample, polygons, seed, season)
    execution = Execution(
        executor=executor, jobs=jobs, memory=memory, overwrite=overwrite, restart=restart, progress=progress
    )
    if isinstance(source, Stack):
        if bands is not None or options:
            given = "bands" if bands is not None else next(iter(options))
            raise ParameterError(f"{given}: is for files; a stack has its own: open it with them")
        if not isinstance(source, RasterStack):
            raise ParameterError(f"expected files or a stack of files, not {type(source).__name__}")
        stack = source
    else:
        stack = open_scenes(source, InputSpec().replace(**options), bands, chosen.reference)
    named = source if isinstance(source, (list, tuple)) else [source] if isinstance(source, (str, Path)) else []
    return rectify_stack(stack, chosen, execution, None if output is None else Path(output), named)


def open_scenes(source: Source, spec: InputSpec, bands: Sequence[str] | None, reference: str) -> RasterStack:
    """Open scenes with all bands that are compared: of a formula which is never computed, for it reads them together.

    Raises
    ------
    InputError, ParameterError
        As `open_stack` does; or when it is unclear which bands are meant.
    """
    if spec.composite is not None:
        raise ParameterError(f"composite {spec.composite}: gains are found for scenes, not for composites")
    if spec.gains is not None:
        raise ParameterError(
            f"gains {spec.gains}: rectify compares scenes as they are in their files; leave the option out"
        )
    if bands is not None and (spec.value is not None or spec.band is not None):
        raise ParameterError(f"bands {', '.join(bands)}: are named by value or band already: give one of them")
    sources = _with_reference(source, reference, spec)
    if spec.value is None and spec.band is None:
        names = _named_bands(bands, sources, spec) if bands is not None else _shared_bands(sources, spec)
        spec = spec.replace(value=" + ".join(names))
    return open_stack(sources, spec)


def _with_reference(source: Source, reference: str, spec: InputSpec) -> Source:
    """Return a source with the file that is the reference, if it is one and not among it."""
    if reference == "median" or not is_file(Path(reference)) or not isinstance(source, (str, os.PathLike, list, tuple)):
        return source
    listed = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    own = Path(reference).absolute()
    known = [path for path, _ in resolve(listed, spec.allow_scheme, spec.asset)]
    return source if any(isinstance(path, Path) and path.absolute() == own for path in known) else [*listed, reference]


def _shared_bands(source: Source, spec: InputSpec) -> list[str]:
    """Return the bands that all sensors of a product have, in the unit of the first."""
    if spec.product is None:
        raise ParameterError("which bands are to be compared? Name them (--bands red,nir,swir1), or give a --product")
    product = load_product(spec.product)
    sensors = _sensors(product, source, spec)
    if not sensors:
        return list(product.names(product.sensors[0]))  # opening the files says what is wrong
    first = sensors[0]
    shared = [name for name in product.names(first) if all(name in product.names(sensor) for sensor in sensors)]
    alike = [name for name in shared if _unit_of(product, sensors, name) == _unit_of(product, sensors, shared[0])]
    if not alike:
        raise InputError(f"{', '.join(sensors)} have no bands in common: name those of one sensor with --bands")
    return alike


def _named_bands(names: Sequence[str], source: Source, spec: InputSpec) -> list[str]:
    """Return the bands that are named, if they can be: opening the files would call them a formula."""
    formulas = [name for name in names if not (isinstance(name, str) and name.isidentifier())]
    if formulas:
        raise ParameterError(f"bands: {shown(formulas[0])} is not the name of a band; a formula is a --value")
    if spec.product is not None:
        product = load_product(spec.product)
        of_files = [product.names(sensor) for sensor in _sensors(product, source, spec) or product.sensors]
        known = list(dict.fromkeys(name for own in of_files for name in own))
        for name in names:
            if name not in known:
                raise ParameterError(f"bands: {unknown('band', name, known)}")
    return list(dict.fromkeys(names))


def _sensors(product: Product, source: Source, spec: InputSpec) -> list[str]:
    """Return the sensors of the files, in their order."""
    files = [product.match(path.absolute()) for path, _ in resolve(source, spec.allow_scheme, spec.asset)]
    return list(dict.fromkeys(file.sensor for file in files if file is not None))


def _unit_of(product: Product, sensors: Sequence[str], name: str) -> set[float]:
    """Return the scales of a band: those of temperatures differ from those of reflectances."""
    return {product.band(sensor, name).scale for sensor in sensors}
