"""Runs in groups: which count, what a row says, and that all of it follows from the costs that the runs left."""

import csv
import io
import itertools
import math
import re

import numpy as np
import pytest
from rich.console import Console

from lstm_lab.config import ConfigError
from lstm_lab.records.reading import printable
from lstm_lab.reports import bands, comparison, groups, page, tables, terminal
from lstm_lab.reports.comparison import Choice, Facts
from lstm_lab.reports.groups import Question
from reports.conftest import Elements
from stores import HOSTILE

ENDS = {6: (0, 5), 10: (1, 8), 20: (5, 14)}  # the order statistics of an exact interval of 95 % (Conover, 1999)


def run(seed, cost, cell="lstm", **changes):
    """A run that is over."""
    values = {"status": "FINISHED", "data": "sine 1", "metrics": {"mean_last_20_cost": cost}}
    params = {"model.cell": cell, "training.seed": str(seed), **changes.pop("params", {})}
    return Facts(f"{next(IDS):032x}", cell, params=params, **values | {"bits": f"{seed:064x}"} | changes)


IDS = itertools.count(1)


def answered(runs, *by, **question):
    return groups.answer(runs, Question(by or ("model.cell",), **question))


@pytest.mark.parametrize("seeds", ENDS)
def test_the_interval_is_between_two_order_statistics(seeds):
    values = np.random.default_rng(seeds).lognormal(size=seeds)
    [row] = answered([run(seed, cost) for seed, cost in enumerate(values)]).rows
    low, high = np.sort(values)[list(ENDS[seeds])]
    assert (row.estimate.median, row.estimate.low, row.estimate.high) == (np.median(values), low, high)


def test_with_fewer_than_six_seeds_there_is_no_interval_however_many_runs():
    runs = [run(seed, 1.0 + seed, params={"optimizer.learning_rate": rate}) for seed in range(5) for rate in "12"]
    found = answered(runs)
    assert math.isnan(found.rows[0].estimate.low)
    assert "an interval takes 6 seeds" in found.notes
    assert groups.table(found).columns["95 % interval"] == ["-"]
    assert groups.table(found).columns["runs"] == ["10"]


def test_only_runs_of_one_seed_are_paired_and_missing_ones_are_named():
    first = [run(seed, 2.0) for seed in range(8)]
    second = [run(seed, 6.0 if seed < 8 else 1e9, "simple_rnn") for seed in (*range(1, 7), 8, 9)]
    found = answered(first + second)
    row = found.rows[1].compared
    assert (row.seeds, row.ratio.median, row.ratio.low, row.ratio.high) == (6, 3.0, 3.0, 3.0)
    assert row.p == 2 / 2**6
    assert "without the seeds 8-9, which others have: lstm" in found.notes
    assert "without the seeds 0, 7, which others have: simple_rnn" in found.notes


def test_rows_that_lack_the_same_seeds_are_named_in_one_line():
    sizes = [run(0, 1.0, params={"model.cell_size": str(size)}) for size in range(1, 301)]
    found = answered([*sizes, run(1, 1.0, params={"model.cell_size": "1"})], "model.cell_size")
    named = ", ".join(f"cell_size={size}" for size in range(2, 7))
    assert f"without the seeds 1, which others have: {named} and 294 more" in found.notes
    assert len([note for note in found.notes if note.startswith("without")]) == 1


def test_pairs_are_alike_in_what_else_runs_of_a_row_differ_in():
    """Each cell with two rates: ten times the cost at the higher, and the second cell has twice the cost at either."""
    runs = [
        run(seed, factor * 10**rate * (seed + 1), cell, params={"optimizer.learning_rate": str(rate)})
        for cell, factor in (("gru", 1), ("lstm", 2))
        for seed in range(6)
        for rate in (0, 1)
        if (cell, seed, rate) != ("lstm", 5, 1)
    ]
    found = answered(runs)
    compared = found.rows[1].compared
    assert (compared.seeds, compared.ratio.median, compared.ratio.low, compared.ratio.high) == (11, 2, 2, 2)
    assert any("the runs of a row also differ in optimizer.learning_rate: pairs are alike" in n for n in found.notes)
    never = answered([one for one in runs if (one.name == "gru") == (one.params["optimizer.learning_rate"] == "0")])
    assert never.rows[1].compared.seeds == 5  # one rate a row: the rows as they are, and that is said
    assert "the rows also differ in optimizer.learning_rate" in never.notes


