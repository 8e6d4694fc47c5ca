"""The whole of it, against a store full of traps: what goes, what stays, and what a kill leaves."""

import json
import pkgutil
import re
import subprocess
import sys

import pytest

from helpers import copy_project
from lstm_lab.tidying import removing
from tidying.conftest import DEAD, House

LOST, OTHER = "deadbeef" * 4, "5ca1ab1e" * 4  # runs that no store has


def fill(house: House) -> None:
    """Puts into the house whatever there may be."""
    run = house.run
    fill_with_what_goes(house)
    run(), run("FAILED", days=10), run("KILLED", days=10)  # an ordinary one, and those that older=30 leaves
    run("KILLED", days=100, tags={"trial.state": "PRUNED", "trial": "1"})
    run("FAILED", days=100, tags={"mlflow.source.name": "another.py"})
    run("RUNNING", tags={"mlflow.lstm_lab.process": json.dumps(DEAD)})  # the next training marks it KILLED
    cited = [run(deleted=True), run("FAILED", days=100), run(deleted=True)]
    (house.root / "RECORDS.md").write_text(f"Run `{cited[0][:8]}` is best, [that]({cited[1]}) failed.")
    (house.root / "PAPERS.md").write_text(f"seen in run {cited[2][:12]}; a hash ab{cited[0]}, a word deadbee")
    again = run(tags={"reproduces": run(deleted=True)})
    run(deleted=True, tags={"reproduces": again}, goes=True)
    parent = run("KILLED", days=100)
    run(tags={"mlflow.parentRunId": parent})
    run(tags={"seeds": "0-1", "mlflow.lstm_lab.seed.0": run(deleted=True), "mlflow.lstm_lab.seed.1": run()})
    elsewhere = {"host": "another machine", "pid": 1, "started": "once"}
    run("RUNNING", deleted=True, tags={"process": json.dumps(elsewhere)})
    run("RUNNING", deleted=True)  # nobody signed it
    fill_with_users_own(house)


def fill_with_what_goes(house: House) -> None:
    """What must go."""
    fill_with_one_of_each(house)
    house.run("RUNNING", deleted=True, goes=True, tags={"process": json.dumps(DEAD)})
    house.model(house.run("KILLED", days=40, goes=True), goes=True)
    first = house.run(deleted=True, goes=True)
    house.run(deleted=True, goes=True, tags={"reproduces": first})  # both go
    report = house.file("reports/20261128-010205.html")
    (house.root / report).write_text(first)
    house.gone.add(report)


def fill_with_one_of_each(house: House) -> None:
    """Of each kind that must go one thing."""
    house.model(house.run(deleted=True, goes=True), goes=True)
    house.run("FAILED", days=40, goes=True)
    house.gone |= set(house.leave(LOST))
    house.gone.add(house.file(f"artifacts/models/m-{LOST}/artifacts/MLmodel", 100))
    house.client.delete_logged_model(house.model(house.run(), goes=True))
    report = house.file("reports/20261128-010203.html")
    (house.root / report).write_text(f"<span class='id'>{LOST}</span>")
    house.gone.add(report)
    house.study("empty", parent_run=LOST)
    house.trials_folder("empty", goes=True)
    house.trials_folder("gone", goes=True)


def fill_with_users_own(house: House) -> None:
    """What is nobody's run's by its form, or leads elsewhere."""
    house.study("full", trials=1)
    house.trials_folder("full"), house.trials_folder("shared", url="postgresql://host/lab")
    mine = house.root / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("all of it")
    for name in (
        "notes.txt", "artifacts/notes.txt", "artifacts/my folder/a.csv", "artifacts/models/mine/a.bin",
        f"checkpoints/{OTHER}/notes.txt", "checkpoints/best/step-0000000003.npz",
        "tensorboard/mine/events.out.tfevents.1", "tensorboard/mine-5ca1ab/notes.txt",
        "forecasts/sales-20240131.csv", "forecasts/5ca1ab1e.txt",
        "reports/mine.html", "reports/20261128-010204.html", "sweeps/mine/0/a.csv", "findings-3-seeds/FINDINGS.md",
        "compiled/0387a87fcaf5/a.pb", f"artifacts/{OTHER}/mine.txt",
    ):  # fmt: skip
        house.file(name)
    for name in (f"artifacts/{OTHER[::-1]}", f"checkpoints/{OTHER[::-1]}", "tensorboard/a-5ca1ab", "sweeps/link"):
        (house.mlruns / name).symlink_to(mine)
    (house.mlruns / "forecasts/link-5ca1ab1e.csv").symlink_to(mine / "thesis.tex")
    others = [f"{(house.mlruns / 'artifacts' / run_id / 'artifacts').as_uri()}" for run_id in (OTHER, house.run())]
    for uri in (str(mine), "s3://bucket/x/artifacts", *others):
        house.address(house.run(deleted=True, files=False), uri)
    link = house.run(deleted=True, files=False)
    (house.mlruns / "artifacts" / link).mkdir()
    (house.mlruns / "artifacts" / link / "artifacts").symlink_to(mine)


