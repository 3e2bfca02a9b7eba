"""What each packet does and answers, on a program of instruction words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.debug.commands import Session
from rvsim.debug.packet import PACKET_SIZE
from rvsim.machine import Machine
from tests.machine.guest import (
    A0,
    A1,
    A2,
    A7,
    BASE,
    DATA,
    EBREAK,
    ECALL,
    EXIT,
    ILLEGAL,
    MSCRATCH,
    RAM_END,
    T0,
    ZERO,
    addi,
    csrrw,
    jal,
    li,
    lui,
    lw,
    machine,
    sw,
)

# A counter at DATA that is loaded, incremented and stored for ever; the store is the fifth instruction.
COUNTING = [li(A1, DATA), lw(T0, A1, 0), addi(T0, T0, 1), sw(T0, A1, 0), jal(ZERO, -12)]
LOAD, STORE, AGAIN = BASE + 8, BASE + 16, BASE + 20


class Channel:
    """A debugger that interrupts when told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.patience = 1 << 30

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)

    def interrupted(self) -> bool:
        self.patience -= 1
        return self.patience < 0

    @property
    def text(self) -> str:
        return b"".join(bytes.fromhex(each[1:].decode()) for each in self.sent).decode()


class Debugger:
    """A session and what it was told."""

    def __init__(self, *words, max_instructions: int | None = None, **options) -> None:
        options.setdefault("image", {"data_size": 64})
        self.machine: Machine = machine(*(words or COUNTING), stdout=lambda data: None, **options)
        self.session = Session(self.machine, max_instructions)
        self.channel = Channel()
        self.session.connect(self.channel)
        self.session.handle(b"qSupported:swbreak+;hwbreak+")

    def __call__(self, payload: bytes) -> bytes | None:
        return self.session.handle(payload)

    def monitor(self, line: str) -> tuple[str, bytes | None]:
        self.channel.sent.clear()
        reply = self(b"qRcmd," + line.encode().hex().encode())
        return self.channel.text, reply


def word(value: int) -> bytes:
    return value.to_bytes(4, "little").hex().encode()


def stopped_at(reply: bytes | None) -> int:
    found = re.search(rb";20:([0-9a-f]{8});", reply or b"")
    assert found, reply
    return int.from_bytes(bytes.fromhex(found[1].decode()), "little")


def test_what_is_supported():
    features = Debugger()(b"qSupported:multiprocess+").split(b";")
    assert b"PacketSize=%x" % PACKET_SIZE in features
    for name in (b"ReverseStep", b"ReverseContinue", b"swbreak", b"hwbreak", b"vContSupported", b"QStartNoAckMode"):
        assert name + b"+" in features


@pytest.mark.parametrize(
    ("payload", "reply"),
    [
        (b"", b""),
        (b"vMustReplyEmpty", b""),
        (b"qUnheardOf:1", b""),
        (b"vFile:open:00,0,0", b""),
        (b"qC", b"QC1"),
        (b"qfThreadInfo", b"m1"),
        (b"qsThreadInfo", b"l"),
        (b"qAttached", b"0"),
        (b"qAttached:1", b"0"),
        (b"qOffsets", b"Text=0;Data=0;Bss=0"),
        (b"qSymbol::", b"OK"),
        (b"Hg0", b"OK"),
        (b"Hc-1", b"OK"),
        (b"T1", b"OK"),
        (b"!", b"OK"),
        (b"vCont?", b"vCont;c;C;s;S;r"),
        # Memory and registers: what is malformed, and what does not exist.
        (b"m", b"E16"),
        (b"mzz,4", b"E16"),
        (b"m80000000", b"E16"),
        (b"m0,4", b"E0e"),
        (b"M80001000,4:0102", b"E16"),
        (b"M80001000,2:010", b"E16"),
        (b"M80001000,2", b"E16"),
        (b"M0,1:00", b"E0e"),
        (b"X80001000,0:", b"OK"),
        (b"p", b"E16"),
        (b"p21", b"E05"),
        (b"p999999999", b"E16"),
        (b"P1=00", b"E16"),
        (b"P7fff=00000000", b"E05"),
        (b"G00", b"E16"),
        # Breakpoints
        (b"Z0,80000000,4", b"OK"),
        (b"z0,80000000,4", b"OK"),
        (b"z2,80000000,4", b"OK"),
        (b"Z5,80000000,4", b""),
        (b"Z0", b"E16"),
        (b"Z2,80000000,0", b"E16"),
        (b"Z2,ffffffff,2", b"E16"),
        (b"bx", b""),
        (b"vCont;x", b"E16"),
        (b"czz", b"E16"),
        (b"qRcmd,0", b"E16"),
        (b"qXfer:features:read:other.xml:0,10", b"E00"),
        (b"qXfer:auxv:read::0,10", b""),
        (b"qXfer:features:write:target.xml:0:", b""),
    ],
)
def test_a_reply(payload, reply):
    assert Debugger()(payload) == reply


