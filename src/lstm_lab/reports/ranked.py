"""The best runs of each data set, as the store ranks them: it is not asked for all others.

A run has a tag for its data set. One query finds runs of data sets that are not known yet, until there is none; one
more a data set has the best of it. Runs without the tag, which older versions have left, are all read.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lstm_lab.records import lookup, tagging
from lstm_lab.records.tracking import VALIDATION
from lstm_lab.runs import metrics, recipe

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

[TAG] = tagging.as_stored({recipe.DATA_SET: ""})
SEEN = 50  # runs in one answer to the question for other data sets
MOST = 30  # data sets that a query leaves out: SQLite joins 64 tables at most, and a user's filter takes some
# The error by which MLflow ranks is that of `metrics.ranked_by`: runs without the first are behind, by the second
ORDER = [f"metrics.`{VALIDATION}` ASC", f"metrics.`{metrics.COSTS[1]}` ASC"]


def both(*conditions: str) -> str:
    """MLflow's filter for runs that pass all of these."""
    return " AND ".join(filter(None, conditions))


def candidates(client: "MlflowClient", experiments: list[str], condition: str, count: int) -> "list[Run]":
    """Runs that pass MLflow's filter, the latest first: among them the best `count` of each data set."""
    known = data_sets(client, experiments, condition)
    if len(known) > MOST or not all(re.fullmatch("[0-9a-f]{64}", data) for data in known):  # or somebody else's tag
        return list(lookup.pages(client.search_runs, experiments, condition))
    untagged = both(condition, f"tags.`{TAG}` IS NULL", "tags.sweep IS NULL")  # a study's page is never ranked
    found = lookup.pages(client.search_runs, experiments, untagged)
    runs = {run.info.run_id: run for run in found}
    for data in known:
        of_data = both(condition, f"tags.`{TAG}` = '{data}'")
        best = client.search_runs(experiments, of_data, max_results=count, order_by=ORDER)
        runs |= {run.info.run_id: run for run in best}
    return sorted(runs.values(), key=lambda run: (-(run.info.start_time or 0), str(run.info.run_id)))


def data_sets(client: "MlflowClient", experiments: list[str], condition: str) -> Sequence[str]:
    """The values that the tag has in the runs that pass; some of them if they are more than MOST, or no digests."""
    known: dict[str, None] = {}
    while len(known) <= MOST and not any("'" in data for data in known):
        others = [f"tags.`{TAG}` != '{data}'" for data in known] or [f"tags.`{TAG}` IS NOT NULL"]
        found = client.search_runs(experiments, both(condition, *others), max_results=SEEN)
        new = {run.data.tags.get(TAG, ""): None for run in found}
        if new.keys() <= known.keys():
            break
        known |= new
    return list(known)
