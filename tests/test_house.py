"""The house as a reader finds it: rooms that say what they are for, and functions that are read at a glance."""

import ast

import pytest

from helpers import ROOT

LINES, PARAMETERS = 40, 6
FILES = sorted((ROOT / "src").rglob("*.py"))


def functions_of(file):
    """Every function of a file, nested ones and methods too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters_of(function, file):
    """Their names; in science keyword-only ones are a model's or a method's own, and do not count."""
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args]
    if "science" not in file.parts:
        names += arguments.kwonlyargs
    return [name.arg for name in names if name.arg not in ("self", "cls")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "src")))
def test_functions_are_short_and_take_little(file):
    for function in functions_of(file):
        where = f"{file.relative_to(ROOT)}:{function.lineno} {function.name}"
        assert function.end_lineno - function.lineno < LINES, where
        assert len(parameters_of(function, file)) <= PARAMETERS, where


@pytest.mark.parametrize("room", sorted((ROOT / "src/lstm_lab").glob("*/")), ids=lambda room: room.name)
def test_a_room_says_what_it_is_for(room):
    if room.name != "__pycache__":
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
