"""Products: which file is which band of which image, and what its numbers mean."""

import csv
import pickle
from importlib import resources
from pathlib import PurePosixPath

import pytest

from pixelwise.errors import InputError, ParameterError
from pixelwise.opening.products import load_product, products

LANDSAT, S2, HLS, MOD13 = (load_product(name) for name in ("landsat-c2-l2", "s2-l2a", "hls", "mod13"))

SAFE = "S2A_MSIL2A_20220809T102041_N0400_R065_T32TML_20220809T180703"
GRANULE = "GRANULE/L2A_T32TML_A037242_20220809T102107/IMG_DATA"


@pytest.mark.parametrize(
    ("product", "path", "moment", "sensor", "tile", "band", "resolution", "baseline", "scene"),
    [
        # Delivered by USGS: the date of acquisition, not that of processing.
        (LANDSAT, "a/LC08_L2SP_044034_20200105_20201016_02_T1_SR_B4.TIF", "2020-01-05", "LC08", "044034", "SR_B4", None,
         None, "LC08_L2SP_044034_20200105_20201016_02_T1"),
        (LANDSAT, "LT05_L2SP_200040_20100123_20200825_02_T1_QA_RADSAT.TIF", "2010-01-23", "LT05", "200040", "QA_RADSAT",
         None, None, "LT05_L2SP_200040_20100123_20200825_02_T1"),
        (LANDSAT, "clip_LE07_L2SR_225078_20110306_02_T2_ST_B6.tif", "2011-03-06", "LE07", "225078", "ST_B6", None, None,
         "LE07_L2SR_225078_20110306_02_T2"),
        # Exported from Earth Engine: many bands, one band, and in pieces.
        (LANDSAT, "x/LC08_044034_20200105.tif", "2020-01-05", "LC08", "044034", None, None, None,
         "LC08_044034_20200105"),
        (LANDSAT, "1_2_LC09_044034_20220105.SR_B5.tif", "2022-01-05", "LC09", "044034", "SR_B5", None, None,
         "LC09_044034_20220105"),
        (LANDSAT, "LC08_044034_20200105-0000000000-0000023296.tif", "2020-01-05", "LC08", "044034", None, None, None,
         "LC08_044034_20200105"),
        # Sentinel-2 in its folders, which tell the baseline, and moved out of them.
        (S2, f"in/{SAFE}.SAFE/{GRANULE}/R10m/T32TML_20220809T102041_B04_10m.jp2", "2022-08-09T10:20:41", "S2A", "32TML",
         "B04", 10, "0400", SAFE),
        (S2, f"{SAFE}/{GRANULE}/R20m/T32TML_20220809T102041_SCL_20m.jp2", "2022-08-09T10:20:41", "S2A", "32TML", "SCL",
         20, "0400", SAFE),
        (S2, f"{SAFE.replace('N0400', 'N9999')}.SAFE/T32TML_20220809T102041_B8A_20m.tif", "2022-08-09T10:20:41", "S2A",
         "32TML", "B8A", 20, None, SAFE.replace("N0400", "N9999")),
        (S2, "S2A_MSIL2A_20250918T200851_R128_T09UVA_20250919T000714/T09UVA_20250918T200851_B11_20m.tif",
         "2025-09-18T20:08:51", "S2A", "09UVA", "B11", 20, None,
         "S2A_MSIL2A_20250918T200851_R128_T09UVA_20250919T000714"),
        (S2, "b/T32TML_20220809T102041_B04_10m.jp2", "2022-08-09T10:20:41", "S2", "32TML", "B04", 10, None,
         "T32TML_20220809T102041"),
        (S2, "L2A_T32TML_20170809T102041_B04_10m.jp2", "2017-08-09T10:20:41", "S2", "32TML", "B04", 10, None,
         "T32TML_20170809T102041"),
        (S2, "S2B_MSIL2A_20200104T152639_N0500_R025_T18PXS.tif", "2020-01-04T15:26:39", "S2B", "18PXS", None, None,
         "0500", "S2B_MSIL2A_20200104T152639_N0500_R025_T18PXS"),
        (HLS, "HLS.S30.T13TEF.2020033T173658.v2.0/HLS.S30.T13TEF.2020033T173658.v2.0.Fmask.tif", "2020-02-02T17:36:58",
         "S30", "13TEF", "Fmask", None, None, "HLS.S30.T13TEF.2020033T173658.v2.0"),
        (HLS, "HLS.L30.T13TEF.2020033T173658.v2.0.tif", "2020-02-02T17:36:58", "L30", "13TEF", None, None, None,
         "HLS.L30.T13TEF.2020033T173658.v2.0"),
        # MODIS by AppEEARS, made of the HDF, and by MODIStsp; a name of the band with "16_days" in it.
        (MOD13, "MOD13Q1.061__250m_16_days_NDVI_doy2020001000000_aid0001.tif", "2020-01-01", "MOD", "aid0001", "NDVI",
         None, None, "MOD13Q1.061__250m_16_days__doy2020001000000_aid0001"),
        (MOD13, "MYD13A3.061__1_km_monthly_pixel_reliability_doy2020032_aid0002.tif", "2020-02-01", "MYD", "aid0002",
         "pixel_reliability", None, None, "MYD13A3.061__1_km_monthly__doy2020032_aid0002"),
        (MOD13, "MOD13Q1.A2018113.h14v10.006.2018130000342.250m_16_days_red_reflectance.tif", "2018-04-23", "MOD",
         "h14v10", "red_reflectance", None, None, "MOD13Q1.A2018113.h14v10.006.2018130000342.250m_16_days"),
        (MOD13, "MOD13Q1.A2009017.h18v04.005.2009036150230.hdf", "2009-01-17", "MOD", "h18v04", None, None, None,
         "MOD13Q1.A2009017.h18v04.005.2009036150230"),
        (MOD13, "Rely/MOD13Q1_Rely_2000_049.tif", "2000-02-18", "MOD", "", "Rely", None, None, "MOD13Q1__2000_049"),
    ],
)  # fmt: skip
def test_paths(product, path, moment, sensor, tile, band, resolution, baseline, scene):
    file = product.match(PurePosixPath(path))
    found = (str(file.moment), file.sensor, file.tile, file.band, file.resolution, file.baseline, file.scene)
    assert found == (moment, sensor, tile, band, resolution, baseline, scene)
    assert product.match(path) == file
    assert file.moment.precision == ("second" if "T" in moment else "day")


