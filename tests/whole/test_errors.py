"""Problems: collected line by line, so that one run shows all of them."""

from __future__ import annotations

import doctest

import pytest

from pixelwise import errors
from pixelwise.errors import InputError, OutputError, ParameterError, Problems


def test_the_example_of_the_docstring_runs() -> None:
    assert doctest.testmod(errors).attempted
    assert not doctest.testmod(errors).failed


def test_nothing_is_raised_without_problems() -> None:
    problems = Problems()
    with problems.caught() as failure:
        pass
    problems.raise_if_any()
    assert not problems
    assert not failure
    assert problems.lines == ()


def test_errors_become_lines_and_the_rest_goes_on() -> None:
    problems = Problems()
    problems.add("one", "two")
    for number in range(2):
        with problems.caught("align: ") as failure:
            raise InputError("a", f"{number}")
        assert failure
    with problems.caught(parameters=True) as failure:
        raise ParameterError("b")
    assert failure
    problems.add("one")
    assert problems.lines == ("one", "two", "align: a", "align: 0", "align: a", "align: 1", "b", "one")
    assert problems.distinct == ("one", "two", "align: a", "align: 0", "align: 1", "b")
    with pytest.raises(InputError) as raised:
        problems.raise_if_any()
    assert raised.value.problems == problems.lines


@pytest.mark.parametrize("error", [ParameterError("a"), OutputError("b"), ValueError("c"), KeyboardInterrupt()])
def test_other_errors_are_raised(error: BaseException) -> None:
    problems = Problems()
    caught = problems.caught()
    with pytest.raises(type(error)), caught:
        raise error
    assert not caught
    assert not problems
