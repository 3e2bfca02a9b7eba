"""What an SRAM takes by its size and width: rows of CACTI, and what lies between them."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

CACTI = os.path.join(os.path.dirname(__file__), "cacti_sram.csv")
MAX_BANKS = 64
"""Of 256 KiB, the largest row: memories beyond are refused."""


class Sram(NamedTuple):
    """One memory at its process's nominal voltage.

    Attributes
    ----------
    read_pj, write_pj : float
        Energy of an access of its full width, in pJ.
    leakage_mw : float
        Leakage power in mW.
    area_mm2 : float
        Area in mm².
    spread : float
        1, or the factor by which an access may take more because the rows do not reach so far.
    """

    read_pj: float
    write_pj: float
    leakage_mw: float
    area_mm2: float
    spread: float = 1.0


class SramTable:
    """The memories of one process.

    Parameters
    ----------
    rows : dict of (int, int) to Sram
        By size in KiB and width in bits: a full grid.
    """

    def __init__(self, rows: dict[tuple[int, int], Sram]) -> None:
        self.rows = rows
        self.sizes = sorted({size for size, _ in rows})
        self.widths = sorted({width for _, width in rows})

    def lookup(self, size_kib: float, width_bits: float) -> Sram:
        """A memory of this size that is this wide.

        A row where there is one; between rows, straight lines through the logarithms. Below the smallest size and width
        the smallest, which is an upper bound. Wider than the widest: several side by side. Larger than the largest:
        banks of that size, of which an access takes one and the way there: its energy grows as from the last row but
        one to the last, and might grow as the way, by the square root of the banks.

        Raises
        ------
        ValueError
            The size or width is not positive, or the memory is larger than 64 of the largest row.
        """
        if not (0 < size_kib < math.inf and 0 < width_bits < math.inf):
            raise ValueError(f"expected a size and a width above 0, found {size_kib:g} KiB and {width_bits:g} bits")
        beside = max(1, math.ceil(width_bits / self.widths[-1]))
        size, width = size_kib / beside, width_bits / beside
        largest = self.sizes[-1]
        if size > MAX_BANKS * largest:
            raise ValueError(
                f"expected an SRAM of at most {MAX_BANKS * largest * beside} KiB, found one of {size_kib:g} KiB"
            )
        found = self._between(min(max(size, self.sizes[0]), largest), max(width, self.widths[0]))
        if size > largest:
            banks = size / largest
            before = self._between(self.sizes[-2], max(width, self.widths[0]))
            octaves = math.log2(banks)
            read, write = (now * (now / then) ** octaves for now, then in zip(found[:2], before[:2], strict=True))
            grown = min(read / found.read_pj, write / found.write_pj)
            spread = max(1.0, math.sqrt(banks) / grown)
            found = Sram(read, write, found.leakage_mw * banks, found.area_mm2 * banks, spread)
        read, write, leakage, area, spread = found
        return Sram(read * beside, write * beside, leakage * beside, area * beside, spread)

    def _between(self, size: float, width: float) -> Sram:
        lower, upper, share = _place(self.sizes, size)
        left, right, part = _place(self.widths, width)
        corners = [(lower, left), (upper, left), (lower, right), (upper, right)]
        weights = [(1 - share) * (1 - part), share * (1 - part), (1 - share) * part, share * part]
        return mix([(self.rows[corner], weight) for corner, weight in zip(corners, weights, strict=True)])


def mix(parts: list[tuple[Sram, float]]) -> Sram:
    """The weighted geometric mean of memories; one of weight 1 is itself."""
    parts = [(sram, weight) for sram, weight in parts if weight]
    if len(parts) == 1:
        return parts[0][0]
    columns = zip(*(sram for sram, _ in parts), strict=True)
    return Sram(*(math.exp(sum(w * math.log(v) for v, (_, w) in zip(c, parts, strict=True))) for c in columns))


def _place(steps: list[int], value: float) -> tuple[int, int, float]:
    """The steps around a value, and how far it is from the first to the second, by the logarithm."""
    at = min(max(bisect_right(steps, value) - 1, 0), len(steps) - 2)
    low, high = steps[at], steps[at + 1]
    share = math.log(value / low) / math.log(high / low)
    # At a row it is the row to the last digit.
    return low, high, 0.0 if value == low else 1.0 if value == high else share


@lru_cache(maxsize=1)
def cacti() -> dict[str, SramTable]:
    """The rows of CACTI 7 by the process's name: 1 to 256 KiB, 32, 64 and 128 bits.

    Source: CACTI 7 (Balasubramonian et al., "CACTI 7: New Tools for Interconnect Exploration in Innovative Off-Chip
    Memories", TACO 14(2), 2017), one bank, one read-write port, itrs-lop and itrs-hp transistors.
    """
    rows: dict[str, dict[tuple[int, int], Sram]] = {}
    with open(CACTI, encoding="ascii") as file:
        next(file)
        for line in file:
            process, size, width, *values = line.rstrip("\n").split(",")
            rows.setdefault(process, {})[int(size), int(width)] = Sram(*map(float, values))
    return {process: SramTable(each) for process, each in rows.items()}
