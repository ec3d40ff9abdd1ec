"""Seeded mutations of journals: lines whose checksums are right, and whose content is not.

`mutate` takes a journal's bytes and returns others. Bytes are flipped and lines moved; and, what no checksum of a
line notices, values of its JSON are replaced by others of any type and size, and the checksum is made anew.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

#: What stands where something else did.
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 7, 16, 32, 48, 64, 255, 1 << 31, (1 << 31) - 1, 1 << 63, -(1 << 63), 1 << 64, 10**30,
    0.5, 1e308, float("nan"), float("inf"), -0.0, "", "x", "16", "\x00", "../../x", "\ud800", [], [[]], {}, {"x": 1},
    [None], [0, 0, 16, 16], [[0, 0, [[[1]]]]], {"block": [0, 0, 16, 16]},
]  # fmt: skip
#: Texts that no `json.dumps` writes.
TEXTS = [
    b"[" * 100_000, b'{"block":' * 50_000, b"9" * 5000, b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe", b"{",
    b'{"format":NaN}', b'{"block":[0,0,16,16]}', b'{"committed":[[1,2]]}', b'{"committed":7}', b"\x00" * 50,
]  # fmt: skip

Path = tuple[Any, ...]


def line_of(text: bytes) -> bytes:
    """Return a line with the checksum that belongs to it."""
    return b"%08x %s" % (zlib.crc32(text), text)


def encode(value: Any) -> bytes:
    return line_of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def decode(line: bytes) -> Any:
    return json.loads(line.partition(b" ")[2])


def places(value: Any, where: Path = ()) -> Iterator[Path]:
    """Yield where all values within one are."""
    yield where
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*where, name))


def at(value: Any, where: Path) -> Any:
    for name in where:
        value = value[name]
    return value


def put(value: Any, where: Path, new: Any) -> Any:
    if not where:
        return new
    at(value, where[:-1])[where[-1]] = new
    return value


def mutate_value(dice: random.Random, value: Any) -> Any:
    """Return a value of JSON with one change, anywhere in it."""
    found = list(places(value))
    # As often in what is small as in long lists of files.
    top = dice.choice(sorted({where[:1] for where in found}))
    where = dice.choice([one for one in found if one[:1] == top])
    old = at(value, where)
    kinds: list[Callable[[], Any]] = [lambda: dice.choice(VALUES)]
    if isinstance(old, (int, float)):
        kinds += [lambda: old + dice.choice([-64, -32, -16, -1, 1, 16, 32, 64]), lambda: -old, lambda: old * 2**40]
    if isinstance(old, list) and old:
        kinds += [lambda: old[::-1], lambda: old[:-1], lambda: [*old, old[0]], lambda: dice.sample(old, len(old))]
    if isinstance(old, dict) and old:
        gone = dice.choice(sorted(old))
        kinds += [lambda: {k: v for k, v in old.items() if k != gone}, lambda: {**old, "more": 1}]
    return put(value, where, dice.choice(kinds)())


def mutate(dice: random.Random, journal: bytes) -> bytes:
    """Return a journal with one to three changes."""
    lines = journal.split(b"\n")[:-1]
    for _ in range(dice.randint(1, 3)):
        index = dice.randrange(len(lines)) if dice.random() < 0.7 else 0
        kind = dice.choice(["value"] * 8 + ["borrowed"] * 3 + ["text", "twice", "swapped", "gone", "byte", "commit"])
        try:
            value = decode(lines[index])
        except (ValueError, RecursionError):
            value, kind = None, "byte"
        if kind == "value":
            lines[index] = encode(mutate_value(dice, value))
        elif kind == "borrowed":
            try:
                other = decode(dice.choice(lines))
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and isinstance(other, dict) and (same := sorted(value.keys() & other.keys())):
                name = dice.choice(same)
                lines[index] = encode({**value, name: other[name]})
        elif kind == "text":
            lines[index] = line_of(dice.choice(TEXTS))
        elif kind == "twice":
            lines.insert(dice.randrange(len(lines) + 1), lines[index])
        elif kind == "swapped":
            other_index = dice.randrange(len(lines))
            lines[index], lines[other_index] = lines[other_index], lines[index]
        elif kind == "gone" and len(lines) > 1:
            del lines[index]
        elif kind == "commit":
            size = dice.choice([0, -1, 7, 500_000, 1 << 70, 1.5, "x", None])
            lines.append(encode({"committed": dice.choice([[[size, 5]], [[size]], [], [[5, 5]] * 3, size, {"x": 1}])}))
        elif kind == "byte":
            line = bytearray(lines[index] or b"x")
            line[dice.randrange(len(line))] ^= 1 << dice.randrange(8)
            lines[index] = bytes(line)
    return b"".join(line + b"\n" for line in lines)
