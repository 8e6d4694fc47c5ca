"""Makes an environment hold what a lock pins, or makes the locks anew; run by setup.sh.

setup.sh PIP SHA256 venv FOLDER LOCK [LOCK]  FOLDER (.venv) holds LOCK's packages, and the second LOCK's if they can be
                                             had here; does nothing if it holds them already
setup.sh PIP SHA256 locks UV [OPTION...]     the locks from pyproject.toml, by the uv that the lock UV pins, its OPTIONs

PIP is pip's own wheel, which runs from where it lies: Debian's bare python3 makes a venv, but none with pip in it.
"""

import ast
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
STAMP = "stamp.json"  # in an environment, written last: one without it is unfinished
# Each lock, and what it is made from; packages that are in the first one too have its versions
LOCKS = {
    "requirements.lock": ["pyproject.toml"],
    "requirements-test.lock": ["pyproject.toml", "--group", "test", "--constraints", "requirements.lock"],
    "benchmarks/requirements.lock": ["--group", "bench", "--constraints", "requirements.lock"],
    "benchmarks/requirements-forecasts.lock": ["--group", "forecasts"],
    "bootstrap/requirements.lock": ["--group", "lock"],
}
GIGABYTES = 4  # 3 for an environment and, while it is made, 1 for what was downloaded

