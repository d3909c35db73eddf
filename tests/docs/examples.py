"""The examples of the documentation: where they stand and what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = [
    "DJANGO_SETTINGS",
    "FEED_ADDRESS",
    "FEED_URL",
    "REDIS_ADDRESS",
    "ROOT",
    "UNTIL_CTRL_C",
    "Example",
    "blocks",
    "commands",
    "examples",
    "lines",
    "pages",
]

ROOT = Path(__file__).parents[2]
FEED_ADDRESS = "localhost:8080"
"""Host and port that the examples connect to and poll; those of the tests' feed are put in their place."""
REDIS_ADDRESS = "localhost:6379"
"""The same for Redis."""
FEED_URL = f"ws://{FEED_ADDRESS}/ws"
UNTIL_CTRL_C = "<!-- runs until Ctrl-C -->"
"""Stands, invisible to readers, above an example that has no end of its own."""
DJANGO_SETTINGS = "<!-- settings of a Django project -->"
"""Stands, invisible to readers, above an example that is a settings module; what follows runs in that project."""
FILE = re.compile(r"<!-- the file (\w+)/(\S+) -->")
"""Stands, invisible to readers, above an example that is a file of some project; that project's tests are run."""
FENCE = re.compile(r"^```(\S*)")
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\.venv/bin/)?realtime-client\b")
INSTALLATION = re.compile(r"python3 -m venv |\.venv/bin/pip install ")


@attrs.frozen
class Example:
    """A fenced block.

    Attributes:
        page: The page, relative to the checkout.
        line: The number of its first line, from 1.
        language: What the fence says.
        code: Its lines.
        mark: The line above it, which may be one of those above.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str

    @property
    def file(self) -> tuple[str, str] | None:
        """The project that it is a file of, and the file's name, if it is one."""
        found = FILE.fullmatch(self.mark)
        return (found[1], found[2]) if found else None

    @property
    def endless(self) -> bool:
        """Whether it runs until Ctrl-C."""
        return self.mark == UNTIL_CTRL_C


def pages() -> list[str]:
    """The README and every page of the documentation, relative to the checkout."""
    documentation = (path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
    return [
        str(path.relative_to(ROOT)) for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(documentation)]
    ]


def examples(page: str, *languages: str) -> list[Example]:
    """The blocks of a page in any of some languages."""
    return [example for example in blocks(page) if example.language in languages]


def blocks(page: str) -> Iterator[Example]:
    """Every fenced block of a page, directives included."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    begun: tuple[int, str] | None = None
    for number, text in enumerate(lines):
        fence = FENCE.match(text)
        if fence is None:
            continue
        if begun is None:
            begun = number, fence[1]
            continue
        first, language = begun
        code = "\n".join(lines[first + 1 : number]) + "\n"
        yield Example(page, first + 2, language, code, lines[first - 1] if first > 0 else "")
        begun = None
    assert begun is None, f"{page}: the block at line {begun[0] + 1} does not end"


def lines(example: Example) -> list[str]:
    """What is typed in a block of console input, each command line as one."""
    return [line.replace("\\\n", " ") for line in re.findall(r"^\$ ((?:.*\\\n)*.*)", example.code, flags=re.MULTILINE)]


def commands(example: Example) -> list[str]:
    """The lines of a block that call ``realtime-client``, without the installation before it."""
    found = []
    for line in lines(example):
        parts = [part.strip() for part in line.split(" && ") if not INSTALLATION.match(part)]
        if parts and COMMAND.match(parts[-1]):
            found.append(" && ".join(parts).replace(".venv/bin/", ""))
    return found
