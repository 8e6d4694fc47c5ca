"""The benchmarks' equal work and their page. No test here needs a package that the product does not."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import filling
import peers
import processes
import results
import sizes
import sweep
from lstm_lab.records import lookup, store
from peak import product_rates, step_operations
from steps import LOOSER, TOLERANCE, Measured, compare_costs, rounded

NOTES = Path(results.__file__).parent / "NOTES.md"
SHAPE = peers.Shape(cell_size=4, time_steps=5, batch_size=3)
ADDING = peers.Shape(cell_size=4, time_steps=22, batch_size=3, task="adding")


def first_costs(name, weights, shape=SHAPE):
    """The costs that are compared of a peer that starts from these weights."""
    peer = peers.PEERS[name](shape, weights)
    rows = peers.source_of(shape).chunk(0, peers.CHECKED)
    return [float(cost) for cost in peer.begin(peer.prepare(rows, peers.CHECKED))[: peers.CHECKED]]


@pytest.mark.parametrize("shape", [SHAPE, ADDING], ids=lambda shape: shape.task)
def test_every_peer_that_runs_on_tensorflow_does_this_repos_work(shape):
    weights = peers.lab_model(shape).get_weights()
    names = ("lab_portable", "session", "eager", "function", "fit", "fit_data")
    measured = {name: Measured(costs=first_costs(name, weights, shape)) for name in names}
    assert all(len(one.costs) == peers.CHECKED for one in measured.values())
    compare_costs(measured, TOLERANCE)
    assert {name: one.fault for name, one in measured.items()} == dict.fromkeys(names, "")


def test_other_work_is_told_from_equal_work():
    weights = peers.lab_model(SHAPE).get_weights()
    no_forget_bias = [*weights[:4], np.zeros_like(weights[4]), *weights[5:]]
    measured = {
        "lab_portable": Measured(costs=first_costs("lab_portable", weights)),
        "session": Measured(costs=first_costs("session", no_forget_bias)),
        "torch": Measured(costs=[float("nan")] * peers.CHECKED),
        "jax": Measured(fault="No module named 'jax'"),
    }
    compare_costs(measured, LOOSER)
    assert measured["session"].fault.startswith(results.OTHER_WORK)
    assert measured["torch"].fault.startswith(results.OTHER_WORK)
    assert measured["jax"].fault == "No module named 'jax'"


def test_steps_are_counted_in_chunks():
    assert [rounded(steps) for steps in (0.3, 7.9, 19.9, 99.0, 250.0)] == [2, 7, 10, 90, 200]


def made(**seconds):
    """Every peer as measured at 1 ms a step, or at so many, or for a reason not at all."""
    values = {name: seconds.get(name, 1e-3) for name in peers.PEERS}
    return {
        name: {"first_seconds": 1.5, "fault": value if isinstance(value, str) else ""}
        | {"seconds": [] if isinstance(value, str) else [value, 2 * value, 3 * value]}
        | {"processor_seconds": [] if isinstance(value, str) else [value / 2, value]}
        for name, value in values.items()
    }


@pytest.fixture
def found():
    """Results as bench.py leaves them: the session five times as slow, PyTorch not there, JAX at other work."""
    default = made(session=5e-3, torch="No module named 'torch'", jax="costs differ by 0.2 at step 3")
    at_64 = made(lab_fast=2e-3, fit="slow", fit_jit=4e-3)
    shapes = [({}, default), ({"cell_size": 64}, at_64)]
    machine = {"processor": "One", "cores": 2, "gigabytes": 8, "system": "Linux 6", "python": "3.11.1"}
    about = {"machine": machine, "commit": "abc", "date": "2026-01-02", "took": 60.0, "load": [0.5, 1.0]}
    steps = {
        "cores": 1,
        "versions": {"jax": "1.2.3"},
        "measured": [{"shape": {**results.DEFAULT, **shape}, "peers": peers} for shape, peers in shapes],
    }
    adding = {**results.DEFAULT, "time_steps": 1100, "batch_size": 20, "task": "adding"}
    at_adding = made(lab_fast=10e-3, torch=30e-3, jax="costs differ by 0.3 at step 1")
    swept = {
        "trials": {"this repo": [10, 40], "(a)": [10, 40], "(b)": [2, 4]},
        "seconds": {"this repo": [12.0, 24.0], "(a)": [40.0, 100.0], "(b)": [10.0, 20.0]},
        "training": [0.1, 0.2, 0.3],
    }
    tracked = {"untracked": [10.0, 20.0, 30.0], "tracked": [10.2, 20.2, 30.2]}
    return {
        "quick": False,
        "parts": {
            "one_core": {**about, "measured": steps},
            "sequences": {
                **{**about, "machine": {**machine, "processor": "Two"}},
                "measured": {"measured": [{"shape": adding, "peers": at_adding}]},
            },
            "tracking": {
                **about,
                "measured": [{"steps": 100_000, "seconds": tracked, "processor_seconds": tracked}],
            },
            "sweep": {**about, "measured": swept},
        },
    }


def cells(page, start):
    """The cells of the page's first line of a table that begins so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_page_sets_each_goal_beside_what_was_measured(found):
    page = results.render(found, {})
    assert cells(page, "the tutorial's session") == ["5", "5.00", "-", "met", "5.00", "1.5", "met"]
    assert cells(page, "Keras `fit`, on arrays")[:4] == ["10", "1.00", "-", "**not met**"]
    assert cells(page, "the fastest of them, cell size 64")[:4] == ["1", "0.50", "-", "**not met**"]
    assert cells(page, "what tracking adds to 100,000 steps") == ["at most 3 %", "1.0 %", "met"]
    assert cells(page, "one more trial by one script of Keras `fit`s, this repo's being 1") == ["5", "5.00", "met"]
    assert cells(page, "one more trial as a process of its own, this repo's being 1") == ["20", "12.5", "**not met**"]
    assert cells(page, "one more trial, its training alone being 1") == ["at most 3", "2.00", "met"]
    assert cells(page, "trials a minute of a study of 40, the script's being 1") == ["4", "4.17", "met"]
    assert cells(page, "this repo") == ["10, 40", "0.40", "1.00", "100"]
    assert cells(page, "its training alone") == ["", "0.20 (0.10 to 0.30)", "0.50", ""]
    assert "| PyTorch |" not in page.split("## A training step")[0]


