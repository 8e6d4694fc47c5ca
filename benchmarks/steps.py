"""Time per training step of every peer: one worker process each, all kept alive, measured in turn."""

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from peers import Shape

HERE = Path(__file__).resolve().parent
OTHER_PYTHON = HERE / ".venv/bin/python"  # has JAX and PyTorch, which must not reach the product's own environment
OTHERS = ("torch", "jax", "jax_chunks", "jax_folded")
REFERENCE = "lab_portable"  # whose costs the others' must agree with
TOLERANCE = 1e-4  # relative, in the default recipe ...
LOOSER = 1e-3  # ... and at other shapes, where there is more to round, and Adam's two ways to add epsilon show
PATIENCE = 300  # seconds for one answer


class PeerError(Exception):
    """A peer cannot be measured; the message says why in a line."""


class Worker:
    """A process that trains one peer and answers requests."""

    def __init__(self, name: str, cores: int) -> None:
        python = OTHER_PYTHON if name in OTHERS else Path(sys.executable)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process)
        command = [str(python), str(HERE / "peers.py"), name, str(cores)]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
            )
        except OSError:
            raise PeerError(f"there is no {python}") from None
        assert self.process.stdout
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self.listen, args=(self.process.stdout,), daemon=True).start()

    def listen(self, stdout: IO[str]) -> None:
        """Queues what the process says; an empty line at its end."""
        for line in stdout:
            self.lines.put(line)
        self.lines.put("")

    def answer(self) -> dict[str, Any]:
        """The next answer; PeerError if there is none."""
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            self.stop()
            raise PeerError(f"no answer within {PATIENCE} s") from None
        if not line:
            self.process.wait()
            raise PeerError(self.last_words())
        return dict(json.loads(line))

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def last_words(self) -> str:
        """Why the process ended: the last line of what it wrote."""
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1][:200] if lines else f"it ended with {self.process.returncode}"

    def stop(self) -> None:
        """Ends the process; gently, since at its end it notes what it has compiled."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Measured:
    """One peer at one shape: seconds per step in each round; if there are none, why.

    `first_seconds` is what it took to build, compile and do the first few steps, the framework being imported;
    `costs` are those steps'. `processor_seconds` are those of all its threads.
    """

    first_seconds: float = 0.0
    costs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    fault: str = ""


class Crew:
    """The workers of some peers, on so many cores."""

    def __init__(self, names: Sequence[str], cores: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.workers: dict[str, Worker] = {}
        self.faults: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        for name in names:  # one after the other, lest they slow each other down
            try:
                self.workers[name] = Worker(name, cores)
                self.versions |= self.workers[name].answer()["versions"]
            except PeerError as error:
                self.faults[name] = str(error)

    def ask(self, name: str, **request: Any) -> dict[str, Any] | None:
        """The peer's answer; None, with the reason noted, if it has none."""
        if name in self.faults:
            return None
        try:
            return self.workers[name].ask(**request)
        except PeerError as error:
            self.faults[name] = str(error)
            return None

    def measure(self, shape: Shape, names: Sequence[str], rounds: int, seconds: float) -> dict[str, Measured]:
        """Each peer of `names` at this shape, for about `seconds` in each of the rounds."""
        weights = self.weights(shape)
        measured = {name: Measured() for name in names}
        for name in names:
            if first := self.ask(name, shape=asdict(shape), weights=str(weights)):
                measured[name].first_seconds, measured[name].costs = first["seconds"], first["costs"]
        steps = {name: self.find_steps(name, seconds) for name in names}
        for k in range(rounds):
            turn = k % len(names)
            for name in [*names[turn:], *names[:turn]]:
                if done := self.ask(name, steps=steps[name]):
                    measured[name].seconds.append(done["seconds"] / done["steps"])
                    measured[name].processor_seconds.append(done["processor_seconds"] / done["steps"])
        for name in names:
            measured[name].fault = self.faults.get(name, "")
        compare_costs(measured, TOLERANCE if shape == Shape() else LOOSER)
        return measured

    def find_steps(self, name: str, seconds: float) -> int:
        """How many steps keep the processor busy for about so long; what it does to find out is the warm-up."""
        steps = 2
        # each count twice, as JAX compiles anew for other chunks
        while self.ask(name, steps=steps) and (done := self.ask(name, steps=steps)):
            enough = rounded(seconds * done["steps"] / done["processor_seconds"])
            if enough <= steps:
                break
            steps = min(enough, 10 * rounded(steps))
        return steps

    def weights(self, shape: Shape) -> Path:
        """The initial weights for a task and a cell size, as this repo draws them."""
        path = Path(self.folder.name, f"weights-{shape.task}-{shape.cell_size}.npz")
        if not path.exists() and self.ask(REFERENCE, draw=str(path), shape=asdict(shape)) is None:
            sys.exit(f"this repo's own training does not run: {self.faults[REFERENCE]}")
        return path

    def stop(self) -> None:
        """Ends all workers."""
        for worker in self.workers.values():
            worker.stop()
        self.folder.cleanup()


def rounded(steps: float) -> int:
    """At least two, and many only in tens or hundreds: as many in a call as JAX is compiled for."""
    unit = 100 if steps >= 100 else 10 if steps >= 10 else 1
    return max(2, int(steps) // unit * unit)


def compare_costs(measured: dict[str, Measured], tolerance: float) -> None:
    """Notes as a fault where a peer's first costs are not this repo's: then it did other work."""
    expected = measured[REFERENCE].costs
    for made in measured.values():
        differences = [abs(a - b) / abs(b) for a, b in zip(made.costs, expected, strict=False)]
        worst = max(differences, default=0.0)
        if not made.fault and not worst <= tolerance:
            made.fault = f"costs differ by {worst:.1g} at step {differences.index(worst)}"


def measure_peers_start(names: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Seconds from nothing to the first ten steps done, by new processes; none for a peer that cannot be measured."""
    crew = Crew([REFERENCE], 1)
    weights = crew.weights(Shape())
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for counted in range(-1, rounds):  # the first time fills the caches of compiled programs
        for name in names:
            started = time.perf_counter()
            with contextlib.suppress(PeerError):
                worker = Worker(name, cores=1)
                worker.answer()
                worker.ask(shape=asdict(Shape()), weights=str(weights))
                if counted >= 0:
                    seconds[name].append(time.perf_counter() - started)
                worker.stop()
    crew.stop()
    return seconds
