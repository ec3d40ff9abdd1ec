"""What `fuzz.py` does to files: seeded changes of bytes, TIFF directories, texts, XML and JSON.

Each function takes a `random.Random`, draws all from it, and says in a few words what it did.
"""

from __future__ import annotations

import random
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Entry", "Tiff", "change_bytes", "change_line", "change_tiff", "change_tree", "change_xml"]

Dice = random.Random

#: Whole numbers at which sizes, counts and offsets break.
NUMBERS = (
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 1000, 4095, 4096, 32767,
    32768, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
)  # fmt: skip
#: Numbers as texts have them.
WORDS = (
    "0", "-0", "1", "-1", "2", "0.5", "1e-320", "1e30", "1e308", "1e400", "-1e400", "nan", "NaN", "-nan", "inf", "-inf",
    "Infinity", "1.#QNAN", "", " ", "0x10", "1,5", "1_000", "--1", "1e", "\u00b2", "\u0663", "9" * 25, "9" * 4400,
    "-9999", "-1", "255", "65535", "2147483647", "2147483648", "-2147483649", "4294967296", "99999", "None", "true",
)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, 1e-30, 1e30, 1e300, 1.7e308, float("nan"), float("inf"), float("-inf"))
#: Encodings, among them none.
ENCODINGS = ("utf-16", "latin-1", "ebcdic-cp-be", "x-unknown", "utf-7", "ucs-4", "idna", "")


# ----------------------------------------------------------------------------------------------------- bytes


def change_bytes(data: bytes, dice: Dice, first: int = 0) -> tuple[bytes, str]:
    """Change bytes without a thought for what they mean, none before `first`."""
    head, body = data[:first], bytearray(data[first:])
    size = max(len(body), 1)
    at = dice.randrange(size)
    length = min(dice.choice((1, 2, 4, 8, 64, 512)), size)
    what = dice.choice(("flip", "flip", "flip", "set", "cut", "insert", "delete", "swap", "repeat", "fill", "append"))
    if what == "flip":
        for _ in range(dice.choice((1, 1, 1, 2, 8, 64))):
            if body:
                body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    elif what == "set":
        body[at : at + 1] = bytes([dice.choice((0, 1, 127, 128, 254, 255))])
    elif what == "cut":
        del body[at:]
    elif what == "insert":
        body[at:at] = dice.randbytes(length)
    elif what == "delete":
        del body[at : at + length]
    elif what == "swap":
        other = dice.randrange(size)
        one, two = body[at : at + length], body[other : other + length]
        if abs(at - other) >= length and len(one) == len(two):
            body[at : at + length], body[other : other + length] = two, one
    elif what == "repeat":
        body[at:at] = body[at : at + length] * dice.choice((1, 2, 50))
    elif what == "fill":
        body[at : at + length] = bytes([dice.choice((0, 255))]) * len(body[at : at + length])
    else:
        body += dice.randbytes(length)
    return head + bytes(body), f"bytes {what}"


# ------------------------------------------------------------------------------------------------------ TIFF


SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}

STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 273, 279, 324, 325
#: What says how pixels are stored.
STRUCTURE = (256, 257, 258, 259, 262, 266, 277, 278, 284, 317, 322, 323, 338, 339)
#: Where pixels are, and what GDAL keeps beside.
PLACES = (33550, 33922, 34264, 34735, 34736, 34737)
NODATA, METADATA = 42113, 42112


@dataclass
class Entry:
    """One field of a directory; `count` and `place` are as in `data` unless a change says otherwise."""

    tag: int
    kind: int
    count: int
    data: bytes
    place: int | None = None


