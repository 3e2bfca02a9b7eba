"""Instruction sets and cores of CoreDSL files put together: imports, inheritance, parameters, state.

A parameter's last assignment in elaboration order wins (base sets first, the core last) and constant expressions are
computed with
unbounded integers; behaviours are typed and are the business of `lower`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lark import Token, Tree

from rvsim.isa import ir
from rvsim.isa.literals import BOOL, MAX_WIDTH, SHORTHANDS, IntType, parse_integer
from rvsim.isa.syntax import CoreDslError, Source, read_source

DESCRIPTIONS = Path(__file__).with_name("descriptions")
# Names that other descriptions use for the sets we call otherwise (RISC-V extensions TUM, Minres).
ALIASES = {
    "RVI": "RV32I",
    "RV32I": "RVI",
    "RV32M": "RVM",
    "RV32IM": "RVM",
    "RV32IC": "RVC",
    "RV32C": "RVC",
    "RVPrivBase": "Zicsr",
}
# Beyond serves no instruction; without a bound a hostile file could ask for any amount of memory.
MAX_ELEMENTS = 1 << 20


def display_name(path: Path) -> str:
    """A file's name for messages: bundled ones by their place in the package, others as they were given."""
    try:
        return (
            path.resolve().relative_to(DESCRIPTIONS.resolve().parents[2]).as_posix()
            if path.is_absolute()
            else str(path)
        )
    except ValueError:
        return str(path)


class SetDeclaration(NamedTuple):
    """An `InstructionSet` or `Core` as written."""

    name: str
    bases: list[Token]
    sections: list[Tree]
    source: Source
    token: Token
    is_core: bool


class State(NamedTuple):
    """An architectural state element: what its name means."""

    kind: str  # register, space, alias
    type: IntType
    elements: int  # 0 for a single register
    target: tuple[str, int | None]  # register file and index (alias), or itself


class Function(NamedTuple):
    """A function: extern when it has no body."""

    name: str
    result: IntType | None
    parameters: list[tuple[str, IntType]]
    body: Tree | None
    source: Source


class Unit:
    """Every declaration of a file and of what it imports.

    Parameters
    ----------
    path : Path
        The description file.
    search : sequence of Path
        Folders in which an import is looked up by its file name when it is not beside the importing file; the bundled
        descriptions come last.
    """

    def __init__(self, path: Path | None, search: Sequence[Path] = ()) -> None:
        self.sets: dict[str, SetDeclaration] = {}
        self.cores: dict[str, SetDeclaration] = {}
        self.declared: list[SetDeclaration] = []  # in the file itself
        self.warnings: list[str] = []
        self._search = [*search, DESCRIPTIONS]
        self._seen: set[Path] = set()
        self._missing: list[str] = []
        if path is not None:
            source = self._load(path, display_name(path))
            self.declared = [d for d in (*self.sets.values(), *self.cores.values()) if d.source is source]

    def _load(self, path: Path, name: str) -> Source:
        self._seen.add(path.resolve())
        source = read_source(path, name)
        for node in source.tree.children:
            assert isinstance(node, Tree)
            if node.data == "import_":
                self._import(str(node.children[0])[1:-1], path, source, node)
            else:
                self._declare(node, source)
        return source

    def _import(self, target: str, importer: Path, source: Source, node: Tree) -> None:
        candidates = [importer.parent / target, Path(target), *(folder / Path(target).name for folder in self._search)]
        alias = ALIASES.get(Path(target).stem)
        if alias:
            candidates += [folder / f"{alias}.core_desc" for folder in self._search]
        for candidate in candidates:
            if _is_file(candidate):
                if candidate.resolve() not in self._seen:
                    self._load(candidate, display_name(candidate))
                return
        self._missing.append(target)
        line, column = node.meta.line, node.meta.column
        self.warnings.append(f"{source.name}:{line}:{column}: import {target!r} not found; going on without it")

    def _declare(self, node: Tree, source: Source) -> None:
        token = node.children[0]
        assert isinstance(token, Token)
        bases: list[Token] = []
        sections: list[Tree] = []
        for child in node.children[1:]:
            assert isinstance(child, Tree)
            if child.data == "extends":
                bases += child.children[0].children  # type: ignore[arg-type]
            elif child.data == "name_list":
                bases += child.children  # type: ignore[arg-type]
            else:
                sections.append(child)
        declaration = SetDeclaration(str(token), bases, sections, source, token, node.data == "core")
        space = self.cores if declaration.is_core else self.sets
        if declaration.name in space and space[declaration.name].source is source:
            raise source.error(f"{declaration.name} is declared twice", token)
        space.setdefault(declaration.name, declaration)

    def find(self, name: str, source: Source | None = None, node: Token | None = None) -> SetDeclaration:
        """The instruction set `name`; bundled ones are loaded when a description counts on them without import."""
        for candidate in (name, ALIASES.get(name, name)):
            if candidate in self.sets:
                return self.sets[candidate]
        for candidate in (name, ALIASES.get(name, name)):
            path = DESCRIPTIONS / f"{candidate}.core_desc"
            if path.is_file() and path.resolve() not in self._seen:
                self._load(path, display_name(path))
                if candidate in self.sets:
                    return self.sets[candidate]
        known = ", ".join(sorted(self.sets)) or "none"
        reason = f"instruction set {name} is not declared (known: {known})"
        if self._missing:
            reason += f"; imports not found: {', '.join(self._missing)}"
        raise source.error(reason, node) if source else CoreDslError(reason)

    def linearise(self, targets: Iterable[SetDeclaration]) -> list[SetDeclaration]:
        """The declarations a target stands on and itself, bases first, each once."""
        order: list[SetDeclaration] = []
        active: list[SetDeclaration] = []
        done: set[int] = set()

        def visit(declaration: SetDeclaration) -> None:
            if id(declaration) in done:
                return
            if any(declaration is d for d in active):
                names = " extends ".join(d.name for d in [*active, declaration])
                raise declaration.source.error(f"{names}: a cycle", declaration.token)
            active.append(declaration)
            for base in declaration.bases:
                visit(self.find(str(base), declaration.source, base))
            active.pop()
            done.add(id(declaration))
            order.append(declaration)

        for target in targets:
            visit(target)
        return order


