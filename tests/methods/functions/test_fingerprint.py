"""What makes a user's function what it is: all that it uses is followed, or is said to be a doubt."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from pixelwise.methods.functions.fingerprint import Fingerprint, fingerprint
from pixelwise.methods.functions.loading import load_function
from pixelwise.methods.functions.packages import versions_of, where_installed

#: What stands in a user's file, and a change of it that the source of `f` does not show: before, and after.
CHANGES = r"""
## method's helper: 'v.max()' -> 'v.min()'
def h(v):
    return v.max()
class M:
    def run(self, v):
        return h(v)
def f(v):
    return M().run(v)
## base class: 'v.max()' -> 'v.min()'
class B:
    def run(self, v):
        return v.max()
class M(B):
    pass
def f(v):
    return M().run(v)
## metaclass: 'K = 2' -> 'K = 3'
class T(type):
    K = 2
class M(metaclass=T):
    pass
def f(v):
    return v.max() * M.K
## function attribute: 'f.k = 3' -> 'f.k = 4'
def f(v):
    return v.max() * f.k
f.k = 3
## attribute of a helper: 'h.k = 3' -> 'h.k = 4'
def h(v):
    return v.max() * h.k
h.k = 3
def f(v):
    return h(v)
## patched library: '= 5' -> '= 6'
import numpy as np
np.foo_of_mine = 5
def f(v):
    return v.max() * np.foo_of_mine
## patched library function: 'v.max()' -> 'v.min()'
import scipy.stats
scipy.stats.foo_of_mine = lambda v: v.max()
def f(v):
    return scipy.stats.foo_of_mine(v)
## patched method: 's.max()' -> 's.min()'
import pandas as pd
pd.Series.foo_of_mine = lambda s: s.max()
def f(v):
    return pd.Series(v).foo_of_mine()
## wraps a library's name: '* 2' -> '* 3'
import functools
import numpy as np
def wrap(g):
    @functools.wraps(g)
    def wrapped(v):
        return g(v) * 2
    return wrapped
mean = wrap(np.mean)
def f(v):
    return mean(v)
## callable with update_wrapper: '* 2' -> '* 3'
import functools
class W:
    def __init__(self, g):
        functools.update_wrapper(self, g)
    def __call__(self, v):
        return self.__wrapped__(v) * 2
@W
def h(v):
    return v.max()
def f(v):
    return h(v)
## callable instance: 'C(2)' -> 'C(3)'
class C:
    def __init__(self, k):
        self.k = k
    def __call__(self, v):
        return v.max() * self.k
c = C(2)
def f(v):
    return c(v)
## slots: 'C(2)' -> 'C(3)'
class C:
    __slots__ = ('k',)
    def __init__(self, k):
        self.k = k
c = C(2)
def f(v):
    return v.max() * c.k
## bound method: 'C(2)' -> 'C(3)'
class C:
    k = 1
    def __init__(self, k):
        self.k = k
    def run(self, v):
        return v.max() * self.k
run = C(2).run
def f(v):
    return run(v)
## class attribute: 'C.k = 2' -> 'C.k = 3'
class C:
    pass
C.k = 2
def f(v):
    return v.max() * C.k
## property: 'K = 2' -> 'K = 3'
K = 2
class C:
    @property
    def k(self):
        return K
def f(v):
    return v.max() * C().k
## cached property: 'K = 2' -> 'K = 3'
import functools
K = 2
class C:
    @functools.cached_property
    def k(self):
        return K
def f(v):
    return v.max() * C().k
## descriptor: 'D(2)' -> 'D(3)'
class D:
    def __init__(self, k):
        self.k = k
    def __get__(self, i, o):
        return self.k
d = D(2)
class C:
    k = d
def f(v):
    return v.max() * C().k
## static method: 'K = 2' -> 'K = 3'
K = 2
class C:
    @staticmethod
    def k():
        return K
    @classmethod
    def j(cls):
        return cls.k()
def f(v):
    return v.max() * C.j()
## dataclass: 'K = 2' -> 'K = 3'
from dataclasses import dataclass
K = 2
@dataclass(frozen=True)
class C:
    k: float = K
c = C()
def f(v):
    return v.max() * c.k
## dataclass made inside: 'K = 2' -> 'K = 3'
from dataclasses import dataclass
K = 2
@dataclass(frozen=True)
class C:
    k: float = K
def f(v):
    return v.max() * C().k
## enum: 'K = 2' -> 'K = 3'
import enum
K = 2
class E(enum.Enum):
    A = K
    B = 7
def f(v):
    return v.max() * E.A.value
## int enum: 'K = 2' -> 'K = 3'
import enum
K = 2
class E(enum.IntEnum):
    A = K
def f(v):
    return v.max() * E.A
## named tuple: 'P(2' -> 'P(3'
from collections import namedtuple
P = namedtuple('P', 'a b')
p = P(2, 1)
def f(v):
    return v.max() * p.a
## nested function: 'K = 2' -> 'K = 3'
K = 2
def f(v):
    def g():
        return K
    return v.max() * g()
