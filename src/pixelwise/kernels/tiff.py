"""Kernels that turn what a TIFF file stores into pixels: LZW strings, predictors, places in a window.

Bytes are combined by shifts: the compiler turns them into one load or store, and plain Python can run the same lines.
Indices are unsigned, because signed ones are tested for being negative.
"""

# Numba infers types from arguments; annotations of helpers would only repeat the docstrings.
# mypy: allow-untyped-defs

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelwise.kernels.jit import kernel

__all__ = ["LITERALS", "SLACK", "Buffers", "Layout", "Row", "lzw_strings", "place_lzw", "place_plain"]

#: The decoded bytes follow one string of each literal, so that any string is a position and a length.
LITERALS = 256
#: Bytes after the data, and after the decoded ones, that may be touched but never matter.
SLACK = 8

ONE, EIGHT = np.uint64(1), np.uint64(8)
LENGTH_BITS = np.uint64(24)
LENGTH = np.uint64((1 << 24) - 1)
CLEAR, END = 256, 257
CODES = 4096


class Layout(NamedTuple):
    """How a block holds its pixels.

    Attributes
    ----------
    width
        Pixels per row of a block.
    samples
        Numbers per pixel.
    predictor
        1 for none, 2 for differences of numbers, 3 for differences of bytes, highest bytes first.
    """

    width: int
    samples: int
    predictor: int


class Row(NamedTuple):
    """Memory for one row of a block.

    Attributes
    ----------
    numbers
        Unsigned integers of the size of the file's numbers.
    octets
        As many bytes.
    """

    numbers: NDArray[Any]
    octets: NDArray[np.uint8]


class Buffers(NamedTuple):
    """Memory for one block of LZW codes.

    Attributes
    ----------
    strings
        From `lzw_strings`.
    decoded, stored
        `LITERALS` bytes that count up, the largest block, `SLACK`; and the same memory as unsigned integers of the size
        of the file's numbers.
    row
        `Row`.
    """

    strings: NDArray[np.uint64]
    decoded: NDArray[np.uint8]
    stored: NDArray[Any]
    row: Row


def lzw_strings() -> NDArray[np.uint64]:
    """Return the table that `place_lzw` works with, with its literals filled in."""
    strings = np.zeros(CODES, dtype=np.uint64)
    strings[:LITERALS] = (np.arange(LITERALS, dtype=np.uint64) << LENGTH_BITS) | ONE
    return strings


