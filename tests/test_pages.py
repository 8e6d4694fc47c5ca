"""The pages, to the letter: every command of a fence or a table is run as it stands there, or listed here as not run.

`<!-- not run: REASON -->` in a table's row, or on the line before a fence or a table, leaves out its commands.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from helpers import ROOT, copy_project, own_port, train_until, wait_for_answer

PAGES = ["README.md", "README.zh-CN.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]
NOT_RUN = {  # and why
    "make test": "it would start these tests",
    'make test ARGS="-k model"': "it would start tests",
    "make lint": "CI does",
    "make lock": "it needs the package registry",
    "make bench": "it needs JAX and PyTorch",
    "make bench ARGS=--quick": "it needs JAX and PyTorch",
    "make forecasts": "it needs statsforecast",
    "make forecasts SEEDS=1 SERIES=nile": "it needs statsforecast",
    "make findings": "minutes",
    "make papers": "hours",
    "make papers SEEDS=2": "minutes; the page's own tests run it with shorter studies",
    "python src/train.py -m sweeps=papers/adding": "minutes",
    "make records": "minutes; the records' own tests train one again",
    "make findings SEEDS=2": "minutes; the findings' own tests run it with shorter studies",
    **dict.fromkeys(
        (
            f"python src/train.py -m sweeps={study}"
            for study in ("best", "carry", "memory", "window", "truncation", "papers/adding-1000")
        ),
        "20 seeds take half a minute to half an hour, the benchmarks two hours and packages of their own",
    ),
    "python src/train.py experiment=long": "half a minute to minutes",
    "python src/train.py training.live=true": "it needs a display",
    ".venv/bin/python $(ls bootstrap/pip-*.whl)/pip install 'psycopg[binary]'": "it adds a package to .venv",
    "export MLFLOW_TRACKING_URI=http://tracking:5000": "it needs other machines",
    "python src/train.py -m sweeps hydra.sweeper.storage.url=postgresql+psycopg://lab@database/lab": (
        "it needs other machines"
    ),
    'echo "database:5432:lab:lab:PASSWORD" >> ~/.pgpass': "it changes the home of whoever tests",
    "chmod 600 ~/.pgpass": "it changes the home of whoever tests",
}
# Which runs RUN_ID and OTHER_ID may stand for in a command: the latest that pass the filter, in MLflow's words
SUITABLE = {
    r"train.py resume=RUN_ID$": "attributes.status = 'KILLED' and tags.trial IS NULL and tags.seeds IS NULL",
    r"forecast.py .*steps=": "params.data.horizon = '1' and tags.seeds IS NULL",
    r"forecast.py": "params.data.target = 'b' and tags.seeds IS NULL",
    r"report.py": "attributes.status = 'FINISHED' and tags.trial IS NULL and tags.seeds IS NULL",
    r"": (
        "attributes.status = 'FINISHED' and tags.trial IS NULL and tags.seeds IS NULL and "
        "params.training.steps = '200' and params.model.cell = 'lstm' and "
        "params.model.cell_size = '10' and params.data.curve = 'sine_to_cosine'"
    ),
}
PORT = "5001"  # stands in the pages for a port that is free
SERVER = re.compile(r"make (ui|tensorboard)\b|mlflow (ui|models serve)\b")
PLACEHOLDER = re.compile(r"\b(RUN_ID|OTHER_ID)\b")
MARK = re.compile(r"<!-- not run: (.+?) -->")
IS_COMMAND = re.compile(r"(\w+=\S+ )*(python|make|mlflow|curl|eval|export|sbatch|git|sh|\.|\.venv/\S+) \S")


@dataclass(frozen=True)
class Command:
    """What a page tells the reader to type: shell, or Python in its fence."""

    page: str
    line: int
    text: str
    language: str = "sh"
    not_run: str | None = None


def commands_of(page: str) -> list[Command]:
    """Every command of the page's fences and tables, in the order of the page."""
    found: list[Command] = []
    fence: list[str] | None = None
    language, first, mark = "", 0, None
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if line.startswith("```"):
            if fence is None:
                language, first, fence = line[3:] or "sh", number + 1, []
            else:
                found += [Command(page, first + at, text, language, mark) for at, text in parts(fence, language)]
                fence, mark = None, None
        elif fence is not None:
            fence.append(line)
        elif line.startswith("|"):
            in_row = MARK.search(line)
            spans = [span.replace(r"\|", "|") for span in re.findall("`([^`]+)`", line)]
            reason = in_row[1] if in_row else mark
            found += [Command(page, number, span, not_run=reason) for span in spans if IS_COMMAND.match(span)]
        else:
            before = MARK.fullmatch(line)
            mark = before[1] if before else None
    return found


