"""The profile for long runs.

``python -m pytest tests/stateful --hypothesis-profile=long -o faulthandler_timeout=0``
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.stateful.effort import LONG

settings.register_profile(LONG, print_blob=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if settings.get_current_profile_name() == LONG:
        for item in items:
            item.add_marker(pytest.mark.timeout(3600))
