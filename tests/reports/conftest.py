"""The stores that the report's tests read, and its pages read by a parser."""

from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from lstm_lab.records import store
from stores import fill_store, fill_with_seeds, unsafe


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def opened(uri: str, monkeypatch: pytest.MonkeyPatch):
    """A client of that store, which becomes the one that the report opens."""
    from mlflow import MlflowClient

    found = MlflowClient(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(store, "open_store", lambda: found)
    return found


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A store in a database with one run of each kind: its address, and the runs' ids by name, without `gone`."""
    folder = tmp_path_factory.mktemp("kinds")
    uri = f"sqlite:///{folder}/runs.db"
    ids = fill_store(uri, folder)
    return SimpleNamespace(uri=uri, gone=ids.pop("gone"), ids=ids)


@pytest.fixture
def client(kinds: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    """A client of that store."""
    return opened(kinds.uri, monkeypatch)


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A store with runs over seeds, as src/train.py leaves them: its address, its folder, the ids by cell and seed."""
    folder = tmp_path_factory.mktemp("seeded")
    uri = f"sqlite:///{folder}/runs.db"
    with unsafe():
        return SimpleNamespace(uri=uri, folder=folder, **fill_with_seeds(uri, folder))


@pytest.fixture
def over_seeds(seeded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    """A client of that store."""
    return opened(seeded.uri, monkeypatch)
