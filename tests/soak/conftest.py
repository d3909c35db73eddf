"""No proxy of the machine, and the proof that nothing is left."""

from __future__ import annotations

from tests.client.conftest import no_proxy_of_the_machine, nothing_is_left

__all__ = ["no_proxy_of_the_machine", "nothing_is_left"]
