"""Makes .venv hold what a lock pins, or makes the locks anew; run by setup.sh.

setup.sh PIP SHA256 venv LOCK             .venv holds LOCK's packages; does nothing if it holds them already
setup.sh PIP SHA256 locks UV [OPTION...]  both locks from pyproject.toml, by UV (uv==1.2.3) with its OPTIONs

PIP is pip's own wheel, which runs from where it lies: Debian's bare python3 makes a venv, but none with pip in it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = (ROOT / ".venv").resolve()  # maybe a link to a larger disk
STAMP = VENV / "stamp.json"  # written last: a .venv without it is unfinished
LOCKS = ("requirements.lock", "requirements-test.lock")
GIGABYTES = 4  # 3 for .venv and, while it is made, 1 for what was downloaded

# pip's settings about where packages come from; others could put them elsewhere than in .venv, or refuse some of them
PIP_SETTINGS = (
    *("PIP_CACHE_DIR", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL"),
    *("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_KEYRING_PROVIDER", "PIP_NO_CACHE_DIR", "PIP_NO_INDEX", "PIP_PROXY"),
    *("PIP_RESUME_RETRIES", "PIP_RETRIES", "PIP_TIMEOUT", "PIP_TRUSTED_HOST"),
)


def main(pip: str, sha256: str, command: str, *arguments: str) -> None:
    """Runs one of the two commands."""
    for sent in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent, signal.default_int_handler)  # like Ctrl-C: the pip that runs must end as well
    os.chdir(ROOT)
    try:
        if digest(pip) != sha256:
            fail(f"{pip} is not the wheel that the Makefile names (its sha256 differs): git checkout {pip}")
        if command == "venv":
            ensure_venv(pip, *arguments)
        else:
            make_locks(pip, *arguments)
    except OSError as error:
        fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except KeyboardInterrupt:
        say("interrupted; the next `make` starts over")
        sys.exit(130)


def ensure_venv(pip: str, lock: str) -> None:
    """Makes, completes or updates .venv, unless it holds all that the lock pins."""
    if holds(lock):
        return
    with alone() as handle:
        if holds(lock):  # by now, since another make was at it
            return
        fresh = not is_ours()
        STAMP.unlink(missing_ok=True)
        if fresh:
            say(f"building .venv from {lock}: 0.8 GB to download, 3 GB on disk, about a minute on a fast line")
            make_venv(VENV)
            needs_space(GIGABYTES)
        else:
            say(f"updating .venv from {lock}")
        log = VENV / "pip.log"
        downloads = VENV / "downloads"  # rather than in /tmp, which can be memory, and small
        downloads.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = str(downloads)
        install = ("--require-hashes", "--build-constraint", lock, "-r", lock)
        fault = run_pip(VENV, pip, log, *install, handle=handle)
        shutil.rmtree(downloads, ignore_errors=True)
        if fault and fresh:
            shutil.rmtree(VENV / "lib", ignore_errors=True)  # half of it is of no use, and the disk may be full
        if fault:
            fail(f"{lock} could not be installed: {fault}; pip's log is {log}")
        write_stamp(lock)


def make_locks(pip: str, uv: str, *options: str) -> None:
    """Compiles both locks by a uv that is gone afterwards; pins stay as they are unless the options say otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        make_venv(Path(folder))
        fault = run_pip(Path(folder), pip, Path(folder, "pip.log"), uv)
        if fault:
            fail(f"{uv} could not be installed: {fault}")
        command = [f"{folder}/bin/uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-header", "pyproject.toml", "--output-file"]
        environ = {**os.environ, "VIRTUAL_ENV": folder, **uv_index(pip)}
        for lock, group in zip(LOCKS, ((), ("--group", "test", "--constraints", LOCKS[0])), strict=True):
            say(f"compiling {lock}")
            if subprocess.run([*command, lock, *group, *options], env=environ).returncode:
                sys.exit(1)  # uv has said why


def uv_index(pip: str) -> dict[str, str]:
    """The index that pip is told to use, for uv, which does not read pip's settings."""
    ask = [sys.executable, f"{pip}/pip", "config", "get", "global.index-url"]
    told = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or told
    return {"UV_DEFAULT_INDEX": index} if index else {}


