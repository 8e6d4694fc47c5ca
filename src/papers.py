"""Trains what is missing of the papers' tasks and writes PAPERS.md from the runs: `python src/papers.py --help`."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from lstm_lab import commandline
from lstm_lab.config import ConfigError

DOOR = commandline.Door(
    "papers",
    about="""\
Trains the long-memory tasks of Hochreiter and Schmidhuber (1997) and of Gers et al. (2000), each with 10 seeds, and
then writes PAPERS.md and its figures in docs/papers/ from the tracked runs alone. A study that is done is not run
again; one that was cut short goes on. All of it takes some two hours on two cores.""",
    words={
        "seeds=2": "a reduced count, from 2 on: the quick rows alone, written below mlruns/papers-2-seeds/ instead",
        "workers=2": "so many processes share the trials; 2 unless it is said",
        "page=false": "runs the studies and writes no page: one more worker",
    },
    closing="With make: make papers SEEDS=2",
)


def answer(words: dict[str, str]) -> int:
    """Runs what is missing with so many seeds, and writes the page."""
    seeds, workers = count_in(words, "seeds", 10, 2), count_in(words, "workers", 2, 1)
    page_wanted = words.get("page", "true")
    if page_wanted not in ("true", "false"):
        raise ConfigError(f"page={page_wanted}: must be true or false")
    with commandline.importing():
        import train  # src/train.py, which every study is a command of
        from lstm_lab.papers import page
        from lstm_lab.paths import ROOT
        from lstm_lab.records import store
    with train.clear_faults():
        store.check_store()
        with others(workers - 1 if page_wanted == "true" else 0, seeds):
            train.prepare()
            for study in page.commands(seeds):
                sys.argv[0] = "src/train.py"
                train.launch(["-m", *study])
        if page_wanted == "true":
            written = page.write(store.open_store(), seeds)
            print(f"written: {written.relative_to(ROOT)} and its figures")
    return 0


def count_in(words: dict[str, str], word: str, usual: int, least: int) -> int:
    """The number that a word gives; ConfigError if it is none that is allowed."""
    text = words.get(word, str(usual))
    if not text.isdecimal() or not least <= int(text) <= 1000:
        raise ConfigError(f"{word}={text}: must be a whole number from {least} to 1000")
    return int(text)


@contextlib.contextmanager
def others(workers: int, seeds: int) -> Iterator[None]:
    """More workers on the same studies, silent ones, which are waited for; ended if this one fails."""
    command = [sys.executable, os.path.abspath(__file__), f"seeds={seeds}", "page=false"]
    quiet = os.environ | {"LSTM_LAB_NOTIFY": ""}
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=quiet) for _ in range(workers)]
    try:
        yield
    except BaseException:
        for worker in started:
            worker.terminate()
        raise
    finally:
        for worker in started:
            worker.wait()


def main() -> int:
    """The command line."""
    return DOOR.enter(answer)


if __name__ == "__main__":
    sys.exit(main())
