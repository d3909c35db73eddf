"""Every line of ``tests/vectors/messages.jsonl`` is a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from realtime_client._core.codec import Codec
from realtime_client.errors import MalformedMessage

NOW = datetime(2024, 1, 2, tzinfo=UTC)
LINES = (Path(__file__).parent.parent / "vectors" / "messages.jsonl").read_text(encoding="utf-8").splitlines()
VECTORS = [json.loads(line) for line in LINES if line]


def message_of(vector: dict[str, Any]) -> str | bytes:
    payload: str = vector["payload"]
    kind, _, rest = payload.partition(":")
    if kind == "hex":
        return bytes.fromhex(rest)
    if kind == "deep":
        return '{"type":"x","data":' + "[" * int(rest) + "]" * int(rest) + "}"
    return payload


def as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return value


def typed(value: Any) -> str:
    """A text in which 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 64


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    message = message_of(vector)
    if vector["outcome"] == "malformed":
        with pytest.raises(MalformedMessage) as caught:
            Codec().decode(message, received_at=NOW)
        assert vector["why"] in caught.value.reason
        return
    event = Codec().decode(message, received_at=NOW)
    assert event.type == vector["type"]
    for path, expected in vector["expect"].items():
        assert typed(as_json(reduce(getattr, path.split("."), event))) == typed(expected)
