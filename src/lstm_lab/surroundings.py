"""What a command finds around it: its streams, letters, home and directory, none of which may end a run."""

import atexit
import contextlib
import io
import os
import select
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any


def keep_warnings_harmless() -> None:
    """Lets no warning be an error, here or in the processes that begin here, whatever PYTHONWARNINGS says.

    It would be one of a library's own, about itself.
    """
    kept = [option for option in sys.warnoptions if not option or not "error".startswith(option.partition(":")[0])]
    if kept != sys.warnoptions:
        sys.warnoptions[:] = kept
        os.environ["PYTHONWARNINGS"] = ",".join(kept)
        warnings.filters[:] = [rule for rule in warnings.filters if rule[0] != "error"]  # type: ignore[index]


def have_utf8() -> None:
    """In a locale without UTF-8 begins the command anew in Python's UTF-8 mode: files and names are UTF-8 anywhere."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class Lasting(io.FileIO):
    """A file that takes whatever is written: printing ends no run when `| head` has gone or the disk is full."""

    fault: OSError | None = None  # why it lost some of it, but for a reader that has gone: that one wants no more

    def write(self, text: Any) -> int:
        """As of any file, waiting while it is busy; what it does not take is gone."""
        try:
            while (written := super().write(text)) is None:
                select.select([], [self], [])
        except OSError as error:
            self.fault = None if isinstance(error, BrokenPipeError) else error
            written = memoryview(text).nbytes
        return written


def have_streams() -> None:
    """Makes what is printed last; in a closed stream's place stands none, or the next file opened would get it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout, sys.stderr = lasting(1, sys.stdout), lasting(2, sys.stderr)


def lasting(number: int, stream: Any) -> io.TextIOWrapper:
    """That standard stream anew, over a file that lasts; a letter that its encoding has not is a question mark."""
    file = io.BufferedWriter(Lasting(number, "w", closefd=False))
    encoding, line_buffering = (stream.encoding, stream.line_buffering) if stream else ("utf-8", False)
    return io.TextIOWrapper(file, encoding, "replace", line_buffering=line_buffering)


def printing_fault() -> OSError | None:
    """Why the standard output did not take all that was printed; None if it did."""
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(file, Lasting):
        return None
    sys.stdout.flush()
    return file.fault


def have_home() -> None:
    """Gives a user without a home, as in a container, an empty one for this command: MLflow cannot be without."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = home = tempfile.mkdtemp(prefix="lstm-lab-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)


def have_directory() -> str | None:
    """Gives a command whose directory was removed an empty one: relative names are taken from there. Returns it."""
    try:
        os.getcwd()
        return None
    except FileNotFoundError:
        folder = tempfile.mkdtemp(prefix="lstm-lab-directory-")
        os.chdir(folder)
        atexit.register(remove_empty, folder)
        return folder


def remove_empty(folder: str) -> None:
    """Removes a folder unless something is in it."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)
