"""Which devices a machine has: QEMU virt's by default or a platform's, moved, added or left out by `--device`."""

from __future__ import annotations

from itertools import pairwise

from rvsim.errors import UsageError
from rvsim.machine.clint import Clint
from rvsim.machine.finisher import Finisher
from rvsim.machine.uart import Uart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rvsim.machine.console import Console
    from rvsim.machine.device import Bus, Device
    from rvsim.timing.platform import Platform


def _rtl_bench(bus: Bus, console: Console, base: int) -> Device:
    from rvsim.machine.rtlbench import RtlBench

    return RtlBench(bus, base)


# In the order of their default addresses.
KINDS: dict[str, Callable[[Bus, Console, int], Device]] = {
    "finisher": lambda bus, console, base: Finisher(bus, base),
    "clint": lambda bus, console, base: Clint(bus, base),
    "uart": lambda bus, console, base: Uart(bus, console, base),
    "rtl-bench": _rtl_bench,
}
ADDRESSES = {"finisher": 0x0010_0000, "clint": 0x0200_0000, "uart": 0x1000_0000, "rtl-bench": 0x1000_0000}
DEFAULTS = ("finisher", "clint", "uart")
NONE = "none"
# mtime is read by aligned accesses, whatever the base.
ALIGNMENT = 8


def devices(
    bus: Bus,
    console: Console,
    occupied: Sequence[tuple[int, int]] = (),
    options: Sequence[str] = (),
    platform: Platform | None = None,
) -> list[Device]:
    """Devices by rising address.

    Parameters
    ----------
    bus : Bus
    console : Console
    occupied : sequence of (int, int)
        First address of each range with memory, and the one behind it. A default device that would overlap one is left
        out: memory wins.
    options : sequence of str
        ``none``: begin without devices. ``NAME`` or ``NAME=ADDRESS``: the first of a name moves the default device,
        further ones add devices.
    platform : Platform, optional
        Whose devices take the place of the default ones, if it states any. They are not left out where there is memory.

    Raises
    ------
    UsageError
        For an unknown name, an address that no device can have, or a device that was asked for and overlaps.
    """
    made = [KINDS[name](bus, console, base) for name, base in map(_parse, options) if name != NONE]
    names = {device.name for device in made}
    stated = platform.devices if platform else None
    if NONE in options:
        pass
    elif platform is not None and stated is not None:
        try:
            own = [KINDS[name](bus, console, base) for name, base in map(_parse, stated) if name != NONE]
            _check(own, occupied)
        except UsageError as error:
            raise UsageError(f"{platform.path}: devices: {str(error).removeprefix('--device: ')}") from None
        made += [device for device in own if device.name not in names]
    else:
        for name in DEFAULTS:
            device = KINDS[name](bus, console, ADDRESSES[name])
            if name not in names and not any(_overlap(device, *range_) for range_ in occupied):
                made.append(device)
    _check(made, occupied)
    return made


def _check(made: list[Device], occupied: Sequence[tuple[int, int]]) -> None:
    """Sort devices by address; refuse what overlaps."""
    made.sort(key=lambda device: device.base)
    for a, b in pairwise(made):
        if b.base < a.base + a.size:
            raise UsageError(
                f"--device: {_describe(a)} and {_describe(b)} overlap; move one, or begin with --device none"
            )
    for device in made:
        for base, end in occupied:
            if _overlap(device, base, end):
                raise UsageError(
                    f"--device: {_describe(device)} overlaps memory ({base:#010x} to {end - 1:#010x}); "
                    f"give another address: --device {device.name}=ADDRESS"
                )


def _parse(option: str) -> tuple[str, int]:
    if option == NONE:
        return NONE, 0
    name, equals, text = option.partition("=")
    if name not in KINDS:
        import difflib

        names = [*KINDS, NONE]
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
        raise UsageError(f"--device: expected NAME or NAME=ADDRESS, found {option!r}; {hint}")
    if not equals:
        return name, ADDRESSES[name]
    try:
        base = int(text, 0)
    except ValueError:
        base = -1
    # Every kind fits into 64 KiB.
    if base % ALIGNMENT or not 0 <= base <= (1 << 32) - 0x1_0000:
        raise UsageError(
            f"--device: expected an address at a multiple of {ALIGNMENT} below 4 GiB such as "
            f"{name}={ADDRESSES[name]:#x}, found {option!r}"
        )
    return name, base


def _overlap(device: Device, base: int, end: int) -> bool:
    return device.base < end and base < device.base + device.size


def _describe(device: Device) -> str:
    return f"{device.name} ({device.base:#010x} to {device.base + device.size - 1:#010x})"