def without(files: dict[str, str], gone: set[str]) -> dict[str, str]:
    """The files but for those and for what opening a store may write."""
    unlike = {"mlflow.db", "mlruns/optuna.db", "mlruns/.lock", "mlruns/.study.lock", "mlruns/.tidy.lock", *gone}
    return {name: digest for name, digest in files.items() if name not in unlike}


def test_what_nobody_owns_goes_and_nothing_else_does(house):
    fill(house)
    before, runs, taken = house.files(), house.runs(), removing.size_of([house.mlruns])
    said = house.tidy(days=30)
    assert without(house.files(), set()) == without(before, set())
    assert [house.files()[name] for name in ("mlflow.db", "mlruns/optuna.db")] == [
        before[name] for name in ("mlflow.db", "mlruns/optuna.db")
    ]
    assert "this removes it: " in said
    assert max(map(len, said.split("this removes it")[0].splitlines()[:9])) <= 80

    removed = house.tidy(days=30, for_good=True)
    assert without(house.files(), set()) == without(before, house.gone)
    assert re.search(r"(?m)^runs deleted in MLflow +5 ", said)
    assert re.search(r"(?m)^failed and killed runs +2 ", said)
    assert len(runs - house.runs()) == 7
    assert house.studies() == {"full"}
    assert said.partition("nothing is removed")[0] == removed.partition("removed")[0].partition("\nremoved")[0]
    megabytes = float(re.search(r"(?m)^in all +\d+ +([\d.]+)", said)[1])
    databases = [house.root / "mlflow.db", house.mlruns / "optuna.db"]
    assert megabytes == pytest.approx((taken - removing.size_of([house.mlruns])) / 1e6, abs=0.1), databases
    assert "nothing to remove" in house.tidy(days=30)
    assert "nothing to remove" in house.tidy(days=30, for_good=True)
    assert all(house.client.get_run(run_id).info.run_id for run_id in house.runs())


class Killed(BaseException):
    """Stands for a SIGKILL."""


# What a tidying changes anything with
STEPS = [
    "os.unlink", "os.rmdir", "os.rename", "mlflow.MlflowClient.delete_run", "optuna.storages.RDBStorage.delete_study",
    "mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore._hard_delete_run",
    "mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore._hard_delete_logged_model",
]  # fmt: skip


def kill_after_a_step(patch: pytest.MonkeyPatch) -> None:
    """Lets one such step be done, and none after it."""
    done: list[object] = []

    def stepping(original):
        def step(*arguments, **options):
            if done:
                raise Killed
            made = original(*arguments, **options)
            if "mlflow.db" not in str(arguments[0]):  # SQLite's own
                done.append(original)
            return made

        return step

    for name in STEPS:
        patch.setattr(name, stepping(pkgutil.resolve_name(name.rpartition(".")[0]).__dict__[name.rpartition(".")[2]]))


def test_killed_after_every_single_step_it_comes_to_the_same_end(house):
    fill_with_one_of_each(house)
    kept = house.run(), house.run("KILLED", days=3), house.model(house.run())
    before, runs = house.files(), house.runs()
    wanted, kills = without(before, house.gone), 0
    while True:
        with pytest.MonkeyPatch.context() as patch:
            kill_after_a_step(patch)
            try:
                house.tidy(days=30, for_good=True)
                break
            except Killed:
                kills += 1
        found = without(house.files(), set())
        assert wanted.items() <= found.items()
        assert set(kept[:2]) <= house.runs()
    assert kills > 30
    assert without(house.files(), set()) == wanted
    assert len(runs - house.runs()) == 2
    assert house.studies() == set()
    assert not list(house.mlruns.glob("sweeps/*"))
    assert not [folder for folder in house.folders() if LOST in folder or "m-dead" in folder]
    assert "nothing to remove" in house.tidy(days=30)


def tidy_door(house: House, *words: str, code: str = "") -> subprocess.Popen:
    """The command in a process of its own, behind some lines of Python."""
    door = "import runpy, sys; sys.path[0] = 'src'; sys.argv = ['src/tidy.py', *sys.argv[1:]]"
    script = f"{door}\n{code}\nrunpy.run_path('src/tidy.py', run_name='__main__')"
    command = [sys.executable, "-c", script, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=house.root, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_command_that_is_killed_is_finished_by_one_typed_meanwhile(house):
    copy_project(house.root)
    fill_with_what_goes(house)
    wanted = without(house.files(), house.gone)
    hold = "import lstm_lab.tidying.removing as r; r.run_now = lambda *a: print('held', flush=True) or sys.stdin.read()"
    with tidy_door(house, "--yes", "older=30", code=hold) as killed:
        assert "held\n" in iter(killed.stdout.readline, ""), killed.stderr.read()
        with tidy_door(house, "--yes", "older=30") as other:  # waits for the first one
            killed.kill()
            said, faults = other.communicate()
    assert (other.returncode, faults) == (0, "")
    assert "removed" in said
    found = {name: digest for name, digest in without(house.files(), set()).items() if "__pycache__" not in name}
    assert found == wanted
