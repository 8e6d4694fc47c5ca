"""Overrides in Hydra's words: read, written, and the command that they make."""

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString

from lstm_lab import config


def parse(words: Sequence[str]) -> list[Override]:
    """The overrides in Hydra's own terms."""
    return list(OverridesParser.create().parse_overrides(list(words)))


def is_sweep(word: str) -> bool:
    """Whether an override names several values."""
    return parse([word])[0].is_sweep_override()


def quoted(value: Any) -> str:
    """A value as Hydra's grammar reads it back."""
    if isinstance(value, str) and not value.isidentifier():
        return QuotedString(value, Quote.single).with_quotes()
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def training_command(composed: dict[str, Any], compose: Callable[[list[str]], dict[str, Any]]) -> str:
    """The command that trains exactly as `composed` says, in as few overrides as that takes.

    `compose(overrides)` composes a run config. The choices of groups come first, then every value that still differs.
    """
    default, words = compose([]), []
    for group in ("model", "data", "optimizer"):
        kind = config.Config.model_fields[group].discriminator
        if composed[group][kind] != default[group][kind]:
            words.append(f"{group}={composed[group][kind]}")
    left = dict(config.flatten(compose(words)))
    for key, value in config.flatten(composed):
        if key.split(".")[0] not in config.WATCHING and left.get(key) != value:
            words.append(f"{key}={quoted(value)}")
    return f"python src/train.py {shlex.join(words)}"
