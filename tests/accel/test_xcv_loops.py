"""Hardware loops: what random programs of them leave on every tier, beside a plain loop around the evaluator."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rvsim.asm import assemble_program
from rvsim.errors import UsageError
from rvsim.isa.bundle import bundled
from rvsim.isa.disassemble import find
from rvsim.isa.ir import Instruction
from rvsim.machine import Machine, extension
from rvsim.machine.elf import parse_elf
from tests.differential.evaluator_hart import EvaluatorHart
from tests.machine.guest import DATA, elf

XCV = bundled("xcv")
ENGINES = ("evaluator", "interp", "jit", "stepped")
FILES = ("LPSTART", "LPEND", "LPCOUNT")
CSRS = {0xCC0 + 4 * loop + n: (file, loop) for loop in (0, 1) for n, file in enumerate(FILES)}


class LoopHart(EvaluatorHart):
    """The plain hart, with XCV and what its always blocks say."""

    def __init__(self, m: Machine) -> None:
        super().__init__(bundled("rv32"), m.regions, m.timing, m.selection)
        self._classes |= {i.name: extension.timing_class(i) for i in XCV.instructions}
        self.own = {file: [0, 0] for file in FILES}
        for number, (file, loop) in CSRS.items():
            self.csrs.show(number, lambda file=file, loop=loop: self.own[file][loop])

    def get(self, file: str, index: int | None) -> int:
        return self.own[file][index or 0] if file in self.own else super().get(file, index)

    def put(self, file: str, index: int | None, value: int) -> None:
        if file in self.own:
            self.own[file][index or 0] = value
        else:
            super().put(file, index, value)

    def _decode(self, word: int) -> Instruction | None:
        return find(XCV, word) or super()._decode(word)

    def step(self) -> None:
        pc = self.pc
        super().step()
        if self.trap is not None or self.pc != pc + 4:
            return
        start, end, count = (self.own[file] for file in FILES)
        for loop in (0, 1):
            if count[loop] and end[loop] == pc + 4:
                count[loop] -= 1
                if count[loop]:
                    self.pc = start[loop]
                    return


def code(source: str) -> bytes:
    _, state = assemble_program(f".option norvc\n{source}", isa="rv32imc", isa_ext=[XCV])
    return bytes(state.images[".text"])


def machine(source: str, engine: str = "interp", **options: Any) -> Machine:
    data = bytes((37 * n + 11) & 0xFF for n in range(256))
    image = elf(code(source), data=data, data_base=DATA)
    how = "jit" if engine == "jit" else "interp"
    return Machine(parse_elf(image, "loops.elf"), **{"core": "ibex-small", "accel": "xcv", "engine": how, **options})


def left(m: Machine | LoopHart) -> dict[str, Any]:
    plain = isinstance(m, LoopHart)
    return {
        "x": list(m.x if plain else m.registers),
        "loops": m.own if plain else m.context.registers(),
        "pc": m.pc,
        "instructions": m.instructions if plain else m.hart.instructions,
        "cycles": m.cycles if plain else m.hart.cycles,
        "taken": m.taken_branches if plain else m.hart.taken_branches,
        "data": m.memory.read(DATA, 256) if plain else m.read_memory(DATA, 256),
    }


def same(source: str, limit: int = 3000, **options: Any) -> LoopHart:
    """Run on every tier; what the plain hart left."""
    m = machine(source, **options)
    plain = LoopHart(m)
    for segment in m.program.segments:
        plain.memory.write(segment.address, segment.data)
    plain.pc, plain.x = m.pc, list(m.registers)
    plain.run(limit)
    expected = left(plain)
    for engine in ENGINES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RVSIM_JIT", "128,0")
            if engine == "evaluator":
                patch.setattr(extension, "MAX_ROUTINES", 0)
            m = machine(source, engine, **options)
            if engine == "stepped":
                m.log_commits(lambda text: None)
            m.run(limit)
            found = left(m)
            for key, value in expected.items():
                assert found[key] == value, (engine, key)
    return plain


# ---------------------------------------------------------------------------------------------------- random programs


class Writer:
    """Writes a random program of hardware loops."""

    def __init__(self, seed: int) -> None:
        self.rng, self.lines, self.labels = random.Random(seed), list[str](), 0
        self.wild = seed % 2  # changes loops within their bodies, which the manual forbids

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def plain(self) -> None:
        rng, reg = self.rng, lambda: f"a{self.rng.randrange(6)}"
        ahead = self.label()
        choices = [
            [f"addi {reg()}, {reg()}, {rng.randrange(-9, 9)}"],
            [f"cv.mac {reg()}, {reg()}, {reg()}"],
            [f"cv.lw {reg()}, (s2), 4", "andi s2, s2, -5"],
            [f"cv.sb {reg()}, (s3), 1"],
            [f"lw {reg()}, 8(s2)"],
            [f"csrr {reg()}, {rng.choice(sorted(CSRS)):#x}"],
            [f"bne zero, zero, {ahead}", "nop", f"{ahead}: nop"],
            [f"cv.beqimm zero, 0, {ahead}", "addi a0, a0, 1", f"{ahead}: addi a1, a1, 1"],
            [f"beq zero, zero, {ahead}", "addi a0, a0, 1", f"{ahead}: addi a1, a1, 1"],
            [f"cv.bneimm zero, 0, {ahead}", f"{ahead}:"],
            ["fence.i"],
        ]
        rare = [
            [f"cv.counti {rng.randrange(2)}, {rng.randrange(3)}"],
            [f"cv.endi {rng.randrange(2)}, {ahead}", "addi a2, a2, 3", "addi a3, a3, 1", f"{ahead}:"],
            [f"cv.starti {rng.randrange(2)}, {ahead}", f"{ahead}:", "addi a4, a4, 1"],
            [f"cv.setupi {rng.randrange(2)}, 2, {ahead}", "addi a2, a2, 3", f"{ahead}:"],
        ]
        self.lines += rng.choice(rare if self.wild and rng.random() < 0.15 else choices)

    def loop(self, number: int) -> None:
        """A loop with its setup; loop 1 may hold loops 0."""
        rng, start, end = self.rng, self.label(), self.label()
        count = rng.choice([0, 1, 2, 3, 7])
        match rng.randrange(4):
            case 0 if number == 0:
                self.lines += [f"cv.setupi {number}, {count}, {end}"]
            case 1:
                self.lines += [f"li t0, {count}", f"cv.setup {number}, t0, {end}"]
            case 2:
                self.lines += [f"la t0, {start}", f"la t1, {end}", f"cv.start {number}, t0", f"cv.end {number}, t1"]
                self.lines += [f"li t0, {count}", f"cv.count {number}, t0"]
            case _:
                self.lines += [f"cv.starti {number}, {start}", f"cv.endi {number}, {end}"]
                self.lines += [f"cv.counti {number}, {count}"]
        self.lines.append(f"{start}:")
        length = rng.randrange(1, 5)
        for _ in range(length):
            if number == 1 and rng.random() < 0.5:
                self.loop(0)
            self.plain()
        self.lines.append(f"{end}:")

    def program(self) -> str:
        """All of it three times: by blocks that are new, and by those that are known."""
        self.lines = [f"li s2, {DATA + 16}", f"li s3, {DATA + 128}", "li t3, 3", "top:"]
        for _ in range(self.rng.randrange(1, 4)):
            self.plain()
            self.loop(self.rng.randrange(2))
        return "\n".join([*self.lines, "addi t3, t3, -1", "bnez t3, top", "li a7, 93", "ecall"])


@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed):
    plain = same(Writer(seed).program())
    assert plain.instructions > 20


# ------------------------------------------------------------------------------------------------------ what interrupts

HANDLER = """
    la t0, handler
    csrw mtvec, t0
    j begin
    .balign 4
