"""What the CV32E40P user manual says of each XCV instruction that only computes, as Python on 32-bit numbers.

The formulas are those of "CORE-V Instruction Set Custom Extensions" (openhwgroup/cv32e40p at 6033d2b), typed from its
tables: f(rd, rs1, op2, bits), where op2 is rs2 or the immediate that stands in its place, and bits another immediate.
"""

from __future__ import annotations

from collections.abc import Callable

Formula = Callable[[int, int, int, int], int]
MASK = 0xFFFF_FFFF


def signed(value: int, width: int = 32) -> int:
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def lanes(word: int, width: int) -> list[int]:
    return [word >> at & (1 << width) - 1 for at in range(0, 32, width)]


def joined(values: list[int], width: int) -> int:
    return sum((value & (1 << width) - 1) << at for value, at in zip(values, range(0, 32, width), strict=True))


def clamp(value: int, low: int, high: int) -> int:
    return low if value <= low else high if value >= high else value


def rounding(bits: int) -> int:
    return 1 << (bits - 1) if bits else 0


def field(more: int, low: int) -> int:
    """Bits min(more + low, 31) to low."""
    return sum(1 << at for at in range(low, min(more + low, 31) + 1))


def extracted(value: int, more: int, low: int) -> int:
    width = min(more + low, 31) - low + 1
    return signed((value & field(more, low)) >> low, width)


def reversed_groups(value: int, radix: int, left: int) -> int:
    value, size = value << left & MASK, {0: 1, 1: 2, 2: 3, 3: 1}[radix]
    text = f"{value:032b}"
    groups = [text[at : at + size] for at in range(0, 32 - 32 % size, size)]
    return int("".join(reversed(groups)), 2)


def halves(word: int) -> list[int]:
    return [signed(word, 16), signed(word >> 16, 16)]


TABLE: dict[str, Formula] = {
    "cv.mac": lambda d, a, b, n: d + a * b,
    "cv.msu": lambda d, a, b, n: d - a * b,
    "cv.abs": lambda d, a, b, n: abs(signed(a)),
    "cv.sle": lambda d, a, b, n: signed(a) <= signed(b),
    "cv.sleu": lambda d, a, b, n: a <= b,
    "cv.min": lambda d, a, b, n: min(signed(a), signed(b)),
    "cv.minu": lambda d, a, b, n: min(a, b),
    "cv.max": lambda d, a, b, n: max(signed(a), signed(b)),
    "cv.maxu": lambda d, a, b, n: max(a, b),
    "cv.exths": lambda d, a, b, n: signed(a, 16),
    "cv.exthz": lambda d, a, b, n: a & 0xFFFF,
    "cv.extbs": lambda d, a, b, n: signed(a, 8),
    "cv.extbz": lambda d, a, b, n: a & 0xFF,
    "cv.clip": lambda d, a, b, n: clamp(signed(a), -(1 << n - 1) if n else -1, (1 << n - 1) - 1 if n else 0),
    "cv.clipu": lambda d, a, b, n: clamp(signed(a), 0, (1 << n - 1) - 1 if n else 0),
    "cv.clipr": lambda d, a, b, n: clamp(signed(a), -((b & 0x7FFF_FFFF) + 1), b & 0x7FFF_FFFF),
    "cv.clipur": lambda d, a, b, n: clamp(signed(a), 0, b & 0x7FFF_FFFF),
    "cv.ror": lambda d, a, b, n: (a << 32 | a) >> (b & 31),
    "cv.ff1": lambda d, a, b, n: next((i for i in range(32) if a >> i & 1), 32),
    "cv.fl1": lambda d, a, b, n: next((i for i in range(31, -1, -1) if a >> i & 1), 32),
    "cv.clb": lambda d, a, b, n: next((i for i in range(1, 32) if (a >> 31 - i ^ a >> 31) & 1), 32) - 1 if a else 0,
    "cv.cnt": lambda d, a, b, n: f"{a:b}".count("1"),
    # Immediates: `bits` is Is3 (one less than the bits meant, or the radix), op2 stands for Is2.
    "cv.extract": lambda d, a, b, n: extracted(a, n, b),
    "cv.extractu": lambda d, a, b, n: (a & field(n, b)) >> b,
    "cv.insert": lambda d, a, b, n: d & ~field(n, b) | a << b & field(n, b),
    "cv.bclr": lambda d, a, b, n: a & ~field(n, b),
    "cv.bset": lambda d, a, b, n: a | field(n, b),
    "cv.bitrev": lambda d, a, b, n: reversed_groups(a, n, b),
    "cv.shuffle.h": lambda d, a, b, n: joined([lanes(a, 16)[b & 1], lanes(a, 16)[b >> 16 & 1]], 16),
    "cv.shuffle.b": lambda d, a, b, n: joined([lanes(a, 8)[b >> at & 3] for at in (0, 8, 16, 24)], 8),
    "cv.shuffle2.h": lambda d, a, b, n: joined(
        [lanes(a if b >> at + 1 & 1 else d, 16)[b >> at & 1] for at in (0, 16)], 16
    ),
    "cv.shuffle2.b": lambda d, a, b, n: joined(
        [lanes(a if b >> at + 2 & 1 else d, 8)[b >> at & 3] for at in (0, 8, 16, 24)], 8
    ),
    "cv.shuffle.sci.h": lambda d, a, b, n: joined([lanes(a, 16)[b & 1], lanes(a, 16)[b >> 1 & 1]], 16),
    "cv.pack": lambda d, a, b, n: (a & 0xFFFF) << 16 | b & 0xFFFF,
    "cv.pack.h": lambda d, a, b, n: a & 0xFFFF_0000 | b >> 16,
    "cv.packhi.b": lambda d, a, b, n: (a & 0xFF) << 24 | (b & 0xFF) << 16 | d & 0xFFFF,
    "cv.packlo.b": lambda d, a, b, n: d & 0xFFFF_0000 | (a & 0xFF) << 8 | b & 0xFF,
    "cv.cplxconj": lambda d, a, b, n: joined([halves(a)[0], -halves(a)[1]], 16),
}

