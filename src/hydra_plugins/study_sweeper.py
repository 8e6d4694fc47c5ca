"""Hydra's `-m`: every sweep is an Optuna study. Hydra imports this file at every command, so it imports little."""

import dataclasses
from pathlib import Path
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write


class StudySweeper(Sweeper):
    """Takes trials from a study and launches each as a job of Hydra, until the declared total is reached."""

    def __init__(self, **settings: Any) -> None:
        self.settings: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)

    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        from hydra.core.plugins import Plugins

        from lstm_lab.composing import LoaderOfTrials

        self.loader, self.config = LoaderOfTrials(hydra_context.config_loader), config
        hydra_context = dataclasses.replace(hydra_context, config_loader=self.loader)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs the study; `arguments` are the command line's overrides."""
        from lstm_lab import config
        from lstm_lab.studies import declaration, overrides, sweep

        if self.config.resume is not None:
            raise config.ConfigError(f"resume: {declaration.ONE_RUN}")
        count = self.config.seeds
        settings, hydra_words = config.check_sweeper(self.settings), list(self.config.hydra.overrides.hydra)
        declared = declaration.declare(settings, self.compose, arguments, hydra_words, count)
        if not any(word.startswith("hydra.sweep.dir=") for word in hydra_words):
            with read_write(self.config):
                self.config.hydra.sweep.dir = str(declaration.folder_of(declared.name))
        # What a job must know of its study, wherever the launcher starts it.
        self.of_study = [
            f"hydra.sweeper.study_name={overrides.quoted(declared.name)}",
            f"hydra.sweep.dir={overrides.quoted(str(self.config.hydra.sweep.dir))}",
        ]
        unsaid = ("hydra.mode=", "hydra.sweeper.storage")  # Hydra's own; and where the database is
        typed = [word for word in [*arguments, *hydra_words] if not word.startswith(unsaid)]
        self.about = declaration.about(declared.name, typed, settings.storage.url)
        try:
            self.tell_folder()
        except OSError as error:
            folder = self.config.hydra.sweep.dir
            raise config.ConfigError(
                f"hydra.sweep.dir={folder}: {error.strerror}; it must name a folder that can be written, and has room"
            ) from None
        fixed = [word for word in arguments if not overrides.is_sweep(word)]

        def command(params: dict[str, Any]) -> str:
            composed = self.compose([*fixed, *overrides.words_of(params)])
            return overrides.training_command(composed, self.compose, [f"seeds={count}"] if count else [])

        sweep.run_sweep(settings.model_dump(), declared, fixed, self.launch, command)

    def compose(self, overrides: list[str]) -> dict[str, Any]:
        """The run config that these overrides of the task alone give."""
        from lstm_lab.config import COMMAND

        composed = self.loader.load_sweep_config(self.config, overrides)
        kept = [str(key) for key in composed if key not in ("hydra", *COMMAND)]
        plain: Any = OmegaConf.to_container(OmegaConf.masked_copy(composed, kept), resolve=True)
        return plain

    def tell_folder(self) -> None:
        """Leaves in the folder of the trials which study it is of: its own name may be a short one."""
        about = Path(self.config.hydra.sweep.dir) / "study.txt"
        about.parent.mkdir(parents=True, exist_ok=True)
        about.write_text(self.about)

    def launch(self, overrides: list[str], number: int) -> Any:
        """Runs one trial as the job of its number; raises what the job raised."""
        assert self.launcher is not None
        self.tell_folder()
        [job] = self.launcher.launch([[*overrides, *self.of_study]], initial_job_idx=number)
        return job.return_value
