"""Guest programs in assembly that use all of a machine: traps, timer, UART, files, HTIF, code that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rvsim.asm import assemble
from rvsim.machine import Machine, snapshot
from rvsim.machine.elf import parse_elf

# Five timer interrupts; between them the program sleeps, or counts, and echoes what the UART's interrupt brings.
TIMER = """
        .text
_start: la t0, handler
        csrw mtvec, t0
        li s0, 0x02004000       # mtimecmp
        li s1, 0x10000000       # UART
        li s2, 400
        sw zero, 4(s0)
        sw s2, 0(s0)
        li t0, 1
        sb t0, 1(s1)            # received data
        li t0, 0x880
        csrw mie, t0
        csrwi mhpmevent3, 4     # taken branches
        csrwi mhpmcounter3, 9
        csrsi mstatus, 8
        li s3, 5
loop:   addi s4, s4, 1
        mul s5, s4, s4
        andi t1, s4, 7
        bnez t1, 1f
        wfi
1:      lw t2, 6(sp)            # misaligned
        bgtz s3, loop
        csrci mstatus, 8
        csrr s6, mhpmcounter3
        li t0, 0x100000
        li t1, 0x5555
        sw t1, 0(t0)
2:      j 2b
        .balign 4
handler: csrw mscratch, t0
        csrr t0, mcause
        andi t0, t0, 15
        addi t0, t0, -7
        bnez t0, 3f
        lw t0, 0(s0)
        li t1, 9000
        add t0, t0, t1
        sw t0, 0(s0)
        addi s3, s3, -1
        li t0, '.'
        sb t0, 0(s1)
        j 4f
3:      lbu t0, 5(s1)
        andi t0, t0, 1
        beqz t0, 4f
        lbu t0, 0(s1)
        sb t0, 0(s1)
4:      csrr t0, mscratch
        mret
"""

# Instructions that rewrite the ones behind them, in the running block and in another, with fence.i and without.
PATCHES = """
        .option norvc
_start: li s0, 40
        la s1, slot
        la s2, word
        lw s3, 0(s2)
        li s4, 1 << 20
loop:   add s3, s3, s4
        sw s3, 0(s1)
        andi t0, s0, 1
        beqz t0, slot
        fence.i
slot:   addi a0, a0, 0
        call far
        addi s0, s0, -1
        bnez s0, loop
        andi a0, a0, 127
        li a7, 93
        ecall
word:   addi a0, a0, 1
far:    la t1, own
        lw t2, 0(t1)
        add t2, t2, s4
        sw t2, 0(t1)
own:    addi a1, a1, 0
        ret
"""

# Echo of the input through HTIF, then exit code 5.
HTIF = """
_start: la s0, tohost
        la s1, fromhost
        li s2, 6
loop:   li t0, 0x01000000
        sw zero, 0(s0)
        sw t0, 4(s0)
1:      lw t1, 0(s1)
        beqz t1, 1b
        sw zero, 0(s1)
        sw zero, 4(s1)
        andi t1, t1, 255
        li t0, 0x01010000
        sw t1, 0(s0)
        sw t0, 4(s0)
        addi s2, s2, -1
        bnez s2, loop
        li t0, 11
        sw t0, 0(s0)
2:      j 2b
        .data
        .balign 64
        .globl tohost, fromhost
tohost: .dword 0
        .balign 64
fromhost: .dword 0
"""

# Files below --host-dir, the heap and pseudo-random numbers by Linux's calls, and a file by semihosting.
FILES = """
        .macro linux number
        li a7, \\number
        ecall
        .endm
        .macro host number
        li a0, \\number
        .option push
        .option norvc
        .balign 16
        slli x0, x0, 31
        ebreak
        srai x0, x0, 7
        .option pop
        .endm
_start: li a0, -100
        la a1, name
        li a2, 0x242            # O_RDWR | O_CREAT | O_TRUNC
        li a3, 0x1b6
        linux 56
        mv s0, a0
        la a1, block
        host 1                  # SYS_OPEN
        mv s1, a0
        la t0, block
        sw s1, 12(t0)
        li s2, 12
loop:   li a0, 0
        la a1, buffer
        li a2, 3
        linux 63
        mv s3, a0
        mv a0, s0
        la a1, buffer
        mv a2, s3
        linux 64
        la a1, buffer
        li a0, 1
        mv a2, s3
        linux 64
        la a1, block + 12
        host 5                  # SYS_WRITE
        addi s2, s2, -1
        bnez s2, loop
        mv a0, s0
        li a1, 1
        li a2, 0
        li a3, 0
        li a4, 0
        linux 62
        mv a0, s0
        la a1, buffer
        li a2, 5
        linux 63
        add s4, s4, a0
        li a0, 0
        linux 214
        addi a0, a0, 64
        linux 214
        li a0, 0
        li a1, 5000
        li a3, 0x22
        linux 222
        mv s6, a0
        li a1, 16
        linux 278
        lw s5, 0(s6)
        mv a0, s0
        linux 57
        mv a0, s4
        linux 93
        .data
