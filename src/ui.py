"""Shows the tracked runs in MLflow's pages: `python src/ui.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lstm_lab import commandline
from lstm_lab.config import ConfigError

DOOR = commandline.Door(
    "ui",
    about="""\
Serves MLflow's pages of the tracked runs, to this machine alone, and prints the address of the newest experiment's
runs. Ctrl-C ends it.""",
    words={"port=5001": "serve them there, now and from now on; 5000 at first"},
    closing="""\
Exit code 0, or 2 if there is nothing to show or the port cannot be had.
With make: make ui PORT=5001""",
)


def answer(words: dict[str, str]) -> int:
    """Serves the pages until Ctrl-C."""
    port = words.get("port")
    if port is not None and not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise ConfigError(f"port={port}: must be a whole number from 1 to 65,535")
    with commandline.importing():
        from rich.console import Console

        from lstm_lab.records import pages
    pages.serve(int(port) if port else None, Console())
    return 0


if __name__ == "__main__":
    sys.exit(DOOR.enter(answer))
