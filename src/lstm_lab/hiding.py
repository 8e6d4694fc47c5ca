"""Secrets hidden in whatever is recorded or printed: in addresses, in keys that sound like one, in headers."""

import os
import re
import sys
import urllib.parse

MASK = "***"
SHORTEST = 4  # characters of a piece of a password that is hidden wherever it stands: a shorter one is in any word
SOUNDS = r"(?:pass(?:word|wd|phrase)|pwd|secret|token|api_?-?key|access_?-?key|private_?-?key|credential)"
KEY = rf"{SOUNDS}[\w.-]*"  # whatever stands before it: that is kept
VALUE = r"""(?:"[^"]*"?|'[^']*'?|[^\s&,;)}\]]+)"""
# Up to the last @, for a password that was not escaped may hold any character: rather too much is hidden.
ADDRESS = re.compile(r"(://[^\s:/@]*):(\S*)@")
TOKEN_AS_USER = re.compile(r"(https?://)([^\s:/]+)@", re.IGNORECASE)
ASSIGNED = re.compile(rf"""({KEY}["']?=){VALUE}""", re.IGNORECASE)
IN_BRACES = re.compile(rf"""([{{,]\s*["']?[\w.-]*{KEY}["']?\s*:\s*){VALUE}""", re.IGNORECASE)
HEADER = re.compile(r"\b(Basic|Bearer) [\w.~+/=-]{6,}")
WORD = re.compile(rf"({KEY}=).+", re.IGNORECASE | re.DOTALL)


def hide(text: str) -> str:
    """The text with *** for each password, token or other secret that its form gives away."""
    text = ADDRESS.sub(rf"\1:{MASK}@", text)
    text = TOKEN_AS_USER.sub(rf"\1{MASK}@", text)
    text = ASSIGNED.sub(rf"\1{MASK}", text)
    text = IN_BRACES.sub(rf"\1{MASK}", text)
    return HEADER.sub(rf"\1 {MASK}", text)


def hide_in_word(word: str) -> str:
    """A word of a command line without its secret, which ends where the word does: it may hold spaces."""
    if "://" in word and "@" in word:
        before, _, after = word.partition("://")
        user, colon, rest = after.partition(":")
        if colon and "@" in rest and not set("/@") & set(user):
            word = f"{before}://{user}:{MASK}@{rest.rpartition('@')[2]}"
    elif "://" not in word:  # in an address, what follows the secret is kept
        word = WORD.sub(rf"\1{MASK}", word)
    return hide(word)


def hide_known(text: str, *addresses: str | None) -> str:
    """As `hide`, and without the secrets of this process and of `addresses`, wherever they stand.

    For what other programs say: one that takes an address apart quotes pieces of it, or has decoded them.
    """
    for secret in sorted(known_secrets(*addresses), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
        for quote in "'\"":
            text = text.replace(f"{quote}{secret}{quote}", f"{quote}{MASK}{quote}")
    return hide(text)


def known_secrets(*addresses: str | None) -> set[str]:
    """The secrets of `addresses`, the command line and the environment: whole, decoded, and in the pieces of a URL."""
    texts = [*filter(None, addresses), *sys.argv, os.environ.get("MLFLOW_TRACKING_URI", "")]
    typed = [secret for text in texts for secret in [*passwords(text), *map(value_of, ASSIGNED.finditer(text))]]
    typed += [urllib.parse.unquote(secret) for secret in typed]
    pieces = [piece for secret in typed for piece in re.split(r"[@/:?#&\s]", secret)]
    return {*typed, *pieces, *environments_secrets()} - {""}


def environments_secrets() -> set[str]:
    """The values of environment variables that sound like a secret; a path is only where one is, and a digit none."""
    named = (value for name, value in os.environ.items() if re.search(SOUNDS, name, re.IGNORECASE))
    return {value for value in named if len(value) >= SHORTEST and not value.startswith("/")}


def passwords(text: str) -> list[str]:
    """The passwords, and the tokens in a user's place, of the addresses in `text`."""
    return [match[2] for pattern in (ADDRESS, TOKEN_AS_USER) for match in pattern.finditer(text)]


def value_of(match: re.Match[str]) -> str:
    """What a key that sounds like a secret was given."""
    return match[0][len(match[1]) :].strip("\"'")
