"""What MLflow shows of a study: the parent run, the state of every trial's run, the figures, the best trial."""

import contextlib
import itertools
import json
import math
import secrets
import tempfile
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import quote

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from lstm_lab.commandline import complain
from lstm_lab.records import lookup, processes, reading, store, tagging, tracking
from lstm_lab.runs import completing, naming, seeds
from lstm_lab.runs.metrics import VALIDATION
from lstm_lab.runs.seeds import PARENT
from lstm_lab.runs.telling import in_markdown
from lstm_lab.runtime import import_matplotlib
from lstm_lab.studies import study

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run

FIGURE_SECONDS = 60  # between two redraws of the parent's figures
REPORTED = {"mean_last_20_cost": "mean cost of the last 20 steps", VALIDATION: "validation error"}  # by trials
FIGURES = ("cost_curve.png", "fitted_curve.png", "continued_curve.png", "fit.gif")
# What the best trial's run may have, and its model
FILES = ("config.yaml", "cost.npy", *(f"figures/{name}" for name in FIGURES))
SERVING = ("MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml", "code/lstm_lab_served.py")
MODEL = ("data/model.keras", "data/keras_module.txt", *SERVING)
COPIED_BYTES = 2**29  # of one of these files; the costs of 100 million steps have 400 MB
COMPLETE = {"color": "tab:blue", "alpha": 0.6}  # lines of trials
PRUNED = {"color": "darkgray", "linestyle": "--"}
AXES = {"Trial": "trial", "Hyperparameter Importance": "importance", "Hyperparameter": ""}  # of Optuna's figures
MLFLOW_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "KILLED": "KILLED"}


