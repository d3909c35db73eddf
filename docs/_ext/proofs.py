"""Figures that the proofs' commands have written, and how tables show them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

__all__ = [
    "ALIASES",
    "CLIENTS",
    "DOCS",
    "FILES",
    "NOTHING_YET",
    "NOT_MEASURED",
    "OURS",
    "Figures",
    "Proofs",
    "heading",
    "mib",
    "number",
    "ran",
    "read",
    "share",
    "table",
]

Figures: TypeAlias = Mapping[str, Any]
Proofs: TypeAlias = Mapping[str, Figures]
"""The content of each file of `FILES` that exists, by its name without ``.json``."""

DOCS = Path(__file__).resolve().parents[1]
FILES = (
    "conformance",
    "hostile",
    "faults",
    "network",
    "fuzz",
    "machines",
    "soak",
    "herd",
    "repeats",
    "coverage",
    "mutation",
)
OURS = "realtime_client"
CLIENTS = (OURS, "WebSocketApp", "websockets.sync", "python-socketio")
"""Who has a place in every comparison, measured or not."""
ALIASES = {"WebSocketApp": "websocket-client"}
"""What the suite of conformance drives in a client's place: the class below it, which reads its frames."""
NOT_MEASURED = "not measured"
NOTHING_YET = "*Not measured yet.*"


def read(directory: Path = DOCS) -> Proofs:
    """Read the files; one that does not exist is left out."""
    paths = {name: directory / f"{name}.json" for name in FILES}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def ran(run: Figures) -> str:
    """On which day, by what, and with which seed the figures were made."""
    seed = f", seed {run['seed']}" if "seed" in run else ""
    return f"{run['date']}, Python {run['python']}, {run['machine']}{seed}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown. What a cell holds is text: only a bar, which would end it, is escaped."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def heading(client: str) -> str:
    """A client's name, which may take two lines."""
    return client.replace(".", ".<br>").replace("-", "-<br>").replace("_", "_<br>")


def number(value: float) -> str:
    """With commas between thousands."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """Such as ``3 of 1,000``."""
    return f"{part:,} of {whole:,}"


def mib(size: int) -> str:
    """Bytes as mebibytes."""
    return f"{size / 1024**2:.1f} MiB"
