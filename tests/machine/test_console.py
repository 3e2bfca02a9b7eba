"""The console: a replay prints nothing twice and reads the same input in the same pieces."""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.errors import UsageError
from rvsim.machine import console as module
from rvsim.machine.console import STDERR, STDOUT, Console
from tests.machine.host_port import Input, Streams

# What a program may do: write to a stream, read at most n bytes, ask whether there is input.
actions = st.one_of(
    st.tuples(st.just("write"), st.sampled_from([STDOUT, STDERR]), st.binary(max_size=5)),
    st.tuples(st.just("read"), st.integers(0, 6)),
    st.tuples(st.just("ready")),
)


class Keyboard(Streams):
    """Input that is sometimes not there yet; once there, it stays until it is read."""

    def __init__(self, pieces: list[bytes], waits: list[bool]) -> None:
        super().__init__(*pieces, keep_history=True)
        self.waits = list(waits)
        self.there = -1  # number of reads at which input was there
        self.console._ask = self.ask

    def ask(self) -> bool:
        if self.there != self.input.reads and not (self.waits and self.waits.pop()):
            self.there = self.input.reads
        return self.there == self.input.reads


def act(console: Console, action: tuple[Any, ...]) -> Any:
    return getattr(console, action[0])(*action[1:])


@given(
    st.lists(actions, max_size=30),
    st.lists(st.binary(max_size=8), max_size=6),
    st.lists(st.booleans(), max_size=20),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_a_replay_sees_and_prints_what_the_first_run_did(
    program: list[tuple[Any, ...]], pieces: list[bytes], waits: list[bool], jumps: list[int]
) -> None:
    world = Keyboard(pieces, waits)
    states, answers = [world.console.state()], []
    for action in program:
        answers.append(act(world.console, action))
        states.append(msgspec.msgpack.decode(msgspec.msgpack.encode(world.console.state())))
    printed = bytes(world.out), bytes(world.err)
    assert printed == tuple(
        b"".join(a[2] for a in program if a[:2] == ("write", stream)) for stream in (STDOUT, STDERR)
    )
    for jump in jumps:
        start = min(jump, len(program))
        world.console.restore(states[start])
        for n in range(start, len(program)):
            assert act(world.console, program[n]) == answers[n]
            assert world.console.state() == states[n + 1]
        assert (bytes(world.out), bytes(world.err)) == printed
    # Behind the replay it goes on with new output.
    world.console.write(STDOUT, b"new")
    assert world.out == printed[0] + b"new"


def test_a_replay_is_told_as_often_that_there_is_nothing() -> None:
    world = Keyboard([b"a", b"b"], [False, True, False, True, True])
    start = world.console.state()
    first = [world.console.ready() for _ in range(3)] + [world.console.read(1)] + [world.console.ready() for _ in "12"]
    assert first == [False, False, True, b"a", False, True]
    world.console.restore(start)
    assert [world.console.ready() for _ in range(3)] == first[:3]
    assert [world.console.read(1), *(world.console.ready() for _ in "12")] == first[3:]


def test_output_in_other_pieces_is_cut_where_printing_had_stopped() -> None:
    world = Streams()
    start = world.console.state()
    world.console.write(STDOUT, b"abc")
    world.console.restore(start)
    world.console.write(STDOUT, b"abcde")
    assert world.out == b"abcde"


def test_reads_of_other_sizes_stay_within_what_one_read_gave() -> None:
    world = Streams(b"abcd", b"ef", keep_history=True)
    start = world.console.state()
    assert (world.console.read(10), world.console.read(10)) == (b"abcd", b"ef")
    world.console.restore(start)
    assert [world.console.read(3) for _ in range(4)] == [b"abc", b"d", b"ef", b""]


def test_without_history_there_is_no_way_back() -> None:
    world = Streams(b"abcd")
    start = world.console.state()
    world.console.restore(start)
    world.console.read(2)
    with pytest.raises(UsageError, match="cannot go back to byte 0 of the input: it was not kept"):
        world.console.restore(start)
    assert world.console.read(2) == b"cd"


def test_history_may_begin_later_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HISTORY", 10 * (module.CHUNK + 1))
    world = Streams(bytes(100), bytes(range(100)))
    world.console.read(100)
    world.console.keep_history = True
    states = []
    for _ in range(50):
        states.append(world.console.state())
        world.console.read(1)
    for n in range(40, 50):
        world.console.restore(states[n])
        assert world.console.read(1) == bytes([n])
    with pytest.raises(UsageError):
        world.console.restore(states[39])


def test_a_snapshot_in_another_process_expects_the_whole_input_again() -> None:
    first = Streams(b"one\ntwo\nthree\n")
    first.console.write(STDOUT, b"prompt")
    first.console.read(4)
    state = first.console.state()
    second = Streams(b"on", b"e\ntwo\nthree\n")
    second.console.restore(state)
    second.console.write(STDOUT, b" more")
    assert (second.console.read(4), second.out) == (b"two\n", b" more")
    # Back and forth in the new process, too.
    again = second.console.state()
    second.console.keep_history = True
    assert second.console.read(99) == b"three\n"
    second.console.restore(again)
    assert second.console.read(99) == b"three\n"


def test_a_snapshot_behind_the_end_of_input() -> None:
    first = Streams(b"x")
    assert [first.console.read(1) for _ in range(2)] == [b"x", b""]
    second = Streams(b"x")
    second.console.restore(first.console.state())
    assert second.console.read(1) == b""


def test_reset_prints_again() -> None:
    world = Streams(b"ab")
    for expected in (b"a", b"b"):
        world.console.write(STDOUT, b"hello ")
        assert world.console.read(1) == expected
        world.console.reset()
    assert world.out == b"hello hello "


def test_the_real_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        console = Console(lambda data: None, lambda data: None)
        assert not console.ready()
        os.write(writer, b"some")
        assert console.ready()
        assert (console.read(100), console.ready()) == (b"some", False)
        os.close(writer)
        assert (console.ready(), console.read(100)) == (True, b"")
    # closed: as at the end
    assert (console.ready(), console.read(100)) == (True, b"")


def test_a_reader_that_gives_too_much_is_cut() -> None:
    assert Console(stdin=lambda size: b"abc").read(2) == b"ab"
    assert Input(b"abc")(2) == b"ab"
