"""How Hydra composes configs, and from what, for --help; what it, or YAML, has to complain about, in plain words."""

import copy
import os
import re
from collections.abc import Iterable
from pathlib import Path

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from lstm_lab.config import Config, describe_unknown_key, suggest


class LoaderOfTrials(ConfigLoaderImpl):
    """Hydra's loader, which composes each choice of groups once; the values of a trial are applied to a copy of that.

    Hydra reads every file of conf/ again for every job, a tenth of a second; a study has many jobs, and many points
    whose configs are checked.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self.chosen: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """What Hydra's own gives: the config of the job that has these overrides."""
        overrides = OverridesParser.create().parse_overrides(sweep_overrides)
        values = [override for override in overrides if "." in override.key_or_group]
        choices = tuple(str(override.input_line) for override in overrides if override not in values)
        if choices not in self.chosen:
            self.chosen[choices] = super().load_sweep_config(master_config, list(choices))
        composed = copy.deepcopy(self.chosen[choices])
        self._apply_overrides_to_config(values, composed)
        told, job = composed.hydra.overrides, composed.hydra.job
        told.task = [override.input_line for override in overrides if not override.is_hydra_override()]
        told.hydra += [override.input_line for override in values if override.is_hydra_override()]
        job.override_dirname = get_overrides_dirname(
            [override for override in overrides if not override.is_hydra_override()],
            **{key: job.config.override_dirname[key] for key in ("kv_sep", "item_sep", "exclude_keys")},
        )
        return composed


UNREADABLE = re.compile("no viable alternative|mismatched input|extraneous input|token recognition")  # ANTLR's words


def explain_composition(message: str, options: Iterable[str] | None = None) -> str:
    """Rewrites what Hydra says of a faulty command line, with the nearest right name.

    `options` are the files of the group when Hydra knows that one of them was meant.
    """
    if missing := re.search(r"Could not (?:find|load) '(hydra/(?:sweeper/)?[^/']+|[^/']+)/([^']*)'", message):
        group, choice = missing.groups()
        return f"{group}={choice}: there is no such choice{suggest(choice, options) if options else ''}"
    if primary := re.search("Cannot find primary config '(.+?)'", message):
        return f"--config-name {primary[1]}: there is no {primary[1]}.yaml in conf/ or the folder of --config-path"
    if unknown := re.search(r"Could not (?:override|delete from config\.) '(.+?)'", message):
        return describe_unknown_key(unknown.group(1).split("@")[0])
    if refused := re.search(r"Error merging override (.*)\n(.+)", message):
        word, why = refused.groups()
        return f"{word}: {why}"
    if keyed := re.search(r"full_key: (\S+)", message):
        first = message.strip().splitlines()[0]
        why = re.sub(r'^\w+ raised while resolving interpolation: "?(.*?)"?$', r"\1", first)
        if UNREADABLE.search(why):
            why = r"is no interpolation, such as ${training.steps}; \${ is text"
        return f"{keyed.group(1)}: {why}"
    first, *rest = re.sub(r"\s*See https\S+.*", "", message, flags=re.S).strip().splitlines()
    first += f" {rest[0].strip()}" if first.endswith(":") and rest else ""
    return f"cannot compose the config: {first}"


def explain_file(error: Exception, place: Path) -> str:
    """What is said of a YAML file that cannot be read: the one at `place`, or below it, unless the error names it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: is no YAML ({error.problem})"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.name}: is no YAML ({error.reason})"
    if isinstance(error, UnicodeDecodeError):
        places = sorted(place.rglob("*.yaml")) if place.is_dir() else [place]
        files = [file for file in places if error.object in file.read_bytes()]
        return f"{files[0] if files else 'a file of the config'}: is not UTF-8; save the file in that encoding"
    return f"{place}: cannot be read ({getattr(error, 'strerror', None) or str(error).splitlines()[0]})"


def describe_choices(root: Path) -> str:
    """Every file of the config groups with the sentence its comment opens with, for --help."""
    lines = []
    folders = [root / "conf" / group for group in (*Config.model_fields, "experiment")] + [root / "sweeps"]
    for folder in folders:
        lines.append(f"{'-m ' if folder.name == 'sweeps' else ''}{folder.name}=")
        for file in sorted(folder.rglob("*.yaml"), key=lambda file: (file.parent != folder, file)):
            lines.append(f"  {file.relative_to(folder).with_suffix('').as_posix():<27} {opening_sentence(file)}")
    return "\n".join(lines)


def opening_sentence(file: Path) -> str:
    """The sentence that a YAML file's comment opens with, even if the file is broken."""
    text = file.read_text(errors="replace") if file.is_file() and os.access(file, os.R_OK) else ""
    comment = [line[2:] for line in text.splitlines() if re.match(r"# (?!@package|python )", line)]
    return re.split(r"(?<=[.?;:])\s", " ".join(comment).removeprefix("Question: "))[0].rstrip(".;:")