class Elaboration:
    """Parameters, state, functions and instruction trees of linearised sets.

    Parameters
    ----------
    order : list of SetDeclaration
        Bases first.
    defaults : dict
        Values of parameters that nobody assigns (such as ``XLEN`` when an instruction set is checked without a core).
    """

    def __init__(self, order: list[SetDeclaration], defaults: dict[str, int] | None = None) -> None:
        self.order = order
        self.assignments: dict[str, tuple[Tree | Token, Source]] = {}
        self.parameter_types: dict[str, tuple[Tree, Source]] = {}
        self.state: dict[str, State] = {}
        self.functions: dict[str, Function] = {}
        self.registers: list[ir.RegisterFile] = []
        self.spaces: list[ir.AddressSpace] = []
        self.instructions: list[tuple[Tree, SetDeclaration]] = []
        self.always: list[tuple[Tree, SetDeclaration]] = []
        self.warnings: list[str] = []
        self._defaults = defaults or {}
        self._values: dict[str, int] = {}
        self._active: list[str] = []
        self._elaborate()

    # ------------------------------------------------------------ parameters
    def _elaborate(self) -> None:
        pending: list[tuple[Tree, Source]] = []
        for declaration in self.order:
            for section in declaration.sections:
                if section.data != "state":
                    continue
                for statement in section.children:
                    assert isinstance(statement, Tree)
                    self._collect(statement, declaration.source, pending)
        for name in self.parameter_types:
            if name not in self.assignments and name in self._defaults:
                self._values[name] = self._defaults[name]
        for name, (expression, source) in self.assignments.items():
            if name not in self.parameter_types:
                line = expression.meta.line if isinstance(expression, Tree) else 0
                self.warnings.append(f"{source.name}:{line}: {name} is no parameter; the assignment has no effect")
        for statement, source in pending:
            self._state(statement, source)
        for declaration in self.order:
            own: dict[str, Function] = {}
            for section in declaration.sections:
                if section.data == "functions":
                    for tree in section.children:
                        assert isinstance(tree, Tree)
                        function = self._function(tree, declaration.source)
                        if function.name in own:
                            raise declaration.source.error(f"function {function.name} is declared twice", tree)
                        own[function.name] = function
                elif section.data == "instructions":
                    enabled = self._enabled(
                        [c for c in section.children if getattr(c, "data", "") == "attribute"], declaration.source
                    )
                    for tree in section.children:
                        assert isinstance(tree, Tree)
                        if tree.data == "instruction" and enabled:
                            attributes = [c for c in tree.children if getattr(c, "data", "") == "attribute"]
                            if self._enabled(attributes, declaration.source):
                                self.instructions.append((tree, declaration))
                elif section.data == "always":
                    self.always += [
                        (b, declaration) for b in section.children if getattr(b, "data", "") == "always_block"
                    ]
            self.functions.update(own)

    def _collect(self, statement: Tree, source: Source, pending: list[tuple[Tree, Source]]) -> None:
        if statement.data == "expr_stmt":
            assign = statement.children[0]
            if not (
                isinstance(assign, Tree)
                and assign.data == "assign"
                and _is_name(assign.children[0])
                and assign.children[1] == "="
            ):
                raise source.error("expected NAME = VALUE; in architectural_state", statement)
            self.assignments[str(assign.children[0].children[0])] = (assign.children[2], source)
        elif statement.data == "decl_stmt":
            declaration = statement.children[0]
            assert isinstance(declaration, Tree)
            storage = {str(c) for c in declaration.children if isinstance(c, Token)}
            kind = next(c for c in declaration.children if isinstance(c, Tree))
            for declarator in declaration.children:
                if not (isinstance(declarator, Tree) and declarator.data == "declarator"):
                    continue
                parts = declarator.children
                alias = isinstance(parts[0], Token) and parts[0].type == "ALIAS"
                if storage & {"register", "extern"} or alias:
                    continue
                name, initial = str(parts[0]), _initialiser(declarator)
                if kind.data == "void_type" or any(isinstance(c, Tree) and c.data == "dim" for c in parts):
                    raise source.error(
                        f"parameter {name}: expected an integer type; arrays are not supported", declarator
                    )
                self.parameter_types.setdefault(name, (kind, source))
                if initial is not None:
                    self.assignments[name] = (initial, source)
            pending.append((declaration, source))
        else:
            raise source.error(
                f"{statement.data.removesuffix('_decl')} types are not supported in architectural_state", statement
            )

    def parameter(self, name: str, source: Source, node: Tree | Token) -> int:
        """Value of a parameter, wrapped to its declared type."""
        if name in self._values:
            return self._values[name]
        if name not in self.parameter_types:
            raise source.error(f"{name} is not declared", node)
        if name not in self.assignments:
            raise source.error(
                f"parameter {name} has no value; assign it in the core's architectural_state, such as {name} = 32;",
                node,
            )
        if name in self._active:
            raise source.error(f"parameter {name} depends on itself ({' -> '.join([*self._active, name])})", node)
        self._active.append(name)
        expression, where = self.assignments[name]
        value = self.constant(expression, where)
        self._active.pop()
        kind = self.type(*self.parameter_types[name])
        assert kind is not None
        low, high = kind.range
        if not low <= value <= high:
            # Public files write const int X = 0x80000000; as in C.
            line = expression.meta.line if isinstance(expression, Tree) else 0
            self.warnings.append(
                f"{where.name}:{line}: the value {value} of {name} does not fit into {kind} and is wrapped"
            )
            value = ir.wrap(value, *kind)
        self._values[name] = value
        return value

    @property
    def parameters(self) -> dict[str, int]:
        """Name and value of every parameter that has one."""
        values = {}
        for name, (kind, source) in self.parameter_types.items():
            if name in self._values or name in self.assignments:
                values[name] = self.parameter(name, source, kind)
        return values

    def parameter_type(self, name: str) -> IntType:
        kind = self.type(*self.parameter_types[name])
        assert kind is not None
        return kind

    # ------------------------------------------------------------ state
    def _state(self, declaration: Tree, source: Source) -> None:
        storage = {str(c) for c in declaration.children if isinstance(c, Token)}
        kind = next(c for c in declaration.children if isinstance(c, Tree))
        for declarator in declaration.children:
            if not (isinstance(declarator, Tree) and declarator.data == "declarator"):
                continue
            parts = declarator.children
            alias = isinstance(parts[0], Token) and parts[0].type == "ALIAS"
            token = parts[1] if alias else parts[0]
            name = str(token)
            dims = [self.constant(c.children[0], source) for c in parts if isinstance(c, Tree) and c.data == "dim"]
            role = next(
                (
                    _attribute_name(c)
                    for c in parts
                    if isinstance(c, Tree) and c.data == "attribute" and _attribute_name(c).startswith("is_")
                ),
                "",
            )
            if not alias and not storage & {"register", "extern"}:
                continue
            if name in self.state or name in self.parameter_types:
                raise source.error(f"{name} is declared twice in the sets this one is made of", token)
            element = self.type(kind, source)
            if element is None:
                raise source.error(f"{name} cannot have type void", kind)
            if len(dims) > 1:
                raise source.error(f"{name}: arrays have one dimension here", declarator)
            if alias:
                self.state[name] = self._alias(name, element, declarator, source)
            elif "register" in storage:
                count = dims[0] if dims else 0
                if not 0 <= count <= MAX_ELEMENTS or (dims and count == 0):
                    raise source.error(f"{name}: expected 1 to {MAX_ELEMENTS} registers, found {count}", declarator)
                initial = _initialiser(declarator)
                values = [self.constant(e, source) for e in _elements(initial)] if initial is not None else []
                if len(values) > max(1, count):
                    raise source.error(f"{name} has {max(1, count)} registers, found {len(values)} values", declarator)
                if (role == "is_pc" and count) or (role == "is_main_reg" and not count):
                    kinds = "one register" if count else "several registers"
                    raise source.error(f"[[{role}]] marks {kinds}, not {name}", declarator)
                for value in values:
                    if not element.range[0] <= value <= element.range[1]:
                        raise source.error(f"the reset value {value} of {name} does not fit into {element}", declarator)
                self.state[name] = State("register", element, count, (name, None))
                self.registers.append(
                    ir.RegisterFile(name, count, element.width, element.signed, values, _ROLES.get(role, ""))
                )
            else:
                if not dims or dims[0] < 1:
                    raise source.error(
                        f"address space {name} needs a size of at least 1, such as {name}[4096]", declarator
                    )
                if element.width % 8:
                    raise source.error(
                        f"elements of address space {name} have whole bytes, not {element.width} bits", kind
                    )
                self.state[name] = State("space", element, dims[0], (name, None))
                self.spaces.append(ir.AddressSpace(name, element.width, dims[0], _ROLES.get(role, "")))

    def _alias(self, name: str, element: IntType, declarator: Tree, source: Source) -> State:
        target = _initialiser(declarator)
        index: int | None = None
        base = target
        if isinstance(target, Tree) and target.data == "index":
            base, index = target.children[0], self.constant(target.children[1], source)
        if not (isinstance(base, Tree) and _is_name(base)) or str(base.children[0]) not in self.state:
            raise source.error(f"alias {name} must name a register or an element, such as = X[1]", declarator)
        state = self.state[str(base.children[0])]
        if state.type != element:
            raise source.error(f"alias {name} has type {element}, its register {state.type}", declarator)
        if not state.elements and index is not None:
            raise source.error(f"alias {name}: {base.children[0]} has no elements", declarator)
        if state.elements and (index is None or not 0 <= index < state.elements):
            raise source.error(f"alias {name}: expected an index below {state.elements}, found {index}", declarator)
        return State("alias", element, 0, (str(base.children[0]), index))

    def _function(self, tree: Tree, source: Source) -> Function:
        parts = [c for c in tree.children if not (isinstance(c, Token) and c.type == "EXTERN")]
        kind, name, params = parts[0], parts[1], parts[2]
        assert isinstance(kind, Tree) and isinstance(params, Tree)
        parameters = []
        for param in params.children:
            assert isinstance(param, Tree)
            types = [c for c in param.children if isinstance(c, Tree)]
            if len(types) != len(param.children) or len(types[1].children) != 1:
                raise source.error("parameters of functions are integers, passed by value: TYPE NAME", param)
            element = self.type(types[0], source)
            if element is None:
                raise source.error("a parameter cannot have type void", param)
            parameters.append((str(types[1].children[0]), element))
        body = next((c for c in parts[3:] if isinstance(c, Tree) and c.data == "block"), None)
        return Function(str(name), self.type(kind, source), parameters, body, source)

    def _enabled(self, attributes: list, source: Source) -> bool:
        for attribute in attributes:
            name = _attribute_name(attribute)
            if name == "enable":
                if len(attribute.children) != 2:
                    raise source.error("expected [[enable=CONDITION]] with one constant expression", attribute)
                if not self.constant(attribute.children[1], source):
                    return False
            elif name not in _KNOWN_ATTRIBUTES:
                self.warnings.append(
                    f"{source.name}:{attribute.meta.line}: attribute [[{name}]] is not known here and has no effect"
                )
        return True

    # ------------------------------------------------------------ types and constant expressions
    def type(self, tree: Tree, source: Source) -> IntType | None:
        """The type a type tree names; None for void."""
        if tree.data == "void_type":
            return None
        if tree.data == "bool_type":
            return BOOL
        if tree.data == "shorthand_type":
            return IntType(SHORTHANDS[str(tree.children[-1])], tree.children[0] != "unsigned")
        if tree.data == "int_type":
            width = self.constant(tree.children[1], source)
            if not 1 <= width <= MAX_WIDTH:
                raise source.error(f"expected a width of 1 to {MAX_WIDTH} bits, found {width}", tree)
            return IntType(width, tree.children[0] == "signed")
        raise source.error(f"{str(tree.data).removesuffix('_type')} types are not supported", tree)

    def constant(self, node: Tree | Token, source: Source) -> int:
        """Value of a constant expression on integers of up to `MAX_WIDTH` bits.

        Raises
        ------
        CoreDslError
            When it is not constant, divides by zero or is too large.
        """
        value = self.try_constant(node, source)
        if value is None:
            raise source.error("expected a constant expression", node)
        return value

    def try_constant(self, node: Tree | Token, source: Source) -> int | None:
        """Like `constant`, None when the expression is not constant."""
        assert isinstance(node, Tree)
        kind, parts = node.data, node.children
        if kind == "integer":
            try:
                return parse_integer(str(parts[0]))[0]
            except ValueError as error:
                raise source.error(str(error), node) from None
        if kind == "boolean":
            return int(parts[0] == "true")
        if kind == "name":
            name = str(parts[0])
            return self.parameter(name, source, node) if name in self.parameter_types else None
        if kind == "paren":
            return self.try_constant(parts[0], source)
        if kind in ("cast", "sign_cast"):
            value = self.try_constant(parts[1], source)
            if value is None or kind == "sign_cast":
                return None
            to = self.type(parts[0], source)
            return None if to is None else ir.wrap(value, *to)
        if kind == "unary":
            value = self.try_constant(parts[1], source)
            return None if value is None else {"-": -value, "+": value, "~": ~value, "!": int(not value)}[str(parts[0])]
        if kind == "binary":
            x, y = self.try_constant(parts[0], source), self.try_constant(parts[2], source)
            return None if x is None or y is None else self._binary(str(parts[1]), x, y, node, source)
        if kind == "conditional":
            condition = self.try_constant(parts[0], source)
            return None if condition is None else self.try_constant(parts[1] if condition else parts[2], source)
        return None

    @staticmethod
    def _binary(operator: str, x: int, y: int, node: Tree, source: Source) -> int:
        if operator in ("/", "%") and y == 0:
            raise source.error("division by zero in a constant expression", node)
        if operator in ("<<", ">>") and not 0 <= y <= MAX_WIDTH:
            raise source.error(f"expected a shift by 0 to {MAX_WIDTH}, found {y}", node)
        value: int = {
            "+": lambda: x + y,
            "-": lambda: x - y,
            "*": lambda: x * y,
            "/": lambda: ir.divide(x, y),
            "%": lambda: ir.remainder(x, y),
            "&": lambda: x & y,
            "|": lambda: x | y,
            "^": lambda: x ^ y,
            "<<": lambda: x << y,
            ">>": lambda: x >> y,
            "==": lambda: int(x == y),
            "!=": lambda: int(x != y),
            "<": lambda: int(x < y),
            ">": lambda: int(x > y),
            "<=": lambda: int(x <= y),
            ">=": lambda: int(x >= y),
            "&&": lambda: int(bool(x and y)),
            "||": lambda: int(bool(x or y)),
        }[operator]()
        if value.bit_length() > MAX_WIDTH:
            raise source.error(f"expected a constant of at most {MAX_WIDTH} bits, found {value.bit_length()}", node)
        return value


_ROLES = {"is_main_reg": "main", "is_pc": "pc", "is_main_mem": "main"}
# Attributes the language knows (reference analyser) beside those of the ETISS tool chain, which carry no meaning for
# us.
_KNOWN_ATTRIBUTES = {
    "no_cont",
    "cond",
    "flush",
    "hls",
    "type",
    "expected_encoding_size",
    "do_not_synthesize",
    "clk_budget",
    "uses_mem",
    "is_pc",
    "is_main_reg",
    "is_main_mem",
    "is_interlock_for",
}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return False


def _is_name(node: object) -> bool:
    return isinstance(node, Tree) and node.data == "name"


def _attribute_name(attribute: Tree) -> str:
    return str(attribute.children[0])


def _initialiser(declarator: Tree) -> Tree | None:
    """The initialiser's expression or list; attributes, dimensions and the name go before it."""
    last = declarator.children[-1]
    return last if isinstance(last, Tree) and last.data not in ("dim", "attribute") else None


def _elements(initial: Tree) -> list[Tree]:
    return list(initial.children) if initial.data == "list_init" else [initial]
