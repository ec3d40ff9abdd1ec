"""Multiple regression: certified values, an oracle in 50 digits, covariates as words and tables, statuses."""

from __future__ import annotations

import math
import pickle
import re

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import pixelwise as pw
from pixelwise import InputError, ParameterError, Status, TimeAxis, methods
from pixelwise.methods import covariates as covariates_
from pixelwise.methods.covariates import parse_covariates
from support.compiled import compiled_only
from support.oracles import regression
from support.places import SHARED

NIST = SHARED / "nist_strd" / "dat"
YEARS = np.arange(1998, 2010)
MONTHS = np.arange("2001-01", "2003-01", dtype="datetime64[M]").astype("datetime64[s]")


def everything(method, axis, values, **further):
    """Return every band, the optional ones too, of one pixel."""
    bound = method.bind(axis, [band.name for band in method.bands], dict.fromkeys(further, axis))
    arrays_ = (np.asarray(array, dtype=np.float64)[:, None] for array in (values, *further.values()))
    table, status = bound(tuple(np.ascontiguousarray(array) for array in arrays_))
    return {**{band.name: row[0] for band, row in zip(bound.bands, table, strict=True)}, "status": status[0]}


# ------------------------------------------------------------------------------------------ certified values


def nist(name, rows):
    """Return the numbers of some lines (from 1) of a file of NIST's Statistical Reference Datasets."""
    if not NIST.exists():
        pytest.skip(f"{NIST} is not there")
    lines = (NIST / name).read_text().splitlines()[rows[0] - 1 : rows[1]]
    return np.array([[float(word) for word in line.split()] for line in lines])


def digits(found, certified):
    """Return the log relative error: how many digits are right."""
    return 16.0 if found == certified else -math.log10(abs(found - certified) / abs(certified))


def test_nist_longley():
    """15 digits are certified; 13.8 to 16 are reached."""
    y, *x = nist("Longley.dat", (61, 76)).T
    names = [f"x{k}" for k in range(1, 7)]
    axis = TimeAxis.from_times(x[5])
    assert (x[5] == axis.years).all()
    found = everything(methods.regress(covariates=names), axis, y, **dict(zip(names, x, strict=True)))
    by_time = everything(
        methods.regress(covariates=[*names[:5], "time"]), axis, y, **dict(zip(names[:5], x, strict=False))
    )
    certified = {
        "intercept": (-3482258.63459582, 890420.383607373),
        "x1": (15.0618722713733, 84.9149257747669),
        "x2": (-0.358191792925910e-01, 0.334910077722432e-01),
        "x3": (-2.02022980381683, 0.488399681651699),
        "x4": (-1.03322686717359, 0.214274163161675),
        "x5": (-0.511041056535807e-01, 0.226073200069370),
        "x6": (1829.15146461355, 455.478499142212),
    }
    for name, (estimate, stderr) in certified.items():
        assert digits(found[name], estimate) > 13, name
        assert digits(found[f"{name}_stderr"], stderr) > 13, name
    assert digits(found["rmse"], 304.854073561965) > 13
    assert digits(found["r2"], 0.995479004577296) > 14
    assert found["pvalue"] == pytest.approx(scipy.stats.f.sf(330.285339234588, 6, 9), rel=1e-10)
    assert by_time["time"] == found["x6"]
    assert found["n"] == 16


def test_nist_without_an_intercept():
    """15 digits are certified; 14.7 to 16 are reached."""
    y, x = nist("NoInt1.dat", (61, 71)).T
    axis = TimeAxis.from_times(np.arange(2000, 2011))
    found = everything(methods.regress(covariates="x", intercept=False), axis, y, x=x)
    assert "intercept" not in found
    assert digits(found["x"], 2.07438016528926) > 14
    assert digits(found["x_stderr"], 0.165289256198347e-01) > 14
    assert digits(found["rmse"], 3.56753034006338) > 14
    assert digits(found["r2"], 0.999365492298663) > 14
    assert found["pvalue"] == pytest.approx(scipy.stats.f.sf(15750.25, 1, 10), rel=1e-10)


