"""Instructions and pseudo-instructions to words in the current section."""

from __future__ import annotations

from dataclasses import dataclass, field

from lark import Token

from rvsim.asm import compress
from rvsim.asm.errors import Place, Problem, suggestion
from rvsim.asm.expressions import Node, Relocation
from rvsim.asm.layout import Branch, Data, Fixup
from rvsim.asm.operands import REGISTER_NUMBERS, Capture, Coded, Immediate, Template, best, cut, match
from rvsim.asm.pseudo import Pseudo, pseudo_instructions
from rvsim.asm.source import Statement
from rvsim.asm.state import State
from rvsim.asm.tokens import column
from rvsim.isa.ir import wrap

MAX_KNOWN = 50_000
"""Most statements whose code is kept."""


class Coder:
    """Codes instructions for the options and into the section of a state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._known: dict[tuple[str, str, int, str, bool, bool], list[Coded]] = {}

    def begin(self) -> None:
        section = self.state.section
        if not section.bits:
            raise Problem(f"expected instructions in a section with contents, found them in {section.name}")
        section.mark("x")
        if "x" in section.flags and not self.state.own_lines:
            place = self.state.place.outermost
            if place.file not in self.state.files:
                self.state.files.append(place.file)
            section.lines.append(
                (section.here(), self.state.files.index(place.file) + 1, place.line, self.state.column + 1)
            )

    def instruction(self, name: str, statement: Statement) -> None:
        """Assemble an instruction or pseudo-instruction."""
        options = self.state.options
        key = (name, statement.operands, statement.column, options.isa.name, options.rvc, options.relax)
        coded = self._known.get(key)
        if coded is None:
            self.state.looked_up = False
            written = cut(statement.operands, statement.column)
            coded = self._code(name, {}, written, statement.column + len(statement.operands.rstrip()))
            # What no symbol is in is always coded in the same way: repetitions and programs are full of it.
            if not self.state.looked_up and len(self._known) < MAX_KNOWN:
                self._known[key] = coded
        self.begin()
        for each in coded:
            self.emit(each)

    def _usable(self, name: str) -> list[Template]:
        templates = self.state.options.isa.templates.get(name, [])
        return [t for t in templates if t.instruction.size != 2 or self.state.options.rvc]

    def _code(
        self, name: str, fields: dict[str, int], written: list[list[Token]], end: int, compressing: bool = True
    ) -> list[Coded]:
        problems: list[Problem] = []
        for template in self._usable(name):
            try:
                coded = template.code(written, end, self.state.resolve)
                for key, value in fields.items():
                    into = template.fields[key]
                    coded.word = coded.word & ~into.insert(-1) | into.insert(value)
                if fields:
                    return [coded]
                self._check_encoding(coded, written, end)
            except Problem as problem:
                problems.append(problem)
                continue
            return [self._compressed(coded, template) if compressing else coded]
        for pseudo in pseudo_instructions().get(name, ()):
            if not self._available(pseudo):
                continue
            try:
                bound = match(pseudo.operands, written, end)
            except Problem as problem:
                problems.append(problem)
                continue
            captured = {e.name: (e.kind, tokens) for e, tokens in bound if isinstance(e, Capture)}
            try:
                return self._expand(pseudo, captured, end)
            except Problem as problem:
                problems.append(problem)
        if problems:
            raise best(problems)
        raise self._unknown(name)

    def _unknown(self, name: str) -> Problem:
        isa = self.state.options.isa
        if name in isa.templates:
            return Problem(
                f"expected a 32-bit instruction, found {name} under .option norvc; write .option rvc before it"
            )
        if name in isa.others:
            belongs = isa.others[name][0].instruction.set
            return Problem(f"expected an instruction of {isa.name}, found {name}, which is one of {belongs}; see --isa")
        known = [*isa.templates, *pseudo_instructions(), *self.state.macros]
        return Problem(
            f"expected an instruction, found {name}, which there is not in {isa.name}{suggestion(name, known)}"
        )

    def _available(self, pseudo: Pseudo) -> bool:
        return all(mnemonic[0] == "!" or self._usable(mnemonic) for mnemonic, _, _ in pseudo.steps)

    def _check_encoding(self, coded: Coded, written: list[list[Token]], end: int) -> None:
        if coded.symbolic or coded.size != 2:
            return
        at = column(written[0][0]) if written and written[0] else end
        if compress.reserved(coded.instruction, coded.word):
            raise Problem(f"{coded.instruction.mnemonic} with these operands is a reserved encoding", at)
        for name, templates in self.state.options.isa.narrow.items():
            other = templates.instruction
            if other.mask != coded.instruction.mask and coded.word & other.mask == other.match:
                inside = other.mask & coded.instruction.mask == coded.instruction.mask
                if inside and other.mnemonic not in ("c.nop", coded.instruction.mnemonic):
                    raise Problem(f"{coded.instruction.mnemonic} with these operands is the encoding of {name}", at)

    def _compressed(self, coded: Coded, template: Template) -> Coded:
        if not self.state.options.rvc or coded.size == 2 or coded.wrapped:
            return coded
        small = compress.compress(coded, template, self.state.options.isa.narrow)
        return small or coded

    def _expand(self, pseudo: Pseudo, captured: dict[str, tuple[str, list[Token]]], end: int) -> list[Coded]:
        coded: list[Coded] = []
        for mnemonic, fields, text in pseudo.steps:
            if mnemonic[0] == "!":
                parts = [captured[p.strip("{}")][1] if "{" in p else [_token(p)] for p in text.split(",")]
                coded += getattr(self, f"_expand_{mnemonic[1:]}")(*parts, end)
                continue
            coded += self._code(mnemonic, fields, _fill(text, captured), end)
        return coded

    def simple(self, text: str, compressing: bool = True) -> list[Coded]:
        """Code an instruction that the assembler writes itself."""
        name, _, operands = text.partition(" ")
        return self._code(name, {}, cut(operands), 0, compressing)

    def _expand_mv(self, d: list[Token], s: list[Token], end: int) -> list[Coded]:
        # GNU as writes mv as c.mv where neither is x0, and as an addi of 32 bits otherwise.
        plain = f"addi {d[0]},{s[0]},0"
        x0 = 0 in (REGISTER_NUMBERS[d[0].value], REGISTER_NUMBERS[s[0].value])
        return self.simple(plain, compressing=not x0)

    def _expand_add(self, d: list[Token], s: list[Token], value: list[Token], end: int) -> list[Coded]:
        # GNU as compresses this alias of addi to other additions only, not to c.li and c.mv.
        [coded] = self._code("addi", {}, [d, s, value], end, compressing=False)
        if coded.values.get("imm") == 0 or coded.values.get("rs1") == 0:
            return [coded]
        return [self._compressed(coded, self._usable("addi")[0])]

    def _expand_li(self, d: list[Token], value: list[Token], end: int) -> list[Coded]:
        node = self.state.expression(value, end)
        if isinstance(node, Relocation):
            raise Problem(f"expected a number, found %{node.name}; use lui and addi with it", node.column)
        register = str(d[0])
        if not isinstance(node, int):
            # Not known yet: always two instructions, so that nothing depends on the value.
            return [
                *self._symbolic(f"lui {register},", "hi", node, value),
                *self._symbolic(f"addi {register},{register},", "lo", node, value),
            ]
        if not -(1 << 31) <= node < 1 << 32:
            raise Problem(f"expected a number from -2^31 to 2^32 - 1, found {node}", column(value[0]))
        number = wrap(node, 32, True)
        low = wrap(number, 12, True)
        high = ((number - low) >> 12) & 0xFFFFF
        x0 = REGISTER_NUMBERS[register] == 0  # GNU as writes both halves for x0, and c.nop for no number
        if not high:
            return self.simple(f"addi {register},x0,{low}", compressing=node < 1 << 31 and not x0)
        upper = self.simple(f"lui {register},{high}")
        return [*upper, *(self.simple(f"addi {register},{register},{low}") if low or x0 else [])]

    def _symbolic(self, text: str, kind: str, node: Node, tokens: list[Token]) -> list[Coded]:
        [coded] = self.simple(f"{text}0", compressing=False)
        name, element = next(
            (n, e) for n, e in self._usable(text.split()[0])[0].by_field.items() if isinstance(e, Immediate)
        )
        coded.values.pop(name, None)
        coded.symbolic.append((element, kind, node, column(tokens[0])))
        return [coded]

    def _expand_call(self, d: list[Token], via: list[Token], target: list[Token], end: int) -> list[Coded]:
        node = self.state.expression(target, end)
        register, scratch = str(d[0]), str(via[0])
        far = [
            *self._symbolic(f"auipc {scratch},", "pcrel_hi", node, target),
            *self._symbolic(f"jalr {register},{scratch},", "_prev_lo", node, target),
        ]
        if not (self.state.shrink_calls and self.state.options.relax):
            return far
        # As the GNU linker relaxes R_RISCV_CALL: a jump that reaches, compressed where that may be used.
        near = self._jump(register, node, target)
        number = REGISTER_NUMBERS[register]
        forms = [near, far]
        if number <= 1 and self._usable("c.j" if number == 0 else "c.jal"):
            forms.insert(0, self._symbolic_target("c.j" if number == 0 else "c.jal", node, target))
        return [_Forms(far[0].instruction, 0, forms=forms)]

    def _jump(self, register: str, node: Node, tokens: list[Token]) -> list[Coded]:
        return self._symbolic_target("jal", node, tokens, register)

    def _symbolic_target(self, name: str, node: Node, tokens: list[Token], register: str = "") -> list[Coded]:
        template = self._usable(name)[0]
        coded = Coded(template.instruction, template.instruction.match)
        for element in template.by_field.values():
            if isinstance(element, Immediate):
                coded.symbolic.append((element, "target", node, column(tokens[0])))
            else:
                number = REGISTER_NUMBERS[register]
                coded.values[element.field.name] = number
                coded.word |= element.field.insert(number)
        return [coded]

    def emit(self, coded: Coded) -> None:
        """Put an instruction into the current section."""
        if isinstance(coded, _Forms):
            last = len(coded.forms) - 1
            self.state.section.add(Branch(coded.forms, last, last, self.state.place, self.state.column))
            return
        name = coded.instruction.mnemonic
        self.state.used_compressed |= coded.size == 2
        if coded.symbolic and coded.symbolic[0][1] == "target" and (name in compress.GROWS or name in compress.INVERSE):
            if (fragment := self._branch(coded)) is not None:
                self.state.section.add(fragment)
                return
        section = self.state.section
        section.hold(coded.size)
        data = section.data()
        add_coded(data, coded, self.state.place, self.state.column)

    def _branch(self, coded: Coded) -> Branch | None:
        isa, name = self.state.options.isa, coded.instruction.mnemonic
        forms = [[coded]]
        if name in compress.GROWS:
            forms.append([compress.grow(coded, isa.templates[compress.GROWS[name][0]][0])])
        wide = forms[-1][0]
        if wide.instruction.mnemonic not in compress.INVERSE:  # a jump
            return Branch(forms, len(forms) - 1, len(forms) - 1, self.state.place, self.state.column)
        _, _, node, at = coded.symbolic[0]
        token = _token("")
        token.start_pos = at
        jump = self._jump("x0", node, [token])
        for each in reversed(forms):
            inverse = isa.templates[compress.INVERSE[each[0].instruction.mnemonic]][0]
            over = Coded(inverse.instruction, inverse.instruction.match, dict(each[0].values))
            for field_name, value in over.values.items():
                over.word |= inverse.fields[field_name].insert(value)
            distance = next(e for e in inverse.by_field.values() if isinstance(e, Immediate))
            over.word |= distance.insert(over.size + 4)
            forms.append([over, *jump])
            if name not in compress.GROWS:
                break
        if name in compress.GROWS:
            # c.beqz, beq, then c.bnez over a jump; bne over a jump where the target is not in this section.
            forms[2], forms[3] = forms[3], forms[2]
            return Branch(forms, 2, 3, self.state.place, self.state.column)
        return Branch(forms, 1, 1, self.state.place, self.state.column)


@dataclass
class _Forms(Coded):
    """A call in all its forms."""

    forms: list[list[Coded]] = field(default_factory=list)


def _token(text: str) -> Token:
    token = Token("NAME", text)
    token.start_pos = 0
    return token


def _fill(text: str, captured: dict[str, tuple[str, list[Token]]]) -> list[list[Token]]:
    """A step's operands, captured tokens put in."""
    written: list[list[Token]] = []
    for part in cut_template(text):
        tokens: list[Token] = []
        for token in part:
            if token.type == "CAPTURED":
                tokens += captured[token.value][1]
            else:
                tokens.append(token)
        written.append(tokens)
    return written


_TEMPLATES: dict[str, list[list[Token]]] = {}


def cut_template(text: str) -> list[list[Token]]:
    """Operands of a step, ``{name}`` as one token."""
    found = _TEMPLATES.get(text)
    if found is None:
        found = []
        for part in cut(text):
            tokens: list[Token] = []
            at = 0
            while at < len(part):
                if part[at].value == "{":
                    tokens.append(Token("CAPTURED", part[at + 1].value))
                    at += 3
                else:
                    tokens.append(part[at])
                    at += 1
            found.append(tokens)
        _TEMPLATES[text] = found
    return found


def add_coded(data: Data, coded: Coded, place: Place, start: int) -> None:
    """Append an instruction's bytes, and fixups for what is not known."""
    offset = len(data.data)
    data.data += coded.word.to_bytes(coded.size, "little")
    for element, kind, node, at in coded.symbolic:
        data.fixups.append(Fixup(offset, coded.size, kind, node, place, start + at, element))
