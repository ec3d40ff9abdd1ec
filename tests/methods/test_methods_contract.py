"""What every registered method keeps to, whatever it computes."""

import inspect
import math
import pickle
import re
import sys
from functools import cache
from itertools import product

import numpy as np
import pytest
import rasterio

from pixelwise import ParameterError
from pixelwise.bands import Status
from pixelwise.dates.axis import TimeAxis
from pixelwise.method import BoundMethod
from pixelwise.methods import METHODS, binding, get
from support.compiled import compiled_only
from support.dates import DAY
from support.oracles import BY_SIMULATION, CASES, ONE_PER_MONTH, ORACLES
from support.places import SHARED

pytestmark = compiled_only

TURA = SHARED / "tura_landsat" / "geotiff"
AXIS = TimeAxis.from_times(np.arange("1995-05-17", "2016-05-17", np.timedelta64(365, "D"), dtype="datetime64[D]"))
# As many dates, but five a year: nobody can tell a season from a trend by one date a year.
SEASONS = TimeAxis.from_times(np.datetime64("1995-05-17") + 73 * np.arange(22) * DAY)
LAYERS = len(AXIS)

every_factory = pytest.mark.parametrize("factory", METHODS, ids=lambda factory: factory.__name__)
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def random_series(pixels, gaps=0.2, dtype=np.float64, digits=2, seed=0, layers=LAYERS):
    """Return (time, pixel) trends with noise, rounded so that some values tie."""
    rng = np.random.default_rng(seed)
    trend = rng.normal(0, 0.1, pixels) * np.arange(layers)[:, None]
    values = (trend + rng.normal(size=(layers, pixels))).round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values.astype(dtype)


def mixed_series(dtype=np.float64):
    """Return 400 pixels of every kind: complete, with gaps, too few, none, constant."""
    parts = [random_series(150, 0.0, dtype), random_series(150, 0.1, dtype), random_series(60, 0.9, dtype)]
    parts += [np.full((len(AXIS), 20), np.nan, dtype), np.full((len(AXIS), 20), 0.1, dtype)]
    return np.concatenate(parts, axis=1)


def with_inputs(case, values, gaps=0.1, seed=100):
    """Return the response and the further inputs that a case needs, with gaps of their own."""
    return values, *(
        random_series(values.shape[1], gaps, values.dtype, seed=seed + k, layers=len(values))
        for k in range(len(case.inputs))
    )


def axis_of(case):
    return SEASONS if case.method.season_term else AXIS


class Alone:
    """A bound method that looks at neighbours, applied to pixels without any."""

    def __init__(self, bound):
        self.bound, self.bands = bound, bound.bands

    def __call__(self, inputs):
        size = 2 * self.bound.halo + 1
        table, status = np.empty((len(self.bands), inputs[0].shape[1])), np.empty(inputs[0].shape[1], np.uint8)
        for pixel in range(len(status)):
            around = tuple(np.full((len(array), size, size), np.nan, array.dtype) for array in inputs)
            for array, values in zip(around, inputs, strict=True):
                array[:, size // 2, size // 2] = values[:, pixel]
            (table[:, [pixel]], status[[pixel]]) = self.bound(around)
        return table, status


def bind(case, bands=None, axis=None):
    axis = axis_of(case) if axis is None else axis
    bound = case.make(len(axis)).bind(axis, bands, dict.fromkeys(case.inputs, axis))
    return Alone(bound) if bound.halo else bound


def apply(case, values):
    """Apply a case to a response, with complete further inputs."""
    values, *others = with_inputs(case, values, gaps=0.0)
    if case.method.halo:
        bound = bind(case)
        table, status = bound((values,))
        return {**{band.name: row for band, row in zip(bound.bands, table, strict=True)}, "status": status}
    return case.method(values, axis_of(case), **dict(zip(case.inputs, others, strict=True)))


def columns(inputs, chosen):
    """Return some pixels of every input."""
    return tuple(np.ascontiguousarray(array[:, chosen]) for array in inputs)


def same_bits(one, other):
    """Say whether two results have the same bits, NaN included."""
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one, other, strict=True))


def agrees(found, expected, band):
    __tracebackhide__ = True
    # An intercept at year 0 has 2000 times the rounding of a slope.
    least = {"pvalue": 1e-300, "intercept": 1e-11}.get(band, 1e-12)
    # What surely agrees, and most does, needs no object to say so: there are 170 000 comparisons.
    if math.isclose(found, expected, rel_tol=5e-10):
        return
    assert found == pytest.approx(expected, rel=1e-9, abs=least, nan_ok=True), band


@every_factory
def test_is_registered_under_its_name_and_has_an_oracle(factory):
    method = factory()
    assert method.name == factory.__name__
    assert get(method.name) is factory
    assert method.name in ORACLES, f"tests/support/oracles.py has no row for {method.name}"


@every_factory
def test_documents_itself(factory):
    assert factory.__doc__
    for name in factory.__kwdefaults__ or {}:
        # Python 3.13 strips the indentation of docstrings, older ones do not.
        assert re.search(rf"^{name}\b", inspect.getdoc(factory), re.MULTILINE), f"{name} is not documented"


