"""What every registered method keeps to, whatever it computes."""

import inspect
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from oracles import NEEDED, ORACLES
from pixelwise.method import BoundMethod, Status
from pixelwise.methods import METHODS, get
from pixelwise.times import TimeAxis

TURA = Path(__file__).parents[2] / "shared" / "data" / "tura_landsat" / "geotiff"
AXIS = TimeAxis.from_times(np.arange("1995-05-17", "2016-05-17", np.timedelta64(365, "D"), dtype="datetime64[D]"))
# As many dates, but five a year: nobody can tell a season from a trend by one date a year.
SEASONS = TimeAxis.from_times(np.datetime64("1995-05-17") + 73 * np.arange(22))

pytestmark = pytest.mark.parametrize("factory", METHODS, ids=lambda factory: factory.__name__)


def made(factory, dates=22):
    """Return the method with its defaults, and what it cannot do without."""
    return factory(**NEEDED.get(factory.__name__, lambda dates: {})(dates))


@pytest.fixture
def axis(factory):
    return SEASONS if factory().season_term else AXIS


def random_series(pixels, gaps=0.2, dtype=np.float64, digits=2, seed=0):
    """Return (time, pixel) trends with noise, rounded so that some values tie."""
    rng = np.random.default_rng(seed)
    trend = rng.normal(0, 0.1, pixels) * np.arange(len(AXIS))[:, None]
    values = (trend + rng.normal(size=(len(AXIS), pixels))).round(digits)
    values[rng.random(values.shape) < gaps] = np.nan
    return values.astype(dtype)


def mixed_series(dtype=np.float64):
    """Return 400 pixels of every kind: complete, with gaps, too few, none, constant."""
    parts = [random_series(150, 0.0, dtype), random_series(150, 0.1, dtype), random_series(60, 0.9, dtype)]
    parts += [np.full((len(AXIS), 20), np.nan, dtype), np.full((len(AXIS), 20), 0.1, dtype)]
    return np.concatenate(parts, axis=1)


def same_bits(one, other):
    """Say whether two results have the same bits, NaN included."""
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(one, other, strict=True))


def agrees(found, expected, band):
    __tracebackhide__ = True
    # An intercept at year 0 has 2000 times the rounding of a slope.
    least = {"pvalue": 1e-300, "intercept": 1e-11}.get(band, 1e-12)
    assert found == pytest.approx(expected, rel=1e-9, abs=least, nan_ok=True), band


def test_is_registered_under_its_name_and_has_an_oracle(factory):
    method = factory()
    assert method.name == factory.__name__
    assert get(method.name) is factory
    assert method.name in ORACLES, f"tests/oracles.py has no row for {method.name}"


def test_documents_itself(factory):
    assert factory.__doc__
    for name in factory.__kwdefaults__ or {}:
        # Python 3.13 strips the indentation of docstrings, older ones do not.
        assert re.search(rf"^{name}\b", inspect.getdoc(factory), re.MULTILINE), f"{name} is not documented"


def test_bands(factory):
    bands = factory().bands
    names = [band.name for band in bands]
    assert len(set(names)) == len(names)
    assert "status" not in names
    assert names.count("pvalue") <= 1
    for band in bands:
        assert band.description
        assert "\n" not in band.description


def test_binds_to_what_the_engine_expects(factory, axis):
    bound = made(factory).bind(axis, None, {})
    assert isinstance(bound, BoundMethod)
    assert [band.name for band in bound.bands] == [band.name for band in factory().bands if not band.optional]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pixels", [0, 1, 130])
def test_shape_and_dtype(factory, axis, pixels, dtype):
    bound = made(factory).bind(axis, None, {})
    values, status = bound((random_series(pixels, dtype=dtype),))
    assert values.shape == (len(bound.bands), pixels)
    assert values.dtype == np.float64
    assert status.shape == (pixels,)
    assert status.dtype == np.uint8


def test_input_is_left_alone(factory, axis):
    values = mixed_series()
    before = values.copy()
    made(factory).bind(axis, None, {})((values,))
    np.testing.assert_array_equal(values, before)


def test_no_observation(factory, axis):
    fit = made(factory)(np.full((len(axis), 3), np.nan), axis)
    assert (fit["status"] == Status.NO_OBSERVATION).all()
    for band in factory().bands:
        if band.integer:
            assert (fit[band.name] == 0).all()
        elif not band.optional:
            assert np.isnan(fit[band.name]).all(), band.name


