"""Sums by function of what is known by address."""

from __future__ import annotations

from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rvsim.machine.elf import Symbol

NOWHERE = "(no function)"


class Functions:
    """Sums by function of what is known by address.

    Parameters
    ----------
    functions : sequence of Symbol
        By address.
    """

    def __init__(self, functions: Sequence[Symbol]) -> None:
        self._functions, self._starts = functions, [f.address for f in functions]

    def at(self, pc: int) -> int:
        """Number of the function that holds an address, -1 without one."""
        n = bisect_right(self._starts, pc) - 1
        return -1 if n >= 0 and pc >= self._functions[n].end else n

    def sums(self, by_pc: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Sum of (pc, number), by function; an address may appear more than once."""
        sums: dict[int, int] = {}
        for pc, value in by_pc:
            n = self.at(pc)
            sums[n] = sums.get(n, 0) + value
        return sums

    def named(self, by_pc: Iterable[tuple[int, Mapping[str, int]]]) -> dict[int, dict[str, int]]:
        """Sums by function and name."""
        sums: dict[int, dict[str, int]] = {}
        for pc, values in by_pc:
            of = sums.setdefault(self.at(pc), {})
            for name, value in values.items():
                of[name] = of.get(name, 0) + value
        return sums
