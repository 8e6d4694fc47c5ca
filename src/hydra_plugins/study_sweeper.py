"""Hydra's `-m`: every sweep is an Optuna study. Hydra imports this file at every command, so it imports little."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write


class StudySweeper(Sweeper):
    """Takes trials from a study and launches each as a job of Hydra, until the declared total is reached."""

    def __init__(self, **settings: Any) -> None:
        self.settings: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)

    hydra_context: HydraContext
    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs the study; `arguments` are the command line's overrides."""
        from lstm_lab.config import ConfigError
        from lstm_lab.paths import locate
        from lstm_lab.studies import declaration, overrides, sweep

        if self.config.resume is not None:
            raise ConfigError("resume: a run is resumed by itself, without -m; a sweep goes on when it is typed again")
        fixed = [word for word in arguments if not overrides.is_sweep(word)]
        base = locate(self.compose(fixed))
        declared = declaration.declare(self.settings, base, arguments, list(self.config.hydra.overrides.hydra))
        folder = str(declaration.folder_of(declared))
        with read_write(self.config):
            self.config.hydra.sweep.dir = folder
        # What a job must know of its study, wherever the launcher starts it.
        self.of_study = [
            f"hydra.sweeper.study_name={overrides.quoted(declared.name)}",
            f"hydra.sweep.dir={overrides.quoted(folder)}",
        ]

        def command(params: dict[str, Any]) -> str:
            words = [f"{key}={overrides.quoted(value)}" for key, value in params.items()]
            return overrides.training_command(self.compose([*fixed, *words]), self.compose)

        sweep.run_sweep(self.settings, declared, base["tracking"]["experiment"], fixed, self.launch, command)

    def compose(self, overrides: list[str]) -> dict[str, Any]:
        """The run config that these overrides of the task alone give."""
        composed: Any = OmegaConf.to_container(
            self.hydra_context.config_loader.load_sweep_config(self.config, overrides), resolve=False
        )
        return {group: values for group, values in composed.items() if group not in ("hydra", "resume", "take_over")}

    def launch(self, overrides: list[str], number: int) -> Any:
        """Runs one trial as the job of its number; raises what the job raised."""
        assert self.launcher is not None
        [job] = self.launcher.launch([[*overrides, *self.of_study]], initial_job_idx=number)
        return job.return_value
