"""A tracking server that answers whatever it likes: each answer is bounded, and told of in a line."""

import contextlib
import http.server
import json
import threading
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from lstm_lab.records import lookup, reading, servers, store
from lstm_lab.records.reading import UnsoundError
from lstm_lab.records.store import StoreError

ID = "ab" * 16
FILES = "/api/2.0/mlflow-artifacts/artifacts"


class Answer(http.server.BaseHTTPRequestHandler):
    """Says of every file that it has five bytes, sends more than was asked for, and knows no end of anything else."""

    def do_GET(self):
        said = {"experiments": [{"experiment_id": "1", "name": "x"}], "next_page_token": "same"}
        if "get-history" in self.path:
            said = {"metrics": [{"key": "cost", "value": 1, "step": 1}], "next_page_token": "same"}
        elif self.path.startswith(f"{FILES}?"):
            said = {"files": [{"path": name, "is_dir": False, "file_size": 5} for name in ("long", "short")]}
        text = json.dumps(said).encode()
        if self.path.startswith(f"{FILES}/"):
            text = b"12345" if self.path.endswith("short") else b"x" * 2**20
        self.send_response(200)
        self.send_header("Content-Length", str(2**40 if text[:1] == b"x" else len(text)))
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(text)
                if text[:1] != b"x":
                    return

    def do_POST(self):
        self.answer_nonsense() if "runs/search" in self.path else self.do_GET()

    def answer_nonsense(self):
        text = b'{"runs": [{"info": {"start_time": "yesterday"}}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        """Says nothing."""


@pytest.fixture(scope="module")
def hostile():
    """The address of such a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_that_is_longer_than_the_server_said_is_not_read_to_its_end(hostile):
    place = f"mlflow-artifacts:/1/{ID}/artifacts"
    assert reading.fetch(place, "short", 5, hostile) == b"12345"
    assert reading.fetch(place, "none", 5, hostile) is None
    with pytest.raises(UnsoundError, match="at most can be of such a run"):
        reading.fetch(place, "long", 2**21, hostile)


def test_a_list_without_an_end_is_not_followed(hostile, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hostile)
    client = MlflowClient(hostile)
    for ask in (lambda: lookup.experiments_of(client), lambda: lookup.history_of(client, ID, "cost")):
        with pytest.raises(StoreError, match=f"{hostile} answers without an end: 2 pages of one list"):
            ask()
    monkeypatch.setattr(lookup, "MOST_ANSWERS", 3)
    answers = iter(range(100))

    class Page(list):
        token = property(lambda self: f"next {next(answers)}")

    with pytest.raises(StoreError, match="answers without an end: 3 pages"):
        list(lookup.pages(lambda page_token: Page([1])))


def test_more_experiments_than_one_answer_has_are_all_found():
    class Page(list):
        token = None

    first, last = (Page([SimpleNamespace(experiment_id=ident, name=ident)]) for ident in "12")
    first.token = "next"
    client = SimpleNamespace(search_experiments=lambda page_token: last if page_token else first)
    assert lookup.experiments_of(client) == {"1": "1", "2": "2"}


def test_an_answer_of_another_form_is_a_fault_of_the_store(hostile, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hostile)
    with pytest.raises(StoreError, match=f"{hostile}: .*start_time"), store.faults_told():
        MlflowClient(hostile).search_runs(["1"])


@pytest.mark.parametrize(
    ("place", "uri", "allowed"),
    [
        (f"mlflow-artifacts:/1/{ID}/artifacts", "https://lab", True),
        (f"mlflow-artifacts://lab:443/1/{ID}/artifacts", "https://lab", True),
        (f"https://lab/files/{ID}/artifacts", "https://user@lab:443/mlflow", True),
        (f"file:///1/{ID}/artifacts", "https://lab", True),
        (f"s3://bucket/{ID}/artifacts", "https://lab", True),
        (f"http://lab/{ID}/artifacts", "https://lab", False),
        (f"https://elsewhere/{ID}/artifacts", "https://lab", False),
        (f"https://lab:8443/{ID}/artifacts", "https://lab", False),
        (f"mlflow-artifacts://elsewhere/1/{ID}/artifacts", "https://lab", False),
        (f"http://lab/{ID}/artifacts", "sqlite:///runs.db", False),
        (f"http://[lab/{ID}/artifacts", "https://lab", False),
    ],
)
def test_the_password_of_a_store_is_shown_to_no_other_server(place, uri, allowed, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = SimpleNamespace(info=SimpleNamespace(run_id=ID, artifact_uri=place))
    assert servers.may_ask(place, uri) == ("[" not in place)  # there is none
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    assert servers.may_ask(place, uri) == allowed
    if allowed:
        assert reading.sound(run) is run
        return
    with pytest.raises(StoreError, match="on another server than the store's"):
        reading.sound(run)
    with pytest.raises((UnsoundError, ValueError)):
        reading.fetch(place, "cost.npy", 5, uri)
