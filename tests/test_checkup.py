"""Warnings before a job: each where it belongs, none on a clean stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import pixelwise as pw
from conftest import MakeStack
from pixelwise.checkup import SAMPLE_PIXELS, read_sample, warnings_of
from pixelwise.functions import as_method
from pixelwise.methods.ols import OrdinaryLeastSquares

SHAPE = (4, 20, 25)


def clean(shape: Sequence[int] = SHAPE, seed: int = 0) -> Any:
    """Plausible values with many digits, between 0.1 and 0.9."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype("float32")


def filled(values: Any, filler: float, share: float) -> Any:
    """Put a value into a share of the pixels."""
    chosen = np.random.default_rng(1).permutation(values.size)[: round(values.size * share)]
    values = values.copy()
    values.flat[chosen] = filler
    return values


def check(folder: Any, **options: Any) -> list[str]:
    return warnings_of(pw.open_stack(folder, **options), pw.methods.ols())


@pytest.mark.parametrize("names", [(), ("2001-01-05", "2002-03-05", "2003-05-05", "2004-07-05")])
@pytest.mark.parametrize("gaps", [0, 0.5])
def test_a_clean_stack(make_stack: MakeStack, names: tuple[str, ...], gaps: float):
    assert check(make_stack(filled(clean(), np.nan, gaps), names)) == []


def test_a_clean_stack_of_scaled_integers(make_stack: MakeStack):
    stored = filled((clean() * 10000).round(), -3000, 0.3).astype("int16")
    assert check(make_stack(stored, nodata=-3000, scales=[0.0001])) == []
    assert check(make_stack(stored, folder="plain"), nodata=-3000, scale=0.0001) == []


# ------------------------------------------------------------------------------------------------- fillers


@pytest.mark.parametrize("filler", [0.0, -9999.0, 255.0, 0.95])
def test_a_value_that_fills_much_may_be_missing(make_stack: MakeStack, filler: float):
    folder = make_stack(filled(clean(), filler, 0.1), range(2000, 2004), folder="lai")
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("ndvi", "lai"))
    [warning] = check(folder)
    assert warning == (
        f"the exact value {np.float32(filler):.10g} fills 10% of the sampled pixels and is not nodata; "
        "if it means missing, give --nodata with the stored value"
    )
    assert check(folder, nodata=filler) == []


def test_a_value_in_the_middle_may_be_frequent(make_stack: MakeStack):
    assert check(make_stack(filled(clean(), 0.5, 0.2))) == []


def test_fractions_repeat_less_than_integers(make_stack: MakeStack):
    assert len(check(make_stack(filled(clean(), 0, 0.02), folder="fractions"))) == 1
    assert check(make_stack(filled(clean(), 0, 0.005), folder="few")) == []
    counts = (clean() * 200).round()
    assert check(make_stack(filled(counts, 0, 0.02).astype("uint8"), folder="ndwi", times=range(2000, 2004))) == [
        # A stack of counts called NDVI deserves this one only.
        "the names say NDVI, but values reach 180: a sum, scaled, or a filler? (--scale, --nodata, --valid-range)"
    ]


def test_no_valid_pixel(make_stack: MakeStack):
    assert check(make_stack(np.full(SHAPE, -9999, dtype="float32"), nodata=-9999)) == [
        "the sampled windows hold no valid pixel: are nodata and the valid range right?"
    ]


def test_one_value_everywhere(make_stack: MakeStack):
    assert check(make_stack(np.full(SHAPE, 0.5, dtype="float32"))) == ["every sampled pixel is 0.5"]


# --------------------------------------------------------------------------------------------------- scales


def test_a_scale_above_one(make_stack: MakeStack):
    folder = make_stack(clean())
    warnings = check(folder, scale=1.5)
    assert warnings == ["scale 1.5 is above 1; most products divide (0.0001): is it meant? (--scale overrides)"]
    assert check(folder, scale=1) == check(folder, scale=-1) == []


def test_layers_with_different_scales(make_stack: MakeStack):
    make_stack((clean()[:2] * 10000).astype("int16"), (2000, 2001), scales=[0.0001])
    folder = make_stack(clean()[2:], (2002, 2003))
    assert check(folder) == ["layers have different scales: 0.0001, 1"]


def test_layers_with_similar_scales(make_stack: MakeStack):
    make_stack((clean()[:2] * 10000).astype("int16"), (2000, 2001), scales=[0.0001])
    folder = make_stack((clean()[2:] * 5000).astype("int16"), (2002, 2003), scales=[0.0002])
    assert check(folder) == []


def test_a_layer_of_another_level(make_stack: MakeStack):
    values = clean() * 0.02
    values[2] *= 50
    folder = make_stack(values)
    [warning] = check(folder)
    assert warning.startswith(f"{folder / 'ndvi_2002.tif'}: its typical value 0.")
    assert "differs more than 10-fold from that of the stack, 0.0" in warning
    assert warning.endswith("another scale?")
    values[2] /= 10
    assert check(make_stack(values, folder="similar")) == []


def test_many_layers_of_another_level_are_counted(make_stack: MakeStack):
    values = clean((20, 10, 10))
    values[:8] /= 1000
    warnings = check(make_stack(values))
    assert len([line for line in warnings if "its typical value" in line]) == 5
    assert warnings[-1] == "... and 3 more layers with another level"


def test_an_empty_layer_has_no_level(make_stack: MakeStack):
    values = clean()
    values[1] = np.nan
    assert check(make_stack(values)) == []


