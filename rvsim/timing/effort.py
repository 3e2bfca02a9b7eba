"""What may be spent on a run's counts: programs made to cost much are answered less exactly, not later."""

from __future__ import annotations

MOST_PAIRS = 1 << 17
"""Jumps with places they may have led to, and traps with handlers: above what programs have."""
MOST_STEPS = 1 << 23
"""Steps through the graph of a program; some seconds."""

CUT = "the program has more ways through it than are followed one by one; its cycles are less exact than usual"


class Effort:
    """Steps that may still be taken.

    Attributes
    ----------
    cut : bool
        They did not suffice, and something was left out.
    """

    __slots__ = ("_left", "cut")

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self._left, self.cut = steps, False

    def spend(self, steps: int) -> bool:
        """Whether so many more may be taken."""
        if steps > self._left:
            self._left, self.cut = 0, True
            return False
        self._left -= steps
        return True
