"""Host-target interface: a program stores commands to `tohost` and finds answers in `fromhost`, as under Spike.

A command is 64 bits: device (63:56), command (55:48), payload (47:0); see riscv-isa-sim, fesvr/device.h, syscall.cc.
Spike looks at `tohost` now and then; here every store counts, with one rule for the two words of a 32-bit hart: where
the straight line of instructions behind a store has another store to `tohost`, the command is not complete. A program
waits for `tohost` to be 0 before its next command, as it must under Spike.
"""

from __future__ import annotations

import struct
from typing import Any, Protocol

from rvsim.machine.console import STDOUT
from rvsim.machine.hostcall import WORD, Exit, HostCalls

SYSCALL, CONSOLE = 0, 1
# Instructions that are looked through for the store of the other word.
AHEAD = 32
GETCHAR, PUTCHAR = 0, 1
# fesvr's calls have a path's length behind its address, and one word for a 64-bit value: the arguments to keep.
KEPT = {
    34: (0, 1, 3), 35: (0, 1, 3), 38: (0, 1, 3, 4), 46: (0, 1), 48: (0, 1, 3), 56: (0, 1, 3, 4), 62: (0, 1, 2),
    67: (0, 1, 2, 3), 68: (0, 1, 2, 3), 79: (0, 1, 3, 4), 291: (0, 1, 3, 4, 5), 1039: (0, 2),
}  # fmt: skip
BLOCK = struct.Struct("<8Q")


class HtifPort(Protocol):
    """What HTIF needs of the hart: its memory and, behind a store, the address of the next instruction."""

    @property
    def pc(self) -> int: ...
    def register(self, number: int) -> int: ...
    def peek(self, address: int, size: int) -> bytes | None: ...
    def poke(self, address: int, data: bytes) -> bool: ...


class Htif:
    """Serves the commands of one program.

    A getchar waits for input and is answered at once, or never at the end of input, as under Spike. Unknown devices and
    commands are ignored.

    Parameters
    ----------
    tohost : int
        Address of the symbol; the machine calls `store` behind every store to its eight bytes.
    fromhost : int or None
        Address of that symbol, if the program has it.
    calls : HostCalls
        Serves proxied system calls; its console is that of device 1.
    """

    def __init__(self, tohost: int, fromhost: int | None, calls: HostCalls) -> None:
        self.tohost, self.fromhost, self.calls = tohost, fromhost, calls

    def store(self, hart: HtifPort) -> None:
        """Act on what lies in `tohost` now, if that is complete.

        Raises
        ------
        Exit
            For an odd value of device 0; bits 8:1 are the code, or 1 where only higher bits are set.
        """
        data = hart.peek(self.tohost, 8)
        command = int.from_bytes(data or b"", "little")
        if not command or self._other_word_follows(hart):
            return
        hart.poke(self.tohost, bytes(8))
        device, number, payload = command >> 56, command >> 48 & 0xFF, command & (1 << 48) - 1
        if device == SYSCALL and number == 0:
            if payload & 1:
                raise Exit(_exit_code(payload >> 1))
            self._proxy(hart, payload)
            self._answer(hart, command, 1)
        elif device == CONSOLE and number == PUTCHAR:
            self.calls.console.write(STDOUT, bytes([payload & 0xFF]))
        elif device == CONSOLE and number == GETCHAR:
            character = self.calls.console.read(1)
            if character:
                self._answer(hart, command, 0x100 | character[0])

    def state(self) -> dict[str, Any]:
        """Nothing: all of it lies in the guest's memory, the console and the files."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        return

    def _answer(self, hart: HtifPort, command: int, payload: int) -> None:
        if self.fromhost is not None:
            hart.poke(self.fromhost, (command >> 48 << 48 | payload).to_bytes(8, "little"))

    def _proxy(self, hart: HtifPort, block: int) -> None:
        """A system call: number and seven arguments in eight 64-bit words; the result replaces the first."""
        raw = hart.peek(block, BLOCK.size) if block + BLOCK.size <= 1 << 32 else None
        if raw is None:
            return
        number, *arguments = BLOCK.unpack(raw)
        kept = [arguments[n] & WORD for n in KEPT.get(number, range(6))]
        result = self.calls.call(number, [*kept, 0, 0, 0, 0][:6])
        hart.poke(block, (result & (1 << 64) - 1).to_bytes(8, "little"))

    def _other_word_follows(self, hart: HtifPort) -> bool:
        """Whether the instructions from the pc to the next jump store to `tohost` too.

        A store counts where its base register is not written in between: compilers use one for both words.
        """
        pc, written = hart.pc, set()
        for _ in range(AHEAD):
            word = int.from_bytes(hart.peek(pc, 4) or hart.peek(pc, 2) or b"", "little")
            size = 4 if word & 3 == 3 else 2
            word &= (1 << 8 * size) - 1
            if _jumps(word):
                return False
            found = _store_address(hart, word)
            if found is None:
                written.add(_destination(word))
            elif found[0] not in written and self.tohost <= found[1] < self.tohost + 8:
                return True
            pc += size
        return False


def _exit_code(value: int) -> int:
    """A byte that is 0 only for 0."""
    return value & 0xFF or int(value != 0)


def _jumps(word: int) -> bool:
    """Whether an instruction may go elsewhere: branches, jumps, SYSTEM, and 0, which no instruction is."""
    if word & 3 == 3:
        return word & 0x7F in (0x63, 0x67, 0x6F, 0x73)
    kind = word & 3, word >> 13
    # c.jal, c.j, c.beqz, c.bnez; c.jr, c.jalr and c.ebreak have no rs2, where c.mv and c.add have one.
    return not word or kind in ((1, 1), (1, 5), (1, 6), (1, 7)) or (kind == (2, 4) and not word & 0x7C)


def _destination(word: int) -> int:
    """The register that an instruction other than a store or a jump writes."""
    if word & 3 == 0:
        return 8 + (word >> 2 & 7)
    return 8 + (word >> 7 & 7) if word & 0xE003 == 0x8001 else word >> 7 & 31


def _store_address(hart: HtifPort, word: int) -> tuple[int, int] | None:
    """Base register and address, by the registers as they are, of an `sw` or `c.sw`; None for another instruction."""
    if word & 0x707F == 0x2023:
        base, offset = word >> 15 & 31, word >> 25 << 5 | word >> 7 & 31
        return base, hart.register(base) + offset - (offset >> 11 << 12) & WORD
    if word & 0xE003 == 0xC000:
        base, offset = 8 + (word >> 7 & 7), (word >> 10 & 7) << 3 | (word >> 6 & 1) << 2 | (word >> 5 & 1) << 6
        return base, hart.register(base) + offset & WORD
    return None
