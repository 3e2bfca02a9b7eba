"""Behaviours to micro-ops: statements, and the functions they call, inlined.

`lenient` turns refused narrowing conversions into warnings, for descriptions written for tools that truncate silently.
"""

from __future__ import annotations

from lark import Token, Tree

from rvsim.isa import ir
from rvsim.isa.build import Builder
from rvsim.isa.elaborate import Elaboration, Function, SetDeclaration
from rvsim.isa.expressions import Expressions, Frame, Value

MAX_INLINE_DEPTH = 32


class Behaviour(Expressions):
    """Lowers one behaviour; the parameters are those of `Expressions`."""

    # ------------------------------------------------------------ statements: each returns whether control cannot go
    # on behind it
    def statements(self, nodes: list) -> bool:
        return any(self.statement(node) for node in nodes)

    def statement(self, node: Tree) -> bool:
        self.b.spend()
        return getattr(self, f"_{node.data.rstrip('_')}", self._unsupported)(node)

    def _unsupported(self, node: Tree) -> bool:
        raise self.error(f"{node.data.rstrip('_')} is not supported", node)

    def _spawn(self, node: Tree) -> bool:
        raise self.error(
            "spawn is not supported: this hart executes one instruction after the other; "
            "put the statements behind the block",
            node,
        )

    def _empty(self, node: Tree) -> bool:
        return False

    def _block(self, node: Tree) -> bool:
        self.scopes.append({})
        ended = self.statements(node.children)
        self.scopes.pop()
        return ended

    def _expr_stmt(self, node: Tree) -> bool:
        expression = node.children[0]
        assert isinstance(expression, Tree)
        if expression.data == "call":
            self.call(expression, statement=True)
            return str(expression.children[0]) == "raise" and "raise" in self.externs
        self.expression(expression)
        return False

    def _decl_stmt(self, node: Tree) -> bool:
        self.declaration(node.children[0])
        return False

    def declaration(self, node: Tree) -> None:
        storage = [c for c in node.children if isinstance(c, Token) and c.type in ("EXTERN", "REGISTER")]
        if storage:
            raise self.error(f"{storage[0]} declarations belong into architectural_state", node)
        kind = None
        for child in node.children:
            if not isinstance(child, Tree):
                continue
            if child.data != "declarator":
                kind = self.e.type(child, self.source)
                if kind is None:
                    raise self.error("a variable cannot have type void", child)
                continue
            assert kind is not None
            name = child.children[0]
            if isinstance(name, Token) and name.type == "ALIAS":
                raise self.error("aliases belong into architectural_state", child)
            if any(isinstance(c, Tree) and c.data == "dim" for c in child.children):
                raise self.error(f"{name}: arrays in behaviours are not supported", child)
            initial = child.children[-1]
            value: Value | None
            if isinstance(initial, Tree) and initial.data != "attribute":
                found = self.expression(initial)
                value = Value(self.coerce(found, kind, initial, f"initialiser of {name}"), kind)
            else:
                value = Value(self.b.const(0), kind) if str(name) in self.mutable else None
            self.declare(str(name), kind, value, name)

    def _if(self, node: Tree) -> bool:
        condition, positive = self.b.canonical(self.truth(self.expression(node.children[0])))
        branches = [node.children[1], node.children[2] if len(node.children) > 2 else None]
        known = self.b.known(condition)
        if known is not None:
            taken = branches[0] if known == positive else branches[1]
            return self._scoped(taken) if taken is not None else False
        if not positive:
            branches.reverse()
        bodies, ended = [], []
        for branch, truth in zip(branches, (True, False), strict=True):
            with self.b.nested((condition, truth)) as body:
                ended.append(self._scoped(branch) if branch is not None else False)
            bodies.append(body)
        if bodies[0] or bodies[1]:
            self.b.block.append(ir.Op("if", -1, [condition], None, bodies))
        # What follows a branch that ends belongs to the other one: its condition is known from here on.
        if ended[0] != ended[1]:
            self.b._facts.append((condition, ended[1]))
        return all(ended)

    def _scoped(self, node: object) -> bool:
        assert isinstance(node, Tree)
        self.scopes.append({})
        ended = self.statement(node)
        self.scopes.pop()
        return ended

    def _loop(self, head: Tree | None, body: Tree, step: list, node: Tree, test_first: bool = True) -> bool:
        leave, again = self.b.label(), self.b.label()

        def test() -> None:
            if head is not None:
                condition, positive = self.b.canonical(self.truth(self.expression(head)))
                out = [ir.Op("leave", -1, [], leave)]
                self.b.block.append(ir.Op("if", -1, [condition], None, [[], out] if positive else [out, []]))

        with self.b.nested() as outer:
            if test_first:
                test()
            with self.b.nested() as inner:
                self.loops.append((leave, again))
                self._scoped(body)
                self.loops.pop()
            self.b.block.append(ir.Op("scope", -1, [], again, [inner]))
            for expression in step:
                self.expression(expression)
            if not test_first:
                test()
        self.b.block.append(ir.Op("loop", -1, [], leave, [outer]))
        return False

    def _while(self, node: Tree) -> bool:
        return self._loop(node.children[0], node.children[1], [], node)

    def _do(self, node: Tree) -> bool:
        return self._loop(node.children[1], node.children[0], [], node, test_first=False)

    def _for(self, node: Tree) -> bool:
        init, condition, step, body = node.children
        self.scopes.append({})
        for child in init.children:
            if child.data == "declaration":
                self.declaration(child)
            else:
                self.expression(child)
        head = condition.children[0] if condition.children else None
        self._loop(head, body, step.children, node)
        self.scopes.pop()
        return False

    def _break(self, node: Tree) -> bool:
        if not self.loops:
            raise self.error("break outside a loop or switch", node)
        self.b.effect("leave", attr=self.loops[-1][0])
        return True

    def _continue(self, node: Tree) -> bool:
        label = next((c for _, c in reversed(self.loops) if c is not None), None)
        if label is None:
            raise self.error("continue outside a loop", node)
        self.b.effect("leave", attr=label)
        return True

    def _switch(self, node: Tree) -> bool:
        value = self.expression(node.children[0])
        cases = node.children[1:]
        leave = self.b.label()
        seen: set[int] = set()
        self.loops.append((leave, None))

        def run(first: int) -> None:
            # Falling through: the statements of every later case follow until a break.
            self.scopes.append({})
            nodes = [s for case in cases[first:] for s in case.children[(1 if case.data == "case" else 0) :]]
            if not self.statements(nodes):
                self.b.effect("leave", attr=leave)
            self.scopes.pop()

        default = None
        with self.b.nested() as body:
            for number, case in enumerate(cases):
                assert isinstance(case, Tree)
                if case.data == "default":
                    if default is not None:
                        raise self.error("default stands twice in this switch", case)
                    default = number
                    continue
                label = self.e.constant(case.children[0], self.source)
                if label in seen:
                    raise self.error(f"case {label} stands twice in this switch", case)
                seen.add(label)
                matches = self.b.pure("eq", value.temp, self.b.const(label))
                with self.b.nested((matches, True)) as taken:
                    run(number)
                self.b.block.append(ir.Op("if", -1, [matches], None, [taken, []]))
            if default is not None:
                run(default)
        self.loops.pop()
        self.b.block.append(ir.Op("scope", -1, [], leave, [body]))
        return default is not None and not any(op.code == "leave" and op.attr == leave for op in ir.walk(body))

    def _return(self, node: Tree) -> bool:
        if not self.frames:
            raise self.error("return outside a function", node)
        frame = self.frames[-1]
        if node.children:
            if frame.result is None:
                raise self.error(f"function {self.calls[-1]} returns nothing", node)
            value = self.expression(node.children[0])
            temp = self.coerce(value, frame.result, node, f"return value of {self.calls[-1]}", constants=False)
            self.b.effect("setvar", temp, attr=frame.slot)
        elif frame.result is not None:
            raise self.error(f"function {self.calls[-1]} returns {frame.result}", node)
        self.b.effect("leave", attr=frame.label)
        return True

    # ------------------------------------------------------------ functions
    def inline(self, function: Function, temps: list[int], node: Tree) -> Value | None:
        """Put a function's body in place of its call; the value it returns."""
        if function.name in self.calls:
            raise self.error(f"{' -> '.join([*self.calls, function.name])}: recursion is not allowed", node)
        if len(self.calls) >= MAX_INLINE_DEPTH:
            raise self.error(f"calls are nested more than {MAX_INLINE_DEPTH} deep", node)
        assert function.body is not None
        saved = self.scopes, self.mutable, self.source, self.fields, self.loops
        self.mutable, self.source, self.fields, self.loops = assigned_names(function.body), function.source, {}, []
        self.scopes = [{}]
        slot = self.b.variable(*function.result.range) if function.result else None
        frame = Frame(function.result, slot, self.b.label())
        self.frames.append(frame)
        self.calls.append(function.name)
        with self.b.nested() as body:
            for (name, kind), temp in zip(function.parameters, temps, strict=True):
                self.declare(name, kind, Value(temp, kind), node)
            ended = self._block(function.body)
            if function.result is not None and not ended:
                raise self.error(f"function {function.name} does not return a value on every path", function.body)
        self.calls.pop()
        self.frames.pop()
        self.scopes, self.mutable, self.source, self.fields, self.loops = saved
        self.b.block.append(ir.Op("scope", -1, [], frame.label, [body]))
        if function.result is None:
            return None
        return Value(self.b.effect("getvar", attr=slot, result=function.result.range), function.result)


def assigned_names(tree: Tree) -> set[str]:
    """Names that stand on the left of an assignment or increment, and variables declared without a value."""
    names = set()
    for node in tree.iter_subtrees():
        target = None
        if node.data in ("assign", "post_incdec"):
            target = node.children[0]
        elif node.data == "pre_incdec":
            target = node.children[1]
        elif node.data == "declarator" and not isinstance(node.children[-1], Tree):
            names.add(str(node.children[-1]))
        while isinstance(target, Tree):
            if target.data == "name":
                names.add(str(target.children[0]))
            target = target.children[0]
    return names


def lower_behaviour(
    elaboration: Elaboration,
    fields: dict[str, int],
    masks: dict[str, int],
    tree: Tree,
    declaration: SetDeclaration,
    size: int,
    lenient: bool = False,
) -> tuple[Behaviour, Builder]:
    """Lower an instruction's behaviour; the builder holds its operations."""
    builder = Builder(masks)
    behaviour = Behaviour(elaboration, fields, builder, declaration.source, size, lenient)
    behaviour.mutable = assigned_names(tree)
    behaviour.scopes.append({})
    behaviour.statement(tree.children[0])
    return behaviour, builder
