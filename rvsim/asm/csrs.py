"""Names of CSRs in operands: all that GNU as knows for RV32 in machine, supervisor and user mode.

Privileged Architecture 20240411, chapter 2, tables of CSR addresses. What a machine has of them, it says when they are
accessed; names of rvsim.isa.names win.
"""

from __future__ import annotations

import functools

from rvsim.isa.names import CSR_NUMBERS

_SINGLE = {
    "fflags": 0x001,
    "frm": 0x002,
    "fcsr": 0x003,
    "cycle": 0xC00,
    "time": 0xC01,
    "instret": 0xC02,
    "cycleh": 0xC80,
    "timeh": 0xC81,
    "instreth": 0xC82,
    "sstatus": 0x100,
    "sie": 0x104,
    "stvec": 0x105,
    "scounteren": 0x106,
    "senvcfg": 0x10A,
    "sscratch": 0x140,
    "sepc": 0x141,
    "scause": 0x142,
    "stval": 0x143,
    "sip": 0x144,
    "satp": 0x180,
    "mvendorid": 0xF11,
    "marchid": 0xF12,
    "mimpid": 0xF13,
    "mhartid": 0xF14,
    "mconfigptr": 0xF15,
    "mstatus": 0x300,
    "misa": 0x301,
    "medeleg": 0x302,
    "mideleg": 0x303,
    "mie": 0x304,
    "mtvec": 0x305,
    "mcounteren": 0x306,
    "mstatush": 0x310,
    "mscratch": 0x340,
    "mepc": 0x341,
    "mcause": 0x342,
    "mtval": 0x343,
    "mip": 0x344,
    "mtinst": 0x34A,
    "mtval2": 0x34B,
    "menvcfg": 0x30A,
    "menvcfgh": 0x31A,
    "mseccfg": 0x747,
    "mseccfgh": 0x757,
    "mcycle": 0xB00,
    "minstret": 0xB02,
    "mcycleh": 0xB80,
    "minstreth": 0xB82,
    "mcountinhibit": 0x320,
    "tselect": 0x7A0,
    "tdata1": 0x7A1,
    "tdata2": 0x7A2,
    "tdata3": 0x7A3,
    "tinfo": 0x7A4,
    "tcontrol": 0x7A5,
    "mcontext": 0x7A8,
    "scontext": 0x5A8,
    "dcsr": 0x7B0,
    "dpc": 0x7B1,
    "dscratch0": 0x7B2,
    "dscratch1": 0x7B3,
}

# prefix, suffix, first number, last number, address of the first
_NUMBERED = (
    ("pmpcfg", "", 0, 15, 0x3A0),
    ("pmpaddr", "", 0, 63, 0x3B0),
    ("hpmcounter", "", 3, 31, 0xC03),
    ("hpmcounter", "h", 3, 31, 0xC83),
    ("mhpmcounter", "", 3, 31, 0xB03),
    ("mhpmcounter", "h", 3, 31, 0xB83),
    ("mhpmevent", "", 3, 31, 0x323),
)


@functools.cache
def csr_numbers() -> dict[str, int]:
    """Number of each CSR by name; names with spaces have underscores instead."""
    numbers = dict(_SINGLE)
    for prefix, suffix, first, last, address in _NUMBERED:
        numbers.update({f"{prefix}{n}{suffix}": address + n - first for n in range(first, last + 1)})
    numbers.update({name.replace(" ", "_"): number for name, number in CSR_NUMBERS.items()})
    return numbers
