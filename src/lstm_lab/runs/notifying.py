"""A command of the user's own that is run at the end of a run, a group or a sweep: what LSTM_LAB_NOTIFY names.

It comes from the environment alone. A config may come from a store, and what a store says is never run.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console

from lstm_lab.commandline import say
from lstm_lab.config import ConfigError

VARIABLE = "LSTM_LAB_NOTIFY"
SECONDS = 60  # that it is waited for


class Ending(Protocol):
    """What is in MLflow of a run, a group or a study; `ended` is the status with which it did, None until it has."""

    ended: str | None

    @property
    def run_id(self) -> str: ...


def command() -> list[str]:
    """The words of the command, split as a shell splits them; none if the variable is not set, or empty.

    ConfigError if they cannot be told apart, or there is no such program.
    """
    try:
        words = shlex.split(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}: cannot be split into words as a shell does it ({error})") from None
    if words and not shutil.which(words[0]):
        raise ConfigError(f"{VARIABLE}: there is no program '{words[0]}' that can be run; unset it to tell nobody")
    return words


def notify(run_id: str, status: str) -> None:
    """Runs the command, if there is one, with LSTM_LAB_RUN_ID and LSTM_LAB_STATUS in its environment.

    It reads nothing, and what it prints goes to the standard error. One that fails, or takes longer than SECONDS, is
    told of in a line and changes nothing.
    """
    try:
        words = command()
        if words and (code := call(words, {"LSTM_LAB_RUN_ID": run_id, "LSTM_LAB_STATUS": status})):
            warn(f"{words[0]} ended with {code}")
    except subprocess.TimeoutExpired:
        warn(f"{words[0]} was stopped after {SECONDS} seconds")
    except KeyboardInterrupt:
        warn(f"{words[0]} was stopped by Ctrl-C")
    except (ConfigError, OSError, ValueError) as error:
        warn(str(error).removeprefix(f"{VARIABLE}: "))


def call(words: list[str], about: dict[str, str]) -> int:
    """Runs these words as a program, without a shell, and ends it and all that it began if it is not waited for."""
    with subprocess.Popen(
        words, env=os.environ | about, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
    ) as process:
        try:
            return process.wait(SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def warn(what: str) -> None:
    """Says what became of the command, if it was not as it should be."""
    say(Console(stderr=True), f"{VARIABLE}: {what}; the run is not changed by it", "yellow")


@contextlib.contextmanager
def when_over(wanted: bool = True) -> Iterator[Callable[[Ending], None]]:
    """Takes the run once it has begun, and notifies of it when it is over, whatever is raised meanwhile."""
    begun: list[Ending] = []
    otherwise = "FINISHED"
    try:
        yield begun.append
    except BaseException:
        otherwise = "FAILED"
        raise
    finally:
        for run in begun if wanted else ():
            notify(run.run_id, run.ended or otherwise)
