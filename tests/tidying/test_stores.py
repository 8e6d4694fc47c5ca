"""What lies below mlruns/ may be another store's: it stays as long as that may be so."""

import contextlib
import shutil

import pytest

from lstm_lab.config import ConfigError
from lstm_lab.records import store
from lstm_lab.reports import terminal as reports
from lstm_lab.runs import forecasting
from lstm_lab.tidying import stores
from tidying.conftest import House

LOST = "deadbeef" * 4


@contextlib.contextmanager
def in_use(uri: str):
    """Another store is the one in use."""
    open_store = store.open_store
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        open_store.cache_clear()
        yield
    open_store.cache_clear()


@pytest.fixture
def other(house, empty_store, tmp_path):
    """The address of another SQLite store, in which nothing has run."""
    (tmp_path / "other").mkdir()
    shutil.copy(empty_store / "mlflow.db", tmp_path / "other/runs.db")
    return store.sqlite_uri(tmp_path / "other/runs.db")


def test_a_run_of_another_store_keeps_what_it_left_here(house, other):
    with in_use(other):
        store.remember_store()
        store.remember_store()
        run_id = House(house.root).run("KILLED", files=False)
    assert (house.mlruns / ".stores").read_text() == f"{other}\n"
    house.leave(run_id)
    before = house.files()
    assert "nothing to remove" in house.tidy(for_good=True)
    assert before.keys() <= house.files().keys()


@pytest.mark.parametrize(
    "address", ["sqlite:////nowhere/runs.db", "https://lab:***@tracking:5000", "postgresql://host/lab"]
)
def test_with_a_store_that_cannot_be_asked_what_no_run_owns_stays_and_what_a_run_owned_goes(house, address):
    (house.mlruns / ".stores").write_text(f"{address}\n")
    house.run(deleted=True, goes=True)
    house.leave(LOST)
    before = house.files().keys()
    said = house.tidy(for_good=True)
    assert "5 files and folders of runs that this store does not have stay" in said
    assert address in said
    assert before - house.files().keys() == house.gone


def test_another_store_in_use_is_tidied_by_itself(house, other):
    own = house.run(), house.run(deleted=True)  # of the repo's own store, which is not in use
    with in_use(other):
        there = House(house.root)
        stays, goes = there.run(), there.run(deleted=True, goes=True)
        folder = store.artifact_folder()
        for run_id in (stays, goes):
            shutil.move(house.mlruns / "artifacts" / run_id, folder / run_id)
        (folder / LOST / "artifacts").mkdir(parents=True)  # perhaps of another database beside this one
        before = house.files().keys()
        said = there.tidy(for_good=True)
        assert there.runs() == {stays}
    assert "runs deleted in MLflow" in said
    assert before - house.files().keys() == {name for name in there.gone if "artifacts" not in name}
    assert {path.name for path in folder.iterdir()} == {stays, LOST}
    assert house.runs() == set(own)


def test_a_servers_runs_are_not_removed_but_what_no_run_owns_here_is(house, other):
    own = house.run()
    with in_use(other), pytest.MonkeyPatch.context() as patch:
        there = House(house.root)
        theirs = there.run(deleted=True), there.run("KILLED")
        house.gone |= set(house.leave(LOST))
        client = store.open_store()
        patch.setattr(store, "database_file", lambda: None)
        patch.setattr(store, "check_store", lambda reading: None)
        patch.setattr(store, "open_store", lambda: client)
        before = house.files().keys()
        said = there.tidy(days=0, for_good=True)
        assert there.runs() == set(theirs)
    assert "are for its owner to remove" in said
    assert before - house.files().keys() == house.gone
    assert house.client.get_run(own)


def test_without_the_database_nothing_is_taken_for_nobodys(house):
    run_id = house.run()
    (house.root / "mlflow.db").rename(house.root / "moved.db")
    with pytest.raises(ConfigError, match="whose anything is cannot be told"):
        house.tidy(for_good=True)
    assert not (house.root / "mlflow.db").exists()
    assert (house.mlruns / "artifacts" / run_id).exists()
    assert stores.ids_in(store.LOCAL_URI) is None


def test_before_the_first_run_there_is_nothing_to_remove(house):
    (house.root / "mlflow.db").unlink()
    assert house.tidy(for_good=True) == "nothing to remove: there is no run yet\n"


def test_behind_a_link_nothing_goes(house, tmp_path):
    house.run(deleted=True), house.leave(LOST)
    house.mlruns.rename(tmp_path / "big disk")
    house.mlruns.symlink_to(tmp_path / "big disk")
    before = {*(tmp_path / "big disk").rglob("*")}
    said = house.tidy(for_good=True)
    assert "nothing to remove" in said
    assert before <= {*(tmp_path / "big disk").rglob("*")}


def test_what_leaves_something_here_of_another_store_notes_that(house, other, monkeypatch):
    monkeypatch.setattr(reports, "REPORTS", house.mlruns / "reports")
    monkeypatch.setattr(forecasting, "ROOT", house.root)
    reports.write_page(house.mlruns / "reports/20261128-010203.html", "<html>")
    assert store.remembered() == []
    with in_use(other):
        reports.write_page(house.mlruns / "reports/20261128-010203.html", "<html>")
    assert store.remembered() == [other]
    store.STORES.unlink()
    with in_use(other):
        forecasting.find_target(house.client.get_run(house.run()), house.root / "a.csv", None)
    assert store.remembered() == [other]
    with in_use("https://lab:hunter22@tracking:5000"):
        store.remember_store()
    assert "hunter22" not in (house.mlruns / ".stores").read_text()