def test_registers_are_read_and_written():
    debug = Debugger()
    debug(b"s")
    debug(b"s")
    values = [*debug.machine.registers, debug.machine.pc]
    assert debug(b"g") == b"".join(map(word, values))
    assert debug(b"pb") == word(DATA)
    assert debug(b"p20") == word(BASE + 8)
    assert debug(b"P5=" + word(0xDEADBEEF)) == b"OK"
    assert debug.machine.registers[T0] == 0xDEADBEEF
    assert debug(b"P0=" + word(1)) == b"OK"
    assert debug.machine.registers[0] == 0
    assert debug(b"P20=" + word(AGAIN)) == b"OK"
    assert debug.machine.pc == AGAIN
    assert debug(b"G" + b"".join(map(word, values))) == b"OK"
    assert debug(b"g") == b"".join(map(word, values))


def test_csrs_are_registers_that_reading_does_not_change():
    debug = Debugger(csrrw(ZERO, MSCRATCH, A0), *COUNTING)
    number = b"%x" % (65 + MSCRATCH)
    assert debug(b"P" + number + b"=" + word(77)) == b"OK"
    assert debug(b"p" + number) == word(77)
    before = (debug(b"g"), debug.machine.cycles, debug.machine.instructions)
    csrs = [65 + n for n in debug.session._csrs]
    first = [debug(b"p%x" % n) for n in csrs]
    assert [debug(b"p%x" % n) for n in csrs] == first
    assert (debug(b"g"), debug.machine.cycles, debug.machine.instructions) == before
    # mhartid is read-only; there is no CSR 0x7ff.
    assert debug(b"P%x=" % (65 + 0xF14) + word(1)) == b"E05"
    assert debug(b"p%x" % (65 + 0x7FF)) == b"E05"


def test_memory_is_read_and_written():
    debug = Debugger()
    assert debug(b"M80001000,4:01020304") == b"OK"
    assert debug(b"m80001000,4") == b"01020304"
    assert debug(b"x80001000,4") == b"b\x01\x02\x03\x04"
    assert debug(b"X80001002,2:\x7d\x23") == b"OK"
    assert debug(b"m80001000,4") == b"01027d23"
    # As much as there is.
    assert debug(b"m%x,10" % (RAM_END - 2)) == debug.machine.read_memory(RAM_END - 2, 2).hex().encode()
    assert len(debug(b"m80000000,ffffffff")) <= PACKET_SIZE


def test_code_that_is_written_runs():
    debug = Debugger()
    for _ in range(4):
        debug(b"s")
    assert debug(b"M%x,4:" % STORE + word(addi(A0, ZERO, 42))) == b"OK"
    debug(b"s")
    assert debug.machine.registers[A0] == 42


@pytest.mark.parametrize(("kind", "reason"), [(0, b"swbreak:;"), (1, b"hwbreak:;")])
def test_a_breakpoint_stops_before_its_instruction(kind, reason):
    debug = Debugger()
    assert debug(b"Z%d,%x,4" % (kind, STORE)) == b"OK"
    for count in (1, 2, 3):
        reply = debug(b"c")
        assert reply.startswith(b"T05" + reason)
        assert stopped_at(reply) == STORE
        assert debug.machine.registers[T0] == count
    assert debug(b"z%d,%x,4" % (kind, STORE)) == b"OK"
    debug.channel.patience = 0
    assert debug(b"c").startswith(b"T02")


def test_two_kinds_of_breakpoint_at_one_address():
    debug = Debugger()
    debug(b"Z0,%x,4" % STORE)
    debug(b"Z1,%x,4" % STORE)
    debug(b"z0,%x,4" % STORE)
    assert debug(b"c").startswith(b"T05hwbreak:;")