handler:
    addi s4, s4, 1
    csrr t0, mepc
    addi t0, t0, 4
    csrw mepc, t0
    mret
    .balign 4
begin:
"""
EXIT = """
    li a7, 93
    csrw mtvec, zero
    ecall
"""


@pytest.mark.parametrize("where", [1, 3])
@pytest.mark.parametrize("trapping", ["ecall", "ebreak", ".word 0", "lw a1, 1(zero)"])
def test_traps_in_a_body(where, trapping):
    """They do not count as a pass: behind one at the end of a body the handler's mepc is beyond the loop."""
    body = ["addi a0, a0, 1", "addi a1, a1, 1", "addi a2, a2, 1"]
    body.insert(where, trapping)
    source = f"{HANDLER}\ncv.setupi 0, 5, end\n" + "\n".join(body) + f"\nend: addi a3, a3, 1\n{EXIT}"
    plain = same(source)
    assert plain.x[20] == (5 if where < 3 else 1)
    assert plain.own["LPCOUNT"][0] == (0 if where < 3 else 5)


def test_a_body_that_changes_itself():
    """By a store in its middle and by one at its end."""
    for store in ("sw t1, 0(t0)\naddi a2, a2, 1", "addi a2, a2, 1\nsw t1, 0(t0)"):
        plain = same(
            f"la t0, here\nlw t1, 4(t0)\ncv.setupi 0, 6, end\naddi a0, a0, 1\nhere: addi a1, a1, 1\n{store}\n"
            f"end: addi a1, a1, 100\n{EXIT}".replace("lw t1, 4(t0)", "la t2, other\nlw t1, 0(t2)")
            + "other: addi a1, a1, 16"
        )
        assert plain.x[11] == 1 + 5 * 16 + 100
        assert plain.x[10] == 6


