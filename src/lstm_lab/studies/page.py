"""What MLflow shows of a study: the parent run, the state of every trial's run, the figures, the best trial."""

import contextlib
import json
import secrets
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from lstm_lab.records import processes, store, tracking
from lstm_lab.studies import study

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

FIGURE_SECONDS = 60  # between two redraws of the parent's figures
MLFLOW_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "KILLED": "KILLED"}


class ParentPage:
    """The parent run in MLflow: what is searched, how it stands, the best trial, the figures."""

    def __init__(self, client: "MlflowClient", opened: optuna.Study, declared: study.Declared, experiment: str) -> None:
        self.client, self.opened, self.declared = client, opened, declared
        [(key, value)] = processes.signature().items()
        self.signature = (f"{key}.{secrets.token_hex(4)}", value)  # of one of many workers, perhaps
        self.experiment_id = store.find_or_create_experiment(client, experiment)
        self.run_id = self.find() or self.create()
        self.drawn = time.monotonic()

    def find(self) -> str | None:
        """The run that an earlier worker made, if MLflow still has it."""
        from mlflow.exceptions import MlflowException

        run_id = self.opened.user_attrs.get("parent_run")
        if run_id:
            with contextlib.suppress(MlflowException):
                return self.client.get_run(run_id).info.run_id
        return None

    def create(self) -> str:
        """Makes the parent run, with the search space as its parameters."""
        from mlflow.entities import Param

        tags = {**tracking.source_tags(), "study": self.declared.name, "sweep": "parent"}
        tags |= [self.signature]
        run_id = self.client.create_run(
            self.experiment_id, run_name=f"study {self.declared.name}", tags=tags
        ).info.run_id
        params = {f"search.{key}": describe_distribution(d) for key, d in self.declared.space.items()}
        params |= {"objective": self.declared.objective, "direction": self.declared.direction}
        params |= {"sampler": self.declared.sampler["name"], "pruner": self.declared.pruner["name"]}
        self.client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
        self.opened.set_user_attr("parent_run", run_id)
        return run_id

    def children(self) -> Iterator[Any]:
        """The trials' runs."""
        token = None
        while True:
            found = self.client.search_runs(
                [self.experiment_id], f"tags.`mlflow.parentRunId` = '{self.run_id}'", page_token=token
            )
            yield from found
            token = found.token
            if not token:
                return

    def is_finished(self) -> bool:
        """Whether a worker has left the page complete, with this very total."""
        run = self.client.get_run(self.run_id)
        done = f"{summary(study.counts(self.opened))} of {self.declared.total}"
        return run.info.status == "FINISHED" and run.data.tags.get("trials") == done

    def begin(self) -> None:
        """Shows the study as running, if anything is left to do, and sees to what killed workers left behind."""
        if not self.is_finished():
            self.client.update_run(self.run_id, status="RUNNING")
            self.client.set_tag(self.run_id, *self.signature)
            self.reconcile()

    def reconcile(self) -> None:
        """Gives every trial's run the status that the study knows: a killed worker leaves it RUNNING."""
        trials = self.opened.get_trials(deepcopy=False)
        for child in self.children():
            trial = trials[int(child.data.tags["trial"])]
            if trial.state.is_finished():
                self.settle(child, "KILLED" if study.was_killed(trial) else trial.state.name)

    def settle(self, child: Any, state: str) -> None:
        """Sets a trial's final state on its run, where it shows: status, tag and name."""
        if child.data.tags.get("trial.state") == state:
            return
        if child.info.status != MLFLOW_STATUS[state]:
            self.client.set_terminated(child.info.run_id, MLFLOW_STATUS[state])
        self.client.set_tag(child.info.run_id, "trial.state", state)
        if state != "COMPLETE":
            name = child.info.run_name.replace(":", f" {state}:", 1)
            self.client.set_tag(child.info.run_id, "mlflow.runName", name)

    def refresh(self, final: bool = False) -> None:
        """Counts by state and the best trial after every trial; figures once a minute and at the end."""
        from mlflow.entities import Metric, RunTag

        now, counts = int(time.time() * 1000), study.counts(self.opened)
        done = study.ended(counts)
        metrics = [
            Metric(f"trials_{state.lower()}", counts[state], now, done) for state in ("COMPLETE", "PRUNED", "FAIL")
        ]
        tags = {"trials": f"{summary(counts)} of {self.declared.total}"}
        if best := study.best_trial(self.opened):
            metrics.append(Metric("best_value", best.value or 0.0, now, done))
            tags |= {"best_trial": str(best.number), "best_params": json.dumps(best.params)}
        self.client.log_batch(self.run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        if final or time.monotonic() - self.drawn > FIGURE_SECONDS:
            with tempfile.TemporaryDirectory() as folder:
                draw_study(self.opened, self.declared.objective, self.declared.config["training.steps"], Path(folder))
                self.client.log_artifacts(self.run_id, folder, "figures")
            self.drawn = time.monotonic()

    def end(self, status: str) -> None:
        """Leaves the page complete: every trial's state, the figures, and the best trial's config, model and fit."""
        self.reconcile()
        self.refresh(final=True)
        best = study.best_trial(self.opened)
        if best:
            child = next(c for c in self.children() if c.data.tags["trial"] == str(best.number))
            self.copy_best(child.info.run_id)
            self.client.set_tag(self.run_id, "mlflow.note.content", self.describe(best, child.info.run_id))
        self.client.set_terminated(self.run_id, status)

    def copy_best(self, run_id: str) -> None:
        """Copies config, cost curve, figures and model of the best trial to the parent."""
        import mlflow

        if self.client.get_run(self.run_id).data.tags.get("best_run") == run_id:
            return
        with tempfile.TemporaryDirectory() as folder:
            for path in ("config.yaml", "cost.npy", "figures"):
                with contextlib.suppress(Exception):  # a trial that was never the best so far has no figures
                    self.client.download_artifacts(run_id, path, folder)
            with contextlib.suppress(Exception):
                mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model", dst_path=str(Path(folder, "model")))
            self.client.log_artifacts(self.run_id, folder, "best")
        self.client.set_tag(self.run_id, "best_run", run_id)

    def describe(self, best: FrozenTrial, run_id: str) -> str:
        """What the study was and how it went, with the links, for the parent's page."""
        return (
            f"{self.declared.sampler['name']} over {', '.join(self.declared.space)}: "
            f"{summary(study.counts(self.opened))}. Best is [trial {best.number}]"
            f"(#/experiments/{self.experiment_id}/runs/{run_id}) with {self.declared.objective} {best.value:.4g} at "
            f"{short(best.params)}; [compare the trials' curves]({self.comparison()})."
        )

    def comparison(self) -> str:
        """The chart view of this study's trials, side by side, the best ten shown.

        Sorted by anything but time, MLflow shows the children of a run unfolded.
        """
        trials = quote(f"tags.`mlflow.parentRunId` = '{self.run_id}'")
        key, up = quote(f"metrics.`{self.declared.objective}`"), str(self.declared.direction == "minimize").lower()
        view = f"orderByKey={key}&orderByAsc={up}&workflowType=machine_learning&compareRunsMode=CHART"
        return f"#/experiments/{self.experiment_id}/runs?searchFilter={trials}&{view}"


def describe_distribution(distribution: Any) -> str:
    """The range in Hydra's words."""
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return f"choice({', '.join(map(str, distribution.choices))})"
    if distribution.step and not isinstance(distribution, optuna.distributions.IntDistribution):
        return f"range({distribution.low}, {distribution.high}, {distribution.step})"
    return f"{'log ' if distribution.log else ''}interval({distribution.low}, {distribution.high})"


def draw_study(opened: optuna.Study, objective: str, total: int, folder: Path) -> None:
    """Draws what Optuna knows of the study; a figure that needs more trials than there are is left out."""
    import matplotlib
    from optuna.visualization import matplotlib as drawn

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawings: dict[str, Any] = {
        "optimization_history": drawn.plot_optimization_history,
        "parameter_importance": drawn.plot_param_importances,
        "contour": drawn.plot_contour,
        "parallel_coordinates": drawn.plot_parallel_coordinate,
    }
    with warnings.catch_warnings(), pyplot.rc_context():  # Optuna's figures change the style of all later ones
        warnings.simplefilter("ignore")  # all of Optuna's figures call themselves experimental
        for name, draw in drawings.items():
            try:
                axes = draw(opened) if name == "parameter_importance" else draw(opened, target_name=objective)
            except (ValueError, RuntimeError):
                continue
            figure = np.ravel(axes)[0].figure
            figure.set_size_inches(8, 6.5)
            figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
            pyplot.close(figure)
    if any(trial.intermediate_values for trial in opened.trials):
        intermediate_figure(opened.trials, objective, total).savefig(folder / "intermediate_values.png", dpi=110)


def intermediate_figure(trials: Sequence[Any], objective: str, total: int) -> "Figure":
    """What each trial reported while it trained; a pruned trial ends in a cross."""
    from lstm_lab.runs import figures

    figure, [ax] = figures.new_figure(size=7)
    for trial in trials:
        steps, values = list(trial.intermediate_values), list(trial.intermediate_values.values())
        if trial.value is not None and objective == "mean_last_20_cost":
            steps, values = [*steps, total], [*values, trial.value]  # the end is not reported, it is the trial's value
        if not steps:
            continue
        pruned = trial.state.name == "PRUNED"
        ax.plot(steps, values, color="lightgray" if pruned else "tab:blue", alpha=1 if pruned else 0.6, linewidth=1)
        if pruned:
            ax.plot(steps[-1], values[-1], "x", color="tab:red", markersize=5)
    ax.plot([], [], color="tab:blue", label="complete")
    ax.plot([], [], color="lightgray", marker="x", markeredgecolor="tab:red", label="pruned")
    ax.legend(frameon=False)
    ax.set(xlabel="step", ylabel="mean cost of the last 20 steps", yscale="log", title="intermediate values")
    return figure


def summary(counts: Mapping[str, int]) -> str:
    """The counts that are not zero, in words."""
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no trial yet"


def short(params: Mapping[str, Any]) -> str:
    """Parameters by the last part of their key."""
    values = {key.rpartition(".")[2]: value for key, value in params.items()}
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