def test_reasons_are_only_told_to_who_asked():
    debug = Debugger()
    debug(b"qSupported")
    debug(b"Z0,%x,4" % STORE)
    assert debug(b"c").startswith(b"T05thread:1;")


def test_a_slice_that_ends_at_a_breakpoint_stops_there(monkeypatch):
    for size in range(1, 9):
        monkeypatch.setattr("rvsim.debug.commands.FIRST_SLICE", size)
        debug = Debugger()
        debug(b"Z0,%x,4" % STORE)
        debug.channel.patience = 100
        for _ in range(3):
            reply = debug(b"c")
            assert (reply[:3], stopped_at(reply)) == (b"T05", STORE)
        assert debug.machine.registers[T0] == 3


@pytest.mark.parametrize(
    ("kind", "at", "size", "name", "pc"),
    [
        (2, DATA, 4, b"watch", STORE),
        (3, DATA, 4, b"rwatch", LOAD),
        (4, DATA, 4, b"awatch", LOAD),
        # Inside what the store writes: GDB finds the watchpoint by the address.
        (2, DATA + 3, 1, b"watch", STORE),
        (2, DATA - 4, 8, b"watch", STORE),
    ],
)
def test_a_watchpoint_stops_before_the_access_and_once(kind, at, size, name, pc):
    debug = Debugger()
    assert debug(b"Z%d,%x,%x" % (kind, at, size)) == b"OK"
    for _ in range(3):
        reply = debug(b"c")
        assert reply.startswith(b"T05%b:%x;" % (name, max(at, DATA)))
        assert stopped_at(reply) == pc
        if kind == 4:
            # The store of the same turn.
            assert stopped_at(debug(b"c")) == STORE
    assert stopped_at(debug(b"s")) == (AGAIN if kind == 4 else pc + 4)


def test_the_watchpoint_that_was_hit_is_named():
    debug = Debugger()
    debug(b"Z2,%x,4" % (DATA + 8))
    debug(b"Z3,%x,4" % (DATA + 8))
    debug(b"Z4,%x,4" % DATA)
    assert debug(b"c").startswith(b"T05awatch:%x;" % DATA)
    assert debug(b"c").startswith(b"T05awatch:%x;" % DATA)


def test_a_watchpoint_beside_the_access_does_not_stop():
    debug = Debugger()
    debug(b"Z4,%x,4" % (DATA + 4))
    debug(b"Z4,%x,4" % (DATA - 4))
    debug(b"Z3,%x,4" % DATA)
    debug(b"z3,%x,4" % DATA)
    debug.channel.patience = 3
    assert debug(b"c").startswith(b"T02")


def test_watchpoints_are_bounded():
    debug = Debugger()
    replies = {debug(b"Z2,%x,1" % (DATA + n)) for n in range(100)}
    assert replies == {b"OK", b"E01"}


def test_steps_and_ranges():
    debug = Debugger()
    assert stopped_at(debug(b"s")) == BASE + 4
    assert stopped_at(debug(b"vCont;s:1;c")) == BASE + 8
    assert stopped_at(debug(b"vCont;r%x,%x:1" % (LOAD, STORE))) == STORE
    assert stopped_at(debug(b"s%x" % BASE)) == BASE + 4
    # A breakpoint in the range stops it; an interrupt stops one that never ends.
    debug(b"Z0,%x,4" % AGAIN)
    assert stopped_at(debug(b"vCont;r%x,%x:1" % (BASE, BASE + 100))) == AGAIN
    debug(b"z0,%x,4" % AGAIN)
    debug.channel.patience = 2
    assert debug(b"vCont;r%x,%x:1" % (BASE, BASE + 100)).startswith(b"T02")


def test_an_interrupt_stops_and_the_program_goes_on():
    debug = Debugger()
    debug.channel.patience = 3
    assert debug(b"vCont;c").startswith(b"T02")
    there = debug.machine.instructions
    debug.channel.patience = 3
    assert debug(b"c").startswith(b"T02")
    assert debug.machine.instructions > there > 0
    assert debug(b"?").startswith(b"T02")


