"""Secrets planted wherever one can be given: nothing that is left, and nothing that is said, holds one."""

import os
import subprocess
import sys

import psycopg
import pytest

from helpers import copy_project

PLANTED = "PLANTED"
PASSWORD = "pa@s/PLANTED%3A"  # as one might type it, escaped or not


@pytest.fixture
def environment(free_server):
    free_server.start()
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": free_server.uri.replace("://", "://user:PLANTED%40@"),
        "PGPASSWORD": PLANTED,
        "WANDB_API_KEY": PLANTED,
    }


def holding(folder, but):
    """The files in a folder that hold a secret, other than those in which it was planted."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in but]
    return [path for path in files if PLANTED.encode() in path.read_bytes() or PLANTED in path.name]


def test_no_planted_secret_is_recorded_or_said(postgresql, free_server, environment, tmp_path):
    checkout = copy_project(tmp_path / "checkout")
    url = postgresql.replace("lab@", "lab:PLANTED%2F@")
    planted = {
        ".env": f"API_KEY={PLANTED}\n",
        "sweeps/mine.yaml": f"hydra: {{sweeper: {{storage: {{url: '{url}'}}}}}}\n",
        "src/settings.py": f'URL = "{url}"\n',
    }
    for name, text in planted.items():
        (checkout / name).write_text(text)
    said = []

    def do(door, *words, code, **more):
        command = [sys.executable, str(checkout / f"src/{door}.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=checkout, env={**environment, **more})
        assert done.returncode == code, done.stdout + done.stderr
        said.append(done.stdout + done.stderr)

    quick = ["experiment=smoke", "training.level=fast"]
    study = [
        "-m",
        *quick,
        "model.cell_size=8,9",
        f"+hydra.job.env_set.SOME_TOKEN={PLANTED}",
        "hydra.sweeper.study_name=told",
        "hydra.sweeper.n_trials=1",
    ]
    do("train", *study, f"hydra.sweeper.storage.url={url}?sslpassword={PLANTED}", code=0)
    do("train", *study, f"hydra.sweeper.storage.url=postgresql+psycopg://lab:{PASSWORD}@127.0.0.1:1/lab", code=2)
    do("train", *study, f"hydra.sweeper.storage.url=nothing://lab:{PASSWORD}@host", code=2)
    do("train", *quick, "training.steps=x", f"+{PLANTED.lower()}.password={PLANTED}", code=2)
    do("train", *quick, code=2, MLFLOW_TRACKING_URI=f"http://user:{PASSWORD}@127.0.0.1:1")
    do("reproduce", "run=told", code=0)
    do("report", "last=5", "--compare", "html=page.html", code=0)
    assert PLANTED not in "".join(said)
    assert "hydra.sweeper.storage.url=postgresql+psycopg://lab:***@127.0.0.1:1/lab" in said[1]
    assert not holding(checkout, planted)
    assert list((free_server.folder / "stored").rglob("provenance.json"))
    assert not holding(free_server.folder, {})
    with psycopg.connect(postgresql.replace("+psycopg", "")) as connection:
        for table in ("study_user_attributes", "trial_user_attributes", "study_system_attributes"):
            assert PLANTED not in str(connection.execute(f"SELECT * FROM {table}").fetchall())