def test_nist_wampler():
    """Powers up to the fifth are nearly collinear; in the second, noise is 1e7 times the signal.

    10.5 to 14 digits of the coefficients are reached, with noise 6.9 to 11, as many less as it is larger.
    """
    axis = TimeAxis.from_times(np.arange(2000, 2021))
    for name, certain in (("Wampler1.dat", 9), ("Wampler5.dat", 5)):
        y, x = nist(name, (61, 81)).T
        found = everything(methods.regress(covariates={f"x{k}": (x**k).tolist() for k in range(1, 6)}), axis, y)
        assert min(digits(found[f"x{k}"], 1.0) for k in range(1, 6)) > certain, name
    assert digits(found["x1_stderr"], 23635517.3469681) > 9
    assert digits(found["x5_stderr"], 1123.24854679312) > 9
    assert digits(found["rmse"], 23601450.2379268) > 13
    assert digits(found["r2"], 0.224668921574940e-02) > 11


# -------------------------------------------------------------------------------------------------- an oracle

elements = st.one_of(st.just(math.nan), st.integers(-5, 5).map(float), st.floats(-100, 100).map(lambda x: round(x, 2)))
series = arrays(np.float64, (len(YEARS),), elements=elements)


def exact(values, columns):
    """Return coefficients, standard errors and R squared by normal equations in 50 digits; None where singular."""
    table = np.array([values, *columns])
    y, *x = table[:, ~np.isnan(table).any(axis=0)]
    with mpmath.workdps(50):
        design = mpmath.matrix([[1, *row] for row in np.transpose(x).tolist()])
        response = mpmath.matrix(y.tolist())
        try:
            inverse = (design.T * design) ** -1
        except ZeroDivisionError:
            return None
        b = inverse * (design.T * response)
        e = response - design * b
        rss = (e.T * e)[0]
        df = len(y) - len(x) - 1
        errors = [mpmath.sqrt(rss / df * inverse[k, k]) for k in range(len(x) + 1)]
        return [float(v) for v in b], [float(v) for v in errors], float(mpmath.sqrt(rss / df))


@compiled_only
@given(series, series, series)
def test_is_what_normal_equations_in_50_digits_say(values, rain, heat):
    axis = TimeAxis.from_times(YEARS)
    found = everything(methods.regress(covariates="rain,heat,time"), axis, values, rain=rain, heat=heat)
    valid = ~np.isnan(values) & ~np.isnan(rain) & ~np.isnan(heat)
    n = np.count_nonzero(valid)
    assert found["n"] == n
    if n < 5:
        assert found["status"] == (Status.TOO_FEW if n else Status.NO_OBSERVATION)
        return
    if np.ptp(values[valid]) == 0:
        assert found["status"] == Status.CONSTANT
        assert (found["rain"], found["intercept"]) == (0, values[valid][0])
        assert math.isnan(found["pvalue"])
        return
    centred = np.array([c[valid] - c[valid].mean() for c in (rain, heat, YEARS)])
    lengths = np.linalg.norm(centred, axis=1)
    smallest = np.linalg.svd(centred / lengths[:, None], compute_uv=False)[-1] if lengths.all() else 0.0
    if smallest < 1e-9:
        assert found["status"] == Status.DEGENERATE
        assert math.isnan(found["rain"])
    elif smallest > 1e-3:
        b, errors, rmse = exact(values, (rain, heat, YEARS))
        assert found["status"] == Status.OK
        spread = np.ptp(values[valid])
        for name, expected, error in zip(("intercept", "rain", "heat", "time"), b, errors, strict=True):
            step = 1.0 if name == "intercept" else np.ptp({"rain": rain, "heat": heat, "time": YEARS}[name][valid])
            slack = 1e-11 * spread * (1e4 if name == "intercept" else 1 / step)
            assert found[name] == pytest.approx(expected, rel=1e-9, abs=slack), name
            if rmse > 1e-6 * spread:
                assert found[f"{name}_stderr"] == pytest.approx(error, rel=1e-9), name


