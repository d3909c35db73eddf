"""``python -m tests.lowest``: constraints for pip that hold each requirement at the lowest release allowed."""

from __future__ import annotations

import configparser
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

__all__ = ["lowest", "requirements"]

SETUP = Path(__file__).resolve().parents[1] / "setup.cfg"


def requirements(setup: str, *extras: str) -> Iterator[Requirement]:
    """What an installation with some extras requires; with no extra named, what any of them requires.

    Args:
        setup: The text of ``setup.cfg``.
        extras: Their names; the empty name is that of the package itself, without any.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(setup)
    sections = {"": parser["options"]["install_requires"], **parser["options.extras_require"]}
    for extra in extras or sections:
        for line in sections[extra].splitlines():
            if line:
                yield Requirement(line)


def lowest(setup: str) -> list[str]:
    """A line for each requirement that has a lower bound: ``name==bound``."""
    bounds = {
        found.name: Version(one.version)
        for found in requirements(setup)
        for one in found.specifier
        if one.operator == ">=" and (found.marker is None or found.marker.evaluate())
    }
    return [f"{name}=={bound}" for name, bound in sorted(bounds.items())]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lowest(SETUP.read_text(encoding="utf-8"))))
