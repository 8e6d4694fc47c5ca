"""src/train.py, stopped at one place: `python tests/stopping.py CHECKOUT PLACE HOW WORDS...`.

PLACE is `step=100`, when every observer has seen that step, which must be the last of a chunk; or `DOTTED.NAME=3`, the
moment before that function's third call. HOW is the name of a signal, which the process sends itself there; `hold`:
it says so and goes on when its standard input ends; or `fault`: the store has one. Costs are sent and checkpoints saved
after every chunk, whatever the clock says.
"""

import functools
import itertools
import pkgutil
import runpy
import signal
import sys
from unittest import mock


def stop(how: str) -> None:
    """Stops this process, here and now."""
    if how == "hold":
        print("held", flush=True)
        sys.stdin.read()
    elif how == "fault":
        from mlflow.exceptions import MlflowException

        raise MlflowException("(sqlite3.OperationalError) database is locked")
    else:
        signal.raise_signal(signal.Signals[how])


def stop_before_call(name: str, number: int, how: str) -> None:
    """Wraps the function of that name, so that its call of that number, counted from 1, is not made before `stop`."""
    owner, _, attribute = name.rpartition(".")
    place = pkgutil.resolve_name(owner)
    original, calls = getattr(place, attribute), itertools.count(1)

    @functools.wraps(original)
    def counted(*arguments, **options):
        if next(calls) == number:
            stop(how)
        return original(*arguments, **options)

    setattr(place, attribute, counted)


def stop_after_step(step: int, how: str) -> None:
    """Adds an observer behind all others."""
    from lstm_lab import runtime

    runtime.start_tensorflow("portable", threads=1)  # before the observers import it
    from lstm_lab.records import tracking
    from lstm_lab.runs import observers

    class Stop:
        def __call__(self, progress):
            if progress.step == step:
                stop(how)

        def close(self):
            pass

    watching = observers.watching
    observers.watching = lambda *watchers: watching(*watchers, Stop())
    mock.patch.object(observers.Saver, "__call__", observers.Saver.save).start()
    tracking.FLUSH_SECONDS = 0.0


if __name__ == "__main__":
    checkout, place, how, *words = sys.argv[1:]
    sys.path[0], sys.argv = f"{checkout}/src", ["src/train.py", *words]
    name, number = place.split("=")
    if name == "step":
        stop_after_step(int(number), how)
    else:
        stop_before_call(name, int(number), how)
    runpy.run_path(f"{checkout}/src/train.py", run_name="__main__")
