"""Which instructions in a row have one handler for all of them, and its C.

A handler that does several instructions saves the dispatches between them, which a host predicts at a price. Where
a chain says so, the result of one of its instructions is handed to a later one in a host register: reading it back
from `struct hart` would wait for the store. What is fused was chosen by how often sequences were executed in
`kernels/bench` and `kernels/examples`, each program weighed alike: again and again the two neighbours that cost most
became one, a dispatch saved counting twice a result handed on; then what was hardly used any more was left out.
"""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

LONGEST = 8
FORWARDS = 3

_COMMON = "addi add slli srli andi xor lui c.mv lw lb lbu sw"
_OTHER = "sub and or srai mul lh sb"
_BRANCHES = "beq bne blt bge bltu bgeu c.beqz c.bnez"
# A branch over one of these may be done without a branch of the host: see `over_text`.
PREDICATED = ["addi", "c.mv", "add", "sub", "xor", "or", "and", "slli", "srli", "srai", "lui", "andi", "xori", "ori"]
_CLASSES = {
    "LOAD": "lw|lb|lbu|lh",
    "MOVE": "addi|c.mv",
    "ZERO": "c.beqz|c.bnez",
    "BRANCH": "beq|bne|blt|bge|bltu|bgeu",
    "COMPARE": "blt|bge|bltu|bgeu",
    "EITHER": _BRANCHES.replace(" ", "|"),
}
# Pairs: a common one with any, and what precedes the end of a block.
PAIRS = [
    *itertools.product(_COMMON.split(), f"{_COMMON} {_OTHER}".split()),
    *itertools.product(_OTHER.split(), _COMMON.split()),
    ("mul", "mul"),
    *itertools.product(f"{_COMMON} sub and lh sb".split(), f"{_BRANCHES} jal c.j".split()),
]
# Longer chains, and pairs with a result handed on: `bltu(-,0)` takes its second operand from instruction 0.
CHAINS = """
addi|andi|c.mv|add|sub|and|LOAD ZERO(0)
addi|LOAD BRANCH(0)
addi|add|lui|LOAD BRANCH(-,0)
LOAD MOVE EITHER
LOAD MOVE ZERO(0)
LOAD MOVE COMPARE(0)
LOAD MOVE COMPARE(-,0)
LOAD MOVE c.j
addi|add|xor|c.mv|sw|sb|srli addi EITHER
addi|add|xor|c.mv|sw|sb|srli addi ZERO(1)
addi add EITHER
c.mv c.mv EITHER
c.mv c.mv jal|c.j
andi srli ZERO(0)
srli andi(0) ZERO(1)
andi srli over:ZERO(0)
srli andi(0) over:ZERO(1)
addi|andi|c.mv|lw|lbu over:EITHER
addi slli add(1)
addi slli add(1) c.j
slli add(0) lw|lbu|lh(1)
lw lw c.mv
lw lw c.mv c.mv ZERO(1)
lw c.mv c.mv
lw c.mv c.mv addi c.mv COMPARE(-,0)
addi lw c.mv c.mv addi c.mv COMPARE(-,1)
lw lw lw
lw lw add
sw sw sw
sw sw addi c.j
lbu lui xor
sw lw c.mv
sw lw c.mv ZERO(1)
addi c.mv EITHER
c.mv addi c.mv
LOAD LOAD addi|add addi
lb lb addi addi(0) mul(3) addi add(-,4) bne|blt|bltu
lbu lb addi|add addi
mul addi|add add
mul(-,-) add(0)
mul addi add(0)
mul add(0) addi|add
mul addi add(0) EITHER
mul addi add(-,0) EITHER
mul addi add(0) addi EITHER
addi|add mul add(1)
addi|add mul add(-,1)
addi|add mul add(1) addi|add
addi|add mul add(1) addi|add EITHER
add add add(0) lbu(2)
add addi srli bltu(-,0)
add addi sw(0) slli(1) jal
add addi(0) sw(-,1)
add andi(0) add(-,1) lbu(2) add bne
add andi(0) add(1) slli(2) add addi
add andi(0) sw(-,1) bne
add lbu(0) beq(1)
add lbu(0) lui beq(1)
add lw(0) add bltu(2,1)
add lw(0) blt
add slli(0) srli or(1,2)
add srai(0) and(1) add(-,2)
add sw(-,0) lw add(2) c.mv jal
addi add add beq(0)
addi add sub(0,1) beq(-,1)
addi add(-,0) lbu(1) c.bnez(2)
addi add(-,0) sb(1)
addi addi addi bne(-,0)
addi addi addi over:bgeu(0)
addi addi beq(0)
addi addi bne(-,0)
addi addi sb c.mv(0) lw lw lw bge(1,6)
addi and(-,0) addi c.bnez(1)
addi andi slli(1) add(2) lhu(3)
addi andi(0) bltu(-,1)
addi lw c.mv c.mv addi c.mv(0) bltu(-,1)
addi lw(0) addi lbu(1) bne(3)
addi lw(0) lui addi(2) mul(-,3)
addi sb(-,0) addi bne(2)
addi sb(0) bne(0)
addi slli(0) add(1) jal
addi slli(0) add(1) lw(2) lw jal
addi srai(0) add(1) and(0)
addi sw(-,0) addi beq(-,2)
addi sw(0) addi sw(0)
addi sw(0) c.mv lw sw(0) sw(0) jal
addi sw(0) sw(0) c.mv c.mv jal
addi sw(0) sw(0) sw(0)
addi sw(0) sw(0) sw(0) c.mv c.beqz
addi sw(0) sw(0) sw(0) sw sw sw
addi xor lbu(0) mul(1) c.bnez(2)
addi xor sw(0) sw(0) sw(0)
and add sra sltu(1) add(3,2) c.jr
andi addi(0) addi(0) andi(2) over:bltu
andi sb(-,0) addi bne
c.mv addi addi c.bnez(0)
c.mv c.mv c.mv
c.mv c.mv c.mv jal
c.mv c.mv c.mv(0) jal
c.mv c.mv c.mv(0) sw(2,1)
c.mv c.mv lui addi(2) lui addi lui
c.mv c.mv lw jal
c.mv lbu(0) addi addi(0) beq(1)
c.mv lui c.mv jal
c.mv lw add(1) lw add(-,3) lw lw(4) jal
c.mv lw jal
c.mv lw lw lw addi jal
lb lb add addi add(0) mul(4) add(-,5)
lb lb addi addi add(0) mul(4) add(-,5)
lbu addi addi sb(1,0) c.bnez(0)
lbu addi c.mv beq(0,1)
lbu addi lui addi(0) andi(3) beq(-,1)
lbu addi sb(-,0) c.beqz(0)
lbu addi sb(-,0) slli bne(-,1)
lbu c.mv lbu sub(0) sltu(-,3) add(4)
lbu lbu addi addi beq(0,1)
lbu lbu addi addi sb(2,0)
lbu lbu bne(0,1)
lbu lui xor(-,0) andi(2) srli(2) over:c.beqz
lbu slli addi add(1,0) bne(2)
lhu c.bnez(0)
lui addi(0) add(-,1) srli(2)
lui addi(0) addi add(1) sw sw
lui addi(0) c.mv lui addi(3) lui addi(5) lui
lui addi(0) lui addi lui
lui bge(0)
lui c.jr
lui lui addi(1) lui addi(3) lui addi(5) bltu
lui mul mul add(1) add mul(4) add(5) jal
lui sw(-,0) lbu addi lui beq(2,3)
lw addi add(-,0) sw(1,2) bne
lw addi addi(0) sw(-,2) beq(-,1)
lw addi addi(0) sw(-,2) slli srli or(5) beq
lw addi c.jr
lw addi jal
lw addi mul(0) add(2) sw(-,3)
lw addi slli(1) c.bnez(0)
lw addi sw(1,0) bne(-,1)
lw addi xor(-,0)
lw addi xor(-,0) mul(2)
lw addi(0) lw lw beq(1,2)
lw c.jr
lw lw addi
lw lw addi addi jal
lw lw addi addi mul(0,1) add(-,4)
lw lw addi blt(1,0)
lw lw addi mul(0) addi add(-,3)
lw lw addi slli(2) slt(0,1)
lw lw addi slli(2) sub(0,1)
lw lw c.mv c.mv(0) c.beqz(1)
lw lw c.mv lw addi c.jr
lw lw jal
lw lw lw add(2) c.mv jal
lw lw lw addi c.jr
lw lw lw addi jal
lw lw lw lw addi c.jr
lw lw lw lw lw lw
lw lw sw bgeu(1,0)
lw lw(0) lw(0) add over:blt(-,3)
lw xor(-,0) mul(1) slli(2) srli or
mul addi add srli(2) andi(3) c.beqz(4)
mul addi sw addi add mul(4) srli(4) sw(-,6)
mul mul add(0) add(1)
mul mul add(0) add(1) c.mv
mul mulh srli(0) slli(1) or(3) c.jr
mul slli(0) srli(0) or(2)
mul slli(0) srli(0) or(2) bne
mulh mul sub lui add(-,1) sll(3) sltu(4) srli
ori addi(0) andi(1) lui bltu(3)
sb addi bne(1)
slli add(0) addi lw(1)
slli add(0) addi sw(1) sw(1) c.mv
slli add(0) lhu(1)
slli add(0) lhu(1) bltu(-,2)
slli add(0) lhu(1) c.beqz(2)
slli add(0) lw(1) add addi bltu
slli add(0) lw(1) add(2) c.jr
slli add(0) slli(1) addi addi(2) bltu
slli slli add(0) c.mv sw c.mv(1)
srli andi(0) add(1) add addi bltu
srli andi(0) addi(1) bne
srli or(0) bgeu(1)
srli slli or(1,0) bne
srli xor(-,0) sw(-,1) addi c.bnez
sub srl sll(-,0) or(2,1) c.jr
sw addi addi bne(1)
sw addi beq(-,1)
sw c.jr
sw lbu c.mv addi c.mv(1) c.mv jal
sw lw lw lw addi c.jr
sw sw sw sw sw sw
xori add srli(0) slli(1) or(-,3) srli
"""


