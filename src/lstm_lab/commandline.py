"""What the doors have in common: their words and help, Ctrl-C, one clear message for what keeps them from running."""

import atexit
import contextlib
import io
import os
import re
import select
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# What steers a terminal, and what turns a line around
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LINES, LINE = 40, 900  # the lines of a message, and the characters of a line
HELP = ("-h", "--help")
RUN = "the run: the first digits of its id, as report.py shows them; `last`; or a study's name for its best trial"


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around imports, where Ctrl-C ends at once, since a stack trace of imports tells nobody anything."""
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing.name} is not installed here: run `make train`, or `. .venv/bin/activate` after it")
    finally:
        signal.signal(signal.SIGINT, before)


def keep_warnings_harmless() -> None:
    """Lets no warning be an error, here or in the processes that begin here, whatever PYTHONWARNINGS says.

    It would be one of a library's own, about itself.
    """
    kept = [option for option in sys.warnoptions if not option or not "error".startswith(option.partition(":")[0])]
    if kept != sys.warnoptions:
        sys.warnoptions[:] = kept
        os.environ["PYTHONWARNINGS"] = ",".join(kept)
        warnings.filters[:] = [rule for rule in warnings.filters if rule[0] != "error"]  # type: ignore[index]


keep_warnings_harmless()
with importing():
    from lstm_lab.config import CannotRunError, ConfigError
    from lstm_lab.hiding import hide, hide_known
    from lstm_lab.paths import ROOT


@dataclass(frozen=True)
class Door:
    """A command and its words, each as one types it (`steps=100`, or a flag: `--compare`), with what it means."""

    name: str  # of the file in src/
    about: str
    words: dict[str, str]
    closing: str
    needed: str = ""  # the word without which there is nothing to do

    def help(self) -> str:
        """The usage line, what the command does, and what each word means."""
        usage = " ".join(word if word == self.needed else f"[{word}]" for word in self.words)
        width = max(map(len, self.words)) + 3
        indented = "\n" + " " * (width + 2)
        meanings = [f"  {word:{width}}{meaning}".replace("\n", indented) for word, meaning in self.words.items()]
        return "\n".join([f"usage: python src/{self.name}.py {usage}\n\n{self.about}\n", *meanings, "", self.closing])

    def read(self, arguments: Sequence[str]) -> dict[str, str]:
        """The values of the words given, by key, and '' for a flag; ConfigError names a faulty word."""
        known = {word.partition("=")[0]: word for word in self.words}
        values: dict[str, str] = {}
        check_letters(arguments)
        for word in arguments:
            key, equals, value = word.partition("=")
            if key not in known:
                raise ConfigError(f"{key}: no such word; allowed: {', '.join(self.words)}")
            if key == known[key] and equals:
                raise ConfigError(f"{word}: {key} takes no value")
            if key != known[key] and not value:
                raise ConfigError(f"{word}: a value is missing, as in {known[key]}")
            if value and key in values:
                raise ConfigError(f"{word}: {key} is given twice")
            values[key] = value
        if self.needed and self.needed.partition("=")[0] not in values:
            raise ConfigError(f"{self.needed} is missing: which {self.needed.partition('=')[0]}?")
        return values

    def enter(self, answer: Callable[[dict[str, str]], int]) -> int:
        """Answers what was typed and returns the exit code: 2 after what the user can mend, 130 after Ctrl-C."""
        set_up()
        code = self.attend(answer, sys.argv[1:])
        return code if printed() else code or 2

    def attend(self, answer: Callable[[dict[str, str]], int], arguments: Sequence[str]) -> int:
        """Answers these words, or prints the help or what is wrong with them; returns the exit code."""
        if set(HELP) & set(arguments) or (self.needed and not arguments):
            print(self.help())
            return 0 if arguments else 2
        try:
            return answer(self.read(arguments))
        except CannotRunError as error:
            complain(str(error))
            return 2
        except KeyboardInterrupt:
            return 130


def set_up() -> None:
    """Makes Ctrl-C a KeyboardInterrupt, and lets no letter fail that the terminal's encoding has not.

    In a locale without UTF-8 the command begins anew in Python's UTF-8 mode: files and their names are UTF-8 anywhere.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stdout is sys.__stdout__:
        have_streams()
    sys.excepthook = trace
    have_home()
    have_directory()


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


def printed() -> bool:
    """Whether the standard output took what was printed; says so if it did not."""
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(file, Lasting):
        sys.stdout.flush()
        if file.fault:
            complain(f"the standard output did not take what was printed: {file.fault.strerror}")
            return False
    return True


def have_home() -> None:
    """Gives a user without a home, as in a container, an empty one for this command: MLflow cannot be without."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = home = tempfile.mkdtemp(prefix="lstm-lab-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)


def have_directory() -> None:
    """Gives a command whose directory was removed an empty one, and says so: relative names are taken from there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        folder = tempfile.mkdtemp(prefix="lstm-lab-directory-")
        os.chdir(folder)
        complain(f"this directory was removed; names without a leading / are taken from {folder}")
        atexit.register(remove_empty, folder)


def remove_empty(folder: str) -> None:
    """Removes a folder unless something is in it."""
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def trace(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Prints a stack trace as Python does, without the secrets that its messages may quote."""
    print(hide_known("".join(traceback.format_exception(kind, error, where))), end="", file=sys.stderr)


def check_letters(words: Sequence[str]) -> None:
    """Raises ConfigError for a word that is no text: bytes that are not UTF-8."""
    for word in words:
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise ConfigError(f"{ascii(word)[1:-1]}: is not UTF-8")


def complain(message: str) -> None:
    """Prints what keeps a command from running, in red, on the standard error."""
    from rich.console import Console

    lines = message.splitlines()
    more = [f"... and {len(lines) - LINES:,} more"] if len(lines) > LINES else []
    say(Console(stderr=True), "\n".join([*map(cut, lines[:LINES]), *more]), "red")


def cut(line: str) -> str:
    """The line without its middle if it is long, as one is that quotes a long text: its ends say what is wrong."""
    return line if len(line) <= LINE else f"{line[: LINE // 2]} [...] {line[-LINE // 2 :]}"


def say(console: "Console", text: str, style: str | None = None) -> None:
    """Prints plain text, unbroken: nothing in it is markup, a picture (:cat:), a secret, or steers the terminal."""
    text = CONTROLS.sub("\N{REPLACEMENT CHARACTER}", hide(text))
    console.print(text, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)


def typed(door: str, *words: str) -> str:
    """What to type in this directory to run src/{door}.py with these words, by this Python, in any POSIX shell."""
    return shlex.join([python(), shortest(ROOT / "src" / f"{door}.py"), *words])


def make(target: str) -> str:
    """What to type in this directory for a target of the Makefile."""
    return shlex.join(["make", *([] if Path.cwd() == ROOT else ["-C", shortest(ROOT)]), target])


def python() -> str:
    """What to type for the Python that runs this: its path, unless the bare word means the same environment."""
    found = shutil.which("python")
    if not sys.executable or (found and Path(found).parents[1].resolve() == Path(sys.prefix).resolve()):
        return "python"
    return shortest(Path(sys.executable))


def shortest(path: Path) -> str:
    """An absolute path, or the one from this directory if that is shorter and a shell takes it for a path."""
    relative = os.path.relpath(path)
    return relative if "/" in relative and len(relative) < len(str(path)) else str(path)
