"""Instructions whose accesses go from object to object, over code too, count and do what single steps do."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rvsim import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A3,
    BASE,
    DATA,
    EXIT,
    RA,
    S2,
    S3,
    S4,
    ZERO,
    addi,
    bne,
    code,
    jalr,
    li,
    lw,
    machine,
    store,
)

ROUNDS, SIZE = 200, 0x21000
CODE = DATA + 0x6000
# Two in a page, one over several, and ones whose pages differ by 64 KiB.
OBJECTS = {
    "table": (DATA, 0x1000),
    "first": (DATA + 0x1000, 0x24),
    "second": (DATA + 0x1024, 0x1C),
    "odd": (DATA + 0x1041, 0x1E),
    "wide": (DATA + 0x2000, 0x3000),
    "around": (CODE, 0x1000),
    "far": (DATA + 0x11000, 0x40),
    "farther": (DATA + 0x12000, 0x40),
}


def ran(words: list[Any], image: dict[str, Any], stepped: bool) -> dict[str, Any]:
    m: Machine = machine(*words, image=image, core="ibex-small", engine="interp")
    if stepped:
        m.add_watchpoint(BASE + 0x80000, 4, "rw")
    m.run(20 * ROUNDS)
    result = m.result().to_dict()
    kept = {key: value for key, value in result.items() if key not in ("engine", "host_seconds")}
    return kept | {"registers": m.registers, "data": m.read_memory(DATA, SIZE)}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [1, 2, 4])
def test_accesses_from_object_to_object(size: int, seed: int) -> None:
    rng = random.Random(100 * size + seed)
    names = rng.sample([name for name in OBJECTS if name != "table"], 3)
    addresses, values = [], []
    while len(addresses) < ROUNDS:
        address, length = OBJECTS[rng.choice(names)]
        for _ in range(rng.choice([1, 1, 2, 3])):  # so often in a row
            at = address + rng.randrange(length - 4)
            addresses.append(at if rng.random() < 0.05 else at & -size)
            values.append(rng.getrandbits(32))
        if rng.random() < 0.05:  # over the instruction at CODE
            addresses.append(CODE)
            values.append(addi(A3, A3, rng.randrange(1, 100)) if size == 4 else 0x13)
    width = {1: 0, 2: 1, 4: 2}[size]
    load = lw(A2, A0, 0) & ~0x7000 | width << 12
    inner = [lw(A0, S2, 0), lw(A1, S2, 4), load, store(width, A1, A0, 0), addi(S2, S2, 8)]
    inner += [jalr(RA, S4, 0), addi(S3, S3, -1)]
    if "around" in names and size != 4:
        inner[-2] = addi(ZERO, ZERO, 0)  # what is left of the instructions there is rubbish
    words = [li(S2, DATA), li(S4, CODE), addi(S3, ZERO, ROUNDS), inner, bne(S3, ZERO, -len(code(*inner))), EXIT]
    table = b"".join(a.to_bytes(4, "little") + v.to_bytes(4, "little") for a, v in zip(addresses, values, strict=True))
    function = code(addi(A3, A3, 1), jalr(ZERO, RA, 0))
    data = table[:0x1000].ljust(CODE - DATA, b"\0") + function
    image = {"data": data.ljust(SIZE, b"\0"), "objects": OBJECTS}
    assert ran(words, image, stepped=False) == ran(words, image, stepped=True)
