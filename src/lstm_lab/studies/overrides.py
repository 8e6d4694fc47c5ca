"""Overrides in Hydra's words: read, written, and the command that they make."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from lstm_lab import commandline, config, texts
from lstm_lab.paths import ROOT, locate
from lstm_lab.runs.resume import MAY_CHANGE
from lstm_lab.words import TEXTS, as_typed


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


def choice(key: str, value: Any) -> Any:
    """A choice as Optuna keeps it: a plain value, texts as one types them for the key, or else a list in words."""
    bare = without_quotes(value)
    if key in TEXTS and isinstance(bare, str | list):
        return texts.write(bare)
    return in_words(bare) if isinstance(bare, list | dict) else bare


def without_quotes(value: Any) -> Any:
    """A value that Hydra has read, or the values of a list, as plain ones."""
    if isinstance(value, list):
        return list(map(without_quotes, value))
    return value.text if isinstance(value, QuotedString) else value


def words_of(params: Mapping[str, Any]) -> list[str]:
    """The overrides that give these values, which `choice` made."""
    return [f"{key}={in_words_again(key, value)}" for key, value in params.items()]


def in_words_again(key: str, value: Any) -> str:
    """What `choice` made of a value, as Hydra's grammar reads it back."""
    if isinstance(value, str) and key in TEXTS:
        return as_typed(key, value)
    return value if isinstance(value, str) and value[:1] in ("[", "{") else in_words(value)


def training_command(
    composed: dict[str, Any], compose: Callable[[list[str]], dict[str, Any]], more: Sequence[str] = ()
) -> str:
    """The command that trains exactly as `composed` says, typed in this directory, in as few overrides as that takes.

    `compose(overrides)` composes a run config. The choices of groups come first, then every value that still differs
    and changes what is trained, and `more` words.
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
    return commandline.typed("train", *words, *(typed_word(key, value) for key, value in changing.items()), *more)


def typed_word(key: str, value: Any) -> str:
    """The word that one types to give a key that value: a text as it is, unless it would be read as something else."""
    if key in TEXTS and isinstance(value, str | list):
        return f"{key}={texts.write(value)}"
    return f"{key}={in_words(value)}"