@pytest.mark.parametrize(
    ("product", "path"),
    [
        (LANDSAT, "LC08_L1TP_013032_20180131_20180207_02_T1_B4.TIF"),  # Level 1
        (LANDSAT, "LC08_L2SP_013032_20180131_20180207_01_T1_SR_B4.TIF"),  # Collection 1
        (LANDSAT, "LC08_L2SP_013032_20180231_20180207_02_T1_SR_B4.TIF"),  # 31 February
        (LANDSAT, "LC07_L2SP_013032_20180131_20180207_02_T1_SR_B4.TIF"),  # no such satellite
        (LANDSAT, "LC08_L2SP_013032_20180131_20180207_02_T1_SR_stac.json"),
        (LANDSAT, "LC08_044034_20200105_ndvi.tif"),  # made of it
        (S2, "T32TML_20220809T102041_B04.jp2"),  # Level-1C
        (S2, f"{SAFE}.SAFE/GRANULE/L2A_T32TML_A037242_20220809T102107/QI_DATA/MSK_CLDPRB_20m.jp2"),
        (HLS, "HLS.L30.T13TEF.2020366T173658.v1.4.hdf"),
        (MOD13, "MOD09Q1.A2018113.h14v10.006.2018130000342.sur_refl_b01.tif"),
        (MOD13, "ndvi_2001.tif"),
    ],
)
def test_other_files(product, path):
    assert product.match(path) is None


