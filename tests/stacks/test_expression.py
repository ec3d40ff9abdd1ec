"""Band maths: what is computed, what is missing, and what is refused."""

import pickle

import numpy as np
import pytest

from pixelwise.errors import ParameterError
from pixelwise.stacks.formula import INDICES, Expression, expression_of

NAN = np.nan


def band(*values):
    return np.array(values, dtype=np.float64)


BANDS = {
    "blue": band(0.05, 0.1, 0.02),
    "green": band(0.1, 0.2, 0.04),
    "red": band(0.2, 0.3, 0.03),
    "nir": band(0.4, 0.5, 0.6),
    "swir2": band(0.3, 0.1, 0.2),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndvi", [0.2 / 0.6, 0.2 / 0.8, 0.57 / 0.63]),
        ("evi", [0.5 / 2.225, 0.5 / 2.55, 1.425 / 1.63]),
        ("savi", [0.3 / 1.1, 0.3 / 1.3, 0.855 / 1.13]),
        ("ndwi", [-0.3 / 0.5, -0.3 / 0.7, -0.56 / 0.64]),
        ("nbr", [0.1 / 0.7, 0.4 / 0.6, 0.4 / 0.8]),
    ],
)
def test_indices(name, expected):
    assert set(INDICES) == {"ndvi", "evi", "savi", "ndwi", "nbr"}
    np.testing.assert_allclose(expression_of(name.upper())(BANDS), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("nir", lambda b: b["nir"]),
        ("+nir - -red", lambda b: b["nir"] + b["red"]),
        ("1 - nir", lambda b: 1 - b["nir"]),
        ("1 - (nir - (red - 2))", lambda b: 1 - (b["nir"] - (b["red"] - 2))),
        ("2 ** nir ** 2 / 3", lambda b: 2 ** (b["nir"] ** 2) / 3),
        ("-nir ** 2", lambda b: -(b["nir"] ** 2)),
        ("nir ** -0.5", lambda b: b["nir"] ** -0.5),
        ("abs(red - nir) + sqrt(nir)", lambda b: abs(b["red"] - b["nir"]) + b["nir"] ** 0.5),
        ("exp(log(nir)) + log10(red)", lambda b: np.exp(np.log(b["nir"])) + np.log10(b["red"])),
        ("minimum(nir, maximum(red, 0.25))", lambda b: np.minimum(b["nir"], np.maximum(b["red"], 0.25))),
        ("1 / 4 + 3 * 0 + red", lambda b: 0.25 + b["red"]),
    ],
)
def test_arithmetic(text, function):
    np.testing.assert_array_equal(Expression(text)(BANDS), function(BANDS))


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("red > 0.2", [0, 1, 0]),
        ("red >= 0.2", [1, 1, 0]),
        ("red < 0.2", [0, 0, 1]),
        ("red <= 0.2", [1, 0, 1]),
        ("red == 0.2", [1, 0, 0]),
        ("red != 0.2", [0, 1, 1]),
        ("0.1 < red < 0.3", [1, 0, 0]),
        ("(red > 0.1) & (nir > 0.4)", [0, 1, 0]),
        ("(red > 0.2) | (nir > 0.5)", [0, 1, 1]),
        ("~(red > 0.2) & ~(nir > 0.5)", [1, 0, 0]),
    ],
)
def test_where(condition, chosen):
    np.testing.assert_array_equal(Expression(f"where({condition}, 1, 0)")(BANDS), chosen)


def test_names_come_in_the_order_of_the_text():
    assert Expression("where(c > a, b / a, d ** e) + a").names == ("c", "a", "b", "d", "e")


@pytest.mark.parametrize(
    "text", ["1 / x", "log(x)", "sqrt(x - 1)", "exp(800 + x)", "x / x", "10 ** (400 + x)", "-1 / x"]
)
def test_what_is_not_finite_is_missing(text):
    assert np.isnan(Expression(text)({"x": band(0.0)})[0])


@pytest.mark.parametrize("missing", [NAN, np.inf, -np.inf])
@pytest.mark.parametrize(
    "text",
    [
        "x + y",
        "x ** 0 + y",
        "1 ** x + y",
        "maximum(y, minimum(x, 1))",
        "1 / x + y",
        "0 * y + exp(-abs(x))",
        "where(x > 0, y, 2 * y)",
        "where(~(x > 0) | (y > 0), y, 2 * y)",
        "where(y > 0, y, x)",
    ],
)
def test_missing_in_any_band_is_missing(text, missing):
    result = Expression(text)({"x": band(1, missing), "y": band(1, 1)})
    assert np.isnan(result).tolist() == [False, True]


