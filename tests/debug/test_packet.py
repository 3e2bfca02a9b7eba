"""Packets: what is sent comes back whatever the pieces it arrives in, and nothing that is no packet does harm."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.debug.packet import PACKET_SIZE, Decoder, Event, encode, unescape

ACK, NACK, INTERRUPT, DAMAGED, OVERSIZED = (Event(k) for k in ("ack", "nack", "interrupt", "damaged", "oversized"))


def packet(payload: bytes) -> Event:
    return Event("packet", payload)


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        # Sums from the GDB manual's examples and by hand.
        (b"", b"$#00"),
        (b"OK", b"$OK#9a"),
        (b"g", b"$g#67"),
        (b"qSupported", b"$qSupported#37"),
        (b"a#b", b"$a}\x03b#43"),
        (b"$}*#", b"$}\x04}]}\x0a}\x03#62"),
    ],
)
def test_a_packet_is_framed_summed_and_escaped(payload, sent):
    assert encode(payload) == sent
    assert Decoder().feed(sent) == [packet(payload)]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"+-\x03", [ACK, NACK, INTERRUPT]),
        (b"noise$g#67noise", [packet(b"g")]),
        (b"$g#68$g#67", [DAMAGED, packet(b"g")]),
        (b"$g#zz$g#67", [DAMAGED, packet(b"g")]),
        (b"$g#$g#67", [DAMAGED, packet(b"g")]),
        (b"$lost$g#67", [DAMAGED, packet(b"g")]),
        (b"$g#6", []),
        (b"$g", []),
        (b"$}#7d$g#67", [DAMAGED, packet(b"g")]),
        (b"$a\x03+-b#%02x" % (sum(b"a\x03+-b") & 255), [packet(b"a\x03+-b")]),
    ],
)
def test_a_stream_is_cut(data, events):
    assert Decoder().feed(data) == events


def test_checksums_take_both_cases():
    assert Decoder().feed(b"$OK#9A") == [packet(b"OK")]


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(0, 400)))
def test_packets_come_back_from_pieces_of_any_size(payloads, cuts):
    stream = b"".join(map(encode, payloads))
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    decoder = Decoder()
    events = [event for low, end in pairwise(at) for event in decoder.feed(stream[low:end])]
    assert events == [packet(each) for each in payloads]


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"$", b"#", b"}", b"$x#", b"$y#7"])), st.binary(max_size=20))
def test_rubbish_does_not_swallow_the_packet_behind_it(pieces, payload):
    decoder = Decoder(limit=40)
    for piece in pieces:
        decoder.feed(piece)
    assert decoder.feed(encode(payload))[-1:] == [packet(payload)]


def test_a_packet_of_the_announced_size_fits_and_no_longer_one():
    fits = b"a" * PACKET_SIZE
    assert Decoder().feed(encode(fits)) == [packet(fits)]
    assert Decoder().feed(encode(fits + b"a") + encode(b"g")) == [OVERSIZED, packet(b"g")]


def test_an_endless_packet_takes_no_memory():
    decoder = Decoder(limit=100)
    assert decoder.feed(b"$" + b"a" * 101) == [OVERSIZED]
    for _ in range(10):
        assert decoder.feed(b"a" * 1000) == []
        assert len(decoder._buffer) == 0
    assert decoder.feed(b"#00" + encode(b"g")) == [packet(b"g")]


@pytest.mark.parametrize("data", [b"}", b"a}", b"}}", b"a}}b"])
def test_an_escape_of_nothing_is_an_error(data):
    assert unescape(data) is None