## comprehension: 'K = 2' -> 'K = 3'
K = 2
def f(v):
    return sum(x * K for x in v)
## closure: 'make(2)' -> 'make(3)'
def make(k):
    def f(v):
        return v.max() * k
    return f
f = make(2)
## default: 'K = 2' -> 'K = 3'
K = 2
def f(v, k=K):
    return v.max() * k
## default of a helper: 'K = 2' -> 'K = 3'
K = 2
def h(v, k=K):
    return v.max() * k
def f(v):
    return h(v)
## partial: '(g, 2)' -> '(g, 3)'
import functools
def g(k, v):
    return v.max() * k
f = functools.partial(g, 2)
## partial as helper: '(g, 2)' -> '(g, 3)'
import functools
def g(k, v):
    return v.max() * k
h = functools.partial(g, 2)
def f(v):
    return h(v)
## lru_cache: 'return 2' -> 'return 3'
import functools
def k():
    return 2
@functools.lru_cache
def h():
    return k()
def f(v):
    return v.max() * h()
## table: '= 2' -> '= 3'
T = {}
T['a'] = 2
def f(v):
    return v.max() * T['a']
## set: "'d'}" -> "'e'}"
S = {'a', 'b', 'c', 'd'}
def f(v):
    return v.max() * len(S)
## array: '2.0' -> '3.0'
import numpy as np
W = np.array([1.0, 2.0])
def f(v):
    return v.max() * W[1]
## dates: '2001' -> '2002'
import numpy as np
W = np.array(['2001-01-01'], 'M8[D]')
def f(v):
    return v.max() * W.astype(int)[0]
## structured array: '2.0' -> '3.0'
import numpy as np
W = np.array([(1, 2.0)], 'i4,f8')
def f(v):
    return v.max() * W['f1'][0]
## masked array: '[0, 1]' -> '[1, 0]'
import numpy as np
W = np.ma.array([1.0, 2.0], mask=[0, 1])
def f(v):
    return v.max() * W.sum()
## series: '2.0' -> '3.0'
import pandas as pd
W = pd.Series([1.0, 2.0], ['a', 'b'])
def f(v):
    return v.max() * W['b']
## frame: '2.0' -> '3.0'
import pandas as pd
W = pd.DataFrame({'a': [1.0, 2.0], 'b': ['x', 'y']})
def f(v):
    return v.max() * W['a'][1]
## polynomial: '2.0' -> '3.0'
import numpy as np
P = np.poly1d([1.0, 2.0])
def f(v):
    return P(v.max())
## spline: '2.0' -> '3.0'
import numpy as np
from scipy.interpolate import CubicSpline
P = CubicSpline([0, 1, 2], [1.0, 2.0, 5.0])
def f(v):
    return P(v.max())
## frozen distribution: '(0, 2)' -> '(0, 3)'
from scipy import stats
D = stats.norm(0, 2)
def f(v):
    return D.cdf(v.max())
## decimal: "'2'" -> "'3'"
from decimal import Decimal
D = Decimal('2')
def f(v):
    return v.max() * float(D)
## date: '1, 2)' -> '1, 3)'
import datetime
D = datetime.date(2001, 1, 2)
def f(v):
    return v.max() * D.day
## pattern: "('a')\ndef" -> "('b')\ndef"
import re
P = re.compile('a')
def f(v):
    return v.max() * bool(P.match('a'))
## np.vectorize: '* 2' -> '* 3'
import numpy as np
def h(x):
    return x * 2
g = np.vectorize(h)
def f(v):
    return g(v).max()
## numba helper: '* 2' -> '* 3'
import numba
@numba.njit
def h(v):
    return v.max() * 2
def f(v):
    return h(v)
## numba options: 'True' -> 'False'
import numba
O = {'fastmath': True}
@numba.njit(**O)
def h(v):
    return v.max() * 2
def f(v):
    return h(v)
## numba vectorize: 'K = 2' -> 'K = 3'
import numba
K = 2
@numba.vectorize
def h(v):
    return v * K
def f(v):
    return h(v).max()
## super: 'v.max()' -> 'v.min()'
class B:
    def run(self, v):
        return v.max()
class M(B):
    def run(self, v):
        return super().run(v)
def f(v):
    return M().run(v)
## method patched in: 'v.max()' -> 'v.min()'
class M:
    pass
M.run = lambda self, v: v.max()
def f(v):
    return M().run(v)
## builtin overridden: 'v.max()' -> 'v.min()'
import builtins
builtins.helper_of_mine = lambda v: v.max()
def f(v):
    return helper_of_mine(v)
## conditional: 'K = 2' -> 'K = 3'
K = 2
if K == 2:
    def h(v):
        return v.max()
else:
    def h(v):
        return v.min()
def f(v):
    return h(v)
## patched where only the library looks: '= 5' -> '= 6'
import scipy.stats
scipy.stats._stats_py.foo_of_mine = 5
def f(v):
    return scipy.stats.iqr(v)
