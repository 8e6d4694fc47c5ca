"""What a user types for Hydra, in words that Hydra reads as they are meant.

A key that takes text takes it as typed, whatever its characters mean to Hydra. A value that Hydra cannot read is text
too: the check of the config then names it, and what its key takes.
"""

import argparse
import collections
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse as parse_interpolations

from lstm_lab import config, texts
from lstm_lab.commandline import check_letters, typed
from lstm_lab.config import ConfigError
from lstm_lab.paths import ROOT

HYDRAS_TEXTS = {"hydra.sweeper.study_name", "hydra.sweeper.storage.url", "hydra.sweep.dir", "hydra.run.dir"}
OWN_BOOLEANS = {"take_over", "again"}
TEXTS = {"resume", *config.keys_taking(str), *HYDRAS_TEXTS}
LISTS = TEXTS & config.keys_taking(list)  # keys that take one text or several
GROUPS = (*config.Config.model_fields, "experiment")
FLAGS = ("--help", "-m", "--cfg job", "--resolve", "--package KEY", "--info", "--config-dir FOLDER", "--hydra-help")
UNESCAPED = r"(?<!\\)((?:\\\\)*)\$\{"
INTERPOLATION = re.compile(rf"\s*(?:\.|[\w.]+:|(?:{'|'.join((*config.Config.model_fields, 'hydra', 'resume'))})\b)")
TARGET = re.compile(r"(^|[.+{,\s'\"])_target_['\"]?\s*[=:]")