def test_gaps_in_any_covariate_drop_the_date():
    random = np.random.default_rng(3)
    values, rain = random.normal(size=(2, 12))
    gappy = rain.copy()
    gappy[[2, 7]] = np.nan
    axis = TimeAxis.from_times(YEARS)
    found = everything(methods.regress(covariates="rain,time"), axis, values, rain=gappy)
    expected = regression(values, {"rain": gappy, "time": YEARS.astype(float)})
    assert found.pop("status") == Status.OK
    assert found == pytest.approx(expected, rel=1e-11)


def test_a_straight_line_is_ols():
    values = np.random.default_rng(1).normal(size=(12, 50))
    fit, line = methods.regress()(values, YEARS), methods.ols()(values, YEARS)
    np.testing.assert_allclose(fit["time"], line["slope"], rtol=1e-11)
    np.testing.assert_allclose(fit["time_pvalue"], line["pvalue"], rtol=1e-9)
    np.testing.assert_allclose(fit["pvalue"], line["pvalue"], rtol=1e-9)
    np.testing.assert_allclose(fit["r2"], line["rvalue"] ** 2, rtol=1e-10)


def test_offsets_cost_no_digits():
    random = np.random.default_rng(5)
    values, rain = random.integers(-99, 99, size=(2, 12)).astype(float)
    plain = methods.regress(covariates="rain,time")(values, YEARS, rain=rain)
    moved = methods.regress(covariates="rain,time")(values + 2.0**30, YEARS, rain=rain * 1e30 + 2.0**60)
    assert moved["time"][0] == pytest.approx(plain["time"][0], rel=1e-11)
    assert moved["time_pvalue"][0] == pytest.approx(plain["time_pvalue"][0], rel=1e-10)


def test_a_fit_without_residuals():
    rain = np.random.default_rng(2).normal(size=12)
    found = methods.regress(covariates="rain")(3 * rain, YEARS, rain=rain)
    assert found["status"][0] == Status.OK
    assert found["rain"][0] == pytest.approx(3, rel=1e-14)
    assert found["r2"][0] == pytest.approx(1)
    assert found["rain_pvalue"][0] < 1e-100
    assert found["pvalue"][0] < 1e-100


# -------------------------------------------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda y, x: np.put(x, 3, np.inf), Status.TEST_UNDEFINED),
        (lambda y, x: np.put(y, 3, -np.inf), Status.TEST_UNDEFINED),
        (lambda y, x: x.fill(2.5), Status.DEGENERATE),
        (lambda y, x: np.copyto(x, 7 - 2.0 * YEARS), Status.DEGENERATE),
        (lambda y, x: np.copyto(x, YEARS + 1e-9 * x), Status.DEGENERATE),
        (lambda y, x: np.multiply(y, 1e200, out=y), Status.TEST_UNDEFINED),
        (lambda y, x: np.multiply(x, 1e-200, out=x), Status.TEST_UNDEFINED),
        (lambda y, x: y.fill(0.1), Status.CONSTANT),
        (lambda y, x: np.put(x, range(8), np.nan), Status.OK),
        (lambda y, x: np.put(x, range(9), np.nan), Status.TOO_FEW),
        (lambda y, x: x.fill(np.nan), Status.NO_OBSERVATION),
    ],
)
def test_statuses(change, status):
    y, x = np.random.default_rng(0).normal(size=(2, len(YEARS)))
    change(y, x)
    found = methods.regress(covariates="x,time")(y, YEARS, x=x)
    assert found["status"][0] == status
    if status not in (Status.OK, Status.CONSTANT):
        assert all(math.isnan(found[name][0]) for name in found.keys() - {"n", "status"})