class ParentPage:
    """The parent run in MLflow: what is searched, how it stands, the best trial, the figures.

    It is made from the study alone, and made anew if MLflow has it no more. Every method needs the study's lock.
    """

    def __init__(self, client: "MlflowClient", opened: optuna.Study, declared: study.Declared) -> None:
        self.client, self.opened, self.declared = client, opened, declared
        [(key, value)] = processes.signature().items()
        self.signature = (f"{key}.{secrets.token_hex(4)}", value)  # of one of many workers, perhaps
        self.drawn = time.monotonic()
        self.told: tuple[str, dict[str, float], dict[str, str]] | None = None  # which page has which metrics and tags
        self.ended: str | None = None  # the status with which it was left complete
        self.attach()

    def attach(self) -> "Run":
        """Takes the page that MLflow has of the study, or makes it anew, which takes over the trials."""
        attrs = self.opened.user_attrs
        self.mark = attrs.get("page") or secrets.token_hex(8)
        study.remember(self.opened, page=self.mark)  # first: a page whose maker was killed is found by it
        run = self.find(attrs.get("parent_run", "")) or self.find_marked()
        is_new = run is None
        run = run or self.create()
        self.run_id, self.experiment_id = run.info.run_id, run.info.experiment_id
        self.experiment = self.client.get_experiment(self.experiment_id).name  # which its trials are in, too
        pages = [page for page in self.pages() if page != self.run_id]
        study.remember(self.opened, parent_run=self.run_id, parent_runs=[*pages, self.run_id])
        if not run.data.params:
            self.log_space()
        if is_new:
            self.reconcile()
        return run

    def pages(self) -> list[str]:
        """The runs that have been the study's page, the newest last."""
        attrs = self.opened.user_attrs
        return attrs.get("parent_runs") or [attrs[key] for key in ("parent_run",) if key in attrs]

    def find_marked(self) -> "Run | None":
        """The page whose maker was killed before it could tell the study, or the one in a store used before."""
        tags = [*tagging.as_stored({"page": self.mark}), "page"]  # the second one is an older page's
        found = (lookup.every_run(self.client, f"tags.`{tag}` = '{self.mark}'") for tag in tags)
        return next(itertools.chain.from_iterable(found), None)

    def find(self, run_id: str) -> "Run | None":
        """The run of that id, unless it is not in MLflow, or deleted there."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise  # a store that is away says nothing of the run
        return run if run.info.lifecycle_stage == "active" else None

    def create(self) -> "Run":
        """Makes the parent run."""
        tags = {**tracking.source_tags(), "study": self.declared.name, "sweep": "parent", "page": self.mark}
        tags |= [self.signature]
        experiment_id = store.find_or_create_experiment(self.client, self.declared.experiment)
        return self.client.create_run(
            experiment_id, run_name=f"study {self.declared.name}", tags=tagging.as_stored(tags)
        )

    def log_space(self) -> None:
        """The search space as the parent run's parameters."""
        from mlflow.entities import Param

        params = {f"search.{key}": describe_distribution(d) for key, d in self.declared.space.items()}
        params |= {"objective": self.declared.objective, "direction": self.declared.direction}
        params |= {"data": self.declared.data}
        params |= {"sampler": self.declared.sampler["name"], "pruner": self.declared.pruner["name"]}
        self.client.log_batch(self.run_id, params=[Param(key, value) for key, value in params.items()])

    def children(self) -> "list[tuple[FrozenTrial, Run]]":
        """Each trial with its run, in whatever experiment that is; a run whose tags name no trial is passed over."""
        trials = {str(trial.number): trial for trial in self.opened.get_trials(deepcopy=False)}
        conditions = [f"tags.`mlflow.parentRunId` = '{page}'" for page in self.pages()]
        runs = [run for condition in conditions for run in lookup.every_run(self.client, condition)]
        return [(trials[tag], run) for run in runs if (tag := run.data.tags.get("trial")) in trials]

    def is_finished(self) -> bool:
        """Whether a worker has left the page complete, with this very total."""
        run = self.attach()
        done = f"{summary(study.counts(self.opened))} of {self.declared.total}"
        return run.info.status == "FINISHED" and run.data.tags.get("trials") == done

    def begin(self) -> None:
        """Shows the study as running, if anything is left to do, and sees to what killed workers left behind."""
        if not self.is_finished():
            self.client.update_run(self.run_id, status="RUNNING")
            tagging.set_tags(self.client, self.run_id, dict([self.signature]))
            self.reconcile()

    def reconcile(self) -> "list[tuple[FrozenTrial, Run]]":
        """Gives every trial's run this page, and the status that the study knows: a killed worker leaves it RUNNING.

        Returns the trials with their runs.
        """
        children = self.children()
        for trial, child in children:
            if child.data.tags["mlflow.parentRunId"] != self.run_id:
                self.client.set_tag(child.info.run_id, "mlflow.parentRunId", self.run_id)
            if trial.state.is_finished():
                self.settle(child, "KILLED" if study.was_killed(trial) else trial.state.name)
                if study.was_killed(trial) and tagging.is_group(child.data.tags):
                    self.settle_seeds(child)
        return children

    def settle(self, child: "Run", state: str) -> None:
        """Sets a trial's final state on its run, where it shows: status, tag and name."""
        if child.data.tags.get("trial.state") == state and child.info.status == MLFLOW_STATUS[state]:
            return
        if child.info.status != MLFLOW_STATUS[state]:
            self.client.set_terminated(child.info.run_id, MLFLOW_STATUS[state])
        self.client.set_tag(child.info.run_id, "trial.state", state)
        name = child.info.run_name or ""
        if state != "COMPLETE" and f" {state}:" not in name:
            self.client.set_tag(child.info.run_id, "mlflow.runName", name.replace(":", f" {state}:", 1))

    def settle_seeds(self, group: "Run") -> None:
        """Ends the run of a seed that a killed worker has left RUNNING."""
        of_group = f"tags.`{PARENT}` = '{group.info.run_id}' AND attributes.status = 'RUNNING'"
        for run in lookup.every_run(self.client, of_group):
            self.client.set_terminated(run.info.run_id, "KILLED")

    def of_the_median(self, run: "Run") -> "Run":
        """Of a trial's group the run in the middle by the objective, which stands for it; else the trial's run."""
        tags = tagging.tags_of(run)
        if not tagging.is_group(tags):
            return run
        runs = [found for found in map(self.find, lookup.members_of(tags).values()) if found]
        return seeds.of_the_median(runs, self.declared.objective) or run

    def refresh(self) -> None:
        """Brings counts by state and the best trial up to date."""
        from mlflow.entities import Metric, RunTag

        self.attach()
        now, counts = int(time.time() * 1000), study.counts(self.opened)
        tags = {"trials": f"{summary(counts)} of {self.declared.total}"}
        metrics = {f"trials_{state.lower()}": float(counts[state]) for state in ("COMPLETE", "PRUNED", "FAIL")}
        if best := study.best_trial(self.opened):
            metrics["best_value"] = best.value or 0.0
            tags |= {"best_trial": str(best.number), "best_params": json.dumps(best.params)}
        if (self.run_id, metrics, tags) != self.told:
            points = [Metric(key, value, now, study.ended(counts)) for key, value in metrics.items()]
            self.client.log_batch(self.run_id, points, tags=[RunTag(*tag) for tag in tags.items()])
        self.told = self.run_id, metrics, tags

    def is_to_be_drawn(self) -> bool:
        """Whether the figures are a minute old."""
        return time.monotonic() - self.drawn > FIGURE_SECONDS

    def draw(self, runs: "Mapping[int, Run]") -> None:
        """Draws the figures of the study, and sees to those of its best trial; `runs` are the trials' by number."""
        for best in study.best_trials(self.opened):
            if run := runs.get(best.number):
                self.complete(best, self.of_the_median(run))
        with tempfile.TemporaryDirectory() as folder:
            draw_study(self.opened, self.declared.objective, self.declared.steps(), Path(folder))
            self.client.log_artifacts(self.run_id, folder, "figures")
        self.drawn = time.monotonic()

    def complete(self, best: FrozenTrial, run: "Run") -> None:
        """Gives the run of the best trial its evaluation, figures and model; says why if that cannot be done."""
        try:
            completing.complete(self.client, reading.sound(run))
        except Exception as error:  # its file may have gone, or what it left may be somebody else's
            if store.is_fault(error) and not isinstance(error, store.StoreError):
                raise
            complain(f"trial {best.number}: its figures and its model are missing ({store.first_line(error)})")

    def end(self, status: str) -> None:
        """Leaves the page complete: every trial's state, the figures, and the best trial's config, model and fit."""
        self.ended = status
        self.refresh()
        best, runs = study.best_trials(self.opened), {trial.number: run for trial, run in self.reconcile()}
        self.draw(runs)
        if len(best) == 1 and (run := runs.get(best[0].number)):
            self.copy_best(self.of_the_median(run).info.run_id)
        about = [self.describe(), *(self.describe_best(trial, runs.get(trial.number)) for trial in best)]
        self.client.set_tag(self.run_id, "mlflow.note.content", " ".join(about))
        self.client.set_terminated(self.run_id, status)

    def copy_best(self, run_id: str) -> None:
        """Copies config, cost curve, figures and model of the best trial to the parent, as far as they can be read."""
        if self.client.get_run(self.run_id).data.tags.get("best_run") == run_id:
            return
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.suppress(store.StoreError):  # a run that somebody else has made another of
                run = reading.sound(self.client.get_run(run_id))
                copy_files(self.client, run.info.artifact_uri, FILES, Path(folder))
                place, path = lookup.places_of_model(self.client, run)[0]
                copy_files(self.client, place, MODEL if path == MODEL[0] else (), Path(folder, "model"))
            self.client.log_artifacts(self.run_id, folder, "best")
        self.client.set_tag(self.run_id, "best_run", run_id)

    def describe(self) -> str:
        """What the study was and how it went, for the parent's page, with the link to the curves."""
        space, counts = ", ".join(self.declared.space), summary(study.counts(self.opened))
        about = f"{self.declared.sampler['name']} over {space}: {counts}."
        return f"{about} [Compare the trials' curves]({self.comparison()})."

    def describe_best(self, best: FrozenTrial, run: "Run | None") -> str:
        """Which trial is the best on its data; `run` is its run, if MLflow still has it."""
        name, data = f"trial {best.number}", in_markdown(study.data_of(best).rpartition(" ")[0])
        if run:
            name = f"[{name}]({store.run_page(run.info.experiment_id, run.info.run_id)})"
        about = f"Best{f' on {data}' if data else ''} is {name} with {self.declared.objective} {best.value:.4g}"
        return f"{about} at {in_markdown(naming.short(best.params))}{'.' if run else '; its run is in MLflow no more.'}"

    def comparison(self) -> str:
        """The chart view of this study's trials, side by side, the best ten shown.

        Sorted by anything but time, MLflow shows the children of a run unfolded.
        """
        trials = quote(f"tags.`mlflow.parentRunId` = '{self.run_id}'")
        key, up = quote(f"metrics.`{self.declared.objective}`"), str(self.declared.direction == "minimize").lower()
        view = f"orderByKey={key}&orderByAsc={up}&{store.TRAINING}&compareRunsMode=CHART"
        return f"#/experiments/{self.experiment_id}/runs?searchFilter={trials}&{view}"


