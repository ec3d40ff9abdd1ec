"""The identity of a user's function: its code, and everything that it uses and that may change between two runs.

A job is resumed only if both runs agree on this. Three rules:

- Everything that code names is followed to its present value: globals, closures, defaults, attributes of modules and
  functions, classes with their bases and methods, objects as they would be pickled, modules that it imports.
- What belongs to Python or an installed package is identified by its name and the version of that package.
- Code that looks up names at run time (`eval`, `globals`, a computed `getattr`) or reads files or the environment, and
  objects without comparable content raise doubts: the function may differ without anyone noticing.

Pickles are no substitute: cloudpickle's bytes differ from run to run.
"""

from __future__ import annotations

import ast
import copyreg
import functools
import hashlib
import inspect
import re
import sys
import textwrap
import tokenize
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pixelwise.methods.functions.bytecode import closure_of, names_of, used_by
from pixelwise.methods.functions.packages import versions_of, where_installed

__all__ = ["Fingerprint", "fingerprint", "source_text"]

#: Types whose repr is the whole value.
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, slice)
CONTAINERS = (list, tuple, set, frozenset, dict, types.MappingProxyType)
#: Attributes of classes in C: identified by the class and a name.
SLOTS = (
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
#: What Python itself keeps in a class: derived from the rest, or irrelevant to what the class does.
MADE = frozenset(
    [
        "__abstractmethods__",
        "__annotate__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__classdictcell__",  # of a NamedTuple, in Python 3.14
        "__conditional_annotations__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__non_callable_proto_members__",
        "__orig_bases__",
        "__parameters__",
        "__protocol_attrs__",
        "__slotnames__",  # pickling the first instance leaves it
        "__static_attributes__",
        "__type_params__",
        "__weakref__",
        "_abc_impl",
    ]
)
#: Parts of Python and packages that bring in something that no source code shows.
HIDING = re.compile(
    r"builtins\.(eval|exec|getattr|globals|vars|input|__import__)|_?operator\.(attrgetter|methodcaller)"
    r"|(importlib|marshal|pathlib|_?pickle|pkgutil|runpy|shelve|socket|sqlite3|subprocess|urllib)\..+"
    r"|sys\.(modules|_getframe|argv|stdin)|inspect\.(currentframe|stack)|gc\.get_objects|ctypes\.CDLL"
    r"|(os|posix|nt)\.(environb?|getenvb?|popen|system|listdir|scandir|walk)"
    # open, numpy.load, numpy.loadtxt, pandas.read_csv, xarray.open_dataset, scipy.io.loadmat, skimage.io.imread, ...
    r"|.+\.(open|read|load|fetch)(_\w+|txt|mat)?|.+\.(genfromtxt|fromfile|memmap|mmap|imread|safe_load)"
    r"|h5py\..*File|netCDF4\..*Dataset|xarray\.backends\..+"
)
#: Attributes that lead from one object to all others.
DOORS = frozenset(
    ["__builtins__", "__getattribute__", "__globals__", "__subclasses__", "f_back", "f_globals", "f_locals"]
)
#: Number of doubts that are named.
DOUBTS_NAMED = 3


@dataclass(frozen=True)
class Fingerprint:
    """The identity of a function, on which two runs must agree.

    Attributes
    ----------
    digest
        Digest of code and values; the same in every run and process, for one version of Python.
    parts
        Digests of everything with a name, of the whole, and of the parameters that were set, each before what uses it:
        the first one that differs between two runs says what changed.
    packages
        Versions of the packages that it and its modules use, and of their requirements, by name.
    doubts
        What could not be followed, in words: with any doubt, two functions with the same digest may still differ.
    """

    digest: str
    parts: Mapping[str, str]
    packages: Mapping[str, str]
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the doubts in one line."""
        more = len(self.doubts) - DOUBTS_NAMED
        return "; ".join([*self.doubts[:DOUBTS_NAMED], *([f"and {more} more"] if more > 0 else [])])


def source_text(thing: Callable[..., Any] | types.CodeType) -> str | None:
    """Return the source of a function (inside its wrappers), a class or code; None if it is not available."""
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (TypeError, ValueError, OSError, SyntaxError, IndexError, tokenize.TokenError):  # the last in Python 3.12
        return None


def fingerprint(function: Callable[..., Any], given: Mapping[str, Any] = MappingProxyType({})) -> Fingerprint:
    """Return the identity of a function, as far as it can be determined; see the three rules above.

    Modules that its code imports are imported.

    Parameters
    ----------
    function
        The function.
    given
        Parameters that were set, by name: they are followed too, but are not part of the digest.
    """
    core = function
    while isinstance(core, functools.partial):
        core = core.func
    walk = _Walk(_text(core, "__qualname__") or "the function")
    digest = walk.parts["all of it"] = walk.followed(function)
    for name, value in sorted(given.items()):
        walk.parts[f"parameter {name}"] = walk.followed(value)
    return Fingerprint(digest, walk.parts, versions_of(walk.packages), tuple(dict.fromkeys(walk.doubts)))


@dataclass
class _Walk:
    """One walk over everything that a function uses.

    Attributes
    ----------
    where
        The function whose code is being followed.
    met
        Numbered objects met so far, by identity; kept alive, because identities of deleted objects are reused.
    inside
        Identities of the containers that are being followed.
    parts
        As in `Fingerprint`.
    """

    where: str
    packages: set[tuple[str, Path]] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)
    met: dict[int, tuple[int, Any]] = field(default_factory=dict)
    inside: list[int] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)

    def followed(self, thing: Any) -> str:
        """Return the digest of the function itself, or of a parameter."""
        try:
            content = self.content(thing, self.where)
        except Exception as error:  # of any kind: looking at objects may run their code
            content = self.doubt(f"uses something that cannot be followed ({type(error).__name__})")
        return _digest(content)

    def part(self, name: str, content: Any) -> tuple[str, str]:
        """Note the digest of something that has a name, and return the digest in its place."""
        # Two lambdas may have the same name.
        self.parts[name] = _digest((self.parts[name], content) if name in self.parts else content)
        return (name, self.parts[name])

    def doubt(self, words: str) -> tuple[str, str]:
        """Note what cannot be followed in the present function."""
        self.doubts.append(f"{self.where} {words}")
        return ("doubt", words)

    def content(self, thing: Any, name: str) -> Any:
        """Return nested tuples of strings that describe an object."""
        kind = type(thing)
        if kind in PLAIN or isinstance(thing, (np.generic, np.dtype)):
            return (kind.__name__, repr(thing))
        if kind in CONTAINERS:
            return self._container(thing, name)
        if id(thing) in self.met:
            return ("again", self.met[id(thing)][0])
        self.met[id(thing)] = (len(self.met), thing)
        if isinstance(thing, types.ModuleType):
            return ("module", *self._module(thing, name))
        place = _place_of(thing)
        if place is not None and (installed := where_installed(sys.modules[place[0]])) is not None:
            return self._named(installed, *place)
        if isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
            return self._array(thing, name)
        if isinstance(thing, types.FunctionType):
            return self._function(thing)
        if isinstance(thing, types.CodeType):
            return self._code(thing)
        if isinstance(thing, type):
            return self._class(thing)
        parts = _parts(thing)
        if parts is not None:
            return (kind.__name__, *(self.content(part, name) for part in parts))
        return self._instance(thing, name)

    def _container(self, thing: Any, name: str) -> Any:
        if thing is sys.modules:
            return self.doubt("uses sys.modules")
        if id(thing) in self.inside:
            return ("around", len(self.inside) - self.inside.index(id(thing)))
        self.inside.append(id(thing))
        try:
            if isinstance(thing, (set, frozenset)):
                # Their order varies, so each is described on its own.
                items = [_Walk(self.where, self.packages, self.doubts).content(item, name) for item in thing]
                return (type(thing).__name__, *sorted(map(repr, items)))
            if isinstance(thing, (dict, types.MappingProxyType)):
                return ("dict", *(self.content(part, name) for item in thing.items() for part in item))
            return (type(thing).__name__, *(self.content(item, name) for item in thing))
        finally:
            self.inside.pop()

    def _array(self, array: Any, name: str) -> Any:
        flat = np.ascontiguousarray(array).reshape(-1)
        digest = hashlib.sha256(flat.tobytes() if flat.dtype.itemsize == 0 else flat.view(np.uint8).data).hexdigest()
        # The mask of a masked array, and what a subclass adds.
        more = self.content(getattr(array, "__dict__", None), name)
        return ("array", self.content(type(array), name), repr(array.dtype), array.shape, digest, more)

    def _named(self, installed: tuple[str, Path], module: str, name: str) -> Any:
        """Return the name of something that belongs to Python or a package."""
        self.packages.add(installed)
        dotted = f"{module}.{name}"
        if HIDING.fullmatch(dotted):
            self.doubt(f"uses {re.sub('^(builtins[.]|_?io[.](?=open)|_)', '', dotted, count=1)}")
        return ("named", module, name)

    def _module(self, module: types.ModuleType, name: str) -> Any:
        installed = where_installed(module)
        if installed is not None:
            self.packages.add(installed)
            return (module.__name__,)
        file = getattr(module, "__file__", None)
        try:
            return ("file", hashlib.sha256(Path(str(file)).read_bytes()).hexdigest())
        except (OSError, ValueError):
            return self.doubt(f"uses the module {name}, which has no file")

    def _function(self, function: types.FunctionType) -> Any:
        before, self.where = self.where, function.__qualname__
        try:
            bound = (
                self.content(function.__defaults__, "a default"),
                self.content(function.__kwdefaults__, "a default"),
                self.content(vars(function), "an attribute"),
            )
            code, space = function.__code__, function.__globals__
            module = sys.modules.get(space.get("__name__", ""))
            if module is not None and vars(module) is space and (installed := where_installed(module)) is not None:
                # Made by a package: only its closure is followed.
                made = self._named(installed, module.__name__, function.__qualname__)
                return (*made, bound, self.content(closure_of(function), "what it closes over"))
            around = self._around(space)
            names, values = names_of(code), used_by(function)
            # If this is Python's own getattr, the strings that it is called with are examined instead.
            if values.get("getattr") is getattr and "getattr" not in code.co_freevars:
                del values["getattr"]
                if names.computed:
                    self.doubt("uses getattr with a computed name")
            doors = DOORS | ({"__dict__"} if any(map(_is_space, values.values())) else set())
            for door in sorted(doors & names.attributes):
                self.doubt(f"uses {door}")
            made = [self.part(f"code of {self.where}", self._code(code)), self.part(f"defaults of {self.where}", bound)]
            for name, value in sorted(values.items()):
                made.append(self.part(f"{name} of {self.where}", self.content(value, name)))
            for full, content in self._attributes(values, names.attributes):
                made.append(self.part(f"{full} of {self.where}", content))
            return ("function", *around, *made)
        finally:
            self.where = before

    def _around(self, space: Mapping[str, Any]) -> list[Any]:
        """Note the packages that a user's file and its imports use; return what they put into packages.

        Notebooks are skipped: what another cell imports has nothing to do with the function.
        """
        file = space.get("__file__")
        if not isinstance(file, str) or id(space) in self.met:
            return []
        self.met[id(space)] = (len(self.met), space)
        given = [*self._given(space, file)]
        for value in list(space.values()):
            module = value if isinstance(value, types.ModuleType) else sys.modules.get(_text(value, "__module__"))
            installed = None if module is None else where_installed(module)
            if installed is not None:
                self.packages.add(installed)
            elif isinstance(value, types.ModuleType):
                given += self._around(vars(value))
        return given

    def _given(self, space: Mapping[str, Any], file: str) -> Iterator[Any]:
        """Yield the content of what a user's file puts into packages, whose functions may use it."""
        try:
            text = Path(file).read_bytes() if file.endswith(".py") else b""
        except OSError:
            return
        for (root, *rest), attribute in _put(text):
            owner: Any = space.get(root)
            for part in rest:
                owner = getattr(owner, part, None)
            if _is_space(owner) and _home_of(owner) is not None and attribute in vars(owner):
                full = f"{owner.__name__}.{attribute}"
                yield self.part(full, self._attribute(owner, attribute, vars(owner)[attribute], attribute))

    def _attributes(self, values: Mapping[str, Any], names: frozenset[str]) -> Iterator[Any]:
        """Yield the content of what code takes from modules, or what was put into classes of packages."""
        waiting = [(name, value) for name, value in sorted(values.items(), reverse=True) if _is_space(value)]
        seen = {id(value) for _, value in waiting}
        while waiting:
            name, space = waiting.pop()
            for attribute in sorted(names & vars(space).keys()):
                value, full = vars(space)[attribute], f"{name}.{attribute}"
                if _is_space(value) and id(value) not in seen:
                    seen.add(id(value))
                    waiting.append((full, value))
                yield (full, self._attribute(space, attribute, value, full))

    def _attribute(self, space: Any, attribute: str, value: Any, full: str) -> Any:
        installed = _home_of(space)
        if installed is None:
            return self.content(value, full)
        dotted = space.__name__ if isinstance(space, types.ModuleType) else f"{space.__module__}.{space.__qualname__}"
        if HIDING.fullmatch(f"{dotted}.{attribute}"):
            return self._named(installed, dotted, attribute)
        # Objects that a package keeps (NumPy's random state, registries) change all the time.
        by_value = callable(value) or isinstance(value, (*PLAIN, np.ndarray, np.generic))
        kept = not by_value and _home_of(type(value)) == installed
        return self._named(installed, dotted, attribute) if kept else self.content(value, full)

    def _code(self, code: types.CodeType) -> Any:
        """Return what code does, without its line numbers."""
        parts = (
            self._code(part) if isinstance(part, types.CodeType) else self.content(part, "") for part in code.co_consts
        )
        return (
            hashlib.sha256(code.co_code + getattr(code, "co_exceptiontable", b"")).hexdigest(),
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            *parts,
        )

    def _class(self, cls: type) -> Any:
        members = {name: value for name, value in vars(cls).items() if name not in MADE}
        return (
            "class",
            cls.__qualname__,
            self.content(type(cls), cls.__qualname__),
            *(self.content(base, cls.__qualname__) for base in cls.__bases__),
            *(
                self.part(full, self.content(value, full))
                for full, value in sorted((f"{cls.__qualname__}.{name}", value) for name, value in members.items())
            ),
        )

    def _instance(self, thing: Any, name: str) -> Any:
        kind = type(thing)
        if (installed := _home_of(kind)) is not None:
            # Singletons such as scipy.stats.norm: by name, as they may hold a changing state (random numbers).
            for key, value in vars(sys.modules[kind.__module__]).items():
                if value is thing:
                    return self._named(installed, kind.__module__, key)
            if isinstance(thing, np.ufunc):
                return self._ufunc(thing, name)
        try:
            reduce = copyreg.dispatch_table.get(kind)
            reduced = thing.__reduce_ex__(4) if reduce is None else reduce(thing)
        except Exception:  # of any kind: pickling runs methods of the objects
            of = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
            return self.doubt(f"uses {name} ({of}{kind.__qualname__}), whose content cannot be compared")
        made = self.content(kind, name)
        if kind.__name__ == "_CustomPickled":  # numba's: bytes of a pickle, which differ from run to run
            return self.doubt(f"uses {name}, which only numba can inspect")
        if isinstance(reduced, str):
            return ("named", made, reduced)
        call, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        more = (state, None if items is None else list(items), None if pairs is None else list(pairs))
        # Members of enums before Python 3.11.4: the name of the attribute is among the arguments.
        how = "attribute" if call is getattr else self.content(call, name)
        return ("object", made, how, *(self.content(part, name) for part in (arguments, *more)))

    def _ufunc(self, thing: np.ufunc, name: str) -> Any:
        """Return the name of a ufunc; its module has to be searched for, as it does not know it."""
        for module in sorted(sys.modules):
            found = sys.modules[module]
            if getattr(found, "__dict__", {}).get(thing.__name__) is thing:
                installed = where_installed(found)
                if installed is not None:
                    self.packages.add(installed)
                    return ("ufunc", thing.__name__)
        return self.doubt(f"uses {name} (numpy.ufunc), which does not reveal the function it was made from")


def _put(source: bytes) -> Iterator[tuple[list[str], str]]:
    """Yield where a file sets attributes of objects: ``numpy.foo = ...``, ``setattr(numpy, "foo", ...)``.

    Yields the chain of names and the attribute, also for its own objects (``self.foo = ...``).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python gave its warnings when the file was imported
        tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name, ctx=ast.Store()):
                pass
            case ast.Call(func=ast.Name(id="setattr"), args=[owner, ast.Constant(value=str(name)), _]):
                pass
            case _:
                continue
        chain: list[str] = []
        while isinstance(owner, ast.Attribute):
            chain.insert(0, owner.attr)
            owner = owner.value
        if isinstance(owner, ast.Name):
            yield [owner.id, *chain], name


def _digest(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _place_of(thing: Any) -> tuple[str, str] | None:
    """Return the module and name by which an object can be found; None if something else is found there."""
    module, name = _text(thing, "__module__"), _text(thing, "__qualname__") or _text(thing, "__name__")
    found: Any = sys.modules.get(module) if module and name else None
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is thing and thing is not None else None


def _text(thing: Any, attribute: str) -> str:
    """Return an attribute that is a string; "" if there is none."""
    try:
        value = getattr(thing, attribute, "")
    except Exception:  # reading an attribute may run any code
        return ""
    return value if isinstance(value, str) else ""


def _home_of(space: types.ModuleType | type) -> tuple[str, Path] | None:
    """Return the package of a module or a class; None if it is the user's own."""
    module = space if isinstance(space, types.ModuleType) else sys.modules.get(space.__module__)
    return None if module is None else where_installed(module)


def _is_space(value: Any) -> bool:
    """Whether only the names in use are followed: for modules and classes of packages, unlike users' classes."""
    return isinstance(value, types.ModuleType) or (isinstance(value, type) and _home_of(value) is not None)


def _parts(thing: Any) -> tuple[Any, ...] | None:
    """Return the parts of a function wrapper; None for other objects."""
    if isinstance(thing, functools.partial):
        return thing.func, thing.args, thing.keywords, vars(thing)
    if isinstance(thing, types.MethodType):
        return thing.__func__, thing.__self__
    if isinstance(thing, (staticmethod, classmethod)):
        return (thing.__func__,)
    if isinstance(thing, property):
        return thing.fget, thing.fset, thing.fdel
    if isinstance(thing, functools.cached_property):
        return (thing.func,)
    if isinstance(thing, SLOTS):
        return thing.__objclass__, thing.__name__
    if isinstance(thing, (types.BuiltinMethodType, types.MethodWrapperType)):
        return thing.__self__, thing.__name__
    if type(thing).__module__ == "functools" and type(thing).__name__ == "_lru_cache_wrapper":
        return (thing.__wrapped__,)
    if type(thing).__module__.startswith("numba."):  # from njit, vectorize, guvectorize
        made = next((getattr(thing, name) for name in ("_dispatcher", "gufunc_builder") if hasattr(thing, name)), thing)
        if hasattr(made, "py_func"):
            return made.py_func, getattr(made, "targetoptions", None), _text(thing, "signature")
    return None
