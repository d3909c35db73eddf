"""The examples in docstrings answer what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import realtime_client


def modules_with_examples() -> Iterator[str]:
    for module in pkgutil.walk_packages(realtime_client.__path__, "realtime_client."):
        path = Path(realtime_client.__file__).parents[1] / module.name.replace(".", "/")
        source = path / "__init__.py" if module.ispkg else path.with_suffix(".py")
        if ">>> " in source.read_text(encoding="utf-8"):
            yield module.name


MODULES = sorted(modules_with_examples())


def test_examples_are_found() -> None:
    assert {"realtime_client.recording", "realtime_client.demo.feed", "realtime_client.testing.server"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried > 0
    assert failed == 0