@kernel()
def place_lzw(
    data: NDArray[np.uint8],
    blocks: NDArray[np.int64],
    whole: NDArray[np.bool_],
    layout: Layout,
    picked: NDArray[np.int64],
    buffers: Buffers,
    out: NDArray[Any],
) -> int:
    """Decode LZW blocks and put their pixels into a window.

    Parameters
    ----------
    data
        (byte,) with `SLACK` bytes after the last that counts.
    blocks
        (block, 5): where a block's bytes begin in `data` and how many they are, the row and column of the window
        where its upper left pixel goes (negative outside), and how many rows it has.
    whole
        (block,) which of them are known to be intact; the others become so. The result for a damaged block must not
        depend on where a window cuts it.
    layout
        `Layout`.
    picked
        (band,) which of the numbers of a pixel to copy.
    buffers
        `Buffers`, to work with.
    out
        (band, y, x) unsigned integers of the size of the file's numbers.

    Returns
    -------
    int
        How many blocks were decoded: fewer than there are if one is damaged or written in the old bit order.
    """
    strings, decoded, stored, row = buffers
    itemsize = decoded.size // stored.size
    for index in range(blocks.shape[0]):
        rows = blocks[index, 4]
        if whole[index]:  # skip what is below the window: half of a strip that is cut, on average
            rows = min(rows, out.shape[1] - blocks[index, 2])
        size = rows * layout.width * layout.samples * itemsize
        if expand_lzw(data, blocks[index, 0], blocks[index, 1], strings, decoded, size) != size:
            return index
        whole[index] = True
        place(decoded, stored, LITERALS // itemsize, blocks[index], layout, picked, row, out)
    return len(blocks)


@kernel(helper=True)
def expand_lzw(data, start, count, strings, decoded, size):
    """Decode one block of LZW codes (TIFF 6.0, section 13); return its size in bytes, at most `size`, or -1.

    A string is not chained byte by byte: it is found in the bytes decoded before, and copied by words. That takes half
    the time of libtiff's decoder (51 instead of 103 ms for 38 MB of NDVI, 2 bytes a code).
    """
    bits, last_bit = np.uint64(start) * EIGHT, np.uint64(start + count) * EIGHT
    out, end = np.uint64(LITERALS), np.uint64(LITERALS + size)
    code_bits, next_code, grown = np.uint64(9), np.uint64(CLEAR + 1), np.uint64(511)
    if count < 2 or data[start] != 0x80 or data[start + 1] & 0x80:
        return -1  # every stream begins with a clear code; the old bit order does not
    string = np.uint64(0)
    while out < end:
        # As many codes of one size as there are, until codes grow or the data end.
        stop = min(grown, next_code + (last_bit - bits) // code_bits)
        if stop == next_code:
            return -1
        mask = (ONE << code_bits) - ONE
        shift = np.uint64(32) - code_bits
        code = np.uint64(0)
        while next_code < stop and out < end:
            at = bits >> np.uint64(3)
            word = (
                (np.uint64(data[at]) << np.uint64(24))
                | (np.uint64(data[at + ONE]) << np.uint64(16))
                | (np.uint64(data[at + np.uint64(2)]) << EIGHT)
                | np.uint64(data[at + np.uint64(3)])
            )
            code = (word >> (shift - (bits & np.uint64(7)))) & mask
            bits += code_bits
            # The previous string, and the first byte of this one, which follows it.
            strings[next_code] = string
            next_code += ONE
            if code >= next_code or code >> ONE == np.uint64(CLEAR >> 1):
                break
            length = min(strings[code] & LENGTH, end - out)
            source = strings[code] >> LENGTH_BITS
            if source + length > out:  # the string that was just entered, whose last byte is its first
                for k in range(length):
                    decoded[out + k] = decoded[source + k]
            else:
                copy_word(decoded, source, out)
                done = EIGHT
                while done < length:
                    copy_word(decoded, source + done, out + done)
                    done += EIGHT
            string = (out << LENGTH_BITS) | (length + ONE)
            out += length
        if out == end:
            break
        if code == np.uint64(CLEAR):
            code_bits, next_code, grown = np.uint64(9), np.uint64(CLEAR + 1), np.uint64(511)
        elif code == np.uint64(END) or code >= next_code:
            return -1
        elif next_code == grown:
            if next_code >= np.uint64(CODES - 1):
                return -1
            if code_bits < np.uint64(12):
                code_bits += ONE
            grown = min((ONE << code_bits) - ONE, np.uint64(CODES - 1))
    return np.int64(out) - LITERALS


@kernel(helper=True, inline="always")
def copy_word(values, source, target):
    """Copy eight bytes, all of them read before one is written."""
    word = np.uint64(values[source])
    word |= np.uint64(values[source + ONE]) << EIGHT
    word |= np.uint64(values[source + np.uint64(2)]) << np.uint64(16)
    word |= np.uint64(values[source + np.uint64(3)]) << np.uint64(24)
    word |= np.uint64(values[source + np.uint64(4)]) << np.uint64(32)
    word |= np.uint64(values[source + np.uint64(5)]) << np.uint64(40)
    word |= np.uint64(values[source + np.uint64(6)]) << np.uint64(48)
    word |= np.uint64(values[source + np.uint64(7)]) << np.uint64(56)
    values[target] = word & np.uint64(255)
    values[target + ONE] = (word >> EIGHT) & np.uint64(255)
    values[target + np.uint64(2)] = (word >> np.uint64(16)) & np.uint64(255)
    values[target + np.uint64(3)] = (word >> np.uint64(24)) & np.uint64(255)
    values[target + np.uint64(4)] = (word >> np.uint64(32)) & np.uint64(255)
    values[target + np.uint64(5)] = (word >> np.uint64(40)) & np.uint64(255)
    values[target + np.uint64(6)] = (word >> np.uint64(48)) & np.uint64(255)
    values[target + np.uint64(7)] = word >> np.uint64(56)


@kernel()
def place_plain(
    decoded: NDArray[np.uint8],
    stored: NDArray[Any],
    blocks: NDArray[np.int64],
    layout: Layout,
    picked: NDArray[np.int64],
    row: Row,
    out: NDArray[Any],
) -> None:
    """Put the pixels of decompressed blocks into a window.

    Parameters
    ----------
    decoded, stored
        The blocks as bytes, one after another, and the same memory as unsigned integers.
    blocks, layout, picked, out
        As in `place_lzw`.
    row
        `Row`, to work with.
    """
    first = 0
    for index in range(blocks.shape[0]):
        place(decoded, stored, first, blocks[index], layout, picked, row, out)
        first += blocks[index, 4] * layout.width * layout.samples


@kernel(helper=True)
def place(decoded, stored, first, block, layout, picked, memory, out):
    """Undo the predictor of a block, which begins at `first` of `stored`, and put its pixels into a window."""
    row, column, rows = block[2], block[3], block[4]
    width, samples, predictor = layout
    line, octets = memory
    length = width * samples
    left, right = max(-column, 0), min(width, out.shape[2] - column)
    for y in range(max(-row, 0), min(rows, out.shape[1] - row)):
        base = np.uint64(first + y * length)
        if predictor == 3:
            restore_floats(decoded, base, length, samples, octets, line)
        elif predictor == 2 and samples == 1:
            # Keeping a number in a register is three times as fast as reading one just written to memory.
            total = np.uint64(0)
            for i in range(length):
                total += np.uint64(stored[base + np.uint64(i)])
                line[i] = total
        else:
            for i in range(length):
                line[i] = stored[base + np.uint64(i)]
            if predictor == 2:
                for i in range(samples, length):
                    line[i] += line[i - samples]
        for k in range(picked.size):
            offset = np.uint64(left * samples + picked[k])
            if samples == 1:
                for x in range(right - left):
                    out[k, row + y, np.uint64(column + left + x)] = line[offset + np.uint64(x)]
            else:
                for x in range(right - left):
                    out[k, row + y, np.uint64(column + left + x)] = line[offset + np.uint64(x * samples)]


@kernel(helper=True)
def restore_floats(decoded, base, length, samples, octets, line):
    """Undo the predictor of floating point numbers in one row (TIFF technical note 3).

    Their highest bytes come first, then their second highest; each is the difference from the one before.
    """
    itemsize = octets.size // line.size
    base *= np.uint64(itemsize)
    if samples == 1:
        total = np.uint64(0)
        for i in range(octets.size):
            total += np.uint64(decoded[base + np.uint64(i)])
            octets[i] = total & np.uint64(255)
    else:
        for i in range(octets.size):
            octets[i] = decoded[base + np.uint64(i)]
        for i in range(samples, octets.size):
            octets[i] += octets[i - samples]
    for i in range(length):
        value = np.uint64(0)
        for k in range(itemsize):
            value = (value << EIGHT) | np.uint64(octets[k * length + i])
        line[i] = value