class Chain(NamedTuple):
    """Handlers in a row; results handed on as (which instruction's, to which, into which of its register slots)."""

    handlers: tuple[int, ...]
    forwards: tuple[tuple[int, int, int], ...] = ()


_WRITE = re.compile(r"^    x\[in->r\[(\d)\]\] = (.*);$", re.MULTILINE)
_JUMP = re.compile(r"^    if \((!?\w+)\) \{\n        SETPC\((.*)\);\n    \}$", re.MULTILINE)


def write_slot(text: str) -> int:
    """The register slot that a handler writes, always and last of all it does with registers; -1 without one."""
    found = _WRITE.search(text)
    return int(found[1]) if found and text.count("]] =") == 1 else -1


def parse(line: str) -> list[tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]]:
    """All sequences of mnemonics that a line of `CHAINS` stands for, and their forwards."""
    choices: list[list[str]] = []
    forwards = []
    for position, token in enumerate(line.split()):
        names, _, operands = token.rstrip(")").partition("(")
        over, names = ("over:", names[5:]) if names.startswith("over:") else ("", names)
        for name, those in _CLASSES.items():
            names = names.replace(name, those)
        choices.append([over + name for name in names.split("|")])
        for slot, source in enumerate(operands.split(",") if operands else []):
            if source != "-":
                forwards.append((int(source), position, slot))
    return [(names, tuple(forwards)) for names in itertools.product(*choices)]


