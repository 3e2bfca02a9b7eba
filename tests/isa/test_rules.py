"""The tables of rules in `coredsl_rules`, each case put to the front end.

Types are observed by what the language itself says of them: what a variable accepts, and `bitsizeof`. The expression
stands under `?:`
there, because constant expressions convert wherever their value fits.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rvsim.isa.evaluate import execute
from rvsim.isa.syntax import CoreDslError
from tests.isa import coredsl_rules as rules
from tests.isa.snippets import Recorder, load, refusal

WIDE = "register signed<80> OUT;"  # holds every value of the tables


def value(folder: Path, expression: str) -> int:
    instruction = load(folder, rules.description(f"OUT = {expression};", state=WIDE)).instructions[0]
    context = Recorder()
    execute(instruction, instruction.match, 0, context)
    return context.registers["OUT", None]


def accepts(folder: Path, kind: str, expression: str) -> bool:
    try:
        load(folder, rules.description(f"{{ {kind} a = rd == 0 ? ({expression}) : ({expression}); }}"))
    except CoreDslError as error:
        assert f"expected {kind}" in error.reason
        return False
    return True


@pytest.mark.parametrize(("expression", "expected"), rules.EXPRESSION_TYPES)
def test_type_of_an_expression(expression: str, expected: str, tmp_path: Path) -> None:
    sign, width = re.fullmatch(r"(signed|unsigned)<(\d+)>", expected).groups()  # type: ignore[union-attr]
    other = {"signed": "unsigned", "unsigned": "signed"}[sign]
    assert value(tmp_path, f"bitsizeof({expression})") == int(width)
    assert accepts(tmp_path, expected, expression)
    assert not accepts(tmp_path, f"{other}<{width}>", expression)
    if int(width) > 1:
        assert not accepts(tmp_path, f"{sign}<{int(width) - 1}>", expression)


@pytest.mark.parametrize(("expression", "expected"), rules.EXPRESSION_VALUES)
def test_value_of_an_expression(expression: str, expected: int, tmp_path: Path) -> None:
    assert value(tmp_path, f"({expression})") == expected


def assert_refused(folder: Path, text: str, message: str, snippet: str) -> None:
    error = refusal(folder, text)
    assert message in error.reason
    # The error points into the snippet, not somewhere else in the file.
    first = text[: text.index(snippet)].count("\n") + 1
    assert first <= error.line <= first + snippet.count("\n")
    assert str(error).splitlines()[-1].strip() == "^"


@pytest.mark.parametrize(("behaviour", "message"), rules.BEHAVIOUR_ERRORS)
def test_behaviour_is_refused(behaviour: str, message: str, tmp_path: Path) -> None:
    assert_refused(tmp_path, rules.description(behaviour), message, behaviour)


@pytest.mark.parametrize(("functions", "behaviour", "message"), rules.FUNCTION_ERRORS)
def test_function_is_refused(functions: str, behaviour: str, message: str, tmp_path: Path) -> None:
    assert_refused(tmp_path, rules.description(behaviour, functions), message, functions)


@pytest.mark.parametrize(("state", "message"), rules.STATE_ERRORS)
def test_state_is_refused(state: str, message: str, tmp_path: Path) -> None:
    assert_refused(tmp_path, rules.description(state=state), message, state)


@pytest.mark.parametrize("behaviour", rules.BEHAVIOURS)
def test_behaviour_is_accepted(behaviour: str, tmp_path: Path) -> None:
    assert [i.name for i in load(tmp_path, rules.description(behaviour)).instructions] == ["CASE"]