@every_case
def test_bands(case):
    bands = case.method.bands
    names = [band.name for band in bands]
    assert len(set(names)) == len(names)
    assert "status" not in names
    assert names.count("pvalue") <= 1
    for band in bands:
        assert band.description
        assert "\n" not in band.description


@every_case
def test_every_band_says_what_its_numbers_are(case):
    bands = {band.name: band for band in case.method.bands}
    for band in bands.values():
        assert band.kind, f"{case.method.name}: {band.name} has no kind"
        assert (band.kind == "count") == band.integer
        assert (band.kind == "test") == ("pvalue" in band.name)
        if band.kind == "change":
            assert re.search("/year$", band.unit) or band.name in ("change", "percent_of_mean")
        if band.pvalue:
            assert bands[band.pvalue].kind == "test"
    tests = [band for band in bands.values() if band.pvalue]
    assert tests or case.method.name in ("summary", "siegel", "theil_sen") or "slope" not in bands


@every_case
def test_shares_and_correlations_stay_within_their_limits(case):
    fit = apply(case, mixed_series())
    for band in case.method.bands:
        if band.optional or band.kind not in ("share", "correlation", "test", "day of year"):
            continue
        values = fit[band.name][np.isfinite(fit[band.name])]
        low, high = {"correlation": (-1, 1), "day of year": (0, 367)}.get(band.kind, (0, 1))
        assert values.size == 0 or low - 1e-9 <= values.min() <= values.max() <= high + 1e-9


@every_case
def test_binds_to_what_the_engine_expects(case):
    axis = axis_of(case)
    bound = case.method.bind(axis, None, dict.fromkeys(case.inputs, axis))
    assert isinstance(bound, BoundMethod)
    assert bound.halo == case.method.halo
    assert [band.name for band in bound.bands] == [band.name for band in case.method.bands if not band.optional]


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pixels", [0, 1, 130])
def test_shape_and_dtype(case, pixels, dtype):
    bound = bind(case)
    values, status = bound(with_inputs(case, random_series(pixels, dtype=dtype)))
    assert values.shape == (len(bound.bands), pixels)
    assert values.dtype == np.float64
    assert status.shape == (pixels,)
    assert status.dtype == np.uint8


@every_case
def test_input_is_left_alone(case):
    inputs = with_inputs(case, mixed_series())
    before = [array.copy() for array in inputs]
    bind(case)(inputs)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@every_case
def test_no_observation(case):
    fit = apply(case, np.full((len(AXIS), 3), np.nan))
    assert (fit["status"] == Status.NO_OBSERVATION).all()
    for band in case.method.bands:
        if band.integer:
            assert (fit[band.name] == 0).all()
        elif not band.optional:
            assert np.isnan(fit[band.name]).all(), band.name


@every_case
def test_too_few(case):
    values = np.full((len(AXIS), 3), np.nan)
    values[4] = 1.0
    fit = apply(case, values)
    assert (fit["status"] == Status.TOO_FEW).all()
    for band in case.method.bands:
        if not band.integer and not band.optional:
            assert np.isnan(fit[band.name]).all(), band.name


@every_case
@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 / 3])
def test_constant(case, value):
    values = np.full((len(AXIS), 2), value)
    values[5, 1] = np.nan
    fit = apply(case, values)
    assert (fit["status"] == case.constant).all()
    if case.constant == Status.OK:
        for pixel in range(2):
            expected = case.oracle(axis_of(case).years, values[:, pixel])
            for name in fit.keys() - {"status"}:
                agrees(fit[name][pixel], expected[name], name)
    assert (fit.get("slope", np.zeros(2)) == 0).all()
    assert np.isnan(fit.get("pvalue", np.full(2, np.nan))).all()


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_do_not_see_each_other(case, dtype):
    inputs = with_inputs(case, mixed_series(dtype))
    bound = bind(case)
    table, status = bound(inputs)
    assert {Status.OK, Status.NO_OBSERVATION, Status.TOO_FEW, case.constant} <= set(status.tolist())
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(status))
        assert same_bits(bound(columns(inputs, order)), (table[:, order], status[order]))


@every_case
@pytest.mark.parametrize("width", [1, 127, 128, 129])
def test_blocks_may_be_cut_anywhere(case, width):
    inputs = with_inputs(case, mixed_series())
    bound = bind(case)
    starts = range(0, inputs[0].shape[1], width)
    parts = [bound(columns(inputs, slice(start, start + width))) for start in starts]
    joined = (np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts]))
    assert same_bits(joined, bound(inputs))


def kernel_types() -> int:
    """Count the types of arguments that kernels of methods were called with so far, compiled or loaded."""
    modules = [module for name, module in sys.modules.items() if name.startswith("pixelwise.kernels.")]
    kernels = [value for module in modules for value in vars(module).values() if hasattr(value, "signatures")]
    return sum(len(kernel.signatures) for kernel in kernels)


