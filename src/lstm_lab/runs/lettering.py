"""A user's text on a figure: letter for letter, whatever it holds, in fonts that have it."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from lstm_lab.runtime import import_matplotlib

import_matplotlib()
from matplotlib import font_manager, rcParams  # noqa: E402

LONGEST_LABEL = 80  # characters
LONGEST_NAME = 24  # characters of a name beside others
LONGEST_HEADING = 40  # characters of a name above a panel, of however wide letters


def cut(text: str, longest: int = LONGEST_NAME) -> str:
    """A text without its end if it is long."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def drawable(text: str) -> str:
    """A user's text as matplotlib draws it: letter for letter, with an escape for one that no installed font has."""
    text = cut(text, LONGEST_LABEL)
    lacking = without_font(frozenset(text))
    shown = "".join(ascii(char)[1:-1] if char in lacking else char for char in text)
    return (" " if text.startswith("_") else "") + shown.replace("$", r"\$")  # a legend leaves out what begins with _


def write(setter: Callable, text: str, note: str = "", **style: Any) -> None:
    """Writes a title or a label in the fonts that it needs, which the axes need not have, with our own note below."""
    lines = filter(None, [drawable(text), note])
    setter("\n".join(lines), fontfamily=rcParams["font.family"], **style)


@functools.cache
def without_font(letters: frozenset[str]) -> set[str]:
    """The letters that no installed font has. Fonts that the others need come behind matplotlib's usual one."""
    usual = font_manager.findfont(font_manager.FontProperties())
    left = letters - letters_of(usual, letters)
    for path in sorted(font_manager.findSystemFonts(), key=lambda path: ("Regular" not in path, path)) if left else ():
        if found := letters_of(path, left):
            font_manager.fontManager.addfont(path)
            name = font_manager.get_font(path).family_name
            rcParams["font.family"] = list(dict.fromkeys([*rcParams["font.family"], name]))
            left -= found
    return set(left)


def letters_of(path: str, letters: frozenset[str]) -> frozenset[str]:
    """Those of the letters that the font in this file has; none of a font that matplotlib cannot draw with."""
    with contextlib.suppress(Exception):  # whatever FreeType has to say of a broken file
        font = font_manager.get_font(path)
        return frozenset(char for char in letters if font.scalable and font.get_char_index(ord(char)))
    return frozenset()