@pytest.mark.parametrize("code", [0, 1, 125])
def test_the_end_of_the_program(code):
    debug = Debugger(addi(A0, ZERO, code), *EXIT)
    assert debug(b"c") == b"W%02x" % code
    assert debug.session.ended == "exit"
    assert debug(b"?") == debug(b"c") == debug(b"s") == b"W%02x" % code


@pytest.mark.parametrize(
    ("words", "signal"),
    [
        ([ILLEGAL], 4),
        ([EBREAK], 5),
        ([lui(A1, 0x40000), lw(A0, A1, 0)], 11),
        ([lui(A1, 0x40000), 0x8067 | A1 << 15], 11),
    ],
)
def test_a_trap_without_handler_is_a_signal(words, signal):
    debug = Debugger(addi(A0, ZERO, 5), *words, *EXIT)
    reply = debug(b"c")
    assert reply.startswith(b"T%02x" % signal)
    assert "0x" in debug.channel.text, "says what happened where"
    # It can be looked at, undone and done again.
    assert debug(b"pa") == word(5)
    assert debug(b"bs").startswith(b"T05")
    assert debug(b"c").startswith(b"T%02x" % signal)
    # Handed on, the signal ends the program.
    if signal != 5:
        assert debug(b"C%02x" % signal) == debug(b"?") == b"X%02x" % signal
        assert debug.session.ended == "exit"


def test_a_limit_of_instructions():
    debug = Debugger(max_instructions=100)
    assert debug(b"c").startswith(b"T18")
    assert debug.machine.instructions == 100
    assert debug(b"c").startswith(b"T18")
    assert debug.session.ended is None


@pytest.mark.parametrize(
    ("payload", "reply", "ended"),
    [(b"D", b"OK", "detach"), (b"D;1", b"OK", "detach"), (b"k", None, "kill"), (b"vKill;1", b"OK", "kill")],
)
def test_leaving(payload, reply, ended):
    debug = Debugger()
    debug(b"Z0,%x,4" % STORE)
    assert debug(payload) == reply
    assert debug.session.ended == ended
    if ended == "detach":
        assert not debug.machine.breakpoints


def test_a_program_that_starts_again_prints_again():
    printed: list[bytes] = []
    hello = [li(A1, DATA), addi(A0, ZERO, 1), addi(A2, ZERO, 2), addi(A7, ZERO, 64), ECALL, addi(A0, ZERO, 0)]
    m = machine(*hello, *EXIT, image={"data": b"hi"}, stdout=printed.append)
    session = Session(m)
    session.connect(Channel())
    for _ in range(2):
        assert session.handle(b"c") == b"W00"
        session.handle(b"bc")
        assert session.handle(b"c") == b"W00"
        session.handle(b"R00")
    assert b"".join(printed) == b"hihi"


@pytest.mark.parametrize("payload", [b"R00", b"vRun;;"])
def test_starting_again(payload):
    debug = Debugger(addi(A0, A0, 3), *EXIT)
    assert debug(b"c") == b"W03"
    reply = debug(payload)
    assert debug.session.ended is None
    assert payload[:1] == b"R" or stopped_at(reply) == BASE
    assert debug(b"c") == b"W03"


def test_a_new_debugger_finds_no_breakpoints_and_the_same_machine():
    debug = Debugger()
    debug(b"Z0,%x,4" % STORE)
    debug(b"Z2,%x,4" % (DATA + 8))
    debug(b"c")
    debug(b"QStartNoAckMode")
    assert not debug.session.acknowledge
    debug.session.connect(debug.channel)
    assert debug.session.acknowledge
    assert not debug.machine.breakpoints
    assert stopped_at(debug(b"?")) == STORE
    debug.channel.patience = 3
    assert debug(b"c").startswith(b"T02")


# ------------------------------------------------------------------------------------------------------- backwards


def test_backwards_by_steps():
    debug = Debugger()
    path = [debug(b"g")]
    for _ in range(20):
        debug(b"s")
        path.append(debug(b"g"))
    for expected in path[-2::-1]:
        assert debug(b"bs").startswith(b"T05thread")
        assert debug(b"g") == expected
    assert debug(b"bs").startswith(b"T05replaylog:begin;")
    assert debug(b"g") == path[0]