@pytest.mark.parametrize(
    ("product", "start"),
    [(LANDSAT, ("LE07_L2", "LC09_L2")), (S2, ("S2",)), (HLS, ("HLS",)), (MOD13, ("MOD13Q1",))],
    ids=lambda value: getattr(value, "name", ""),
)
def test_real_names(shared, product, start):
    with (shared("filename_conventions") / "filenames.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["filename"].startswith(start)]
    known = {
        row["filename"]: str(match.moment)[:10] for row in rows if (match := product.match(row["filename"])) is not None
    }
    assert known == {
        row["filename"]: row["start_date"] for row in rows if not row["filename"].endswith((".json", ".jpeg"))
    }
    assert known


def test_bands_of_sensors():
    def tokens(product, sensor, *names):
        return [product.band(sensor, name).tokens[0] for name in names]

    names = ("blue", "green", "red", "nir", "swir1", "swir2", "thermal")
    for sensor in ("LT04", "LT05", "LE07"):
        assert tokens(LANDSAT, sensor, *names) == ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7", "ST_B6"]
    for sensor in ("LC08", "LC09"):
        assert tokens(LANDSAT, sensor, *names) == ["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7", "ST_B10"]
    assert tokens(S2, "S2", *names[:-1]) == ["B02", "B03", "B04", "B08", "B11", "B12"]
    assert tokens(HLS, "L30", *names) == ["B02", "B03", "B04", "B05", "B06", "B07", "B10"]
    assert tokens(HLS, "S30", *names[:-1], "nir_broad") == ["B02", "B03", "B04", "B8A", "B11", "B12", "B08"]
    assert tokens(MOD13, "MYD", "ndvi", "red") == ["NDVI", "red_reflectance"]
    assert LANDSAT.names("LT05") == names
    assert LANDSAT.sensors == ("LT04", "LT05", "LE07", "LC08", "LC09")


def test_numbers_of_bands():
    red = LANDSAT.band("LT05", "red")
    assert (red.scale, red.offset, red.nodata, red.valid) == (0.0000275, -0.2, (0,), (7273, 43636))
    assert [round(edge * red.scale + red.offset, 4) for edge in red.valid] == [0, 1]
    thermal = LANDSAT.band("LC09", "thermal")
    assert (thermal.scale, thermal.offset, thermal.nodata, thermal.valid) == (0.00341802, 149, (0,), (293, 65535))
    ndvi, nir = MOD13.band("MOD", "ndvi"), MOD13.band("MOD", "nir")
    assert (ndvi.scale, ndvi.offset, ndvi.nodata, ndvi.valid) == (0.0001, 0, (-3000,), (-2000, 10000))
    assert (nir.nodata, nir.valid) == ((-1000,), (0, 10000))
    assert [nir.has(token) for token in ("B2_nir", "sur_refl_b02", "NIR")] == [True, True, False]
    assert (HLS.band("L30", "red").scale, HLS.band("L30", "thermal").scale) == (0.0001, 0.01)
    assert HLS.band("S30", "red").nodata == (-9999,)
    assert S2.band("S2B", "red").nodata == (0, 65535)


def test_offsets_follow_the_baseline():
    red = S2.band("S2A", "red")
    offsets = [red.offset_of(baseline) for baseline in ("0211", "0301", "0400", "0510", None)]
    assert offsets == [0, 0, -0.1, -0.1, None]
    for product, sensor in ((LANDSAT, "LC08"), (HLS, "S30")):
        rule = product.band(sensor, "red")
        assert rule.offset_of(None) == rule.offset_of("0400") == rule.offset


def test_quality_bands():
    assert [(q.tokens, q.preset, q.required) for q in LANDSAT.quality] == [
        (("QA_PIXEL",), "landsat-c2", True),
        (("QA_RADSAT",), "landsat-c2-radsat", False),
    ]
    assert [q.preset for product in (S2, HLS, MOD13) for q in product.quality] == ["s2-scl", "hls-fmask", "mod13"]


def test_unknown_names():
    with pytest.raises(
        ParameterError, match=r"band of LT05 in landsat-c2-l2: 'rad'; did you mean 'red'\? \(known: blue"
    ):
        LANDSAT.band("LT05", "rad")
    with pytest.raises(ParameterError, match=r"band of LT05 in landsat-c2-l2: 'coastal'"):
        LANDSAT.band("LT05", "coastal")
    with pytest.raises(ParameterError, match="sensor of hls: 'S31'; did you mean 'S30'"):
        HLS.names("S31")
    with pytest.raises(
        ParameterError, match=r"product 's2-l2b'; did you mean 's2-l2a'\? .*hls, landsat-c2-l2, mod13, s2"
    ):
        load_product("s2-l2b")
    assert products() == ("hls", "landsat-c2-l2", "mod13", "s2-l2a")


def test_products_are_values():
    assert pickle.loads(pickle.dumps(S2)) == S2 == load_product("s2-l2a")
    for product in (LANDSAT, S2, HLS, MOD13):
        assert product.version == 1
        assert product.title
        assert product.source


OWN = r"""
name = "own"
title = "Own flights"
version = 3
source = "me"
sensor = "cam"
patterns = ['flight_<Y><M><D>_(?P<band>\w+?)_v(?P<baseline>\d+)']
scale = 0.5
offset = 1
nodata = [0, 255]
baseline = { from = 2, offset = 3 }

[[sensors]]
codes = "CAM"
[sensors.bands]
red = "r"
nir = { token = ["n", "ir"], offset = 7, nodata = [], valid = [1, 254] }
"""


@pytest.fixture
def own(tmp_path):
    def write(old="", new=""):
        assert old in OWN
        (tmp_path / "own.toml").write_text(OWN.replace(old, new, 1) if old else OWN + new)
        return tmp_path / "own.toml"

    return write


def test_a_product_of_ones_own(own):
    product = load_product(own())
    file = product.match("2020/flight_20200105_n_v2.tif")
    assert (file.scene, file.sensor, file.band, file.baseline) == ("flight_20200105__v2", "CAM", "n", "2")
    red, nir = product.band("CAM", "red"), product.band("CAM", "nir")
    assert (red.scale, red.nodata, red.valid, red.offset_of("1"), red.offset_of("2")) == (0.5, (0, 255), None, 1, 3)
    assert (nir.scale, nir.nodata, nir.valid, nir.offset_of("2"), nir.tokens) == (0.5, (), (1, 254), 7, ("n", "ir"))
    assert product.quality == ()
    assert load_product(str(own())) == product


def test_a_copy_of_ours_can_be_changed(tmp_path):
    text = resources.files("pixelwise.opening").joinpath("product_data/landsat-c2-l2.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("valid = [7273, 43636]", "valid = [1, 65455]"))
    changed = load_product(tmp_path / "mine.toml")
    assert changed.band("LC08", "red").valid == (1, 65455)
    assert changed.band("LC08", "thermal") == LANDSAT.band("LC08", "thermal")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Own flights"', "", r"title is missing; expected the full name of the product"),
        ("version = 3", "version = '3'", r"version '3' is wrong; expected a whole number"),
        ("version = 3", "version = true", r"version True is wrong"),
        ('name = "own"', 'name = ""', r"name '' is wrong; expected a short name"),
        ("scale = 0.5", "scale = 0", r"scale 0\.0 is wrong; expected a number other than 0"),
        ("scale = 0.5", "scale = nan", r"scale nan is wrong; expected a finite number"),
        ("scale = 0.5", "scale = '1'", r"scale '1' is wrong; expected a number"),
        ("scale = 0.5", "scael = 0.5", r"unknown field 'scael'; did you mean 'scale'\?"),
        ("nodata = [0, 255]", "nodata = 0", r"nodata 0 is wrong; expected numbers in brackets"),
        ("nodata = [0, 255]", "nodata = ['x']", r"nodata \['x'\] is wrong; expected numbers in brackets"),
        (
            "[1, 254]",
            "[254, 1]",
            r"sensors 1: bands\.nir: valid \[254\.0, 1\.0\] is wrong; expected the lowest and the highest",
        ),
        ("[1, 254]", "[1]", r"bands\.nir: valid \[1\.0\] is wrong"),
        ("valid = [1", "vallid = [1", r"sensors 1: bands\.nir: unknown field 'vallid'; did you mean 'valid'"),
        ('red = "r"', "red = 4", r"sensors 1: bands\.red: token 4 is wrong; expected a string"),
        ('red = "r"', 'red = ["r", 4]', r"bands\.red: token \['r', 4\] is wrong"),
        ('red = "r"', '"2red" = "r"', r"bands '2red' is wrong; expected letters, digits and _"),
        ('["n", "ir"]', "[]", r"bands\.nir: token \[\] is wrong"),
        (
            'codes = "CAM"',
            'codes = ["CAM", "cam"]',
            r"sensors 1: codes \['CAM', 'cam'\] is wrong; .* each of them once",
        ),
        ('codes = "CAM"', 'codes = "TOM"', r"sensor 'CAM' is wrong; expected one of TOM"),
        ('sensor = "cam"', "", r"patterns .* is wrong; expected a group \(\?P<sensor>\.\.\.\)"),
        ("<Y><M><D>", "<Y><D>", r"patterns .* expected a date in it, such as <Y><M><D>"),
        ("<Y><M><D>", "<Y><M><D>(", r"patterns .* expected a regular expression \(.*unterminated"),
        ("<Y><M><D>", "<Y><M><D><D>", r"patterns .* expected a regular expression \(redefinition"),
        ("(?P<band>", "(?P<bnad>", r"patterns .* unknown group 'bnad'; did you mean 'band'"),
        ("patterns = [", "patterns = [3, ", r"patterns \[3, .* is wrong; expected regular expressions"),
        ("from = 2", "from = '2'", r"baseline: from '2' is wrong"),
        ("from = 2, offset = 3", "from = 2", r"baseline: offset is missing"),
        ("from = 2", "form = 1, from = 2", r"baseline: unknown field 'form'"),
        ("[[sensors]]", "[sensors]", r"sensors \{.* is wrong; expected tables \[\[sensors\]\]"),
        ("", "[[quality]]\ntoken = 'q'\npreset = 's2'\nrequired = true", r"quality 1: preset: unknown mask 's2'"),
        (
            "",
            "[[quality]]\ntoken = 'q'\npreset = 's2-scl'\nrequired = 1",
            r"quality 1: required 1 is wrong; expected true or",
        ),
        ("", "[[quality]]\ntoken = 'q'\npreset = 's2-scl'", r"quality 1: required is missing"),
        ("", "[extra]", r"unknown field 'extra'"),
        ("", "= 3", r"not a TOML file"),
    ],
)
def test_wrong_fields(own, old, new, message):
    path = own(old, new)
    with pytest.raises(InputError, match=message) as caught:
        load_product(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path, own):
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        load_product(tmp_path / "none.toml")
    path = own()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"own\.toml: not a text file in UTF-8"):
        load_product(path)
    path.write_text(OWN[: OWN.index("[[sensors]]")])
    with pytest.raises(InputError, match=r"own\.toml: sensors is missing; expected tables \[\[sensors\]\]"):
        load_product(path)
