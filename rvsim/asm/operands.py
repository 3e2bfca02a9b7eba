"""Operands against assembly strings: what an instruction's description says, matched with what is written.

An assembly string such as ``{name(rd)},{imm:s}({name(rs1)})`` (forms: rvsim/isa/descriptions/RISCVBase.core_desc) is
what objdump prints. What GNU as reads follows from it by four rules:

* ``{imm:t}`` and ``{imm:p}`` are written as the target, not as the distance;
* an immediate before ``(`` may be left out and is 0; 0 may be written before a ``(`` that has none;
* a register may have any of its names;
* a signed immediate may be written as the unsigned 32-bit number of the same bits.

The same matcher reads the left sides of pseudo-instructions, whose placeholders capture tokens (`Capture`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lark import Token

from rvsim.asm.csrs import csr_numbers
from rvsim.asm.errors import Problem, suggestion
from rvsim.asm.expressions import Node, Relocation
from rvsim.asm.tokens import column, parse_expression, split_commas, tokenize
from rvsim.isa.ir import Field, Instruction, wrap
from rvsim.isa.names import REGISTERS

REGISTER_NUMBERS = {name: n for n, name in enumerate(REGISTERS)} | {f"x{n}": n for n in range(32)} | {"fp": 8}

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"name\(\s*(?:(\d+)\s*\+\s*)?(\w+)(?:\s*\+\s*(\d+))?\s*\)\Z")
_FIELD = re.compile(r"(\w+)(?::([^{}]*))?\Z")
_CAPTURE = re.compile(r"([rect]):(\w+)\Z")


class Literal:
    """A token that must stand there; a register by any of its names."""

    span = False

    def __init__(self, text: str) -> None:
        self.text = text
        self.register = REGISTER_NUMBERS.get(text)

    def accepts(self, tokens: list[Token]) -> bool:
        text = tokens[0].value
        return text == self.text or (self.register is not None and REGISTER_NUMBERS.get(text) == self.register)

    def expected(self) -> str:
        return self.text


class Register:
    """``{name(rd)}`` or ``{name(8+rd)}``."""

    span = False

    def __init__(self, into: Field, offset: int) -> None:
        self.field, self.offset = into, offset

    def accepts(self, tokens: list[Token]) -> bool:
        return self.encode(tokens[0].value) is not None

    def encode(self, name: str) -> int | None:
        """The field's value for a register, None when it has none."""
        number = REGISTER_NUMBERS.get(name)
        return number - self.offset if number is not None and self.fits(number) else None

    def fits(self, number: int) -> bool:
        """Whether the field can name register `number`."""
        return number >= self.offset and not (number - self.offset) & ~self.field.encodable

    def expected(self) -> str:
        last = self.offset + (1 << self.field.width) - 1
        if self.offset == 0 and last >= 31:
            return "a register"
        names = REGISTERS[self.offset], REGISTERS[min(last, 31)]
        return f"a register from {names[0]} to {names[1]} (x{self.offset} to x{min(last, 31)})"


class Immediate:
    """``{imm}`` with one of the forms: a number, a target, a CSR, an ordering."""

    span = True

    def __init__(self, into: Field, form: str) -> None:
        self.field = into
        self.form = form if form in ("s", "t", "p", "u", "c", "f") else ""
        self.mask = into.encodable
        low = (self.mask & -self.mask).bit_length() - 1 if self.mask else 0
        self.step = 1 << low
        if self.form in ("s", "t", "u"):
            self.low, self.high = -(1 << (into.width - 1)), (1 << (into.width - 1)) - self.step
        else:
            self.low, self.high = 0, self.mask

    def accepts(self, tokens: list[Token]) -> bool:
        return not (len(tokens) == 1 and tokens[0].value in REGISTER_NUMBERS)

    def expected(self) -> str:
        names = {"t": "a target", "p": "a target", "c": "a CSR", "f": "letters of iorw", "": "a number"}
        return names.get(self.form, "an immediate")

    def fits(self, value: int) -> bool:
        """Whether the field holds a value (of a target: a distance)."""
        if self.form == "u":
            if not 0 <= value <= 0xFFFFF:
                return False
            value = wrap(value, 20, True) << 12
        value = self.normal(value)
        return self.low <= value <= self.high and not value & ((1 << self.field.width) - 1) & ~self.mask

    def normal(self, value: int) -> int:
        """The value that the bits stand for: 0xffffffff is -1."""
        return value - (1 << 32) if self.form == "s" and 1 << 31 <= value < 1 << 32 else value

    def insert(self, value: int) -> int:
        """The instruction word's bits for a value that fits."""
        if self.form == "u":
            value = wrap(value, 20, True) << 12
        return self.field.insert(value)

    def out_of_range(self, value: int) -> str:
        """What is wrong with a value that does not fit, and what to do."""
        multiple = f", a multiple of {self.step}" if self.step > 1 and self.form != "u" else ""
        if self.form in ("t", "p"):
            what = f"expected a target between {self.low} and {self.high} bytes away{multiple}, found {value}"
            return f"{what}; jump by way of a register or move the code together"
        if self.form == "u":
            upper = self.field.width - 12
            if upper < 20:
                half = 1 << (upper - 1)
                ranges = f"1 to {half - 1} or {(1 << 20) - half:#x} to 0xfffff"
            else:
                ranges = "0 to 0xfffff"
            return f"expected an upper immediate from {ranges}, found {value:#x}; use li for a whole constant"
        gaps = "" if multiple or value & ~self.mask == 0 or not self.low <= value <= self.high else " with other bits"
        hint = "; use li and a register for a larger number" if self.form == "s" and self.field.width == 12 else ""
        return f"expected an immediate from {self.low} to {self.high}{multiple}, found {value}{gaps}{hint}"