def test_backwards_to_a_breakpoint_then_the_start():
    debug = Debugger()
    debug(b"Z0,%x,4" % STORE)
    for _ in range(3):
        debug(b"c")
    for count in (2, 1):
        reply = debug(b"bc")
        assert reply.startswith(b"T05swbreak:;")
        assert stopped_at(reply) == STORE
        assert debug(b"p5") == word(count)
    assert debug(b"bc").startswith(b"T05replaylog:begin;")
    assert stopped_at(debug(b"?")) == BASE
    assert debug(b"bc").startswith(b"T05replaylog:begin;")


@pytest.mark.parametrize("go", [b"bc", b"bs"])
def test_backwards_to_a_write(go):
    """Behind the store when it is reported; the step that GDB makes then undoes it."""
    debug = Debugger()
    debug(b"Z0,%x,4" % AGAIN)
    for _ in range(3):
        debug(b"c")
    debug(b"z0,%x,4" % AGAIN)
    debug(b"Z2,%x,4" % DATA)
    reply = debug(go)
    assert reply.startswith(b"T05watch:%x;" % DATA)
    assert (stopped_at(reply), debug(b"m%x,4" % DATA)) == (AGAIN, word(3))
    debug(b"z2,%x,4" % DATA)
    assert stopped_at(debug(b"bs")) == STORE
    assert debug(b"m%x,4" % DATA) == word(2)
    debug(b"Z2,%x,4" % DATA)
    assert debug(b"bc").startswith(b"T05watch")
    assert debug(b"m%x,4" % DATA) == word(2)
    # One that leaves the watchpoint in place gets on as well.
    assert debug(b"bc").startswith(b"T05watch")
    assert debug(b"m%x,4" % DATA) == word(1)
    assert debug(b"bc").startswith(b"T05replaylog:begin;")


def test_backwards_from_the_end():
    debug = Debugger(addi(A0, ZERO, 3), *EXIT)
    assert debug.monitor("stop-at-exit on") == ("", b"OK")
    assert stopped_at(debug(b"c")) == BASE + 8
    assert "exit code 3" in debug.channel.text
    assert stopped_at(debug(b"bs")) == BASE + 4
    assert stopped_at(debug(b"c")) == BASE + 8
    assert debug(b"c") == b"W03"


def test_a_watchpoint_is_passed_in_one_direction_only():
    debug = Debugger(li(A1, DATA), addi(T0, T0, 1), sw(T0, A1, 0), sw(T0, A1, 4), jal(ZERO, -12))
    debug(b"Z2,%x,8" % DATA)
    assert stopped_at(debug(b"c")) == BASE + 12
    assert stopped_at(debug(b"c")) == BASE + 16
    # Behind the first store, which is reported; turning round, the second one is ahead.
    reply = debug(b"bs")
    assert (reply[:9], stopped_at(reply)) == (b"T05watch:", BASE + 16)
    assert debug(b"s").startswith(b"T05watch:%x;" % (DATA + 4))


@pytest.mark.parametrize("problem", [KeyboardInterrupt, ConnectionError])
def test_a_way_back_that_breaks_off_leads_nowhere(problem):
    debug = Debugger()
    for _ in range(50):
        debug(b"s")
    before = debug(b"g")

    def fail() -> bool:
        raise problem

    debug.channel.interrupted = fail
    if problem is KeyboardInterrupt:
        assert debug(b"bc").startswith(b"T02")
    else:
        with pytest.raises(problem):
            debug(b"bc")
    assert debug(b"g") == before
    assert stopped_at(debug(b"bs")) != 0


def test_ctrl_c_in_the_terminal_stops_a_running_program():
    debug = Debugger()

    def fail() -> bool:
        raise KeyboardInterrupt

    debug.channel.interrupted = fail
    assert debug(b"c").startswith(b"T02")
    assert debug.session.ended is None


def test_backwards_is_interrupted():
    debug = Debugger()
    debug.channel.patience = 20
    assert debug(b"c").startswith(b"T02")
    debug.channel.patience = 0
    before = debug.machine.instructions
    assert debug(b"bc").startswith(b"T02")
    assert 0 < debug.machine.instructions <= before


# ------------------------------------------------------------------------------------------------------- descriptions