def test_without_any_pair_nothing_is_compared():
    runs = [run(seed, 1.0, params={"optimizer.learning_rate": str(seed % 2)}) for seed in range(8)]
    others = [run(seed, 1.0, "gru", params={"optimizer.learning_rate": str((seed + 1) % 2)}) for seed in range(8)]
    found = answered(runs + others)
    assert groups.table(found).columns["ratio"] == ["reference", "-"]
    assert groups.table(found).columns["p"] == ["-", "-"]
    assert "no run has a pair in the reference: lstm" in found.notes


def test_what_only_watches_or_tells_where_the_file_was_makes_no_difference():
    runs = [run(seed, 1.0, params={"tracking.run_name": str(seed), "data.path": str(seed)}) for seed in range(3)]
    assert not [note for note in answered(runs).notes if "differ" in note]
    evaluated = [
        run(seed, 1.0, metrics={"evaluation/mse": 1.0}, params={"evaluation.windows": str(seed)}) for seed in range(3)
    ]
    assert [note for note in answered(evaluated, metric="evaluation/mse").notes if "evaluation.windows" in note]


def test_nothing_is_compared_across_data_sets_and_each_has_a_row_to_be_compared_with():
    runs = [
        run(seed, float(delay), cell, data=f"recall {delay}", params={"data.delay": str(delay)})
        for delay in (16, 2)
        for cell in ("lstm", "gru")
        for seed in range(6)
    ]
    found = answered(runs, "data.delay", "model.cell")
    assert [row.values for row in found.rows] == [("2", "gru"), ("2", "lstm"), ("16", "gru"), ("16", "lstm")]
    assert [row.chosen for row in found.rows] == [True, False, True, False]
    assert {row.compared.ratio.median for row in found.rows if row.compared} == {1.0}
    assert groups.table(found).columns["data set"] == ["recall"] * 4
    alone = groups.table(answered(runs, "model.cell", against=["lstm"]))
    assert alone.columns["data set"] == ["recall 16", "recall 16", "recall 2", "recall 2"]
    single = answered([one for one in runs if one.name == "gru"], "data.delay")
    assert "ratio" not in groups.table(single).columns
    assert "nothing is compared across data sets, which say nothing of each other" in single.notes
    one = answered(runs, "data.delay", "model.cell", against=["16", "lstm"])
    assert groups.table(one).columns["ratio"] == ["-", "-", "1.0 [1.0, 1.0]", "reference"]


def test_a_run_that_diverged_has_the_worst_value_and_an_infinite_median_can_be_read():
    failed = {"status": "FAILED", "reason": "the cost became inf"}
    runs = [run(seed, 1.0, "gru") for seed in range(7)]
    runs += [run(seed, 1.0, **(failed if seed < 4 else {})) for seed in range(7)]
    found = answered(runs)
    table = groups.table(found)
    assert table.columns["median"] == ["1.0", "inf"]
    assert table.columns["95 % interval"] == ["[1.0, 1.0]", "[1.0, inf]"]
    assert table.columns["failed"] == ["0", "4"]
    assert table.columns["ratio"] == ["reference", "inf [1.0, inf]"]
    assert table.exact["median"] == [1.0, math.inf]
    assert "4 runs FAILED: the worst value there is, infinite" in found.notes
    both = answered(runs[7:] + [run(seed, 2.0, "gru", **failed) for seed in range(7)])
    ratio = both.rows[1].compared.ratio
    assert (ratio.median, ratio.low, ratio.high) == (1.0, 0.0, 1.0)  # where both diverged neither is worse


