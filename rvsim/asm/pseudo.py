"""Pseudo-instructions: a table in the assembler's own syntax.

RISC-V Assembly Programmer's Manual, "Pseudoinstructions", and what GNU as 2.40 takes beside it. Placeholders: r a
register, e an expression, t a target, c a CSR. Of several lines of one name, the first that matches is used; a line
with a 16-bit instruction, or one of an extension, counts only where that may be used.
`%_prev_lo` is the low part of a distance counted from the instruction before.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from rvsim.asm.operands import Element, elements

TABLE = """
nop                         : addi x0,x0,0
mv       {r:d},{r:s}        : !mv {d},{s}
move     {r:d},{r:s}        : !mv {d},{s}
not      {r:d},{r:s}        : xori {d},{s},-1
neg      {r:d},{r:s}        : sub {d},x0,{s}
seqz     {r:d},{r:s}        : sltiu {d},{s},1
snez     {r:d},{r:s}        : sltu {d},x0,{s}
sltz     {r:d},{r:s}        : slt {d},{s},x0
sgtz     {r:d},{r:s}        : slt {d},x0,{s}
sgt      {r:d},{r:s},{r:t}  : slt {d},{t},{s}
sgtu     {r:d},{r:s},{r:t}  : sltu {d},{t},{s}
add      {r:d},{r:s},{e:i}  : !add {d},{s},{i}
and      {r:d},{r:s},{e:i}  : andi {d},{s},{i}
or       {r:d},{r:s},{e:i}  : ori {d},{s},{i}
xor      {r:d},{r:s},{e:i}  : xori {d},{s},{i}
slt      {r:d},{r:s},{e:i}  : slti {d},{s},{i}
sltu     {r:d},{r:s},{e:i}  : sltiu {d},{s},{i}
sll      {r:d},{r:s},{e:i}  : slli {d},{s},{i}
srl      {r:d},{r:s},{e:i}  : srli {d},{s},{i}
sra      {r:d},{r:s},{e:i}  : srai {d},{s},{i}
ror      {r:d},{r:s},{e:i}  : rori {d},{s},{i}
bclr     {r:d},{r:s},{e:i}  : bclri {d},{s},{i}
bext     {r:d},{r:s},{e:i}  : bexti {d},{s},{i}
binv     {r:d},{r:s},{e:i}  : binvi {d},{s},{i}
bset     {r:d},{r:s},{e:i}  : bseti {d},{s},{i}
zext.b   {r:d},{r:s}        : andi {d},{s},255
zext.h   {r:d},{r:s}        : slli {d},{s},16 ; srli {d},{d},16
sext.b   {r:d},{r:s}        : slli {d},{s},24 ; srai {d},{d},24
sext.h   {r:d},{r:s}        : slli {d},{s},16 ; srai {d},{d},16
li       {r:d},{e:i}        : !li {d},{i}
la       {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; addi {d},{d},%_prev_lo({a})
lla      {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; addi {d},{d},%_prev_lo({a})
beqz     {r:s},{t:a}        : beq {s},x0,{a}
bnez     {r:s},{t:a}        : bne {s},x0,{a}
blez     {r:s},{t:a}        : bge x0,{s},{a}
bgez     {r:s},{t:a}        : bge {s},x0,{a}
bltz     {r:s},{t:a}        : blt {s},x0,{a}
bgtz     {r:s},{t:a}        : blt x0,{s},{a}
bgt      {r:s},{r:t},{t:a}  : blt {t},{s},{a}
ble      {r:s},{r:t},{t:a}  : bge {t},{s},{a}
bgtu     {r:s},{r:t},{t:a}  : bltu {t},{s},{a}
bleu     {r:s},{r:t},{t:a}  : bgeu {t},{s},{a}
j        {t:a}              : c.j {a}
j        {t:a}              : jal x0,{a}
jal      {t:a}              : jal ra,{a}
jr       {r:s}              : c.jr {s}
jr       {r:s}              : jalr x0,0({s})
jr       {e:i}({r:s})       : jalr x0,{i}({s})
jr       {r:s},{e:i}        : jalr x0,{i}({s})
jalr     {r:s}              : c.jalr {s}
jalr     {r:s}              : jalr ra,0({s})
jalr     {e:i}({r:s})       : jalr ra,{i}({s})
jalr     {r:s},{e:i}        : jalr ra,{i}({s})
jalr     {r:d},{r:s}        : jalr {d},0({s})
jalr     {r:d},{r:s},{e:i}  : jalr {d},{i}({s})
ret                         : c.jr ra
ret                         : jalr x0,0(ra)
call     {e:a}              : !call ra,ra,{a}
call     {r:d},{e:a}        : !call {d},t1,{a}
tail     {e:a}              : !call x0,t1,{a}
jump     {e:a},{r:s}        : !call x0,{s},{a}
lb       {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; lb {d},%_prev_lo({a})({d})
lbu      {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; lbu {d},%_prev_lo({a})({d})
lh       {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; lh {d},%_prev_lo({a})({d})
lhu      {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; lhu {d},%_prev_lo({a})({d})
lw       {r:d},{e:a}        : auipc {d},%pcrel_hi({a}) ; lw {d},%_prev_lo({a})({d})
sb       {r:s},{e:a},{r:t}  : auipc {t},%pcrel_hi({a}) ; sb {s},%_prev_lo({a})({t})
sh       {r:s},{e:a},{r:t}  : auipc {t},%pcrel_hi({a}) ; sh {s},%_prev_lo({a})({t})
sw       {r:s},{e:a},{r:t}  : auipc {t},%pcrel_hi({a}) ; sw {s},%_prev_lo({a})({t})
csrr     {r:d},{c:n}        : csrrs {d},{n},x0
csrw     {c:n},{r:s}        : csrrw x0,{n},{s}
csrw     {c:n},{e:i}        : csrrwi x0,{n},{i}
csrs     {c:n},{r:s}        : csrrs x0,{n},{s}
csrs     {c:n},{e:i}        : csrrsi x0,{n},{i}
csrc     {c:n},{r:s}        : csrrc x0,{n},{s}
csrc     {c:n},{e:i}        : csrrci x0,{n},{i}
csrwi    {c:n},{e:i}        : csrrwi x0,{n},{i}
csrsi    {c:n},{e:i}        : csrrsi x0,{n},{i}
csrci    {c:n},{e:i}        : csrrci x0,{n},{i}
csrrw    {r:d},{c:n},{e:i}  : csrrwi {d},{n},{i}
csrrs    {r:d},{c:n},{e:i}  : csrrsi {d},{n},{i}
csrrc    {r:d},{c:n},{e:i}  : csrrci {d},{n},{i}
rdcycle    {r:d}            : csrrs {d},cycle,x0
rdcycleh   {r:d}            : csrrs {d},cycleh,x0
rdtime     {r:d}            : csrrs {d},time,x0
rdtimeh    {r:d}            : csrrs {d},timeh,x0
rdinstret  {r:d}            : csrrs {d},instret,x0
rdinstreth {r:d}            : csrrs {d},instreth,x0
fence                       : fence iorw,iorw
fence.tso                   : fence[fm=8] rw,rw
pause                       : fence[succ=0] w,w
c.nop    {e:i}              : c.addi x0,{i}
unimp                       : c.unimp
unimp                       : csrrw x0,cycle,x0
scall                       : ecall
sbreak                      : ebreak
"""


@dataclass
class Pseudo:
    """One line of the table.

    Attributes
    ----------
    operands : list of list of Element
    steps : list of (str, dict, str)
        Instruction, or a built-in expansion that begins with ``!``; fields that are set; operand text.
    """

    name: str
    operands: list[list[Element]]
    steps: list[tuple[str, dict[str, int], str]]


@functools.cache
def pseudo_instructions() -> dict[str, list[Pseudo]]:
    """The table by name."""
    found: dict[str, list[Pseudo]] = {}
    for line in TABLE.strip().splitlines():
        left, _, right = line.partition(" : ")
        name, _, operands = left.strip().partition(" ")
        steps = []
        for step in right.split(";"):
            mnemonic, _, text = step.strip().partition(" ")
            mnemonic, _, fields = mnemonic.rstrip("]").partition("[")
            pairs = (pair.partition("=") for pair in fields.split(",") if pair)
            steps.append((mnemonic, {key: int(value) for key, _, value in pairs}, text.strip()))
        found.setdefault(name, []).append(Pseudo(name, elements(operands, {}), steps))
    return found