def test_a_host_call_at_the_end_of_a_body():
    """The host serves it in the machine's place, which goes round as the manual has handlers do."""
    m = machine("li a7, 64\nli a0, 1\nli a2, 0\ncv.setupi 0, 3, end\nnop\nnop\necall\nend: li a7, 93\necall")
    assert m.run().instructions == 3 + 1 + 3 * 3 + 2
    assert m.context.registers()["LPCOUNT"] == [0, 0]


def test_csrs():
    m = machine("cv.setupi 1, 9, end\nnop\nend: csrr a0, 0xcc4\ncsrr a1, 0xcc5\ncsrr a2, 0xcc6\ncsrw 0xcc6, a0")
    assert m.run().stop_reason == "illegal-instruction"
    start = m.program.entry + 4
    assert m.registers[10:13] == (start, start + 4, 0)


def test_more_ends_than_are_kept():
    """A guest that keeps setting new ones is bounded in what it takes, and no loop that is set is forgotten."""
    plain = same(
        "la t0, end\ncv.end 1, t0\nla t1, body\ncv.start 1, t1\nli t2, 4200\nmv t3, t0\n"
        "again: addi t3, t3, 4\ncv.end 0, t3\naddi t2, t2, -1\nbnez t2, again\n"
        f"cv.counti 1, 3\nbody: addi a0, a0, 1\naddi a1, a1, 1\nend: addi a2, a2, 1\n{EXIT}",
        limit=20_000,
    )
    assert plain.x[10] == 3


def test_a_snapshot_within_a_loop(tmp_path):
    """Saved and loaded at each instruction of two nested loops, it goes on as if it had not been."""
    source = Writer(4).program()
    whole = machine(source)
    whole.run()
    for at in range(3, 60, 7):
        m = machine(source)
        m.run(at)
        m.save(tmp_path / "loops.snapshot")
        loaded = Machine.load(tmp_path / "loops.snapshot")
        loaded.run()
        assert left(loaded) == left(whole)