def test_too_few(factory, axis):
    values = np.full((len(axis), 3), np.nan)
    values[4] = 1.0
    fit = made(factory)(values, axis)
    assert (fit["status"] == Status.TOO_FEW).all()
    for band in factory().bands:
        if not band.integer and not band.optional:
            assert np.isnan(fit[band.name]).all(), band.name


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 / 3])
def test_constant(factory, axis, value):
    values = np.full((len(axis), 2), value)
    values[5, 1] = np.nan
    fit = made(factory)(values, axis)
    assert (fit["status"] == Status.CONSTANT).all()
    assert (fit.get("slope", np.zeros(2)) == 0).all()
    assert np.isnan(fit.get("pvalue", np.full(2, np.nan))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_do_not_see_each_other(factory, axis, dtype):
    values = mixed_series(dtype)
    bound = made(factory).bind(axis, None, {})
    table, status = bound((values,))
    assert len(set(status.tolist())) >= 4
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(values.shape[1])
        assert same_bits(bound((np.ascontiguousarray(values[:, order]),)), (table[:, order], status[order]))


@pytest.mark.parametrize("width", [1, 127, 128, 129])
def test_blocks_may_be_cut_anywhere(factory, axis, width):
    values = mixed_series()
    bound = made(factory).bind(axis, None, {})
    parts = [bound((np.ascontiguousarray(values[:, k : k + width]),)) for k in range(0, values.shape[1], width)]
    joined = (np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts]))
    assert same_bits(joined, bound((values,)))


def test_survives_pickling(factory, axis):
    values = mixed_series()
    bound = made(factory).bind(axis, None, {})
    again = pickle.loads(pickle.dumps(bound))
    assert again.bands == bound.bands
    assert same_bits(again((values,)), bound((values,)))
    assert pickle.loads(pickle.dumps(made(factory))) == made(factory)


def test_bands_asked_for_have_the_same_bits(factory, axis):
    values = mixed_series()
    method = made(factory)
    everything = [band.name for band in method.bands]
    table, status = method.bind(axis, everything, {})((values,))
    for k, name in enumerate(everything):
        assert same_bits(method.bind(axis, [name], {})((values,)), (table[k : k + 1], status)), name
    backwards = method.bind(axis, everything[::-1], {})
    assert [band.name for band in backwards.bands] == everything[::-1]
    assert same_bits(backwards((values,)), (table[::-1], status))


@pytest.mark.parametrize(("gaps", "digits"), [(0.0, 6), (0.05, 2), (0.3, 1), (0.5, 0)])
def test_agrees_with_the_oracle(factory, axis, gaps, digits):
    method = made(factory)
    values = random_series(150, gaps, digits=digits, seed=digits)
    everything = [band.name for band in method.bands]
    table, status = method.bind(axis, everything, {})((values,))
    plain = np.flatnonzero(status == Status.OK)
    assert len(plain) > 100
    for pixel in plain:
        expected = ORACLES[method.name](axis.years, values[:, pixel])
        assert list(expected) == everything
        for name, found in zip(everything, table[:, pixel], strict=True):
            agrees(found, expected[name], name)


def test_agrees_with_the_oracle_on_landsat(factory):
    if not TURA.exists():
        pytest.skip(f"{TURA} is not there")
    # LE71700551999255AGS00: sensor, path, row, year, day of year.
    paths = sorted(TURA.glob("*.tif"), key=lambda path: path.name[9:16])
    dates = [np.datetime64(path.name[9:13]) + np.timedelta64(int(path.name[13:16]) - 1, "D") for path in paths]
    layers = []
    for path in paths:
        with rasterio.open(path) as source:
            layer = source.read(1, window=((60, 80), (60, 80))).ravel()
            layers.append(np.where(layer == source.nodata, np.nan, layer))
    axis, values = TimeAxis.from_times(np.array(dates)), np.array(layers)
    assert np.isnan(values).any()
    method = made(factory, len(axis))
    everything = [band.name for band in method.bands]
    table, status = method.bind(axis, everything, {})((values,))
    assert (status == Status.OK).sum() > 300
    for pixel in np.flatnonzero(status == Status.OK):
        expected = ORACLES[method.name](axis.years, values[:, pixel])
        for name, found in zip(everything, table[:, pixel], strict=True):
            agrees(found, expected[name], name)
