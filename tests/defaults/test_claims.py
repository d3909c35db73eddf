"""Each promise about default settings names tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.defaults.claims import CLAIMS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_has_its_tests(claim: str) -> None:
    assert CLAIMS[claim]
    for node in CLAIMS[claim]:
        file, _, name = node.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {found.name for found in tree.body if isinstance(found, ast.FunctionDef)}, node


def test_every_test_of_the_defaults_stands_for_a_claim() -> None:
    claimed = {node for nodes in CLAIMS.values() for node in nodes}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path == Path(__file__):
            continue
        for found in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(found, ast.FunctionDef) and found.name.startswith("test_"):
                assert f"tests/defaults/{path.name}::{found.name}" in claimed
