"""The socket that GDB connects to, one debugger at a time; what it says goes to a `Session`."""

from __future__ import annotations

import ipaddress
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from rvsim.debug.commands import Session
from rvsim.debug.packet import Decoder, Event, encode
from rvsim.errors import UsageError

if TYPE_CHECKING:
    from rvsim.machine import Machine

LOOPBACK = "127.0.0.1"
# Seconds that a reply may wait for a debugger that does not read.
SEND_TIMEOUT = 10.0
# Seconds that the other side has to close its end of a finished connection.
CLOSE_TIMEOUT = 1.0
# Packets that wait while the program runs; a debugger sends none but an interrupt then.
WAITING = 256
# A web page can make a browser send to a port of this machine: its request begins so, and no debugger's does.
_HTTP = re.compile(rb"[A-Z]+ ")


class Disconnected(Exception):
    """The debugger is gone, or never was one."""


class Connection:
    """One debugger on a socket.

    Parameters
    ----------
    connection : socket
    acknowledge : callable
        Whether packets are acknowledged at the moment.
    """

    def __init__(self, connection: socket.socket, acknowledge: Callable[[], bool]) -> None:
        self._socket, self._acknowledge = connection, acknowledge
        self._decoder = Decoder()
        self._events: deque[Event] = deque()
        self._sent = b""
        self._received = b""
        # Whether it has said anything that makes sense: a silent one gives way to the next.
        self.alive = False
        connection.settimeout(SEND_TIMEOUT)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def finish(self) -> None:
        """Wait until the other side has the last reply: closing on unread bytes would throw it away."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + CLOSE_TIMEOUT
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(1 << 16):
                    break
        except OSError:
            pass

    def send(self, payload: bytes) -> None:
        """Send a packet; raises `Disconnected`."""
        self._write(encode(payload))

    def reply(self, payload: bytes) -> None:
        """Send a packet that is sent again when the debugger asks for that."""
        self._sent = encode(payload)
        self._write(self._sent)

    def interrupted(self) -> bool:
        """Whether an interrupt has come; does not wait."""
        while len(self._events) < WAITING and select.select([self._socket], [], [], 0)[0]:
            self._read()
        for event in self._events:
            if event.kind == "interrupt":
                self._events.remove(event)
                return True
        return False

    def packet(self, wait: Callable[[], None]) -> bytes:
        """The payload of the next packet; `wait` returns when there is something to read.

        Raises
        ------
        Disconnected
        """
        while True:
            while self._events:
                event = self._events.popleft()
                if event.kind == "packet":
                    self.alive = True
                    if self._acknowledge():
                        self._write(b"+")
                    return event.payload
                if event.kind == "damaged" and self._acknowledge():
                    self._write(b"-")
                elif event.kind == "oversized":
                    # Sending it again would not make it fit.
                    self._write((b"+" if self._acknowledge() else b"") + encode(b"E07"))
                elif event.kind == "nack" and self._acknowledge():
                    self._write(self._sent)
            wait()
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise Disconnected from error
        if not self.alive and len(self._received) < 8:
            self._received += data[:8]
            if _HTTP.match(self._received):
                raise Disconnected
        if not data:
            raise Disconnected
        self._events += self._decoder.feed(data)

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Disconnected from error


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``[HOST:]PORT``; the host is this machine's loopback unless named.

    Raises
    ------
    UsageError
    """
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port) or int(port) > 0xFFFF:
        raise UsageError(f"--gdb: expected [HOST:]PORT such as 3333, the port 0 to 65535, found {text!r}")
    return host.strip("[]") or LOOPBACK, int(port)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises
    ------
    UsageError
        When the address is not this machine's, or taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise UsageError(f"--gdb {host}:{port}: expected an address of this machine ({error.strerror})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--gdb {host}:{port}: cannot listen there ({error.strerror}); choose another port, or 0 for a free one"
        ) from None
    return listener


def serve(
    machine: Machine,
    host: str = LOOPBACK,
    port: int = 0,
    *,
    max_instructions: int | None = None,
    say: Callable[[str], object] | None = None,
) -> Literal["exit", "kill", "detach", "interrupted"]:
    """Let debuggers control a machine, one after another, until the program or one of them ends it.

    A debugger that goes away without a word leaves the machine where it stands, for the next one.

    Parameters
    ----------
    machine : Machine
        Stands where debugging begins.
    host, port
        Where to listen; port 0 takes a free one.
    max_instructions : int, optional
        Retired instructions at which the program stops with SIGXCPU.
    say : callable, optional
        Takes messages for the user; stderr by default.

    Returns
    -------
    str
        ``exit``: the program came to its end; ``kill``: the debugger wants it to go no further; ``detach``: it is to
        run on by itself; ``interrupted``: Ctrl-C here while no program ran.

    Raises
    ------
    UsageError
        When it cannot listen there.
    """
    say = say or (lambda text: print(text, file=sys.stderr, flush=True))
    with listen(host, port) as listener:
        address, number = listener.getsockname()[:2]
        local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        if not local:
            say(f"gdb: warning: {address} can be reached from elsewhere, and whoever connects controls this program")
        remote = f":{number}" if address == LOOPBACK else f"{host if ':' not in host else f'[{host}]'}:{number}"
        say(
            f"gdb: listening on {f'[{address}]' if ':' in address else address}:{number}; connect with: "
            f"gdb-multiarch {machine.program.path} -ex 'target remote {remote}'"
        )
        session = Session(machine, max_instructions)
        connection: Connection | None = None
        try:
            while session.ended is None:
                if connection is None:
                    connection = Connection(listener.accept()[0], lambda: session.acknowledge)
                    session.connect(connection)
                successor = _talk(session, connection, listener)
                connection.close()
                connection = successor
                if connection is not None:
                    session.connect(connection)
                elif session.ended is None:
                    session.history.clear()
                    say(f"gdb: disconnected; the program waits on port {number}")
        except KeyboardInterrupt:
            return "interrupted"
        finally:
            session.history.clear()
            if connection is not None:
                connection.close()
        return session.ended


def _talk(session: Session, connection: Connection, listener: socket.socket) -> Connection | None:
    """Answer a debugger until it is gone; returns the one that took the place of a silent one."""
    successor: list[Connection] = []
    ends: list[Connection | socket.socket] = [connection, listener]

    def wait() -> None:
        while True:
            if connection in select.select(ends, [], [])[0]:
                return
            other = Connection(listener.accept()[0], lambda: session.acknowledge)
            if connection.alive:
                other.close()
            else:
                successor.append(other)
                raise Disconnected

    try:
        while session.ended is None or session.extended:
            reply = session.handle(connection.packet(wait))
            if reply is not None:
                connection.reply(reply)
        connection.finish()
    except Disconnected:
        pass
    return successor[0] if successor else None