def test_the_page_says_of_a_peer_why_it_has_no_figure(found):
    page = results.render(found, {})
    assert cells(page, results.LABELS["torch"])[0] == "not measured (No module named 'torch')"
    assert cells(page, results.LABELS["jax"])[0] == "costs differ by 0.2 at step 3"
    assert cells(page, results.LABELS["session"])[:2] == ["10.0 (5.00 to 15.0)", "5.00 (5.00 to 5.00)"]
    assert [fault.split(" at ")[0] for fault in results.other_work(found)] == ["jax", "jax"]


def test_sequences_are_compared_by_the_processors_time(found):
    page = results.render(found, {}).split("## Sequences")[1]
    assert "20 sequences of 1,000 to 1,100 time steps" in page
    assert cells(page, results.LABELS["torch"]) == ["22.5 (15.0 to 30.0)", "3.00 (3.00 to 3.00)"]
    assert cells(page, results.LABELS["jax"])[0] == "costs differ by 0.3 at step 1"


def test_the_operations_of_a_step_are_those_of_its_matrix_products():
    # By hand for cell size 10, a row and a time step: 3 products of 2 * 10 * 40, 2 of 2 * 1 * 40, 3 of 2 * 10 * 1
    assert step_operations(results.DEFAULT) == 20 * 50 * (2400 + 160 + 60) == 2_620_000


def test_growth_tells_how_near_a_matrix_product_the_steps_are(found):
    before = results.render(found, {})
    assert "GFLOP" not in before
    found["parts"]["one_core"]["measured"]["product_rates"] = [1e9, 5.24e9, 9e9]
    page = results.render(found, {}).split("## Growth")[1]
    assert "reached 5.24, which" in page
    assert cells(page, "default")[:3] == ["2.00", "3.49", "67 %"]  # 2.62 MFLOP in the median of 0.5 and 1 ms


def test_a_matrix_products_rate_is_measured_in_every_round():
    rates = product_rates(size=8, rounds=3)
    assert len(rates) == 3
    assert min(rates) > 0


def test_each_part_names_its_machine(found):
    machines = [line for line in results.render(found, {}).splitlines() if line.startswith("- ")]
    assert machines == [
        "- One, 2 cores, 8 GB, Linux 6: one_core, tracking, sweep",
        "- Two, 2 cores, 8 GB, Linux 6: sequences",
    ]


def test_notes_stand_under_their_sections_and_every_note_has_one(found, tmp_path):
    notes = results.sections(NOTES.read_text())
    page = results.render(found, {"A study's trials": "Why so."})
    assert page.split("## A study's trials")[1].split("## ")[0].strip().endswith("Why so.")
    assert set(notes) <= set(results.TITLES)


def test_the_files_are_written_from_the_stored_results(found, tmp_path):
    stored = json.loads(json.dumps(results.rounded(found)))
    results.write(tmp_path, stored, NOTES)
    assert (tmp_path / "RESULTS.md").read_text() == results.render(found, results.sections(NOTES.read_text()))
    assert (tmp_path / "results.png").read_bytes()[:4] == b"\x89PNG"


