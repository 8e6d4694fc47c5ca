"""Composes a config, checks it, trains it: `python src/train.py --help`."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
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

    from lstm_lab import config
    from lstm_lab.config import CannotRunError
    from lstm_lab.paths import ROOT, locate
    from lstm_lab.runs import resume, run

EXIT_CODES = {"FINISHED": 0, "FAILED": 1, "KILLED": 130}


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="train")
def launch(composed: DictConfig) -> Any:
    """Runs what Hydra composed; of a sweep's job returns what `run_job` does."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        from lstm_lab.studies import trial

        if "study_name" not in hydra_config.sweeper:
            fail("hydra/sweeper: every sweep is an Optuna study here, so it must be 'study': leave it out")
        return trial.run_job(composed, hydra_config)
    with clear_faults():  # here already: Hydra prints a line of its own about whatever leaves this function
        values: Any = OmegaConf.to_container(composed, resolve=True)
        run_id, take_over = values.pop("resume"), values.pop("take_over")
        verbose = bool(hydra_config.verbose)
        if run_id is not None:
            checked = resumed_config(
                str(run_id), take_over is True, composed, list(hydra_config.overrides.task), verbose
            )
        else:
            checked = config.check(locate(values))
        result = run.run(checked, Console(), verbose, resumed=run_id)
    if result.status != "FINISHED":
        sys.exit(EXIT_CODES[result.status])
    return None


def resumed_config(
    run_id: str, take_over: bool, composed: DictConfig, overrides: list[str], verbose: bool
) -> config.Config:
    """The config of a run to be resumed, with what the command line changes in it."""
    keys = {re.split("[@=]", word)[0].lstrip("+~") for word in overrides} - {"resume", "take_over"}
    changes = {key: OmegaConf.select(composed, key) for key in sorted(keys)}
    return resume.prepare(run_id, changes, take_over, verbose)


@contextlib.contextmanager
def clear_faults() -> Iterator[None]:
    """Ends in one clear message and exit code 2 whatever is wrong with the command line or the store."""
    try:
        yield
    except MissingConfigException as error:
        fail(config.explain_composition(str(error), error.options))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        fail(config.explain_composition(str(error)))
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        fail(f"{error}: a group takes the name of one of its files, as in model=gru")
    except CannotRunError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_CODES["KILLED"])


def fail(message: str) -> None:
    """Prints the message and exits with 2."""
    commandline.complain(message)
    sys.exit(2)


def add_studies() -> None:
    """Makes the files of sweeps/ choices of the config group `sweeps`, wherever the command is typed."""
    for file in sorted((ROOT / "sweeps").glob("*.yaml")):
        ConfigStore.instance().store(group="sweeps", name=file.stem, node=OmegaConf.load(file), package="_global_")


def prepare() -> None:
    """Makes ready what Hydra needs before `launch`, in this process and in the jobs that it starts."""
    commandline.set_up()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would otherwise print and exit with
    OmegaConf.register_new_resolver("choices", lambda: config.describe_choices(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    )  # of launched jobs
    add_studies()


def main() -> None:
    """The command line: `python src/train.py [GROUP=CHOICE ...] [KEY=VALUE ...]`."""
    prepare()
    if {"-m", "--multirun"} & set(sys.argv):  # Hydra wants a value: the bare word means the default study
        sys.argv = ["sweeps=default" if word == "sweeps" else word for word in sys.argv]
    with clear_faults():
        for word in sys.argv[1:]:
            if re.search(r"(^|[.+{,\s'\"])_target_['\"]?\s*[=:]", word):
                raise config.ConfigError(f"{word}: no _target_ is taken; code maps names to classes")
        launch()


if __name__ == "__main__":
    main()
