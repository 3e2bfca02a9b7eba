"""Which indirect jump led where, from how often each jumped and how often each address was jumped to."""

from __future__ import annotations

from collections import defaultdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LINKS = (1, 5)
"""Registers that calls leave the return address in (Unprivileged Architecture 20240411, table 3)."""
ROUNDS = 40


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


def match(jumps: Mapping[int, Jump], entered: Mapping[int, int], order: Iterable[int]) -> dict[int, dict[int, float]]:
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

    Returns
    -------
    dict of int to dict of int to float
        By address of the jump: times it led to an address.
    """
    sites = {jump.behind: jump for jump in jumps.values() if jump.calls}
    elsewhere = [t for t in entered if t not in sites]
    addresses = list(order)
    ends = _Ends(jumps, addresses, elsewhere)
    anywhere = {pc for target in elsewhere for pc in ends.of(target)}
    others = [pc for pc, jump in jumps.items() if jump.kind == "jalr" and not jump.returns]
    pairs: dict[tuple[int, int], float] = {}
    for target, count in entered.items():
        call = sites.get(target)
        candidates: Iterable[int] = others
        if call is not None:
            candidates = ends.of(call.target) if call.kind == "jal" else anywhere
        for pc in candidates:
            pairs[pc, target] = float(jumps[pc].count) * count
    rows = {pc: jump.count for pc, jump in jumps.items() if jump.kind == "jalr"}
    for _ in range(ROUNDS):
        for side, wanted in ((0, rows), (1, entered)):
            sums: dict[int, float] = defaultdict(float)
            for pair, times in pairs.items():
                sums[pair[side]] += times
            for pair in pairs:
                if sums[pair[side]]:
                    pairs[pair] *= wanted[pair[side]] / sums[pair[side]]
    led: dict[int, dict[int, float]] = {pc: {} for pc in rows}
    short, free = dict[int, float](rows), dict[int, float](entered)
    for (pc, target), times in pairs.items():
        led[pc][target] = times
        short[pc] -= times
        free[target] -= times
    # Jumps that no pair explains, into functions by tricks of their own, lead to what nothing explains.
    unknown = {t: n for t, n in free.items() if n > 0.5}
    total = sum(unknown.values())
    for pc, missing in short.items():
        if missing > 0.5 and total:
            for target, n in unknown.items():
                led[pc][target] = led[pc].get(target, 0.0) + missing * n / total
    return led


class _Ends:
    """The returns that end a function, by its first instruction: those it reaches without those of what it calls."""

    def __init__(self, jumps: Mapping[int, Jump], addresses: list[int], elsewhere: list[int]) -> None:
        self._jumps, self._elsewhere = jumps, elsewhere
        self._known: dict[int, frozenset[int]] = {}
        # From any address to the next jump at or behind it.
        self._next: dict[int, int | None] = {}
        following: int | None = None
        for pc in reversed(addresses):
            following = pc if pc in jumps else following
            self._next[pc] = following

    def of(self, entry: int) -> frozenset[int]:
        if entry not in self._known:
            found, seen, todo = set(), set(), [entry]
            while todo:
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
                else:  # a table of addresses, or a function called in place of a return
                    todo += self._elsewhere
            self._known[entry] = frozenset(found)
        return self._known[entry]