@dataclass
class Tiff:
    """A TIFF file: its bytes, and what its directories say."""

    data: bytes
    order: str
    big: bool
    directories: list[list[Entry]] = field(default_factory=list)

    @property
    def word(self) -> str:
        return "Q" if self.big else "I"

    @classmethod
    def parse(cls, data: bytes) -> Tiff:
        """Read the directories of a file, each once: they may be a ring."""
        order = "<" if data[:2] == b"II" else ">"
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        tiff = cls(data, order, big)
        count_format, entry = ("Q", f"{order}HHQ") if big else ("H", f"{order}HHI")
        inside = 8 if big else 4
        (at,) = struct.unpack_from(order + tiff.word, data, 8 if big else 4)
        seen = set()
        while at and at not in seen:
            seen.add(at)
            (entries,) = struct.unpack_from(order + count_format, data, at)
            at += struct.calcsize(count_format)
            directory = []
            for _ in range(entries):
                tag, kind, count = struct.unpack_from(entry, data, at)
                at += struct.calcsize(entry)
                size = count * SIZES[kind]
                where = at if size <= inside else struct.unpack_from(order + tiff.word, data, at)[0]
                directory.append(Entry(tag, kind, count, data[where : where + size]))
                at += inside
            tiff.directories.append(directory)
            (at,) = struct.unpack_from(order + tiff.word, data, at)
        return tiff

    def numbers(self, entry: Entry) -> list[Any]:
        """Return the numbers of a field."""
        format_ = FORMATS.get(entry.kind, "B")
        count = len(entry.data) // struct.calcsize(format_)
        return list(struct.unpack_from(f"{self.order}{count}{format_}", entry.data))

    def set_numbers(self, entry: Entry, numbers: Sequence[Any]) -> None:
        """Give a field other numbers, cut to its type."""
        format_ = FORMATS.get(entry.kind, "B")
        if format_ not in "fd":
            bits = 8 * struct.calcsize(format_)
            numbers = [int(n) & ((1 << bits) - 1) for n in numbers]
            format_ = format_.upper()
        entry.data = struct.pack(f"{self.order}{len(numbers)}{format_}", *numbers)
        entry.count = len(numbers)

    def find(self, tag: int) -> Entry | None:
        """Return a field of the first directory."""
        return next((entry for entry in self.directories[0] if entry.tag == tag), None)

    def blocks(self) -> tuple[Entry, Entry]:
        """Return the fields that say where blocks are and how long."""
        offsets, counts = self.find(TILE_OFFSETS), self.find(TILE_COUNTS)
        if offsets is None or counts is None:
            offsets, counts = self.find(STRIP_OFFSETS), self.find(STRIP_COUNTS)
        if offsets is None or counts is None:  # a change took them away
            offsets = counts = Entry(0, 4, 0, b"")
        return offsets, counts

    def move_block(self, index: int, content: bytes) -> None:
        """Give a block other bytes, at the end of the file."""
        offsets, counts = self.blocks()
        where, lengths = self.numbers(offsets), self.numbers(counts)
        self.data += b"\0" * (len(self.data) % 2)
        where[index], lengths[index] = len(self.data), len(content)
        self.data += content
        offsets.kind = counts.kind = 16 if self.big else 4
        self.set_numbers(offsets, where)
        self.set_numbers(counts, lengths)

    def block(self, index: int) -> bytes:
        """Return the bytes of a block."""
        offsets, counts = self.blocks()
        at = self.numbers(offsets)[index]
        return self.data[at : at + self.numbers(counts)[index]]

    def write(self, loop: int | None = None) -> bytes:
        """Return the file with its directories written anew at the end; the last points to directory `loop`."""
        out = bytearray(self.data)
        out += b"\0" * (-len(out) % 8)
        inside = 8 if self.big else 4
        starts, holes = [], []
        for directory in self.directories:
            head = len(directory)
            size = (8 if self.big else 2) + head * (12 + inside - 4 + (4 if self.big else 0)) + inside
            start = len(out)
            starts.append(start)
            table = bytearray(struct.pack(self.order + ("Q" if self.big else "H"), head))
            behind = bytearray()
            for entry in directory:
                table += struct.pack(f"{self.order}HH{self.word}", entry.tag, entry.kind, entry.count)
                if entry.place is not None:
                    place = start if entry.place < 0 else entry.place
                    table += struct.pack(self.order + self.word, place)
                elif len(entry.data) <= inside:
                    table += entry.data.ljust(inside, b"\0")
                else:
                    table += struct.pack(self.order + self.word, start + size + len(behind))
                    behind += entry.data + b"\0" * (-len(entry.data) % 8)
            holes.append(start + len(table))
            table += b"\0" * inside
            out += table.ljust(size, b"\0") + behind
            out += b"\0" * (-len(out) % 8)
        for hole, following in zip(holes, [*starts[1:], 0 if loop is None else starts[loop]], strict=True):
            struct.pack_into(self.order + self.word, out, hole, following)
        struct.pack_into(self.order + self.word, out, 8 if self.big else 4, starts[0])
        return bytes(out)


