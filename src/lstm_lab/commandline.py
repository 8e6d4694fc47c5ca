"""What the doors have in common: their words and help, Ctrl-C, one clear message for what keeps them from running."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lstm_lab import surroundings

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


surroundings.keep_warnings_harmless()
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
                raise ConfigError(f"{key}: no such word; {self.near(word, [*arguments, ''])}")
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

    def near(self, word: str, arguments: Sequence[str]) -> str:
        """What to type in place of a word that is none, of these; or which are allowed."""
        name, _, value = word.lstrip("-").partition("=")
        following = arguments[list(arguments).index(word) + 1]
        if f"--{name}" in self.words:
            return f"did you mean '--{name}'?"
        if name in (known.partition("=")[0] for known in self.words):
            return f"did you mean '{name}={value or ('...' if '=' in following else following or '...')}'?"
        if self.needed and "=" not in word and not word.startswith("-"):
            return f"did you mean '{self.needed.partition('=')[0]}={word}'?"
        return f"allowed: {', '.join(self.words)}"

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
    """Makes Ctrl-C a KeyboardInterrupt, a stack trace one without secrets, and the surroundings such as a run needs."""
    surroundings.have_utf8()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stdout is sys.__stdout__:
        surroundings.have_streams()
    sys.excepthook = trace
    surroundings.have_home()
    if folder := surroundings.have_directory():
        complain(f"this directory was removed; names without a leading / are taken from {folder}")


def printed() -> bool:
    """Whether the standard output took what was printed; says so if it did not."""
    if fault := surroundings.printing_fault():
        complain(f"the standard output did not take what was printed: {fault.strerror}")
    return not fault


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


def working(console: "Console", at: str) -> contextlib.AbstractContextManager[object]:
    """Shows on a terminal that something is at work, and at what."""
    return console.status(at) if console.is_terminal else contextlib.nullcontext()


def typed(door: str, *words: str) -> str:
    """What to type in this directory to run src/{door}.py with these words, by this Python, in any POSIX shell."""
    return shlex.join([python(), shortest(ROOT / "src" / f"{door}.py"), *words])


def make(target: str) -> str:
    """What to type in this directory for a target of the Makefile, which elsewhere is the door of that name.

    `make -C` would leave this directory, from which MLFLOW_TRACKING_URI may name a file.
    """
    return f"make {target}" if Path.cwd() == ROOT else typed(target)


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