## patched by setattr: '5)' -> '6)'
import numpy as np
setattr(np, 'foo_of_mine', 5)
def f(v):
    return np.median(v)
## patched among several: '5, 1' -> '6, 1'
import numpy as np
np.foo_of_mine, other = 5, 1
def f(v):
    return np.median(v)
## patched in a line with others: '= 5' -> '= 6'
import numpy as np; np.foo_of_mine = 5
def f(v):
    return np.median(v)
## patched by a setattr of two lines: '5)' -> '6)'
import numpy as np
setattr(
    np, 'foo_of_mine', 5)
def f(v):
    return np.median(v)
## constant of Python: '= 5' -> '= 6'
import math
math.foo_of_mine = 5
def f(v):
    return v.max() * math.foo_of_mine
## context manager: 'K = 2' -> 'K = 3'
import contextlib
K = 2
@contextlib.contextmanager
def c():
    yield K
def f(v):
    with c() as k:
        return v.max() * k
## abstract class: 'K = 2' -> 'K = 3'
import abc
K = 2
class A(abc.ABC):
    @abc.abstractmethod
    def r(self, v): ...
class B(A):
    def r(self, v):
        return v.max() * K
def f(v):
    return B().r(v)
## generator: 'K = 2' -> 'K = 3'
K = 2
def g(v):
    for x in v:
        yield x * K
def f(v):
    return max(g(v))
## getattr with a name: 'k = 2' -> 'k = 3'
class C:
    k = 2
def f(v):
    return v.max() * getattr(C, 'k')
## getattr with a name and a default: 'k = 2' -> 'k = 3'
import math
class C:
    class D:
        k = 2
def f(v):
    return v.max() * getattr(C.D, 'k', math.nan) * getattr(C.D, 'k', 1)
## class decorator: 'k = 2' -> 'k = 3'
def add(cls):
    cls.k = 2
    return cls
@add
class C:
    pass
def f(v):
    return v.max() * C.k
## mutual: '* 2' -> '* 3'
def a(v, n):
    return b(v, n - 1) if n else v.max()
def b(v, n):
    return a(v, n) * 2
def f(v):
    return a(v, 3)
## try block: '    try:\n        x = v.max()\n        y' -> '    x = v.max()\n    try:\n        y'
def h(v):
    try:
        x = v.max()
        y = v.min()
    except ValueError:
        y = 1
    return y
def f(v):
    return h(v)
"""

#: A user's file, the helper.py beside it, and a change of that.
CHANGES_BESIDE = r"""
## module attribute: 'max' -> 'min'
import helper
def f(v):
    return helper.h(v)
# helper.py
def h(v):
    return v.max()
## from import: 'max' -> 'min'
from helper import h
def f(v):
    return h(v)
# helper.py
def h(v):
    return v.max()
## constant: '2' -> '3'
from helper import K
def f(v):
    return v.max() * K
# helper.py
K = 2
## star: 'max' -> 'min'
from helper import *
def f(v):
    return h(v)
# helper.py
def h(v):
    return v.max()
## chain: '2' -> '3'
import helper as x
def f(v):
    return v.max() * x.C.D.k
# helper.py
class D:
    k = 2
class C:
    D = D
## helper of a helper: 'max' -> 'min'
from helper import h
def f(v):
    return h(v)
# helper.py
def g(v):
    return v.max()
def h(v):
    return g(v)
## base class there: 'max' -> 'min'
from helper import B
class M(B):
    pass
def f(v):
    return M().run(v)
# helper.py
class B:
    def run(self, v):
        return v.max()
## module passed on: 'max' -> 'min'
import helper
def g(m, v):
    return m.h(v)
def f(v):
    return g(helper, v)
# helper.py
def h(v):
    return v.max()
## patches: '5' -> '6'
import numpy as np
import helper
def f(v):
    return np.median(v)
# helper.py
import numpy as np
np.foo_of_mine = 5
## table there: '2' -> '3'
import helper
def f(v):
    return v.max() * helper.T['a']
# helper.py
T = {}
T['a'] = 2
"""

#: A user's file, and what of it cannot be followed.
DOUBTFUL = r"""
## globals: 'f uses globals'
h = 2
def f(v):
    return v.max() * globals()['h']
## eval: 'f uses eval'
def f(v):
    return eval('v.max()')
## exec: 'f uses exec'
def f(v):
    exec('x = 1')
    return v.max()
## getattr: 'f uses getattr with a computed name'
import numpy as np
def f(v, how='max'):
    return getattr(np, how)(v)
## getattr of a subscript: 'f uses getattr with a computed name'
import numpy as np
MODULES = {'np': np}
def f(v, how='max'):
    return getattr(MODULES['np'], how)(v)
## getattr of a subscript within an attribute: 'f uses getattr with a computed name'
import numpy as np
class C:
    modules = {'np': np}
def f(v, how='max'):
    return getattr(C.modules['np'], how)(v)
