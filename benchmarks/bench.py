"""Measures this repo beside what people would use instead, and writes RESULTS.md and its figure: `make bench`.

    make bench                                everything, in some two hours
    make bench ARGS=--quick                   in some ten minutes: whether every peer does equal work, and rough ratios
    make bench ARGS="--parts one_core start"  some parts; the others' last results stay, each with its own machine

Quick results go to benchmarks/quick/, all others to benchmarks/. Exit code 1 if a peer did other work than this repo.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import results
from peak import measure_product
from peers import PEERS, Shape
from processes import ROOT, measure_memory, measure_start, measure_tracking
from sizes import measure_curves, measure_files
from steps import Crew, Measured, measure_peers_start
from store import measure_store
from sweep import measure_sweep

sys.path.insert(0, str(ROOT / "src"))
from lstm_lab.machine import processor
from lstm_lab.records import code

HERE = Path(__file__).resolve().parent
SLOW = ("eager", "function", "fit", "fit_data", "fit_many")  # measured in the default recipe alone
STARTERS = ("lab_portable", "lab_fast", "session", "fit", "fit_data", "fit_jit", "torch", "jax")
SHAPES = [
    *(Shape(cell_size=size) for size in (32, 64, 128, 256, 512)),
    *(Shape(time_steps=count) for count in (100, 1000)),
    *(Shape(batch_size=size) for size in (1, 1000)),
]
GOALS = [Shape(), Shape(cell_size=64), Shape(cell_size=256)]
ADDING = Shape(time_steps=1100, batch_size=20, task="adding")  # sequences of 1,000 to 1,100 steps


def measure_steps(cores: int, shapes: Sequence[Shape], rounds: int, seconds: float) -> dict[str, Any]:
    """The default recipe by every peer, other shapes by those that are not hopeless; on so many cores."""
    crew = Crew([name for name in PEERS if Shape() in shapes or name not in SLOW], cores)
    measured = []
    for shape in shapes:
        default = shape == Shape()
        names = [name for name in PEERS if default or name not in SLOW]
        full = shape in (*GOALS, ADDING)
        made = crew.measure(shape, names, rounds if full else max(2, rounds // 2), seconds if default else seconds / 2)
        tell_steps(shape, made)
        measured.append({"shape": asdict(shape), "peers": {name: asdict(one) for name, one in made.items()}})
    crew.stop()
    return {"cores": cores, "versions": crew.versions, "measured": measured}


def tell_steps(shape: Shape, made: dict[str, Measured]) -> None:
    """Prints a line for each peer."""
    size = f"cell size {shape.cell_size}, {shape.time_steps} time steps, batch size {shape.batch_size}"
    print(f"  {shape.task}, {size}")
    for name, one in made.items():
        told = one.fault or f"{results.milliseconds(one.seconds)} ms a step"
        print(f"    {name:<14}{told:<34}{results.ratio(one.seconds, made['lab_fast'].seconds)}", flush=True)


def parts(quick: bool) -> dict[str, Callable[[], Any]]:
    """What is measured, each part by its name in results.json."""
    cores = results.usable_cores()
    if quick:
        return {
            "one_core": lambda: {
                **measure_steps(1, GOALS[:2], rounds=2, seconds=0.3),
                "product_rates": measure_product(),
            },
            "sequences": lambda: measure_steps(1, [replace(ADDING, time_steps=110)], rounds=2, seconds=0.3),
            "start": lambda: measure_start(rounds=1),
            "tracking": lambda: measure_tracking({200: 2}),
            "store": lambda: measure_store(runs=600, rounds=1, trials=5),
            "curves": lambda: measure_curves([10_000]),
            "files": lambda: measure_files([200_000], evaluated=[200_000]),
        }
    return {
        "one_core": lambda: {
            **measure_steps(1, [Shape(), *SHAPES], rounds=5, seconds=1.0),
            "product_rates": measure_product(),
        },
        "all_cores": lambda: measure_steps(cores, GOALS, rounds=5, seconds=1.0),
        "sequences": lambda: measure_steps(1, [ADDING], rounds=5, seconds=1.0),
        "start": lambda: {**measure_start(rounds=5), "peers": measure_peers_start(STARTERS, rounds=2)},
        "tracking": lambda: measure_tracking({200: 5, 10_000: 5, 100_000: 3}),
        "memory": lambda: measure_memory([1_000, 100_000, 1_000_000]),
        "sweep": lambda: measure_sweep(trials=(10, 40, 100, 200), processes=(2, 8), rounds=5),
        "store": lambda: measure_store(runs=10_000, rounds=5, trials=40),
        "curves": lambda: measure_curves([1_000_000]),
        "files": lambda: measure_files([2_000_000, 20_000_000], evaluated=[2_000_000]),
    }


def machine() -> dict[str, Any]:
    """What the results depend on beside the code."""
    found = processor()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": f"{found['model']} ({'/'.join(found['family_model_stepping'])}, {found['machine']})",
        "cores": results.usable_cores(),
        "gigabytes": round(pages / 1e9),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that is measured, and whether anything is changed beside it."""
    found = code.running_code()
    if found is None or found.hash is None:
        return "unknown"
    return found.hash[:12] + (" with uncommitted changes" if found.dirty else "")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, few shapes, no million steps")
    parser.add_argument("--parts", nargs="+", choices=list(parts(quick=False)), help="only these; default: all")
    asked = parser.parse_args()
    folder = HERE / "quick" if asked.quick else HERE
    folder.mkdir(exist_ok=True)
    file = folder / "results.json"
    found = {"quick": asked.quick, "parts": {}}
    if asked.parts and file.exists():
        found = json.loads(file.read_text())
    for name, measure in parts(asked.quick).items():
        if asked.parts and name not in asked.parts:
            continue
        print(f"{name} ...", flush=True)
        started, load = time.time(), os.getloadavg()[0]
        measured = measure()
        took = time.time() - started
        when = time.strftime("%Y-%m-%d", time.gmtime(started))
        about = {"machine": machine(), "commit": commit(), "date": when, "took": took}
        found["parts"][name] = {**about, "load": [load, os.getloadavg()[0]], "measured": measured}
        print(f"{name}: {took:.0f} s", flush=True)
        file.write_text(json.dumps(results.rounded(found), indent=1) + "\n")
    results.write(folder, json.loads(file.read_text()), HERE / "NOTES.md")
    print(f"written: {os.path.relpath(folder)}/RESULTS.md")
    faults = results.other_work(found)
    for fault in faults:
        print(f"NOT EQUAL WORK: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
