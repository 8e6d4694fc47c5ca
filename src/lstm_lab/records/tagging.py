"""A run's tags: those for people, and those for programs, which MLflow's pages do not show."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # mlflow takes a second or two to import
    from mlflow import MlflowClient
    from mlflow.entities import Run

HIDDEN = "mlflow.lstm_lab."  # MLflow's pages show no tag that begins with 'mlflow.'
FOR_PROGRAMS = re.compile(r"process(\..*)?|config\.\d+|seed\.\d+|page|.*\.sha256")


def is_study(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags stands for a study, and its trials have runs of their own."""
    return tags.get("sweep") == "parent"


def is_group(tags: Mapping[str, str]) -> bool:
    """Whether it stands for the runs of one recipe with several seeds, which are runs of their own."""
    return "seeds" in tags


def as_stored(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags by the names that the store has of them."""
    return {(HIDDEN if FOR_PROGRAMS.fullmatch(key) else "") + key: value for key, value in tags.items()}


def tags_of(run: "Run") -> dict[str, str]:
    """A run's tags by the names that are used here, which older runs have in the store as well."""
    found = run.data.tags
    hidden = {key.removeprefix(HIDDEN): value for key, value in found.items() if key.startswith(HIDDEN)}
    return {key: value for key, value in found.items() if not key.startswith(HIDDEN)} | hidden


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags on a run that others may be tagging at that moment: MLflow's `set_tag` fails where both are first."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in as_stored(tags).items()])