def copy_files(client: "MlflowClient", place: str, paths: Sequence[str], folder: Path) -> None:
    """Copies those of these files that are below `place`, an address of artifacts, and can be read."""
    for path in paths:
        with contextlib.suppress(Exception):  # a trial that was never the best so far has no figures
            if (content := reading.fetch(place, path, COPIED_BYTES, client.tracking_uri)) is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)


def describe_distribution(distribution: Any) -> str:
    """The range in Hydra's words."""
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return f"choice({', '.join(map(str, distribution.choices))})"
    if distribution.step and not isinstance(distribution, optuna.distributions.IntDistribution):
        return f"range({distribution.low}, {distribution.high}, {distribution.step})"
    return f"{'log ' if distribution.log else ''}interval({distribution.low}, {distribution.high})"


def draw_study(opened: optuna.Study, objective: str, total: int, folder: Path) -> None:
    """Draws what Optuna knows of the study; a figure that cannot be drawn, for want of trials perhaps, is left out."""
    import_matplotlib()
    import matplotlib
    from optuna.visualization import matplotlib as drawn

    matplotlib.use("Agg")
    from matplotlib import pyplot, style

    from lstm_lab.runs import lettering, panels

    is_log = spans_decades(opened)
    shown: dict[str, Any] = {
        "target": (lambda trial: math.log10(trial.value)) if is_log else None,
        "target_name": objective,
    }
    drawings: dict[str, Any] = {
        "optimization_history": lambda: drawn.plot_optimization_history(opened, target_name=objective),
        "parameter_importance": lambda: drawn.plot_param_importances(opened),
        "contour": lambda: drawn.plot_contour(opened, **shown),
        "parallel_coordinates": lambda: drawn.plot_parallel_coordinate(opened, **shown),
    }
    params = {key for trial in opened.trials for key in trial.params}
    lettering.without_font(frozenset(str([trial.params for trial in opened.trials])))  # finds fonts that have them
    # Parameters may be names of the user's; and for 'ggplot' Optuna asks, for all later figures too
    look: Any = {**panels.STYLE, "text.parse_math": False, "figure.constrained_layout.use": True}
    with warnings.catch_warnings(), pyplot.rc_context(look), patch.dict(style.library, ggplot=look):
        warnings.simplefilter("ignore")  # all of Optuna's figures call themselves experimental
        for name, draw in drawings.items():
            with contextlib.suppress(Exception):  # whatever Optuna or matplotlib raises
                figure = np.ravel(draw())[0].figure
                if any(ax.has_data() for ax in figure.axes):
                    restyle(figure, name, params, is_log)
                    figure.savefig(folder / f"{name}.png", dpi=110)
        pyplot.close("all")
    if any(trial.intermediate_values for trial in opened.trials):
        intermediate_figure(opened.trials, objective, total).savefig(folder / "intermediate_values.png", dpi=110)


