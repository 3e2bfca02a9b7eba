"""Expressions and assignments of CoreDSL 2 to micro-ops: names resolved, types and conversions checked.

The type rules are those of docs/coredsl.md.
"""

from __future__ import annotations

from typing import NamedTuple

from lark import Token, Tree

from rvsim.isa import ir
from rvsim.isa.build import Builder
from rvsim.isa.elaborate import Elaboration, Function, State
from rvsim.isa.literals import BOOL, MAX_WIDTH, IntType, common_type, parse_integer, result_type, smallest_unsigned
from rvsim.isa.syntax import CoreDslError, Source


class Value(NamedTuple):
    """A typed value of the language and the micro-op value that holds it."""

    temp: int
    type: IntType


class Local(NamedTuple):
    """A local variable: a slot when it is assigned somewhere, else just the value it was declared with."""

    type: IntType
    slot: int | None
    value: Value | None


class Frame(NamedTuple):
    """A function being inlined."""

    result: IntType | None
    slot: int | None
    label: int


class Expressions:
    """Lowers expressions and assignments within one behaviour; `rvsim.isa.lower` adds statements.

    Parameters
    ----------
    elaboration : Elaboration
    fields : dict
        Width of each encoding field.
    builder : Builder
    declaration : SetDeclaration
        The set whose instruction this is (a set sees its own functions first).
    size : int
        Bits of the encoding, for ``__encoding_size``.
    """

    def __init__(
        self,
        elaboration: Elaboration,
        fields: dict[str, int],
        builder: Builder,
        source: Source,
        size: int,
        lenient: bool = False,
    ) -> None:
        self.e, self.fields, self.b, self.source, self.size, self.lenient = (
            elaboration,
            fields,
            builder,
            source,
            size,
            lenient,
        )
        self.scopes: list[dict[str, Local]] = []
        self.mutable: set[str] = set()
        self.warnings: list[str] = []
        # Of statements (rvsim.isa.lower): functions being inlined, and labels to leave for break and continue.
        self.frames: list[Frame] = []
        self.calls: list[str] = []
        self.loops: list[tuple[int, int | None]] = []
        self.guard_missing = False
        self.externs: dict[str, Function] = {}

    # ------------------------------------------------------------ helpers
    def error(self, reason: str, node: Tree | Token | None) -> CoreDslError:
        return self.source.error(reason, node)

    def warn(self, reason: str, node: Tree | Token) -> None:
        line = getattr(getattr(node, "meta", node), "line", 0)
        message = f"{self.source.name}:{line}: {reason}"
        if message not in self.warnings:
            self.warnings.append(message)

    def constant(self, value: int, kind: IntType) -> Value:
        return Value(self.b.const(value), kind)

    def convert(self, value: Value, kind: IntType) -> int:
        """The value cast to a type."""
        if kind.holds(value.type):
            return value.temp
        return self.b.pure("wrap", value.temp, attr=tuple(kind))

    def coerce(self, value: Value, kind: IntType, node: Tree | Token, what: str, constants: bool = True) -> int:
        """The value converted implicitly: only where nothing can be lost, or for a constant that fits."""
        if kind.holds(value.type):
            return value.temp
        if isinstance(node, Tree) and node.data == "assign":
            node = node.children[2]
        known = self.b.value(value.temp)
        if (
            constants
            and known is not None
            and kind.range[0] <= known <= kind.range[1]
            and self.try_constant(node) is not None
        ):
            return value.temp
        reason = (
            f"{what}: expected {kind}, found {value.type}, whose values it cannot all hold; "
            f"write ({kind})(...) to convert"
        )
        if not self.lenient:
            raise self.error(reason, node)
        self.warn(reason, node)
        return self.b.pure("wrap", value.temp, attr=tuple(kind))

    def try_constant(self, node: Tree | Token) -> int | None:
        """Value of a constant expression; locals and fields hide parameters of their name."""
        names = {str(n.children[0]) for n in node.find_data("name")} if isinstance(node, Tree) else set()
        if any(self.lookup(n) or n in self.fields for n in names):
            return None
        return self.e.try_constant(node, self.source)

    def truth(self, value: Value) -> int:
        """1 when the value is not 0, else 0."""
        if value.type == BOOL or self.b.ranges[value.temp] == (0, 1):
            return value.temp
        return self.b.pure("eq", self.b.pure("eq", value.temp, self.b.const(0)), self.b.const(0))

    # ------------------------------------------------------------ names
    def lookup(self, name: str) -> Local | None:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def state(self, name: str) -> State | None:
        return self.e.state.get(name)

    def declare(self, name: str, kind: IntType, value: Value | None, node: Tree | Token) -> None:
        if name in self.scopes[-1]:
            raise self.error(f"{name} is declared twice in this block", node)
        if name in self.mutable or value is None:
            slot = self.b.variable(*kind.range)
            self.b.effect("setvar", value.temp if value else self.b.const(0), attr=slot)
            self.scopes[-1][name] = Local(kind, slot, None)
        else:
            self.scopes[-1][name] = Local(kind, None, Value(value.temp, kind))

    # ------------------------------------------------------------ expressions
    def expression(self, node: Tree | Token) -> Value:
        assert isinstance(node, Tree)
        value: Value = getattr(self, f"_x_{node.data}", self._x_unsupported)(node)
        if value.type.width > MAX_WIDTH:
            raise self.error(f"expected a result of at most {MAX_WIDTH} bits, found {value.type}", node)
        return value

    def _x_unsupported(self, node: Tree) -> Value:
        raise self.error(f"{str(node.data).replace('_', ' ')} is not supported in behaviours", node)

    def _x_paren(self, node: Tree) -> Value:
        return self.expression(node.children[0])

    def _x_integer(self, node: Tree) -> Value:
        try:
            return self.constant(*parse_integer(str(node.children[0])))
        except ValueError as error:
            raise self.error(str(error), node) from None

    def _x_boolean(self, node: Tree) -> Value:
        return self.constant(int(node.children[0] == "true"), BOOL)

    def _x_char(self, node: Tree) -> Value:
        try:
            text = str(node.children[0])[1:-1].encode().decode("unicode_escape")
        except ValueError:
            text = ""
        if len(text) != 1 or ord(text) > 255:
            raise self.error("expected one character between the quotes", node)
        return self.constant(ord(text), IntType(8, False))

    def _x_intrinsic(self, node: Tree) -> Value:
        name = str(node.children[0])
        if name == "__encoding_size":
            return self.constant(self.size, smallest_unsigned(self.size))
        if name not in ("sizeof", "bitsizeof") or len(node.children) != 2:
            raise self.error(f"{name} with these arguments is not supported", node)
        argument = node.children[1]
        assert isinstance(argument, Tree)
        kind = (
            self.e.type(argument, self.source)
            if str(argument.data).endswith("_type")
            else self.expression(argument).type
        )
        if kind is None:
            raise self.error("void has no size", node)
        size = kind.width if name == "bitsizeof" else (kind.width + 7) // 8
        return self.constant(size, smallest_unsigned(size))

    def _x_name(self, node: Tree) -> Value:
        name = str(node.children[0])
        if local := self.lookup(name):
            if local.value is not None:
                return local.value
            return Value(self.b.effect("getvar", attr=local.slot, result=local.type.range), local.type)
        if name in self.fields:
            return Value(self.b.field(name), IntType(self.fields[name], False))
        if state := self.state(name):
            if state.kind == "space" or state.elements:
                raise self.error(f"{name} has elements; write {name}[index]", node)
            if self._is_pc(state):
                return Value(self.b.pc(state.type.width), state.type)
            if state.kind == "alias" and (space := self.e.state[state.target[0]]).kind == "space":
                return self._load(space, self.constant(state.target[1] or 0, space.type), 1, False, node)
            return self._read_register(state, None)
        if name in self.e.parameter_types:
            return self.constant(self.e.parameter(name, self.source, node), self.e.parameter_type(name))
        import difflib

        known = [*self.fields, *self.e.state, *self.e.parameter_types, *(n for scope in self.scopes for n in scope)]
        near = difflib.get_close_matches(name, known, 1)
        raise self.error(f"{name} is not declared" + (f"; did you mean {near[0]}?" if near else ""), node)

    def _is_pc(self, state: State) -> bool:
        return any(r.name == state.target[0] and r.role == "pc" for r in self.e.registers)

    def _read_register(self, state: State, index: int | None) -> Value:
        name, fixed = state.target
        if fixed is not None:
            index = self.b.const(fixed)
        arguments = [] if index is None else [index]
        return Value(self.b.effect("get", *arguments, attr=name, result=state.type.range), state.type)

    def _index_temp(self, state: State, node: Tree) -> int:
        index = self.expression(node)
        low, high = self.b.ranges[index.temp]
        if high < 0 or low >= state.elements:
            found = low if low == high else f"at least {low}"
            raise self.error(f"{state.target[0]} has {state.elements} elements; the index is {found}", node)
        # A field may encode more registers than there are; what is beyond has no meaning and must not leave the file.
        if low < 0 or high >= state.elements:
            temp = self.b.pure("wrap", index.temp, attr=((state.elements - 1).bit_length(), False))
            return (
                temp
                if state.elements & (state.elements - 1) == 0
                else self.b.pure("rem", temp, self.b.const(state.elements))
            )
        return index.temp

    def _x_index(self, node: Tree) -> Value:
        base, index = node.children
        assert isinstance(base, Tree) and isinstance(index, Tree)
        if (state := self._array(base)) is not None:
            if state.kind == "space":
                return self._load(state, self.expression(index), 1, False, node)
            return self._read_register(state, self._index_temp(state, index))
        value, bit = self.expression(base), self.expression(index)
        known = self.b.value(bit.temp)
        if known is not None and not 0 <= known < value.type.width:
            raise self.error(f"bit {known} of a value of {value.type.width} bits", index)
        return Value(self.b.pure("wrap", self.b.pure("shr", value.temp, bit.temp), attr=(1, False)), BOOL)

    def _array(self, base: Tree) -> State | None:
        """The register file or address space that an expression names."""
        if base.data != "name" or self.lookup(str(base.children[0])) or str(base.children[0]) in self.fields:
            return None
        state = self.state(str(base.children[0]))
        return state if state is not None and (state.kind == "space" or state.elements) else None

    def _x_range(self, node: Tree) -> Value:
        base, first, second = node.children
        assert isinstance(base, Tree) and isinstance(first, Tree) and isinstance(second, Tree)
        if (state := self._array(base)) is not None:
            count, big_endian, low = self._span(first, second)
            if state.kind == "space":
                return self._load(state, self.expression(low), count, big_endian, node)
            start = self.try_constant(low)
            if start is None or not 0 <= start <= start + count <= state.elements:
                raise self.error("a range of registers needs constant bounds within the file", node)
            parts = [self._read_register(state, self.b.const(start + i)) for i in range(count)]
            return self._concatenate(parts if big_endian else parts[::-1])
        value = self.expression(base)
        high, low_bit = self._bit_bounds(first, second, value.type, node)
        temp = self.b.pure("wrap", self.b.pure("shr", value.temp, low_bit), attr=(high, False))
        return Value(temp, IntType(high, False))

    def _bit_bounds(self, first: Tree, second: Tree, kind: IntType, node: Tree) -> tuple[int, int]:
        """Width of a bit range and the value of its lowest bit's number."""
        high, low = self.try_constant(first), self.try_constant(second)
        if high is not None and low is not None:
            if high < low:
                raise self.error(
                    f"bit ranges are written [high:low], found [{high}:{low}]; reversed ones are not supported", node
                )
            if high >= kind.width or low < 0:
                raise self.error(f"bits {high}:{low} of a value of {kind.width} bits", node)
            return high - low + 1, self.b.const(low)
        count, big_endian, low_tree = self._span(first, second)
        if big_endian:
            raise self.error("bit ranges are written [high:low]", node)
        return count, self.expression(low_tree).temp

    def _span(self, first: Tree, second: Tree) -> tuple[int, bool, Tree]:
        """Elements of a range, whether its first bound is the lower one, and the lower bound."""
        a, b = self.try_constant(first), self.try_constant(second)
        if a is not None and b is not None:
            difference = a - b
        else:
            base_a, offset_a = self._offset(first)
            base_b, offset_b = self._offset(second)
            if base_a != base_b:
                raise self.error(
                    "the size of a range must be constant: write [x + 3 : x], [x : x + 3] or constants", first
                )
            difference = offset_a - offset_b
        if abs(difference) >= 64:
            raise self.error(f"expected a range of at most 64 elements, found {abs(difference) + 1}", first)
        return abs(difference) + 1, difference < 0, second if difference >= 0 else first

    def _offset(self, node: Tree) -> tuple[str, int]:
        """An expression as (text of its variable part, constant offset)."""
        while node.data == "paren":
            node = node.children[0]
        if node.data == "binary" and node.children[1] in ("+", "-"):
            offset = self.try_constant(node.children[2])
            if offset is not None:
                return repr(node.children[0]), offset if node.children[1] == "+" else -offset
        return repr(node), 0

    def _load(self, state: State, address: Value, count: int, big_endian: bool, node: Tree) -> Value:
        size = count * state.type.width // 8
        if size > 8:
            raise self.error(f"expected an access of at most 8 bytes, found {size}", node)
        kind = IntType(8 * size, state.type.signed and count == 1)
        temp = self.b.effect(
            "load", self._address(state, address), attr=[state.target[0], size, big_endian], result=kind.range
        )
        return Value(temp, kind)

    def _address(self, state: State, address: Value) -> int:
        """An address modulo the address space (the declared size is no bound for spaces of hooks)."""
        if (state.elements & (state.elements - 1)) == 0 and state.elements >= 1 << 32:
            return self.b.pure("wrap", address.temp, attr=(state.elements.bit_length() - 1, False))
        return self.b.pure("wrap", address.temp, attr=(64 if state.elements > 1 << 32 else 32, False))

    def _x_concat(self, node: Tree) -> Value:
        return self._concatenate([self.expression(c) for c in node.children])

    def _concatenate(self, parts: list[Value]) -> Value:
        width, temp = 0, self.b.const(0)
        for part in parts:
            width += part.type.width
            bits = self.b.pure("wrap", part.temp, attr=(part.type.width, False))
            temp = self.b.pure("or", self.b.pure("shl", temp, self.b.const(part.type.width), attr=(width, False)), bits)
        return Value(temp, IntType(width, False))

    def _x_cast(self, node: Tree) -> Value:
        kind = self.e.type(node.children[0], self.source)
        if kind is None:
            raise self.error("cannot cast to void", node)
        return Value(self.convert(self.expression(node.children[1]), kind), kind)

    def _x_sign_cast(self, node: Tree) -> Value:
        value = self.expression(node.children[1])
        kind = IntType(value.type.width, node.children[0] == "signed")
        return Value(self.convert(value, kind), kind)

    def _x_unary(self, node: Tree) -> Value:
        operator, value = str(node.children[0]), self.expression(node.children[1])
        width, signed = value.type
        if operator == "+":
            return value
        if operator == "-":
            return Value(self.b.pure("neg", value.temp), IntType(width + 1, True))
        if operator == "!":
            return Value(self.b.pure("eq", self.truth(value), self.b.const(0)), BOOL)
        return Value(self.b.pure("xor", value.temp, self.b.const(-1 if signed else (1 << width) - 1)), value.type)

    def _x_binary(self, node: Tree) -> Value:
        left, operator, right = node.children
        if operator in ("&&", "||"):
            return self._logical(str(operator), left, right)
        return self._arithmetic(str(operator), self.expression(left), self.expression(right), node)

    def _arithmetic(self, operator: str, x: Value, y: Value, node: Tree) -> Value:
        kind = result_type(operator, x.type, y.type)
        if operator in _PLAIN:
            # Only bitwise operations on operands of different sign can leave their type.
            return Value(self.b.pure("wrap", self.b.pure(_PLAIN[operator], x.temp, y.temp), attr=tuple(kind)), kind)
        if operator in ("<<", ">>"):
            known = self.b.value(y.temp)
            if known is not None and known < 0:
                raise self.error(f"shift by the negative amount {known}", node)
            if known is not None and known >= x.type.width:
                self.warn(
                    f"a shift of {x.type} by {known} shifts every bit out; widen the operand with a cast first", node
                )
            if operator == "<<":
                return Value(self.b.pure("shl", x.temp, y.temp, attr=tuple(x.type)), kind)
            return Value(self.b.pure("shr", x.temp, y.temp), kind)
        a, b = (x.temp, y.temp) if operator in ("==", "!=", "<", "<=") else (y.temp, x.temp)
        temp = self.b.pure({"==": "eq", "!=": "eq", "<": "lt", ">": "lt", "<=": "le", ">=": "le"}[operator], a, b)
        return Value(self.b.pure("eq", temp, self.b.const(0)) if operator == "!=" else temp, BOOL)

    def _logical(self, operator: str, left: Tree | Token, right: Tree | Token) -> Value:
        condition, positive = self.b.canonical(self.truth(self.expression(left)))
        known = self.b.known(condition)
        if known is not None:
            if (known == positive) == (operator == "||"):
                return self.constant(int(operator == "||"), BOOL)
            return Value(self.truth(self.expression(right)), BOOL)
        with self.b.nested((condition, positive == (operator == "&&"))) as block:
            second = self.truth(self.expression(right))
        first = condition if positive else self.b.pure("eq", condition, self.b.const(0))
        code = "and" if operator == "&&" else "or"
        if all(op.code in ir.PURE or op.code in ("get", "getvar") for op in block):
            self.b.block += block  # without effects both sides may be computed
            return Value(self.b.pure(code, first, second), BOOL)
        return self._merge(
            condition,
            positive,
            (block, second) if code == "and" else ([], self.b.const(1)),
            ([], self.b.const(0)) if code == "and" else (block, second),
            BOOL,
        )

    def _x_conditional(self, node: Tree) -> Value:
        condition, positive = self.b.canonical(self.truth(self.expression(node.children[0])))
        sides = []
        for child, truth in zip(node.children[1:], (positive, not positive), strict=True):
            with self.b.nested((condition, truth)) as block:
                value = self.expression(child)
            sides.append((block, value))
        kind = common_type(sides[0][1].type, sides[1][1].type)
        known = self.b.known(condition)
        if known is not None:
            block, value = sides[0 if known == positive else 1]
            self.b.block += block
            return Value(value.temp, kind)
        if all(op.code in ir.PURE or op.code in ("get", "getvar") for block, _ in sides for op in block):
            for block, _ in sides:
                self.b.block += block
            a, b = (sides[0][1], sides[1][1]) if positive else (sides[1][1], sides[0][1])
            return Value(self.b.pure("select", condition, a.temp, b.temp), kind)
        return self._merge(condition, positive, (sides[0][0], sides[0][1].temp), (sides[1][0], sides[1][1].temp), kind)

    def _merge(self, condition: int, positive: bool, yes: tuple, no: tuple, kind: IntType) -> Value:
        slot = self.b.variable(*kind.range)
        bodies = [[*block, ir.Op("setvar", -1, [temp], slot)] for block, temp in ((yes, no) if positive else (no, yes))]
        self.b.block.append(ir.Op("if", -1, [condition], None, bodies))
        return Value(self.b.effect("getvar", attr=slot, result=kind.range), kind)

    # ------------------------------------------------------------ assignment
    def _x_assign(self, node: Tree) -> Value:
        target, operator, expression = node.children
        assert isinstance(target, Tree)
        if operator == "=":
            return self.store(target, self.expression(expression), node)
        self._evaluated_twice(target)
        value = self._arithmetic(str(operator)[:-1], self.expression(target), self.expression(expression), node)
        return self.store(target, value, node, truncate=True)

    def _x_pre_incdec(self, node: Tree) -> Value:
        return self._increment(node.children[1], str(node.children[0]), node)[1]

    def _x_post_incdec(self, node: Tree) -> Value:
        return self._increment(node.children[0], str(node.children[1]), node)[0]

    def _increment(self, target: object, operator: str, node: Tree) -> tuple[Value, Value]:
        assert isinstance(target, Tree)
        self._evaluated_twice(target)
        old = self.expression(target)
        new = self._arithmetic(operator[0], old, self.constant(1, BOOL), node)
        return old, self.store(target, new, node, truncate=True)

    def _evaluated_twice(self, target: Tree) -> None:
        """A target that is read and written must not change anything when it is evaluated."""
        if node := next(target.find_pred(lambda t: t.data in ("assign", "pre_incdec", "post_incdec", "call")), None):
            raise self.error("expected no assignment or call within what is read and written; put it before", node)

    def store(self, target: Tree, value: Value, node: Tree, truncate: bool = False) -> Value:
        """Assign to a local, a register, an element, memory, a bit or a range of bits; the assigned value."""
        while target.data == "paren":
            target = target.children[0]

        def fit(kind: IntType, what: str) -> int:
            if truncate:
                return self.convert(Value(value.temp, value.type), kind)
            return self.coerce(value, kind, node, f"assignment to {what}")

        if target.data == "name":
            name = str(target.children[0])
            if local := self.lookup(name):
                temp = fit(local.type, name)
                self.b.effect("setvar", temp, attr=local.slot)
                return Value(temp, local.type)
            if name in self.fields:
                raise self.error(f"{name} is a field of the encoding and cannot be assigned", target)
            state = self.state(name)
            if state is not None and not state.elements and state.kind != "space":
                temp = fit(state.type, name)
                if state.kind == "alias" and (space := self.e.state[state.target[0]]).kind == "space":
                    address = self._address(space, self.constant(state.target[1] or 0, space.type))
                    self.b.effect("store", address, temp, attr=[state.target[0], space.type.width // 8, False])
                else:
                    self._write_register(state, None, temp)
                return Value(temp, state.type)
            if name in self.e.parameter_types:
                raise self.error(f"{name} is a parameter and cannot be assigned in a behaviour", target)
            self._x_name(target)
            raise self.error(f"{name} cannot be assigned", target)
        if target.data in ("index", "range") and (state := self._array(target.children[0])) is not None:
            return self._store_element(target, state, fit)
        if target.data in ("index", "range"):
            return self._store_bits(target, node, fit)
        raise self.error("expected a variable, register, memory or bits of one on the left of an assignment", target)

    def _store_element(self, target: Tree, state: State, fit) -> Value:  # type: ignore[no-untyped-def]
        name = state.target[0]
        if state.kind != "space":
            if target.data == "range":
                raise self.error("assign registers one by one", target)
            temp = fit(state.type, f"{name}[]")
            self._write_register(state, self._index_temp(state, target.children[1]), temp)
            return Value(temp, state.type)
        count, big_endian, low = (
            (1, False, target.children[1]) if target.data == "index" else self._span(*target.children[1:])
        )
        size = count * state.type.width // 8
        if size > 8:
            raise self.error(f"expected an access of at most 8 bytes, found {size}", target)
        kind = IntType(8 * size, state.type.signed and count == 1)
        address = self._address(state, self.expression(low))
        temp = fit(kind, f"{name}[], {size} byte{'s' if size > 1 else ''}")
        self.b.effect("store", address, temp, attr=[name, size, big_endian])
        return Value(temp, kind)

    def _store_bits(self, target: Tree, node: Tree, fit) -> Value:  # type: ignore[no-untyped-def]
        base = target.children[0]
        assert isinstance(base, Tree)
        self._evaluated_twice(base)
        old = self.expression(base)
        if target.data == "index":
            bit = self.expression(target.children[1])
            known = self.b.value(bit.temp)
            if known is not None and not 0 <= known < old.type.width:
                raise self.error(f"bit {known} of a value of {old.type.width} bits", target)
            width, low = 1, bit.temp
        else:
            width, low = self._bit_bounds(target.children[1], target.children[2], old.type, node)
        kind, whole = IntType(width, False), (old.type.width, False)
        temp = fit(kind, f"{width} bit{'s' if width > 1 else ''}")
        raw = self.b.pure("wrap", old.temp, attr=whole)
        hole = self.b.pure("shl", self.b.const((1 << width) - 1), low, attr=whole)
        kept = self.b.pure("and", raw, self.b.pure("xor", hole, self.b.const((1 << old.type.width) - 1)))
        merged = self.b.pure("or", kept, self.b.pure("shl", temp, low, attr=whole))
        self.store(base, Value(self.convert(Value(merged, IntType(*whole)), old.type), old.type), node)
        return Value(temp, kind)

    def _write_register(self, state: State, index: int | None, temp: int) -> None:
        name, fixed = state.target
        file = next(r for r in self.e.registers if r.name == name)
        if file.role == "pc":
            self.b.effect("setpc", temp)
            return
        if fixed is not None:
            index = self.b.const(fixed)
        if index is None:
            self.b.effect("put", temp, attr=name)
            return
        if file.role != "main":
            self.b.effect("put", index, temp, attr=name)
            return
        # x0 is hardwired to zero: a write that the description does not guard is dropped.
        zero, positive = self.b.canonical(self.b.pure("eq", index, self.b.const(0)))
        known = self.b.known(zero)
        if known is not None:
            if known != positive:
                self.b.effect("put", index, temp, attr=name)
            return
        self.guard_missing = True
        with self.b.nested() as put:
            self.b.effect("put", index, temp, attr=name)
        self.b.block.append(ir.Op("if", -1, [zero], None, [[], put] if positive else [put, []]))

    # ------------------------------------------------------------ calls
    def _x_call(self, node: Tree) -> Value:
        value = self.call(node, statement=False)
        if value is None:
            raise self.error(f"function {node.children[0]} returns nothing", node)
        return value

    def call(self, node: Tree, statement: bool) -> Value | None:
        name, arguments = str(node.children[0]), node.children[1:]
        function = self.e.functions.get(name)
        if function is None:
            raise self.error(f"function {name} is not declared", node)
        if len(arguments) != len(function.parameters):
            raise self.error(
                f"function {name} takes {len(function.parameters)} arguments, found {len(arguments)}", node
            )
        temps = [
            self.coerce(self.expression(a), kind, a, f"argument {parameter} of {name}")
            for a, (parameter, kind) in zip(arguments, function.parameters, strict=True)
        ]
        if function.body is None:
            self.externs[name] = function
            if name == "raise":
                if len(temps) != 2:
                    raise self.error("expected extern void raise(unsigned<1> irq, unsigned<5> cause)", node)
                self.b.effect("raise", *temps)
                return None
            result = self.b.effect("call", *temps, attr=name, result=function.result.range if function.result else None)
            return Value(result, function.result) if function.result else None
        return self.inline(function, temps, node)

    def inline(self, function: Function, temps: list[int], node: Tree) -> Value | None:
        """Put a function's body in place of its call: statements, so a matter of `rvsim.isa.lower`."""
        raise NotImplementedError


_PLAIN = {"+": "add", "-": "sub", "*": "mul", "/": "div", "%": "rem", "&": "and", "|": "or", "^": "xor"}
