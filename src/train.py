"""Composes a config, checks it, trains it: `python src/train.py --help`."""

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lstm_lab import commandline

with commandline.importing():
    import hydra
    import yaml
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException, MissingConfigException
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from rich.console import Console

    from lstm_lab import composing, config, hiding, words
    from lstm_lab.config import CannotRunError, ConfigError
    from lstm_lab.paths import ROOT, locate
    from lstm_lab.runs import group, naming, notifying, resume, run, seeds, setup

EXIT_CODES = {"FINISHED": 0, "FAILED": 1, "KILLED": 130}


def launch(arguments: Sequence[str]) -> None:
    """Has Hydra compose what was typed, and runs it; whatever runs finds in sys.argv what was typed."""
    typed = [sys.argv[0], *arguments]

    @hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="train")
    def job(composed: DictConfig) -> Any:
        sys.argv = typed
        hydra_config = HydraConfig.get()
        # A relative path is one from where the command was typed, whatever hydra.job.chdir says.
        with contextlib.chdir(hydra_config.runtime.cwd):
            if hydra_config.mode == RunMode.MULTIRUN:
                return run_trial(composed, hydra_config)
            with clear_faults():  # here already: Hydra prints a line of its own about whatever leaves a job
                return run_composed(composed, hydra_config)

    with clear_faults():
        sys.argv = [sys.argv[0], *words.for_hydra(arguments)]
        shown = words.read_flags(sys.argv[1:]).cfg  # a config is printed by Hydra
        with hiding.hide_in_output() if shown else contextlib.nullcontext():
            job()


def run_trial(composed: DictConfig, hydra_config: Any) -> Any:
    """Runs what Hydra composed as the trial of a sweep; returns what could not be told to the study."""
    from lstm_lab.studies import trial

    if "study_name" not in hydra_config.sweeper:
        fail("hydra/sweeper: every sweep is an Optuna study here, so it must be 'study': leave it out")
    return trial.run_job(composed, hydra_config)


def run_composed(composed: DictConfig, hydra_config: Any) -> None:
    """Runs what Hydra composed: a run, or one that is resumed."""
    notifying.command()  # refused before anything begins
    values: Any = OmegaConf.to_container(composed, resolve=True)
    command = {key: values.pop(key, None) for key in config.COMMAND}
    verbose, resumed = bool(hydra_config.verbose), None
    check_command(command)
    if command["resume"] is not None:
        resumed, checked = resumed_config(
            command["resume"], command["take_over"] is True, composed, list(hydra_config.overrides.task), verbose
        )
    else:
        checked = setup.checked(locate(named_by(values, words.read_flags(sys.argv[1:]).overrides)))
    if command["seeds"] is not None:
        wanted = seeds.wanted(checked.training.seed, command["seeds"])
        asked = group.Asked(checked, wanted, command["again"] is True, command["take_over"] is True)
        outcome = group.train(asked, Console(), verbose)
        sys.exit(EXIT_CODES[outcome.status] or min(1, outcome.failed))
    result = run.run(checked, Console(), verbose, resumed=resumed)
    if result.status != "FINISHED":
        sys.exit(EXIT_CODES[result.status])


def check_command(command: dict[str, Any]) -> None:
    """ConfigError for words of a command that say nothing together."""
    if command["seeds"] is not None and command["resume"] is not None:
        raise ConfigError(
            f"seeds={command['seeds']}: a run is resumed with its own seed; leave out seeds= or resume=. A group of "
            "seeds goes on when its command is typed again"
        )
    if command["again"] is True and command["seeds"] is None:
        raise ConfigError("again=true: goes with seeds=, which otherwise counts what was trained before")


