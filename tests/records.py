"""The figures that the documentation shows: files that whole runs of the proofs write, each with what it was run on."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["DOCS", "add_docs_option", "conditions", "keep", "recorded"]

DOCS = Path(__file__).resolve().parents[1] / "docs"


def conditions(*, seed: int | None = None) -> dict[str, Any]:
    """What a figure means nothing without: the day, the interpreter, the machine, and the seed where there is one."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    known = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "python": platform.python_version(), "machine": machine}
    return known if seed is None else {**known, "seed": seed}


def add_docs_option(parser: argparse.ArgumentParser) -> None:
    """Give a command ``--docs``: without it, it only shows what it has found."""
    parser.add_argument(
        "--docs", action="store_true", help="put the figures into the documentation; only of a whole run"
    )


def recorded(name: str, directory: Path = DOCS) -> dict[str, Any]:
    """What ``docs/<name>.json`` says; empty where there is no such file."""
    path = directory / f"{name}.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def keep(name: str, figures: Mapping[str, Any], directory: Path = DOCS) -> None:
    """Write ``docs/<name>.json``."""
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    (directory / f"{name}.json").write_text(text, encoding="utf-8")