class Capture:
    """A placeholder of a pseudo-instruction: r a register, e an expression, t a target, c a CSR."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.span = kind != "r"

    def accepts(self, tokens: list[Token]) -> bool:
        first = tokens[0].value
        return first in REGISTER_NUMBERS if self.kind == "r" else len(tokens) > 1 or first not in REGISTER_NUMBERS

    def expected(self) -> str:
        return {"r": "a register", "t": "a target", "c": "a CSR"}.get(self.kind, "an expression")


Element = Literal | Register | Immediate | Capture
Bound = list[tuple[Element, list[Token]]]


def elements(text: str, fields: dict[str, Field]) -> list[list[Element]]:
    """The operands of an assembly string, each as the elements that follow one another."""
    parts: list[Element] = []
    at = 0
    for found in [*_PLACEHOLDER.finditer(text), None]:
        literal = text[at : found.start() if found else len(text)]
        parts += [Literal(token.value) for token in tokenize(literal)]
        if found is None:
            break
        at = found.end()
        inside = found[1].strip()
        if named := _NAME.match(inside):
            parts.append(Register(fields[named[2]], int(named[1] or named[3] or 0)))
        elif captured := _CAPTURE.match(inside):
            parts.append(Capture(captured[1], captured[2]))
        elif (plain := _FIELD.match(inside)) and plain[1] in fields:
            parts.append(Immediate(fields[plain[1]], plain[2] or ""))
    operands: list[list[Element]] = [[]] if parts else []
    depth = 0
    for part in parts:
        text = part.text if isinstance(part, Literal) else ""
        depth += (text in ("(", "[")) - (text in (")", "]"))
        if text == "," and not depth:
            operands.append([])
        else:
            operands[-1].append(part)
    return operands


def match(operands: list[list[Element]], written: list[list[Token]], end: int) -> Bound:
    """Which tokens stand for which element.

    Parameters
    ----------
    operands : list of list of Element
    written : list of list of Token
        The statement's operands, cut at commas.
    end : int
        Column behind the statement, to point at when something is missing.

    Raises
    ------
    Problem
        They do not match.
    """
    bound: Bound = []
    for expected, tokens in zip(operands, written, strict=False):
        if len(expected) == 1 and len(tokens) == 1:  # nearly always
            if not expected[0].accepts(tokens):
                raise Problem(_mismatch(expected, tokens), column(tokens[0]))
            bound.append((expected[0], tokens))
            continue
        found = _match(expected, 0, tokens, 0)
        if found is None:
            at, message = _explain(expected, tokens, end)
            raise Problem(message, at)
        bound += found
    if len(written) < len(operands):
        raise Problem(f"expected {len(operands)} operands ({_shape(operands)}), found {len(written)}", end)
    if len(written) > len(operands):
        extra = written[len(operands)]
        wanted = f"{len(operands)} operands ({_shape(operands)})" if operands else "no operands"
        raise Problem(f"expected {wanted}, found {len(written)}", column(extra[0]) if extra else end)
    return bound


def _match(expected: list[Element], at: int, tokens: list[Token], start: int) -> Bound | None:
    if at == len(expected):
        return [] if start == len(tokens) else None
    element = expected[at]
    if not element.span:
        if start < len(tokens) and element.accepts(tokens[start:]):
            rest = _match(expected, at + 1, tokens, start + 1)
            if rest is not None:
                return [(element, tokens[start : start + 1]), *rest]
        # amoadd.w a0, a1, 0(a2): a zero before a parenthesis that has no immediate.
        if isinstance(element, Literal) and element.text == "(" and at == start == 0 and tokens[:1]:
            if tokens[0].value == "0":
                return _match(expected, 0, tokens[1:], 0)
        return None
    following = expected[at + 1] if at + 1 < len(expected) else None
    if following is None:
        ends = [len(tokens)]
    elif isinstance(following, Literal):
        ends = [n for n in range(len(tokens) - 1, start - 1, -1) if tokens[n].value == following.text]
    else:
        ends = list(range(len(tokens) - 1, start - 1, -1))
    optional = isinstance(following, Literal) and following.text == "("
    for end in ends[:64]:
        span = tokens[start:end]
        if not (element.accepts(span) if span else optional):
            continue
        rest = _match(expected, at + 1, tokens, end)
        if rest is not None:
            return [(element, span), *rest]
    return None


def _shape(operands: list[list[Element]]) -> str:
    def show(element: Element) -> str:
        if isinstance(element, Literal):
            return element.text
        return element.name if isinstance(element, Capture) else element.field.name

    return ", ".join("".join(map(show, each)) for each in operands)


def _mismatch(expected: list[Element], tokens: list[Token]) -> str:
    first, found = expected[0], str(tokens[0])
    hint = ""
    if isinstance(first, Register) or (isinstance(first, Capture) and first.kind == "r"):
        hint = suggestion(found, REGISTER_NUMBERS) if found not in REGISTER_NUMBERS else ""
    elif found in REGISTER_NUMBERS:
        found = f"register {found}"
        return f"expected {first.expected()}, found {found}"
    return f"expected {first.expected()}, found {found!r}{hint}"


def _explain(expected: list[Element], tokens: list[Token], end: int) -> tuple[int, str]:
    """Column and message for an operand that does not match."""
    if not tokens:
        return end, f"expected {expected[0].expected()}, found nothing"
    if len(expected) == 1:
        if not expected[0].span and expected[0].accepts(tokens):
            return column(tokens[1]), f"expected a comma or the end of the statement, found {str(tokens[1])!r}"
        return column(tokens[0]), _mismatch(expected, tokens)
    # The register in parentheses is what is most often wrong.
    for element, token in zip(reversed(expected), reversed(tokens), strict=False):
        if element.span:
            break
        if not element.accepts([token]):
            if isinstance(element, Literal):
                break
            return column(token), _mismatch([element], [token])
    shape = _shape([expected])
    return column(tokens[0]), f"expected an operand of the form {shape}, found {''.join(map(str, tokens))!r}"


# ------------------------------------------------------------ instructions
@dataclass
class Coded:
    """An instruction whose operands are known, but for what waits for addresses.

    Attributes
    ----------
    instruction : Instruction
    word : int
        With all that is known.
    values : dict of str to int
        Fields that are known.
    symbolic : list of (Immediate, str, Node, int)
        Fields that are not: element, kind (``abs``, ``target``, or a relocation's name), expression, column.
    wrapped : bool
        A signed immediate was written as an unsigned number of 32 bits: GNU as does not compress that.
    """

    instruction: Instruction
    word: int
    values: dict[str, int] = field(default_factory=dict)
    symbolic: list[tuple[Immediate, str, Node, int]] = field(default_factory=list)
    wrapped: bool = False

    @property
    def size(self) -> int:
        return self.instruction.size


class Template:
    """An instruction and its assembly string, ready to match.

    Parameters
    ----------
    instruction : Instruction
    fixed : (Field, int), optional
        What the mnemonic's suffix states.
    """

    def __init__(self, instruction: Instruction, fixed: tuple[Field, int] | None = None) -> None:
        self.instruction = instruction
        self.match = instruction.match | (fixed[0].insert(fixed[1]) if fixed else 0)
        self.fields = {each.name: each for each in instruction.fields}
        self.operands = elements(instruction.operands, self.fields)

    @functools.cached_property
    def by_field(self) -> dict[str, Register | Immediate]:
        """Elements by the field they fill."""
        return {e.field.name: e for o in self.operands for e in o if isinstance(e, Register | Immediate)}

    def code(self, written: list[list[Token]], end: int, resolve: Callable[[Node], Node]) -> Coded:
        """Match operands and encode what is known.

        Parameters
        ----------
        written, end
            As for `match`.
        resolve : callable
            Puts in what is known about symbols.

        Raises
        ------
        Problem
            They do not match, or a number does not fit.
        """
        coded = Coded(self.instruction, self.match)
        for element, tokens in match(self.operands, written, end):
            if isinstance(element, Register):
                value = element.encode(tokens[0].value)
                assert value is not None
                self.put(coded, element.field, value)
            elif isinstance(element, Immediate):
                self._immediate(coded, element, tokens, resolve, end)
        return coded

    def put(self, coded: Coded, into: Field, value: int) -> None:
        """Fill a field; one that stands twice in the string must be written equal."""
        if coded.values.setdefault(into.name, value) != value:
            raise Problem(f"expected the same operand for {into.name} in both places")
        coded.word |= into.insert(value)

    def _immediate(
        self,
        coded: Coded,
        element: Immediate,
        tokens: list[Token],
        resolve: Callable[[Node], Node],
        end: int,
    ) -> None:
        if not tokens:
            self.put(coded, element.field, 0)
            return
        at, form = column(tokens[0]), element.form
        node: Node
        if form == "c" and (number := csr_numbers().get(tokens[0].value)) is not None and len(tokens) == 1:
            node = number
        elif form == "f" and len(tokens) == 1 and tokens[0].type == "NAME":
            node = ordering(tokens[0])
        else:
            node = resolve(parse_expression(tokens, end))
            if form == "c" and not isinstance(node, int) and len(tokens) == 1:
                raise Problem(
                    f"expected a CSR, found {str(tokens[0])!r}{suggestion(str(tokens[0]), csr_numbers())}", at
                )
        kind = "target" if form in ("t", "p") else "abs"
        if isinstance(node, Relocation):
            kind, node = self._relocation(element, node)
        if isinstance(node, int) and kind in ("abs", "hi", "lo"):
            value = relocated(kind, node, 0)
            if not element.fits(value):
                raise Problem(element.out_of_range(value), at)
            coded.values[element.field.name] = element.normal(value)
            coded.wrapped |= element.normal(value) != value
            coded.word |= element.insert(value)
            if kind == "abs":
                return
            # GNU as never compresses what %hi and %lo were written for.
            coded.values.pop(element.field.name)
        coded.symbolic.append((element, kind, node, at))

    def _relocation(self, element: Immediate, node: Relocation) -> tuple[str, Node]:
        allowed = {"u": ("hi", "pcrel_hi"), "s": ("lo", "pcrel_lo", "_prev_lo")}.get(element.form, ())
        if self.instruction.size == 2:
            allowed = ()
        if node.name not in allowed:
            if node.name.startswith(("tprel", "tls", "got", "gp")):
                why = "there is no dynamic linker and no thread-local storage: use %hi, %lo, %pcrel_hi or %pcrel_lo"
            else:
                names = ", ".join(f"%{name}" for name in allowed if name[0] != "_")
                why = f"expected {names} or a number here" if names else "this operand takes no relocation"
            raise Problem(f"%{node.name} cannot stand here: {why}", node.column)
        return node.name, node.argument


def ordering(token: Token) -> int:
    """The set of a fence: letters of iorw in this order."""
    text = token.value
    value = 0
    for letter in text:
        bit = {"i": 8, "o": 4, "r": 2, "w": 1}.get(letter, 0)
        if not bit or value & (2 * bit - 1):
            raise Problem(f"expected letters of iorw in this order, found {text!r}", column(token))
        value |= bit
    return value


def relocated(kind: str, value: int, pc: int) -> int:
    """What an operand holds of a value: all, the distance, or a part of either (psABI, "Relocations")."""
    if kind in ("target", "pcrel_hi", "pcrel_lo", "_prev_lo"):
        value = wrap(value - pc, 32, True)
    if kind in ("hi", "pcrel_hi"):
        return ((value + 0x800) >> 12) & 0xFFFFF
    if kind in ("lo", "pcrel_lo", "_prev_lo"):
        return wrap(value, 12, True)
    return value


def cut(text: str, start: int = 0) -> list[list[Token]]:
    """Operand text to operands; columns count from `start`."""
    if not text or text.isspace():
        return []
    try:
        tokens = tokenize(text)
    except Problem as problem:
        raise Problem(problem.message, start + (problem.column or 0)) from None
    if start:
        for token in tokens:
            token.start_pos = (token.start_pos or 0) + start
    return split_commas(tokens)


def best(problems: Iterable[Problem]) -> Problem:
    """The problem that was found furthest to the right: the candidate that matched longest."""
    return max(problems, key=lambda p: -1 if p.column is None else p.column)