## getattr of a call: 'f uses getattr with a computed name'
import numpy as np
def module(name):
    return np
def f(v, how='max'):
    return getattr(module('np'), how)(v)
## getattr of a call with two: 'f uses getattr with a computed name'
import numpy as np
def module(name, other):
    return np
def f(v, how='max'):
    return getattr(module('np', v), how)(v)
## getattr of a method: 'f uses getattr with a computed name'
import numpy as np
class C:
    def module(self, name):
        return np
def f(v, how='max'):
    return getattr(C().module('np'), how)(v)
## getattr of a sum of texts: 'f uses getattr with a computed name'
import numpy as np
def f(v, how='x'):
    return getattr(np, 'ma' + how)(v)
## getattr of a joined text: 'f uses getattr with a computed name'
import numpy as np
def f(v, how='ax'):
    return getattr(np, f'm{how}')(v)
## getattr with a computed name and a text by default: 'f uses getattr with a computed name'
import numpy as np
def f(v, how='max'):
    return getattr(np, how, 'x')(v)
## getattr of a closure: 'make.<locals>.f uses getattr'
import numpy as np
def make(getattr):
    def f(v, how='max'):
        return getattr(np, how)(v)
    return f
f = make(getattr)
## importlib: 'f uses importlib.import_module'
import importlib
def f(v):
    return importlib.import_module('numpy').max(v)
## import_module: 'f uses importlib.import_module'
from importlib import import_module as imp
def f(v):
    return imp('numpy').max(v)
## __import__: 'f uses __import__'
def f(v):
    return __import__('numpy').max(v)
## sys.modules: 'f uses sys.modules'
import sys
def f(v):
    return sys.modules['numpy'].max(v)
## open: 'f uses open'
def f(v):
    return open('/dev/null') and v.max()
## np.load: 'f uses numpy.load'
import numpy as np
def f(v):
    return np.load('x.npy') * v
## np.loadtxt: 'f uses numpy.loadtxt'
from numpy import loadtxt
def f(v):
    return loadtxt('x') * v
## read_csv: 'f uses pandas.read_csv'
import pandas as pd
def f(v):
    return pd.read_csv('x') * v
## environ: 'f uses os.environ'
import os
def f(v):
    return v.max() * float(os.environ['K'])
## getenv: 'f uses os.getenv'
from os import getenv
def f(v):
    return v.max() * float(getenv('K'))
## path: 'f uses pathlib.PosixPath'
from pathlib import Path
P = Path('x')
def f(v):
    return v.max() * float(P.read_text())
## lock: 'f uses L (_thread.lock), whose content cannot be compared'
import threading
L = threading.Lock()
def f(v):
    with L:
        return v.max()
## getattr by another name: 'f uses getattr'
import numpy as np
g = getattr
def f(v, how='max'):
    return g(np, how)(v)
## getattr as a part: 'f uses getattr'
import functools
import numpy as np
g = functools.partial(getattr, np)
def f(v, how='max'):
    return g(how)(v)
## attrgetter: 'f uses operator.attrgetter'
import operator
import numpy as np
def f(v, how='max'):
    return operator.attrgetter(how)(np)(v)
## a module as a table: 'f uses __dict__'
import numpy as np
def f(v, how='max'):
    return np.__dict__[how](v)
## globals of a helper: 'f uses __globals__'
def h(v):
    return v.max()
def f(v):
    return h.__globals__['h'](v)
## pickle: 'f uses pickle.loads'
import pickle
def f(v):
    return pickle.loads(b'I2\n.') * v.max()
## modules by name: 'f uses sys.modules'
from sys import modules
def f(v):
    return modules['numpy'].max(v)
## in a helper: 'h uses eval'
def h():
    return eval('2')
def f(v):
    return v.max() * h()
## in a method: 'C.k uses eval'
class C:
    def k(self):
        return eval('2')
def f(v):
    return v.max() * C().k()
## frompyfunc: 'f uses g (numpy.ufunc), which does not reveal the function it was made from'
import numpy as np
g = np.frompyfunc(lambda x: x * 2, 1, 1)
def f(v):
    return g(v).max()
"""


def cases(text: str) -> list[Any]:
    """Return what stands in a table of files: of each what its head has, then the file."""
    found = (case.partition("\n") for case in text.strip().removeprefix("## ").split("\n## "))
    heads = [(head.partition(": "), body + "\n") for head, _, body in found]
    return [
        pytest.param(*map(ast.literal_eval, values.split(" -> ")), body, id=name) for (name, _, values), body in heads
    ]


@pytest.fixture(autouse=True)
def _unpatched() -> Iterator[None]:
    """Take away what a user's file put into Python and packages."""
    yield
    for name in ("builtins", "math", "numpy", "scipy.stats", "scipy.stats._stats_py", "pandas"):
        for place in (sys.modules.get(name), getattr(sys.modules.get(name), "Series", None)):
            for key in [key for key in getattr(place, "__dict__", ()) if key.endswith("_of_mine")]:
                delattr(place, key)


