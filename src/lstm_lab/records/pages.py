"""MLflow's pages, served to this machine: `make ui`."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rich.console import Console

from lstm_lab.commandline import say, typed, working
from lstm_lab.config import ConfigError
from lstm_lab.paths import whole_file
from lstm_lab.records import lookup, store
from lstm_lab.records.store import StoreError

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_WORKERS": "1",
    "PYTHONWARNINGS": "ignore",  # of what MLflow's own libraries are about to drop
}
POLL_SECONDS = 0.1


def serve(port: int | None, console: Console) -> None:
    """Serves the pages until Ctrl-C; ConfigError or StoreError if there is nothing to serve, or no way to."""
    uri = store.tracking_uri()
    if uri.startswith("http"):
        raise ConfigError(f"runs are at {store.without_user(uri)}, which MLFLOW_TRACKING_URI names: browse them there")
    store.check_store(reading=True)
    database = store.database_file()
    if database and not database.exists():
        raise ConfigError(f"there is no run yet ({database} is not there); `{typed('train')}` makes one")
    port = port or store.port()
    check_port(port)
    with tempfile.TemporaryFile() as log, packages() as folder, server(uri, port, folder, log) as process:
        with working(console, "starting MLflow"):
            page = newest_page(store.open_store())
            wait_for_answer(process, port, log)
        remember(port)
        say(console, f"MLflow: http://127.0.0.1:{port}/{page}\nCtrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
            raise has_ended(process, log)


def check_port(port: int) -> None:
    """Raises ConfigError if another program has the port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ConfigError(
            f"port {port} cannot be had ({os.strerror(error.errno or 0)}), maybe another program has it; choose one: "
            f"`make ui PORT={port + 1}`"
        ) from None


@contextlib.contextmanager
def packages() -> Iterator[str]:
    """This environment's packages by a path of their own: MLflow's migrations are in no folder with a %."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "packages")
        link.symlink_to(sysconfig.get_path("purelib"))
        yield str(link)


@contextlib.contextmanager
def server(uri: str, port: int, packages: str, log: IO[bytes]) -> "Iterator[subprocess.Popen[bytes]]":
    """MLflow's server, which ends with this; what it has to say goes to `log`."""
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--uvicorn-opts", "--log-level error"]
    named = {"MLFLOW_BACKEND_STORE_URI": uri}  # not typed: it may hold a password
    environment = os.environ | QUIET | named | {"PYTHONPATH": packages}
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    for sent in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent, signal.default_int_handler)  # like Ctrl-C: the server must end as well
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for_answer(process: "subprocess.Popen[bytes]", port: int, log: IO[bytes]) -> None:
    """Waits until the server takes connections; StoreError if it ends before."""
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(POLL_SECONDS)
    raise has_ended(process, log)


def has_ended(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> StoreError:
    """What is said of a server that ended by itself: the last thing that it said."""
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()
    return StoreError(f"MLflow's server ended with {process.returncode}: {said[-1] if said else 'it says nothing'}")


def newest_page(client: "MlflowClient") -> str:
    """The runs of the experiment in which one began last; of all experiments, if there is no run."""
    experiments = list(lookup.experiments_of(client))
    order = ["attributes.start_time DESC"]
    for run in client.search_runs(experiments, lookup.begun(), max_results=1, order_by=order):
        return store.runs_page(run.info.experiment_id)
    return f"#/experiments?{store.TRAINING}"


def remember(port: int) -> None:
    """Has links name that port from now on, as far as this user may write here."""
    with contextlib.suppress(OSError), whole_file(store.PORT_FILE) as whole:
        whole.write_text(str(port))
