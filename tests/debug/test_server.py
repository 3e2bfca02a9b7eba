"""The socket: who may come, and what a debugger that misbehaves or leaves does to the program (nothing)."""

from __future__ import annotations

import queue
import re
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rvsim.debug import server
from rvsim.debug.packet import PACKET_SIZE, encode
from rvsim.errors import UsageError
from tests.debug.served import FOREVER, Client, Server
from tests.machine.guest import A0, BASE, EXIT, ZERO, addi, machine


@pytest.fixture
def served() -> Iterator[Server]:
    each = Server()
    yield each
    if each.thread.is_alive():
        client = each.connect()
        client.send(encode(b"k"))
        client.close()
        each.thread.join(10)
    assert not each.thread.is_alive()


def test_it_says_how_to_connect(served):
    assert served.greeting == (
        f"gdb: listening on 127.0.0.1:{served.port}; connect with: "
        f"gdb-multiarch guest.elf -ex 'target remote :{served.port}'"
    )


def test_a_session_from_hello_to_exit():
    served = Server(machine(addi(A0, ZERO, 5), *EXIT))
    client = served.connect()
    assert b"PacketSize" in client.ask(b"qSupported")
    assert client.ask(b"?").startswith(b"T05")
    assert client.ask(b"s").startswith(b"T05")
    assert client.ask(b"c") == b"W05"
    assert client.event() == ("closed", b"")
    client.close()
    assert served.end() == "exit"
    assert served.machine.instructions == 3


@pytest.mark.parametrize(("payload", "ending"), [(b"D", "detach"), (b"k", "kill"), (b"vKill;1", "kill")])
def test_how_it_ends(payload, ending):
    served = Server()
    client = served.connect()
    client.send(encode(payload))
    while client.event()[0] != "closed":
        pass
    client.close()
    assert served.end() == ending


def test_acknowledgements_end_when_asked(served):
    client = served.connect()
    assert client.ask(b"QStartNoAckMode") == b"OK"
    client.send(encode(b"qC"))
    assert client.event() == ("packet", b"QC1")
    # A damaged packet cannot be asked for again then.
    client.send(b"$qC#00" + encode(b"qC"))
    assert client.event() == ("packet", b"QC1")
    client.close()


def test_what_is_lost_is_sent_again(served):
    client = served.connect()
    client.send(b"$qC#00")
    assert client.event() == ("nack", b"")
    assert client.ask(b"qC") == b"QC1"
    client.send(b"-")
    assert client.event() == ("packet", b"QC1")
    client.close()


def test_an_oversized_packet_is_refused(served):
    client = served.connect()
    client.send(encode(b"m" * (PACKET_SIZE + 1)))
    assert [client.event(), client.event()] == [("ack", b""), ("packet", b"E07")]
    assert client.ask(b"qC") == b"QC1"
    client.close()


def test_an_interrupt(served):
    client = served.connect()
    assert client.ask(b"qSupported")
    client.send(encode(b"c"))
    assert client.event() == ("ack", b"")
    client.send(b"\x03")
    kind, reply = client.event()
    assert (kind, reply[:3]) == ("packet", b"T02")
    assert client.ask(b"p20") in {word.to_bytes(4, "little").hex().encode() for word in (BASE, BASE + 4)}
    client.close()


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_debugger_that_goes_away_leaves_the_program(served, running, reset):
    client = served.connect()
    assert client.ask(b"Z0,80000100,4") == b"OK"
    for _ in range(5):
        client.ask(b"s")
    if running:
        client.send(encode(b"c"))
        assert client.event() == ("ack", b"")
    if reset:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert "waits on port" in served.said.get(timeout=10)
    assert not served.machine.breakpoints
    client = served.connect()
    assert client.ask(b"?").startswith(b"T0")
    value = int.from_bytes(bytes.fromhex(client.ask(b"pa").decode()), "little")
    assert value >= 3
    client.ask(b"s")
    client.close()


