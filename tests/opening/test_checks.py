"""Warnings before a job: each where it belongs, none on a clean stack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.methods.lookup import as_method
from pixelwise.methods.ols import OrdinaryLeastSquares
from pixelwise.opening.checks import warnings_of
from pixelwise.opening.fill_values import find_fill_values
from pixelwise.stacks.sampling import SAMPLE_PIXELS, read_sample
from support.rasters import MakeStack, write_raster

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


def renamed(folder: Any, name: str = "lai") -> Any:
    """Call files something that has no known range."""
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("ndvi", name))
    return folder


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
    [warning] = check(renamed(folder))
    assert warning == (
        f"the value {np.float32(filler):g} occurs 200 times among 2000 sampled values (10 %), and is not nodata; "
        f"if it means missing, give --nodata={np.float32(filler):g}"
    )
    assert check(folder, nodata=filler) == []


def test_a_value_in_the_middle_may_be_frequent(make_stack: MakeStack):
    assert check(make_stack(filled(clean(), 0.5, 0.2))) == []


@pytest.mark.parametrize("share", [0.002, 0.005, 0.02])
@pytest.mark.parametrize(("factor", "dtype"), [(1, "float32"), (200, "uint8"), (10000, "int16")])
def test_zeros_outside_are_named_with_their_count(make_stack: MakeStack, share: float, factor: float, dtype: str):
    folder = renamed(make_stack(filled((clean() * factor).round(4), 0, share).astype(dtype)))
    [warning] = check(folder)
    assert warning == (
        f"the value 0 occurs {round(share * 2000)} times among 2000 sampled values ({100 * share:.2g} %), "
        "and is not nodata; if it means missing, give --nodata=0"
    )
    assert check(folder, nodata=0) == []


def values_like(kind: str, random: np.random.Generator, size: int) -> Any:
    """Values that hold no filler, of few or of many kinds."""
    few = {
        "flags": [0, 1],
        "bytes of flags": [0, 255],
        "classes": [1, 2, 5, 12, 17],
        "land cover": [0, *range(10, 101, 10)],
        "modis classes": [0, *range(1, 18)],
        "quality": [0, 1, 2, 3],
    }
    if kind in few:
        return random.choice(few[kind], size).astype("uint8")
    if kind == "tree cover":
        return np.clip(random.normal(30, 45, size), 0, 100).astype("uint8")
    if kind == "snow cover":
        between = random.integers(0, 101, size)
        return np.where(random.random(size) < 0.9, random.choice([0, 100], size), between).astype("uint8")
    if kind == "burned days":
        return np.where(random.random(size) < 0.95, 0, random.geometric(0.2, size)).astype("int16")
    if kind == "rain":
        return np.where(random.random(size) < 0.6, 0, random.gamma(0.5, 20, size)).astype("float32")
    if kind == "heavy rain":
        return random.pareto(1.2, size).round().clip(0, 30000).astype("int16")
    if kind == "anomalies":
        return random.normal(0, 8, size).round().astype("int16")
    if kind == "rounded":
        return random.normal(0.2, 0.2, size).round(2).astype("float32")
    if kind == "saturated":
        return np.clip(random.normal(120, 80, size), 0, 255).astype("uint8")
    assert kind == "ndvi with clouds"
    return np.where(random.random(size) < 0.3, random.normal(0, 900, size), random.normal(6000, 1500, size)).astype(
        "i2"
    )


PLAIN = [
    "flags", "bytes of flags", "classes", "land cover", "modis classes", "quality", "tree cover", "snow cover",
    "burned days", "rain", "heavy rain", "anomalies", "rounded", "saturated", "ndvi with clouds",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", PLAIN)
def test_what_is_frequent_or_extreme_among_its_like_is_no_filler(kind: str, seed: int):
    assert find_fill_values(values_like(kind, np.random.default_rng(seed), 5000)) == []


@pytest.mark.parametrize("count", [1, 3, 500])
@pytest.mark.parametrize(
    ("kind", "filler"),
    [
        ("flags", 255),
        ("classes", 255),
        ("modis classes", 255),
        ("tree cover", 255),
        ("ndvi with clouds", -9999),
        ("ndvi with clouds", -32768),
        ("rain", -9999),
        ("rain", -99),
        ("heavy rain", -32768),
        ("anomalies", -9999),
        ("rounded", -3.4028234663852886e38),
    ],
)
def test_a_known_filler_is_found_however_rare(kind: str, filler: float, count: int):
    values = values_like(kind, np.random.default_rng(0), 5000).astype(float)
    values[:count] = filler
    assert find_fill_values(values) == [filler]


def test_several_fillers_are_found_together():
    random = np.random.default_rng(0)
    values = random.normal(5000, 1000, 4000)
    values[:40], values[40:45], values[45] = 0, -9999, -32768
    assert find_fill_values(values) == [-32768, -9999, 0]


@pytest.mark.parametrize("share", [0.03, 0.2])
def test_zeros_amid_or_at_the_thin_end_of_an_index_are_fill_values(share: float):
    random = np.random.default_rng(0)
    for values in (
        random.normal(0.4, 0.25, 5000),
        random.normal(4000, 2500, 5000).round(),
        # 8-bit NDVI reaches down to the zeros, where there is hardly any.
        np.clip(random.normal(120, 35, 5000), 2, 250).round() if share > 0.1 else random.normal(0.4, 0.2, 5000),
    ):
        values[: round(5000 * share)] = 0
        assert find_fill_values(values) == [0]


def test_every_pixel_that_is_read_is_looked_at(make_stack: MakeStack):
    values = (clean((3, 256, 256)) * 10000).astype("int16")
    values[1, 128 + 77, 128 + 5] = -9999
    folder = renamed(make_stack(values, tiled=True, blockxsize=128, blockysize=128))
    [warning] = check(folder)
    assert warning.startswith("the value -9999 occurs once among ")
    assert warning.endswith(
        f" %), only in {folder / 'lai_2001.tif'}, and is not nodata; if it means missing, give --nodata=-9999"
    )
    assert read_sample(pw.open_stack(folder)).min() > 0


@pytest.mark.parametrize("filler", [-1e300, -123456.7890123])
def test_a_value_is_written_with_the_digits_of_the_files_in_which_it_occurs(make_stack: MakeStack, filler: float):
    """The first file is of float32, in which the one is infinite and the other has eight digits."""
    folder = renamed(make_stack(clean((3, 64, 64))))
    wide = clean((64, 64)).astype("float64")
    wide[:, 3] = filler
    write_raster(folder / "lai_2001.tif", wide)
    [warning] = [text for text in check(folder) if "is not nodata" in text]
    assert warning.startswith(f"the value {filler!r} occurs ")
    assert warning.endswith(f"--nodata={filler!r}")


def test_the_remedy_keeps_the_nodata_that_is_declared_and_is_in_stored_numbers(make_stack: MakeStack):
    stored = filled(filled((clean() * 10000).round(), -3000, 0.1), -9999, 0.1).astype("int16")
    folder = make_stack(stored, nodata=-3000, scales=[0.0001])
    [warning] = check(folder)
    assert "the value -9999 occurs" in warning
    assert warning.endswith("give --nodata=-3000,-9999")
    assert check(folder, nodata=(-3000, -9999)) == []


def test_a_printed_filler_works_when_it_is_given_back(make_stack: MakeStack):
    for dtype, filler in (("float64", np.float32(-999.99)), ("float32", np.finfo("float32").min)):
        folder = renamed(make_stack(filled(clean(), filler, 0.01).astype(dtype), folder=dtype))
        [warning] = check(folder)
        given = float(warning.rpartition("--nodata=")[2])
        assert check(folder, nodata=given) == []


def test_a_filler_of_a_formula_is_no_stored_number(make_stack: MakeStack):
    bands = np.stack([clean(), filled(clean(seed=3), -9999, 0.01)], axis=1)
    folder = renamed(make_stack(bands, descriptions=["red", "nir"]))
    warnings = check(folder, value="nir + 0 * red")
    assert [line.rpartition("; ")[2] for line in warnings] == [
        "if it means missing, exclude it with --valid-range LOW,HIGH"
    ]
    assert check(folder, value="nir + 0 * red", valid_range=(0, 1)) == []


# ------------------------------------------------------------------------------------- nodata that differs


def differing(
    make_stack: MakeStack, declared: Sequence[float | None], hidden: dict[int, float], dtype: str = "int16"
) -> Any:
    """Write layers that declare a nodata each, and hold 30 pixels of another value."""
    values = np.random.default_rng(0).normal(80, 3, (len(declared), 40, 40)).round()
    for layer, value in hidden.items():
        values[layer].flat[::54] = value
    for layer, nodata in enumerate(declared):
        make_stack(values[layer : layer + 1].astype(dtype), [2001 + layer], nodata=nodata)
    return make_stack(values[:0], [])


DECLARED = [-9999, -9999, None, -9999, -9999]


def test_one_file_that_does_not_declare_nodata(make_stack: MakeStack, out: Any, caplog: Any):
    folder = renamed(differing(make_stack, DECLARED, {1: -9999, 2: -9999}), "x")
    told = (
        f"{folder / 'x_2003.tif'} declares no nodata, but 4 other files declare -9999, which occurs 30 times among "
        "1600 values checked there; if it means missing in all files, give --nodata=-9999"
    )
    stack = pw.open_stack(folder)
    assert warnings_of(stack) == warnings_of(stack, quick=True) == [told]
    assert check(folder, nodata=-9999) == []
    pw.apply(stack, "ols", out / "map.tif")
    assert told in caplog.messages
    assert pw.open_map(out / "map.tif").provenance["warnings"] == [told]
    for command in (["plan", folder], ["apply", "ols", folder, "-o", out / "cli.tif"]):
        result = CliRunner().invoke(main, [str(word) for word in command])
        assert result.exit_code == 0
        assert told in result.output


def test_a_value_is_named_once(make_stack: MakeStack):
    # Also where NDVI of -9999 would be another reason.
    folder = differing(make_stack, DECLARED, {1: -9999, 2: -9999})
    assert [line.rpartition(" ")[2] for line in check(folder, scale=0.01)] == ["--nodata=-9999"]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_header_that_differs_is_named_also_where_nothing_is_found(make_stack: MakeStack, dtype: str):
    folder = renamed(differing(make_stack, DECLARED, {1: -9999}, dtype), "x")
    [warning] = check(folder)
    assert warning == (
        f"{folder / 'x_2003.tif'} declares no nodata, but 4 other files declare -9999, which does not occur in 1600 "
        "values checked there; if it means missing in all files, give --nodata=-9999"
    )


def test_a_few_files_that_declare_nodata_are_the_others(make_stack: MakeStack):
    folder = renamed(differing(make_stack, [None, None, None, -9999], {0: -9999, 2: -9999, 3: -9999}), "x")
    [warning] = check(folder)
    assert warning.startswith(f"{folder / 'x_2001.tif'} and 2 more files declare no nodata, but 1 other file declares")
    assert "-9999, which occurs 60 times among 4800 values" in warning


@pytest.mark.parametrize(("odd", "hidden"), [(0, {}), (-32768, {0: -32768}), (-32768, {2: -9999})])
def test_files_that_declare_different_nodata(make_stack: MakeStack, odd: float, hidden: dict[int, float]):
    folder = renamed(differing(make_stack, [-9999, -9999, odd, -9999], hidden), "x")
    warnings = check(folder)
    assert warnings[-1].startswith(
        f"{folder / 'x_2003.tif'} declares nodata {odd}, but 3 other files declare -9999, which"
    )
    assert all(line.endswith(f"give --nodata=-9999,{odd}") for line in warnings)
    # Of the usual ones only what occurs in them is told.
    assert len(warnings) == (2 if 0 in hidden else 1)
    assert check(folder, nodata=(-9999, odd)) == []


@pytest.mark.parametrize(
    ("declared", "dtype"),
    [
        ([-9999] * 4, "int16"),
        ([None] * 4, "int16"),
        ([np.nan, None, np.nan, np.nan], "float32"),
        ([np.nan, np.nan], "float32"),
    ],
)
def test_files_that_agree_about_nodata(make_stack: MakeStack, declared: list[float | None], dtype: str):
    assert check(renamed(differing(make_stack, declared, {}, dtype), "x")) == []


def test_nodata_that_another_type_cannot_hold_is_no_matter(make_stack: MakeStack):
    differing(make_stack, [-9999, -9999], {})
    folder = make_stack(np.full((1, 40, 40), 80, "uint8") + clean((1, 40, 40)).astype("uint8"), [2009])
    assert check(renamed(folder, "x")) == []


def test_a_file_with_a_mask_declares_what_is_missing(make_stack: MakeStack):
    differing(make_stack, [-9999, -9999], {})
    values = np.random.default_rng(5).normal(80, 3, (1, 40, 40)).round().astype("int16")
    folder = make_stack(values, [2009], mask=np.full((40, 40), 255, "uint8"))
    assert check(renamed(folder, "x")) == []


# ------------------------------------------------------------------------------------------- scaled already


@pytest.mark.parametrize(
    ("scale", "offset", "dtype"), [(0.0001, 0, "float32"), (0.01, 0, "float64"), (2.75e-5, -0.2, "float32")]
)
def test_values_that_are_scaled_already(make_stack: MakeStack, scale: float, offset: float, dtype: str, out: Any):
    folder = make_stack(clean().astype(dtype), scales=[scale], offsets=[offset])
    remedy = "--scale 1 --offset 0" if offset else "--scale 1"
    [warning] = check(folder)
    assert warning.startswith(
        f"{folder / 'ndvi_2000.tif'} and 3 more files: {dtype} numbers up to 0.886 are multiplied by {scale:g}, "
    )
    assert warning.endswith(f": if they are scaled already, give {remedy}")
    assert pw.apply(pw.open_stack(folder), "ols", out / "map.tif").provenance["warnings"] == [warning]
    assert check(folder, scale=1, offset=0) == []


def test_packed_numbers_are_scaled_once(make_stack: MakeStack):
    packed = (clean() * 10000).round()
    assert check(make_stack(packed.astype("int16"), scales=[0.0001], folder="whole")) == []
    assert check(make_stack(packed, scales=[0.0001], folder="float")) == []
    # As resampling leaves them: fractions, but of thousands.
    assert check(make_stack(packed + np.float32(0.25), scales=[0.0001], folder="resampled")) == []
    assert check(make_stack(clean(), folder="plain")) == []


def test_no_pixel_is_counted_twice_and_a_job_sees_what_plan_sees(make_stack: MakeStack):
    """Windows of a small image overlap."""
    values = np.random.default_rng(3).integers(100, 9000, (6, 150, 150)).astype("int16")
    values[:, ::7, ::7] = -28672
    folder = make_stack(values)
    [planned] = [text for text in warnings_of(pw.open_stack(folder)) if "28672 occurs" in text]
    found = re.search(r"the value -28672 occurs (\d+) times among (\d+) sampled values", planned)
    assert found is not None
    assert int(found[1]) <= np.count_nonzero(values == -28672)
    assert int(found[2]) <= values.size
    assert planned in pw.apply(pw.open_stack(folder), "ols").provenance["warnings"]


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
    assert warnings == ["scale 1.5 is above 1; most products divide (0.0001): is it intended? (--scale overrides)"]
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
    assert "differs by more than a factor of 10 from that of the stack, 0.0" in warning
    assert warning.endswith("is its scale different?")
    values[2] /= 10
    assert check(make_stack(values, folder="similar")) == []


def test_many_layers_of_another_level_are_counted(make_stack: MakeStack):
    values = clean((20, 10, 10))
    values[:8] /= 1000
    warnings = check(make_stack(values))
    assert len([line for line in warnings if "its typical value" in line]) == 5
    assert warnings[-1] == "... and 3 more layers with a different level"


def test_an_empty_layer_has_no_level(make_stack: MakeStack):
    values = clean()
    values[1] = np.nan
    assert check(make_stack(values)) == []


# ----------------------------------------------------------------------------------------------------- NDVI


@pytest.mark.parametrize(("factor", "scale"), [(10000, "0.0001"), (1000, "0.001"), (100, "0.01")])
def test_ndvi_beyond_one(make_stack: MakeStack, factor: float, scale: str):
    folder = make_stack(clean() * factor)
    [warning] = check(folder)
    assert warning.startswith("the names say NDVI, but sampled values reach 8")
    assert warning.endswith(f": try --scale {scale}")
    assert check(folder, scale=float(scale)) == []


def test_ndvi_with_a_filler(make_stack: MakeStack):
    folder = make_stack(filled(clean(), 2.5, 0.001))
    assert check(folder) == [
        (
            "the names say NDVI, but sampled values reach 2.5: is it a sum, scaled, or a fill value? "
            "(--scale, --nodata, --valid-range)"
        )
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


def test_a_sample_at_sea_is_taken_again_elsewhere(make_stack: MakeStack):
    """Otherwise `plan` said that there is no valid pixel, and that 0 makes up 99 %."""
    values = clean((2, 512, 512))
    land = np.zeros((512, 512), dtype=bool)
    land[:, :160] = True  # the first three windows are elsewhere
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    stack = pw.open_stack(make_stack(np.where(land, values, -9999), nodata=-9999, folder="masked", **tiles))
    assert np.isfinite(read_sample(stack)).any()
    assert warnings_of(stack) == []
    stack = pw.open_stack(make_stack(np.where(land, values, 0), folder="zero", **tiles))
    [share] = {float(one) for one in re.findall(r"value 0 occurs .* \(([\d.]+) %\)", "\n".join(warnings_of(stack)))}
    assert 50 < share < 90  # 69 in truth


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
