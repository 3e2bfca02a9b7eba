"""Random programs that end by construction: forward transfers, counted loops and calls.

A program sets every register, runs a body of random instructions in some rounds, writes its 31 registers after each and
its data at the end to file descriptor 1.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rvsim.isa.ccode import instruction_class
from rvsim.isa.evaluate import Trap, execute
from rvsim.isa.ir import wrap
from rvsim.isa.names import CSRS
from rvsim.isa.select import DEFAULT, select
from tests.differential.program import (
    BY_NAME,
    DATA,
    DATA_STRIDE,
    HANDLER_REGISTERS,
    ISA,
    MACHINE_HANDLER,
    SAVED,
    TEXT,
    TEXT_STRIDE,
    Code,
    encode,
    find,
)

CENTRE = SAVED + 4096  # what pointers point at: any 12-bit offset, also from 2047 bytes on, stays inside
CORNERS = (0, 1, 0xFFFF_FFFF, 0x8000_0000, 0x7FFF_FFFF, 2, 0xFFFF_FFFE, 31, 32, 0x8000_0001, 0xFFFF, 0xFF, 0x8000, 0x80)
WRITE = 64  # host call
RA, SP, A0, A1, A2, A7 = 1, 2, 10, 11, 12, 17
CALL_REGISTERS = (A0, A1, A2, A7)
MEPC, MTVEC, MCAUSE, MTVAL = 0x341, 0x305, 0x342, 0x343
MAX_TRIES = 1000
# The evaluator's hart counts no events and protects no memory: tests/machine has those. mtvec is the handler's.
LEFT_TO_OTHERS = {MTVEC, *range(0x323, 0x340), *range(0x3A0, 0x3F0), *range(0xB03, 0xB20), *range(0xB83, 0xBA0)}
COMPARED_CSRS = [number for number in CSRS if number not in LEFT_TO_OTHERS]

CLASS = {name: instruction_class(i) for name, i in BY_NAME.items()}
ALU = ("alu", "multiply", "multiply-high", "divide", "fence", "fence-i")
CSR_ACCESSES = [n for n, c in CLASS.items() if c == "csr"]
# These end the program, wait, or need the machine's CSRs: bodies for qemu-riscv32 leave them out.
EXCLUDED = frozenset({*CSR_ACCESSES, "EBREAK", "C_EBREAK", "C_UNIMP", "MRET", "WFI"})


class Choice:
    """Names of the instructions of one selection, by what a program does with them."""

    def __init__(self, isa: str) -> None:
        on = zip(ISA.instructions, select(isa).enabled, strict=True)
        self.names = frozenset(i.name for i, enabled in on if enabled)

        def of(*classes: str) -> list[str]:
            return [n for n, c in CLASS.items() if c in classes and n in self.names]

        self.plain, self.accesses, self.branches = of(*ALU), of("load", "store"), of("branch")
        self.by_size = {size: [n for n in self.plain if BY_NAME[n].size == size] for size in (2, 4)}
        self.atomic = [n for n in of("atomic") if n not in ("LR_W", "SC_W")]
        jumps = [n for n in of("jump") if n != "JALR"]
        self.direct_jumps = [n for n in jumps if "imm" in {f.name for f in BY_NAME[n].fields}]

    def legal(self, word: int) -> bool:
        found = find(word)
        return found is not None and found.name in self.names


choice = functools.cache(Choice)


def signed_range(width: int) -> range:
    return range(-(1 << (width - 1)), 1 << (width - 1))


class _Probe:
    """A context that records which registers a behaviour writes."""

    def __init__(self) -> None:
        self.written: set[int] = set()

    def get(self, file: str, index: int | None) -> int:
        return 0

    def put(self, file: str, index: int | None, value: int) -> None:
        self.written.add(index or 0)

    def load(self, space: str, address: int, size: int, big_endian: bool) -> int:
        return 0

    def store(self, space: str, address: int, value: int, size: int, big_endian: bool) -> None:
        pass

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        return None


def written(word: int) -> set[int] | None:
    """Registers that an instruction writes when its registers are 0; None when it traps whatever they hold."""
    instruction = find(word)
    probe = _Probe()
    try:
        execute(instruction, word, TEXT, probe) if instruction else None
    except Trap:
        return None
    return probe.written


@dataclass(eq=False)
class Slot:
    """One place of a program: its instruction, and where it may go.

    Attributes
    ----------
    path : tuple of int
        The groups it lies in. A transfer may lead to a later slot of its own group or of one around that.
    floor : int
        Length of the shortest path a target may have: a function's body is left by its return alone.
    target : Slot or None
        Where a transfer leads.
    fix : callable, optional
        Gives the fields that depend on addresses.
    """

    name: str
    fields: dict[str, int]
    size: int
    path: tuple[int, ...] = ()
    floor: int = 0
    target: Slot | None = None
    seeks: bool = False
    fix: Callable[[Slot], dict[str, int]] | None = None
    raw: int | None = None
    address: int = 0

    def word(self) -> int:
        if self.raw is not None:
            return self.raw
        return encode(self.name, **self.fields, **(self.fix(self) if self.fix else {}))


# A place to patch, and the registers that what stands there may not write.
Site = tuple[Slot, set[int]]


def offset_to_target(slot: Slot) -> dict[str, int]:
    """The field of a relative branch or jump."""
    assert slot.target is not None
    return {"imm": slot.target.address - slot.address}


class Generator:
    """Makes one program; the same label and number give the same program.

    Parameters
    ----------
    label : str
        Seed.
    number : int
        Place in its ELF.
    length : int
        About how many items the body has.
    traps : bool
        With a trap handler, CSR accesses and instructions that trap: for machine mode only.
    modify : bool
        With stores into code: the text has to be writable.
    signals : bool
        With instructions that trap in machine mode and send a signal in qemu-riscv32; both handlers are `link`'s.
    rounds : int
        How often the body is executed.
    isa : str
        What there is to choose from, C included.
    """

    def __init__(
        self,
        label: str,
        number: int = 0,
        length: int = 150,
        traps: bool = False,
        modify: bool = False,
        signals: bool = False,
        rounds: int = 1,
        isa: str = DEFAULT,
    ) -> None:
        self.random = random.Random(label)
        self.label, self.number, self.length, self.rounds = label, number, length, rounds
        self.traps, self.modify, self.signals = traps, modify, signals
        self.choice = choice(isa)
        self.slots: list[Slot] = []
        self.path: tuple[int, ...] = ()
        self.floor = 0
        self.groups = itertools.count(1)
        self.far: list[tuple[list[Slot], int]] = []
        self.sites: list[Site] = []  # places to patch, and what is reserved there
        pick = self.random.sample
        # One pointer that compressed accesses reach, one anywhere, sometimes sp; and where the registers are saved.
        self.pointers = pick(range(8, 16), 1)
        others = pick([r for r in range(3, 32) if r not in (*self.pointers, *CALL_REGISTERS, *HANDLER_REGISTERS)], 5)
        self.pointers.append(others[0])
        if self.random.random() < 0.5:
            self.pointers.append(SP)
        self.save = others[1]
        self.reserved = {*self.pointers, self.save}
        self.handler_registers = HANDLER_REGISTERS if signals else tuple(others[2:5])
        if traps or signals:
            self.reserved |= {*self.handler_registers}
        self.hot = pick([r for r in range(1, 32) if r not in self.reserved], 6)

    # ------------------------------------------------------------ choices
    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def register(self) -> int:
        roll = self.random.random()
        return 0 if roll < 0.08 else self.random.choice(self.hot) if roll < 0.6 else self.random.randrange(32)

    def free(self, among: range = range(1, 32)) -> int:
        """A register that may be overwritten."""
        return self.random.choice([r for r in among if r not in self.reserved])

    def value(self) -> int:
        roll = self.random.random()
        if roll < 0.6:
            return self.random.choice(CORNERS)
        return self.random.getrandbits(32) if roll < 0.9 else 1 << self.random.randrange(32)

    def immediate(self, width: int, mask: int) -> int:
        top = 1 << (width - 1)
        low = mask & -mask
        corners = (0, low, mask, top, top - 1, 2 * low, top | low)
        return (self.random.choice(corners) if self.chance(0.3) else self.random.getrandbits(width)) & mask

    def fields(self, name: str, **given: int) -> dict[str, int]:
        """Random fields of an instruction, but for those given."""
        return {
            f.name: given[f.name] if f.name in given
            else self.immediate(f.width, f.encodable) if f.name not in ("rd", "rs1", "rs2")
            else self.register() if f.width == 5 else self.random.randrange(8)
            for f in BY_NAME[name].fields
        }  # fmt: skip

    def allowed(self, name: str, fields: dict[str, int]) -> bool:
        """Whether it encodes, does not trap, and writes no reserved register."""
        try:
            result = written(encode(name, **fields))
        except ValueError:
            return False
        return result is not None and not result & self.reserved

    # ------------------------------------------------------------ emitting
    def emit(self, name: str, fix: Callable[[Slot], dict[str, int]] | None = None, /, **fields: int) -> Slot:
        slot = Slot(name, fields, BY_NAME[name].size, self.path, self.floor, fix=fix)
        self.slots.append(slot)
        return slot

    def emit_raw(self, word: int) -> Slot:
        slot = Slot("raw", {}, 4 if word & 3 == 3 else 2, self.path, self.floor, raw=word)
        self.slots.append(slot)
        return slot

    @contextmanager
    def group(self, closed: bool = False) -> Iterator[None]:
        """Slots that no transfer from outside may enter; closed: and none from inside may leave."""
        path, floor = self.path, self.floor
        self.path = (*path, next(self.groups))
        if closed:
            self.floor = len(self.path)
        yield
        self.path, self.floor = path, floor

    @contextmanager
    def reserve(self, *registers: int) -> Iterator[None]:
        before = self.reserved
        self.reserved = before | {*registers}
        yield
        self.reserved = before

    def load_immediate(self, register: int, value: int | Callable[[], int]) -> None:
        """``li``; a value known only when addresses are takes lui and addi."""
        if not callable(value):
            small = wrap(value, 32, True)
            if small in signed_range(6) and register and self.chance(0.5):
                self.emit("C_LI", rd=register, imm=small)
                return
            if small in signed_range(12):
                self.emit("ADDI", rd=register, imm=small)
                return
        number: Callable[[], int] = value if callable(value) else lambda: value
        self.emit("LUI", lambda _: {"imm": number() + 0x800 & 0xFFFF_F000}, rd=register)
        with self.group():
            self.emit("ADDI", lambda _: {"imm": wrap(number(), 12, True)}, rd=register, rs1=register)

    # ------------------------------------------------------------ items of a body
    def plain(self, size: int | None = None) -> Slot:
        for _ in range(MAX_TRIES):
            name = self.random.choice(self.choice.by_size[size] if size else self.choice.plain)
            fields = self.fields(name)
            if self.allowed(name, fields):
                return self.emit(name, **fields)
        raise AssertionError("no instruction can be placed")

    def corner_operands(self) -> None:
        """An operation, divisions above all, on two corner values."""
        name = self.random.choice(
            [n for n in self.choice.plain if "rs2" in {f.name for f in BY_NAME[n].fields} and BY_NAME[n].size == 4]
        )
        first, second = self.free(), self.free()
        self.load_immediate(first, self.value())
        self.load_immediate(second, self.value())
        self.emit(name, rd=self.free() if self.chance(0.9) else 0, rs1=first, rs2=second)

    def access(self) -> None:
        for _ in range(MAX_TRIES):
            name = self.random.choice(self.choice.accesses)
            widths = {f.name: f.width for f in BY_NAME[name].fields}
            if "rs1" not in widths:
                if SP not in self.pointers:
                    continue
                fields = self.fields(name)
            else:
                base = self.pointers[0] - 8 if widths["rs1"] == 3 else self.random.choice(self.pointers)
                fields = self.fields(name, rs1=base)
            if "imm" in fields and self.chance(0.5):
                fields["imm"] &= ~3
            if self.allowed(name, fields):
                self.emit(name, **fields)
                return

    def computed_access(self) -> None:
        """An access whose address differs between executions."""
        address = self.free()
        self.emit("ANDI", rd=address, rs1=self.register(), imm=self.random.choice((0x7FF, 0x7FC, 0x7FE, 0x70, 0x3F)))
        with self.group(), self.reserve(address):
            self.emit("ADD", rd=address, rs1=address, rs2=self.random.choice(self.pointers))
            for _ in range(self.random.randint(1, 3)):
                name = self.random.choice([n for n in self.choice.accesses if BY_NAME[n].size == 4])
                fields = self.fields(name, rs1=address)
                if self.allowed(name, fields):
                    self.emit(name, **fields)

    def atomic(self) -> None:
        """An AMO, or a pair of lr.w and sc.w with no access between, which could lose the reservation or not."""
        address = self.free()
        self.emit("ANDI", rd=address, rs1=self.random.choice(self.pointers), imm=-4)
        with self.group(), self.reserve(address):
            if self.chance(0.5):
                self.emit("ADDI", rd=address, rs1=address, imm=4 * self.random.randrange(-400, 400))
            if self.chance(0.6):
                names = [self.random.choice(self.choice.atomic)]
            else:
                names = ["LR_W", *["SC_W"] * self.random.choice((1, 1, 1, 2))]
            for name in names:
                for _ in range(self.random.choice((0, 0, 1, 2)) if name == "SC_W" else 0):
                    self.plain()
                self.emit(name, **self.fields(name, rd=self.free(), rs1=address))

    def transfer(self) -> None:
        """A branch or jump forward."""
        for _ in range(MAX_TRIES):
            name = self.random.choice([*self.choice.branches, *self.choice.direct_jumps])
            fields = self.fields(name, imm=0)
            if self.allowed(name, fields):
                del fields["imm"]
                self.emit(name, offset_to_target, **fields).seeks = True
                return

    def computed_jump(self) -> None:
        """A jump forward through a register."""
        name = self.random.choice(("JALR", "C_JR", "C_JALR"))
        if name == "C_JALR" and RA in self.reserved:
            name = "C_JR"
        register, odd = self.free(), self.random.getrandbits(1)
        offset = self.random.choice((0, self.random.randrange(-2048, 2048))) if name == "JALR" else 0
        relative = self.chance(0.5)
        jump: Slot | None = None

        def distance(first: Slot) -> int:
            assert jump is not None and jump.target is not None
            wanted = jump.target.address + odd - offset
            return (wanted - (first.address if relative else 0)) & 0xFFFF_FFFF

        first = self.emit(
            "AUIPC" if relative else "LUI", lambda s: {"imm": distance(s) + 0x800 & 0xFFFF_F000}, rd=register
        )
        with self.group():
            self.emit("ADDI", lambda _: {"imm": wrap(distance(first), 12, True)}, rd=register, rs1=register)
            if name == "JALR":
                link = self.random.choice((0, register, self.free()))
                # offset + odd may be even: bit 0 of the sum is what has to go.
                jump = self.emit("JALR", rd=link, rs1=register, imm=offset)
            else:
                jump = self.emit(name, rs1=register)
        jump.seeks = True

    def loop(self, depth: int) -> None:
        counter = self.free(range(8, 16)) if self.chance(0.5) else self.free()
        self.load_immediate(counter, 20 if depth == 0 and self.chance(0.1) else self.random.randint(1, 5))
        with self.group(), self.reserve(counter):
            start = self.plain()
            first = len(self.slots) - 1
            # Executed, replaced, and executed again in the next round.
            site = self.site(self.random.choice((2, 4))) if self.modify else None
            for _ in range(self.random.randint(1, 8)):
                self.item(depth + 1)
            if site is not None:
                self.patch(site)
            if self.chance(0.5):
                self.emit("C_ADDI", rd=counter, imm=-1)
            else:
                self.emit("ADDI", rd=counter, rs1=counter, imm=-1)
            near = sum(s.size for s in self.slots[first:]) < 250
            with self.group():
                name = self.random.choice(("BNE", "BLT", "BLTU", "C_BNEZ"))
                if name == "C_BNEZ" and near and 8 <= counter < 16:
                    back = self.emit("C_BNEZ", rs1=counter - 8)
                elif name in ("BLT", "BLTU"):
                    back = self.emit(name, rs1=0, rs2=counter)
                else:
                    back = self.emit("BNE", rs1=counter, rs2=0)
                back.target, back.fix = start, offset_to_target

    def function(self, depth: int) -> None:
        """A function behind a jump around it, and calls of it."""
        link = RA if RA not in self.reserved and self.chance(0.5) else self.free()
        around = self.emit("C_J", offset_to_target) if self.chance(0.5) else self.emit("JAL", offset_to_target, rd=0)
        with self.reserve(link):
            with self.group(closed=True):
                start = self.plain()
                site = self.site(self.random.choice((2, 4))) if self.modify else None
                for _ in range(self.random.randint(0, 4)):
                    self.item(depth + 1)
                self.emit("C_JR", rs1=link) if self.chance(0.5) else self.emit("JALR", rs1=link)
            if sum(s.size for s in self.slots) - sum(s.size for s in self.slots[: self.slots.index(around)]) > 1500:
                around.name, around.fields, around.size = "JAL", {"rd": 0}, 4
        for n in range(self.random.randint(1, 3)):
            near = sum(s.size for s in self.slots[self.slots.index(start) :]) < 1500
            call = (
                self.emit("C_JAL", offset_to_target)
                if link == RA and near and self.chance(0.5)
                else self.emit("JAL", offset_to_target, rd=link)
            )
            call.target = start
            if n == 0:
                around.target = call
            if site is not None:
                self.patch(site)
            elif self.chance(0.5):
                self.plain()

    def site(self, size: int) -> Site:
        """An instruction that patches may replace, and what is reserved where it lies."""
        site = self.plain(size), self.reserved
        self.sites.append(site)
        return site

    def patch(self, old: Site | None = None) -> None:
        """Store another instruction over a place in the code: this one, another one behind, or one ahead."""
        if old is None and self.sites and self.chance(0.4):
            old = self.random.choice(self.sites)
        size = old[0].size if old else self.random.choice((2, 4))
        word = self._replacement(size, old[1] if old else self.reserved)
        value = self.free()
        self.load_immediate(value, word)
        site = old[0] if old else None

        def at() -> int:
            assert site is not None
            return site.address

        with self.group(), self.reserve(value):
            address = self.free()
            self.load_immediate(address, at)
            with self.group(), self.reserve(address):
                if self.chance(0.3):
                    self.emit("LHU", rd=self.free(), rs1=address)
                if size == 4 and self.chance(0.3):
                    # By halves: between the stores the place holds a mixture, which nobody executes.
                    high = self.free()
                    self.emit("SH", rs1=address, rs2=value)
                    self.emit("SRLI", rd=high, rs1=value, shamt=16)
                    self.emit("SH", rs1=address, rs2=high, imm=2)
                else:
                    self.emit("SW" if size == 4 else "SH", rs1=address, rs2=value)
                self.emit("FENCE_I")
        if site is None:
            for _ in range(self.random.randint(0, 2)):
                self.plain()
            site, _ = self.site(size)

    def far_patch(self) -> None:
        """Store one of two instructions, by turns, over a place behind the body, no code before the first store."""
        place: list[Slot] = []
        size = self.random.choice((2, 4))
        first, second = (self._replacement(size, self.reserved) for _ in range(2))
        value = self.free()
        self.emit("LW", rd=value, rs1=self.save, imm=SAVED - 4)  # rounds to go
        with self.group(), self.reserve(value):
            mask = self.free()
            self.emit("ANDI", rd=value, rs1=value, imm=1)
            self.emit("SUB", rd=value, rs2=value)
            self.load_immediate(mask, first ^ second)
            self.emit("AND", rd=value, rs1=value, rs2=mask)
            self.load_immediate(mask, second)
            self.emit("XOR", rd=value, rs1=value, rs2=mask)
            self.load_immediate(mask, lambda: place[0].address)
            self.emit("SW" if size == 4 else "SH", rs1=mask, rs2=value)
            self.emit("FENCE_I")
        self.far.append((place, size))

    def far_sites(self) -> None:
        """The places of far patches, each behind some code."""
        for place, size in self.far:
            for _ in range(self.random.randint(0, 30)):
                self.plain()
            place.append(self.plain(size))

    def _replacement(self, size: int, reserved: set[int]) -> int:
        """The bits of one instruction, or of two compressed ones, that write none of these registers."""
        count = len(self.slots)
        with self.reserve(*reserved):
            sizes = [2, 2] if size == 4 and self.chance(0.3) else [size]
            word = sum(self.plain(each).word() << (16 * n) for n, each in enumerate(sizes))
        del self.slots[count:]
        return word

    def trap(self) -> None:
        """An instruction that traps, or touches CSRs."""
        kind = self.random.randrange(3 if self.signals else 5)
        if kind == 0:
            self.emit(self.random.choice(("EBREAK", "C_EBREAK", "C_UNIMP", "EBREAK" if self.signals else "ECALL")))
        elif kind == 1:
            word = self.random.getrandbits(32) | 3 if self.chance(0.5) else self.random.getrandbits(16)
            word = word if word & 3 == 3 else word & 0xFFFF
            if not self.choice.legal(word):
                self.emit_raw(word)
        elif kind == 2:
            register = self.free()
            # Both machines have nothing in the first page; the rest of their memory differs.
            edges = (
                (0, 4, 0xFF0)
                if self.signals
                else (
                    0,
                    TEXT - 4,
                    TEXT - 8 if self.modify else TEXT + 8,
                    DATA - 2,
                    DATA - 1,
                    0xFFFF_FFFF,
                    0xFFFF_FFFE,
                    0xFFFF_FFFC,
                    0x4000_0000,
                )
            )
            self.load_immediate(register, self.random.choice(edges))
            with self.group():
                name = self.random.choice([n for n in self.choice.accesses if BY_NAME[n].size == 4])
                fields = self.fields(name, rs1=register, imm=self.random.choice((0, 0, 1, -1 * (not self.signals))))
                if self.allowed(name, fields):
                    self.emit(name, **fields)
        elif kind == 3:
            # mret as a jump forward.
            register = self.free()
            back: Slot | None = None

            def to() -> int:
                assert back is not None and back.target is not None
                return back.target.address

            self.load_immediate(register, to)
            with self.group():
                self.emit("CSRRW", csr=MEPC, rs1=register)
                back = self.emit("MRET")
            back.seeks = True
        else:
            name = self.random.choice(CSR_ACCESSES)
            number = self.random.choice(COMPARED_CSRS) if self.chance(0.9) else self.random.getrandbits(12)
            fields = self.fields(name, csr=number)
            if (number in COMPARED_CSRS or number not in CSRS) and self.allowed(name, fields):
                self.emit(name, **fields)

    def item(self, depth: int = 0) -> None:
        roll = self.random.random()
        if (self.traps or self.signals) and self.chance(0.15):
            self.trap()
        elif self.modify and self.chance(0.12):
            self.far_patch() if self.rounds > 1 and self.chance(0.1) else self.patch()
        elif roll < 0.5:
            self.plain()
        elif roll < 0.56:
            self.corner_operands()
        elif roll < 0.60:
            self.load_immediate(self.free(), self.value())
        elif roll < 0.64 and self.choice.atomic:
            self.atomic()
        elif roll < 0.76:
            self.access()
        elif roll < 0.80:
            self.computed_access()
        elif roll < 0.90:
            self.transfer()
        elif roll < 0.93:
            self.computed_jump()
        elif depth < 2:
            self.loop(depth) if roll < 0.97 else self.function(depth)
        else:
            self.plain()

    # ------------------------------------------------------------ the whole program
    def program(self) -> Code:
        buffer = DATA + self.number * DATA_STRIDE
        registers = [r for r in range(1, 32) if r not in self.pointers and r != self.save]
        self.random.shuffle(registers)
        if self.traps:
            handler: list[Slot] = []
            self.load_immediate(self.handler_registers[0], lambda: handler[0].address)
            self.emit("CSRRW", csr=MTVEC, rs1=self.handler_registers[0])
        for r in registers:
            self.load_immediate(r, self.value() if self.chance(0.85) else buffer + self.random.randrange(DATA_STRIDE))
        for r in self.pointers:
            self.load_immediate(r, buffer + CENTRE + (0 if self.chance(0.6) else self.random.randrange(4)))
        self.load_immediate(self.save, buffer)
        again = self.emit("C_NOP")
        if self.signals:
            self.load_immediate(self.handler_registers[0], MACHINE_HANDLER)
            self.emit("CSRRW", csr=MTVEC, rs1=self.handler_registers[0])
            self.emit("ADDI", rd=self.handler_registers[0])
            self.emit("ADDI", rd=self.handler_registers[1])
        first = len(self.slots)
        for _ in range(self.length):
            self.item()
        self.far_sites()
        end = self.emit("C_NOP")
        # Without what sets the registers before, programs would differ by what a peer starts with.
        body = range(first, len(self.slots) - 1)
        if self.traps or self.signals:
            self.emit("CSRRWI", csr=MTVEC)
        for r in range(1, 32):
            self.emit("SW", rs1=self.save, rs2=r, imm=4 * (r - 1))
        self.write(0, SAVED)
        self.emit("LW", rd=A0, rs1=self.save, imm=SAVED - 4)
        self.emit("ADDI", rd=A0, rs1=A0, imm=-1)
        self.emit("SW", rs1=self.save, rs2=A0, imm=SAVED - 4)
        self.emit("BEQ", rs1=A0, imm=24)
        for r in CALL_REGISTERS:
            self.emit("LW", rd=r, rs1=self.save, imm=4 * (r - 1))
        self.emit("JAL", offset_to_target).target = again
        self.write(0, DATA_STRIDE)
        last = self.emit("JAL")
        if self.traps:
            handler += self.trap_handler()
        self._lay_out(end)
        words = tuple((s.address, s.word(), s.size) for s in self.slots)
        return Code(self.label, self.number, words, body, self.slots.index(last), self.rounds)

    def write(self, offset: int, size: int) -> None:
        """Write a part of the program's data to standard output."""
        self.emit("ADDI", rd=A1, rs1=self.save, imm=offset)
        self.load_immediate(A0, 1)
        self.load_immediate(A2, size)
        self.load_immediate(A7, WRITE)
        self.emit("ECALL")

    def trap_handler(self) -> list[Slot]:
        """Hash mcause and mtval, step over the instruction, return. mtvec holds aligned addresses only."""
        pc, scratch, digest = self.handler_registers
        if sum(s.size for s in self.slots) % 4:
            self.emit("C_NOP")
        first = len(self.slots)
        for csr in (MCAUSE, MTVAL):
            self.emit("CSRRS", rd=scratch, csr=csr)
            self.emit("ADD", rd=digest, rs1=digest, rs2=scratch)
        self.emit("SLLI", rd=scratch, rs1=digest, shamt=5)
        self.emit("ADD", rd=digest, rs1=digest, rs2=scratch)
        self.emit("CSRRS", rd=pc, csr=MEPC)
        self.emit("LHU", rd=scratch, rs1=pc)
        self.emit("ANDI", rd=scratch, rs1=scratch, imm=3)
        self.emit("ADDI", rd=scratch, rs1=scratch, imm=-3)
        self.emit("ADDI", rd=pc, rs1=pc, imm=2)
        self.emit("BNE", rs1=scratch, rs2=0, imm=8)
        self.emit("ADDI", rd=pc, rs1=pc, imm=2)
        self.emit("CSRRW", csr=MEPC, rs1=pc)
        self.emit("MRET")
        return self.slots[first:]

    def _lay_out(self, end: Slot) -> None:
        """Give every slot its address, then every transfer its target."""
        at = TEXT + (self.number + 1) * TEXT_STRIDE
        for slot in self.slots:
            slot.address = at
            at += slot.size
        if at > TEXT + (self.number + 2) * TEXT_STRIDE:
            raise AssertionError(f"program {self.label} takes more than {TEXT_STRIDE} bytes")
        for n, slot in enumerate(self.slots):
            if not slot.seeks:
                continue
            imm = next((f for f in BY_NAME[slot.name].fields if f.name == "imm"), None)
            reach = (1 << (imm.width - 1)) - 2 if imm and slot.name != "JALR" else 1 << 20
            targets = [
                t
                for t in self.slots[n + 1 : n + 60]
                if slot.floor <= len(t.path)
                and t.path == slot.path[: len(t.path)]
                and t.address - slot.address <= reach
                and t.address <= end.address
            ]
            if targets:
                slot.target = self.random.choice(targets[:8] if self.chance(0.7) else targets)
            elif imm is not None and slot.name != "JALR":
                slot.name, slot.fields, slot.fix = ("ADDI", {}, None) if slot.size == 4 else ("C_NOP", {}, None)
            else:
                # A computed jump has no short reach; the slot behind it always serves.
                slot.target = self.slots[n + 1]
