"""Secrets hidden in whatever is recorded or printed: in addresses, in keys that sound like one, in headers.

A secret is known by its form. Each pattern takes time in proportion to the text, whatever that holds.
"""

import contextlib
import functools
import io
import logging
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator, Set
from typing import Any

MASK = "***"
SHORTEST = 4  # characters of a secret that is hidden wherever it stands: a shorter one is in any word
SOUNDS = (
    r"(?:pass(?:word|wd|phrase)|pwd|secret|token(?!iz)|credential|authorization"
    r"|(?:api|access|private|secret)[_-]?key)"
)
KEY = rf"{SOUNDS}[\w.-]{{0,60}}"  # whatever stands before it: that is kept
QUOTED = r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)"""
KEY_IS = re.compile(rf"""{KEY}["']?=""", re.I)
USER = re.compile(r":/{2}[^\s:/@]*:")
TOKEN_AS_USER = re.compile(r"https?://([^\s:/]+)@", re.I)
TO_ITS_END = r"""[^\s&'"=][^\s&]*?(?=[,;:.)\]}'"]{0,5}(?:[\s&]|$))"""  # but for what ends an argument or a sentence
PATTERNS = [
    rf"""{KEY}["']?\s?=\s?(?P<secret>{QUOTED}|{TO_ITS_END})""",  # key=value in an address, a shell, a program
    rf"""[{{,]\s*["']?[\w.-]{{0,60}}{KEY}["']?\s*:\s*(?P<secret>{QUOTED}|[^,}}\n]+)""",  # in braces, as JSON has it
    rf"""{KEY}["']?:[ \t]+(?P<secret>{QUOTED}|[^\s"',}}]+)["']?$""",  # a line of YAML, a header
    r"""(?:\bBearer|authorization["']?\s?[:=]\s?["']?\w+) (?P<secret>[\w.~+/=-]{6,})""",
]
FORMS = [re.compile(pattern, re.I | re.M) for pattern in PATTERNS]


def hide(text: str) -> str:
    """The text with *** for each password, token or other secret that its form gives away, or that was typed."""
    text = without(text, typed(*sys.argv, tracking_uri()))
    return masked(text, spans(text))


def hide_in_word(word: str) -> str:
    """A word of a command line without its secret, which ends where the word does: it may hold spaces."""
    return masked(word, spans_in_word(word))


def hide_known(text: str, *addresses: str | None) -> str:
    """As `hide`, and without the secrets of this process and of `addresses`, wherever they stand.

    For what other programs say: one that takes an address apart quotes pieces of it, or has decoded them.
    """
    whole = typed(*filter(None, addresses), *sys.argv, tracking_uri())
    decoded = {*whole, *map(urllib.parse.unquote, whole)}
    pieces = {piece for secret in decoded for piece in re.split(r"[@/:?#&\s]", secret)}
    return hide(without(text, decoded | pieces | environments_secrets()))


def hide_in_logs() -> None:
    """Has every logger of this process hide secrets, in its messages and in stack traces."""
    make = logging.getLogRecordFactory()

    def record(*about: Any, **more: Any) -> logging.LogRecord:
        made = make(*about, **more)
        with contextlib.suppress(TypeError, ValueError):  # of a message that its arguments do not fit
            made.msg, made.args = hide_known(made.getMessage()), None
        if made.exc_info:
            made.exc_text = hide_known(logging.Formatter().formatException(made.exc_info))
        return made

    logging.setLogRecordFactory(record)


@contextlib.contextmanager
def hide_in_output() -> Iterator[None]:
    """Hides secrets in what is printed meanwhile, and shows it at the end."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            yield
    finally:
        print(hide_known(shown.getvalue()), end="")


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where a text has secrets: first and last + 1 character of each."""
    yield from spans_in_addresses(text)
    for form in FORMS:
        yield from (found.span("secret") for found in form.finditer(text))


def spans_in_addresses(text: str) -> Iterator[tuple[int, int]]:
    """The same of passwords, and tokens in a user's place, in a text's addresses."""
    for word in re.finditer(r"\S+", text):
        yield from spans_of_passwords(text, USER.search(text, *word.span()), word.end())
    yield from (found.span(1) for found in TOKEN_AS_USER.finditer(text))


def spans_in_word(word: str) -> Iterator[tuple[int, int]]:
    """The same of a word: what is behind a key is all secret, but for other keys of an address."""
    yield from spans_of_passwords(word, USER.search(word), len(word))
    if key := KEY_IS.search(word):
        next_key = word.find("&", key.end()) if "://" in word[: key.start()] else -1
        yield key.end(), len(word) if next_key < 0 else next_key
    yield from spans(word)


def spans_of_passwords(text: str, user: re.Match[str] | None, end: int) -> Iterator[tuple[int, int]]:
    """An address's password: up to the last @, for one that was not escaped may hold any character."""
    if user and (last := text.rfind("@", user.end(), end)) > 0:
        yield user.end(), last


def masked(text: str, hidden: Iterator[tuple[int, int]]) -> str:
    """The text with one mask for each span, and for those that overlap."""
    pieces, done = [], 0
    for start, end in sorted(hidden):
        if start >= done:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join([*pieces, text[done:]])


def without(text: str, secrets: Set[str]) -> str:
    """The text without these secrets: short ones are hidden only in quotes, and one like a word not in a longer word.

    So the password 'postgres' is none in 'postgresql'.
    """
    for secret in sorted(secrets - {"", MASK}, key=len, reverse=True):
        if re.fullmatch(f"[a-z]{{{SHORTEST},}}", secret):
            text = re.sub(f"(?<![a-z]){secret}(?![a-z])", MASK, text)
        elif len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
        for quote in "'\"":
            text = text.replace(f"{quote}{secret}{quote}", f"{quote}{MASK}{quote}")
    return text


@functools.lru_cache(maxsize=8)
def typed(*words: str) -> frozenset[str]:
    """The secrets of these words, without quotes around them."""
    return frozenset(word[start:end].strip("\"'") for word in words for start, end in spans_in_word(word))


def tracking_uri() -> str:
    """The store's address, as the user gave it, who may have left out its scheme."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if "://" in uri else f"://{uri}"


def environments_secrets() -> set[str]:
    """The values of environment variables that sound like a secret; a path or a yes is none."""
    named = (value for name, value in os.environ.items() if re.search(SOUNDS, name, re.I))
    return {value for value in named if len(value) >= SHORTEST and not re.match("/|true$|false$", value, re.I)}