def test_a_condition_that_is_unknown_gives_nan_and_a_side_not_chosen_does_no_harm():
    x = band(-1, 0, 4)
    np.testing.assert_array_equal(Expression("where(log(x) > 0, 1, 2)")({"x": x}), [NAN, 2, 1])
    np.testing.assert_array_equal(Expression("where(~(log(x) > 0), 1, 2)")({"x": x}), [NAN, 1, 2])
    np.testing.assert_array_equal(Expression("where((log(x) > 0) | (x < 9), 1, 2)")({"x": x}), [NAN, 1, 1])
    np.testing.assert_array_equal(Expression("where(x > 0, sqrt(x), 0)")({"x": x}), [0, 0, 2])


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int16", "float64"])
def test_float64_whatever_comes_and_nothing_is_changed(dtype):
    x = np.array([[3, 7], [9, 60000 if dtype == "uint16" else 6000]], dtype=dtype)
    x.flags.writeable = False
    result = Expression("(x - 2 * x) / (x + x) + -x + abs(x - 1)")({"x": x, "unused": np.zeros(5)})
    wide = x.astype(np.float64)
    np.testing.assert_array_equal(result, (wide - 2 * wide) / (wide + wide) + -wide + abs(wide - 1))
    assert (result.dtype, result.shape) == (np.float64, (2, 2))
    alone = Expression("x")({"x": x})
    assert not np.may_share_memory(alone, x)


def test_it_is_its_text():
    expression = Expression("  (nir\n - red) ")
    assert expression == Expression("(nir - red)")
    assert hash(expression) == hash(Expression("(nir - red)"))
    assert expression != Expression("nir - red")
    again = pickle.loads(pickle.dumps(expression))
    assert again == expression
    np.testing.assert_array_equal(again(BANDS), BANDS["nir"] - BANDS["red"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nir + red.__class__", r"column 7: an attribute"),
        ("nir[0]", r"column 1: an index"),
        ("nir + 'red'", r"column 7: a string"),
        ("nir + f'{red}'", r"column 7: a string"),
        ("lambda: nir", r"a lambda"),
        ("[nir for nir in red]", r"a comprehension"),
        ("abs(n := nir)", r"column 5: an assignment"),
        ("nir if red else blue", r"if \.\.\. else"),
        ("nir and red", r"write & and \|"),
        ("where(not nir > 1, 1, 2)", r"write ~"),
        ("nir // 2", r"//"),
        ("nir ^ 2", r"a power is \*\*"),
        ("nir, red", r"a tuple"),
        ("True * nir", r"True"),
        ("2j * nir", r"2j"),
        ("__import__('os')", r"unknown function '__import__' \(known: abs"),
        ("squrt(nir)", r"unknown function 'squrt'; did you mean 'sqrt'\?"),
        ("nir.mean()", r"this call"),
        ("abs(nir)(red)", r"this call"),
        ("abs(nir, out=red)", r"a keyword argument"),
        ("abs(*nir)", r"unpacking"),
        ("abs(nir, red)", r"abs has 2 arguments; expected 1"),
        ("where(nir > 1, 2)", r"where has 2 arguments; expected 3"),
        ("abs + nir", r"abs is a function; write abs\(\.\.\.\)"),
        ("nir > 1", r"condition of where"),
        ("nir & red", r"condition of where"),
        ("where(nir > 1 & red > 1, 1, 2)", r"each comparison in its own parentheses"),
        ("where(nir, 1, 2)", r"column 7: expected a comparison"),
        ("where(nir in red, 1, 2)", r"in, is and not"),
        ("nir ** 101", r"column 8: the power 101 is too high; expected at most 100"),
        ("nir ** -1000", r"the power -1000 is too high"),
        ("nir * 1e999", r"column 7: the number is too large"),
        ("nir * 1" + 400 * "0", r"the number is too large"),
        ("é.x", r"column 1: an attribute"),
        ("é + é.x", r"column 5: an attribute"),
        ("nir +", r"column \d+: invalid syntax"),
        ("(nir", r"never closed"),
        ("nir = red", r"column \d+: invalid syntax"),
        ("nir; red", r"column 4: invalid syntax"),
        ("nir\0", r"cannot|null"),
        ("1 + 1", r"names no band"),
        ("  ", r"is empty"),
        ("(" * 300 + "nir" + ")" * 300, r"nested"),
        ("-" * 900 + "nir", r"more than 100 nested operations"),
        ("nir" + "+nir" * 200, r"more than 100 nested operations"),
        ("a" * 1001, r"1001 characters; at most 1000"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ParameterError, match=message) as caught:
        Expression(text)
    assert "\n" not in str(caught.value)


def test_not_a_text():
    with pytest.raises(ParameterError, match="3 is not a string"):
        Expression(3)


def test_unknown_bands():
    expression = Expression("nirr + red")
    expression.check(["red", "nirr", "blue"])
    with pytest.raises(
        ParameterError, match=r"value 'nirr \+ red': unknown band 'nirr'; did you mean 'nir'\? \(known: nir, red\)"
    ):
        expression.check(["nir", "red"])
    with pytest.raises(ParameterError, match=r"unknown band or index 'ndwi2'; did you mean 'ndwi'\?"):
        expression_of("ndwi2").check(["nir", "red"])
    with pytest.raises(ParameterError, match="did you mean 'nir'"):
        expression(BANDS)


def test_bands_of_different_shapes():
    with pytest.raises(ParameterError, match=r"differ in shape: a \(1,\), b \(2,\)"):
        Expression("a + b")({"a": np.ones(1), "b": np.ones(2)})


def test_a_band_called_as_an_index_is_the_band():
    assert expression_of("ndvi", ["ndvi", "evi"]).names == ("ndvi",)
    assert expression_of("NDVI ", ["nir"]).names == ("nir", "red")
    assert expression_of("nir - red").text == "nir - red"
