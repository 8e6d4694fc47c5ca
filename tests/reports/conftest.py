"""The store that the report's tests read."""

from types import SimpleNamespace

import pytest

from lstm_lab.records import store
from stores import fill_store


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A store in a database with one run of each kind: its address, and the runs' ids by name, without `gone`."""
    folder = tmp_path_factory.mktemp("kinds")
    uri = f"sqlite:///{folder}/runs.db"
    ids = fill_store(uri, folder)
    return SimpleNamespace(uri=uri, gone=ids.pop("gone"), ids=ids)


@pytest.fixture
def client(kinds: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    """A client of that store, which is the one that the report opens."""
    from mlflow import MlflowClient

    found = MlflowClient(kinds.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", kinds.uri)
    monkeypatch.setattr(store, "open_store", lambda: found)
    return found
