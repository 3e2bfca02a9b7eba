"""Cycles of a run from its counts: an exact model over how often each instruction retired and which way it went.

docs/pipelines.md ("Fast") says how; rvsim/timing/exact/flow.h does the sums.
"""

from __future__ import annotations

import struct
from collections import defaultdict

from rvsim.timing._exact import CAUSE_NAMES, NOWHERE, WORK, Pipeline
from rvsim.timing.effort import MOST_PAIRS, Effort
from rvsim.timing.jumps import Jump, match
from rvsim.timing.loopnest import natural_loops
from rvsim.timing.operation import KINDS, LAYOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeAlias

    Operation: TypeAlias = Callable[[int, int, int], bytes]

ROW = struct.Struct("<2I4H4Q")
"""`flow_row` of rvsim/machine/hart.h."""
RETIRED = struct.Struct("<5I2BH")
NEXT = struct.Struct("<2Id")
PLACE = struct.Struct("<2Id")
LOOP = struct.Struct("<2Id")
ECALL = LAYOUT.pack(KINDS.index("ecall"), 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
BRANCH, JAL, JALR, MRET = (KINDS.index(kind) for kind in ("branch", "jal", "jalr", "mret"))
NEVER_RETIRED = (0, 0, 0xFFFF, 4, 0, 0, 0, 0, 0, 0)
"""Fields of a row for an instruction that only trapped."""
DIVISIONS = range(KINDS.index("div"), KINDS.index("remu") + 1)
HIGH_PRODUCTS = range(KINDS.index("mulh"), KINDS.index("mulhu") + 1)
ACCESSES = range(KINDS.index("load"), KINDS.index("amo") + 1)
SPLIT = 3
"""Address within a word at which each access that can be split is."""
FEW_ROUNDS = 8
"""A loop that on average goes round more often is left after so many rounds, give or take one; one that goes round less
often, and not a whole number of times, as by lot."""
WHOLE = 1e-9
SIGNS = 67
"""Buckets of divisions for each sign of the dividend (hart.h, DIVIDE_BUCKETS)."""


class Counts:
    """What a run counted, as `Hart.control_flow` gives it.

    Attributes
    ----------
    rows : dict of int to Row
        By address.
    elsewhere : dict of (int, int) to int
        By address and region: accesses outside the home region.
    divides : dict of (int, int) to int
        By address and bucket.
    traps : dict of int to int
        By address: traps, and interrupts, before the instruction retired.
    """

    __slots__ = ("divides", "elsewhere", "rows", "traps")

    def __init__(
        self,
        rows: bytes,
        elsewhere: Mapping[tuple[int, int], int],
        divides: Mapping[tuple[int, int], int],
        traps: Mapping[int, int],
    ) -> None:
        self.rows: dict[int, Row] = {}
        for fields in ROW.iter_unpack(rows):
            row = self.rows.get(fields[0])
            if row is None:
                self.rows[fields[0]] = Row(fields)
            else:
                row.add(fields)
        self.elsewhere, self.divides, self.traps = dict(elsewhere), dict(divides), dict(traps)

    def since(self, before: Counts) -> Counts:
        """What was counted behind an earlier moment of the same run."""
        new = Counts(b"", {}, {}, {})
        for pc, row in self.rows.items():
            old = before.rows.get(pc)
            row = row.less(old) if old else row
            if row.executed:
                new.rows[pc] = row
        for name in ("elsewhere", "divides", "traps"):
            earlier = getattr(before, name)
            counts = {key: n - earlier.get(key, 0) for key, n in getattr(self, name).items()}
            setattr(new, name, {key: n for key, n in counts.items() if n})
        return new


class Row:
    """Of the instruction at one address: what it is and how often it went which way."""

    __slots__ = ("entered", "executed", "following", "instruction", "misaligned", "most", "size", "taken", "word")

    def __init__(self, fields: Sequence[int]) -> None:
        _, self.word, self.instruction, self.size, self.following, _, *counts = fields
        self.executed, self.taken, self.entered, self.misaligned = counts
        self.most = self.executed

    def add(self, fields: Sequence[int]) -> None:
        """The same address in another block; of several instructions, the one that retired most stands for it."""
        if fields[6] > self.most:
            self.most = fields[6]
            _, self.word, self.instruction, self.size, self.following = fields[:5]
        self.executed += fields[6]
        self.taken += fields[7]
        self.entered += fields[8]
        self.misaligned += fields[9]

    def less(self, other: Row) -> Row:
        """What was counted beyond another count of the same instruction."""
        new = object.__new__(Row)
        for name in ("word", "instruction", "size", "following", "most"):
            setattr(new, name, getattr(self, name))
        for name in ("executed", "taken", "entered", "misaligned"):
            setattr(new, name, getattr(self, name) - getattr(other, name))
        return new


class Expected:
    """What a counted run costs on one core with one memory.

    Attributes
    ----------
    cycles : float
        Of the whole run.
    executed : dict of int to int
        By address: times the instruction retired.
    by_pc : dict of int to float
        Of the instructions at an address, together.
    lost : dict of int to (dict of str to float)
        By address: cycles beyond an instruction's first, by cause.
    seen : dict of int to float
        Cycle in which the bus sees a store there, relative to the retirement before it.
    states : list of list of (bytes, float)
        States of the pipeline with their shares, at the addresses asked for.
    effort : dict of str to int
        What it took: states, nodes, sweeps.
    cut : bool
        The program is so made that not all was followed: cycles are less exact.
    """

    def __init__(
        self,
        counts: Counts,
        pcs: Sequence[int],
        costs: Sequence[Any],
        states: list[Any],
        effort: dict[str, int],
        cut: bool,
    ) -> None:
        self.executed = {pc: counts.rows[pc].executed if pc in counts.rows else 0 for pc in pcs}
        self.by_pc: dict[int, float] = {pc: cycles for pc, (cycles, _, _) in zip(pcs, costs, strict=True)}
        self.seen: dict[int, float] = {pc: seen for pc, (_, seen, _) in zip(pcs, costs, strict=True)}
        self.lost = {
            pc: {name: n for name, n in zip(CAUSE_NAMES, lost, strict=True) if n}
            for pc, (_, _, lost) in zip(pcs, costs, strict=True)
        }
        self.cycles = sum(self.by_pc.values())
        self.states, self.effort, self.cut = states, effort, cut


def expect(
    counts: Counts,
    pipeline: Pipeline,
    operation: Operation,
    places: Sequence[int],
    starts: Sequence[tuple[int, bytes | None, float]],
    watched: Sequence[int] = (),
    vectors: range = range(0),
    part: int = 1,
) -> Expected:
    """What a run cost.

    Parameters
    ----------
    counts : Counts
    pipeline : Pipeline
        The core's, at reset.
    operation : callable
        From an instruction's number, word and what follows it to `timing_op` (`rvsim.timing.operation.Operations`).
    places : sequence of int
        An address in each region, by its number; the last one is of the home region.
    starts : sequence of (pc, state, times)
        Where the run, or the part of it, began; state None: after reset.
    watched : sequence of int
        Addresses at which the pipeline's states are wanted.
    vectors : range
        Where trap handlers begin.
    part : int
        How many such questions share the work that may be done.

    Raises
    ------
    MemoryError
        The host has no room for the states of the pipeline.
    """
    graph = _Graph(counts, operation, places, starts, vectors)
    number = {pc: n for n, pc in enumerate(graph.pcs)}
    where = [(number[pc], state, times) for pc, state, times in starts if pc in number]
    costs, states, effort = pipeline.expect(
        graph.places, graph.outcomes, graph.loops, graph.members, where, [number[pc] for pc in watched], WORK // part
    )
    return Expected(counts, graph.pcs, costs, states, effort, graph.effort.cut or bool(effort["cut"]))


class _Graph:
    """Places and outcomes of a run, packed as flow.h has them."""

    def __init__(
        self,
        counts: Counts,
        operation: Operation,
        places: Sequence[int],
        starts: Sequence[tuple[int, Any, float]],
        vectors: range,
    ) -> None:
        self._counts, self._places = counts, places
        self.effort = Effort()
        # An ecall is reached and never retires.
        rows = {**{pc: Row(NEVER_RETIRED) for pc in counts.traps}, **counts.rows}
        self.pcs = sorted({pc for pc, row in rows.items() if row.executed > 0} | set(counts.traps))
        self._rows = rows
        self._number = {pc: n for n, pc in enumerate(self.pcs)}
        self._ops = {pc: operation(rows[pc].instruction, rows[pc].word, rows[pc].following) for pc in self.pcs}
        self._apart = defaultdict[int, list[tuple[int, int]]](list)
        for (pc, region), n in counts.elsewhere.items():
            self._apart[pc].append((places[region], n))
        self._divisions = defaultdict[int, list[tuple[int, int]]](list)
        for (pc, bucket), n in counts.divides.items():
            self._divisions[pc].append((bucket, n))
        ways = self._ways()
        came: dict[int, float] = defaultdict(float)
        for pc, _, times in starts:
            came[pc] += times
        for each in ways.values():
            for target, _, times in each:
                came[target] += times
        kinds = {pc: LAYOUT.unpack(self._ops[pc])[0] for pc in self.pcs}
        # What came to an instruction and did not retire trapped, or the run ended there; the rest came of traps.
        traps = counts.traps
        found = {pc: rows[pc].executed + traps.get(pc, 0) - came[pc] for pc in self.pcs}
        found = {pc: n for pc, n in found.items() if n > 0.5}
        handlers = {pc: n for pc, n in found.items() if pc in vectors} or found
        back = {pc: n for pc, n in found.items() if pc not in vectors} or found
        handlers = self._shares(handlers, MOST_PAIRS // max(len(traps), 1))
        back = self._shares(back, MOST_PAIRS // max(sum(kind == MRET for kind in kinds.values()), 1))
        for pc in self.pcs:
            if kinds[pc] == MRET:
                ways[pc] = [(target, 1, rows[pc].executed * share) for target, share in back.items()]
        self._find_loops(ways, [pc for pc, _, _ in starts] + list(found))
        packed, records = bytearray(), bytearray()
        count = 0
        for pc in self.pcs:
            row = rows[pc]
            reached = row.executed + (traps.get(pc, 0) if handlers else 0)
            first = count
            op = LAYOUT.unpack(self._ops[pc])
            for target, taken, times in ways[pc]:
                for address, rs1, rs2, share in self._variants(pc, row, op):
                    if times * share > 0:
                        records += self._ops[pc]
                        records += self._outcome(pc, target, taken, address, rs1, rs2, times * share / reached)
                        count += 1
            for target, share in handlers.items() if pc in traps else ():
                records += ECALL + self._outcome(pc, target, 1, 0, 0, 0, traps[pc] * share / reached)
                count += 1
            packed += PLACE.pack(first, count - first, reached)
        self.places, self.outcomes = bytes(packed), bytes(records)

    def _outcome(self, pc: int, target: int, taken: int, address: int, rs1: int, rs2: int, share: float) -> bytes:
        known = self._rows.get(target)
        size = known.size if known else 4
        retired = RETIRED.pack(pc, target, address, rs1, rs2, taken, size, 0)
        return retired + NEXT.pack(self._number.get(target, NOWHERE), 0, share)

    def _find_loops(self, ways: Mapping[int, Sequence[tuple[int, int, float]]], starts: Sequence[int]) -> None:
        """Loops, and how often each goes round by entry."""
        after = {pc: [t for t, _, times in each if times > 0 and t in self._number] for pc, each in ways.items()}
        loops, members = bytearray(), list[int]()
        for head, inside in natural_loops(after, [pc for pc in starts if pc in self._number], self.effort):
            if not self.effort.spend(sum(len(ways[pc]) for pc in inside)):
                break
            back = sum(times for pc in inside for target, _, times in ways[pc] if target == head)
            entries = self._rows[head].executed - back
            rounds = self._rows[head].executed / entries if entries > 0.5 else 0.0
            if rounds > FEW_ROUNDS or (rounds and abs(rounds - round(rounds)) < WHOLE):
                places = [self._number[head], *(self._number[pc] for pc in inside if pc != head)]
                loops += LOOP.pack(len(members), len(places), rounds)
                members += places
        self.loops, self.members = bytes(loops), struct.pack(f"<{len(members)}I", *members)

    def _ways(self) -> dict[int, list[tuple[int, int, float]]]:
        """By address: where the instruction led, whether that was a jump, and how often."""
        rows, jumps = self._rows, dict[int, Jump]()
        for pc in self.pcs:
            op, row = LAYOUT.unpack(self._ops[pc]), rows[pc]
            if op[0] in (BRANCH, JAL, JALR):
                target = (pc + op[11]) & 0xFFFF_FFFF
                jumps[pc] = Jump(KINDS[op[0]], (pc + row.size) & 0xFFFF_FFFF, target, op[2], op[3], row.executed)
        entered = {pc: rows[pc].entered for pc in self.pcs if rows[pc].entered}
        led = match(jumps, entered, self.pcs, self.effort)
        ways: dict[int, list[tuple[int, int, float]]] = {}
        for pc in self.pcs:
            row, jump = rows[pc], jumps.get(pc)
            if LAYOUT.unpack(self._ops[pc])[0] == MRET:
                ways[pc] = []  # where traps came from, which is not known yet
            elif jump is None:
                ways[pc] = [((pc + row.size) & 0xFFFF_FFFF, 0, row.executed)]
            elif jump.kind == "branch":
                ways[pc] = [(jump.target, 1, row.taken), (jump.behind, 0, row.executed - row.taken)]
            elif jump.kind == "jal":
                ways[pc] = [(jump.target, 1, row.executed)]
            else:
                ways[pc] = [(target, 1, times) for target, times in led[pc].items()] or [(0, 1, row.executed)]
        return ways

    def _shares(self, times: Mapping[int, float], most: int) -> dict[int, float]:
        if len(times) > max(most, 1):
            self.effort.cut = True
            times = dict(sorted(times.items(), key=lambda each: -each[1])[: max(most, 1)])
        total = sum(times.values())
        return {pc: n / total for pc, n in times.items()}

    def _variants(self, pc: int, row: Row, op: tuple[int, ...]) -> list[tuple[int, int, int, float]]:
        """Address and operands that stand for all of an instruction's, with their shares."""
        if op[0] in ACCESSES:
            home = row.executed - sum(n for _, n in self._apart.get(pc, ()))
            split = min(row.misaligned / row.executed, 1.0)
            return [
                (place + offset, 0, 0, n / row.executed * share)
                for place, n in [*self._apart.get(pc, ()), (self._places[-1], home)]
                for offset, share in ((0, 1 - split), (SPLIT, split))
                if n > 0 and share
            ] or [(self._places[-1], 0, 0, 1.0)]
        if op[0] in DIVISIONS and self._divisions.get(pc):
            total = sum(n for _, n in self._divisions[pc])
            return [(0, *_operands(bucket), n / total) for bucket, n in self._divisions[pc]]
        if op[0] in HIGH_PRODUCTS:
            # Signs are not counted: as many products of either.
            return [(0, 1, 1, 0.5), (0, 0x8000_0001, 1, 0.5)]
        return [(0, 1, 1, 1.0)]


def _operands(bucket: int) -> tuple[int, int]:
    """Dividend and divisor that stand for a bucket."""
    negative, bucket = divmod(bucket, SIGNS)
    divisor = 0
    if 0 < bucket < 34:
        divisor = 1 << (32 - bucket)
    elif bucket >= 34:
        zeros = bucket - 34
        divisor = ~(1 << (31 - zeros)) & 0xFFFF_FFFF if zeros < 32 else 0xFFFF_FFFF
    return (0x8000_0001 if negative else 1), divisor & 0xFFFF_FFFF
