"""What is read of a run that is to be used again."""

from types import SimpleNamespace

import pytest
import yaml

from lstm_lab import config
from lstm_lab.records import lookup, tracking
from lstm_lab.records.store import StoreError
from test_config import composed

CONFIG = config.check(composed("data=noisy_sines_to_derivative", f"data.amplitudes={[0.125] * 3000}",
                               f"data.frequencies={[2.0] * 3000}"))  # fmt: skip
TEXT = tracking.config_text(CONFIG)


CLIENT = SimpleNamespace(tracking_uri="")  # the runs' files are on this machine


@pytest.fixture
def run_with(tmp_path):
    """Makes a run that has these tags and this config.yaml; none, if None."""

    def make(text, tags):
        if text is not None:
            (tmp_path / "config.yaml").write_text(text)
        info = SimpleNamespace(run_id="0" * 32, artifact_uri=tmp_path.as_uri())
        return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags))

    return make


@pytest.mark.parametrize("text", [None, "", TEXT[: len(TEXT) // 2], TEXT])
def test_a_run_cut_short_at_any_moment_has_the_config_that_it_began_with(text, run_with):
    tags = tracking.config_tags(CONFIG)
    assert len(tags) > 1
    assert max(map(len, tags.values())) <= 8000  # the longest that MLflow takes
    assert lookup.config_of(CLIENT, run_with(text, tags)) == CONFIG


def test_what_a_resumed_run_changed_stands_in_its_file(run_with):
    longer = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"steps": 400})})
    text = tracking.config_text(longer)
    assert lookup.config_of(CLIENT, run_with(text, tracking.config_tags(CONFIG))) == longer
    assert lookup.config_of(CLIENT, run_with(text, {})) == longer  # an older run


def test_a_config_that_became_shorter_has_nothing_of_the_longer_one(run_with):
    shorter = config.check(composed())
    tags = tracking.config_tags(CONFIG) | tracking.config_tags(shorter)
    assert lookup.config_of(CLIENT, run_with(None, tags)) == shorter


def test_a_run_of_another_program_has_none(run_with):
    with pytest.raises(StoreError, match=r"has no config\.yaml: it is no run of src/train\.py"):
        lookup.config_of(CLIENT, run_with(None, {}))


@pytest.mark.parametrize("words", [("data=csv", "data.path=x.csv", "data.input=a", "data.horizon=1"), ()])
def test_a_run_from_before_there_was_a_setting_is_as_it_was_then(words, run_with):
    with_all = config.check(composed(*words))
    values = with_all.model_dump()
    for key in config.NEWER:
        group, _, name = key.partition(".")
        values[group].pop(name, None)
    found = lookup.config_of(CLIENT, run_with(yaml.safe_dump(values), {}))
    assert (found.model, found.evaluation.windows) == (with_all.model, with_all.evaluation.windows)
    assert (found.evaluation.origins, found.evaluation.interval, found.lead_times) == (0, None, 0)
    if words:
        assert (found.data.validation, found.data.known, found.data.calendar) == (0, None, [])
