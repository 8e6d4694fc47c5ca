"""The recipe of a run: its config but for the seed and for how it is watched. Its bits follow from it, seed, code."""

import hashlib
import json

from lstm_lab import config
from lstm_lab.config import Config
from lstm_lab.records import code
from lstm_lab.runs import metrics

SEED = "training.seed"
ELSEWHERE = {SEED, "data.path"}  # the file is known by its SHA-256, wherever it is
DATA_SET = "data_set.sha256"  # the tag: runs with the same are of one data set, as `metrics.data_set` tells it
SEVERAL = "several"  # the code of a run that was resumed by another than began it


def digest(settings: Config, file_sha256: str | None) -> str:
    """SHA-256 of everything in the config that decides what a run gives, but for its seed."""
    values = dict(config.flatten(settings.model_dump(exclude={"tracking"})))
    for key, once in config.NEWER.items():
        if key in values and values[key] == once:  # so that a new setting makes no other recipe of an old one
            del values[key]
    decisive = {key: value for key, value in values.items() if key not in (*ELSEWHERE, *config.WATCHED)}
    return hashlib.sha256(json.dumps([decisive, file_sha256], sort_keys=True).encode()).hexdigest()


def known_by(settings: Config, file_sha256: str | None, before: str | None = None) -> dict[str, str]:
    """By what a run is found again as one of that recipe by this code; `before` is the code that began it, if any."""
    now = code.source_digest()
    return {
        "recipe.sha256": digest(settings, file_sha256),
        "code.sha256": now if before in (None, now) else SEVERAL,
    }


def tags(settings: Config, file_sha256: str | None, before: str | None = None) -> dict[str, str]:
    """The same, with the data set, by which a store is asked for the best runs of each without showing all others."""
    data = metrics.data_set(config.as_params(settings), file_sha256)
    return known_by(settings, file_sha256, before) | {DATA_SET: hashlib.sha256(data.encode()).hexdigest()}
