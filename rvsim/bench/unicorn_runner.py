"""Runs one guest ELF under Unicorn, with the host calls write and exit: a program of its own, for `rvsim bench`."""

from __future__ import annotations

import os
import sys

PAGE = 0x1000
STACK_TOP, STACK_SIZE = 0x7FFF0000, 0x100000
WRITE, EXIT, EXIT_GROUP = 64, 93, 94
ECALL_U, ECALL_M = 8, 11


def run(path: str) -> int:
    """Run the guest to its exit call and return its status."""
    from elftools.elf.elffile import ELFFile
    from unicorn import UC_ARCH_RISCV, UC_HOOK_INTR, UC_MODE_RISCV32, Uc, riscv_const

    hart = Uc(UC_ARCH_RISCV, UC_MODE_RISCV32)
    pages: set[int] = set()
    with open(path, "rb") as file:
        elf = ELFFile(file)
        segments = [(s["p_vaddr"], s["p_memsz"], s.data()) for s in elf.iter_segments("PT_LOAD")]
        entry = elf["e_entry"]
    for address, size, _ in [*segments, (STACK_TOP - STACK_SIZE, STACK_SIZE, b"")]:
        pages.update(range(address // PAGE, -(-(address + size) // PAGE)))
    for page in sorted(pages):
        hart.mem_map(page * PAGE, PAGE)
    for address, _, data in segments:
        hart.mem_write(address, data)
    hart.reg_write(riscv_const.UC_RISCV_REG_SP, STACK_TOP - 16)
    status = 70

    def interrupt(uc: Uc, cause: int, _user_data: object) -> None:
        nonlocal status
        if cause not in (ECALL_U, ECALL_M):
            uc.emu_stop()
            return
        number = uc.reg_read(riscv_const.UC_RISCV_REG_A7)
        argument = [uc.reg_read(getattr(riscv_const, f"UC_RISCV_REG_A{i}")) for i in range(3)]
        if number in (EXIT, EXIT_GROUP):
            status = argument[0] & 0xFF
            uc.emu_stop()
        elif number == WRITE and argument[0] in (1, 2):
            uc.reg_write(riscv_const.UC_RISCV_REG_A0, os.write(argument[0], uc.mem_read(argument[1], argument[2])))
        else:
            uc.reg_write(riscv_const.UC_RISCV_REG_A0, -38)

    hart.hook_add(UC_HOOK_INTR, interrupt)
    hart.emu_start(entry, 0)
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