def read_document(debug: Debugger, name: bytes, size: int) -> ET.Element:
    text, reply = b"", b"m"
    while reply[:1] == b"m":
        reply = debug(b"qXfer:%b:%x,%x" % (name, len(text), size))
        text += reply[1:]
    assert reply[:1] == b"l"
    return ET.fromstring(text)


def test_the_target_description():
    debug = Debugger(accel="on")
    target = read_document(debug, b"features:read:target.xml", 100)
    assert target.findtext("architecture") == "riscv:rv32"
    cpu, csr = target.findall("feature")
    assert [cpu.get("name"), csr.get("name")] == ["org.gnu.gdb.riscv.cpu", "org.gnu.gdb.riscv.csr"]
    assert [int(each.get("regnum", "")) for each in cpu] == list(range(33))
    assert [each.get("name") for each in cpu][:4] + [cpu[-1].get("name")] == ["zero", "ra", "sp", "gp", "pc"]
    names = {each.get("name"): int(each.get("regnum", "")) - 65 for each in csr}
    assert {"mstatus": 0x300, "mcycle": 0xB00, "mepc": 0x341, "mhartid": 0xF14}.items() <= names.items()
    assert 0xFC0 in names.values()
    assert all(re.fullmatch(r"\w+", name or "") for name in names)


def test_the_memory_map():
    debug = Debugger(image={"data_size": 64, "segments": [(0x2000_0000, b"\0" * 8, 8, 5)]})
    regions = {
        int(each.get("start", ""), 0): each.get("type") for each in read_document(debug, b"memory-map:read:", 64)
    }
    assert regions[BASE] == "ram"
    assert regions[0x2000_0000] == "rom"


# ------------------------------------------------------------------------------------------------------- monitor


def test_monitor_help_names_every_command():
    debug = Debugger()
    text, reply = debug.monitor("help")
    assert reply == b"OK"
    for name in debug.session.monitor._commands:
        assert re.search(rf"^{name}\b", text, re.M)
    assert debug.monitor("")[0] == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("cycels", "monitor: expected cycles, found 'cycels'\n"),
        ("cycles 5", "monitor cycles: expected nothing behind it, found ['5']\n"),
        ("stop-at-exit", "monitor stop-at-exit: expected on|off behind it, found []\n"),
        ("stop-at-exit maybe", "monitor stop-at-exit: expected on or off, found 'maybe'\n"),
        ("snapshot load nothing", "monitor snapshot load: expected a name that was saved, found 'nothing'\n"),
        ("snapshot save ../x", "monitor snapshot: expected save NAME, load NAME or list, found 'save' '../x'\n"),
        ("snapshot drop x", "monitor snapshot: expected save, load or list, found 'drop'\n"),
    ],
)
def test_a_wrong_monitor_command_says_what_is_right(line, text):
    assert Debugger().monitor(line) == (text, b"E01")


def test_monitor_says_where_and_how_much():
    debug = Debugger()
    for _ in range(4):
        debug(b"s")
    assert debug.monitor("cycles") == (f"{debug.machine.cycles}\n", b"OK")
    assert debug.monitor("when")[0].startswith(f"4 instructions, {debug.machine.cycles} cycles, at 0x80000010")
    stats = debug.monitor("stats")[0]
    assert re.search(r"^instructions +4$", stats, re.M)
    assert re.search(r"^ram +16 +4 +0$", stats, re.M), "four fetched words, one loaded"
    assert debug.monitor("isa")[0].startswith("rv32imc")
    assert debug.monitor("history")[0] == "from instruction 0 to 4, 1 checkpoints\n"


def test_monitor_reset():
    debug = Debugger()
    debug(b"Z0,%x,4" % AGAIN)
    debug(b"c")
    assert debug(b"m%x,4" % DATA) == word(1)
    text, reply = debug.monitor("reset")
    assert reply == b"OK"
    assert "flush register-cache" in text
    assert debug(b"p20") == word(BASE)
    assert debug(b"m%x,4" % DATA) == word(0)
    assert debug(b"bs").startswith(b"T05replaylog:begin;")
    assert stopped_at(debug(b"c")) == AGAIN, "breakpoints stay"


