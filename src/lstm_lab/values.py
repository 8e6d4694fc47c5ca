"""The types of single values in a config: ranges of numbers, texts, names of columns; and groups of them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

# The upper ends keep float32 finite and one batch within reach of a machine's memory.
Count = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[int, Field(ge=1, le=10**5)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Measure = Annotated[float, Field(ge=1e-6, le=1e6)]  # whose squares and quotients are sound too
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NotNegative = Annotated[int, Field(ge=0, le=10**9)]


LONGEST_NAME = 200  # characters of a run's, an experiment's or a study's: databases and pages take little more


class Group(BaseModel):
    """One group of settings: unknown keys, wrong types and non-finite numbers are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def plain_text(text: str) -> str:
    """A text as a name that `plain_name` takes, unless it is empty or only dots."""
    return "".join("_" if char in "/\\" or not char.isprintable() else char for char in text)


def without_nul(path: str) -> str:
    """Refuses what no file can be called."""
    if "\0" in path:
        raise ValueError("must be a path, without the character NUL")
    return path


def texts_of(given: Any) -> list[str]:
    """One text or several, as a list."""
    found = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in found):
        raise ValueError("must be text, or several as in [a,b]; in a YAML file quotes make a number text")
    return found


def columns_of(given: Any) -> str | list[str]:
    """The names of one column or of several, as configs have them; a list of one is that one."""
    names = texts_of(given)
    bare = [name.strip() for name in names]
    if not all(bare) or not bare:
        raise ValueError("must be the name of a column, or several as in [a,b]")
    if len(set(bare)) < len(bare):
        raise ValueError("must name each column once")
    return names[0] if len(names) == 1 else names


def separator_of(text: str) -> str:
    """What stands between two fields, as configs have it."""
    if text in ("\t", r"\t"):
        return "tab"
    if text not in ("tab", "space") and (len(text) != 1 or not text.isascii() or text in '"\r\n\0'):
        raise ValueError("must be one character, or tab, or space")
    return text


def in_no_number(text: str) -> str:
    """Refuses what cannot part the digits of a number."""
    if len(text) != 1 or text.isalnum() or text in "+-\r\n":
        raise ValueError("must be one character that parts digits, such as , or . or '")
    return text


def beginning_of_a_line(text: str) -> str:
    """Refuses what tells no comment from a sample."""
    if not text.strip() or set(text) & set('"\r\n'):
        raise ValueError("must be what a line begins with, such as #")
    return text


def known_encoding(name: str) -> str:
    """Refuses what Python has no encoding for."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError("must be an encoding that Python knows, such as utf-8, utf-16, cp1252 or gb18030") from None
    return name


Texts = Annotated[list[str], PlainValidator(texts_of, json_schema_input_type=str | list[str])]
Columns = Annotated[str | list[str], PlainValidator(columns_of, json_schema_input_type=str | list[str])]
Filled = Annotated[str, Field(min_length=1)]


def listed(columns: str | list[str] | None) -> list[str]:
    """The names of columns that a config has."""
    return [columns] if isinstance(columns, str) else list(columns or [])