for _lane in range(4):
    TABLE[f"cv.shufflei{_lane}.sci.b"] = lambda d, a, b, n, top=_lane: joined(  # type: ignore[misc]
        [*(lanes(a, 8)[b >> at & 3] for at in (0, 2, 4)), lanes(a, 8)[top]], 8
    )
for _width, _end in ((8, "b"), (16, "h")):
    TABLE[f"cv.abs.{_end}"] = lambda d, a, b, n, w=_width: joined([abs(signed(x, w)) for x in lanes(a, w)], w)  # type: ignore[misc]
    TABLE[f"cv.extract.{_end}"] = lambda d, a, b, n, w=_width: signed(lanes(a, w)[b], w)  # type: ignore[misc]
    TABLE[f"cv.extractu.{_end}"] = lambda d, a, b, n, w=_width: lanes(a, w)[b]  # type: ignore[misc]
    TABLE[f"cv.insert.{_end}"] = lambda d, a, b, n, w=_width: joined(  # type: ignore[misc]
        [a if i == b else x for i, x in enumerate(lanes(d, w))], w
    )
for _name in ("extract", "extractu", "insert", "bclr", "bset"):
    TABLE[f"cv.{_name}r"] = lambda d, a, b, n, f=TABLE[f"cv.{_name}"]: f(d, a, b & 31, b >> 5 & 31)  # type: ignore[misc]

# Products of half-words: which halves, sign, rounding, accumulation.
for _acc in ("mul", "mac"):
    for _half in ("", "hh"):
        for _sign in "us":
            for _round in ("", "r"):

                def _product(d, a, b, n, acc=_acc, half=_half, sign=_sign, rounded=_round):  # type: ignore[no-untyped-def]
                    x, y = (v >> 16 if half else v & 0xFFFF for v in (a, b))
                    if sign == "s":
                        x, y = signed(x, 16), signed(y, 16)
                    total = (x * y + (d if acc == "mac" else 0) + (rounding(n) if rounded else 0)) & MASK
                    return (signed(total) if sign == "s" else total) >> n

                TABLE[f"cv.{_acc}{_half}{_sign}{_round}n"] = _product
# Sums and differences, shifted.
for _op, _factor in (("add", 1), ("sub", -1)):
    for _sign in ("", "u"):
        for _round in ("", "r"):

            def _sum(d, a, b, n, factor=_factor, sign=_sign, rounded=_round):  # type: ignore[no-untyped-def]
                total = (a + factor * b + (rounding(n) if rounded else 0)) & MASK
                return (total if sign else signed(total)) >> n

            TABLE[f"cv.{_op}{_sign}{_round}n"] = _sum
            TABLE[f"cv.{_op}{_sign}{_round}nr"] = lambda d, a, b, n, f=_sum: f(d, d, a, b & 31)  # type: ignore[misc]