def chains(handler_of: dict[str, int], texts: list[str]) -> list[Chain]:
    """Every chain, those that start alike together, longer ones and those that hand on more first.

    Parameters
    ----------
    handler_of : dict
        Handler of each mnemonic, of its commonest variant.
    texts : list of str
        The handlers' C, by number.
    """
    found = [Chain((handler_of[a], handler_of[b])) for a, b in PAIRS]
    for line in CHAINS.strip().splitlines():
        for names, forwards in parse(line):
            handlers = tuple(handler_of[name] for name in names)
            for source, to, slot in forwards:
                if write_slot(texts[handlers[source]]) < 0 or f"= x[in->r[{slot}]];" not in texts[handlers[to]]:
                    raise ValueError(
                        f"expected an operand {slot} that takes a result, found `{line}` ({' '.join(names)}) in CHAINS"
                    )
            found.append(Chain(handlers, forwards))
    order = {handlers: n for n, (handlers, _) in enumerate(found)}
    return sorted(set(found), key=lambda c: (c.handlers[0], -len(c.handlers), -len(c.forwards), order[c.handlers], c))


def chain_text(chain: Chain, texts: list[str]) -> str:
    """C of a chain's handler: those of its instructions, without the dispatches between."""
    parts = []
    for position, handler in enumerate(chain.handlers):
        text = texts[handler]
        for n, (source, to, slot) in enumerate(chain.forwards):
            if to == position:
                text = text.replace(f"= x[in->r[{slot}]];", f"= forward{n};", 1)
            if source == position:
                text = _WRITE.sub(rf"    x[in->r[\1]] = forward{n} = \2;", text)
        if position + 1 < len(chain.handlers):
            text = text.rsplit("NEXT;", 1)[0].rstrip() + "\n    in++;"
        parts.append(f"{{\n{text}\n}}")
    head = "".join(f"uint32_t forward{n}; " for n in range(len(chain.forwards)))
    return f"{{ {head}\n" + "\n".join(parts) + "\n}"


