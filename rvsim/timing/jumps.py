"""Which indirect jump led where, from how often each jumped and how often each address was jumped to."""

from __future__ import annotations

import functools
from collections import defaultdict

from rvsim.timing.effort import MOST_PAIRS, Effort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LINKS = (1, 5)
"""Registers that calls leave the return address in (Unprivileged Architecture 20240411, table 3)."""
ROUNDS = 40
SETTLED = 1e-9
"""Change of a factor from one round to the next; where every jump may have led everywhere, two rounds do."""


class Jump:
    """An instruction that may leave the straight line.

    Attributes
    ----------
    kind : str
        ``branch``, ``jal`` or ``jalr``.
    behind : int
        Address behind it.
    target : int
        Of a branch or jal.
    rd, rs1 : int
    count : int
        Times it retired.
    """

    __slots__ = ("behind", "count", "kind", "rd", "rs1", "target")

    def __init__(self, kind: str, behind: int, target: int, rd: int, rs1: int, count: int) -> None:
        self.kind, self.behind, self.target, self.rd, self.rs1, self.count = kind, behind, target, rd, rs1, count

    @property
    def calls(self) -> bool:
        return self.kind != "branch" and self.rd in LINKS

    @property
    def returns(self) -> bool:
        return self.kind == "jalr" and self.rd == 0 and self.rs1 in LINKS


def match(
    jumps: Mapping[int, Jump], entered: Mapping[int, int], order: Iterable[int], effort: Effort
) -> dict[int, dict[int, float]]:
    """How often each indirect jump led to each address.

    A return leads behind the calls of the functions it ends; that, and both counts, decide nearly all. What is left is
    shared in proportion (iterative proportional fitting).

    Parameters
    ----------
    jumps : mapping of int to Jump
        Every jump and branch that was executed, by address.
    entered : mapping of int to int
        Times that an address was reached by an indirect jump.
    order : iterable of int
        Addresses that were executed, ascending.
    effort : Effort
        Of too many pairs, those of targets that few jumps may lead to are told apart, the others are shared out anyhow.

    Returns
    -------
    dict of int to dict of int to float
        By address of the jump: times it led to an address.
    """
    sites = {jump.behind: jump for jump in jumps.values() if jump.calls}
    elsewhere = [t for t in entered if t not in sites]
    ends = _Ends(jumps, list(order), elsewhere, effort)
    others = frozenset(pc for pc, jump in jumps.items() if jump.kind == "jalr" and not jump.returns)
    candidates: dict[int, frozenset[int]] = {}
    for target in entered:
        call = sites.get(target)
        if call is None:
            candidates[target] = others
        else:
            candidates[target] = ends.of(call.target) if call.kind == "jal" else ends.anywhere
    pairs: dict[tuple[int, int], float] = {}
    for target in sorted(entered, key=lambda each: len(candidates[each])):
        if len(pairs) + len(candidates[target]) > MOST_PAIRS:
            effort.cut = True
            break
        for pc in candidates[target]:
            pairs[pc, target] = float(jumps[pc].count) * entered[target]
    rows = {pc: jump.count for pc, jump in jumps.items() if jump.kind == "jalr"}
    _fit(pairs, rows, entered)
    led: dict[int, dict[int, float]] = {pc: {} for pc in rows}
    short, free = dict[int, float](rows), dict[int, float](entered)
    for (pc, target), times in pairs.items():
        led[pc][target] = times
        short[pc] -= times
        free[target] -= times
    # Jumps that no pair explains, into functions by tricks of their own, lead to what nothing explains.
    missing = {pc: n for pc, n in short.items() if n > 0.5}
    unknown = {t: n for t, n in free.items() if n > 0.5}
    for pc, target, times in _spread(missing, unknown, effort):
        led[pc][target] = led[pc].get(target, 0.0) + times
    return led


def _spread(
    rows: Mapping[int, float], columns: Mapping[int, float], effort: Effort
) -> Iterator[tuple[int, int, float]]:
    """Rows' sums over columns: each by each, or if that is too much in their order (north-west corner rule)."""
    total = sum(columns.values())
    if len(rows) * len(columns) <= MOST_PAIRS:
        for pc, n in rows.items():
            for target, times in columns.items():
                yield pc, target, n * times / total
        return
    effort.cut = True
    scale, free = sum(rows.values()) / total, iter(columns.items())
    target, left = 0, 0.0
    for pc, n in rows.items():
        while n > 0:
            if left <= 0:
                target, left = next(free, (target, n / scale))
            times = min(n, left * scale)
            yield pc, target, times
            n, left = n - times, left - times / scale if times < left * scale else 0.0


def _fit(pairs: dict[tuple[int, int], float], rows: Mapping[int, int], columns: Mapping[int, int]) -> None:
    """Iterative proportional fitting of the pairs to the sums wanted of each row and column."""
    before: dict[int, float] = {}
    for _ in range(ROUNDS):
        factors: dict[int, float] = {}
        for side, wanted in ((0, rows), (1, columns)):
            sums: dict[int, float] = defaultdict(float)
            for pair, times in pairs.items():
                sums[pair[side]] += times
            factors = {key: wanted[key] / n if n else 1.0 for key, n in sums.items()}
            for pair in pairs:
                pairs[pair] *= factors[pair[side]]
        if before and all(abs(n - before[key]) <= SETTLED * n for key, n in factors.items()):
            return
        before = factors


class _Ends:
    """The returns that end a function, by its first instruction: those it reaches without those of what it calls."""

    def __init__(self, jumps: Mapping[int, Jump], addresses: list[int], elsewhere: list[int], effort: Effort) -> None:
        self._jumps, self._elsewhere, self._effort = jumps, elsewhere, effort
        self._known: dict[int, frozenset[int]] = {}
        # From any address to the next jump at or behind it.
        self._next: dict[int, int | None] = {}
        following: int | None = None
        for pc in reversed(addresses):
            following = pc if pc in jumps else following
            self._next[pc] = following

    def of(self, entry: int) -> frozenset[int]:
        if entry not in self._known:
            found, goes_anywhere = self._reach([entry])
            self._known[entry] = found | self.anywhere if goes_anywhere else found
        return self._known[entry]

    @functools.cached_property
    def anywhere(self) -> frozenset[int]:
        """Those of all that is entered by an indirect jump."""
        return self._reach(self._elsewhere)[0]

    def _reach(self, entries: Iterable[int]) -> tuple[frozenset[int], bool]:
        """And whether it jumps there: by a table of addresses, or by a function called in place of a return."""
        found, seen, todo, goes_anywhere = set(), set(), list(entries), False
        while todo and self._effort.spend(1):
            pc = self._next.get(todo.pop())
            if pc is None or pc in seen:
                continue
            seen.add(pc)
            jump = self._jumps[pc]
            if jump.returns:
                found.add(pc)
            elif jump.kind == "branch":
                todo += [jump.target, jump.behind]
            elif jump.calls:
                todo.append(jump.behind)
            elif jump.kind == "jal":
                todo.append(jump.target)
            else:
                goes_anywhere = True
        return frozenset(found), goes_anywhere
