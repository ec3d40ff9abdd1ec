"""Masks: which pixels are rejected by values, bits and fields, and by the rules that are known by name."""

import pickle

import numpy as np
import pytest

from pixelwise.errors import ParameterError
from pixelwise.stacks.masks import MaskRule, grow, load_preset, parse_field, presets

RULES = [
    MaskRule(keep=(4, 5)),
    MaskRule(drop=(3, 120)),
    MaskRule(bits=(1, 3)),
    MaskRule(fields=((6, 7, (2, 3)),)),
    MaskRule(drop=(100,), bits=(0,), fields=((2, 4, (5,)), (7, 7, (1,)))),
]


def rejects(rule, value, width):
    """Say it again, slowly, for one whole number of so many bits."""
    if rule.keep is not None:
        return value not in rule.keep
    unsigned = value % 2**width
    return (
        value in (rule.drop or ())
        or any(unsigned >> bit & 1 for bit in rule.bits)
        or any((unsigned >> first) % 2 ** (last - first + 1) in values for first, last, values in rule.fields)
    )


@pytest.mark.parametrize("rule", RULES, ids=MaskRule.describe)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", ">i2", "int32", "int64", "uint64"])
def test_every_integer(rule, dtype):
    kind = np.dtype(dtype)
    info = np.iinfo(kind)
    low, high = (info.min, info.max) if kind.itemsize < 2 else (max(info.min, -600), 600)
    numbers = [*range(low, high + 1), info.min, info.max]
    stored = np.array(numbers, dtype=kind)
    stored.flags.writeable = False
    expected = [rejects(rule, value, 8 * kind.itemsize) for value in numbers]
    assert rule.rejected(stored).tolist() == expected
    assert rule.rejected(stored[::-3]).tolist() == expected[::-3]


@pytest.mark.parametrize("rule", RULES, ids=MaskRule.describe)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_numbers_in_floats(rule, dtype):
    numbers = range(-300, 600)
    stored = np.array([*numbers, np.nan], dtype=dtype).reshape(17, 53)
    expected = [*(rejects(rule, value, 64) for value in numbers), True]
    assert rule.rejected(stored).ravel().tolist() == expected


def test_fractions_and_infinities_in_floats():
    stored = np.array([0.5, 4.5, np.inf, -np.inf, 1e30, 4.0])
    assert MaskRule(bits=(0,)).rejected(stored).tolist() == [True, True, True, True, True, False]
    assert MaskRule(drop=(4.5,)).rejected(stored).tolist() == [False, True, False, False, False, False]
    assert MaskRule(keep=(0.5,)).rejected(stored).tolist() == [False, True, True, True, True, True]
    assert MaskRule(keep=(0.1,)).rejected(np.array([0.1], dtype="float32")).tolist() == [False]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"the meaning of the mask's values is not given: .*--mask-keep.*--mask-drop, --mask-bits or --mask-field"),
        ({"keep": [1], "drop": [2]}, "--mask-keep rejects all other values"),
        ({"keep": [1], "bits": [2]}, "--mask-keep rejects all other values"),
        ({"keep": [1], "fields": [(1, 2, [1])]}, "--mask-keep rejects all other values"),
        ({"keep": []}, "--mask-keep has no values"),
        ({"drop": []}, "--mask-drop has no values"),
        ({"drop": [np.nan]}, "NaN is always rejected"),
        ({"keep": ["4"]}, "--mask-keep '4' is not a finite number"),
        ({"keep": [True]}, "--mask-keep True is not a finite number"),
        ({"bits": [-1]}, "bit -1 of a mask is out of range"),
        ({"bits": [64]}, "bit 64 of a mask is out of range: bits are numbered 0 to 63"),
        ({"bits": [1.5]}, r"bit 1\.5 of a mask is out of range"),
        ({"fields": [(9, 8, [1])]}, "run backwards; write 8-9"),
        ({"fields": [(8, 9, [4])]}, "4 cannot be in bits 8-9"),
        ({"fields": [(8, 8, [-1])]}, "-1 cannot be in bit 8"),
        ({"fields": [(8, 9, [])]}, "no values are given for bits 8-9"),
    ],
)
def test_impossible_rules(given, message):
    with pytest.raises(ParameterError, match=message):
        MaskRule(**given)


@pytest.mark.parametrize(
    ("rule", "dtype", "message"),
    [
        (MaskRule(bits=(12,)), "uint8", r"bit 12 does not exist in a mask of uint8 \(0 to 7 do\)"),
        (MaskRule(bits=(8,)), "int8", "bit 8 does not exist in a mask of int8"),
        (MaskRule(fields=((7, 8, (1,)),)), "uint8", "bit 8 does not exist in a mask of uint8"),
        (MaskRule(bits=(24,)), "float32", r"bit 24 does not exist in a mask of float32 \(0 to 23 do\)"),
        (MaskRule(bits=(53,)), "float64", "bit 53 does not exist in a mask of float64"),
        (MaskRule(keep=(256,)), "uint8", "--mask-keep 256 cannot be in a mask of uint8"),
        (MaskRule(drop=(-1,)), "uint16", "--mask-drop -1 cannot be in a mask of uint16"),
        (MaskRule(drop=(0.5,)), "int16", r"--mask-drop 0\.5 cannot be in a mask of int16"),
        (MaskRule(drop=(1e39,)), "float32", r"--mask-drop 1e\+39 cannot be in a mask of float32"),
        (MaskRule(drop=(1,)), "complex64", "a mask of complex64 cannot be used"),
    ],
)
def test_rules_that_do_not_fit_the_dtype(rule, dtype, message):
    with pytest.raises(ParameterError, match=message):
        rule.check(dtype)
    with pytest.raises(ParameterError, match=message):
        rule.rejected(np.zeros(3, dtype=dtype))