def test_where_high_is_good_the_worst_is_low_and_has_no_ratio():
    runs = [run(seed, 1.0, metrics={"evaluation/r2": 0.5}) for seed in range(3)]
    runs += [run(3, 1.0, status="FAILED", reason="inf"), run(0, 1.0, "gru", metrics={"evaluation/r2": -2.0})]
    found = answered(runs, metric="evaluation/r2")
    assert min(found.rows[1].results.values()) == -math.inf
    assert groups.table(found).columns["ratio"] == ["reference", "-"]
    assert "values below zero have no ratio: lstm" in found.notes


def test_runs_that_are_not_over_by_themselves_are_left_out_and_told():
    runs = [run(0, 1.0), run(1, 1.0, status="RUNNING"), run(2, 1.0, status="PRUNED"), run(3, 1.0, status="CUT SHORT")]
    runs += [run(4, 1.0, status="KILLED"), run(5, 1.0, status="FAILED"), run(6, 1.0, reproduces=True)]
    runs += [Facts("f" * 32, "group", status="FINISHED", trials="3 FINISHED", seeds="0-2", params=runs[0].params)]
    runs += [Facts("e" * 32, "foreign", status="FINISHED"), run(7, 1.0, metrics={"final_cost": 1.0})]
    found = answered(runs)
    assert found.rows[0].seeds == [0]
    assert found.notes[0] == (
        "left out: 1 CUT SHORT, 1 FAILED without a reason, 1 KILLED, 1 PRUNED, 1 RUNNING, 1 reproducing another, "
        "1 without a seed"
    )
    assert "left out: 1 run without the metric" in found.notes
    with pytest.raises(ConfigError, match=r"no run is there that counts; left out: 1 RUNNING"):
        answered(runs[1:2])


def test_of_runs_that_are_alike_the_newest_counts():
    from datetime import datetime

    old, new = datetime(2026, 1, 1), datetime(2026, 2, 1)
    runs = [run(0, 5.0, started=new, bits="a" * 64), run(0, 1.0, started=old, bits="b" * 64)]
    runs += [run(1, 2.0, started=old), run(1, 2.0, started=new)]
    found = answered(runs)
    assert list(found.rows[0].results.values()) == [5.0, 2.0]
    assert "of runs that are alike one counts: 2 runs left out" in found.notes
    [told] = [note for note in found.notes if "differ" in note]
    assert told.endswith(f"the newest counts: {runs[0].run_id[:8]}")


def test_rows_are_sorted_by_value_numbers_as_numbers():
    runs = [run(0, 1.0, params={"data.delay": delay}) for delay in ("16", "2", "None", "1e-3", "-1", "[1, 2]")]
    assert [row.values[0] for row in answered(runs, "data.delay").rows] == ["-1", "1e-3", "2", "16", "None", "[1, 2]"]


@pytest.mark.parametrize(
    ("against", "chosen"),
    [
        (["20"], None),
        (["20.0", "true"], ("20", "True")),
        (["false"], ("10", "False")),
        (["[1,2]"], ("[1, 2]", "True")),
        (["null"], ("None", "True")),
    ],
)
def test_a_row_is_chosen_by_its_values(against, chosen):
    values = [("20", "True"), ("20", "False2"), ("10", "False"), ("[1, 2]", "True"), ("None", "True")]
    runs = [run(0, 1.0, params={"model.cell_size": a, "training.carry_state": b}) for a, b in values]
    if chosen:
        found = answered(runs, "model.cell_size", "training.carry_state", against=against)
        assert [row.values for row in found.rows if row.chosen] == [chosen]
        return
    with pytest.raises(ConfigError, match=r"against=20: several rows are like that \(20,False2, 20,True\)"):
        answered(runs, "model.cell_size", "training.carry_state", against=against)


