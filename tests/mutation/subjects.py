"""What is mutated, and which tests have to notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutation.trial import Trial

__all__ = ["PACKAGE", "SUBJECTS", "trial_of"]

PACKAGE = Path(__file__).resolve().parents[2] / "realtime_client"
CODEC = ("tests/core/test_codec.py", "tests/core/test_vectors.py", "tests/core/test_codec_differential.py")

SUBJECTS: Mapping[str, Sequence[str]] = {
    "_core/answers.py": ("tests/core/test_answers.py",),
    "_core/backoff.py": ("tests/core/test_backoff.py", "tests/core/test_retry.py"),
    "_core/codec.py": CODEC,
    "_core/deflate.py": ("tests/core/test_deflate.py",),
    "_core/digest.py": ("tests/core/test_digest.py",),
    "_core/event_types.py": CODEC,
    "_core/fast_path.py": CODEC,
    "_core/frames.py": (
        "tests/core/test_frames.py",
        "tests/core/test_deflate.py",
        "tests/core/test_frames_differential.py",
    ),
    "_core/handshake.py": ("tests/core/test_handshake.py",),
    "_core/liveness.py": ("tests/core/test_liveness.py",),
    "_core/machine.py": ("tests/core/test_machine.py", "tests/stateful/test_connection.py"),
    "_core/picture.py": ("tests/relay/test_pure.py", "tests/test_store.py"),
    "_core/plain.py": CODEC,
    "_core/recording.py": ("tests/core/test_recording.py",),
    "_core/registered.py": CODEC,
    "_core/relay_stream.py": ("tests/relay/test_pure.py",),
    "_core/retry.py": ("tests/core/test_retry.py",),
    "_core/structure.py": CODEC,
    "_core/timestamps.py": CODEC,
    "_runtime/mailbox.py": ("tests/runtime/test_mailbox.py", "tests/stateful/test_mailbox.py"),
    "observers.py": ("tests/test_observers.py", "tests/stateful/test_subscriptions.py"),
    "store.py": ("tests/test_store.py", "tests/stateful/test_store.py"),
}
"""Each file, and its own tests, the quickest first: what only a test of the whole client would notice has survived."""


def trial_of(file: str) -> Trial:
    """The trial of one of the subjects."""
    module = f"realtime_client.{file.removesuffix('.py').replace('/', '.')}"
    return Trial(module, PACKAGE / file, SUBJECTS[file])