# ------------------------------------------------------------------------------------------------------------- cycles


def cycles(source: str, **options: Any) -> int:
    result = machine(source, **options).run()
    assert result.exit_code is not None
    return result.cycles


@pytest.mark.parametrize("timing", ["table", "exact"])
def test_going_round_costs_nothing(timing):
    """User manual, "CORE-V Hardware Loop feature": no stall cycles; on CV32E40P a body of four takes four."""
    source = "li t0, {}\n.balign 4\ncv.setup 0, t0, end\nnop\nnop\ncv.sdotsp.b a1, a2, a3\nnop\nend: li a7, 93\necall"
    taken = [cycles(source.format(n), core="cv32e40p", timing=timing) for n in (10, 11, 30)]
    assert (taken[1] - taken[0], taken[2] - taken[0]) == (4, 80)


@pytest.mark.parametrize("timing", ["table", "exact"])
@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("cv.sdotsp.b a0, a1, a2", "simd"),
        ("cv.mac a0, a1, a2", "mac"),
        ("cv.lw a0, (s2), 0", "mem"),
        ("cv.beqimm zero, 1, near", "bi"),
        ("cv.counti 0, 0", "hwlp"),
    ],
)
def test_extra_cycles(line, key, timing):
    """Each execution takes them, whatever counts the cycles."""
    source = f"li s2, {DATA}\nli t0, 5\nagain: {line}\nnear: addi t0, t0, -1\nbnez t0, again\nli a7, 93\necall"
    options = {"core": "cv32e40p", "timing": timing}
    more = {"settings": {f"accel.{key}_extra_cycles": "3"}}
    assert cycles(source, **options, **more) - cycles(source, **options) == 15


@pytest.mark.parametrize("core", ["ibex-small", "picorv32"])
@pytest.mark.parametrize(
    ("line", "like"), [("cv.lw a0, (s2), 0", "lw a0, 0(s2)"), ("cv.sw a0, (s2), 0", "sw a0, 0(s2)")]
)
@pytest.mark.parametrize("timing", ["table", "exact"])
def test_accesses_cost_what_the_cores_own_do(line, like, core, timing):
    source = f"li s2, {DATA}\nli t0, 5\nagain: {{}}\naddi t0, t0, -1\nbnez t0, again\nli a7, 93\necall"
    options = {"core": core, "timing": timing}
    assert cycles(source.format(line), **options) == cycles(source.format(like), **options)


def test_fast_cycles_say_that_they_are_exact():
    m = machine("li a7, 93\necall", core="cv32e40p", timing="fast")
    assert any("registers of hardware loops" in text for text in m.warnings)
    assert m.run().timing == "exact"


def test_retime_wants_a_run_without_loops():
    """What is in their registers is not counted; a core that has them and does not use them is timed anew."""
    plain, looping = (machine(f"{line}\nli a7, 93\necall").run() for line in ("nop", "cv.endi 0, . + 8"))
    assert plain.retime(core="cv32e40p").cycles > 0
    with pytest.raises(UsageError, match="hardware loops"):
        looping.retime(core="cv32e40p")


@pytest.mark.parametrize("at", ["start", "end", "last"])
def test_breakpoints(at):
    """At the first or last instruction of a body a breakpoint is met on each pass, behind it once."""
    m = machine("li t0, 4\n.balign 4\ncv.setup 0, t0, end\nnop\nnop\nnop\nend: li a7, 93\necall")
    setup = next(a for a in range(m.pc, m.pc + 32, 4) if find(XCV, int.from_bytes(m.read_memory(a, 4), "little")))
    m.add_breakpoint(setup + {"start": 4, "last": 12, "end": 16}[at])
    met = 0
    while m.run().stop_reason == "breakpoint" and met < 10:
        met += 1
    assert met == (1 if at == "end" else 4)
    assert m.hart.instructions == 2 + 4 * 3 + 2