def named_by(values: dict[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """The values of a config, which names the run after what was typed, unless it has a name for it."""
    wanted = values.get("tracking")
    if not isinstance(wanted, dict) or wanted.get("run_name") is not None:
        return values
    return values | {"tracking": wanted | {"run_name": naming.name_of(typed)}}


def resumed_config(
    named: str, take_over: bool, composed: DictConfig, overrides: list[str], verbose: bool
) -> tuple[str, config.Config]:
    """The id of a run to be resumed, and its config with what the command line changes in it."""
    keys = {re.split("[@=]", word)[0].lstrip("+~") for word in overrides} - set(config.COMMAND)
    changes = {key: OmegaConf.select(composed, key) for key in sorted(keys)}
    return resume.prepare(named, changes, take_over, verbose)


@contextlib.contextmanager
def clear_faults() -> Iterator[None]:
    """Ends in one clear message and exit code 2 whatever is wrong with the command line or the store."""
    try:
        yield
    except MissingConfigException as error:
        fail(explain_missing(error))
    except (HydraException, OmegaConfBaseException) as error:
        fail(composing.explain_composition(f"{error}\n{error.__cause__ or ''}"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        fail(composing.explain_file(error, ROOT / "conf"))
    except (ValueError, OSError, RuntimeError, TypeError) as error:
        if not (message := explain_hydras(error)):
            raise
        fail(message)
    except CannotRunError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_CODES["KILLED"])


def explain_hydras(error: Exception) -> str | None:
    """What is said where Hydra has no error of its own; None if it was not Hydra that raised it."""
    called = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    if "load_configuration" in called:
        return composing.explain_composition(
            "a file leads back to itself" if isinstance(error, RecursionError) else str(error)
        )
    if {"run_job", "mkdir"} <= set(called) and "job" not in called:
        return f"hydra.run.dir: {error}"
    for part in ("sweeper", "launcher"):
        if f"instantiate_{part}" in called and called[-1] in ("_get_cls_name", f"instantiate_{part}"):
            return f"hydra.{part}: cannot be replaced as a whole; its settings are set one by one"
    return None


def explain_missing(error: MissingConfigException) -> str:
    """What is said of a choice that Hydra does not find: a file of sweeps/ may be there and not be readable."""
    file = ROOT / f"{error.missing_cfg_file}.yaml"
    try:
        if file.is_relative_to(ROOT / "sweeps") and file.exists():
            read_study(file)
    except ConfigError as unreadable:
        return str(unreadable)
    return composing.explain_composition(str(error), error.options)


def fail(message: str) -> None:
    """Prints the message and exits with 2."""
    commandline.complain(message)
    sys.exit(2)


def add_studies() -> None:
    """Makes the files of sweeps/ choices of the config group `sweeps`, wherever the command is typed.

    One that cannot be read is none; it is told of when it is chosen. Hydra copies the store each time that it composes
    a config, and for every group that --help lists; what is loaded from it is a copy in any case.
    """
    ConfigStore.__deepcopy__ = lambda store, _: store  # type: ignore[attr-defined]
    for file in sorted((ROOT / "sweeps").rglob("*.yaml")):
        with contextlib.suppress(ConfigError):
            group = file.parent.relative_to(ROOT).as_posix()
            ConfigStore.instance().store(group=group, name=file.stem, node=read_study(file), package="_global_")


def read_study(file: Path) -> DictConfig:
    """A file of sweeps/; ConfigError says what is wrong with it."""
    try:
        study = OmegaConf.load(file)
    except (OSError, ValueError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(composing.explain_file(error, file)) from None
    if not isinstance(study, DictConfig):
        raise ConfigError(f"{file}: must hold keys and values")
    if not isinstance(OmegaConf.select(study, "hydra.sweeper", default=study), DictConfig):
        raise ConfigError(f"{file}: hydra.sweeper must hold keys and values")
    return study


def prepare() -> None:
    """Makes ready what Hydra needs before `launch`, in this process and in the jobs that it starts."""
    commandline.set_up()
    hiding.hide_in_logs()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print and exit with
    OmegaConf.register_new_resolver("choices", lambda: composing.describe_choices(ROOT).replace("$", "$$"))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    )  # of launched jobs
    add_studies()


def main() -> None:
    """The command line: `python src/train.py [GROUP=CHOICE ...] [KEY=VALUE ...]`."""
    prepare()
    try:
        launch(sys.argv[1:])
    finally:
        commandline.printed()  # whatever became of the run, it is not undone by what could not be printed


if __name__ == "__main__":
    main()
