"""A machine that `rvsim.debug.server` serves in a thread, and a client that speaks packets to it."""

from __future__ import annotations

import queue
import re
import socket
import threading

from rvsim.debug import server
from rvsim.debug.packet import Decoder, encode
from rvsim.machine import Machine
from tests.machine.guest import A0, ZERO, addi, jal, machine

FOREVER = [addi(A0, A0, 1), jal(ZERO, -4)]


class Server:
    """`serve` in a thread, and what it said."""

    def __init__(self, program: Machine | None = None, **options) -> None:
        self.machine = program or machine(*FOREVER)
        self.said: queue.Queue[str] = queue.Queue()
        self.result: list[str] = []
        self.thread = threading.Thread(target=self._run, kwargs=options, daemon=True)
        self.thread.start()
        self.greeting = self.said.get(timeout=10)
        found = re.search(r":(\d+);", self.greeting)
        assert found
        self.port = int(found[1])

    def _run(self, **options) -> None:
        self.result.append(server.serve(self.machine, say=self.said.put, **options))

    def connect(self) -> Client:
        return Client(self.port)

    def end(self) -> str:
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.result[0]


class Client:
    """The debugger's end of the socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.decoder = Decoder(1 << 20)
        self.events: list[tuple[str, bytes]] = []

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def event(self) -> tuple[str, bytes]:
        while not self.events:
            data = self.socket.recv(1 << 16)
            if not data:
                return "closed", b""
            self.events += self.decoder.feed(data)
        return self.events.pop(0)

    def ask(self, payload: bytes) -> bytes:
        """The reply to a packet, acknowledged both ways."""
        self.send(encode(payload))
        assert self.event() == ("ack", b"")
        kind, reply = self.event()
        assert kind == "packet"
        self.send(b"+")
        return reply

    def close(self) -> None:
        self.socket.close()