def for_hydra(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra reads them, flags first; ConfigError names one that cannot be meant."""
    check_letters(arguments)
    read = read_flags(arguments)
    if read.shell_completion:
        check_completion(read.overrides)
        return list(arguments)
    overrides, flags = list(read.overrides), []
    for argument in arguments:
        if overrides and argument == overrides[0]:
            overrides.pop(0)
        else:
            flags.append(argument)
    check_flags(read)
    check_once(read.overrides)
    words = [for_hydra_one(word, read) for word in read.overrides]
    if "resume" in map(key_of, words):  # the data may be any group's, and only a file's have a path
        words = [f"++{word}" if word.startswith("data.path=") else word for word in words]
    return [*flags, *words]


def read_flags(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags with their values, and the other words as `overrides`, in whatever order they come."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        message = re.sub("^argument ", "", message)
        raise ConfigError(
            re.sub("ignored explicit argument (.*)", r"takes no value, and has \1 right behind it", message)
        )

    parser.error = refuse  # type: ignore[method-assign]  # it would print a page and exit
    read, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        near = as_override(unknown[0], arguments) or f"; allowed: {', '.join(FLAGS)}"
        raise ConfigError(f"{unknown[0]}: there is no such flag{near}")
    return read


def as_override(flag: str, arguments: Sequence[str]) -> str:
    """The end of a message: what to type in place of a flag that is a setting's or a group's name; '' if it is none."""
    name, _, value = flag.lstrip("-").partition("=")
    if name in config.EPOCHS:
        return f"; {config.describe_unknown_key(name).removeprefix(f'{name}: ')}"
    key = name if is_known(name) else config.meant(name)
    if key is None:
        return ""
    return f"; did you mean '{assigned(key, value or behind(flag, arguments))}'?"


def assigned(key: str, value: str) -> str:
    """What to type to give the key that value; with what it takes if there is none."""
    if key == "-m sweeps":
        return f"{key}={value}" if value else key
    if key == "data" and value.endswith(".csv"):
        return f"data=csv data.path={value}"
    return f"{key}={value or ('true' if key in config.keys_taking(bool) else '...')}"


def behind(word: str, arguments: Sequence[str]) -> str:
    """The value that was typed behind a word, with or without a lone = between; '' if none was."""
    after = [*arguments[list(arguments).index(word) + 1 :], ""]
    value = after[1] if after[0] == "=" else after[0]
    return "" if value.startswith("-") or "=" in value else value


def check_completion(words: Sequence[str]) -> None:
    """Raises ConfigError unless the shell is told what it is to have, or asks on its own."""
    shells = re.fullmatch("((un)?install|query)=(bash|fish|zsh)", words[0] if len(words) == 1 else "")
    if not shells or (shells[1] == "query" and "COMP_LINE" not in os.environ):
        raise ConfigError(
            f"{' '.join(['-sc', *words])}: goes with (un)install= and bash, fish or zsh: -sc install=bash"
        )


def check_flags(read: argparse.Namespace) -> None:
    """Raises ConfigError for flags that say nothing together."""
    modes = {"--run": read.run, "--multirun": read.multirun, "--cfg": read.cfg, "--info": read.info}
    given = [flag for flag, value in modes.items() if value]
    if read.experimental_rerun:
        raise ConfigError("--experimental-rerun: is not taken, since it unpickles; `resume=` and src/reproduce.py are")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: only one of them can be meant; leave the other out")
    if read.resolve and not (read.cfg or read.help):
        raise ConfigError("--resolve: goes with what is to be shown, as in --cfg job --resolve")
    if read.package and not read.cfg:
        raise ConfigError(f"--package {read.package}: goes with --cfg, as in --cfg job --package {read.package}")
    for flag, folder in {"--config-dir": read.config_dir, "--config-path": read.config_path}.items():
        if folder is not None and not os.path.isdir(folder):
            raise ConfigError(f"{flag} {folder}: there is no such folder")
    if read.cfg == "job" and read.package and read.package not in {*config.Config.model_fields, *known_keys()}:
        raise ConfigError(f"--package {config.describe_unknown_key(read.package)}")


def check_once(overrides: Sequence[str]) -> None:
    """Raises ConfigError for a key that is given twice."""
    keys = collections.Counter(key_of(word) for word in overrides)
    for word in reversed(overrides):
        if keys[key_of(word)] > 1:
            raise ConfigError(f"{word}: {key_of(word)} is given twice")


def key_of(word: str) -> str:
    """The key of an override, without what Hydra wants before it."""
    return word.partition("=")[0].lstrip("+~")


def for_hydra_one(word: str, read: argparse.Namespace) -> str:
    """One override, of those that were read, as Hydra reads it; ConfigError names it if it is none."""
    multirun = read.multirun
    start, equals, value = word.partition("=")
    key = key_of(word)
    if not equals and not start.startswith("~"):
        return lone(word, read)
    if not is_known(key) and start == key:
        check_near(word, key, read)
    check_key(word, start, key)
    if equals and not value and (following := behind(word, read.overrides)):
        raise ConfigError(f"{word}: did you mean '{word}{following}'?")
    if start.startswith("~"):
        return start
    if key in OWN_BOOLEANS and value.lower() not in ("true", "false"):
        raise ConfigError(f"{word}: must be true or false")
    if key in TEXTS:
        check_lists(word, key, value, read)
        return f"{start}={as_choices(key, value) if multirun and key not in HYDRAS_TEXTS else as_typed(key, value)}"
    if key in ("hydra.sweeper", "hydra.launcher") and not value.startswith("{"):
        raise ConfigError(f"{word}: takes a setting at a time, as in {key}.KEY=VALUE")
    if TARGET.search(word):
        raise ConfigError(f"{word}: no _target_ is taken; code maps names to classes")
    override = parse(word)
    if override is None or (is_group(key) and isinstance(override.value(), int | float)):
        return f"{start}={as_text(value)}"  # a group's file may be called 2024
    if is_group(key):
        check_choice(word, key, override.value())
    if key == "sweeps" and not (multirun or read.cfg or read.info or read.help):
        raise ConfigError(f"{word}: a study needs -m, as in `{with_m(read)}`")
    if key == "hydra/sweeper" and value != "study":
        raise ConfigError(f"{word}: every sweep is an Optuna study here, so it must be study: leave it out")
    if override.is_sweep_override() and not multirun:
        in_brackets = f"a list stands in brackets, as in {key}=[{value}]; " if key in config.keys_taking(list) else ""
        raise ConfigError(f"{word}: {in_brackets}several values need -m, as in `{with_m(read)}`")
    return word


def with_m(read: argparse.Namespace) -> str:
    """The same command with -m."""
    return typed("train", "-m", *read.overrides)


def known_keys() -> set[str]:
    """Every key that is no group's."""
    return {*config.all_keys(), *config.COMMAND}


def is_known(key: str) -> bool:
    """Whether it may be Hydra's to read: a setting, a group, or something of Hydra's own."""
    return key in known_keys() or is_group(key) or key.startswith("hydra.")


def is_group(key: str) -> bool:
    """Whether it takes the name of a file: a group of the config, or one of Hydra's."""
    return key in (*GROUPS, "sweeps", "hydra") or key.startswith("hydra/")


def check_choice(word: str, group: str, value: Any) -> None:
    """Raises ConfigError for what can be no file's name; several presets can be taken at once."""
    if group == "data" and str(value).endswith(".csv"):
        raise ConfigError(f"{word}: did you mean '{assigned(group, str(value))}'?")
    if value is None or (isinstance(value, list) and group not in ("experiment", "sweeps")):
        files = choices(ROOT / ("" if group == "sweeps" else "conf") / group)
        raise ConfigError(
            f"{word}: takes one of {', '.join(files) or 'its choices, by name'}; leave it out for the default"
        )


def check_key(word: str, start: str, key: str) -> None:
    """Raises ConfigError if what stands before the = is no key, or has a + although it is there already."""
    if not key or key.startswith("@"):
        raise ConfigError(f"{word}: the key is missing, as in training.seed=1")
    if "@" in key:
        raise ConfigError(f"{word}: a group has one place in the config; leave out the @{key.partition('@')[2]}")
    if start.startswith("~") and key in config.COMMAND:
        raise ConfigError(f"{word}: {key} cannot be taken out; leave the word out")
    if parse(f"{start}=0") is None:
        raise ConfigError(config.describe_unknown_key(key))
    plus = start[: len(start) - len(key)]
    if (plus == "+" and key in known_keys()) or ("+" in plus and is_group(key)):
        raise ConfigError(f"{word}: {key} is there already; leave out the {plus}")


def check_near(word: str, key: str, read: argparse.Namespace) -> None:
    """Raises ConfigError for the word if it is known which setting is meant by a key that is none."""
    if key.rpartition(".")[2] in config.EPOCHS:
        raise ConfigError(config.describe_unknown_key(key))
    bare = key.strip()  # spaces around the = are none of the key
    if full := bare if is_known(bare) else config.meant(bare):
        override = parse(word)
        several = override is not None and override.is_sweep_override() and not read.multirun
        right = assigned(full, word.partition("=")[2].strip())
        raise ConfigError(f"{key}: there is no such setting; did you mean '{'-m ' if several else ''}{right}'?")


def lone(word: str, read: argparse.Namespace) -> str:
    """The override that a word without '=' stands for: the default study. ConfigError for any other."""
    if word == "sweeps" and read.multirun:
        return "sweeps=default"
    groups = lone_groups(read.multirun)
    key, value = "-m sweeps" if word == "sweeps" else word, behind(word, read.overrides)
    if value and (key in groups or word in known_keys()):
        raise ConfigError(f"{word}: did you mean '{assigned(key, value)}'?")
    if key in groups:
        command = typed("train", *("-m sweeps" if word == "sweeps" else f"{word}={groups[key][-1]}").split())
        raise ConfigError(f"{word}: takes one of {', '.join(groups[key])}, as in `{command}`")
    if word in known_keys() or word.startswith("hydra."):
        raise ConfigError(f"{word}: a value is missing, as in {word}=...")
    for group, files in groups.items():
        if word.casefold() in files:
            raise ConfigError(f"{word}: did you mean '{group}={word.casefold()}'?")
    if word.endswith(".csv"):
        raise ConfigError(f"{word}: did you mean '{assigned('data', word)}'?")
    full = config.meant(word)
    near = f"; did you mean '{assigned(full, value)}'?" if full else config.suggest(word, [*groups, *known_keys()])
    raise ConfigError(f"{word}: is no KEY=VALUE and no GROUP=CHOICE{near}")


def lone_groups(multirun: bool) -> dict[str, list[str]]:
    """The choices of every group, first those that are meant when only a choice is named; studies after -m."""
    groups = {group: choices(ROOT / "conf" / group) for group in ("experiment", *config.Config.model_fields)}
    studies = {"-m sweeps": choices(ROOT / "sweeps")}
    if multirun:
        return studies | groups
    return {"experiment": groups.pop("experiment")} | studies | groups


def choices(folder: Path) -> list[str]:
    """The names of the files in a group's folder, those of folders in it as in papers/adding."""
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))


