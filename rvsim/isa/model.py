"""From description files to an `Isa`: encodings, overlaps, and every behaviour lowered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lark import Token, Tree

from rvsim.isa import ir
from rvsim.isa.build import MAX_OPS, Builder, TooLarge
from rvsim.isa.elaborate import Elaboration, SetDeclaration, Unit, display_name
from rvsim.isa.literals import parse_integer
from rvsim.isa.lower import Behaviour, lower_behaviour
from rvsim.isa.syntax import CoreDslError, Source

# What a description without a core is checked for.
DEFAULT_PARAMETERS = {"XLEN": 32, "FLEN": 0}

_TOO_LARGE = f"a behaviour makes more than {MAX_OPS} operations"
_TOO_DEEP = "expressions, blocks or sets are nested too deeply"


@contextmanager
def _bounded(path: Path) -> Iterator[None]:
    """Hostile descriptions end in an error of their file, too."""
    try:
        yield
    except TooLarge:
        raise CoreDslError(_TOO_LARGE, display_name(path)) from None
    except RecursionError:
        raise CoreDslError(_TOO_DEEP, display_name(path)) from None


def load_core(path: Path, core: str, search: Sequence[Path] = ()) -> ir.Isa:
    """Elaborate one `Core` of a file.

    Raises
    ------
    CoreDslError
        When the file breaks a rule of the language or has no such core.
    """
    with _bounded(path):
        unit = Unit(path, search)
        if core not in unit.cores:
            raise CoreDslError(f"expected a Core {core}; found {', '.join(unit.cores) or 'none'}", str(path))
        return compile_sets(unit, [unit.cores[core]])


def load_extension(path: Path, search: Sequence[Path] = (), lenient: bool = False) -> ir.Isa:
    """The instructions that a file itself declares, for adding to another core (``--isa-ext``).

    What its sets stand on (registers, memory, functions) is elaborated with them; instructions of imported sets are
    left out.
    """
    with _bounded(path):
        unit = Unit(path, search)
        sets = [d for d in unit.declared if not d.is_core]
        if not sets:
            raise CoreDslError("expected at least one InstructionSet", str(path))
        isa = compile_sets(unit, sets, DEFAULT_PARAMETERS, own_only=True, lenient=lenient)
        isa.warnings[:0] = unit.warnings
        return isa


def check_file(
    path: Path, search: Sequence[Path] = (), parameters: dict[str, int] | None = None, lenient: bool = False
) -> list[ir.Isa]:
    """Elaborate and type every instruction set and core that a file declares, each by itself."""
    with _bounded(path):
        unit = Unit(path, search)
        if not unit.declared:
            raise CoreDslError("expected at least one InstructionSet or Core", str(path))
        defaults = {**DEFAULT_PARAMETERS, **(parameters or {})}
        results = [
            compile_sets(unit, [d], defaults, own_only=not d.is_core, lenient=lenient, check=True)
            for d in unit.declared
        ]
        results[0].warnings[:0] = unit.warnings
        return results


def compile_sets(
    unit: Unit,
    targets: list[SetDeclaration],
    defaults: dict[str, int] | None = None,
    own_only: bool = False,
    lenient: bool = False,
    check: bool = False,
) -> ir.Isa:
    """Elaborate sets or a core and lower every enabled instruction.

    Parameters
    ----------
    own_only : bool
        Keep only the instructions that the targets declare themselves, not those of their bases.
    check : bool
        Also type the bodies of functions that no instruction calls.
    """
    order = unit.linearise(targets)
    e = Elaboration(order, defaults)
    parameters, warnings = e.parameters, list(e.warnings)
    externs: dict[str, ir.ExternFunction] = {}
    instructions: list[tuple[ir.Instruction, Tree, SetDeclaration]] = []
    for tree, declaration in e.instructions:
        if own_only and not any(declaration is t for t in targets):
            continue
        try:
            own = any(declaration.source is t.source for t in targets)
            instruction, behaviour = _instruction(e, tree, declaration, lenient, own)
        except TooLarge:
            raise declaration.source.error(_TOO_LARGE, tree) from None
        except RecursionError:
            raise declaration.source.error(_TOO_DEEP, tree) from None
        instructions.append((instruction, tree, declaration))
        warnings += behaviour.warnings
        for name, function in behaviour.externs.items():
            result = function.result
            externs[name] = ir.ExternFunction(
                name,
                (result.width, result.signed) if result else None,
                [(kind.width, kind.signed) for _, kind in function.parameters],
            )
    loops = [loop for tree, declaration in e.always for loop in _always(e, tree, declaration)]
    if check:
        _check_functions(e, lenient)
    resolved = _resolve(instructions, warnings)
    return ir.Isa(
        "+".join(t.name for t in targets),
        [d.name for d in order],
        parameters,
        e.registers,
        e.spaces,
        list(externs.values()),
        resolved,
        warnings,
        loops,
    )


# ------------------------------------------------------------ one instruction
def _encoding(tree: Tree, source: Source) -> tuple[int, int, int, list[ir.Field]]:
    """Bits, mask, match and fields of an encoding; parts are written most significant first."""
    parts: list[tuple[int, Token | None, int, int]] = []  # bits, field or None, value or lowest index, width
    for part in tree.children:
        assert isinstance(part, Tree)
        if part.data == "enc_bits":
            try:
                value, kind = parse_integer(str(part.children[0]))
            except ValueError as error:
                raise source.error(str(error), part) from None
            parts.append((kind.width, None, value & ((1 << kind.width) - 1), 0))
        else:
            name = part.children[0]
            try:
                high, low = (parse_integer(str(bound))[0] for bound in part.children[1:])
            except ValueError as error:
                raise source.error(str(error), part) from None
            if not 0 <= low <= high < 64:
                raise source.error(f"{name}[{high}:{low}]: expected [high:low] with high >= low and below 64", part)
            parts.append((high - low + 1, name, low, high + 1))  # type: ignore[arg-type]
    bits = sum(p[0] for p in parts)
    if bits not in (16, 32):
        raise source.error(f"expected an encoding of 16 or 32 bits, found {bits}", tree)
    mask = match = 0
    slices: dict[str, list[tuple[int, int, int]]] = {}
    widths: dict[str, int] = {}
    position = bits
    for width, name, low, end in parts:
        position -= width
        if name is None:
            mask |= ((1 << width) - 1) << position
            match |= low << position
            continue
        taken = sum(((1 << n) - 1) << at for _, at, n in slices.get(str(name), []))
        if taken & (((1 << width) - 1) << low):
            raise source.error(f"field {name}: bits {end - 1}:{low} stand in the encoding twice", name)
        slices.setdefault(str(name), []).append((position, low, width))
        widths[str(name)] = max(widths.get(str(name), 0), end)
    return bits, mask, match, [ir.Field(n, widths[n], s) for n, s in slices.items()]


def _instruction(
    e: Elaboration, tree: Tree, declaration: SetDeclaration, lenient: bool, own: bool
) -> tuple[ir.Instruction, Behaviour]:
    """One instruction; `own` says that the file asked for declares it, not one it imports."""
    source, name = declaration.source, str(tree.children[0])
    parts = {c.data: c for c in tree.children if isinstance(c, Tree)}
    bits, mask, match, fields = _encoding(parts["encoding"], source)
    mnemonic, operands = default_mnemonic(name), ""
    if "assembly_args" in parts:
        operands = _string(parts["assembly_args"].children[0])
    elif "assembly_full" in parts:
        mnemonic, operands = (_string(c) for c in parts["assembly_full"].children)
    mnemonic, brace, rest = mnemonic.partition("{")
    suffix = brace + rest
    behaviour, builder = lower_behaviour(
        e,
        {f.name: f.width for f in fields},
        {f.name: f.encodable for f in fields},
        parts["behavior"],
        declaration,
        bits,
        lenient,
    )
    where = f"{source.name}:{tree.meta.line}"
    notes = []
    if behaviour.guard_missing:
        notes.append("writes of x0 are dropped: the behaviour has no if (rd != 0)")
    if (match & mask & 3 == 3) != (bits == 32) or mask & 3 != 3:
        notes.append(
            f"the two lowest bits of a {bits}-bit encoding are {'11' if bits == 32 else '00, 01 or 10'} in RISC-V"
        )
    body, static = remove_dead(builder.block, builder.static)
    used = {op.attr for op in static if op.code == "field"}
    shown = set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"\{([^}]*)\}", suffix + operands))))
    for field in fields:
        gaps = ((1 << field.width) - 1) & ~field.encodable
        low = (field.encodable & -field.encodable).bit_length() - 1
        if gaps >> low:
            notes.append(
                f"field {field.name}: bits {_bit_list(gaps >> low << low)} stand nowhere in the encoding and are 0"
            )
        # Whoever imports a set cannot do anything about its fields, and some are ignored by intention (fence).
        if own and field.name not in used and field.name not in shown:
            notes.append(f"field {field.name} is used neither by the behaviour nor by the assembly text")
    for note in notes:
        behaviour.warnings.append(f"{where}: {name}: {note}")
    instruction = ir.Instruction(
        name,
        declaration.name,
        bits // 8,
        mask,
        match,
        fields,
        mnemonic,
        operands,
        static,
        body,
        builder.ranges,
        builder.variables,
        where,
        notes,
        suffix,
    )
    return instruction, behaviour


def _bit_list(mask: int) -> str:
    return ", ".join(str(i) for i in range(mask.bit_length()) if mask >> i & 1)


def _string(token: object) -> str:
    return str(token)[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def default_mnemonic(name: str) -> str:
    """The mnemonic of an instruction that states none: lower case, ``__`` for a dot."""
    return name.lower().replace("__", ".") if not name.startswith("__") else name.lower()


def remove_dead(body: list[ir.Op], static: list[ir.Op]) -> tuple[list[ir.Op], list[ir.Op]]:
    """Leave out operations without effect whose result nobody reads."""
    removable = ir.PURE | {"get", "getvar"}

    def read(ops: list[ir.Op], needed: set[int]) -> None:
        for op in ops:
            needed.update(op.args)
            for block in op.bodies:
                read(block, needed)

    def sweep(ops: list[ir.Op], needed: set[int]) -> list[ir.Op]:
        kept = []
        for op in ops:
            if op.code in removable and op.result not in needed:
                continue
            op.bodies = [sweep(b, needed) for b in op.bodies]
            if op.code == "if" and not any(op.bodies):
                continue
            kept.append(op)
        return kept

    while True:
        needed: set[int] = set()
        read(body, needed)
        read(static, needed)
        smaller, fewer = sweep(body, needed), sweep(static, needed)
        if _count(smaller) + len(fewer) == _count(body) + len(static) and smaller == body:
            return smaller, fewer
        body, static = smaller, fewer


def _count(ops: list[ir.Op]) -> int:
    return sum(1 + sum(_count(b) for b in op.bodies) for op in ops)


# ------------------------------------------------------------ the whole set
def _resolve(
    instructions: list[tuple[ir.Instruction, Tree, SetDeclaration]], warnings: list[str]
) -> list[ir.Instruction]:
    """Instructions in decoding order; equal encodings of later sets replace earlier ones."""
    by_code: dict[tuple[int, int, int], tuple[ir.Instruction, SetDeclaration]] = {}
    for instruction, tree, declaration in instructions:
        key = (instruction.size, instruction.mask, instruction.match)
        if key in by_code:
            earlier, earlier_declaration = by_code[key]
            if earlier_declaration is declaration:
                reason = f"{instruction.name} has the encoding of {earlier.name} ({earlier.where})"
                raise declaration.source.error(reason, tree)
            warnings.append(
                f"{instruction.where}: {instruction.name} of {instruction.set} replaces {earlier.name} of "
                f"{earlier.set}: equal encodings"
            )
        by_code[key] = instruction, declaration
    # Most fixed bits first: of two nested encodings the special one is meant.
    ordered = sorted((i for i, _ in by_code.values()), key=lambda i: -i.fixed_bits)
    for a, b in overlaps(ordered):
        both = a.mask & b.mask
        if both not in (a.mask, b.mask):
            word = f"{a.match | b.match:#0{2 + 2 * a.size}x}"
            warnings.append(f"{a.where}: {a.name} and {b.name} ({b.where}) both match {word}; {a.name} wins")
    return ordered


def overlaps(instructions: list[ir.Instruction]) -> list[tuple[ir.Instruction, ir.Instruction]]:
    """Pairs of instructions that some word matches both of."""
    return [
        (a, b)
        for n, a in enumerate(instructions)
        for b in instructions[n + 1 :]
        if a.size == b.size and (a.match ^ b.match) & a.mask & b.mask == 0
    ]


_LOOP = re.compile(
    r"if \(\((?P<count>\S+) != 0\) && \((PC|\(PC \+ (?P<ahead>\d+)\)) == (?P<end>\S+)\)\) "
    r"\{if \((?P=count) != 1\) (?P<block>\{)?\(PC = (?P<start>\S+)\);(?(block)\};)\((?P=count) -= 1\);\};"
)
_STATE = re.compile(r"(\w+)(?:\[(\d+)\])?")


def _always(e: Elaboration, tree: Tree, declaration: SetDeclaration) -> list[ir.HardwareLoop]:
    """The hardware loop that an always block describes; none where it only increments the PC, which the hart does."""
    text = "".join(map(_text, tree.children[-1].children)) if isinstance(tree.children[-1], Tree) else ""
    if re.fullmatch(r"\(PC (\+= |= \(PC \+ )(\d+|__encoding_size|\(__encoding_size / 8\))\)?\);", text):
        return []
    if loop := _LOOP.fullmatch(text):
        start, end, count = (_register(e, loop[name]) for name in ("start", "end", "count"))
        if start and end and count:
            return [ir.HardwareLoop(start, end, count, int(loop["ahead"] or 0))]
    raise declaration.source.error(
        "expected an always block PC = PC + 4, or of a hardware loop with registers of 32 bits, "
        "if (COUNT != 0 && PC + 4 == END) { if (COUNT != 1) PC = START; COUNT -= 1; }; found something else",
        tree,
    )


def _text(part: Tree | Token) -> str:
    """Statements and simple expressions in one spelling."""
    if isinstance(part, Token):
        return str(part)
    texts = [_text(child) for child in part.children]
    match part.data:
        case "binary" | "assign":
            return f"({' '.join(texts)})"
        case "index":
            return "[".join(texts) + "]"
        case "if_":
            return f"if {' '.join(texts)}"
        case "block":
            return f"{{{''.join(texts)}}};"
        case "expr_stmt":
            return f"{''.join(texts)};"
    return "".join(texts)


def _register(e: Elaboration, text: str) -> tuple[str, int] | None:
    """A register that `NAME` or `NAME[0]` means; None where there is none that an address or count fits into."""
    named = _STATE.fullmatch(text)
    file = next((r for r in e.registers if named and r.name == named[1]), None)
    if named is None or file is None or (file.width, file.signed, file.role) != (32, False, ""):
        return None
    number = int(named[2] or 0)
    return (file.name, number) if number < max(1, file.count) and (named[2] is None) == (file.count == 0) else None


def _check_functions(e: Elaboration, lenient: bool) -> None:
    for function in e.functions.values():
        if function.body is None:
            continue
        builder = Builder()
        behaviour = Behaviour(e, {}, builder, function.source, 32, lenient)
        temps = [
            builder.effect("getvar", attr=builder.variable(*kind.range), result=kind.range)
            for _, kind in function.parameters
        ]
        behaviour.inline(function, temps, function.body)