block:  .word path, 4, 4        # "w"
        .word 0, buffer, 2
name:   .asciz "linux"
path:   .asciz "semi"
buffer: .zero 8
"""

# A reservation, atomic operations, protected memory and a counter that stands still.
ATOMICS = """
_start: la s0, place
        li s1, 9
        csrwi mcountinhibit, 4
        li t0, 0x20000400 >> 0
        csrw pmpaddr0, t0
        li t0, 0x99             # locked, NA4, read only
        csrw pmpcfg0, t0
        la t0, handler
        csrw mtvec, t0
loop:   lr.w t0, (s0)
        addi t0, t0, 3
        sc.w t1, t0, (s0)
        amoadd.w t2, s1, (s0)
        amomaxu.w t3, t2, (s0)
        sh s1, 1(s0)
        ecall
        addi s1, s1, -1
        bnez s1, loop
        csrwi mcountinhibit, 0
        csrw mtvec, zero
        li a7, 93
        ecall
        .balign 4
handler: csrr t4, mepc
        addi t4, t4, 4
        csrw mepc, t4
        csrr a1, mcycle
        mret
        .data
        .balign 4
place:  .word 5
"""

MAC = """
_start: li s0, 30
        li s1, 0x12345678
1:      mac.s s1, s0
        mac.u s0, s1
        addi s0, s0, -1
        bnez s0, 1b
        mac.low a0
        mac.high a1
        andi a0, a0, 63
        li a7, 93
        ecall
"""

INPUT = b"The quick brown fox jumps over the lazy dog, again and again."
ISA = "rv32imac_zba_zbb_zbs_zcb"
MAC_FILE = str(Path(__file__).with_name("mac.core_desc"))


class Guest:
    """A program, what it prints, and the input it reads."""

    def __init__(self, source: str | Path, **options: Any) -> None:
        self.source, self.options = source, options
        self.printed = bytearray()
        self.errors = bytearray()
        self._image = b""

    def streams(self) -> dict[str, Any]:
        """Of a process: its input begins at the beginning."""
        left = bytearray(INPUT)

        def read(size: int) -> bytes:
            data = bytes(left[:size])
            del left[:size]
            return data

        return {"stdout": self.printed.extend, "stderr": self.errors.extend, "stdin": read}

    def machine(self, **options: Any) -> Machine:
        options = {"isa": ISA, **self.options, **self.streams(), **options}
        if isinstance(self.source, Path):
            return Machine.from_elf(self.source, **options)
        if not self._image:
            from rvsim.machine.extension import load_extension

            sets = [load_extension(file) for file in self.options.get("isa_ext", ())]
            self._image = assemble(self.source, isa=ISA, isa_ext=sets)
        return Machine(parse_elf(self._image, "guest.elf"), **options)


EXAMPLES = Path(__file__).parents[2] / "kernels" / "examples"
PROGRAMS: dict[str, Any] = {
    "timer": (TIMER, {"core": "ibex-small"}),
    "patches": (PATCHES, {"core": "ibex-small"}),
    "htif": (HTIF, {}),
    "files": (FILES, {"args": ["one", "two"]}),
    "atomics": (ATOMICS, {"core": "ideal"}),
    "mac": (MAC, {"isa_ext": [MAC_FILE]}),
    "timer, caches": (TIMER, {"core": "ibex-small", "icache": "128,2,16,plru", "dcache": "64,2,8"}),
    "patches, caches": (PATCHES, {"icache": "64,2,16,random", "dcache": "64,2,16,random"}),
    "hello": (EXAMPLES / "hello.elf", {}),
    "conv": (EXAMPLES / "conv_int8.elf", {"accel": "on", "settings": {"accel.pe_rows": "2"}}),
    "dense": (EXAMPLES / "fc_int8.elf", {"core": "ibex-small"}),
}


def guest(name: str) -> Guest:
    """A new one of `PROGRAMS`."""
    source, options = PROGRAMS[name]
    return Guest(source, **options)


LIMIT = 2_000_000
"""Instructions that are more than any of them takes."""


def everything(m: Machine, g: Guest, folder: Path) -> dict[str, Any]:
    """All that a user could compare, and all that could make a difference later."""
    # What executed it is no count.
    result = m.result().replace(host_seconds=0.0, functions=[], engine="")
    state = snapshot.state_of(m)
    state["parts"]["hart"]["executed"].sort()
    # How input came is the process's own; how much of it is compared.
    state["parts"]["console"] = {key: state["parts"]["console"][key] for key in ("written", "read")}
    return {
        "result": result.to_dict(),
        "functions": {f.name: (f.instructions, f.cycles) for f in m.result().functions},
        "state": msgspec.to_builtins(state),
        "memory": m.hart.pages({}),
        "printed": bytes(g.printed),
        "files": {file.name: file.read_bytes() for file in folder.iterdir()},
    }