def test_monitor_snapshots_go_both_ways():
    debug = Debugger()
    debug(b"Z0,%x,4" % AGAIN)
    states = []
    for number in range(3):
        debug(b"c")
        states.append((debug(b"g"), debug(b"m%x,4" % DATA), debug.machine.cycles))
        assert debug.monitor(f"snapshot save s{number}")[1] == b"OK"
    for number in (0, 2, 1):
        assert debug.monitor(f"snapshot load s{number}")[1] == b"OK"
        assert (debug(b"g"), debug(b"m%x,4" % DATA), debug.machine.cycles) == states[number]
    assert debug.monitor("snapshot list")[0].splitlines()[0] == "s0: 5 instructions"
    # The history goes with it.
    assert stopped_at(debug(b"bc")) == AGAIN
    assert debug(b"m%x,4" % DATA) == word(1)


def test_snapshots_in_files_go_both_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    debug = Debugger()
    debug(b"Z0,%x,4" % AGAIN)
    states = []
    for name in ("first", "second.rvsnap"):
        debug(b"c")
        states.append((debug(b"g"), debug(b"m%x,4" % DATA), debug.machine.cycles))
        assert debug.monitor(f"file save {name}")[1] == b"OK"
    assert {each.name for each in tmp_path.iterdir()} == {"first.rvsnap", "second.rvsnap"}
    for name, state in zip(("first", "second"), states, strict=True):
        text, reply = debug.monitor(f"file load {name}")
        assert (reply, "flush register-cache" in text) == (b"OK", True)
        assert (debug(b"g"), debug(b"m%x,4" % DATA), debug.machine.cycles) == state
        assert debug(b"bs").startswith(b"T05replaylog:begin;")
    assert stopped_at(debug(b"c")) == AGAIN
    assert debug(b"m%x,4" % DATA) == word(3)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/b", ".rvsnap", "-", "x" * 41, "$(x)"])
def test_a_debugger_names_no_other_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    debug = Debugger()
    if name != "-":
        assert debug.monitor(f"file save {name}")[1] == b"E01"
        assert not [*tmp_path.iterdir()]
    assert debug.monitor(f"file load {name}")[1] == b"E01"


def test_a_file_of_another_program_or_a_damaged_one_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = Debugger(addi(A0, ZERO, 5), *EXIT)
    other.monitor("file save other")
    debug = Debugger()
    debug(b"s")
    before = (debug(b"g"), debug(b"m%x,40" % DATA))
    assert "expected a snapshot of guest.elf" in debug.monitor("file load other")[0]
    (tmp_path / "bad.rvsnap").write_bytes((tmp_path / "other.rvsnap").read_bytes()[:-7])
    for name in ("bad", "none"):
        text, reply = debug.monitor(f"file load {name}")
        assert (reply, f"{name}.rvsnap" in text) == (b"E01", True)
    assert (debug(b"g"), debug(b"m%x,40" % DATA)) == before
    assert debug(b"bs").startswith(b"T05thread")


def test_snapshots_are_bounded():
    debug = Debugger()
    assert {debug.monitor(f"snapshot save s{n}")[1] for n in range(40)} == {b"OK", b"E01"}


# ------------------------------------------------------------------------------------------------------- rubbish

LETTERS = st.sampled_from(
    [b"m", b"M", b"X", b"x", b"p", b"P", b"G", b"Z0", b"Z2", b"z1", b"b", b"vCont", b"qXfer:features:read:", b"qRcmd,"]
    + [
        b"D",
        b"H",
        b"T",
        b"R",
        b"!",
        b"?",
        b"g",
        b"qSupported",
        b"qC",
        b"vRun",
        b"s",
        b"S",
        b"QStartNoAckMode",
        b"q",
        b"",
    ]
)
ARGUMENTS = st.binary(max_size=12) | st.text("0123456789abcdef,;:=", max_size=24).map(str.encode)


@given(st.lists(st.tuples(LETTERS, ARGUMENTS), max_size=8))
def test_no_packet_raises(packets):
    debug = FUZZED
    debug.session.connect(debug.channel)
    debug.channel.patience = 3
    for name, arguments in packets:
        reply = debug(name + arguments)
        assert reply is None or len(reply) <= PACKET_SIZE
    debug.machine.reset()
    debug.session.history.begin()
    debug.session.ended = None
    assert len(debug(b"g")) == 33 * 8
    assert debug(b"m80000000,4") == word(COUNTING[0][0])


FUZZED = Debugger()
