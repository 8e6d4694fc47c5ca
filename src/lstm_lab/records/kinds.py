"""Which files are code, and so recorded whole; data and secrets are told by their names and by what is in them."""

import fnmatch
import os
import re
from collections.abc import Sequence

from lstm_lab.hiding import KEY, spans_in_addresses

# New files that are code or its settings; any other kind is data.
SOURCES = (".py", ".pyi", ".sh", ".mk", ".html", ".css", ".js", ".jinja", ".md", ".rst")
SETTINGS = (".yaml", ".yml", ".toml", ".cfg", ".ini", ".lock", ".txt")
PROGRAMS = (".py", ".pyi", ".js", ".css", ".html", ".jinja")  # where a line `password = ...` may be code
NAMES = ("Makefile", "Dockerfile", ".gitignore", ".gitattributes", ".python-version")
KEYS = (".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "id_*", ".netrc", ".pgpass")
ACCOUNTS = (".htpasswd", ".git-credentials", ".npmrc", ".pypirc")
SECRETS = (*KEYS, *ACCOUNTS, "*secret*", "*password*", "*passwd*", "*token*", "*credential*")
SECRETS_NAME = re.compile("|".join(map(fnmatch.translate, SECRETS)))
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY|\bBearer (?=[a-z_.-]*[0-9])[\w.-]{12,}", re.I)
# A line of settings, of a shell or of notes: `export DB_PASSWORD=...`, `password: ...`
SETTING = re.compile(rf"^[ \t]*(?:[\w.-]+[ \t]+)?[\w.-]{{0,60}}{KEY}[ \t]*[=:][ \t]*(?!null|~|\$)[^\s#=]", re.I | re.M)
# In a program: a literal that such a name gets, and such a key within a text, as in "host=h password=..."
PLAIN = r"[^\s\"'{}<>*$%\\(),;&]{6,}"  # no pattern, and no place for a password
LITERAL = re.compile(
    rf"""{KEY}["']?\]?\s*(?::\s*\w+\s*)?[=:]\s*[rbu]?["']{PLAIN}["']|[\s"'?&;]{KEY}={PLAIN}(?:["'&;]|[ ]\w+=)""", re.I
)


def by_name(name: str, is_new: bool) -> str:
    """Why a file of that name is no code, '' if it may be some; of files that a commit has only secrets are none."""
    base = os.path.basename(name.rstrip("/"))
    if not base.lower().endswith(".py") and SECRETS_NAME.match(base.lower()):
        return "a secret, by its name"
    is_code = base.lower().endswith(SOURCES + SETTINGS) or base in NAMES
    return "data, by its name" if is_new and not is_code else ""


def by_content(name: str, contents: Sequence[bytes]) -> str:
    """Why a file of that name with these contents, then and now, is not recorded; '' if it is."""
    if any(b"\0" in content for content in contents):
        return "binary"
    return "holds a password or key" if any(holds_secret(name.lower(), content) for content in contents) else ""


def holds_secret(name: str, content: bytes) -> bool:
    """Whether a file of that name gives a secret away: a private key, an address or a setting with a password."""
    text = content.decode(errors="replace")
    unlike = set("{}<>\\*()" if name.endswith(".py") else "{}<>")  # of a pattern, or a place for a password
    passwords = (text[start:end] for start, end in spans_in_addresses(text))
    if any(not unlike & set(word) and not word.startswith("$") and word != "PASSWORD" for word in passwords):
        return True
    return bool(PRIVATE_KEY.search(text) or (LITERAL if name.endswith(PROGRAMS) else SETTING).search(text))