def load(folder: Path, text: str, name: str = "f") -> Any:
    path = folder / "mine.py"
    path.write_text(text)
    return load_function(f"{path}:{name}")


def known(function: Any) -> str:
    """Return the digest of a function that can be compared."""
    found = fingerprint(function)
    assert found.doubts == ()
    return found.digest


@pytest.mark.parametrize(("old", "new", "text"), cases(CHANGES))
def test_what_is_beneath_a_function_counts(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert old in text
    first = known(load(tmp_path, text))
    assert known(load(tmp_path, text)) == first
    assert known(load(tmp_path, text + "\ndef unused():\n    pass\n")) == first
    assert known(load(tmp_path, text.replace(old, new))) != first


@pytest.mark.parametrize(("old", "new", "text"), cases(CHANGES_BESIDE))
def test_modules_beside_a_function_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, text: str
) -> None:
    # Two changes within a second may leave one compiled file.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text, helper = text.split("# helper.py\n")

    def made(helper: str) -> str:
        (tmp_path / "helper.py").write_text(helper)
        return known(load(tmp_path, text))

    assert made(helper) == made(helper)
    assert made(helper) != made(helper.replace(old, new))


@pytest.mark.parametrize(("words", "text"), cases(DOUBTFUL))
def test_what_cannot_be_followed_is_named(tmp_path: Path, words: str, text: str) -> None:
    # Python 3.13 has its paths in pathlib._local.
    words = words.replace("pathlib.", f"{type(tmp_path).__module__}.")
    assert fingerprint(load(tmp_path, text)).doubts == (words,)


def test_many_doubts_are_one_line(tmp_path: Path) -> None:
    text = "def f(v):\n    return eval('1') + exec('2') + len(vars(v)) + len(globals()) + open('x')\n"
    found = fingerprint(load(tmp_path, text))
    assert len(found.doubts) == 5
    assert str(found) == "f uses eval; f uses exec; f uses globals; and 2 more"
    assert str(Fingerprint("", {}, {})) == ""


def test_objects_that_raise_are_a_doubt(tmp_path: Path) -> None:
    text = (
        "class C:\n    def __reduce_ex__(self, protocol):\n        raise ValueError\n"
        "class D:\n    def __getattr__(self, name):\n        raise ValueError\n"
        "c, d = C(), D()\n"
    )
    refused = fingerprint(load(tmp_path, text + "def f(v):\n    return v.max() + c\n"))
    assert "f uses c (" in str(refused)
    assert fingerprint(load(tmp_path, text + "def f(v):\n    return v.max() + d\n")).doubts == ()


def test_deep_nesting_is_a_doubt() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert fingerprint(lambda: deep).doubts == (
        "test_deep_nesting_is_a_doubt.<locals>.<lambda> uses something that cannot be followed (RecursionError)",
    )


def test_what_holds_itself_is_followed_once() -> None:
    def made(value: float) -> str:
        table: dict[str, Any] = {"a": value}
        table["self"] = [table]
        return known(lambda v: v * table["a"])

    assert made(1.0) == made(1.0) != made(2.0)


# --- imports within the function ----------------------------------------------------------------------------


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


INSIDE = {
    "module": (
        "import {0}\n    return {0}.h(v)",
        {"{0}.py": "def g(v):\n    return v.max()\ndef h(v):\n    return g(v)\n"},
    ),
    "name": ("from {0} import h\n    return h(v)", {"{0}.py": "def h(v):\n    return v.max()\n"}),
    "renamed": (
        "import {0}.sub as s\n    return s.h(v)",
        {"{0}/__init__.py": "", "{0}/sub.py": "h = lambda v: v.max()\n"},
    ),
    "chain": (
        "import {0}.sub\n    return {0}.sub.h(v)",
        {"{0}/__init__.py": "", "{0}/sub.py": "h = lambda v: v.max()\n"},
    ),
    "module of a package": (
        "from {0} import sub\n    return sub.h(v)",
        {
            "{0}/__init__.py": "",
            "{0}/sub.py": "from .base import h\n",
            "{0}/base.py": "def h(v):\n    return v.max()\n",
        },
    ),
}


@pytest.mark.parametrize(("body", "files"), INSIDE.values(), ids=INSIDE)
def test_imports_within_a_function_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, files: dict[str, str]
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def made(name: str, old: str, new: str) -> str:
        folder = tmp_path / name
        write(folder, {path.format("inside_of_mine"): text.replace(old, new) for path, text in files.items()})
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            for known_name in [n for n in sys.modules if n.startswith("inside_of_mine")]:
                patch.delitem(sys.modules, known_name)
            return known(load(folder, f"def f(v):\n    {body.format('inside_of_mine')}\n"))

    assert made("one", "", "") == made("two", "", "") != made("three", "max", "min")
    for name in [n for n in sys.modules if n.startswith("inside_of_mine")]:
        del sys.modules[name]


def test_an_import_that_fails_is_no_doubt(tmp_path: Path) -> None:
    known(
        load(
            tmp_path, "def f(v):\n    try:\n        import nowhere_to_be_found\n    except ImportError:\n        pass\n"
        )
    )


