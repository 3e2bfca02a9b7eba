"""Physical memory protection: sixteen entries of 4-byte granularity (Privileged Architecture 20240411, section 3.7).

A hart of machine mode alone is bound by locked entries only; an entry that matches and is not locked lets it pass.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

ENTRIES = 16
CFG, ADDRESS = 0x3A0, 0x3B0
READ, WRITE, EXECUTE, MODE, LOCK = 1, 2, 4, 3 << 3, 1 << 7
OFF, TOR, NA4, NAPOT = range(4)
WORD = 0xFFFF_FFFF
# Permissions as _hart.pyx has them.
_HART = ((READ, 4), (WRITE, 2), (EXECUTE, 1))
ALL = 7

Rule: TypeAlias = "tuple[int, int, int]"


class Pmp:
    """The pmpcfg and pmpaddr CSRs.

    Parameters
    ----------
    changed : callable
        Gets the rules that bind the hart, in order of priority: first and last address, permissions (4 read, 2 write,
        1 execute). The first that holds a byte decides about it; none where no entry is locked. An access that leaves
        an aligned word is two (3.7.1 lets implementations choose), so no entry holds a part of one.
    """

    def __init__(self, changed: Callable[[list[Rule]], object]) -> None:
        self.changed = changed
        self.cfg = [0] * ENTRIES
        self.address = [0] * ENTRIES

    def read_cfg(self, n: int) -> int:
        """pmpcfg n: four entries."""
        return int.from_bytes(bytes(self.cfg[4 * n : 4 * n + 4]), "little")

    def write_cfg(self, n: int, value: int) -> None:
        """Write four entries; locked ones stay as they are."""
        for entry, byte in enumerate(value.to_bytes(4, "little"), 4 * n):
            if not self.cfg[entry] & LOCK:
                # Write without read is reserved: neither is set. Bits 6:5 read 0.
                reserved = WRITE if not byte & READ else 0
                self.cfg[entry] = byte & (LOCK | MODE | READ | WRITE | EXECUTE) & ~reserved
        self.changed(self.rules())

    def write_address(self, n: int, value: int) -> None:
        """Write pmpaddr n (bits 33:2 of an address), unless its entry or the top-of-range entry above it is locked."""
        above = self.cfg[n + 1] if n + 1 < ENTRIES else 0
        if self.cfg[n] & LOCK or (above & LOCK and (above & MODE) >> 3 == TOR):
            return
        self.address[n] = value & WORD
        self.changed(self.rules())

    def rules(self) -> list[Rule]:
        """What binds the hart; see the class."""
        if not any(cfg & LOCK and cfg & MODE for cfg in self.cfg):
            return []
        rules = []
        for n, cfg in enumerate(self.cfg):
            mode = (cfg & MODE) >> 3
            if mode == TOR:
                low, end = (self.address[n - 1] if n else 0) << 2, self.address[n] << 2
            elif mode == NAPOT:
                size = 8 << _trailing_ones(self.address[n])
                low = (self.address[n] << 2) & ~(size - 1)
                end = low + size
            else:
                low = self.address[n] << 2
                end = low + 4
            if mode == OFF or low >= min(end, 1 << 32):
                continue
            allowed = sum(bit for flag, bit in _HART if cfg & flag) if cfg & LOCK else ALL
            rules.append((low, min(end, 1 << 32) - 1, allowed))
        return rules

    def state(self) -> dict[str, Any]:
        return {"cfg": list(self.cfg), "address": list(self.address)}

    def restore(self, state: dict[str, Any]) -> None:
        cfg, address = [int(v) & 0xFF for v in state["cfg"]], [int(v) & WORD for v in state["address"]]
        if len(cfg) != ENTRIES or len(address) != ENTRIES:
            raise ValueError(f"expected {ENTRIES} entries of physical memory protection")
        self.cfg, self.address = cfg, address
        self.changed(self.rules())


def _trailing_ones(value: int) -> int:
    return (~value & (value + 1)).bit_length() - 1
