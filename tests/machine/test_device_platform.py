"""Which devices a machine has: defaults, memory that wins, and what `--device` moves, adds and refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rvsim.errors import UsageError
from rvsim.machine.platform import devices
from tests.machine.host_port import FakeBus, Streams


def made(*options: str, occupied: tuple[tuple[int, int], ...] = ()) -> list[Any]:
    return [(d.name, d.base) for d in devices(FakeBus(), Streams().console, occupied, options)]


DEFAULT = [("finisher", 0x10_0000), ("clint", 0x200_0000), ("uart", 0x1000_0000)]


@pytest.mark.parametrize(
    ("options", "occupied", "result"),
    [
        ((), (), DEFAULT),
        ((), ((0x8000_0000, 0x8100_0000),), DEFAULT),
        # memory wins, to the byte
        ((), ((0, 0x10_0001),), DEFAULT[1:]),
        ((), ((0, 0x10_0000), (0x10_1000, 0x200_0000)), DEFAULT),
        ((), ((0x1000_00FF, 0x1000_0100),), DEFAULT[:2]),
        (("none",), (), []),
        (("uart=0x40000000",), (), [*DEFAULT[:2], ("uart", 0x4000_0000)]),
        (("uart", "uart=0x40000000"), (), [*DEFAULT, ("uart", 0x4000_0000)]),
        (("none", "uart"), (), DEFAULT[2:]),
        (("clint=33554432", "none"), (), DEFAULT[1:2]),
    ],
)
def test_sets(options: tuple[str, ...], occupied: tuple[tuple[int, int], ...], result: list[Any]) -> None:
    assert made(*options, occupied=occupied) == result


@pytest.mark.parametrize(
    ("options", "occupied", "message"),
    [
        (("uartt",), (), "--device: expected NAME or NAME=ADDRESS, found 'uartt'; did you mean uart?"),
        (("",), (), "--device: expected NAME or NAME=ADDRESS, found ''; "
         "there are finisher, clint, uart, rtl-bench, none"),
        (("none=1",), (), "--device: expected NAME or NAME=ADDRESS, found 'none=1'; did you mean none?"),
        *[
            ((f"uart={text}",), (), "--device: expected an address at a multiple of 8 below 4 GiB such as "
             f"uart=0x10000000, found 'uart={text}'")
            for text in ("", "x", "0x10000001", "-8", "0x100000000", "0xfffffff8")
        ],
        (("uart=0x2000000",), (), "--device: uart (0x02000000 to 0x020000ff) and clint (0x02000000 to 0x0200ffff) "
         "overlap; move one, or begin with --device none"),
        (("uart=0x80000000",), ((0x8000_0000, 0x8100_0000),), "--device: uart (0x80000000 to 0x800000ff) overlaps "
         "memory (0x80000000 to 0x80ffffff); give another address: --device uart=ADDRESS"),
    ],
)  # fmt: skip
def test_refusals(options: tuple[str, ...], occupied: tuple[tuple[int, int], ...], message: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(message) + "$"):
        made(*options, occupied=occupied)