# ----------------------------------------------------------------------------------------------------- NDVI


@pytest.mark.parametrize(("factor", "scale"), [(10000, "0.0001"), (1000, "0.001"), (100, "0.01")])
def test_ndvi_beyond_one(make_stack: MakeStack, factor: float, scale: str):
    folder = make_stack(clean() * factor)
    [warning] = check(folder)
    assert warning.startswith("the names say NDVI, but values reach 8")
    assert warning.endswith(f": try --scale {scale}")
    assert check(folder, scale=float(scale)) == []


def test_ndvi_with_a_filler(make_stack: MakeStack):
    folder = make_stack(filled(clean(), 2.5, 0.005))
    assert check(folder) == [
        "the names say NDVI, but values reach 2.5: a sum, scaled, or a filler? (--scale, --nodata, --valid-range)"
    ]
    assert check(folder, valid_range=(-1, 1)) == []


def test_other_names_may_reach_further(make_stack: MakeStack):
    folder = make_stack(clean() * 10000)
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("ndvi", "rain"))
    assert check(folder) == []


# -------------------------------------------------------------------------------------------------- seasons

MONTHLY = [f"{year}-{month:02}" for year in (2000, 2001) for month in (1, 7)]


@dataclass(frozen=True)
class Seasonal(OrdinaryLeastSquares):
    """A method that knows seasons."""

    @property
    def season_term(self) -> bool:
        return True


def test_several_layers_a_year_need_a_season_term(make_stack: MakeStack):
    stack = pw.open_stack(make_stack(clean(), MONTHLY))
    [warning] = warnings_of(stack, pw.methods.ols())
    assert warning == (
        "2.0 layers per year, but ols has no season term: unequal seasons can look like a trend; "
        "make one layer per year (--composite), choose --months, or fit the season too (harmonic)"
    )
    assert warnings_of(stack, Seasonal()) == []
    assert warnings_of(stack) == []


def test_seasons_are_the_business_of_a_functions_author(make_stack: MakeStack):
    stack = pw.open_stack(make_stack(clean(), MONTHLY))
    assert any("no season term" in line for line in warnings_of(stack, pw.methods.ols()))
    assert not any("no season term" in line for line in warnings_of(stack, as_method(lambda y, t: y.mean())))


@dataclass(frozen=True)
class Cautious(OrdinaryLeastSquares):
    """A method that says something of short series."""

    def cautions(self, axis: Any) -> tuple[str, ...]:
        return (f"{len(axis)} layers are few",) if len(axis) < 5 else ()


@pytest.mark.parametrize(("layers", "told"), [(4, ["4 layers are few"]), (5, [])])
def test_what_a_method_says_of_the_dates(make_stack: MakeStack, layers: int, told: list[str]):
    stack = pw.open_stack(make_stack(clean((layers, 20, 25)), range(2000, 2000 + layers)))
    assert warnings_of(stack, Cautious()) == warnings_of(stack, Cautious(), quick=True) == told
    assert warnings_of(stack) == []
    assert pw.apply(stack, Cautious()).provenance.get("warnings", []) == told


def test_what_a_method_says_of_a_stack_without_files(make_stack: MakeStack):
    files = pw.open_stack(make_stack(clean(), MONTHLY))

    class Other:
        grid, axis = files.grid, files.axis

        def read(self, block: Any) -> Any:
            return files.read(block)

    season, few = pw.apply(Other(), Cautious()).provenance["warnings"]
    assert "no season term" in season
    assert few == "4 layers are few"


def test_one_month_of_each_year_has_no_season(make_stack: MakeStack):
    assert check(make_stack(clean(), MONTHLY), months=[7]) == []


# --------------------------------------------------------------------------------------------------- sample


def test_the_sample_is_small_and_always_the_same(make_stack: MakeStack):
    values = clean((2, 300, 400))
    stack = pw.open_stack(make_stack(values, tiled=True, blockxsize=64, blockysize=64))
    sample = read_sample(stack)
    assert sample.dtype == np.float64
    assert len(sample) == 2
    assert SAMPLE_PIXELS / 2 < sample.shape[1] < 2 * SAMPLE_PIXELS
    np.testing.assert_array_equal(read_sample(stack), sample)
    assert np.isin(sample[0], values[0]).all()
    assert warnings_of(stack) == []


def test_nodata_that_the_type_cannot_hold(make_stack: MakeStack):
    values = np.random.default_rng(0).integers(10, 200, (4, 30, 30)).astype(np.uint8)
    folder = make_stack(values)
    told = "nodata -9999 never occurs in uint8 files: is it the value of another product?"
    assert told in warnings_of(pw.open_stack(folder, nodata=(-9999, 255)))
    assert not any("never occurs" in line for line in warnings_of(pw.open_stack(folder, nodata=255)))


def test_a_small_stack_is_read_whole(make_stack: MakeStack):
    values = clean((2, 6, 7))
    np.testing.assert_array_equal(read_sample(pw.open_stack(make_stack(values))), values.reshape(2, -1))


def test_a_stack_that_cannot_be_read(make_stack: MakeStack):
    folder = make_stack(clean((3, 64, 64)), compress="deflate", tiled=True, blockxsize=16, blockysize=16)
    path = folder / "ndvi_2001.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(pw.InputError, match=r"ndvi_2001\.tif: band 1 cannot be read at rows"):
        check(folder)