def check_lists(word: str, key: str, value: str, read: argparse.Namespace) -> None:
    """Raises ConfigError for lists with commas between them, which are choices, of a run that takes one."""
    pieces = texts.choices(value)
    if key in LISTS and not read.multirun and len(pieces) > 1 and any(map(texts.is_list, pieces)):
        raise ConfigError(f"{word}: several lists need -m, as in `{with_m(read)}`; quotes make one text of it")


def as_choices(key: str, text: str) -> str:
    """Values with commas between, each as Hydra reads it, also where choice(...) is around them: it forgets quotes."""
    inner = re.fullmatch(r"\s*choice\((.*)\)\s*", text, re.S)
    return ",".join(as_typed(key, choice) for choice in texts.choices(inner[1] if inner else text))


def as_typed(key: str, text: str) -> str:
    """What was typed for a key that takes text, as Hydra reads it: a text, a list if it takes lists, or null."""
    if text.lower() == "null":
        return text
    value = texts.read(text) if key in LISTS else texts.unquoted(text)
    return f"[{','.join(map(as_text, value))}]" if isinstance(value, list) else as_text(value)


def as_text(text: str) -> str:
    """A text as Hydra reads it: in quotes unless it needs none, with the interpolations that are meant."""
    text = without_strange_interpolations(text)
    override = parse(f"key=[{text}]")  # what is read as itself in a list is so outside of one
    return text if override is not None and override.value() == [text] else texts.quoted(text)


def without_strange_interpolations(text: str) -> str:
    r"""A text in which ${ is text, as \${ always is, unless keys or resolvers are named by what follows."""
    starts = re.finditer(UNESCAPED, text)
    try:
        parse_interpolations(text)
        if all(INTERPOLATION.match(text, start.end()) for start in starts):
            return text
    except GrammarParseError:
        pass
    return re.sub(UNESCAPED, r"\1\1\\${", text)


def parse(word: str) -> Override | None:
    """The override in Hydra's own terms; None if Hydra cannot read it."""
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # the second for numbers of thousands of digits
        return None
