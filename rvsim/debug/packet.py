"""Packets of GDB's remote serial protocol: framing, checksums, escapes.

Source: the GDB manual, appendix E.1 (Overview of the remote protocol). A packet is ``$payload#cc``, cc the sum of the
payload's bytes modulo 256 in hexadecimal; ``}`` escapes the byte behind it, which is sent exclusive-or 0x20.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

ESCAPE = ord("}")
# Bytes of a payload as it is sent, escapes included; what qSupported promises.
PACKET_SIZE = 0x8000
_ONE_BYTE: dict[int, Literal["ack", "nack", "interrupt"]] = {ord("+"): "ack", ord("-"): "nack", 0x03: "interrupt"}
_NOISE = re.compile(rb"[^$+\-\x03]+")
_FRAME = re.compile(rb"[$#]")
_CHECKSUM = re.compile(rb"[0-9a-fA-F]{2}")


class Event(NamedTuple):
    """What the other side said.

    Attributes
    ----------
    kind : str
        ``packet``, with its payload unescaped; ``damaged``: a packet whose checksum or escape is wrong; ``oversized``:
        one longer than the limit; ``ack``, ``nack``; ``interrupt``: Ctrl-C.
    payload : bytes
        Empty unless it is a packet.
    """

    kind: Literal["packet", "damaged", "oversized", "ack", "nack", "interrupt"]
    payload: bytes = b""


def checksum(data: bytes) -> int:
    """Sum of the bytes modulo 256."""
    return sum(data) & 0xFF


def escape(payload: bytes) -> bytes:
    """The payload with the bytes escaped that frame packets or stand for a run."""
    return re.sub(rb"[#$*}]", lambda found: bytes((ESCAPE, found[0][0] ^ 0x20)), payload)


def unescape(data: bytes) -> bytes | None:
    """The payload without escapes, or None when it ends in the middle of one."""
    parts = data.split(b"}")
    result = [parts[0]]
    for part in parts[1:]:
        if not part:
            # An escaped "}" is sent as "}]", so nothing behind "}" is the end of the payload, or another bare "}".
            return None
        result.append(bytes((part[0] ^ 0x20,)) + part[1:])
    return b"".join(result)


def encode(payload: bytes) -> bytes:
    """The packet that carries a payload."""
    data = escape(payload)
    return b"$%b#%02x" % (data, checksum(data))


class Decoder:
    """Cuts a stream of bytes into packets, acknowledgements and interrupts; what is none of these is dropped.

    Parameters
    ----------
    limit : int
        Longest payload in bytes, as sent. More is dropped up to the next packet, so that memory stays bounded.
    """

    def __init__(self, limit: int = PACKET_SIZE) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._dropping = False

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes as they arrive, in pieces of any size; returns what is complete."""
        self._buffer += data
        events = []
        while (event := self._next()) is not None:
            events.append(event)
        return events

    def _next(self) -> Event | None:
        buffer = self._buffer
        if self._dropping:
            frame = _FRAME.search(buffer)
            if not frame:
                buffer.clear()
                return None
            del buffer[: frame.start()]
            self._dropping = False
        if noise := _NOISE.match(buffer):
            del buffer[: noise.end()]
        if not buffer:
            return None
        if buffer[0] in _ONE_BYTE:
            return Event(_ONE_BYTE[buffer.pop(0)])
        end = buffer.find(b"#", 1, self.limit + 2)
        # A payload holds no bare "$": one in it begins the packet that follows a damaged one.
        again = buffer.find(b"$", 1, end if end > 0 else self.limit + 2)
        if again > 0:
            del buffer[:again]
            return Event("damaged")
        if end < 0:
            if len(buffer) <= self.limit + 1:
                return None
            self._dropping = True
            del buffer[0]
            return Event("oversized")
        if len(buffer) < end + 3:
            return None
        raw, sent = bytes(buffer[1:end]), bytes(buffer[end + 1 : end + 3])
        if not _CHECKSUM.fullmatch(sent):
            # Perhaps the next packet begins here already.
            del buffer[: end + 1]
            return Event("damaged")
        del buffer[: end + 3]
        payload = unescape(raw) if int(sent, 16) == checksum(raw) else None
        return Event("damaged") if payload is None else Event("packet", payload)