# --- packages -----------------------------------------------------------------------------------------------


def install(
    folder: Path, name: str, version: str, body: str, needs: str = "", dist: str = "", record: bool = True
) -> None:
    """Put a package of one module into a folder as an installer does."""
    dist = dist or name
    info = folder / f"{dist.replace('-', '_')}-{version}.dist-info"
    required = f"Requires-Dist: {needs}\n" if needs else ""
    write(folder, {f"{name}.py": body})
    write(info, {"METADATA": f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n{required}\nText\n"})
    if record:
        write(info, {"RECORD": f"{name}.py,sha256={abs(hash(body)):x},{len(body)}\n"})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a folder of packages that can be imported, and forgets them afterwards."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


USES_LIBRARY = "import library_of_theirs\ndef f(v):\n    return v.max()\n"


def test_packages_that_a_module_imports_count_by_version(tmp_path: Path, site: Path) -> None:
    """Whether the function names them or not."""
    install(site, "needed_by_theirs", "7.0", "", record=False)
    install(site, "library_of_theirs", "1.0", "", needs="needed_by_theirs (>=2)", record=False)
    found = fingerprint(load(tmp_path, USES_LIBRARY))
    assert found.packages == {"library-of-theirs": "1.0", "needed-by-theirs": "7.0"}
    for path in site.glob("*.dist-info"):
        (path / "METADATA").write_text((path / "METADATA").read_text().replace("Version: 1.0", "Version: 1.1"))
    again = fingerprint(load(tmp_path, USES_LIBRARY))
    assert again.packages == {"library-of-theirs": "1.1", "needed-by-theirs": "7.0"}
    assert again.digest == found.digest


def test_a_package_that_is_installed_again_as_the_same_version_is_another(tmp_path: Path, site: Path) -> None:
    install(site, "library_of_theirs", "0.1", "K = 2\n")
    first = fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"]
    assert first.startswith("0.1 (")
    install(site, "library_of_theirs", "0.1", "K = 3\n")
    assert fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"] != first


def test_the_same_package_in_another_environment_is_the_same(tmp_path: Path, site: Path) -> None:
    """Whatever its installer is, and wherever its commands find their interpreter."""
    install(site, "library_of_theirs", "0.1", "K = 2\n")
    [record] = site.glob("*.dist-info/RECORD")
    first = fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"]
    own, info = record.read_text(), record.parent.name
    record.write_text(
        "../../../bin/theirs,sha256=47aa,175\n"
        f"{info}/INSTALLER,sha256=48ab,4\n{info}/REQUESTED,,\n{info}/direct_url.json,sha256=49ac,90\n{info}/RECORD,,\n"
        "__pycache__/library_of_theirs.cpython-311.pyc,,\n__pycache__/library_of_theirs.cpython-312.pyc,sha256=5,6\n"
        "_editable_impl_theirs.pth,sha256=50ad,14\n__editable___theirs_finder.py,sha256=51ae,99\n"
    )
    assert fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"] == "0.1"
    record.write_text(record.read_text() + "b.py,sha256=1,1\n" + own)
    several = fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"]
    record.write_text(own + "b.py,sha256=1,1\n")
    assert fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"] == several != first
    record.write_text(own)
    assert fingerprint(load(tmp_path, USES_LIBRARY)).packages["library-of-theirs"] == first


def test_a_package_may_be_called_otherwise_than_its_module(tmp_path: Path, site: Path) -> None:
    install(site, "library_of_theirs", "2.0", "", dist="scikit-theirs")
    assert list(fingerprint(load(tmp_path, USES_LIBRARY)).packages) == ["scikit-theirs"]


def test_what_was_copied_or_is_being_edited_is_the_users_own(tmp_path: Path, site: Path) -> None:
    text = "import library_of_theirs\ndef f(v):\n    return library_of_theirs.h(v)\n"
    write(site, {"library_of_theirs.py": "def h(v):\n    return v.max()\n"})
    first = fingerprint(load(tmp_path, text))
    assert first.packages == {}
    module = importlib.import_module("library_of_theirs")
    module.h = lambda v: v.min()  # type: ignore[attr-defined]
    assert known(load(tmp_path, text)) != first.digest
    # The source tree of `pip install -e` by an older setuptools has metadata of its own.
    tree = tmp_path / "src"
    write(tree, {"edited_of_mine.py": "", "edited_of_mine.egg-info/PKG-INFO": "Name: edited-of-mine\nVersion: 1\n"})
    sys.path.insert(0, str(tree))
    try:
        assert where_installed(importlib.import_module("edited_of_mine")) is None
    finally:
        sys.path.remove(str(tree))
        del sys.modules["edited_of_mine"]


def test_a_users_file_may_be_called_like_a_module_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("calendar")
    module.__file__ = str(tmp_path / "calendar.py")
    monkeypatch.setitem(sys.modules, "calendar", module)
    assert where_installed(module) is None
    assert where_installed(os) == where_installed(sys) == where_installed(json)
    assert where_installed(os) is not None


def test_what_is_needed_elsewhere_is_left_out(site: Path) -> None:
    install(site, "library_of_theirs", "1.0", "", needs='nowhere_to_be_found; extra == "all"', record=False)
    assert versions_of([("library_of_theirs", site), ("", site)]) == {"library-of-theirs": "1.0"}


# --- the same in every process ------------------------------------------------------------------------------

COMMON = """
import collections, dataclasses, enum, functools, logging, math, random, typing, warnings
import numba
import numpy as np
import pandas as pd
import scipy.signal
import scipy.stats as st
from scipy import optimize, special
from scipy.special import gammaln
from scipy.stats import linregress, norm

log = logging.getLogger("mine")
K, S, MISSING = 3, {"a", "b", "c", "z"}, object()
T = {"x": 1.0, "y": [1, 2]}
FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}, index=pd.date_range("2001", periods=2))
NORMAL = st.norm(0, 2)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Config:
    a: float = 1.0
    b: list = dataclasses.field(default_factory=list)
    color: Color = Color.RED


class Pair(typing.NamedTuple):
    a: int = 1


CONFIG = Config()


def mean(v):
    return float(np.mean(v) * K)


def line(v, t):
    r = st.linregress(t, v)
    return r.slope, r.pvalue, linregress(t, v).slope


def distributions(v):
    return norm.cdf(v.max()) + NORMAL.cdf(0.3) + gammaln(3.0) + special.gamma(2.0)


def fitted(v, t):
    return optimize.curve_fit(lambda x, a, b: a * x + b, t, v)[0]


def detrended(v):
    return scipy.signal.detrend(v).max()


def rolling(v, dates):
    return pd.Series(v, index=pd.DatetimeIndex(dates)).rolling(3).mean().max() + FRAME["a"].sum()


def drawn(v):
    return v[np.random.default_rng(0).integers(len(v))] + 0 * np.random.normal() + 0 * random.random()


@numba.njit
def added(v):
    s = 0.0
    for x in v:
        s += x
    return s


@numba.vectorize
def doubled(x):
    return x * 2


def compiled(v):
    return added(v) + doubled(v).max()


def objects(v):
    return CONFIG.a + Color.RED.value + Pair().a + len(S) + T["x"] + Config().a


def sentinel(v, default=MISSING):
    return v.max() if default is MISSING else 0.0


@functools.lru_cache(None)
def factorial(n):
    return math.factorial(n)


def quiet(v):
    log.debug("x")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.nanmedian(v) * factorial(3)


def inside(v):
    import scipy.stats
    from scipy import ndimage

    return scipy.stats.iqr(v) + ndimage.gaussian_filter1d(v, 1).max()


def generated(v):
    return max(x for x in v) + collections.Counter(v.astype(int).tolist()).most_common(1)[0][0]


part = functools.partial(line)
NAMES = [
    "mean", "line", "distributions", "fitted", "detrended", "rolling", "drawn", "added", "doubled", "compiled",
    "objects", "sentinel", "quiet", "inside", "generated", "part",
]  # fmt: skip
if __name__ == "__main__":
    import json
    import sys

    from pixelwise.methods.functions.fingerprint import fingerprint
    from pixelwise.methods.functions.loading import load_function

    def loaded(name):
        return globals()[name] if sys.argv[1] == "script" else load_function(f"{__file__}:{name}")

    found = {name: fingerprint(loaded(name)) for name in NAMES}
    json.dump({name: [one.digest, dict(one.packages), str(one)] for name, one in found.items()}, sys.stdout)
"""


def test_common_functions_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Whatever the order of sets and the addresses of objects, and whether they are run as a script or named."""
    path = tmp_path / "common_of_mine.py"
    path.write_text(COMMON)

    def found(how: str, seed: str) -> Any:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, str(path), how], env=environment, check=True, capture_output=True, text=True
        )
        return json.loads(run.stdout)

    script, named = found("script", "1"), found("named", "2")
    assert script == named
    assert {words for _, _, words in script.values()} == {""}
    assert len({digest for digest, _, _ in script.values()}) == len(script)
    packages = script["mean"][1]
    assert {"numpy", "scipy", "pandas", "numba", "python-dateutil"} <= packages.keys()


def test_calls_leave_a_function_what_it_is() -> None:
    """Caches of what it uses, and the random state of NumPy, are no part of it."""

    @functools.lru_cache
    def squared(x: float) -> float:
        return x * x

    def f(v: Any) -> float:
        return squared(float(v.max())) + 0 * np.random.normal()  # noqa: NPY002

    first = known(f)
    f(np.arange(3.0))
    assert known(f) == first


def test_pickling_leaves_a_function_what_it_is(tmp_path: Path) -> None:
    """Python keeps in a class what it found for the first instance that was pickled."""
    text = (
        "class C:\n    def __init__(self, k):\n        self.k = k\nc = C(2)\ndef f(v):\n    return C(c.k).k * v.max()\n"
    )
    function = load(tmp_path, text)
    first = fingerprint(function)
    cloudpickle.dumps(function)
    function(np.arange(3.0))
    assert fingerprint(function) == first


# --- what changed -------------------------------------------------------------------------------------------


def changed(folder: Path, text: str, old: str, new: str) -> str:
    """Return the first part of a function that differs after a change of its file."""
    before = fingerprint(load(folder, text)).parts
    after = fingerprint(load(folder, text.replace(old, new))).parts
    assert list(before)[-1] == "all of it"
    return next(name for name in dict.fromkeys([*after, *before]) if before.get(name) != after.get(name))


NESTED = """
import numpy as np
K = 2
T = {"a": 1}
np.foo_of_mine = 5
def g(v):
    return v.max() * K
class B:
    unit = 1
    def run(self, v, q=3):
        return g(v)
class M(B):
    pass
def h(v):
    return M().run(v) + T["a"]
def f(v):
    return h(v) + np.foo_of_mine
"""


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("K = 2", "K = 3", "K of g"),
        ("v.max()", "v.min()", "code of g"),
        ("unit = 1", "unit = 2", "B.unit"),
        ("q=3", "q=4", "defaults of B.run"),
        ('{"a": 1}', '{"a": 2}', "T of h"),
        ("mine = 5", "mine = 6", "numpy.foo_of_mine"),
        ("h(v) +", "h(v) -", "code of f"),
    ],
)
def test_the_first_part_that_differs_is_what_changed(tmp_path: Path, old: str, new: str, name: str) -> None:
    assert changed(tmp_path, NESTED, old, new) == name


def test_texts_put_nothing_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in a comment or a docstring is no code."""
    text = '"""Example:\n\nnp.foo_of_mine = 5\n"""\nimport numpy as np\ndef f(v):\n    return np.median(v)\n'
    monkeypatch.setattr(np, "foo_of_mine", 5, raising=False)
    first = known(load(tmp_path, text))
    monkeypatch.setattr(np, "foo_of_mine", 6)
    assert known(load(tmp_path, text)) == first


def test_parameters_are_parts_and_not_of_the_digest(tmp_path: Path) -> None:
    function = load(tmp_path, "def f(v, q=1):\n    return v.max() * q\n")
    one, two = (fingerprint(function, {"q": np.arange(n)}) for n in (1, 2))
    assert one.digest == two.digest == fingerprint(function).digest
    assert {name for name in one.parts if one.parts[name] != two.parts[name]} == {"parameter q"}


# --- a function in this process -----------------------------------------------------------------------------


def test_closures_and_arrays_count() -> None:
    def made(weights: Any) -> Any:
        return lambda v: (v * weights).sum()

    assert known(made(np.arange(3.0))) == known(made(np.arange(3.0)))
    assert known(made(np.arange(3.0))) != known(made(np.arange(3.0) + 1))
    assert known(made(np.arange(3.0))) != known(made(np.arange(3.0, dtype=np.float32)))
    assert known(made(object())) == known(made(object()))

    def with_default(value: float) -> Any:
        def weighted(v: Any, *, weight: float = value) -> Any:
            return v.sum() * weight

        return weighted

    assert known(with_default(1.0)) == known(with_default(1.0))
    assert known(with_default(1.0)) != known(with_default(2.0))


def test_what_a_module_holds_now_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: `params.T = 6` changes no file."""
    (tmp_path / "params_of_mine.py").write_text("T = 4\nUNUSED = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    params = importlib.import_module("params_of_mine")
    function = load(tmp_path, "import params_of_mine\ndef f(v):\n    return v.max() * params_of_mine.T\n")
    first = known(function)
    params.UNUSED = 2  # type: ignore[attr-defined]
    assert known(function) == first
    params.T = 6  # type: ignore[attr-defined]
    assert known(function) != first


def test_what_numba_or_a_cache_makes_of_a_function_is_followed_into_it() -> None:
    import numba

    def made(factor: float, wrap: Any) -> str:
        return known(wrap(lambda v: v.max() * factor))

    for wrap in (numba.njit, numba.njit(fastmath=True), functools.lru_cache, functools.partial):
        assert made(2.0, wrap) == made(2.0, wrap) != made(3.0, wrap)
    assert made(2.0, numba.njit) != made(2.0, numba.njit(fastmath=True))


def test_lambdas_on_one_line_are_not_the_same() -> None:
    """Their source is, as it consists of whole lines."""
    low, high, twice = lambda v: v.min(), lambda v: v.max(), lambda v: v.max() * 2  # fmt: skip
    assert len({known(low), known(high), known(twice)}) == 3


def test_a_function_without_source_is_known_by_its_code() -> None:
    def made(text: str) -> str:
        space: dict[str, Any] = {}
        exec(f"def f(v):\n    return {text}", space)
        return known(space["f"])

    assert made("v.max()") == made("v.max() # the largest") != made("v.min()")
