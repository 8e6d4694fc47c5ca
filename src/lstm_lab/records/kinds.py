"""Which files are code, and so recorded whole; data and secrets are told by their names and by what is in them."""

import fnmatch
import os
import re
from collections.abc import Sequence

from lstm_lab.hiding import passwords

# New files that are code or its settings; any other kind is data.
SOURCES = (".py", ".pyi", ".sh", ".mk", ".html", ".css", ".js", ".jinja", ".md", ".rst")
SETTINGS = (".yaml", ".yml", ".toml", ".cfg", ".ini", ".lock", ".txt")  # where a line `password: ...` is no code
NAMES = ("Makefile", "Dockerfile", ".gitignore", ".gitattributes", ".python-version")
KEYS = (".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "id_*", ".netrc", ".pgpass")
ACCOUNTS = (".htpasswd", ".git-credentials", ".npmrc", ".pypirc")
SECRETS = (*KEYS, *ACCOUNTS, "*secret*", "*password*", "*passwd*", "*token*", "*credential*")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
SETTING = re.compile(
    r"^[ \t]*[\w.-]*(?:password|passwd|secret|api_?key|access_?key|token)[ \t]*[=:][ \t]*(?!null|~|\$)[^\s#]",
    re.I | re.M,
)


def by_name(name: str, is_new: bool) -> str:
    """Why a file of that name is no code, '' if it may be some; of files that a commit has only secrets are none."""
    base = os.path.basename(name.rstrip("/"))
    if not base.lower().endswith(".py") and any(fnmatch.fnmatch(base.lower(), pattern) for pattern in SECRETS):
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
    literal = [p for p in passwords(text) if not unlike & set(p) and not p.startswith("$") and p != "PASSWORD"]
    return bool(literal or PRIVATE_KEY.search(text) or (name.endswith(SETTINGS) and SETTING.search(text)))