def deflate_bomb(megabytes: int) -> bytes:
    """Return a DEFLATE stream that inflates to so much, of a thousandth of its size."""
    stream = zlib.compressobj(9)
    head = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    part = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)
    return head + part * (megabytes - 1) + stream.flush()


def change_tiff(data: bytes, dice: Dice) -> tuple[bytes, str]:
    """Change a TIFF file in its bytes, its code streams, or its directories."""
    tiff = Tiff.parse(data)
    loop, said = None, []
    for _ in range(dice.choice((1, 1, 1, 1, 2, 3))):
        kind = dice.choice(("bytes", "stream", "stream", "stream", "field", "field", "field", "blocks", "add", "chain"))
        if kind == "bytes":
            changed, what = change_bytes(tiff.write(loop) if said else data, dice, dice.choice((0, 4, 8)))
            return changed, ", ".join([*said, what])
        if kind == "chain":
            loop, what = change_chain(tiff, dice)
        else:
            what = {"stream": change_stream, "field": change_field, "blocks": change_blocks, "add": add_field}[kind](
                tiff, dice
            )
        said.append(what)
    return tiff.write(loop), ", ".join(said)


def change_stream(tiff: Tiff, dice: Dice) -> str:
    """Change the codes of one block."""
    offsets, counts = tiff.blocks()
    blocks = min(len(tiff.numbers(offsets)), len(tiff.numbers(counts)))
    if not blocks:
        return "no block"
    index = dice.randrange(blocks)
    old = tiff.block(index)
    what = dice.choice(("damage", "damage", "damage", "other", "longer", "shorter", "padded", "bomb"))
    new = old
    if what == "damage":
        new, how = change_bytes(old, dice)
        what = f"damage, {how}"
    elif what == "other":
        new = tiff.block(dice.randrange(blocks))
    elif what == "padded":
        new = old + dice.choice((b"\0" * 100, dice.randbytes(100), old))
    else:
        try:
            plain = zlib.decompress(old)
        except zlib.error:
            new = {"longer": old + old, "shorter": old[: len(old) // 2]}.get(what, old[:2] + b"\xff" * 70 + old[2:])
        else:
            level = dice.choice((0, 1, 6, 9))
            extra = dice.choice((1, 7, 100, len(plain)))
            if what == "longer":
                new = zlib.compress(plain + dice.randbytes(extra), level)
            elif what == "shorter":
                new = zlib.compress(plain[:-extra], level)
            else:
                new = deflate_bomb(dice.choice((64, 2000)))
    tiff.move_block(index, new)
    return f"stream {what}"


def change_field(tiff: Tiff, dice: Dice) -> str:
    """Change type, count, numbers or place of a field, or leave it out."""
    directory = dice.choice(tiff.directories)
    wanted = dice.choice((STRUCTURE, STRUCTURE, PLACES, (NODATA, METADATA), ()))
    entries = [entry for entry in directory if entry.tag in wanted] or directory
    if not entries:
        return "no field"
    entry = dice.choice(entries)
    what = dice.choice(("value", "value", "value", "value", "near", "kind", "count", "place", "drop", "double", "tag"))
    numbers = tiff.numbers(entry)
    if what in ("value", "near") and entry.tag in (NODATA, METADATA, 34737):
        text = entry.data.rstrip(b"\0").decode("utf-8", "replace")
        changed, how = change_text(text, dice) if entry.tag != NODATA else (dice.choice(WORDS), "word")
        entry.data = changed.encode("utf-8", "surrogatepass") + b"\0" * dice.choice((0, 1, 1, 1))
        entry.count = len(entry.data)
        return f"tag {entry.tag} {how}"
    if what in ("value", "near") and numbers:
        index = dice.randrange(len(numbers))
        if entry.kind in (11, 12):
            near = numbers[index] * dice.choice((1 + 1e-12, 1 + 1e-6, 0.5, 2, -1)) + dice.choice((0, 1e-9, 30, -60, 15))
            numbers[index] = near if what == "near" else dice.choice(FLOATS)
        elif what == "near":
            numbers[index] += dice.choice((-1, 1, 2, 16, -16))
        else:
            numbers[index] = dice.choice(NUMBERS)
            if dice.random() < 0.3:
                numbers = [numbers[index]] * len(numbers)
        try:
            tiff.set_numbers(entry, numbers)
        except OverflowError:
            return f"tag {entry.tag} too large"
    elif what == "kind":
        entry.kind = dice.choice((*SIZES, 0, 14, 15, 19, 255, 65535))
    elif what == "count":
        largest = (1 << 64 if tiff.big else 1 << 32) - 1
        entry.count = min(dice.choice((*NUMBERS, entry.count + 1, max(entry.count - 1, 0))), largest)
    elif what == "place":
        entry.place = dice.choice((-1, 0, 4, 8, len(tiff.data) - 1, len(tiff.data) + 10**6, (1 << 32) - 1))
    elif what == "drop":
        directory.remove(entry)
    elif what == "double":
        other = Entry(entry.tag, entry.kind, entry.count, entry.data)
        directory.insert(dice.randrange(len(directory) + 1), other)
        if dice.random() < 0.7 and numbers and entry.kind not in (11, 12):
            tiff.set_numbers(other, [dice.choice(NUMBERS) for _ in numbers])
    elif what == "tag":
        entry.tag = dice.choice((*STRUCTURE, *PLACES, NODATA, METADATA, STRIP_OFFSETS, STRIP_COUNTS, 0, 65535))
    return f"tag {entry.tag} {what}"


def change_blocks(tiff: Tiff, dice: Dice) -> str:
    """Change where blocks are and how long."""
    entry = dice.choice(tiff.blocks())
    numbers = tiff.numbers(entry)
    what = dice.choice(("swap", "same", "near", "zero", "far", "fewer", "more", "short"))
    if not numbers:
        return "no blocks"
    one, other = dice.randrange(len(numbers)), dice.randrange(len(numbers))
    if what == "swap":
        numbers[one], numbers[other] = numbers[other], numbers[one]
    elif what == "same":
        numbers = [numbers[one]] * len(numbers)
    elif what == "near":
        numbers[one] += dice.choice((-8, -2, -1, 1, 2, 8, 1000))
    elif what == "zero":
        numbers[one] = 0
    elif what == "far":
        numbers[one] = dice.choice((len(tiff.data) - 5, len(tiff.data), 1 << 31, (1 << 32) - 1, (1 << 63) - 1))
    elif what == "fewer":
        numbers = numbers[: max(one, 1)]
    elif what == "more":
        numbers = numbers + numbers
    elif what == "short" and tiff.numbers(entry) and max(numbers) < 65536:
        entry.kind = 3
    tiff.set_numbers(entry, numbers)
    return f"blocks {what}"


def add_field(tiff: Tiff, dice: Dice) -> str:
    """Add a field that changes what others mean, or one that was there."""
    directory = dice.choice(tiff.directories)
    tag, kind, numbers = dice.choice(
        [
            (266, 3, [2]), (266, 3, [1]), (274, 3, [dice.randint(0, 9)]), (338, 3, [dice.randint(0, 3)]),
            (339, 3, [dice.randint(0, 7)]), (317, 3, [dice.randint(0, 4)]), (254, 4, [dice.choice((1, 2, 4, 5))]),
            (255, 3, [1]), (330, 4, [8]), (330, 4, [len(tiff.data)]), (347, 7, list(dice.randbytes(30))),
            (262, 3, [dice.randint(0, 9)]), (320, 3, [dice.randrange(65536) for _ in range(768)]),
            (322, 3, [16]), (323, 3, [16]), (278, 4, [dice.choice(NUMBERS)]), (284, 3, [dice.randint(0, 3)]),
            (33922, 12, [dice.choice(FLOATS) for _ in range(6)]), (33550, 12, [dice.choice(FLOATS) for _ in range(3)]),
            (34264, 12, [dice.choice(FLOATS) for _ in range(16)]), (NODATA, 2, [45, 49, 0]), (NODATA, 2, [48, 0]),
            (NODATA, 2, [48, 46, 53, 0]), (34735, 3, [dice.randrange(65536) for _ in range(8)]), (532, 5, [1, 0]),
            (280, 3, [0]), (281, 3, [1]), (297, 3, [0, 0]), (50674, 16, [1]), (42112, 2, list(b"<GDALMetadata/>\0")),
        ]
    )  # fmt: skip
    made = Entry(tag, kind, len(numbers), b"")
    tiff.set_numbers(made, numbers)
    directory.append(made)
    if dice.random() < 0.7:
        directory.sort(key=lambda entry: entry.tag)
    return f"tag {tag} added"


def change_chain(tiff: Tiff, dice: Dice) -> tuple[int | None, str]:
    """Change the chain of directories."""
    what = dice.choice(("loop", "again", "mask", "overview", "shuffle", "none", "many"))
    first = tiff.directories[0]
    if what == "loop":
        return dice.randrange(len(tiff.directories)), "chain loop"
    if what == "shuffle":
        dice.shuffle(first)
    elif what == "none":
        tiff.directories = [[]]
    elif what == "many":
        tiff.directories *= 300
    else:
        kind = {"again": 0, "mask": 4, "overview": 1}[what]
        copy = [Entry(254, 4, 1, b""), *(Entry(e.tag, e.kind, e.count, e.data) for e in first if e.tag != 254)]
        tiff.set_numbers(copy[0], [kind])
        tiff.directories.append(copy)
    return None, f"chain {what}"


# ----------------------------------------------------------------------------------------------------- texts


def change_text(text: str, dice: Dice) -> tuple[str, str]:
    """Change some characters of a text."""
    at = dice.randrange(len(text) + 1)
    what = dice.choice(("drop", "insert", "number", "cut", "repeat"))
    if what == "drop":
        return text[:at] + text[at + dice.randint(1, 5) :], "text drop"
    if what == "insert":
        odd = dice.choice(
            ("\n", "\0", "\r", "\x1b[2J", "\ud800", "\u202e", '"', "{", "}", "<", "&", "%s", "é", "=", "\t")
        )
        return text[:at] + odd + text[at:], "text insert"
    if what == "cut":
        return text[:at], "text cut"
    if what == "repeat":
        return text[:at] + text[at : at + 20] * dice.choice((2, 100)) + text[at:], "text repeat"
    digits = [i for i, character in enumerate(text) if character.isdigit()]
    if not digits:
        return text, "text same"
    at = dice.choice(digits)
    end = at
    while end < len(text) and (text[end].isdigit() or text[end] in ".eE"):
        end += 1
    return text[:at] + dice.choice(WORDS) + text[end:], "text number"


def change_line(text: str, dice: Dice, names: Sequence[str] = ()) -> tuple[str, str]:
    """Change a text of lines ``name = value``: whole lines, or values."""
    lines = text.split("\n")
    at = dice.randrange(len(lines))
    what = dice.choice(("drop", "double", "swap", "value", "value", "value", "name", "text", "text"))
    if what == "drop":
        del lines[at]
    elif what == "double":
        lines.insert(dice.randrange(len(lines) + 1), lines[at])
    elif what == "swap":
        other = dice.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "text":
        return change_text(text, dice)
    else:
        for sign in ("=", ":", " ", "\t"):
            name, found, value = lines[at].partition(sign)
            if found:
                if what == "name":
                    lines[at] = f"{dice.choice(WORDS)}{sign}{value}"
                else:
                    words = value.split(" ")
                    words[dice.randrange(len(words))] = dice.choice((*WORDS, *names))
                    lines[at] = f"{name}{sign}{' '.join(words)}"
                break
    return "\n".join(lines), f"line {what}"


# ------------------------------------------------------------------------------------------------------- XML


def change_xml(text: str, dice: Dice, names: Sequence[str]) -> tuple[str, str]:
    """Change elements, attributes and texts of XML; some of the names may stand where names of files stand."""
    if dice.random() < 0.15:
        return change_document(text, dice, names)
    root = ET.fromstring(text)
    nodes = list(root.iter())
    parents = {child: parent for parent in nodes for child in parent}
    node = dice.choice(nodes)
    named = [n for n in nodes if n.tag in ("SourceFilename", "SourceDataset", "MDI")]
    what = dice.choice(
        ("name", "name", "name", "name", "text", "text", "attribute", "attribute", "drop", "double", "move", "tag",
         "deep", "form", "blank", "add")
    )  # fmt: skip
    if what in ("name", "blank", "form") and named:
        node = dice.choice(named)
    if what == "name":
        node.text = dice.choice(names)
        if dice.random() < 0.5:
            node.set("relativeToVRT", dice.choice(("0", "1", "2", "yes", "")))
    elif what == "blank":
        node.text = (
            dice.choice(("", " ", "\n", "\t", "\u00a0")) + (node.text or "") + dice.choice((" ", "  ", "\n", "\r"))
        )
    elif what == "form" and node in parents:
        parent = parents[node]
        parent.remove(node)
        parent.set(node.tag, dice.choice((node.text or "", *names)))
    elif what == "text":
        node.text = dice.choice((*WORDS, *names)) if dice.random() < 0.7 else change_text(node.text or "1", dice)[0]
    elif what == "attribute" and node.attrib:
        name = dice.choice(sorted(node.attrib))
        value = node.attrib[name]
        how = dice.choice(("value", "number", "drop", "name", "case"))
        if how == "value":
            node.set(name, dice.choice((*WORDS, *names)))
        elif how == "number":
            node.set(name, str(dice.choice(NUMBERS)))
        elif how == "drop":
            del node.attrib[name]
        else:
            del node.attrib[name]
            node.set(name.upper() if how == "case" else dice.choice(("SourceFilename", "subClass", "x")), value)
    elif what == "drop" and node in parents:
        parents[node].remove(node)
    elif what == "double" and node in parents:
        for _ in range(dice.choice((1, 1, 300))):
            parents[node].append(node)
    elif what == "move" and node in parents:
        target = dice.choice([n for n in nodes if n not in set(node.iter())] or [root])
        if target is not node:
            parents[node].remove(node)
            target.append(node)
    elif what == "tag":
        node.tag = dice.choice((node.tag.upper(), node.tag.lower(), "x:" + node.tag.lower(), *(n.tag for n in nodes)))
        node.tag = node.tag.replace(":", "_")
    elif what == "deep":
        inner = node
        for _ in range(dice.choice((3, 50, 2000))):
            inner = ET.SubElement(inner, dice.choice(("a", node.tag)))
    elif what == "add":
        tag = dice.choice(
            ("SourceFilename", "GDALWarpOptions", "GeoLocTransformer", "MDI", "PixelFunctionType", "OverviewList",
             "MaskBand", "NoDataValue", "Scale", "Offset", "UnitType", "ColorInterp", "GCPList", "Overview", "LUT",
             "HideNoDataValue", "PixelFunctionLanguage", "PixelFunctionCode", "ComplexSource", "Metadata", "DEMPath",
             "OpenOptions")
        )  # fmt: skip
        child = ET.SubElement(node, tag)
        child.text = dice.choice((*WORDS, *names))
        if tag == "MDI":
            child.set("key", dice.choice(("X_DATASET", "Y_DATASET", "NODATA_VALUES", "source_0")))
    try:
        return ET.tostring(root, encoding="unicode"), f"xml {what}"
    except (RecursionError, TypeError, ValueError):
        return text, "xml same"


def change_document(text: str, dice: Dice, names: Sequence[str]) -> tuple[str, str]:
    """Change what XML has around its elements."""
    what = dice.choice(("encoding", "entities", "external", "comment", "cut", "twice", "text", "space"))
    if what == "encoding":
        return f'<?xml version="1.0" encoding="{dice.choice(ENCODINGS)}"?>{text}', "xml encoding"
    if what == "entities":
        lines = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
        return f'<!DOCTYPE x [<!ENTITY e0 "1">{lines}]>' + text.replace("0</", "&e12;</", 1), "xml entities"
    if what == "external":
        declared = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{dice.choice(names)}">]>'
        return declared + text.replace("0</", "&e;</", 1), "xml external"
    if what == "comment":
        return "<!--" + "x" * dice.choice((10, 2000)) + "-->" + text, "xml comment"
    if what == "twice":
        return text + text, "xml twice"
    if what == "space":
        return dice.choice(("\n", " " * 5000, "\ufeff")) + text, "xml space"
    if what == "cut":
        return text[: dice.randrange(len(text))], "xml cut"
    return change_text(text, dice)


# ------------------------------------------------------------------------------------------------------ JSON


def change_tree(tree: Any, dice: Dice, names: Sequence[str]) -> tuple[Any, str]:
    """Change one value somewhere in lists and dictionaries, which are changed in place."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in sorted(node, key=str) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if isinstance(tree, dict | list):
        walk(tree)
    if not places:
        return tree, "tree empty"
    # Each level is as likely: else it is nearly always one of many files.
    top = [place for place in places if place[0] is tree] or places
    node, key = dice.choice(places) if dice.random() < 0.5 else dice.choice(top)
    what = dice.choice(("value", "value", "value", "near", "drop", "swap", "wrap", "name", "name", "add", "deep"))
    value = node[key]
    if what == "value":
        node[key] = dice.choice(
            (None, True, False, -1, 0, 1, 2, 5000, 10**9, 10**30, -(10**30), 0.5, 1e308, float("nan"), float("inf"), "",
             "x", [], {}, [[]], "\0", "\ud800", "\x1b[2J", "é" * 50, "a" * 20_000, [0] * 5000, {"a": {"b": {}}}, "1",
             ["1", 2])
        )  # fmt: skip
    elif what == "near":
        if isinstance(value, bool) or value is None:
            node[key] = not value
        elif isinstance(value, int | float):
            node[key] = value + dice.choice((1, -1, 0.5, 1000)) if abs(value) < 1e300 else 0
        elif isinstance(value, str):
            node[key] = change_text(value, dice)[0]
        elif isinstance(value, list):
            node[key] = value[1:] if dice.random() < 0.5 else [*value, *value]
        else:
            node[key] = list(value)
    elif what == "drop":
        del node[key]
    elif what == "swap":
        other, place = dice.choice(places)
        # Copies, so that nothing ever holds itself.
        one, two = deepcopy(value), deepcopy(other[place])
        other[place] = one
        node[key] = two
    elif what == "wrap":
        node[key] = dice.choice(([value], {"a": value}, str(value)))
    elif what == "name":
        texts = [(n, k) for n, k in places if isinstance(n[k], str)] or [(node, key)]
        node, key = dice.choice(texts)
        node[key] = dice.choice(names)
    elif what == "add":
        if isinstance(node, dict):
            node[dice.choice(("x", "", "a.b", "\ud800", *map(str, node)))] = value
        else:
            node.append(value)
    else:
        inner: Any = []
        for _ in range(dice.choice((30, 400))):
            inner = [inner] if dice.random() < 0.5 else {"a": inner}
        node[key] = inner
    return tree, f"tree {what}"