# pip's settings about where packages come from, in the environment and in its files; others, such as `target`, could
# put them elsewhere, or refuse some of them
PIP_SETTINGS = (
    *("PIP_CACHE_DIR", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL"),
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


def ensure_venv(pip: str, folder: str, lock: str, optional: str | None = None) -> None:
    """Makes, completes or updates the environment, unless it holds all that the lock pins; then the optional lock."""
    venv = (ROOT / folder).resolve()  # maybe a link to a larger disk
    if holds(venv, lock) and (optional is None or holds(venv, optional)):
        return
    with alone() as handle:
        if not holds(venv, lock):  # nor by now, should another make have been at it
            install_lock(pip, venv, folder, lock, handle)
        if optional and not holds(venv, optional):
            install_optional(pip, venv, optional, handle)


def install_lock(pip: str, venv: Path, folder: str, lock: str, handle: int) -> None:
    """Installs the lock's packages into the environment, which it makes first unless it is ours."""
    fresh = not is_ours(venv)
    (venv / STAMP).unlink(missing_ok=True)
    if fresh:
        say(f"building {folder} from {lock}: up to 0.8 GB to download, 3 GB on disk, a minute on a fast line")
        make_venv(venv)
        needs_space(venv, folder)
    else:
        say(f"updating {folder} from {lock}")
    install = ("--require-hashes", "--build-constraint", lock, "-r", lock)
    fault = run_pip(venv, pip, venv / "pip.log", *install, handle=handle)
    if fault and fresh:
        shutil.rmtree(venv / "lib", ignore_errors=True)  # half of it is of no use, and the disk may be full
    fault = fault or lacking(venv, lock)
    if fault:
        fail(f"{lock} could not be installed: {fault}; pip's log is {venv / 'pip.log'}")
    write_stamp(venv, {name: digest(name) for name in LOCKS if pins(name) <= pins(lock)})


def install_optional(pip: str, venv: Path, lock: str, handle: int) -> None:
    """Installs what the lock names and nothing that this needs in turn; says so if it cannot be had."""
    say(f"adding {lock} to it")
    fault = run_pip(venv, pip, venv / "pip-optional.log", "--no-deps", "--require-hashes", "-r", lock, handle=handle)
    if fault:
        say(f"going on without {lock}: {fault}")
    else:
        write_stamp(venv, {**read_stamp(venv), lock: digest(lock)})


def make_locks(pip: str, uv: str, *options: str) -> None:
    """Compiles the locks by a uv that is gone afterwards; pins stay as they are unless the options say otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        make_venv(Path(folder))
        fault = run_pip(Path(folder), pip, Path(folder, "pip.log"), "--require-hashes", "-r", uv)
        if fault := fault or lacking(Path(folder), uv):
            fail(f"{uv} could not be installed: {fault}")
        command = [f"{folder}/bin/uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--output-file"]
        index = os.environ.get("UV_DEFAULT_INDEX") or pip_settings(pip).get("PIP_INDEX_URL")
        environ = {**os.environ, "VIRTUAL_ENV": folder, **({"UV_DEFAULT_INDEX": index} if index else {})}
        for lock, sources in LOCKS.items():
            say(f"compiling {lock}")
            if subprocess.run([*command, lock, *sources, *options], env=environ).returncode:
                sys.exit(1)  # uv has said why


def holds(venv: Path, lock: str) -> bool:
    """Whether the environment is finished, ours, and has all of this very lock."""
    return read_stamp(venv).get(lock) == digest(lock) and is_ours(venv)


def is_ours(venv: Path) -> bool:
    """Whether it is finished, was made in this folder (not moved or copied here), and its Python still runs.

    With PYTHON in the environment, as `make PYTHON=...` has it: also whether it is of that Python's version.
    """
    stamp = read_stamp(venv)
    wanted = python_version(sys.executable) if os.environ.get("PYTHON") else stamp.get("python")
    return stamp.get("venv") == str(venv) and stamp["python"] == wanted == python_version(venv / "bin/python")


def python_version(python: str | Path) -> str | None:
    """3.11, say; None if it does not run."""
    command = [python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return None


def read_stamp(venv: Path) -> dict[str, str | None]:
    """What the finished environment is, or nothing."""
    try:
        return dict(json.loads((venv / STAMP).read_text()))
    except (OSError, ValueError):
        return {}


def write_stamp(venv: Path, held: dict[str, str | None]) -> None:
    """Declares the environment finished, and to hold the locks of these digests."""
    draft = venv / "stamp.draft"
    what = {**held, "venv": str(venv), "python": python_version(venv / "bin/python")}
    draft.write_text(json.dumps(what, indent=1))
    draft.replace(venv / STAMP)


def pins(lock: str) -> set[str]:
    """The lock's `name==version ; marker` parts."""
    return set(re.findall(r"^\S+==[^\\\n]+", Path(lock).read_text(), re.MULTILINE))


def lacking(venv: Path, lock: str) -> str | None:
    """What the environment lacks of what the lock pins for any machine, wherever pip says that it has put it."""
    everywhere = [pin.strip().split("==") for pin in sorted(pins(lock)) if ";" not in pin]
    code = "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"
    there = subprocess.run([venv / "bin/python", "-I", "-c", code], capture_output=True, text=True).stdout
    has = {canonical(name) for name in there.split()}
    names = [name for name, _ in everywhere if canonical(name) not in has]
    return f"pip has put {', '.join(names[:3])} elsewhere, or nowhere" if names else None


def canonical(name: str) -> str:
    """A package's name as names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def make_venv(folder: Path) -> None:
    """An empty environment in the folder, cleared first; of the Python underneath if this one is a venv's itself."""
    command = [sys._base_executable, "-m", "venv", "--without-pip", "--clear", folder]  # type: ignore[attr-defined]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stdout + done.stderr).strip().splitlines()[-1].removeprefix("Error: ")
        fail(f"{folder} could not be made: {reason}")


def run_pip(venv: Path, pip: str, log: Path, *arguments: str, handle: int | None = None) -> str | None:
    """Has pip install into an environment; why it failed, in a line, or None. The child keeps the handle open."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")} | pip_settings(pip)
    ours |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_USER": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_PROGRESS_BAR": "off",
    }
    downloads = venv / "downloads"  # rather than in /tmp, which can be memory, and small
    downloads.mkdir(exist_ok=True)
    ours["TMPDIR"] = str(downloads)
    command = [f"{venv}/bin/python", f"{pip}/pip", "install", *arguments]
    with open(log, "w") as output:
        handles = () if handle is None else (handle,)
        pip_itself = subprocess.Popen(command, env=ours, stdout=output, stderr=subprocess.STDOUT, pass_fds=handles)
        try:
            watch(pip_itself, log)
        except BaseException:
            pip_itself.kill()
            pip_itself.wait()
            raise
    shutil.rmtree(downloads, ignore_errors=True)
    return cause(log.read_text(errors="replace")) if pip_itself.returncode else None


def watch(pip: "subprocess.Popen[bytes]", log: Path) -> None:
    """Waits for pip to end; on a terminal a line says how far it is."""
    shown = sys.stdout.isatty()
    while shown and pip.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            pip.wait(timeout=0.5)
        print(f"\r\033[K{how_far(log.read_text(errors='replace'))}", end="", flush=True)
    pip.wait()
    if shown:
        print("\r\033[K", end="", flush=True)


def how_far(log: str) -> str:
    """How far pip is, going by its log."""
    if found := re.search(r"^Installing collected packages: (.*)", log, re.MULTILINE):
        return f"installing {found[1].count(',') + 1} packages"
    fetched = re.findall(r"^Collecting (\S+?)==(\S+)", log, re.MULTILINE)
    return f"fetching package {len(fetched)}: {' '.join(fetched[-1])}" if fetched else "asking for packages"


def pip_settings(pip: str) -> dict[str, str]:
    """Those of PIP_SETTINGS that pip is told in its files or in the environment, as environment variables."""
    asked = [sys.executable, f"{pip}/pip", "config", "list"]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        fail(f"pip's settings cannot be read: {(done.stderr.strip().splitlines() or ['pip config list failed'])[-1]}")
    found: dict[str, str] = {}
    for section in ("global", "install"):  # the second one counts more
        for key, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", done.stdout, re.MULTILINE):
            found["PIP_" + key.upper().replace("-", "_")] = " ".join(str(ast.literal_eval(value)).split())
    return {key: value for key, value in {**found, **os.environ}.items() if key in PIP_SETTINGS}


def cause(log: str) -> str:
    """Why pip failed, going by its log."""
    if "No space left on device" in log:
        return "the disk is full"
    if "DO NOT MATCH THE HASHES" in log:
        return "a package is not the one that the lock names (its hash differs)"
    if re.search(r"connection broken by|Could not fetch URL|Max retries exceeded|timed out|from versions: none", log):
        return "the package registry does not answer (network, proxy, certificates, or pip's own settings)"
    if re.search(r"ResolutionImpossible|No matching distribution", log):
        return "pip finds no such version"
    errors = re.findall(r"^\s*ERROR: (.+)", log, re.MULTILINE)
    return errors[-1] if errors else "pip failed"


@contextlib.contextmanager
def alone() -> Iterator[int]:
    """One set-up at a time in this folder. Locks this very file, as environments come and go.

    A child that is given the handle keeps the lock, lest anyone begins beside a pip that outlived its parent.
    """
    with open(__file__, "r+") as handle:  # for writing, which NFS asks for
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another `make` that sets up an environment")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def needs_space(venv: Path, folder: str) -> None:
    """Fails if the environment cannot take what it needs."""
    free = shutil.disk_usage(venv).free / 1e9
    if free < GIGABYTES:
        fail(f"{folder} takes up to {GIGABYTES} GB while it is made, and {ROOT} has {free:.1f} GB left")


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