# SIMD: of elements x and y, each without sign; s takes the sign of an element.
ELEMENTS: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda x, y, w: x + y,
    "sub": lambda x, y, w: x - y,
    "avg": lambda x, y, w: signed(x + y, w) >> 1,
    "avgu": lambda x, y, w: (x + y & (1 << w) - 1) >> 1,
    "min": lambda x, y, w: min(signed(x, w), signed(y, w)),
    "minu": lambda x, y, w: min(x, y),
    "max": lambda x, y, w: max(signed(x, w), signed(y, w)),
    "maxu": lambda x, y, w: max(x, y),
    "srl": lambda x, y, w: x >> y % w,
    "sra": lambda x, y, w: signed(x, w) >> y % w,
    "sll": lambda x, y, w: x << y % w,
    "or": lambda x, y, w: x | y,
    "xor": lambda x, y, w: x ^ y,
    "and": lambda x, y, w: x & y,
    "cmpeq": lambda x, y, w: -(x == y),
    "cmpne": lambda x, y, w: -(x != y),
    "cmpgt": lambda x, y, w: -(signed(x, w) > signed(y, w)),
    "cmpge": lambda x, y, w: -(signed(x, w) >= signed(y, w)),
    "cmplt": lambda x, y, w: -(signed(x, w) < signed(y, w)),
    "cmple": lambda x, y, w: -(signed(x, w) <= signed(y, w)),
    "cmpgtu": lambda x, y, w: -(x > y),
    "cmpgeu": lambda x, y, w: -(x >= y),
    "cmpltu": lambda x, y, w: -(x < y),
    "cmpleu": lambda x, y, w: -(x <= y),
}
DOTS = {"dotup": (False, False), "dotusp": (False, True), "dotsp": (True, True)}


def _dot(name: str, a: int, b: int, width: int) -> int:
    (of_a, of_b), total = DOTS[name], 0
    for x, y in zip(lanes(a, width), lanes(b, width), strict=True):
        total += (signed(x, width) if of_a else x) * (signed(y, width) if of_b else y)
    return total


for _name in [*ELEMENTS, *DOTS, *(f"s{name}" for name in DOTS)]:
    for _mode in ("", ".sc", ".sci"):
        for _width, _end in ((8, "b"), (16, "h")):

            def _simd(d, a, b, n, name=_name, mode=_mode, w=_width):  # type: ignore[no-untyped-def]
                b = joined([b] * (32 // w), w) if mode else b
                if name in DOTS:
                    return _dot(name, a, b, w)
                if name[1:] in DOTS:
                    return d + _dot(name[1:], a, b, w)
                return joined([ELEMENTS[name](x, y, w) for x, y in zip(lanes(a, w), lanes(b, w), strict=True)], w)

            TABLE[f"cv.{_name}{_mode}.{_end}"] = _simd

# Complex numbers: the real part is the low half-word.
for _more, _div in enumerate(("", ".div2", ".div4", ".div8")):

    def _real(d, a, b, n, more=_more):  # type: ignore[no-untyped-def]
        (x, i), (y, j) = halves(a), halves(b)
        return joined([signed(x * y - i * j) >> 15 + more, d >> 16], 16)

    def _imaginary(d, a, b, n, more=_more):  # type: ignore[no-untyped-def]
        (x, i), (y, j) = halves(a), halves(b)
        return joined([d, signed(x * j + i * y) >> 15 + more], 16)

    def _rotated(d, a, b, n, more=_more):  # type: ignore[no-untyped-def]
        (x, i), (y, j) = halves(a), halves(b)
        return joined([signed(i - j, 16) >> more, signed(y - x, 16) >> more], 16)

    def _shifted(d, a, b, n, more=_more, factor=1):  # type: ignore[no-untyped-def]
        return joined([signed(x + factor * y, 16) >> more for x, y in zip(halves(a), halves(b), strict=True)], 16)

    TABLE[f"cv.cplxmul.r{_div}"], TABLE[f"cv.cplxmul.i{_div}"] = _real, _imaginary
    TABLE[f"cv.subrotmj{_div}"] = _rotated
    if _div:
        TABLE[f"cv.add{_div}"] = _shifted
        TABLE[f"cv.sub{_div}"] = lambda d, a, b, n, f=_shifted: f(d, a, b, n, factor=-1)  # type: ignore[misc]