@pytest.mark.parametrize("case", [case for case in CASES if not case.method.halo], ids=str)
def test_other_types_of_inputs_and_maps_compile_nothing_more(case):
    """All inputs float32, and all float64: up to 5 s each for every kernel."""
    bound, inputs = bind(case), with_inputs(case, mixed_series())
    singles, doubles = ([values.astype(dtype) for values in inputs] for dtype in ("float32", "float64"))
    bound(tuple(singles), "float32")
    bound(tuple(doubles), "float32")
    before = kernel_types()
    for chosen in product(*zip(singles, doubles, strict=True)):
        for dtype in ("float32", "float64"):
            bound(chosen, dtype)
    assert kernel_types() == before


@pytest.mark.parametrize("case", [case for case in CASES if case.inputs], ids=str)
def test_inputs_of_two_types_are_float64_in_pieces(case, monkeypatch):
    monkeypatch.setattr(binding, "PIECE_VALUES", 1)
    inputs = [values.astype("float32") for values in with_inputs(case, random_series(700))]
    expected = bind(case)(tuple(values.astype("float64") for values in inputs))
    for wide in range(len(inputs)):
        mixed = (values.astype("float64") if index == wide else values for index, values in enumerate(inputs))
        assert same_bits(bind(case)(tuple(mixed)), expected)
    # More pixels than the response has, which pieces of it would not show.
    longer = np.concatenate([inputs[1].astype("float64")] * 2, axis=1)
    with pytest.raises(ParameterError, match=r"shape \(22, 1400\)"):
        bind(case)((inputs[0][:, :512], longer, *inputs[2:]))


@every_case
def test_survives_pickling(case):
    inputs = with_inputs(case, mixed_series())
    bound = bind(case)
    again = pickle.loads(pickle.dumps(bound))
    assert again.bands == bound.bands
    expected = bound(inputs)
    # Arrays come out of a pickle writable, which to numba is another type: every worker would compile again.
    before = kernel_types()
    assert same_bits(again(inputs), expected)
    assert kernel_types() == before
    assert pickle.loads(pickle.dumps(case.method)) == case.method


@every_case
def test_bands_asked_for_have_the_same_bits(case):
    inputs = with_inputs(case, mixed_series())
    everything = [band.name for band in case.method.bands]
    table, status = bind(case, everything)(inputs)
    for k, name in enumerate(everything):
        assert same_bits(bind(case, [name])(inputs), (table[k : k + 1], status)), name
    backwards = bind(case, everything[::-1])
    assert [band.name for band in backwards.bands] == everything[::-1]
    assert same_bits(backwards(inputs), (table[::-1], status))


@every_case
@pytest.mark.parametrize(("gaps", "digits"), [(0.0, 6), (0.05, 2), (0.3, 1), (0.5, 0)])
def test_agrees_with_the_oracle(case, gaps, digits):
    inputs = with_inputs(case, random_series(150, gaps, digits=digits, seed=digits), gaps / 4)
    everything = [band.name for band in case.method.bands]
    table, status = bind(case, everything)(inputs)
    plain = np.flatnonzero(status == Status.OK)
    assert len(plain) > 100
    for pixel in plain:
        expected = case.oracle(axis_of(case).years, *(array[:, pixel] for array in inputs))
        assert list(expected) == everything
        for name, found in zip(everything, table[:, pixel], strict=True):
            agrees(found, expected[name], name)


@cache
def landsat():
    """Return dates and values of part of a real stack."""
    # LE71700551999255AGS00: sensor, path, row, year, day of year.
    paths = sorted(TURA.glob("*.tif"), key=lambda path: path.name[9:16])
    dates = [np.datetime64(path.name[9:13]) + np.timedelta64(int(path.name[13:16]) - 1, "D") for path in paths]
    layers = []
    for path in paths:
        with rasterio.open(path) as source:
            layer = source.read(1, window=((60, 80), (60, 80))).ravel()
            layers.append(np.where(layer == source.nodata, np.nan, layer))
    return TimeAxis.from_times(np.array(dates)), np.array(layers)


@every_case
def test_agrees_with_the_oracle_on_landsat(case):
    if not TURA.exists():
        pytest.skip(f"{TURA} is not there")
    axis, values = landsat()
    if case.method.needs_step:
        with pytest.raises(ParameterError, match="needs layers at regular steps"):
            bind(case, axis=axis)
        return
    if case.method.name in ONE_PER_MONTH:
        _, kept = np.unique(axis.dates.astype("datetime64[M]"), return_index=True)
        axis, values = TimeAxis.from_times(axis.dates[kept]), values[kept]
    assert np.isnan(values).any()
    inputs = with_inputs(case, values)
    everything = [band.name for band in case.method.bands]
    table, status = bind(case, everything, axis)(inputs)
    assert (status == Status.OK).sum() > 300
    # Oracles take up to 25 ms per pixel.
    for pixel in np.flatnonzero(status == Status.OK)[::3]:
        expected = case.oracle(axis.years, *(array[:, pixel] for array in inputs))
        assert set(everything) - set(expected) == BY_SIMULATION.get(case.method.name, set())
        for name, found in zip(everything, table[:, pixel], strict=True):
            if name in expected:
                agrees(found, expected[name], name)