def spans_decades(opened: optuna.Study) -> bool:
    """Whether the values, of which the lowest is the best, are shown on a log scale."""
    values = [trial.value for trial in opened.trials if trial.state.name == "COMPLETE" and trial.value is not None]
    return opened.direction.name == "MINIMIZE" and 0 < 10 * min(values, default=0) < max(values, default=0)


def restyle(figure: "Figure", name: str, params: Collection[str], is_log: bool) -> None:
    """Gives a figure of Optuna's the look of the others. Where it shows logarithms of costs the ticks are costs."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    place = figure.axes[0].get_subplotspec()
    rows = place.get_gridspec().nrows if place else 1
    figure.set_size_inches(max(8, 2.8 * rows), max(6.5, 2.5 * rows))
    for ax in figure.axes:
        ax.set_title("")
        ax.set_title("", loc="left")
        ax.set(xlabel=AXES.get(ax.get_xlabel(), ax.get_xlabel()), ylabel=AXES.get(ax.get_ylabel(), ax.get_ylabel()))
        if legend := ax.get_legend():
            legend.remove()
        if rows > 1 and ax.get_label() != "<colorbar>":
            ax.label_outer()
    figure.suptitle(name.replace("_", " "))
    first, *others = figure.axes
    costs = [ax.yaxis for ax in others if ax.get_label() == "<colorbar>"]
    if name == "optimization_history":
        first.set_yscale("log" if is_log else "linear")
        first.lines[0].set(drawstyle="steps-post", linestyle="--", alpha=1, label="best so far")
        first.legend(frameon=False)
    if name == "parallel_coordinates":
        costs.append(first.yaxis)
        restyle_lines(figure, params)
    for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:
        if axis.get_scale() == "log":
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # others write formulas
            axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        elif is_log and axis in costs:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{10**value:.2g}"))


def restyle_lines(figure: "Figure", params: Collection[str]) -> None:
    """Gives the trials' lines colours that are seen on white, and their axes labels that are seen between them."""
    first = figure.axes[0]
    [lines] = first.collections
    lines.set_cmap("viridis" if lines.get_cmap().name == "Blues_r" else "viridis_r")
    for ax in figure.axes:
        ax.spines[["left", "right"]].set_visible(True)
        ax.grid(False)
        for text in ax.get_yticklabels():
            text.set_bbox({"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1})
    whole = {f"{key[:17]}...": key.rpartition(".")[2] for key in params}  # as Optuna cuts a long one
    names = [whole.get(text.get_text(), text.get_text()) for text in first.get_xticklabels()]
    first.set_xticks(first.get_xticks(), names, rotation=0)


def intermediate_figure(trials: Sequence[Any], objective: str, total: int) -> "Figure":
    """What each trial reported while it trained; a pruned trial ends in a cross."""
    from lstm_lab.runs.panels import new_figure

    figure, [ax] = new_figure(size=7)
    for trial in trials:
        steps, values = list(trial.intermediate_values), list(trial.intermediate_values.values())
        pruned = trial.state.name == "PRUNED"  # its value is the last that it reported
        if trial.value is not None and not pruned and objective in REPORTED:
            end = trial.user_attrs.get("steps", total)
            steps, values = [*steps, end], [*values, trial.value]  # the end is not reported, it is the trial's value
        if not steps:
            continue
        ax.plot(steps, values, linewidth=1, **(PRUNED if pruned else COMPLETE))
        if pruned:
            ax.plot(steps[-1], values[-1], "x", color="tab:red", markersize=5)
    ax.plot([], [], label="complete", **COMPLETE)
    ax.plot([], [], label="pruned", marker="x", markeredgecolor="tab:red", **PRUNED)
    ax.legend(frameon=False)
    label = REPORTED.get(objective, REPORTED["mean_last_20_cost"])
    ax.set(xlabel="step", ylabel=label, yscale="log", title="intermediate values")
    return figure


def summary(counts: Mapping[str, int]) -> str:
    """The counts that are not zero, in words; what is queued is no trial yet."""
    shown = [f"{count} {state}" for state, count in counts.items() if count and state != "WAITING"]
    return ", ".join(shown) or "no trial yet"