def test_without_an_intercept_a_constant_is_a_covariate_and_a_response():
    method = methods.regress(covariates="one", intercept=False)
    found = method(np.full(12, 3.0), YEARS, one=np.ones(12))
    assert (found["status"][0], found["one"][0]) == (Status.OK, pytest.approx(3))
    assert method(np.zeros(12), YEARS, one=np.ones(12))["status"][0] == Status.CONSTANT
    assert method(np.ones(12), YEARS, one=np.zeros(12))["status"][0] == Status.DEGENERATE


# -------------------------------------------------------------------------------------- covariates as words


def table(path, text):
    path.write_text(text)
    return path


def column(text, times):
    (covariate,) = parse_covariates([str(text)])
    axis = times if isinstance(times, TimeAxis) else TimeAxis.from_times(times)
    return covariate.column(axis)


def test_names_and_kinds():
    found = parse_covariates("time, rain ,a/nino.csv:NINO3.4,soi.CSV,step(2003-06-01)")
    assert [c.name for c in found] == ["time", "rain", "NINO3.4", "soi", "step_2003-06-01"]
    assert [type(c) for c in found] == [
        covariates_.Time, covariates_.FurtherStack, covariates_.Table, covariates_.Table, covariates_.Step
    ]  # fmt: skip
    assert parse_covariates({"trend": "time", "index": [1, 2, 3]})[1].values == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("", "covariate '' is unknown; expected time, step"),
        ("step(soon)", "soon"),
        ("nino.txt", "covariate 'nino.txt' is unknown"),
        ("time,time", "two covariates are called 'time'"),
        ([], "no covariate is named"),
        ({"a b": "time"}, "'a b' cannot be the name of a band"),
        ({"a": ["x"]}, "'a' is not a sequence of numbers"),
        ("rain,rain_stderr", "two bands of regress would be called 'rain_stderr'"),
        ("n,time", "two bands of regress would be called 'n'"),
    ],
)
def test_impossible_words(given_, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        methods.regress(covariates=given_)


def test_min_obs():
    with pytest.raises(ParameterError, match="min_obs=3: regress needs a whole number, at least 4, as there are 3"):
        methods.regress(covariates="rain,time", min_obs=3)
    values = np.random.default_rng(0).normal(size=12)
    values[7:] = np.nan
    assert methods.regress(min_obs=8)(values, YEARS)["status"][0] == Status.TOO_FEW


def test_steps():
    assert column("step(2001-03)", MONTHS).sum() == 22
    assert column("step(2001)", [2000, 2001, 2002]).tolist() == [0, 1, 1]
    with pytest.raises(ParameterError, match=r"lies within a year.*expected step\(2001\) or step\(2002\)"):
        column("step(2001-06-01)", [2000, 2001, 2002])


def test_tables_are_matched_by_the_longer_period(tmp_path):
    monthly = table(
        tmp_path / "nino.csv",
        "# Nino 3.4\ndate,nino34,soi\n"
        + "".join(f"{month},{k},{-k}\n" for k, month in enumerate(MONTHS.astype("datetime64[M]"))),
    )
    assert column(f"{monthly}:nino34", MONTHS).tolist() == list(range(24))
    assert column(f"{monthly}:soi", MONTHS + np.timedelta64(14, "D")).tolist() == [-k for k in range(24)]
    scenes = np.array(["2001-02-03", "2001-02-19", "2001-09-30", "2002-12-31"], dtype="datetime64[s]")
    assert column(f"{monthly}:nino34", scenes).tolist() == [1, 1, 8, 23]
    yearly = table(tmp_path / "year.csv", "date;value\n2002;2\n2001;1\n")
    assert column(yearly, MONTHS).tolist() == [1] * 12 + [2] * 12
    daily = table(tmp_path / "day.csv", "date\tvalue\n2001-02-03\t5\n2001-02-19\t6\n2001-09-30\t\n2002-12-31\t8\n")
    with pytest.raises(ParameterError, match=r"day.csv has no number for 1 of 4 layers: 2001-09-30; it covers 2001-02"):
        column(daily, scenes)
    with pytest.raises(ParameterError, match=r"nino34 has 12 rows for one year \(2001-01, .*come by the year"):
        column(f"{monthly}:nino34", [2001, 2002])
    with pytest.raises(ParameterError, match=r"no number for 2 of 4 layers: 2000, 2003; it covers 2001..2002"):
        column(yearly, [2000, 2001, 2002, 2003])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,value\n2001,1\n", r"first line \(time, value\) has no column called date"),
        ("date,a,b\n2001,1,2\n", "has 2 columns beside date; name one"),
        ("date,a\n", "has no rows"),
        ("date,a\n2001,1\nsoon,2\n", "row 3: .*soon"),
        ("date,a\n2001,x\n", "row 2: .*x"),
        ("date,a\n2001,inf\n", "row 2: inf is not finite"),
        ("date,a\n2001\n", "row 2"),
    ],
)
def test_damaged_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        column(table(tmp_path / "t.csv", text), [2001, 2002])


