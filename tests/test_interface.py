"""The command line, pinned: what a user can type stands in reference/interface.txt, and changes only with that file.

To change it on purpose: python tests/test_interface.py > tests/reference/interface.txt
"""

import difflib
import importlib
import json
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from helpers import ROOT

sys.path.insert(0, str(ROOT / "src"))  # for the command above; pytest has it already

from lstm_lab import commandline, config

REFERENCE = ROOT / "tests/reference/interface.txt"
ADVICE = """The command line is another than {reference} says:
{diff}
If that is meant, tell it in CHANGELOG.md and write the file anew:
  python tests/test_interface.py > {reference}"""
TYPES = {"integer": "int", "number": "float", "boolean": "bool", "string": "str", "null": "null"}  # of a JSON schema
LOW = {"minimum": "", "exclusiveMinimum": ">", "minLength": ""}
HIGH = {"maximum": "", "exclusiveMaximum": "<", "maxLength": ""}


def test_the_command_line_is_the_pinned_one():
    pinned, now = REFERENCE.read_text().splitlines(), list(interface())
    reference = str(REFERENCE.relative_to(ROOT))
    diff = "\n".join(difflib.unified_diff(pinned, now, reference, "now", n=0, lineterm=""))
    assert not diff, ADVICE.format(reference=reference, diff=diff)


def interface() -> Iterator[str]:
    """Everything that can be typed, one line an item."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        chosen = composed()
        yield "# python src/train.py: the choices of each group, the files of conf/ and sweeps/"
        groups = sorted({str(file.parent.relative_to(ROOT / "conf")) for file in ROOT.glob("conf/*/**/*.yaml")})
        defaults = chosen["hydra"]["runtime"]["choices"]
        for group in groups:
            for choice in choices(group):
                yield f"{group}={choice}" + "  default" * (defaults.get(group) == choice)
        yield from (f"-m sweeps={file.stem}" for file in sorted(ROOT.glob("sweeps/*.yaml")))
        yield "# python src/train.py: the settings of a run"
        for group in config.Config.model_fields:
            yield from run_settings(group)
        for key in sorted(set(chosen) - set(config.Config.model_fields) - {"hydra"}):
            yield f"{key:68} default {shown(chosen[key])}"
        yield "# python src/train.py -m: the settings of a study"
        for group in groups:
            if group.startswith("hydra/"):
                yield from study_settings(group, groups)
    yield "# the other doors"
    for name in sorted({file.stem for file in ROOT.glob("src/*.py")} - {"train"}):
        door = importlib.import_module(name).DOOR
        for word in (*door.words, *commandline.HELP):
            yield f"src/{name}.py {word}" + "  needed" * (word == door.needed)
    yield "# make: the targets and their variables"
    yield from make_targets()


def composed(*overrides: str) -> Any:
    """What Hydra composes, its own part of it unresolved."""
    whole = compose("train", list(overrides), return_hydra_config=True)
    values: Any = OmegaConf.to_container(whole, resolve=False)
    return values


def choices(group: str) -> list[str]:
    """The files of a config group."""
    return sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml"))


def by_choice(group: str) -> dict[str, dict[str, Any]]:
    """The values of a group, as each of its files gives them."""
    found = {}
    for choice in choices(group):
        values = composed(f"{group}={choice}")
        for part in group.split("/"):
            values = values[part]
        found[choice] = values
    return found


def default_of(key: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """The value that a key has by default; one for each choice of the group where they differ."""
    choices_of: dict[str, list[str]] = {}
    for choice, given in values.items():
        if key in given:
            choices_of.setdefault(shown(given[key]), []).append(choice)
    if list(choices_of.values()) == [list(values)]:
        return f"default {next(iter(choices_of))}"
    return "default " + ", ".join(f"{value} ({' '.join(of)})" for value, of in choices_of.items())


def shown(value: Any) -> str:
    """A value as one line of YAML has it."""
    return value if isinstance(value, str) else json.dumps(value)


def run_settings(group: str) -> Iterator[str]:
    """The settings of one group of the run's config: key, type, range, default."""
    field, values = config.Config.model_fields[group], by_choice(group)
    kinds = config.kinds_of(group).values() or [typing.cast(type[config.Group], field.annotation)]
    types: dict[str, list[str]] = {}
    for kind in kinds:
        whole = kind.model_json_schema()
        for key, schema in whole["properties"].items():
            types.setdefault(key, []).append(allowed(schema, whole.get("$defs", {})))
    for key, of in types.items():
        yield f"{group}.{key}".ljust(32) + f"{' | '.join(dict.fromkeys(of)):36} {default_of(key, values)}"


def allowed(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The type and range that a JSON schema describes."""
    if "anyOf" in schema:
        return " | ".join(allowed(one, definitions) for one in schema["anyOf"])
    if schema.get("type") == "object":
        settings = definitions[schema["additionalProperties"]["$ref"].rpartition("/")[2]]["properties"]
        return "by name: " + ", ".join(f"{key} {allowed(one, definitions)}" for key, one in settings.items())
    if "const" in schema or "enum" in schema:
        return " | ".join(schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"list of {schema.get('minItems', 0)} or more: {allowed(schema['items'], definitions)}"
    low, high = (
        "".join(f"{mark}{schema[key]:.10g}" for key, mark in marks.items() if key in schema) for marks in (LOW, HIGH)
    )
    return TYPES[schema["type"]] + (f" {low}..{high}" if low or high else "")


def study_settings(group: str, groups: list[str]) -> Iterator[str]:
    """The settings of one group of the sweeper: key and default."""
    values = {choice: flat(given) for choice, given in by_choice(group).items()}
    prefix = group.replace("/", ".")
    others = [other.removeprefix(f"{group}/") for other in groups]
    for key in dict.fromkeys(key for given in values.values() for key in given):
        if key.split(".")[0] not in (*others, "_target_"):
            yield f"{prefix}.{key}".ljust(44) + default_of(key, values)


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values; an empty group is a value."""
    empty = {key: value for key, value in values.items() if value == {}}
    return {**dict(config.flatten(dict(values))), **empty}


def make_targets() -> Iterator[str]:
    """The Makefile's targets, each with the variables that its recipe takes."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    own = dict(re.findall(r"^(\w+) :?= (.*)$", text, flags=re.M))
    for target, recipe in re.findall(r"^(\w[\w-]*):(?!.*\?=| export ).*\n((?:\t.*\n)*)", text, flags=re.M):
        for _ in range(2):
            recipe = re.sub(r"\$\((\w+)\)", lambda name: own.get(name[1], name[0]), recipe)
        names = dict.fromkeys(re.findall(r"\$\((?:value )?([A-Z_]+)\)", recipe))
        given = dict(re.findall(rf"^{target}: (\w+) \?= (.*)$", text, flags=re.M))
        yield " ".join([f"make {target}", *(f"{name}={given[name]}" if name in given else name for name in names)])


if __name__ == "__main__":
    print("\n".join(interface()))
