"""Band maths: formulas of band names, checked when they are parsed and evaluated without ever running as code."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ParameterError
from pixelwise.words import unknown

__all__ = ["INDICES", "Expression", "expression_of"]

LONGEST: Final = 1000  # characters
DEEPEST: Final = 100  # nested operations: a sum of a hundred bands
HIGHEST: Final = 100.0  # power

#: They expect reflectances from 0 to 1.
INDICES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Rouse et al. 1974, Monitoring vegetation systems in the Great Plains with ERTS, NASA SP-351, 309-317.
        "ndvi": "(nir - red) / (nir + red)",
        # Huete et al. 2002, doi:10.1016/S0034-4257(02)00096-2, with the coefficients of MODIS.
        "evi": "2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)",
        # Huete 1988, doi:10.1016/0034-4257(88)90106-X, with L = 0.5.
        "savi": "1.5 * (nir - red) / (nir + red + 0.5)",
        # McFeeters 1996, doi:10.1080/01431169608948714: open water. Gao's NDWI of the same year is another index.
        "ndwi": "(green - nir) / (green + nir)",
        # Lopez Garcia and Caselles 1991, doi:10.1080/10106049109354290.
        "nbr": "(nir - swir2) / (nir + swir2)",
    }
)

# The truth of a condition, and where it is undecided because a side of a comparison is NaN.
Answer = tuple[Any, Any]

ARITHMETIC: Final[dict[type[ast.operator], np.ufunc]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
LOGIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_}
FUNCTIONS: Final[dict[str, np.ufunc]] = {
    "abs": np.absolute,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "minimum": np.minimum,
    "maximum": np.maximum,
}
ARGUMENTS: Final = {**{name: function.nin for name, function in FUNCTIONS.items()}, "where": 3}
ALLOWED: Final = f"allowed are numbers, band names, + - * / **, parentheses and {', '.join(ARGUMENTS)}"

# What people try first, in their own words.
FORBIDDEN: Final[dict[type[ast.AST], str]] = {
    ast.Attribute: "an attribute (a dot after a name)",
    ast.Subscript: "an index in brackets",
    ast.Lambda: "a lambda",
    ast.IfExp: "if ... else (write where(condition, a, b))",
    ast.BoolOp: "and, or (write & and | between comparisons in parentheses)",
    ast.NamedExpr: "an assignment",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "a string",
    ast.List: "a list",
    ast.Tuple: "a tuple",
    ast.Set: "a set",
    ast.Dict: "a dictionary",
    ast.Starred: "unpacking (*)",
    ast.Not: "not (write ~)",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.MatMult: "@",
    ast.BitXor: "^ (a power is **)",
    ast.LShift: "<<",
    ast.RShift: ">>",
}


@dataclass(frozen=True)
class Expression:
    """A formula of bands, such as ``(nir - red) / (nir + red)``.

    Attributes
    ----------
    text
        Numbers, band names, ``+ - * / **``, parentheses, ``abs sqrt exp log log10`` of one value, ``minimum maximum``
        of two, and ``where(condition, a, b)``, whose condition is made of comparisons joined by ``& | ~``.

    Raises
    ------
    ParameterError
        For anything else, naming it and its column; no part of the text is ever run as code.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ParameterError(f"value {self.text!r} is not a string")
        object.__setattr__(self, "text", " ".join(self.text.split()))
        if not self.text:
            raise ParameterError("value is empty; expected a formula such as (nir - red) / (nir + red)")
        if not self.names:
            raise ParameterError(f"value {self._shown} names no band")

    def __reduce__(self) -> tuple[type[Expression], tuple[str]]:
        return (type(self), (self.text,))

    @property
    def names(self) -> tuple[str, ...]:
        """The bands that it needs, in order of first appearance."""
        return self._parsed[1]

    def check(self, known: Collection[str]) -> None:
        """Raise a `ParameterError` for the first band that is not among `known`."""
        for name in self.names:
            if name in known:
                continue
            if name == self.text:  # a single word may be meant as an index
                others = (index for index in INDICES if index not in known)
                raise ParameterError(f"value: {unknown('band or index', name, [*known, *others])}")
            raise ParameterError(f"value {self._shown}: {unknown('band', name, known)}")

    def __call__(self, bands: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Evaluate it, in float64.

        Parameters
        ----------
        bands
            Arrays of one shape by band name, NaN where missing; they are not modified.

        Returns
        -------
        ndarray
            A new float64 array of that shape: NaN where any of `names` is missing or infinite, whatever the formula
            evaluates to there; where a side of a comparison is NaN; and where the result is not finite.

        Raises
        ------
        ParameterError
            When a band is missing, or the shapes differ.
        """
        self.check(bands)
        values = {name: np.asarray(bands[name], dtype=np.float64) for name in self.names}
        shapes = {name: array.shape for name, array in values.items()}
        if len(set(shapes.values())) > 1:
            text = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ParameterError(f"the bands of value {self._shown} differ in shape: {text}")
        with np.errstate(all="ignore"):
            value, ours = _value(self._parsed[0], values)
            result: NDArray[np.float64] = value if ours else np.array(value)
            # Not only what propagates: NaN ** 0 is 1, and `where` may choose the side without the NaN.
            for array in (*values.values(), result):
                finite = np.isfinite(array)
                if not finite.all():
                    np.copyto(result, np.nan, where=~finite)
        return result

    @property
    def _shown(self) -> str:
        text = self.text if len(self.text) <= 60 else f"{self.text[:57]}..."
        return repr(text)

    def _error(self, what: str, node: ast.AST) -> ParameterError:
        # ast counts bytes, people count characters.
        column = len(self.text.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore")) + 1
        return ParameterError(f"value {self._shown}: column {column}: {what}")

    @cached_property
    def _parsed(self) -> tuple[ast.expr, tuple[str, ...]]:
        """The checked tree, and the names in it."""
        if len(self.text) > LONGEST:
            raise ParameterError(f"value {self._shown} has {len(self.text)} characters; at most {LONGEST} are accepted")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about odd-looking Python code, which this is not
                tree = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise ParameterError(f"value {self._shown}: column {error.offset or 1}: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError):
            raise ParameterError(f"value {self._shown} cannot be read as a formula") from None
        names: dict[str, None] = {}
        self._check_number(tree, names, 1)
        return tree, tuple(names)

    def _check_number(self, node: ast.expr, names: dict[str, None], depth: int) -> None:
        if depth > DEEPEST:
            raise self._error(f"more than {DEEPEST} nested operations", node)
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                try:
                    finite = math.isfinite(float(value))
                except OverflowError:
                    finite = False
                if not finite:
                    raise self._error("the number is too large", node)
            case ast.Name(id=name):
                if name in ARGUMENTS:
                    raise self._error(f"{name} is a function; write {name}(...)", node)
                names[name] = None
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._check_number(operand, names, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                self._check_number(left, names, depth + 1)
                self._check_number(right, names, depth + 1)
                power = _constant(right)
                if isinstance(op, ast.Pow) and power is not None and abs(power) > HIGHEST:
                    raise self._error(f"the power {power:g} is too high; expected at most {HIGHEST:g}", right)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in ARGUMENTS:
                if len(args) != ARGUMENTS[name]:
                    raise self._error(f"{name} has {len(args)} arguments; expected {ARGUMENTS[name]}", node)
                if name == "where":
                    self._check_condition(args[0], names, depth + 1)
                for argument in args[1:] if name == "where" else args:
                    self._check_number(argument, names, depth + 1)
            case ast.Compare() | ast.BinOp(op=ast.BitAnd() | ast.BitOr()) | ast.UnaryOp(op=ast.Invert()):
                raise self._error(
                    "comparisons and & | ~ belong in the condition of where(condition, a, b), "
                    "each comparison in its own parentheses",
                    node,
                )
            case _:
                raise self._forbidden(node)

    def _check_condition(self, node: ast.expr, names: dict[str, None], depth: int) -> None:
        if depth > DEEPEST:
            raise self._error(f"more than {DEEPEST} nested operations", node)
        match node:
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                if any(type(op) not in COMPARISONS for op in ops):
                    raise self._error("in, is and not are not allowed; < <= > >= == != are", node)
                for side in (left, *comparators):
                    self._check_number(side, names, depth + 1)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr(), right=right):
                self._check_condition(left, names, depth + 1)
                self._check_condition(right, names, depth + 1)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                self._check_condition(operand, names, depth + 1)
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self._forbidden(node)
            case _:
                raise self._error(
                    "expected a comparison as the condition of where, such as (red > 0.1) & (nir < 0.5)", node
                )

    def _forbidden(self, node: ast.expr) -> ParameterError:
        match node:
            case ast.Constant(value=value):
                what = "a string" if isinstance(value, str | bytes) else f"{value!r}"
            case ast.Call(func=ast.Name(id=name)) if name in ARGUMENTS:
                what = "a keyword argument"
            case ast.Call(func=ast.Name(id=name)):
                return self._error(str(unknown("function", name, ARGUMENTS)), node)
            case ast.Call():
                what = "this call"
            case ast.BinOp(op=op) | ast.UnaryOp(op=op):
                what = FORBIDDEN.get(type(op), type(op).__name__)
            case _:
                what = FORBIDDEN.get(type(node), type(node).__name__)
        return self._error(f"{what} is not allowed; {ALLOWED}", node)


def expression_of(text: str, bands: Collection[str] = ()) -> Expression:
    """Return the formula of the index of this name, or else the text as a formula.

    Parameters
    ----------
    text
        A name of `INDICES`, in lower or upper case, or a formula.
    bands
        The bands present: one with the name of an index is that band, like the NDVI in MODIS products.

    Raises
    ------
    ParameterError
        When the text is not a formula.
    """
    name = text.strip()
    return Expression(text if name in bands else INDICES.get(name.lower(), text))


def _constant(node: ast.expr) -> float | None:
    """Return the number written there, with its sign; None for anything else."""
    match node:
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _constant(operand)
            return -number if number is not None and isinstance(sign, ast.USub) else number
        case ast.Constant(value=int() | float() as value):
            return float(value)
    return None


def _value(node: ast.expr, bands: Mapping[str, NDArray[np.float64]]) -> tuple[Any, bool]:
    """Evaluate a checked tree: the value, and whether it is a temporary array that may be overwritten."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return np.float64(value), False
        case ast.Name(id=name):
            return bands[name], False
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, bands)
        case ast.UnaryOp(operand=operand):
            return _apply(np.negative, [_value(operand, bands)])
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
            return _apply(np.square, [_value(left, bands)])  # np.power takes ten times as long
        case ast.BinOp(left=left, op=op, right=right):
            return _apply(ARITHMETIC[type(op)], [_value(left, bands), _value(right, bands)])
        case ast.Call(func=ast.Name(id="where"), args=[condition, yes, no]):
            answer, undecided = _answer(condition, bands)
            result = np.where(answer, _value(yes, bands)[0], _value(no, bands)[0])
            if np.any(undecided):
                result = np.where(undecided, np.nan, result)
            return result, result.ndim > 0
        case ast.Call(func=ast.Name(id=name), args=args):
            return _apply(FUNCTIONS[name], [_value(argument, bands) for argument in args])
    raise AssertionError(ast.dump(node))  # the tree was checked


def _apply(function: np.ufunc, operands: list[tuple[Any, bool]]) -> tuple[Any, bool]:
    values = [value for value, _ in operands]
    out = next((value for value, ours in operands if ours), None)
    result = function(*values) if out is None else function(*values, out=out)
    return result, np.ndim(result) > 0


def _answer(node: ast.expr, bands: Mapping[str, NDArray[np.float64]]) -> Answer:
    match node:
        case ast.UnaryOp(operand=operand):
            answer, undecided = _answer(operand, bands)
            return np.logical_not(answer), undecided
        case ast.BinOp(left=left, op=op, right=right):
            (first, first_undecided), (second, second_undecided) = _answer(left, bands), _answer(right, bands)
            return LOGIC[type(op)](first, second), first_undecided | second_undecided
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [_value(side, bands)[0] for side in (left, *comparators)]
            answer, undecided = np.True_, np.False_
            for comparison, first, second in zip(ops, sides[:-1], sides[1:], strict=True):
                answer = answer & COMPARISONS[type(comparison)](first, second)
            for side in sides:
                undecided = undecided | np.isnan(side)
            return answer, undecided
    raise AssertionError(ast.dump(node))  # the tree was checked