def over_text(text: str) -> str:
    """C of a conditional branch that looks whether it goes over a block of one simple instruction.

    Then that instruction is executed in both cases, and its result kept in one: hosts mispredict branches on data.
    So the condition has to become a number without a branch.
    """
    return _JUMP.sub(r"    taken = \1;\n    npc = \2;", text).replace("BRANCH;", "BRANCH_OVER;")


def predicated_text(text: str) -> str:
    """C of an instruction that leaves its register alone where `keep` is all ones instead of zero."""
    text = _WRITE.sub(r"    x[in->r[\1]] = (x[in->r[\1]] & keep) | (\2 & ~keep);", text)
    return text.replace("NEXT;", "AFTER_OVER;")


def chain_lines(found: list[Chain], texts: list[str]) -> list[str]:
    """C tables: ``CHAINS``, rows of `struct chain`; ``CHAIN_STARTS``, by first handler; ``HANDLER_WRITES``."""
    starts = [sum(c.handlers[0] < n for c in found) for n in range(len(texts) + 1)]
    rows = []
    for handlers, forwards in found:
        edges = "".join(f", {{{a}, {b}, {c}}}" for a, b, c in forwards)
        rows.append(
            f"{{{len(handlers)}, {len(forwards)}, {{{', '.join(map(str, handlers))}}}, {{{edges[2:] or '{0}'}}}}}"
        )
    return [
        f"#define CHAIN_COUNT {len(found)}",
        f"#define CHAIN_LONGEST {LONGEST}",
        f"#define CHAIN_FORWARDS {FORWARDS}",
        "#define CHAIN_LABELS " + ", ".join(f"&&chain_{n}" for n in range(len(found))),
        "#define CHAINS " + ", ".join(rows),
        "#define CHAIN_STARTS " + ", ".join(map(str, starts)),
        "#define HANDLER_WRITES " + ", ".join(str(write_slot(text)) for text in texts),
    ]
