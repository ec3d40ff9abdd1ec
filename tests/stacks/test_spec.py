"""Input options: the flat `InputSpec` and its parts are the same options, converted and checked once."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.stacks import parts

#: Properties of `InputSpec`, and what they give.
PARTS = {
    "values": parts.ValueOptions,
    "rectification": parts.GainOptions,
    "arrays": parts.ArrayOptions,
    "masks": parts.MaskOptions,
    "dates": parts.DateOptions,
    "place": parts.PlaceOptions,
    "area": parts.AreaOptions,
    "servers": parts.ServerOptions,
    "composites": parts.CompositeOptions,
}


def test_each_option_is_in_one_part() -> None:
    names = [field.name for part in PARTS.values() for field in fields(part)]
    assert len(names) == len(set(names))
    whole = [field.name for field in fields(pw.InputSpec)]
    assert sorted([*names, "product", "on_read_error"]) == sorted(whole)


@pytest.mark.parametrize("part", PARTS.values())
def test_parts_have_the_defaults_and_types_of_the_whole(part: type) -> None:
    usual = {field.name: field.default for field in fields(pw.InputSpec)}
    hints, whole = get_type_hints(part), get_type_hints(pw.InputSpec)
    for field in fields(part):
        assert field.default == usual[field.name], field.name
        assert hints[field.name] == whole[field.name], field.name


def test_parts_give_what_the_whole_has() -> None:
    given: dict[str, Any] = {
        "nodata": -9999, "months": np.array([6, 7]), "times": Path("dates.csv"), "start": 1990, "extent": "0,0,1,1",
        "mask_field": "8-9=2,3", "mask": Path("m"), "grow": np.int16(2), "where": Path("a.tif=1"), "composite": "max",
        "every": "month", "align": Path("b.tif"), "resampling": "average", "valid_range": [0, 1], "mask_drop": 3,
    }  # fmt: skip
    spec = pw.InputSpec(**given)
    for name, kind in PARTS.items():
        part = getattr(spec, name)
        assert isinstance(part, kind)
        for field in fields(kind):
            assert getattr(part, field.name) == getattr(spec, field.name)
            assert type(getattr(part, field.name)) is type(getattr(spec, field.name))
    assert (spec.nodata, spec.months, spec.times, spec.start) == ((-9999,), (6, 7), "dates.csv", "1990")
    assert (spec.extent, spec.mask_field, spec.grow, spec.mask_drop) == ((0, 0, 1, 1), ("8-9=2,3",), 2, (3,))
    assert spec.replace(months=[1]).dates.months == (1,)


def test_parts_are_frozen_and_leave_the_whole_as_it_was() -> None:
    spec = pw.InputSpec(band=1)
    before = (repr(spec), hash(spec), pickle.dumps(spec), spec.as_dict())
    for name in PARTS:
        with pytest.raises(FrozenInstanceError):
            setattr(getattr(spec, name), fields(PARTS[name])[0].name, None)
    assert (repr(spec), hash(spec), pickle.dumps(spec), spec.as_dict()) == before
    assert copy.copy(spec) == spec == pickle.loads(before[2])


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("values", {"band": 1, "value": "ndvi"}),
        ("values", {"scale": 0}),
        ("values", {"valid_range": (1, 0)}),
        ("masks", {"mask": "a", "mask_band": 1}),
        ("masks", {"mask_band": 1}),
        ("masks", {"grow": -1}),
        ("masks", {"grow": None}),
        ("masks", {"mask": "none", "grow": 1}),
        ("dates", {"months": (13,)}),
        ("dates", {"period": "centre"}),
        ("dates", {"same_date": "both"}),
        ("place", {"resampling": "cubic"}),
        ("place", {"bounds": (1, 2, 3)}),
        ("place", {"extent": (0, 0, float("inf"), 1)}),
        ("area", {"region": (0, 0, 1, 1e300)}),
        ("composites", {"every": "month"}),
        ("composites", {"composite": "max", "every": "decade"}),
        ("composites", {"season": "May"}),
    ],
)
def test_a_part_checks_itself_as_the_whole_does(part: str, options: dict[str, Any]) -> None:
    with pytest.raises(pw.ParameterError) as alone:
        PARTS[part](**options)
    with pytest.raises(pw.ParameterError) as whole:
        pw.InputSpec(**options)
    assert str(alone.value) == str(whole.value)


@pytest.mark.parametrize("name", ["period", "same_date", "resampling", "every", "on_read_error"])
def test_an_error_names_the_option_that_was_given(name: str) -> None:
    with pytest.raises(pw.ParameterError, match=rf"^{name}='yearly' is not one of "):
        pw.InputSpec(**{name: "yearly", "composite": "max"})
    with pytest.raises(pw.ParameterError, match=rf"^{name}=\[3\] is not one of [a-z_, ]+$"):
        pw.InputSpec(**{name: [3], "composite": "max"})
