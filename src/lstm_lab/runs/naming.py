"""What a run is called, so that its first letters tell it from others: what was typed for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_lab import texts
from lstm_lab.config import WATCHED, WATCHING
from lstm_lab.hiding import hide_in_word
from lstm_lab.values import plain_text

LONGEST, LONGEST_VALUE = 100, 40  # characters of a name, and of a value in it
SHORT = {"learning_rate": "lr"}  # as everybody calls it
NOTHING_TYPED = "default"
UNNAMED = (*WATCHING, "hydra", "again", "take_over")
CHOICES = ("experiment", "data", "model", "optimizer")  # a choice tells by itself what it is one of


def short_key(key: str) -> str:
    """The last part of a key, as short as the field has it: 'lr' of 'optimizer.learning_rate'."""
    leaf = key.rpartition(".")[2]
    return SHORT.get(leaf, leaf)


def short(params: Mapping[str, Any]) -> str:
    """Parameters in a few letters: 'cell_size=20 lr=0.003'."""
    return " ".join(
        f"{short_key(key)}={value:.4g}" if isinstance(value, float) else f"{short_key(key)}={value}"
        for key, value in params.items()
    )


def name_of(words: Sequence[str]) -> str:
    """A name for what these words of a command line train, such as 'gru time_steps=40' or 'ducks horizon=7 seed=1'.

    Presets and choices come first, as their names alone. What only watches a run is left out.
    """
    typed = [hide_in_word(word).lstrip("+~").partition("=")[::2] for word in words]
    typed = [(key, texts.shown(value)) for key, value in typed]
    keys = {key for key, _ in typed}
    choices, values = [], []
    for key, value in typed:
        if key == "data.path":
            choices.append(Path(value).stem)
        elif key in CHOICES and not (key == "data" and "data.path" in keys):
            choices.append(value)
        elif key not in (*CHOICES, *WATCHED) and key.partition(".")[0].partition("/")[0] not in UNNAMED:
            values.append(f"{short_key(key)}={cut(value, LONGEST_VALUE)}")
    return cut(plain_text(" ".join([*choices, *values])) or NOTHING_TYPED, LONGEST)


def cut(text: str, most: int) -> str:
    """The text, without its end if it is longer."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
