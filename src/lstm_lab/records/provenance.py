"""What made a run: commit, uncommitted diff, packages, machine, environment, command line; and what differs since."""

import functools
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lstm_lab.hiding import hide, hide_in_word
from lstm_lab.machine import numeric_environment, processor
from lstm_lab.records import code, reading
from lstm_lab.records.code import LEFT_OUT, NUMERIC_PACKAGES
from lstm_lab.records.reading import UnsoundError, printable

FILES = {"provenance.json": 2**22, "packages.txt": 2**20, "uncommitted.diff": 2**30}  # bytes that each may have


@functools.cache
def packages() -> dict[str, str]:
    """Every installed package and its version."""
    found = {(d.metadata["Name"] or "?").lower(): d.version for d in importlib.metadata.distributions()}
    return dict(sorted(found.items()))


def command_line() -> str:
    """The command that started this process, ready to be pasted into a shell but for the secrets in it."""
    return shlex.join(["python", *map(hide_in_word, sys.argv)])


def machine() -> dict[str, Any]:
    """Python, operating system, processor and the environment variables that change numbers."""
    return {
        "python": platform.python_version(),
        "os": platform.platform(),
        "processor": processor(),
        "environment": {name: hide(value) for name, value in numeric_environment().items() if value},
        "command_line": command_line(),
        "directory": hide(os.getcwd()),
    }


@dataclass(frozen=True)
class Provenance:
    """Everything that made a run beside its config: facts as in provenance.json, package versions, the diff."""

    facts: dict[str, Any]
    packages: dict[str, str]
    diff: bytes

    def write(self, folder: Path) -> None:
        """Writes provenance.json, packages.txt and, if there is one, uncommitted.diff."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "provenance.json").write_text(json.dumps(self.facts, indent=2) + "\n")
        (folder / "packages.txt").write_text("".join(f"{k}=={v}\n" for k, v in self.packages.items()))
        if self.diff:
            (folder / "uncommitted.diff").write_bytes(self.diff)


def current(**settings: Any) -> Provenance:
    """What makes a run of this process; `settings` go into the facts."""
    running = code.running_code() or code.Code(None, None)
    return Provenance({**running.facts(), **settings, **machine()}, packages(), running.diff)


def read(files: Mapping[str, bytes | None]) -> Provenance | None:
    """What `Provenance.write` left, by the files' names; None unless both texts are there, UnsoundError if they are not
    as they were written."""
    known, listed = files["provenance.json"], files["packages.txt"]
    if known is None or listed is None:
        return None
    facts = reading.json_of(known)
    check_facts(facts)
    lines = listed.decode(errors="replace").splitlines()
    if not all("==" in line for line in lines):
        raise UnsoundError("has a package without a version")
    return Provenance(facts, dict(line.split("==", 1) for line in lines), files["uncommitted.diff"] or b"")


class LeftOut(BaseModel):
    """A file beside the diff."""

    path: str


class Processor(BaseModel):
    """As `machine.processor` tells of it."""

    instruction_sets: list[str] = []


class Facts(BaseModel):
    """The types of those facts that `differences` looks into; there may be others."""

    commit: str | None = None
    environment: dict[str, Any] = {}
    processor: Processor = Processor()
    left_out_of_diff: list[LeftOut] = []


def check_facts(facts: Any) -> None:
    """Raises UnsoundError for facts of other types than `current` writes."""
    try:
        Facts.model_validate(facts, strict=True)
    except ValidationError as error:
        place = error.errors()[0]["loc"]
        raise UnsoundError(f"has a {place[0]} of another form" if place else "holds no facts by name") from None


def differences(then: Provenance, now: Provenance, portable: bool) -> list[str]:
    """What differs, in words, the likeliest cause of other bits first.

    A `portable` run does not depend on the processor, so there it comes last.
    """

    def fact(key: str) -> list[str]:
        old, new = then.facts.get(key), now.facts.get(key)
        return [] if old == new else [f"{key} {shown(old)} then, {shown(new)} now"]

    changed = fact("commit")
    if then.diff != now.diff:
        changed.append(f"uncommitted changes: {len(then.diff):,} bytes of diff then, {len(now.diff):,} now")
    versions = different(then.packages, now.packages)
    numeric = [f"{name} {words}" for name, words in versions.items() if name in NUMERIC_PACKAGES]
    others = [f"{name} {words}" for name, words in versions.items() if name not in NUMERIC_PACKAGES]
    variables = different(then.facts.get("environment", {}), now.facts.get("environment", {}))
    environment = [f"environment variable {name} {words}" for name, words in variables.items()]
    old_processor, new_processor = (p.facts.get("processor", {}) for p in (then, now))
    processor = [
        f"processor's {key.replace('_', ' ')} {words}"
        for key, words in different(old_processor, new_processor).items()
        if key in ("machine", "model", "family_model_stepping")
    ]
    if sets := set(old_processor.get("instruction_sets", ())) ^ set(new_processor.get("instruction_sets", ())):
        processor.append(f"processor's instruction sets, in {', '.join(sorted(sets)[:6])}")
    files = different(*({file["path"]: file.get("sha256") for file in p.facts.get(LEFT_OUT, ())} for p in (then, now)))
    left_out = [f"files beside the diff: {', '.join(files)[:200]}"] if files else []
    rest = [*fact("python"), *others, *fact("os"), *left_out]
    return [*changed, *numeric, *environment, *(rest + processor if portable else processor + rest)]


def different(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """The keys whose values differ, each with both values in words."""
    return {
        printable(key): f"{shown(then.get(key, 'absent'))} then, {shown(now.get(key, 'absent'))} now"
        for key in sorted({**then, **now})
        if then.get(key) != now.get(key)
    }


def shown(value: Any) -> str:
    """A fact in a line, and not all of a long one."""
    return printable(str(value), 60)