def test_a_store_of_many_runs_stands_beside_its_aims(found):
    seconds = {
        "imports": [2.0, 3.0],
        "list": [2.5, 3.5],
        "best": [4.5, 5.5],
        "filter": [2.1, 3.1],
        "compare": [9.0, 10.0],
    }
    seconds |= {"sweep, empty": [20.0, 40.0], "sweep, filled": [21.0, 44.0]}
    many = {"runs": 10_000, "filling": 1200.0, "bytes": {"mlflow.db": 1.1e9, "mlruns": 5e8}, "trials": 40}
    many |= {"seconds": seconds, "until_first_step": {"empty": [10.0, 10.0], "filled": [10.1, 10.3]}}
    many |= {"page": {"bytes": 3.5e6, "elements": 35_000}}
    curve = {"steps": 10**6, "points": 5000, "seconds": 400.0, "processor_seconds": 390.0, "megabytes": 900.0}
    file = {"rows": 2 * 10**7, "evaluated": True, "seconds": 90.0, "processor_seconds": 80.0, "until_first_step": 60.0}
    about = found["parts"]["one_core"]
    found["parts"] |= {
        "store": about | {"measured": many},
        "curves": about | {"measured": [curve | {"database_bytes": 2e6, "artifact_bytes": 4e6}]},
        "files": about | {"measured": [file | {"megabytes": 1500.0, "file_bytes": 6e8, "left_bytes": 3e5}]},
    }
    page = results.render(found, {})
    assert "10,000 runs of 200 steps" in page
    assert cells(page, "`report.py`, s beyond its imports") == ["at most 2", "0.50 (0.50 to 0.50)", "met"]
    assert cells(page, "`report.py best=10`, s beyond its imports")[2] == "**not met**"
    assert cells(page, "500 runs compared, s in all; a page of 3.5 MB, 35,000 elements")[1:] == [
        "9.50 (9.00 to 10.0)",
        "met",
    ]
    assert cells(page, "`train.py` until its first step, an empty store being 1")[1:] == ["1.02 (1.01 to 1.03)", "met"]
    assert cells(page, "a study of 40 trials, the same")[1:] == ["1.08 (1.05 to 1.10)", "**not met**"]
    assert cells(page, "1,000,000") == ["5,000", "400", "390", "900", "2.0", "4.0"]
    assert cells(page, "20,000,000, evaluated") == ["600", "60.0", "90.0", "80.0", "1,500", "0.3"]


def test_a_file_of_the_bench_is_the_same_however_it_is_cut(tmp_path, monkeypatch):
    sizes.write_series(tmp_path / "whole.csv", 10)
    monkeypatch.setattr(sizes, "ROWS", 4)
    sizes.write_series(tmp_path / "cut.csv", 10)
    lines = (tmp_path / "whole.csv").read_text().splitlines()
    assert lines[0] == "time,value"
    assert [line.split(",")[0] for line in lines[1:]] == [f"1970-01-01T00:00:0{i}" for i in range(10)]
    assert (tmp_path / "cut.csv").read_text().splitlines() == lines


def test_a_filled_store_has_trials_seeds_and_runs_alone_as_training_leaves_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setattr(store, "STORES", tmp_path / ".stores")
    monkeypatch.setattr(filling, "BLOCK", 12)
    monkeypatch.setattr(filling, "TRIALS", 3)
    monkeypatch.setattr(filling, "SEEDS", 2)
    store.open_store.cache_clear()
    filling.main(12)
    client = store.open_store()
    every = [run for one in client.search_experiments() for run in client.search_runs([one.experiment_id])]
    store.open_store.cache_clear()
    kinds = ["study" if tags.get("sweep") else "group" if "seeds" in tags else "trial" if "trial" in tags else "run"
             for tags in (run.data.tags for run in every)]  # fmt: skip
    assert sorted(kinds) == ["group"] * 2 + ["run"] * 6 + ["study"] + ["trial"] * 3
    for run, kind in zip(every, kinds, strict=True):
        if kind in ("run", "trial"):
            costs = lookup.costs_of(client, run, filling.STEPS)
            logged = [point.value for point in lookup.history_of(client, run.info.run_id, "cost")]
            np.testing.assert_array_equal(costs, np.array(logged, np.float32))
            assert lookup.config_of(client, run).training.steps == filling.STEPS
            assert lookup.weights_of(client, run, lookup.config_of(client, run)) is not None


def test_what_a_run_prints_at_its_end_is_read(default_run):
    [told] = re.findall(r"\(([\d,]+) steps/s\)$", default_run.stdout, flags=re.M)
    assert processes.rate_of(default_run.stdout) == int(told.replace(",", ""))
    [words] = re.findall(r'split\("(mean.*?)"\)', sweep.ONE_PROCESS_A_TRIAL)
    assert float(default_run.stdout.split(words)[1].split()[0]) == pytest.approx(0.023, abs=5e-4)
