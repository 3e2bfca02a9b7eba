"""Operand text to tokens, and tokens to expressions, by the grammar asm.lark."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.lexer import Lexer

from rvsim.asm.errors import Problem
from rvsim.asm.expressions import Node, Relocation, Symbol, apply

GRAMMAR = Path(__file__).with_name("asm.lark")
MAX_TOKENS = 20_000

ESCAPES = {"b": 8, "f": 12, "n": 10, "r": 13, "t": 9}


class _Build(Transformer):
    """Makes expression nodes while lark parses."""

    def number(self, children: list[Token]) -> Node:
        return number(children[0])

    def character(self, children: list[Token]) -> Node:
        return character(children[0])

    def symbol(self, children: list[Token]) -> Node:
        return Symbol(str(children[0]), column(children[0]))

    local = symbol

    def relocation(self, children: list[Any]) -> Node:
        return Relocation(str(children[0]), children[1], column(children[0]))

    def __default__(self, data: Any, children: list[Any], meta: Any) -> Node:
        return apply(str(data), *children)


class _Tokens(Lexer):
    """Hands tokens that were already cut to the parser."""

    def __init__(self, conf: Any) -> None: ...

    def lex(self, tokens: Any) -> Iterator[Token]:  # type: ignore[override]
        return iter(tokens)


@functools.cache
def _tokenizer() -> Lark:
    return Lark(GRAMMAR.read_text(), parser=None, lexer="basic", start=["expression", "unused"])


@functools.cache
def _parser() -> Lark:
    return Lark(GRAMMAR.read_text(), parser="lalr", lexer=_Tokens, start=["expression", "unused"], transformer=_Build())


def column(token: Token) -> int:
    """Offset of a token in its statement."""
    return token.start_pos or 0


def tokenize(text: str) -> list[Token]:
    """Cut operand text into tokens.

    Raises
    ------
    Problem
        A character that begins no token, or too many tokens.
    """
    tokens: list[Token] = []
    try:
        for token in _tokenizer().lex(text):
            if len(tokens) >= MAX_TOKENS:
                raise Problem(f"expected at most {MAX_TOKENS} tokens in a statement, found more", column(token))
            tokens.append(token)
    except UnexpectedCharacters as error:
        at = error.pos_in_stream or 0
        found = text[at]
        if found == '"':
            raise Problem("expected a closing quote, found the end of the statement", at) from None
        raise Problem(f"expected an operand, found {found!r}", at) from None
    return tokens


def parse_expression(tokens: list[Token], end: int) -> Node:
    """Tokens as an expression; `end` is the column to point at when they stop too early.

    Raises
    ------
    Problem
        They are no expression.
    """
    if len(tokens) == 1:
        token = tokens[0]
        if token.type == "NUMBER":
            return number(token)
        if token.type in ("NAME", "LOCAL"):
            return Symbol(str(token), column(token))
    elif not tokens:
        raise Problem("expected an expression, found nothing", end)
    try:
        return _parser().parse(tokens, start="expression")  # type: ignore[return-value]
    except UnexpectedToken as error:
        if error.token.type == "$END":
            raise Problem("expected an operand behind this, found the end of the expression", end) from None
        at = column(error.token)
        raise Problem(f"expected {_expected(error)}, found {str(error.token)!r}", at) from None
    except UnexpectedInput as error:
        raise Problem(f"expected an expression: {error}", end) from None


def _expected(error: UnexpectedToken) -> str:
    return "a number, symbol or (" if "NUMBER" in error.expected else "an operator or the end of the expression"


def number(token: Token) -> int:
    """The value of a number: decimal, 0x hexadecimal, 0b binary, 0 octal."""
    text = str(token).lower()
    try:
        if text.startswith("0x"):
            value = int(text, 16)
        elif text.startswith("0b"):
            value = int(text, 2)
        elif text.startswith("0") and len(text) > 1:
            value = int(text, 8)
        else:
            value = int(text) if len(text) < 30 else 1 << 64
    except ValueError:
        raise Problem(f"expected an octal number, found {text}", column(token)) from None
    if value >= 1 << 64:
        raise Problem("expected a number below 2^64, found a larger one", column(token))
    return value


def character(token: Token) -> int:
    """The value of a character constant: 'a' or 'a."""
    body = str(token)[1:]
    if len(body) > 1 and body.endswith("'") and body != "\\'":
        body = body[:-1]
    data = unescape(body)
    if len(data) != 1:
        raise Problem(f"expected one character, found {len(data)} bytes", column(token))
    return data[0]


def unescape(body: str) -> bytes:
    r"""The bytes of a string's inside: \b \f \n \r \t, \ooo, \xhh, and any other character after \ as itself."""
    if "\\" not in body:
        return body.encode("utf-8", "surrogateescape")
    out, at = bytearray(), 0
    while at < len(body):
        char = body[at]
        if char != "\\" or at + 1 == len(body):
            out += char.encode("utf-8", "surrogateescape")
            at += 1
            continue
        char, at = body[at + 1], at + 2
        if char in "01234567":
            end = at
            while end < len(body) and end < at + 2 and body[end] in "01234567":
                end += 1
            out.append(int(body[at - 1 : end], 8) & 0xFF)
            at = end
        elif char in "xX":
            end = at
            while end < len(body) and body[end] in "0123456789abcdefABCDEF":
                end += 1
            out.append(int(body[at:end] or "0", 16) & 0xFF)
            at = end
        elif char in ESCAPES:
            out.append(ESCAPES[char])
        else:
            out += char.encode("utf-8", "surrogateescape")
    return bytes(out)


def string(token: Token) -> bytes:
    """The bytes of a string token."""
    return unescape(str(token)[1:-1])


def split_commas(tokens: list[Token]) -> list[list[Token]]:
    """Tokens between the commas outside parentheses; no tokens give no parts."""
    if not tokens:
        return []
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        text = token.value
        if text == "," and not depth:
            parts.append([])
            continue
        if text in ("(", "["):
            depth += 1
        elif text in (")", "]"):
            depth -= 1
        parts[-1].append(token)
    return parts
