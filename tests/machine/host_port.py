"""A hart of registers and one region of memory, for tests of host protocols and devices that need no program."""

from __future__ import annotations

import struct

from rvsim.machine.console import Console

BASE, SIZE = 0x8000_0000, 0x1_0000
ROM = 0x2000_0000
"""Readable memory of one page that the guest may not write."""


class FakeHart:
    def __init__(self) -> None:
        self.registers = [0] * 32
        self.pc = BASE
        self.ram = bytearray(SIZE)
        self.rom = bytearray(b"constant".ljust(4096, b"\0"))

    def register(self, number: int) -> int:
        return self.registers[number]

    def set_register(self, number: int, value: int) -> None:
        assert 0 <= value < 1 << 32
        self.registers[number] = value

    def view(self, address: int, size: int, write: bool) -> memoryview | None:
        assert 0 <= address < 1 << 32
        for base, data in ((BASE, self.ram), (ROM, self.rom)):
            if size > 0 and base <= address and address + size <= base + len(data):
                return None if write and base == ROM else memoryview(data)[address - base : address - base + size]
        return None

    def peek(self, address: int, size: int) -> bytes | None:
        view = self.view(address, size, False) if size else b""
        return None if view is None else bytes(view)

    def poke(self, address: int, data: bytes) -> bool:
        if not data:
            return True
        view = self.view(address, len(data), address < BASE or address >= BASE + SIZE)
        if view is None:
            return False
        view[:] = data
        return True

    # ------------------------------------------------------------ what tests put in and look at
    def put(self, address: int, data: bytes) -> int:
        assert self.poke(address, data)
        return address

    def words(self, address: int, *values: int) -> int:
        return self.put(address, struct.pack(f"<{len(values)}I", *(v & 0xFFFF_FFFF for v in values)))

    def word(self, address: int) -> int:
        raw = self.peek(address, 4)
        assert raw is not None
        return int.from_bytes(raw, "little")


class FakeBus:
    def __init__(self) -> None:
        self.cycles = 0
        self.calls = 0

    def attention(self) -> None:
        self.calls += 1


class Input:
    """Standard input that comes in pieces, as from a terminal; it is not `ready` between them."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.reads = 0

    def __call__(self, size: int) -> bytes:
        self.reads += 1
        if not self.pieces:
            return b""
        data = self.pieces.pop(0)
        if data[size:]:
            self.pieces.insert(0, data[size:])
        return data[:size]


class Streams:
    """A console whose output is kept."""

    def __init__(self, *pieces: bytes, keep_history: bool = False) -> None:
        self.out, self.err = bytearray(), bytearray()
        self.input = Input(*pieces)
        self.console = Console(self.out.extend, self.err.extend, self.input, keep_history=keep_history)
