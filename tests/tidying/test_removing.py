"""What changes while a tidying is at it: what is in use by then stays."""

import dataclasses
import fcntl
import os
import subprocess

import pytest

from lstm_lab.tidying import leftovers, plan, removing


def test_a_size_is_what_du_counts(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/large").write_bytes(os.urandom(100_000))
    (tmp_path / "folder/sparse").touch()
    os.truncate(tmp_path / "folder/sparse", 10**8)
    os.link(tmp_path / "folder/large", tmp_path / "folder/again")
    (tmp_path / "folder/link").symlink_to("/usr")
    counted = subprocess.run(["du", "-sk", tmp_path / "folder"], capture_output=True, text=True, check=True)
    assert removing.size_of([tmp_path / "folder"]) == 1024 * int(counted.stdout.split()[0])
    assert removing.size_of([tmp_path / "nothing"]) == 0


def test_a_run_that_begins_meanwhile_keeps_its_folders(house, monkeypatch):
    begun = []
    listed = leftovers.left_behind
    monkeypatch.setattr(leftovers, "left_behind", lambda: [*listed(), *(begun.append(house.run()) or ())])
    in_list = house.run()
    owners = plan.owners
    monkeypatch.setattr(plan, "owners", lambda: begun.append(house.run()) or owners())
    before = house.files().keys()
    assert "nothing to remove" in house.tidy(for_good=True)
    assert before <= house.files().keys()
    assert {*begun, in_list} == house.runs()
    assert len([name for name in house.files() if "checkpoints" in name]) == 3


@pytest.mark.parametrize("back", [lambda client, run_id: client.restore_run(run_id), lambda client, run_id: None])
def test_a_run_that_is_restored_meanwhile_keeps_everything(house, monkeypatch, back):
    run_id = house.run(deleted=True, goes=True)
    before, now = house.files().keys(), removing.run_now
    monkeypatch.setattr(removing, "run_now", lambda client, run_id: (back(client, run_id), now(client, run_id))[1])
    house.tidy(for_good=True)
    restored = run_id in house.runs()
    assert before - house.files().keys() == (set() if restored else house.gone)


def run_meanwhile(monkeypatch, act):
    """Has something happen between finding out what goes and removing it."""
    listed = plan.make
    monkeypatch.setattr(plan, "make", lambda *arguments: (listed(*arguments), act())[0])


@pytest.mark.parametrize("tag", ["reproduces", "mlflow.lstm_lab.seed.3", "mlflow.parentRunId"])
def test_a_run_that_another_comes_to_need_meanwhile_stays(house, monkeypatch, tag):
    run_id = house.run("FAILED", days=100)
    before, begun = house.files().keys(), []
    run_meanwhile(monkeypatch, lambda: begun.append(house.run("RUNNING", tags={tag: run_id})))
    assert "nothing to remove" in house.tidy(days=30, for_good=True)
    assert house.runs() == {run_id, *begun}
    assert before <= house.files().keys()


def test_a_group_that_is_restored_meanwhile_keeps_its_seeds(house, monkeypatch):
    seed, other = house.run(deleted=True), house.run(deleted=True)
    group = house.run(deleted=True, tags={"seeds": "0", "mlflow.lstm_lab.seed.0": seed, "note": other})
    run_meanwhile(monkeypatch, lambda: house.client.restore_run(group))
    house.tidy(for_good=True)
    assert house.runs() == {group, seed}


def test_a_killed_run_that_is_resumed_meanwhile_keeps_everything(house, monkeypatch):
    run_id = house.run("KILLED", days=100)
    before, now = house.files().keys(), removing.run_now
    monkeypatch.setattr(
        removing,
        "run_now",
        lambda client, run_id: (client.update_run(run_id, status="RUNNING"), now(client, run_id))[1],
    )
    assert "nothing to remove" in house.tidy(days=30, for_good=True)
    assert before <= house.files().keys()
    assert house.client.get_run(run_id).info.lifecycle_stage == "active"


def test_what_cannot_be_removed_is_told_and_nothing_else_is_lost(house, monkeypatch):
    run_id = house.run(deleted=True)

    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removing.shutil, "rmtree", refuse)
        with pytest.raises(removing.store.StoreError, match=f"{run_id}.*Permission denied"):
            house.tidy(for_good=True)
    assert run_id in house.runs()
    assert "removed" in house.tidy(for_good=True)
    assert run_id not in house.runs()


def test_a_study_that_is_begun_meanwhile_stays(house, monkeypatch):
    house.study("new")  # it has no page yet
    page = house.run("RUNNING", files=False)
    listed = plan.make

    def begin(*arguments):
        found = listed(*arguments)
        storage = house.opened()
        storage.set_study_user_attr(storage.get_study_id_from_name("new"), "parent_run", page)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "make", begin)
        assert "nothing to remove" in house.tidy(for_good=True)
    assert house.studies() == {"new"}
    assert "nothing to remove" in house.tidy(for_good=True)  # its page may have a worker
    house.client.set_terminated(page, "KILLED")
    assert "studies without trials" in house.tidy(for_good=True)
    assert house.studies() == set()


def test_a_run_that_mlflows_list_has_missed_keeps_its_folders(house, monkeypatch):
    house.run()
    read = plan.contents
    monkeypatch.setattr(plan, "contents", lambda client: dataclasses.replace(read(client), runs=[]))
    before = house.files().keys()
    assert "nothing to remove" in house.tidy(for_good=True)
    assert before <= house.files().keys()


def test_runs_go_last_and_no_other_tidying_goes_on_meanwhile(house):
    """Reports of runs that are in no store would stay here, since not every store can be asked."""
    (house.mlruns / ".stores").write_text("https://tracking:5000\n")
    run_id = house.run(deleted=True)
    report = house.root / house.file("reports/20261128-010203.html")
    report.write_text(run_id)

    def stop(client, run_id):
        assert not report.exists()
        with open(house.mlruns / ".tidy.lock") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(removing, "run_now", stop)
        with pytest.raises(KeyboardInterrupt):
            house.tidy(for_good=True)
    assert "removed" in house.tidy(for_good=True)
    assert run_id not in house.runs()