def holds(lock: str) -> bool:
    """Whether .venv is finished, ours, and has all of this very lock."""
    return read_stamp().get(lock) == digest(lock) and is_ours()


def is_ours() -> bool:
    """Whether .venv is finished, was made in this folder (not moved or copied here), and its Python still runs.

    With PYTHON in the environment, as `make PYTHON=...` has it: also whether it is of that Python's version.
    """
    stamp = read_stamp()
    wanted = python_version(sys.executable) if os.environ.get("PYTHON") else stamp.get("python")
    return stamp.get("venv") == str(VENV) and stamp["python"] == wanted == python_version(VENV / "bin/python")


def python_version(python: str | Path) -> str | None:
    """3.11, say; None if it does not run."""
    command = [python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return None


def read_stamp() -> dict[str, str | None]:
    """What the finished .venv is, or nothing."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def write_stamp(lock: str) -> None:
    """Declares .venv finished, and to hold every lock whose pins are all among this one's."""
    held = {name: digest(name) for name in LOCKS if pins(name) <= pins(lock)}
    draft = STAMP.with_suffix(".draft")
    draft.write_text(json.dumps({"venv": str(VENV), "python": python_version(VENV / "bin/python"), **held}, indent=1))
    draft.replace(STAMP)


def pins(lock: str) -> set[str]:
    """The lock's `name==version ; marker` parts."""
    return set(re.findall(r"^\S+==[^\\\n]+", Path(lock).read_text(), re.MULTILINE))


def make_venv(folder: Path) -> None:
    """An empty environment in the folder, cleared first; of the Python underneath if this one is a venv's itself."""
    command = [sys._base_executable, "-m", "venv", "--without-pip", "--clear", folder]  # type: ignore[attr-defined]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stdout + done.stderr).strip().splitlines()[-1].removeprefix("Error: ")
        fail(f"{folder} could not be made: {reason}")


def run_pip(venv: Path, pip: str, log: Path, *arguments: str, handle: int | None = None) -> str | None:
    """Has pip install into an environment; why it failed, in a line, or None. The child keeps the handle open."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") or key in PIP_SETTINGS}
    ours |= {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}
    command = [f"{venv}/bin/python", f"{pip}/pip", "install", *arguments]
    with open(log, "w") as output:
        handles = () if handle is None else (handle,)
        done = subprocess.run(command, env=ours, stdout=output, stderr=subprocess.STDOUT, pass_fds=handles)
    return cause(log.read_text(errors="replace")) if done.returncode else None


def cause(log: str) -> str:
    """Why pip failed, going by its log."""
    if "No space left on device" in log:
        return "the disk is full"
    if "DO NOT MATCH THE HASHES" in log:
        return "a package is not the one that the lock names (its hash differs)"
    if re.search(r"connection broken by|Could not fetch URL|Max retries exceeded|timed out|from versions: none", log):
        return "the package registry does not answer (network, proxy, certificates, or pip's own settings)"
    errors = re.findall(r"^\s*ERROR: (.+)", log, re.MULTILINE)
    return errors[-1] if errors else "pip failed"


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """One set-up at a time in this folder. Locks this very file, as .venv itself comes and goes.

    A child that is given the handle keeps the lock, lest anyone begins beside a pip that outlived its parent.
    """
    with open(__file__, "r+") as handle:  # for writing, which NFS asks for
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another `make` that sets up .venv")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def needs_space(gigabytes: int) -> None:
    """Fails if .venv cannot take that much."""
    free = shutil.disk_usage(VENV).free / 1e9
    if free < gigabytes:
        fail(f".venv takes up to {gigabytes} GB while it is made, and {ROOT} has {free:.1f} GB left")


def digest(path: str) -> str:
    """The file's sha256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def say(message: str) -> None:
    """Prints the line at once."""
    print(message, flush=True)


def fail(message: str) -> NoReturn:
    """Ends in one line."""
    sys.exit(message)


if __name__ == "__main__":
    main(*sys.argv[1:])
