"""Overrides in Hydra's words: read, written, and the command that they make."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from lstm_lab import commandline, config
from lstm_lab.paths import ROOT, locate
from lstm_lab.runs.resume import MAY_CHANGE
from lstm_lab.words import TEXTS, as_text


def parse(words: Sequence[str]) -> list[Override]:
    """The overrides in Hydra's own terms."""
    return list(OverridesParser.create().parse_overrides(list(words)))


def is_sweep(word: str) -> bool:
    """Whether an override names several values."""
    return parse([word])[0].is_sweep_override()


def quoted(text: str) -> str:
    """A text as Hydra's grammar reads it back, in quotes only if it needs them."""
    with contextlib.suppress(HydraException):
        if parse([f"key={text}"])[0].value() == text:
            return text
    return QuotedString(text, Quote.single).with_quotes()


def in_words(value: Any) -> str:
    """A value as Hydra's grammar reads it back."""
    if isinstance(value, QuotedString):
        value = value.text
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{','.join(map(in_words, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{in_words(part)}' for key, part in value.items())}}}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def choice(value: Any) -> Any:
    """A choice as Optuna keeps it: a plain value, or a list in Hydra's words."""
    if isinstance(value, list | dict):
        return in_words(value)
    return value.text if isinstance(value, QuotedString) else value


def words_of(params: Mapping[str, Any]) -> list[str]:
    """The overrides that give these values; what `choice` made of a list becomes one again."""
    texts = {key: value for key, value in params.items() if isinstance(value, str) and key not in TEXTS}
    lists = {key for key, text in texts.items() if text[:1] in ("[", "{")}
    return [f"{key}={value if key in lists else in_words(value)}" for key, value in params.items()]


def training_command(composed: dict[str, Any], compose: Callable[[list[str]], dict[str, Any]]) -> str:
    """The command that trains exactly as `composed` says, typed in this directory, in as few overrides as that takes.

    `compose(overrides)` composes a run config. The choices of groups come first, then every value that still differs
    and changes what is trained.
    """
    default, words = compose([]), []
    for group in ("model", "data", "optimizer"):
        kind = config.Config.model_fields[group].discriminator
        if composed[group][kind] != default[group][kind]:
            words.append(f"{group}={composed[group][kind]}")
    left = dict(config.flatten(compose(words)))
    differing = {key: value for key, value in config.flatten(locate(composed)) if left.get(key) != value}
    if "data.path" in differing and Path.cwd() != ROOT:
        differing["data.path"] = str(ROOT / differing["data.path"])
    trained = {key: value for key, value in differing.items() if key.partition(".")[0] not in config.WATCHING}
    changing = {key: value for key, value in trained.items() if key == "training.steps" or key not in MAY_CHANGE}
    return commandline.typed("train", *words, *(typed_word(key, value) for key, value in changing.items()))


def typed_word(key: str, value: Any) -> str:
    """The word that one types to give a key that value: a text as it is, unless it would be read as something else."""
    if key in TEXTS and isinstance(value, str) and text_of(as_text(value)) == value:
        return f"{key}={value}"
    return words_of({key: value})[0]


def text_of(word: str) -> Any:
    """What Hydra reads a word as, without quotes."""
    read = parse([f"key={word}"])[0].value()
    return read.text if isinstance(read, QuotedString) else read