@pytest.mark.parametrize(
    ("by", "question", "said"),
    [
        ("lr", {}, "by=lr: there is no such setting; did you mean 'optimizer.learning_rate'?"),
        ("cell", {}, "by=cell: there is no such setting; did you mean 'model.cell'?"),
        ("model", {}, "by=model: there is no such setting; did you mean 'model.cell'?"),
        ("data", {}, "by=data: there is no such setting; did you mean 'data.curve'?"),
        ("model.cel_size", {}, "did you mean 'model.cell_size'?"),
        ("training.seed", {}, "by=training.seed: rows are over seeds"),
        ("seed", {}, "did you mean 'training.seed'?"),
        ("data.delay", {}, "by=data.delay: none of the 2 runs has that setting"),
        ("", {}, "by=: a key is missing"),
        ("model.cell,,", {}, "by=model.cell,,: a key is missing beside a comma"),
        ("model.cell,model.cell", {}, "by=model.cell,model.cell: a key is given twice"),
        ("model.cell", {"metric": "mean_last_cost"}, "none of the runs has it; did you mean 'mean_last_20_cost'?"),
        ("model.cell", {"against": ["rnn"]}, "against=rnn: no row is like that; there are gru, lstm"),
    ],
)
def test_what_is_wrong_with_a_question_is_said(by, question, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        answered([run(0, 1.0), run(1, 1.0, "gru")], *by.split(","), **question)


def test_the_band_is_of_order_statistics_and_goes_as_far_as_every_run():
    costs = np.random.default_rng(0).lognormal(size=(9, 50)).astype(np.float32)
    costs[8, 10] = np.inf
    found = bands.band_of([*costs[:7], costs[7, :40], costs[8, :11]])
    assert found.steps.tolist() == list(range(40))
    means = np.full((9, 40), np.inf)
    for i, row in enumerate(costs):
        for step in range(10 if i == 8 else 40):
            means[i, step] = row[max(0, step - 19) : step + 1].astype(np.float64).mean()
    ordered = np.sort(means, axis=0)
    for drawn, place in ((found.low, 2), (found.middle, 4), (found.high, 6)):
        np.testing.assert_allclose(drawn, ordered[place], rtol=1e-6)
    assert bands.band_of([]) is None
    long = bands.band_of([np.ones(100_000, np.float32)])
    assert (len(long.steps), long.steps[-1]) == (bands.POINTS, 99_999)


@pytest.mark.parametrize(("runs", "half"), [(1, (0, 0)), (3, (0, 2)), (4, (1, 2)), (8, (2, 5)), (10, (2, 7))])
def test_the_middle_half_has_at_least_half_of_the_runs(runs, half):
    middle, low, high = bands.middle_half(np.arange(float(runs))[::-1, None])
    assert (middle[0], low[0], high[0]) == ((runs - 1) / 2, *half)
    assert high[0] - low[0] + 1 >= runs / 2


def reported(choice, question, *files, width=80):
    console = Console(file=io.StringIO(), width=width)
    terminal.report_groups(choice, question, files, "python src/report.py", console)
    return console.file.getvalue()


EVERY = Choice(last=None, trained=True, filter="params.data.curve = 'sine_to_cosine'")


@pytest.fixture(scope="module")
def by_hand(seeded):
    """The costs of each run that counts, by cell and seed, straight from the files that the runs left."""
    return {
        cell: {
            seed: np.load(next((seeded.folder / "artifacts").glob(f"{run_id}/artifacts/cost.npy")))
            for seed, run_id in of_cell.items()
        }
        for cell, of_cell in seeded.ids.items()
    }


def exact_p(logs):
    """Wilcoxon's two-sided p, from all patterns of signs."""
    ranks = np.argsort(np.argsort(np.abs(logs))) + 1
    sums = [np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(logs))]
    least = min(ranks[logs > 0].sum(), ranks[logs < 0].sum())
    return 2 * np.mean(np.array(sums) <= least)


