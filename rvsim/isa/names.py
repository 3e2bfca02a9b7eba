"""Names that the field gives to numbers: registers, CSRs, exception causes."""

from __future__ import annotations

# RISC-V ABIs Specification, integer register convention.
REGISTERS = (
    "zero",
    "ra",
    "sp",
    "gp",
    "tp",
    "t0",
    "t1",
    "t2",
    "s0",
    "s1",
    "a0",
    "a1",
    "a2",
    "a3",
    "a4",
    "a5",
    "a6",
    "a7",
    "s2",
    "s3",
    "s4",
    "s5",
    "s6",
    "s7",
    "s8",
    "s9",
    "s10",
    "s11",
    "t3",
    "t4",
    "t5",
    "t6",
)

# Privileged Architecture 20240411, chapter 2; 0xFC0 is ours (docs/architecture.md).
CSRS = {
    0x300: "mstatus",
    0x301: "misa",
    0x304: "mie",
    0x305: "mtvec",
    0x310: "mstatush",
    0x320: "mcountinhibit",
    **{0x320 + n: f"mhpmevent{n}" for n in range(3, 32)},
    0x340: "mscratch",
    0x341: "mepc",
    0x342: "mcause",
    0x343: "mtval",
    0x344: "mip",
    **{0x3A0 + n: f"pmpcfg{n}" for n in range(4)},
    **{0x3B0 + n: f"pmpaddr{n}" for n in range(16)},
    0x7A0: "tselect",
    0x7A1: "tdata1",
    0x7A2: "tdata2",
    0x7A3: "tdata3",
    0x7A4: "tinfo",
    0xB00: "mcycle",
    0xB02: "minstret",
    **{0xB00 + n: f"mhpmcounter{n}" for n in range(3, 32)},
    0xB80: "mcycleh",
    0xB82: "minstreth",
    **{0xB80 + n: f"mhpmcounter{n}h" for n in range(3, 32)},
    0xC00: "cycle",
    0xC01: "time",
    0xC02: "instret",
    **{0xC00 + n: f"hpmcounter{n}" for n in range(3, 32)},
    0xC80: "cycleh",
    0xC81: "timeh",
    0xC82: "instreth",
    **{0xC80 + n: f"hpmcounter{n}h" for n in range(3, 32)},
    0xF11: "mvendorid",
    0xF12: "marchid",
    0xF13: "mimpid",
    0xF14: "mhartid",
    0xF15: "mconfigptr",
    0xFC0: "coprocessor capability",
}
CSR_NUMBERS = {name: number for number, name in CSRS.items()}

# Privileged Architecture 20240411, table of mcause.
EXCEPTIONS = {
    0: "instruction address misaligned",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "load address misaligned",
    5: "load access fault",
    6: "store address misaligned",
    7: "store access fault",
    11: "environment call from M-mode",
}

# Opcodes that the base ISA reserves for custom extensions (Unprivileged ISA, opcode map).
CUSTOM_OPCODES = {0x0B: "custom-0", 0x2B: "custom-1", 0x5B: "custom-2", 0x7B: "custom-3"}