def test_tables_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: No such file"):
        column(tmp_path / "none.csv", [2001, 2002])
    with pytest.raises(ParameterError, match=r"unknown column of .*'valeu'; did you mean 'value'"):
        column(f"{table(tmp_path / 't.csv', 'date,value')}:valeu", [2001, 2002])


def bind(given_, times, *further):
    axis = TimeAxis.from_times(times)
    return methods.regress(covariates=given_).bind(axis, None, dict.fromkeys(further, axis))


@pytest.mark.parametrize(
    ("given_", "further", "message"),
    [
        ("rian,time", ["rain"], "unknown covariate of regress 'rian'; did you mean 'rain'"),
        ("time", ["rain"], "no covariate of regress names the stack 'rain': covariates=time,rain"),
        ("time", ["time"], "a covariate stack of regress cannot be called 'time'"),
        ("step(1990),time", [], "covariate 'step_1990' is 1 on all 12 dates: leave it out"),
        (
            {"a": "time", "b": (3 - YEARS / 7).tolist()},
            [],
            r"'b' is a linear combination of others on all 12 dates (a)",
        ),
        ({"a": [1, 2]}, [], "covariate 'a' has 2 numbers for 12 layers"),
        ({"a": [math.nan] + [1.0] * 10 + [2.0]}, [], "'a' has no finite number for 1 of 12 layers: 1998"),
    ],
)
def test_what_binding_refuses(given_, further, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        bind(given_, YEARS, *further)


def test_parameters_make_the_same_method_again():
    for given_ in ("rain,a.csv:x,step(2001-02)", {"t": "time", "i": [1.0, 2.0]}, {"i": "a.csv:x"}):
        method = methods.regress(covariates=given_)
        assert methods.regress(**method.parameters) == method
        assert pickle.loads(pickle.dumps(method)) == method


def test_identity_is_what_tables_hold(tmp_path):
    path = table(tmp_path / "a.csv", "date,x\n2001,1\n")
    method = methods.regress(covariates=f"{path}:x")
    before = method.identity
    table(path, "date,x\n2001,2\n")
    assert method.files == (path,)
    assert method.identity != before


def test_several_types_of_arrays():
    random = np.random.default_rng(0)
    y, rain, heat = random.normal(size=(3, 12, 70)).astype(np.float32)
    method = methods.regress(covariates="rain,heat")
    narrow = method(y, YEARS, rain=rain, heat=heat)
    for types in ((np.float64, np.float32), (np.float32, np.float64), (np.float64, np.float64)):
        wide = method(y, YEARS, rain=rain.astype(types[0]), heat=heat.astype(types[1]))
        for name, row in narrow.items():
            np.testing.assert_array_equal(wide[name], row)


def test_public():
    assert pw.methods.get("regress") is methods.regress
