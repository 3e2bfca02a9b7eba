"""Tables read without tomllib: what is read reads the same with it, and all bundled cores and platforms are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvsim.timing.core import CORES
from rvsim.timing.plain import read_plain
from rvsim.timing.platform import PLATFORMS

FILES = [path for folder in (CORES, PLATFORMS) for path in sorted(Path(folder).glob("*.toml"))]
PIECES = st.sampled_from(
    [
        "a", "b-1", "1", "0", "00", "1.5", "1.", ".5", "1_0", "-1", "+1", "1e3", "0x1", "nan", "true", '"x"', '"x',
        '"\\n"', '"""', "''", "=", " ", "\t", "\n", "\r\n", "\r", "#", "# c", "[", "]", "[t]", "[t.u]", "[[t]]", ".",
        ",", "{}", "[]", "1979-05-27", "\0", "\x7f", "é", "٣", "²", "\u2028", "a = 1\n", "b = 2 # two\n", 'c = "#"\n',
        "0xfF0", "0x", "0xg", "0x0_1", "[[t]]\n", "[t]\n", "[t.u]\n", "[ t]\n", "[t.u.v]\n", "[[t.u]]\n", "t = []\n",
        "t.u = 1\n", 'd = ["x", "y"]\n', 'e = [ "x" , ] # "\n', 'f = [\n"x"]\n', 'g = ["x" "y"]\n', 'h = [,]\n',
    ]
)  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_bundled_files_are_plain(path: Path) -> None:
    assert read_plain(path.read_text()) == msgspec.toml.decode(path.read_bytes())


@pytest.mark.parametrize(
    "text",
    ["t = []\n[[t]]", 't = ["x"]\n[[t]]', "[t]\n[[t]]", "[[t]]\n[t]", "[[t]]\n[t.u]", "[t.u]\n[t.u]",
     "[t]\nu = 1\n[t.u]", "t = 0x", "t = 0xg", "t = 0x_1", 't = ["x" "y"]', "t = [,]", 't = ["x",,]', 't = ["x"',
     't = ["x"] y', 't = ["\\q"]'],
)  # fmt: skip
def test_what_is_wrong_is_left_to_tomllib(text: str) -> None:
    assert read_plain(text) is None


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
def test_what_is_read_reads_the_same_with_tomllib(text: str) -> None:
    document = read_plain(text)
    if document is not None:
        assert document == msgspec.toml.decode(text)