def parts(fence: list[str], language: str) -> Iterator[tuple[int, str]]:
    """The commands of a fence and the lines that they begin at: one a line, unless a quote or a backslash goes on."""
    assert language in ("sh", "python", "text", "yaml", "json"), f"a fence of {language}"
    if language == "python":
        yield 0, "\n".join(fence)
    if language != "sh":
        return
    command: list[str] = []
    for number, line in enumerate(fence):
        command.append(line)
        if is_whole("\n".join(command)):
            yield number + 1 - len(command), "\n".join(command).partition("   #")[0].rstrip()
            command = []
    assert not command, f"a fence ends within a command: {command}"


def is_whole(text: str) -> bool:
    """Whether the shell would not wait for more."""
    with contextlib.suppress(ValueError):  # a quotation is not closed, or nothing follows the backslash
        shlex.split(text, comments=True)
        return True
    return False


@dataclass
class Lab:
    """A checkout in which the pages' commands are run, each once, in an environment that is activated."""

    checkout: Path
    port: str
    done: set[str] = field(default_factory=set)
    server: subprocess.Popen | None = None

    def run(self, command: Command) -> None:
        """Runs the command unless a page had it before; fails with page, line and what it printed if it fails."""
        if command.text in self.done:
            return
        self.done.add(command.text)
        text = self.filled(command.text)
        if not text.startswith("curl"):
            self.stop()
        if SERVER.search(text):
            self.start(text)
            return
        shell = ["bash", "-c", text] if command.language == "sh" else ["python", "-c", text]
        done = subprocess.run(shell, capture_output=True, text=True, **self.options())
        where = f"{command.page}:{command.line}: {text}"
        assert done.returncode == 0, f"{where}\nexit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}"

    def options(self) -> dict:
        """Where and in which environment commands run: the user's own, with .venv activated and no word of a make."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "USER") if name in os.environ}
        path = f"{self.checkout}/.venv/bin{os.pathsep}{os.environ['PATH']}"
        return {
            "cwd": self.checkout,
            "env": {**kept, "PATH": path, "PORT": self.port},
            "stdin": subprocess.DEVNULL,
        }

    def filled(self, text: str) -> str:
        """The command with the ids of suitable runs and a free port in it."""
        text = re.sub(rf"(?<=[ :=]){PORT}\b", self.port, text)
        if not PLACEHOLDER.search(text):
            return text
        if text.endswith("train.py resume=RUN_ID"):
            self.cut_a_run_short()
        suitable = next(words for pattern, words in SUITABLE.items() if re.search(pattern, text))
        client = MlflowClient(f"sqlite:///{self.checkout}/mlflow.db")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        runs = client.search_runs(experiments, suitable, order_by=["attributes.start_time DESC"])
        for placeholder, run in zip(("RUN_ID", "OTHER_ID"), runs, strict=False):
            text = re.sub(rf"\b{placeholder}\b", run.info.run_id, text)
        assert not PLACEHOLDER.search(text), f"no run passes {suitable}"
        return text

    def cut_a_run_short(self) -> None:
        """Leaves a run that SIGTERM ended."""
        assert "resume=" in train_until("step=100", "SIGTERM", self.checkout).stdout

    def start(self, text: str) -> None:
        """Starts a server and waits until it answers."""
        log = self.checkout / ".git/server.log"
        with open(log, "w") as output:
            self.server = subprocess.Popen(
                ["bash", "-c", text], stdout=output, stderr=output, start_new_session=True, **self.options()
            )
        wait_for_answer(f"http://127.0.0.1:{self.port}/ping", self.server, log)

    def stop(self) -> None:
        """Ends the server, if there is one, and all that it started."""
        if self.server:
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
            self.server = None


def table(header: str, *columns: list) -> str:
    """A CSV file."""
    rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
    return "\n".join([header, *rows, ""])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A fresh checkout with the environment that runs the tests as its .venv, and the files that the pages speak of."""
    checkout = copy_project(tmp_path_factory.mktemp("pages"), "Makefile", "bootstrap", "requirements.lock")
    environment = Path(sys.prefix).resolve()
    lock = hashlib.sha256((checkout / "requirements.lock").read_bytes()).hexdigest()
    stamp = json.loads((environment / "stamp.json").read_text())
    if (stamp["venv"], stamp["requirements.lock"]) != (str(environment), lock):
        pytest.fail("the pages' make targets would change this environment: `make test` brings it up to date")
    (checkout / ".venv").symlink_to(environment)
    (checkout / ".git/info/exclude").write_text(".venv\n/*.csv\n/*.html\n/*.tex\n")
    t = np.arange(600) / (10 * np.pi)
    columns = np.stack([np.sin(t), np.cos(t)], axis=1)
    hours = np.datetime_as_string(np.datetime64("2024-01-01T00") + np.arange(600)).tolist()
    (checkout / "my.csv").write_text(table("a,b,when", *columns.T.tolist(), hours))
    shops = [f"shop {i % 3}" for i in range(600)]
    (checkout / "shops.csv").write_text(table("shop,sales", shops, columns[:, 0].tolist()))
    np.savetxt(checkout / "inputs.csv", columns[:200, :1], delimiter=",", header="a", comments="", fmt="%.6f")
    with own_port() as port:
        lab = Lab(checkout, str(port))
        yield lab
        lab.stop()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(page: str, lab: Lab):
    for command in commands_of(page):
        if command.not_run is None:
            lab.run(command)
    lab.stop()


