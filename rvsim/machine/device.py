"""What a memory-mapped device is, and what it gets of the machine."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from rvsim.machine.counted import Moment
    from rvsim.machine.result import RegionOfInterest

    class Bus(Protocol):
        """What a device needs of the machine."""

        @property
        def cycles(self) -> int:
            """Cycles of the hart; within an access, those before that instruction."""
            ...

        def stamp(self) -> tuple[int, int]:
            """Cycles and instructions of the hart; within an access, those before that instruction."""
            ...

        def moment(self) -> Moment:
            """What the hart counted; within an access, with that instruction."""
            ...

        def attention(self) -> None:
            """Say that `Device.pending` or `Device.deadline` may have changed."""
            ...


# Bits of mip (Privileged Architecture 20240411, section 3.1.9) as masks.
SOFTWARE, TIMER, EXTERNAL = 1 << 3, 1 << 7, 1 << 11


class DeviceFault(Exception):
    """A device does not take this access: the load or store traps."""


class Device(ABC):
    """Registers at addresses of the hart.

    Attributes
    ----------
    name : str
        What `--device` calls it.
    base : int
        First address.
    size : int
        Bytes that the device takes from `base`.
    timed : int
        Bits of mip whose change `deadline` announces.
    """

    name: str
    base: int
    size: int
    timed: int = 0

    @abstractmethod
    def read(self, offset: int, size: int) -> int:
        """Value of a load of 1, 2 or 4 bytes.

        Raises
        ------
        DeviceFault
        """

    @abstractmethod
    def write(self, offset: int, size: int, value: int) -> None:
        """Take a store of 1, 2 or 4 bytes.

        Raises
        ------
        DeviceFault
        Exit
            The run ends behind the store.
        """

    def pending(self) -> int:
        """Bits of mip that the device asserts now."""
        return 0

    def deadline(self) -> int | None:
        """Cycle at which `pending` changes by itself."""
        return None

    def roi(self) -> RegionOfInterest | None:
        """Counts of the region of interest that the program has marked by stores to the device; None without."""
        return None

    def spans(self) -> list[tuple[Moment, Moment]]:
        """What the hart had counted where each region of interest began and ended; empty where that was not kept."""
        return []

    def state(self) -> dict[str, Any]:
        """All that changes while the device runs, for a snapshot."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        return
