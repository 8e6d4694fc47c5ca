"""What is read of a run that is to be used again."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_lab import config
from lstm_lab.records import lookup, tracking
from lstm_lab.records.store import StoreError
from test_config import composed

CONFIG = config.check(composed("data=noisy_sines_to_derivative", f"data.amplitudes={[0.125] * 3000}",
                               f"data.frequencies={[2.0] * 3000}"))  # fmt: skip
TEXT = tracking.config_text(CONFIG)


class Store:
    """A client of a store in which a run has this config.yaml; none, if None."""

    def __init__(self, text):
        self.text = text

    def list_artifacts(self, run_id):
        return [] if self.text is None else [SimpleNamespace(path="config.yaml")]

    def download_artifacts(self, run_id, path, folder):
        Path(folder, path).write_text(self.text)
        return str(Path(folder, path))


def run_with(tags):
    return SimpleNamespace(info=SimpleNamespace(run_id="0" * 32), data=SimpleNamespace(tags=tags))


@pytest.mark.parametrize("text", [None, "", TEXT[: len(TEXT) // 2], TEXT])
def test_a_run_cut_short_at_any_moment_has_the_config_that_it_began_with(text):
    tags = tracking.config_tags(CONFIG)
    assert len(tags) > 1
    assert max(map(len, tags.values())) <= 8000  # the longest that MLflow takes
    assert lookup.config_of(Store(text), run_with(tags)) == CONFIG


def test_what_a_resumed_run_changed_stands_in_its_file():
    longer = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"steps": 400})})
    store = Store(tracking.config_text(longer))
    assert lookup.config_of(store, run_with(tracking.config_tags(CONFIG))) == longer
    assert lookup.config_of(store, run_with({})) == longer  # an older run


def test_a_config_that_became_shorter_has_nothing_of_the_longer_one():
    shorter = config.check(composed())
    tags = tracking.config_tags(CONFIG) | tracking.config_tags(shorter)
    assert lookup.config_of(Store(None), run_with(tags)) == shorter


def test_a_run_of_another_program_has_none():
    with pytest.raises(StoreError, match=r"has no config\.yaml: it is no run of src/train\.py"):
        lookup.config_of(Store(None), run_with({}))


def test_a_run_on_a_file_from_before_there_was_a_validation_had_none():
    with_some = config.check(composed("data=csv", "data.path=x.csv", "data.input=a", "data.horizon=1"))
    text = tracking.config_text(with_some).replace("  validation: 0.1\n", "")
    found = lookup.config_of(Store(text), run_with({}))
    assert found.data.validation == 0
    assert found.model == with_some.model
