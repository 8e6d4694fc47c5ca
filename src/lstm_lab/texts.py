"""How one types texts: one as it is, several as a list in brackets, and quotes around what would be read otherwise."""

import re

QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.S)
QUOTED_ITEM = re.compile(rf"(?:{QUOTED.pattern})(?=\s*(?:[,\]]|\Z))", re.S)


def read(typed: str) -> str | list[str]:
    """The text that was typed, or the texts of a list: `T (degC)`; `[T (degC),p (mbar)]`; `"[a]"` is no list.

    Blanks around an item are none of it. Brackets in items hold commas if they balance; quotes hold anything.
    """
    bare = typed.strip()
    if not is_list(bare):
        return unquoted(typed)
    items = [item.strip() for item in split(bare[1:-1])]
    return [] if items == [""] else [unquoted(item) for item in items]


def write(value: str | list[str]) -> str:
    """What to type for a text, or for a list of them: `read` reads it as that."""
    several = isinstance(value, list)
    plain = f"[{','.join(value)}]" if several else str(value)
    if read(plain) == value and plain.lower() != "null":
        return plain
    return f"[{','.join(map(quoted, value))}]" if several else quoted(plain)


def shown(typed: str) -> str:
    """What was typed without the quotes around it, or around the items of a list."""
    return "".join(unquoted(token) for token, _ in tokens(typed))


def choices(typed: str) -> list[str]:
    """What stands between commas, outside of quotes and of brackets that balance; a comma alone is a text."""
    pieces = split(typed)
    return [typed] if len(pieces) == 1 or typed == "," else [piece.strip() for piece in pieces]


def split(typed: str) -> list[str]:
    """The same with the blanks, and a comma like any other; brackets that do not balance are letters."""
    found = tokens(typed)
    depths = [depth for _, depth in found] or [0]
    balanced = min(depths) == depths[-1] == 0
    pieces = [""]
    for token, depth in found:
        if token == "," and not (balanced and depth):
            pieces.append("")
        else:
            pieces[-1] += token
    return pieces


def is_list(typed: str) -> bool:
    """Whether it stands in one pair of brackets as a whole."""
    depths = [depth for _, depth in tokens(typed, "[]")]
    return typed[:1] == "[" and depths[-1] == 0 and 0 not in depths[:-1]


def tokens(typed: str, brackets: str = "[](){}") -> list[tuple[str, int]]:
    """Letter by letter, a text in quotes as one, each with the number of brackets that are open behind it."""
    found, depth, at, before = [], 0, 0, ","
    while at < len(typed):
        in_quotes = QUOTED_ITEM.match(typed, at) if before in ",[" else None
        token = in_quotes[0] if in_quotes else typed[at]
        depth += (token in brackets[::2]) - (token in brackets[1::2])
        found.append((token, depth))
        at += len(token)
        before = before if token.isspace() else token
    return found


def quoted(text: str) -> str:
    """A text in quotes; as in Hydra, a backslash stands for nothing but itself unless a quote follows."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def unquoted(typed: str) -> str:
    """What is meant by a text in quotes; any other text as it is."""
    if not QUOTED.fullmatch(typed):
        return typed
    return re.sub(rf"\\+(?:{typed[0]}|\Z)", lambda found: found[0][1::2], typed[1:-1])