def test_in_the_middle_of_a_packet(served):
    client = served.connect()
    client.send(b"$m80000000")
    client.close()
    client = served.connect()
    assert client.ask(b"qC") == b"QC1"
    client.close()


def test_a_silent_client_gives_way_and_a_busy_one_does_not(served):
    silent = served.connect()
    client = served.connect()
    assert client.ask(b"qC") == b"QC1"
    assert silent.event() == ("closed", b"")
    late = served.connect()
    assert late.event() == ("closed", b"")
    assert client.ask(b"qC") == b"QC1"
    for each in (silent, late, client):
        each.close()


def test_a_client_that_never_reads(served, monkeypatch):
    monkeypatch.setattr(server, "SEND_TIMEOUT", 0.2)
    client = served.connect()
    client.socket.settimeout(0.5)
    with pytest.raises(OSError):
        for _ in range(100_000):
            client.send(encode(b"m80000000,3000") * 10)
    assert "waits on port" in served.said.get(timeout=5), "it is given up before it leaves"
    client.close()
    client = served.connect()
    assert client.ask(b"qC") == b"QC1"
    client.close()


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\n", b"POST /$k#6b HTTP/1.1\r\n\r\n$k#6b"])
def test_a_browser_is_no_debugger(served, request_):
    browser = served.connect()
    browser.send(request_)
    assert browser.event() == ("closed", b"")
    browser.close()
    client = served.connect()
    assert client.ask(b"qC") == b"QC1"
    client.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("3333", ("127.0.0.1", 3333)),
        (":0", ("127.0.0.1", 0)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address(text, address):
    assert server.parse_address(text) == address


@pytest.mark.parametrize("text", ["", "x", "65536", "-1", "host:", "1:2:", "3333 "])
def test_what_is_no_address(text):
    with pytest.raises(UsageError, match=r"expected \[HOST:\]PORT"):
        server.parse_address(text)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: cannot listen there"):
            server.listen("127.0.0.1", port)


def test_a_host_that_does_not_exist():
    with pytest.raises(UsageError, match="expected an address of this machine"):
        server.listen("no.such.host.invalid", 0)


def test_a_host_that_others_reach_is_warned_of():
    said: queue.Queue[str] = queue.Queue()
    m = machine(*FOREVER)
    thread = threading.Thread(target=server.serve, args=(m, "0.0.0.0", 0), kwargs={"say": said.put}, daemon=True)
    thread.start()
    assert "can be reached from elsewhere" in said.get(timeout=10)
    port = int(re.search(r":(\d+);", said.get(timeout=10))[1])  # type: ignore[index]
    client = Client(port)
    client.send(encode(b"k"))
    client.close()
    thread.join(10)
    assert not thread.is_alive()


RUBBISH = st.lists(
    st.binary(max_size=80)
    | st.sampled_from([b"$", b"#", b"+", b"-", b"\x03", b"$#00", b"$m0,4#00", encode(b"g"), encode(b"QStartNoAckMode")])
    | st.binary(max_size=30).map(encode),
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RUBBISH)
def test_rubbish_is_survived(served, pieces):
    if not served.thread.is_alive():
        # Rubbish that happened to be a well-formed kill, detach or exit.
        return
    client = served.connect()
    try:
        for piece in pieces:
            client.send(piece)
        # Whatever that was, it is over; what began to run is interrupted.
        client.send(b"\x03" + encode(b"vMustReplyEmpty") + b"\x03" + encode(b"qC"))
        while client.event() not in {("packet", b"QC1"), ("closed", b"")}:
            pass
    except OSError:
        pass
    client.close()
    if not served.thread.is_alive():
        return
    try:
        client = served.connect()
        answer = client.ask(b"qC")
    except (OSError, AssertionError):
        served.thread.join(10)
        assert not served.thread.is_alive(), "it neither answers nor has ended"
    else:
        assert answer == b"QC1"
        client.close()
