"""What is written of tables: numbers, and Markdown, CSV and LaTeX that hold whatever a store's names hold."""

import csv
import math
import os
import re
import shutil
import subprocess

import pytest

from lstm_lab.reports import tables
from lstm_lab.reports.comparison import Facts
from lstm_lab.science.statistics import Estimate, Paired
from stores import HOSTILE

EVIL = '--> --!> <b>|`x`](u) & % $x$ # _ { } ~ ^ \\ "*[1] é温\n=1+1'


def made(name=EVIL, **columns):
    """A table with one row that is called so."""
    run = Facts("a" * 32, "run", params={"training.seed": name}, bits="b" * 64)
    odd = Facts("c" * 32, "run", params={"training.seed": "1"}, bits=name)
    columns = {"model.cell": [name], "seeds": ["2"], "median": ["1.5e-09"]} | columns
    exact = {"model.cell": [name], "seeds": [2], "median": [-1.5e-9], "low": [math.nan], "p": [""]}
    return tables.Table(f"of {name}", columns, 1, exact, {name: [run, odd]}, [f"a note of {name}"])


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [
        (0.0213, 2, "0.021"),
        (0.0999, 2, "0.10"),
        (2.96, 2, "3.0"),
        (28.4, 2, "28"),
        (12345.0, 2, "12,000"),
        (0.00002713, 2, "0.000027"),
        (1.5e-9, 2, "1.5e-09"),
        (1.0, 3, "1.00"),
        (0.0, 2, "0"),
        (float("inf"), 2, "inf"),
    ],
)
def test_numbers_keep_their_digits(x, digits, text):
    assert tables.number(x, digits) == text


def test_a_comparison_is_told_with_its_interval_and_its_p():
    assert tables.ratio(Paired(Estimate(28.4, 15.2, 36.1), 0.00002, 20)) == "28 [15, 36], p < 0.0001"
    assert tables.ratio(Paired(Estimate(1.31, math.nan, math.nan), 0.25, 3)) == "1.3, p = 0.25"
    assert tables.chance(Paired(Estimate(1.31, math.nan, math.nan), 0.25, 3)) == "0.25"
    assert tables.chance(Paired(Estimate(1.31, math.nan, math.nan), math.nan, 0)) == "-"
    assert tables.interval(Estimate(math.inf, 0.5, math.inf)) == "[0.50, inf]"
    assert tables.text(Estimate(math.nan, math.nan, math.nan)) == "-"


def test_markdown_ends_its_comment_where_it_is_meant_to_and_no_cell_makes_another():
    text = tables.as_markdown(made())
    before, comment, after = re.fullmatch(r"(.*?)<!--(.*?)-->(.*)", text, re.S).groups()
    assert "a note of" in after
    assert "--" not in comment
    for part in (before, after):
        assert not re.search(r"(?<!\\)[<>`\[\]]", part.replace("95 %", ""))
    rows = [re.split(r"(?<!\\)\|", line) for line in before.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in rows} == {5}
    assert len(rows) == 3
    assert f"1 {'c' * 8} none" in " ".join(comment.split())


def test_markdown_cuts_no_name_and_no_note():
    name = "column " * 100 + "end"
    text = tables.as_markdown(made(name))
    assert f"| {name} |" in text
    assert f"- a note of {name}\n" in text
    assert f"of each run: {name}: " in " ".join(text.split())


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", " =1", HOSTILE, EVIL])
def test_a_spreadsheet_runs_nothing_and_has_all_digits(name, tmp_path):
    tables.write(made(name), tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        head, row = csv.reader(file)
    assert head == ["model.cell", "seeds", "median", "low", "p"]
    assert row[0].removeprefix("'") == name
    assert not row[0].lstrip(" ").startswith(("=", "+", "-", "@", "\t"))
    assert row[1:] == ["2", "-1.5e-09", "", ""]
    assert float(row[2]) == -1.5e-9
    assert os.listdir(tmp_path) == ["table.csv"]


def test_texts_in_latex_are_themselves():
    assert tables.in_latex("a_b & 50 % of $x$") == r"a\_b \& 50 \% of \$x\$"
    assert tables.in_latex("[0.1, inf]") == "{[}0.1, inf]"  # behind \\ a bracket would be an argument
    assert tables.in_latex("-1.5e-09") == r"$-1.5 \times 10^{-9}$"
    assert tables.in_latex("< 0.0001") == r"\textless{} 0.0001"
    assert tables.in_latex("-") == "--"
    assert tables.in_latex("é温") == "éU+6E29"


def compiled(text, folder):
    """The text of the PDF that pdfLaTeX makes of a document with this table; fails with its log if it does not."""
    if not shutil.which("pdflatex"):
        message = "pdfLaTeX is not installed: `apt-get install texlive-latex-recommended`"
        pytest.fail(message) if os.environ.get("REQUIRE_LATEX") else pytest.skip(message)
    (folder / "table.tex").write_text(text, encoding="utf-8")
    document = r"\documentclass{article}\usepackage{booktabs}\pdfcompresslevel=0\begin{document}"
    (folder / "paper.tex").write_text(document + r"\input{table}\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
    return (folder / "paper.pdf").read_bytes()


def test_the_latex_compiles_whatever_the_names(tmp_path):
    letters = "".join(map(chr, range(0x20, 0x250)))
    names = [EVIL, HOSTILE, letters, "*", "[1, 2]", "\\input{/etc/passwd}", "\\end{tabular}", "^^41", "?`!`", "-"]
    several = {"model.cell": names, "seeds": ["2"] * len(names), "median": ["[0.1, inf]"] * len(names)}
    pdf = compiled(tables.as_latex(made(**several)), tmp_path)
    assert b"/Count 1" in pdf
    text = tables.as_latex(made())
    assert [line for line in text.splitlines() if not line.startswith("%")][:3] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"model.cell & seeds & median \\",
    ]
    assert f"{'a' * 32} {'b' * 64}" in text


def test_nothing_is_half_written(tmp_path, monkeypatch):
    monkeypatch.setitem(tables.WRITERS, ".md", lambda table: "x" * (1 // 0))
    with pytest.raises(ZeroDivisionError):
        tables.write(made(), tmp_path / "table.md")
    assert os.listdir(tmp_path) == []