def test_every_number_of_the_csv_is_that_of_the_costs_by_hand(over_seeds, seeded, by_hand, tmp_path):
    reported(EVERY, Question(["model.cell"], against=["lstm"]), tmp_path / "page.html", tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        rows = {row["model.cell"]: row for row in csv.DictReader(file)}
    last = {
        cell: {s: float(c[-20:].astype(np.float64).mean()) if len(c) == 60 else np.inf for s, c in of_cell.items()}
        for cell, of_cell in by_hand.items()
    }
    assert list(rows) == ["gru", "lstm", "simple_rnn"]
    ends = {"gru": (0, 7), "lstm": (1, 8), "simple_rnn": None}  # of 8 values the first and the last
    for cell, row in rows.items():
        values = np.sort(list(last[cell].values()))
        assert float(row["median"]) == pytest.approx(np.median(values), rel=1e-12)
        assert int(row["seeds"]) == len(values)
        told = [float(row[end]) for end in ("low", "high") if row[end]]
        assert told == pytest.approx([values[i] for i in ends[cell] or ()], rel=1e-12)
        order = sorted(seeded.ids[cell])
        assert row["seed of each run"] == " ".join(map(str, order))
        assert row["runs"] == " ".join(seeded.ids[cell][seed] for seed in order)
        hashes = row["cost.sha256"].split()
        assert hashes == [over_seeds.get_run(i).data.tags["mlflow.lstm_lab.cost.sha256"] for i in row["runs"].split()]
    assert (rows["gru"]["failed"], rows["lstm"]["ratio"], rows["lstm"]["p"]) == ("1", "", "")
    for cell in ("gru", "simple_rnn"):
        pairs = sorted(last[cell].keys() & last["lstm"].keys())
        logs = np.log([last[cell][seed] / last["lstm"][seed] for seed in pairs])
        assert int(rows[cell]["pairs"]) == len(pairs)
        assert float(rows[cell]["ratio"]) == pytest.approx(np.median(np.exp(logs)), rel=1e-12)
        assert float(rows[cell]["p"]) == pytest.approx(exact_p(logs), rel=1e-12)
        assert rows[cell]["compared with"] == "lstm"


def test_the_terminal_and_the_markdown_say_the_same_and_what_was_left_out(over_seeds, seeded, tmp_path):
    text = reported(EVERY, Question(["model.cell"]), tmp_path / "page.html", tmp_path / "table.md")
    table = [line.split() for line in text.splitlines() if re.match("[123]  ", line)][3:]
    lines = (tmp_path / "table.md").read_text().splitlines()
    written = [line.replace("|", " ").replace("\\", "").split() for line in lines if line.startswith("| ")]
    assert [row[1:] for row in table] == written[2:]
    assert not [line for line in text.splitlines() if re.match("[123 ]  ", line) and len(line) > 80]
    for note in (
        "left out: 1 FAILED without a reason, 1 KILLED, 1 RUNNING, 1 reproducing another",
        "of runs that are alike one counts: 2 runs left out",
        f"the costs of some that are alike differ, of which the newest counts: {seeded.ids['gru'][0][:8]}",
        "without the seeds 3, 7, which others have: gru",
    ):
        assert note in text
        assert f"- {note}" in lines
    for of_cell in seeded.ids.values():
        for seed, run_id in of_cell.items():
            assert re.search(rf"\b{seed}\s{run_id[:8]}\s[0-9a-f]{{8}}\b", (tmp_path / "table.md").read_text())


def test_on_a_narrow_terminal_no_cell_is_cut(over_seeds, tmp_path):
    by = Question(["model.cell", "data.curve", "training.steps"], against=["gru"])
    narrow, wide = (reported(EVERY, by, tmp_path / "page.html", width=width) for width in (40, 200))
    words = [line.split()[1:] for line in wide.splitlines() if re.match("[123]  ", line)][3:]
    found = [line.split() for line in narrow.splitlines() if re.match("[123]  ", line)][3:]
    rows = {number: [cell for row in found if row[0] == number for cell in row[1:]] for number in "123"}
    assert list(rows.values()) == words
    assert len(found) > 3
    assert max(len(line) for line in narrow.splitlines() if re.match("[123 ]  ", line)) <= 40


def test_a_group_stands_for_its_runs_and_a_study_for_those_of_its_trials(over_seeds, seeded):
    def ids(**choice):
        return [facts.run_id for facts in comparison.choose(over_seeds, Choice(**choice))]

    members = list(seeded.ids["lstm"].values())
    assert ids(runs=[seeded.others["group"][:12]]) == members
    assert ids(runs=[members[3], seeded.others["group"]]) == [members[3], *members[:3], *members[4:]]
    study = {"study": "it's cells", "last": None, "trained": True}
    assert set(ids(**study)) == set(seeded.ids["simple_rnn"].values())
    borrowed = "mlflow.lstm_lab.seed.5"  # a run that was there before, and only counts
    over_seeds.set_tag(seeded.others["trial"], borrowed, seeded.ids["gru"][5])
    assert set(ids(**study)) == {*seeded.ids["simple_rnn"].values(), seeded.ids["gru"][5]}
    over_seeds.delete_tag(seeded.others["trial"], borrowed)
    assert ids(**study, filter="params.training.seed = '3'") == [seeded.ids["simple_rnn"][3]]
    assert ids(study="it's cells") == [seeded.others["trial"]]
    parents = {seeded.others[name] for name in ("group", "trial", "study")}
    assert not parents & {*ids(last=None, trained=True), *ids(best=99)}
    [trial] = comparison.choose(over_seeds, Choice(best=99, study="it's cells"))
    assert (trial.run_id, trial.trials) == (seeded.others["trial"], "5 FINISHED")


def test_the_list_has_a_row_for_a_group_with_the_states_of_its_runs(over_seeds, seeded):
    console = Console(file=io.StringIO(), width=120)
    terminal.report(Choice(last=50), None, "python src/report.py", console)
    text = console.file.getvalue()
    assert "lstm, seeds 0-9: 10 FINISHED" in " ".join(text.split())
    assert seeded.others["study"][:8] in text
    for hidden in (seeded.others["trial"], *seeded.ids["lstm"].values(), *seeded.ids["simple_rnn"].values()):
        assert hidden[:8] not in text
    assert "a row over seeds has the medians of its runs; runs=ID compares these" in text


def test_the_page_has_a_band_a_row_and_folds_out_where_it_comes_from(over_seeds, seeded, tmp_path):
    reported(EVERY, Question(["model.cell"]), tmp_path / "page.html")
    found = Elements((tmp_path / "page.html").read_text())
    classes = [attributes.get("class", "") for tag, attributes in found.tags if tag == "path"]
    assert [name for name in classes if "band" in name] == [f"curve band run-{i}" for i in (1, 2, 3)]
    assert [name for name in classes if re.fullmatch(r"curve run-\d", name)] == [f"curve run-{i}" for i in (1, 2, 3)]
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "iframe", "a"})
    assert len([tag for tag, _ in found.tags if tag == "details"]) == 4
    for of_cell in seeded.ids.values():
        for run_id in of_cell.values():
            assert found.text.count(run_id) == 1
    assert "the band that the middle half of the runs lies in" in found.text


def test_names_from_a_store_are_nothing_but_text():
    evil = printable(HOSTILE)
    runs = [run(seed, 1.0, params={"model.cell_size": evil}, data=f"{evil} {seed % 2}") for seed in range(4)]
    found = answered(runs, "model.cell_size")
    html = Elements(page.render_groups(found, [None] * len(found.rows), "command", "now"))
    assert not {tag for tag, _ in html.tags} & {"script", "img"}
    assert evil in html.text
    console = Console(file=io.StringIO(), width=80)
    terminal.print_groups(found, [None] * len(found.rows), console)
    assert "[bold]" in console.file.getvalue()
    assert "\x1b" not in console.file.getvalue()
    lines = tables.as_latex(groups.table(found)).splitlines()
    assert [line for line in lines if "script" in line and not line.startswith("%") and "<" in line] == []