def test_the_commands_that_are_not_run_are_these_and_no_others():
    marked = {command.text: command.not_run for page in PAGES for command in commands_of(page) if command.not_run}
    assert marked == NOT_RUN


def test_every_fence_begins_its_line_or_its_commands_would_not_be_run():
    for page in PAGES:
        assert not re.findall(r"^(?: +|>.*)```.*|^ *~~~.*", (ROOT / page).read_text(), re.M), page


def test_fences_of_data_can_be_read():
    for page in PAGES:
        for text in re.findall(r"^```(?:yaml|json)\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S):
            assert yaml.safe_load(text)  # JSON is YAML


def test_the_readme_is_read_in_one_sitting():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


def test_a_chinese_sentence_is_on_one_line_since_a_line_end_would_show_as_a_gap():
    text = re.sub(r"^```.*?^```$", "", (ROOT / "README.zh-CN.md").read_text(), flags=re.M | re.S)
    assert not re.findall(r"^(?![|#<\-\[]).+\n(?![|#<\-\[\n]).+", text, flags=re.M)
    assert "超参数" in text
    assert not re.search("(?<!超)参数", text)


def test_both_readmes_name_the_tutorial_and_have_the_same_pages_and_commands():
    pages = [(ROOT / page).read_text() for page in ("README.md", "README.zh-CN.md")]
    links = [set(re.findall(r"\]\((?!README|LICENSE|CITATION|CHANGELOG)([^)]+)\)", text)) for text in pages]
    assert links[0] == links[1]
    assert sum(link.endswith("tensorflow/5-09-RNN3/") for link in links[0]) == 1
    assert {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.[mi]*")} - {"docs/fit.gif"} <= links[0]
    english, chinese = ({command.text for command in commands_of(page)} for page in PAGES[:2])
    assert english <= chinese


def test_links_pictures_and_paths_lead_somewhere():
    missing = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        links = [(ROOT / page).parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
        paths = [ROOT / path for path in re.findall(r"`((?:src|conf|sweeps|docs|tests|benchmarks)/\w[\w./-]*)`", text)]
        missing += [f"{page}: {path}" for path in links + paths if not path.exists()]
    assert missing == []


def test_the_chinese_page_knows_where_the_tutorials_parts_are():
    places = re.findall(r"`(src/\S+\.py)` 的 `(\w+)(?:\.(\w+))?`", (ROOT / "README.zh-CN.md").read_text())
    assert len(places) >= 8
    for path, *names in places:
        tree = ast.parse((ROOT / path).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert {name for name in names if name} <= defined, path


def test_the_map_of_the_house_has_every_module_and_no_other():
    """Each of its lines has a folder or file, or several, and then what they are for; folders indent what they hold."""
    text = (ROOT / "README.md").read_text()
    [house] = re.findall(r"^## The house\n.*?^```text\n(.*?)^```$", text, re.M | re.S)
    drawn, folders = set(), {0: ROOT}
    for line in house.splitlines():
        indent = len(line) - len(line.lstrip())
        for name in line.strip().split("  ")[0].split():
            assert folders[indent] / name not in drawn, f"{name} is drawn twice"
            drawn.add(folders[indent] / name)
            folders[indent + 2] = folders[indent] / name
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    modules = {ROOT / file for file in files.stdout.splitlines() if re.fullmatch(r"src/(lstm_lab/.*)?\w+\.py", file)}
    rooms = {module.parent for module in modules}
    assert {path for path in drawn if not path.exists()} == set()
    assert {path for path in modules if path.name != "__init__.py"} | rooms <= drawn


def test_tensorboard_shows_every_run_and_prints_its_address_alone(lab: Lab):
    lab.run(Command("", 0, "python src/train.py"))
    lab.run(Command("", 0, f"make tensorboard PORT={PORT}  # also if a page had it"))
    address, named = f"http://127.0.0.1:{lab.port}", set(os.listdir(lab.checkout / "mlruns/tensorboard"))
    for plugin in ("graphs/info", "scalars/tags"):
        found: set[str] = set()
        while found != named:  # it reads the files after it has begun to answer
            with urllib.request.urlopen(f"{address}/data/plugin/{plugin}") as answer:
                told = json.load(answer)
            found = {run for run in told if told[run].get("run_graph") or "cost" in told[run]}
            time.sleep(0.1)
    assert lab.server
    os.killpg(lab.server.pid, signal.SIGINT)
    lab.server.wait()
    lab.server = None
    lines = (lab.checkout / ".git/server.log").read_text().splitlines()
    of_the_test = ("make: ***", "path /ping not found")  # of what it asked when it waited, and of its Ctrl-C
    said = [line for line in lines if not line.startswith(of_the_test)]
    assert said == [f"TensorBoard: {address}/ (Ctrl-C ends it)"]


@pytest.mark.parametrize(("arguments", "lines"), [((), 1), (("ARGS=-k 'x y'",), 0)])
def test_make_test_says_first_how_long_all_of_it_takes(arguments, lines):
    alone = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "ARGS"))}  # not of a make
    command = ["make", "-n", "test", *arguments]
    recipe = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True).stdout
    first = subprocess.run(["sh", "-c", recipe.splitlines()[0]], capture_output=True, text=True)
    said = 'about a quarter of an hour on two cores; make test ARGS="-k data" runs a part\n'
    assert (first.stdout, first.stderr) == (lines * said, "")
