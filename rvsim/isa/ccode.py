"""C of the interpreter from micro-ops: a decoder, and one handler for each distinct behaviour.

What depends on fields and the pc alone is decided when an instruction is predecoded: an `if` on such a condition
splits the
instruction into variants (``addi`` with rd = x0 does nothing), register numbers and immediates become operand slots
of the
predecoded instruction. Variants of different instructions with the same C share a handler (``c.addi`` and ``addi``).

The generated header defines, for `rvsim/machine/hart.h`:

    DECODE_BODY     fills a `struct decoded` from a word, its pc and whether IALIGN is 32
    HANDLERS        the handlers' code, for the body of `hart_run`
    HANDLER_LABELS  their labels, in order; HANDLER_ENDS, whether each ends a basic block
    CHAINS          which handlers in a row have one for all (`fusion.py`); CHAIN_LABELS, those
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rvsim.isa.build import Range
from rvsim.isa.fusion import PREDICATED, chain_lines, chain_text, chains, over_text, predicated_text
from rvsim.isa.ir import Field, Instruction, Isa, Op, type_range, walk

# Slots of a predecoded instruction (struct insn in hart.h).
REGISTER_SLOTS = 4
CONSTANT_SLOTS = 2
# Extern functions that only record something or trap; all others end a basic block.
INLINE_CALLS = frozenset({"set_tval", "probe_store"})


class GenerationError(Exception):
    """The description uses something the interpreter has no code for."""


class Variant(NamedTuple):
    """One instruction under fixed truths of its static conditions."""

    conditions: list[tuple[int, bool]]
    body: list[Op]


# ------------------------------------------------------------ C types and expressions
_CONTAINERS = [
    ("uint32_t", 0, 2**32 - 1),
    ("int32_t", -(2**31), 2**31 - 1),
    ("uint64_t", 0, 2**64 - 1),
    ("int64_t", -(2**63), 2**63 - 1),
    ("__int128", -(2**127), 2**127 - 1),
]
_BITS = {"uint32_t": 32, "int32_t": 32, "uint64_t": 64, "int64_t": 64, "__int128": 128}
_UNSIGNED = {
    "uint32_t": "uint32_t",
    "int32_t": "uint32_t",
    "uint64_t": "uint64_t",
    "int64_t": "uint64_t",
    "__int128": "unsigned __int128",
}


def container(*ranges: Range) -> str:
    """The smallest C type that holds all the ranges."""
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    for name, least, most in _CONTAINERS:
        if least <= low and high <= most:
            return name
    raise GenerationError(f"values from {low} to {high} fit into no container")


def _literal(value: int) -> str:
    if -(2**31) < value < 2**31:
        return str(value)
    if 0 <= value < 2**32:
        return f"{value:#x}u"
    if -(2**63) < value < 2**64:
        return f"{value:#x}ull" if value >= 0 else f"({value}ll)"
    raise GenerationError(f"the constant {value} is too wide")


_COMPARISONS = {"eq": "==", "lt": "<", "le": "<="}


class Expressions:
    """C text of pure operations; `names` maps values to C expressions of their container's type.

    Of the values in `low` only 32 bits matter, so that `lw` and `c.lw`, whose offsets differ in sign, have equal text.
    """

    def __init__(self, ranges: list[Range], low: Iterable[int] = ()) -> None:
        self.ranges = ranges
        self.low = frozenset(low)
        self.names: dict[int, str] = {}

    def type(self, temp: int) -> str:
        return "uint32_t" if temp in self.low else container(self.ranges[temp])

    def name(self, temp: int) -> str:
        low, high = self.ranges[temp]
        return _literal(low) if low == high else self.names[temp]

    def pure(self, op: Op) -> str:
        """The operation's value in the container of its result."""
        to = self.type(op.result)
        wide = _UNSIGNED[to]
        x = [self.name(a) for a in op.args]

        def modular(symbol: str) -> str:
            return f"({to})(({wide})({x[0]}) {symbol} ({wide})({x[1]}))"

        match op.code:
            case "add" | "sub" | "mul" | "and" | "or" | "xor":
                return modular({"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}[op.code])
            case "neg":
                return f"({to})(0 - ({wide})({x[0]}))"
            case "div" | "rem":
                # In a container that holds operands and result, so that the lowest value / -1 does not overflow.
                common = container(*(self.ranges[a] for a in op.args), self.ranges[op.result])
                a, b = f"({common})({x[0]})", f"({common})({x[1]})"
                safe = self.ranges[op.args[1]][0] > 0 or self.ranges[op.args[1]][1] < 0
                symbol, otherwise = ("/", "-1") if op.code == "div" else ("%", a)
                return (
                    f"({to})({a} {symbol} {b})"
                    if safe
                    else f"({to})({b} != 0 ? {a} {symbol} {b} : ({common}){otherwise})"
                )
            case "shl":
                width = op.attr[0]
                shifted = self._wrap(f"(({wide})({x[0]}) << ({x[1]}))", to, op.attr[0], op.attr[1])
                low, high = self.ranges[op.args[1]]
                if width > _BITS[to]:
                    raise GenerationError("a left shift is wider than its container")
                return shifted if low >= 0 and high < width else f"((uint64_t)({x[1]}) < {width}u ? {shifted} : 0)"
            case "shr":
                source = self.type(op.args[0])
                low, high = self.ranges[op.args[1]]
                shifted = f"({to})(({source})({x[0]}) >> ({x[1]}))"
                if low >= 0 and high < _BITS[source]:
                    return shifted
                return f"((uint64_t)({x[1]}) < {_BITS[source]}u ? {shifted} : ({to})({x[0]} < 0 ? -1 : 0))"
            case "wrap":
                return self._wrap(x[0], to, op.attr[0], op.attr[1])
            case "eq" | "lt" | "le":
                common = container(*(self.ranges[a] for a in op.args))
                return f"(uint32_t)(({common})({x[0]}) {_COMPARISONS[op.code]} ({common})({x[1]}))"
            case "select":
                return f"({to})(({x[0]}) ? ({to})({x[1]}) : ({to})({x[2]}))"
        raise GenerationError(f"no C for the operation {op.code}")

    def _wrap(self, text: str, to: str, width: int, signed: bool) -> str:
        if width in (8, 16, 32, 64):
            return f"({to})({'' if signed else 'u'}int{width}_t)({text})"
        wide = _UNSIGNED[container(type_range(width, signed))]
        if not signed:
            return f"({to})((({wide})({text})) & {_literal((1 << width) - 1)})"
        bits = _BITS[container(type_range(width, True))]
        holder = container(type_range(width, True))
        return f"({to})(({holder})(({wide})({text}) << {bits - width}) >> {bits - width})"


_MODULAR = ("add", "sub", "mul", "neg", "and", "or", "xor")


def low_values(body: list[Op]) -> set[int]:
    """Values of which only the lower 32 bits reach a register, an address or memory."""
    ops = list(walk(body))
    low = {a for op in ops for a in op.args} | {op.result for op in ops}
    while True:
        whole: set[int] = set()
        for op in ops:
            match op.code:
                case "put" | "store":
                    used = set(op.args[:-1] if op.code == "put" or op.attr[0] != "MEM" else ())
                case "load" if op.attr[0] == "MEM":
                    used = set()
                case "setpc":
                    used = set()
                case "wrap" if op.attr[0] <= 32:
                    used = set()
                case code if code in _MODULAR and op.result in low:
                    used = set()
                case _:
                    used = set(op.args)
            whole |= used
            if op.code not in (*_MODULAR, "get", "wrap"):
                whole.add(op.result)
        if not whole & low:
            return low
        low -= whole


# ------------------------------------------------------------ variants
def _static_conditions(ops: list[Op], static: set[int]) -> int | None:
    """The first static condition of an `if`, in order; None when all are dynamic."""
    for op in ops:
        if op.code == "if" and op.args[0] in static:
            return op.args[0]
        for body in op.bodies:
            found = _static_conditions(body, static)
            if found is not None:
                return found
    return None


def _assume(ops: list[Op], condition: int, truth: bool) -> list[Op]:
    result: list[Op] = []
    for op in ops:
        if op.code == "if" and op.args[0] == condition:
            result += _assume(op.bodies[0 if truth else 1], condition, truth)
        elif op.bodies:
            result.append(Op(op.code, op.result, op.args, op.attr, [_assume(b, condition, truth) for b in op.bodies]))
        else:
            result.append(op)
    return result


def variants(instruction: Instruction) -> list[Variant]:
    """Every combination of the instruction's static conditions that changes its body."""
    static = {op.result for op in instruction.static}

    def split(ops: list[Op], conditions: list[tuple[int, bool]]) -> list[Variant]:
        condition = _static_conditions(ops, static)
        if condition is None:
            from rvsim.isa.model import remove_dead

            return [Variant(conditions, remove_dead(ops, [])[0])]
        return [
            v
            for truth in (True, False)
            for v in split(_assume(ops, condition, truth), [*conditions, (condition, truth)])
        ]

    return split(instruction.body, [])


def ends_block(body: list[Op]) -> bool:
    """Whether control may leave the straight line behind these operations, or the machine acts behind them."""
    for op in walk(body):
        if op.code == "setpc" or (op.code == "call" and op.attr not in INLINE_CALLS):
            return True
        if op.code in ("load", "store") and op.attr[0] != "MEM":
            return True
    return bool(body) and body[-1].code == "raise"


def has_window(body: list[Op]) -> bool:
    """Whether a window of memory serves the body.

    A window counts one access for each execution, so the body must make one, and make it always.
    """
    memory = [op for op in walk(body) if op.code in ("load", "store") and op.attr[0] == "MEM"]
    return len(memory) == 1 and any(op is memory[0] for op in body)


# ------------------------------------------------------------ handlers
class Handler:
    """C of one variant's body, with the values its operand slots take."""

    def __init__(self, instruction: Instruction, variant: Variant) -> None:
        self.e = Expressions(instruction.ranges, low_values(variant.body))
        self.instruction, self.variant = instruction, variant
        self.static = {op.result for op in instruction.static}
        self.registers: list[int] = []
        self._roles: list[
            tuple[int, str]
        ] = []  # reads and writes have slots of their own: c.addi is addi with rd = rs1
        self.constants: list[int] = []
        # The second slot of a load or store holds its window.
        self.window = has_window(variant.body)
        self.room = CONSTANT_SLOTS - self.window
        self.lines: list[str] = []
        self.ends = ends_block(variant.body)
        self.targets: list[int] = [op.args[0] for op in walk(variant.body) if op.code == "setpc"]
        class_ = instruction_class(instruction)
        if class_ in ("divide", "multiply-high"):  # with rd = x0 too: the unit works all the same
            self._record_operands("DIVIDES" if class_ == "divide" else "MULTIPLIES")
        self._ops(variant.body, 1)

    def _register(self, temp: int, role: str) -> str:
        if self.e.ranges[temp] == (0, 0):
            return "x[0]"
        if (
            temp,
            role,
        ) not in self._roles:  # fixed registers (c.lwsp: sp) take a slot too, which makes it one handler with lw
            if temp not in self.static or len(self.registers) == REGISTER_SLOTS:
                raise GenerationError(
                    f"{self.instruction.name}: register numbers come from fields, at most {REGISTER_SLOTS}"
                )
            self.registers.append(temp)
            self._roles.append((temp, role))
        return f"x[in->r[{self._roles.index((temp, role))}]]"

    def _place(self, op: Op, index: list[int], role: str) -> str:
        """A register of X, or a single one, which `struct hart` has under its name."""
        if op.attr != "X" and index:
            raise GenerationError(f"{self.instruction.name}: the interpreter has no register file {op.attr}")
        return self._register(index[0], role) if index else f"h->reg_{op.attr}"

    def _value(self, temp: int) -> str:
        low, high = self.e.ranges[temp]
        if low == high or temp not in self.static:
            return self.e.name(temp)
        if temp not in self.constants:
            if len(self.constants) == self.room or self.e.type(temp) not in ("uint32_t", "int32_t"):
                raise GenerationError(f"{self.instruction.name}: at most {self.room} constants of 32 bits")
            self.constants.append(temp)
        return f"({self.e.type(temp)})in->k[{self.constants.index(temp)}]"

    def _record_operands(self, how: str) -> None:
        """Latency depends on the operands in many cores: divisions are counted by their magnitude."""
        by_field = {op.attr: op.result for op in self.instruction.static if op.code == "field"}
        operands = [self._register(by_field[field], "read") for field in ("rs1", "rs2")]
        self.lines.append(f"    {how}({operands[0]}, {operands[1]});")

    def _ops(self, ops: list[Op], depth: int) -> None:
        for op in ops:
            self._op(op, "    " * depth, depth)

    def _define(self, op: Op, text: str, pad: str) -> None:
        self.e.names[op.result] = f"v{op.result}"
        self.lines.append(f"{pad}const {self.e.type(op.result)} v{op.result} = {text};")

    def _op(self, op: Op, pad: str, depth: int) -> None:
        for a in op.args:  # slots of static operands, in order of use
            if a in self.static and op.code not in ("get", "put"):
                self.e.names[a] = self._value(a)
        match op.code:
            case "get":
                self._define(op, self._place(op, op.args, "read"), pad)
            case "put":
                value = self._value(op.args[-1])
                self.lines.append(f"{pad}{self._place(op, op.args[:-1], 'write')} = (uint32_t)({value});")
            case "getvar":
                self._define(op, f"var{op.attr}", pad)
            case "setvar":
                self.lines.append(f"{pad}var{op.attr} = {self.e.name(op.args[0])};")
            case "load" | "store":
                self._access(op, pad)
            case "setpc":
                self.lines.append(f"{pad}SETPC((uint32_t)({self.e.name(op.args[0])}));")
            case "call":
                if op.result >= 0:
                    raise GenerationError(f"{self.instruction.name}: extern function {op.attr} with a result")
                self.lines.append(f"{pad}CALL_{op.attr}({', '.join(self.e.name(a) for a in op.args)});")
            case "raise":
                self.lines.append(f"{pad}RAISE({self.e.name(op.args[0])}, {self.e.name(op.args[1])});")
            case "if":
                self.lines.append(f"{pad}if ({'' if op.bodies[0] else '!'}{self.e.name(op.args[0])}) {{")
                self._ops(op.bodies[0] or op.bodies[1], depth + 1)
                if op.bodies[0] and op.bodies[1]:
                    self.lines.append(f"{pad}}} else {{")
                    self._ops(op.bodies[1], depth + 1)
                self.lines.append(f"{pad}}}")
            case "loop" | "scope":
                self.lines.append(f"{pad}{'for (;;) ' if op.code == 'loop' else ''}{{")
                self._ops(op.bodies[0], depth + 1)
                left = any(o.code == "leave" and o.attr == op.attr for o in walk(op.bodies[0]))
                self.lines.append(f"{pad}}} LEAVE_LABEL({op.attr});" if left else f"{pad}}}")
            case "leave":
                self.lines.append(f"{pad}LEAVE({op.attr});")
            case _:
                self._define(op, self.e.pure(op), pad)

    def _access(self, op: Op, pad: str) -> None:
        space, size, big_endian = op.attr
        address = self.e.name(op.args[0])
        if space == "CSR":
            if op.code == "load":
                self.lines.append(f"{pad}uint32_t v{op.result}; CSR_READ({address}, v{op.result});")
                self.e.names[op.result] = f"v{op.result}"
            else:
                self.lines.append(f"{pad}CSR_WRITE({address}, (uint32_t)({self.e.name(op.args[1])}));")
            return
        if space != "MEM" or size not in (1, 2, 4) or (big_endian and size > 1):
            raise GenerationError(f"{self.instruction.name}: no access of {size} bytes to {space}")
        bits = f"{8 * size}(" if self.window else f"({8 * size}, "
        plain = "" if self.window else "PLAIN_"
        if op.code == "load":
            self.lines.append(f"{pad}uint{8 * size}_t v{op.result}; {plain}LOAD{bits}{address}, v{op.result});")
            self.e.names[op.result] = f"(uint32_t)v{op.result}"
        else:
            value = f"(uint{8 * size}_t)({self.e.name(op.args[1])})"
            self.lines.append(f"{pad}{plain}STORE{bits}{address}, {value});")

    def text(self) -> str:
        """The handler's C without its label: equal texts are one handler."""
        variables = sorted({op.attr for op in walk(self.variant.body) if op.code in ("getvar", "setvar")})
        head = [f"    {container(self.instruction.variables[n])} var{n} = 0;" for n in variables]
        if not self.ends:
            end = "NEXT;"
        elif not self.targets:
            end = "FALL_THROUGH;"
        elif all(t in self.static for t in self.targets) and len(set(self.targets)) == 1:
            end = "BRANCH;"
        else:
            end = "JUMP;"
        if end in ("BRANCH;", "JUMP;"):
            head.append("    uint32_t taken = 0, npc = 0;")
        return _renumber("\n".join([*head, *self.lines, f"    {end}"]))


def _renumber(text: str) -> str:
    """Values and variables numbered by appearance, so that equal behaviours have equal text."""
    import re

    seen: dict[str, str] = {}
    return re.sub(r"\b(v|var)(\d+)\b", lambda m: seen.setdefault(m[0], f"{m[1]}{len(seen)}"), text)


# ------------------------------------------------------------ classes
def instruction_class(instruction: Instruction) -> str:
    """Timing class derived from the behaviour: what the default core models distinguish."""
    codes = list(walk(instruction.body))
    kinds = {op.code for op in codes}
    spaces = {op.attr[0] for op in codes if op.code in ("load", "store")}
    calls = {op.attr for op in codes if op.code == "call"} - INLINE_CALLS
    if instruction.set == "RVA":
        return "atomic"
    if "CSR" in spaces:
        return "csr"
    if "coprocessor_issue" in calls:
        return "coprocessor"
    if calls or (instruction.body and instruction.body[-1].code == "raise"):
        return "fence-i" if "fence_i" in calls else "system"
    if "store" in kinds and "load" not in kinds:
        return "store"
    if "load" in kinds:
        return "load"
    if "setpc" in kinds:
        static = {op.result for op in instruction.static}
        conditional = any(
            op.code == "if" and op.args[0] not in static and any(o.code == "setpc" for o in walk([op])) for op in codes
        )
        return "branch" if conditional else "jump"
    if kinds & {"div", "rem"}:
        return "divide"
    if "mul" in kinds:
        return "multiply-high" if any(op.code == "shr" for op in codes) else "multiply"
    if not instruction.body and instruction.mnemonic.startswith("fence"):
        return "fence"
    return "alu"


# ------------------------------------------------------------ the decoder
def _field_expression(field: Field, word: str) -> str:
    parts = []
    for position, target, bits in field.slices:
        piece = f"(({word} >> {position}) & {hex((1 << bits) - 1)}u)"
        parts.append(f"({piece} << {target})" if target else piece)
    return "(" + " | ".join(parts) + ")"


class Form(NamedTuple):
    """An instruction as it is under one instruction alignment, and its variants with the numbers of their handlers."""

    instruction: Instruction
    handlers: list[tuple[Variant, Handler, int]]


def _decode_case(number: int, form: Form, aligned: Form | None, pad: str) -> list[str]:
    instruction, inner = form.instruction, pad + "    "
    lines = [f"{pad}if ((w & {instruction.mask:#x}u) == {instruction.match:#x}u) {{ /* {instruction.mnemonic} */"]
    lines.append(f"{inner}d->instruction = {number}; d->size = {instruction.size};")
    if aligned:
        lines += [f"{inner}if (ialign4) {{", *_decode_form(aligned, inner + "    "), f"{inner}}}"]
    return [*lines, *_decode_form(form, inner), f"{pad}}}"]


def _decode_form(form: Form, pad: str) -> list[str]:
    """Which variant a word is, and its operands."""
    instruction, handlers = form
    e = Expressions(instruction.ranges)
    fields = {f.name: f for f in instruction.fields}
    lines = []
    needed: set[int] = set()
    for variant, handler, _ in handlers:
        needed.update(c for c, _ in variant.conditions)
        needed.update(handler.registers)
        needed.update(handler.constants)
    for op in reversed(instruction.static):
        if op.result in needed:
            needed.update(op.args)
    for op in instruction.static:
        if op.result not in needed:
            continue
        low, high = instruction.ranges[op.result]
        if low == high:
            continue
        text = (
            _field_expression(fields[op.attr], "w") if op.code == "field" else "pc" if op.code == "pc" else e.pure(op)
        )
        e.names[op.result] = f"s{op.result}"
        lines.append(f"{pad}const {e.type(op.result)} s{op.result} = {text};")
    for variant, handler, index in handlers:
        condition = " && ".join(f"{'' if truth else '!'}{e.name(c)}" for c, truth in variant.conditions) or "1"
        body = [f"d->handler = {index};"]
        body += [f"d->r[{n}] = (uint8_t)({e.name(t)});" for n, t in enumerate(handler.registers)]
        body += [f"d->k[{n}] = (uint32_t)({e.name(t)});" for n, t in enumerate(handler.constants)]
        lines.append(f"{pad}if ({condition}) {{ {' '.join(body)} return 1; }}")
    return lines


def _group(instruction: Instruction) -> tuple[int, int]:
    """Mask and match of the bits on which the decoder branches first: the opcode, or the quadrant and funct3."""
    mask = 0x7F if instruction.size == 4 else 0xE003
    return (mask, instruction.match & mask) if instruction.mask & mask == mask else (0, 0)


def generate_header(
    isa: Isa, aligned: Iterable[Instruction] = (), more: Callable[[list[Handler]], list[str]] = lambda handlers: []
) -> str:
    """The generated C header for an elaborated core.

    Parameters
    ----------
    isa : Isa
        Its registers are X, PC, and single ones that ``struct hart`` has as ``reg_NAME``.
    aligned : iterable of Instruction
        The same instructions elaborated for INSTR_ALIGNMENT = 4. Control transfers among them have handlers, too, for
        harts on which a compressed instruction set is disabled.
    more : callable
        Further lines, made from the handlers in order.
    """
    texts: dict[str, int] = {}
    names: dict[int, list[str]] = {}
    ends: list[bool] = []
    first_of: list[Handler] = []

    def form_of(instruction: Instruction, kind: str = "") -> Form:
        form = Form(instruction, [])
        for variant in variants(instruction):
            handler = Handler(instruction, variant)
            text = handler.text()
            index = texts.setdefault(text, len(texts))
            if index == len(ends):
                ends.append(handler.ends)
                first_of.append(handler)
            names.setdefault(index, []).append(instruction.mnemonic + kind)
            form.handlers.append((variant, handler, index))
        return form

    decoded = [(number, form_of(instruction)) for number, instruction in enumerate(isa.instructions)]
    common = {isa.instructions[number].mnemonic: form for number, form in decoded}
    strict = {i.name: form_of(i, " (IALIGN 32)") for i in aligned if any(op.code == "setpc" for op in walk(i.body))}
    out = [f"/* Generated from the CoreDSL descriptions of {isa.name} by rvsim/isa/ccode.py. Do not edit. */", ""]
    out.append(f"#define HANDLER_COUNT {len(texts)}")
    out.append(f"#define INSTRUCTION_COUNT {len(isa.instructions)}")
    out.append("#define HANDLER_LABELS " + ", ".join(f"&&handler_{n}" for n in range(len(texts))))
    out.append("#define HANDLER_ENDS " + ", ".join(str(int(e)) for e in ends))
    bodies = [text for text, _ in sorted(texts.items(), key=lambda item: item[1])]
    # The longest variant is the one that has a destination other than x0.
    handler_of = {m: max((n for _, _, n in form.handlers), key=lambda n: len(bodies[n])) for m, form in common.items()}
    # Branches over an instruction are handlers of their own, behind the others.
    overs = [n for n, text in enumerate(bodies) if "BRANCH;" in text and "if (" in text]
    predicated = [handler_of[name] for name in PREDICATED]
    handler_of |= {f"over:{m}": len(texts) + overs.index(n) for m, n in handler_of.items() if n in overs}
    bodies += [over_text(bodies[n]) for n in overs]
    found = chains(handler_of, bodies)
    out += chain_lines(found, bodies)
    out.append(f"#define FUSIBLE_COUNT {len(bodies)}")
    out.append("#define HANDLER_OVER " + ", ".join(f"[{n}] = {len(texts) + i}" for i, n in enumerate(overs)))
    out.append("#define OVER_LABELS " + ", ".join(f"[{n}] = &&over_{n}" for n in overs))
    out.append("#define PREDICATED_LABELS " + ", ".join(f"[{n}] = &&predicated_{n}" for n in predicated))
    out += ["", *more(first_of)]
    out += ["#ifdef DECODE_BODY", "static int decode(uint32_t w, uint32_t pc, int ialign4, struct decoded *d)", "{"]
    for size in (4, 2):
        out.append(f"    {'if ((w & 3) == 3)' if size == 4 else 'else'} {{")
        groups: dict[tuple[int, int], list[tuple[int, Form]]] = {}
        for number, form in decoded:
            if form.instruction.size == size:
                groups.setdefault(_group(form.instruction), []).append((number, form))
        out.append(f"        switch (w & {0x7F if size == 4 else 0xE003:#x}u) {{")
        for (mask, match), items in sorted(groups.items()):
            if not mask:
                continue
            out.append(f"        case {match:#x}:")
            for number, form in items:
                out += _decode_case(number, form, strict.get(form.instruction.name), "            ")
            out.append("            break;")
        out += ["        }"]
        for number, form in groups.get((0, 0), []):
            out += _decode_case(number, form, strict.get(form.instruction.name), "        ")
        out.append("    }")
    out += ["    return 0;", "}", "#endif", "", "#ifdef HANDLERS"]
    for text, index in texts.items():
        # LEAVE labels are local to a handler; the macro pastes its number.
        body = text.replace("LEAVE_LABEL(", f"LEAVE_LABEL({index}, ").replace("LEAVE(", f"LEAVE({index}, ")
        out.append(f"handler_{index}: {{ /* {', '.join(dict.fromkeys(names[index]))} */\n{body}\n}}")
    out += [f"over_{n}: {{\n{over_text(bodies[n])}\n}}" for n in overs]
    out += [f"predicated_{n}: {{\n{predicated_text(bodies[n])}\n}}" for n in predicated]
    out += [f"chain_{n}: {chain_text(chain, bodies)}" for n, chain in enumerate(found)]
    out += ["#endif", ""]
    return "\n".join(out)
