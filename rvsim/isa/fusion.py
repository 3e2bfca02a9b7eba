"""Which instructions in a row have one handler for all of them, and its C.

A handler that does several instructions saves the dispatches between them, which a host predicts at a price. Where
a chain says so, the result of one of its instructions is handed to a later one in a host register: reading it back
from `struct hart` would wait for the store. What is fused was chosen by how often sequences were executed in
`kernels/bench` and `kernels/examples`, each program weighed alike.
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