def test_the_last_bit_of_a_dtype_exists():
    for dtype, bit in (("uint8", 7), ("int16", 15), ("uint32", 31), ("int64", 63), ("float32", 23), ("float64", 52)):
        MaskRule(bits=(bit,)).check(dtype)
        assert MaskRule(bits=(bit,)).rejected(np.array([0, 1], dtype=dtype)).tolist() == [False, False]


@pytest.mark.parametrize(
    ("text", "field"),
    [("8-9=2,3", (8, 9, (2, 3))), ("5=1", (5, 5, (1,))), (" 6 - 7 = 0 , 3 ", (6, 7, (0, 3))), ("8-8=0", (8, 8, (0,)))],
)
def test_fields_as_they_are_written(text, field):
    assert parse_field(text) == field


@pytest.mark.parametrize(
    "text", ["", "8", "8-9", "8=", "=1", "8:9=1", "8-9=2;3", "8-9=4", "9-8=1", "-1=1", "80=1", "1=x"]
)
def test_bad_fields(text):
    with pytest.raises(ParameterError):
        parse_field(text)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (MaskRule(keep=[4, 5]), "keeps 4, 5"),
        (MaskRule(drop=[0.5]), "drops 0.5"),
        (MaskRule(bits=[5]), "drops bit 5"),
        (MaskRule(bits=[1, 3, 4], fields=[(8, 9, [2, 3])]), "drops bits 1, 3, 4 and bits 8-9 of 2, 3"),
        (MaskRule(drop=[255], bits=[1], fields=[(5, 5, [1])]), "drops 255, bit 1 and bit 5 of 1"),
    ],
)
def test_words(rule, words):
    assert rule.describe() == words


def test_rules_are_values():
    rule = MaskRule(drop=[255], bits=[1, 2], fields=[(8, 9, [2, 3])])
    assert rule == MaskRule(drop=(255,), bits=(1, 2), fields=((8, 9, (2, 3)),))
    assert hash(rule) == hash(pickle.loads(pickle.dumps(rule)))


@pytest.mark.parametrize(
    ("name", "dtype", "rejected", "kept"),
    [
        # 21824 and 21952 are clear land and clear water of Landsat 8, 5440 and 5504 of Landsat 5 (USGS).
        ("landsat-c2", "uint16", [1, 22280, 23888, 54596, 30048, 55052, 2, 4, 32], [21824, 21952, 5440, 5504]),
        ("landsat-c2-radsat", "uint16", [1, 2, 4, 8, 16, 32, 64, 127, 512], [0, 128, 256, 2048]),
        ("hls-fmask", "uint8", [255, 2, 4, 8, 16, 194], [0, 1, 32, 64, 128, 192, 224]),
        ("s2-scl", "uint8", [0, 1, 2, 3, 6, 7, 8, 9, 10, 11], [4, 5]),
        ("mod13", "int8", [-1, 2, 3, 4], [0, 1]),
    ],
)
def test_presets(name, dtype, rejected, kept):
    preset = load_preset(name)
    assert preset.rule.rejected(np.array(rejected, dtype=dtype)).all()
    assert not preset.rule.rejected(np.array(kept, dtype=dtype)).any()
    assert (preset.name, preset.version) == (name, 1)
    assert preset.source
    assert preset.title


def test_unknown_presets_are_listed():
    assert presets() == ("landsat-c2", "landsat-c2-radsat", "hls-fmask", "s2-scl", "mod13")
    with pytest.raises(ParameterError, match=r"mask_preset='s2scl' is not one of landsat-c2,.*; did you mean 's2-scl'"):
        load_preset("s2scl")


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (23, 31), (2, 9, 12)])
@pytest.mark.parametrize("pixels", [0, 1, 2, 3, 5, 8, 40])
def test_growing(shape, pixels):
    rejected = np.random.default_rng(7).random(shape) < 0.02
    rejected[..., -1, 0] = True
    expected = np.zeros_like(rejected)
    for *before, y, x in np.argwhere(rejected):
        expected[(*before, slice(max(y - pixels, 0), y + pixels + 1), slice(max(x - pixels, 0), x + pixels + 1))] = True
    given = rejected.copy()
    grown = grow(rejected, pixels)
    np.testing.assert_array_equal(grown, expected)
    np.testing.assert_array_equal(rejected, given)
    assert not np.may_share_memory(grown, rejected)


def test_growing_backwards():
    with pytest.raises(ParameterError, match="-1 pixels; expected 0 or more"):
        grow(np.zeros((2, 2), dtype=bool), -1)
