"""What a user gets with default settings, and where each promise is tested."""

from __future__ import annotations

from collections.abc import Mapping

CLAIMS: Mapping[str, tuple[str, ...]] = {
    "A half-open connection is noticed within 41 s": (
        "tests/defaults/test_liveness.py::test_a_half_open_connection_is_noticed_within_41_seconds",
        "tests/defaults/test_liveness.py::test_a_server_that_comes_back_from_the_dead_is_found_again",
    ),
    "A silent, dripping or endless handshake is given up within connect_timeout and 16 MB": (
        "tests/defaults/test_handshakes.py"
        "::test_silent_dripping_and_endless_handshakes_are_given_up_within_connect_timeout_and_16_mb",
    ),
    "A ping is answered within a second while a callback blocks for a second at a time": (
        "tests/defaults/test_liveness.py"
        "::test_a_ping_is_answered_within_a_second_while_callbacks_block_for_a_second_at_a_time",
    ),
    "Retry-After is obeyed": (
        "tests/defaults/test_refusals.py::test_retry_after_is_obeyed_in_seconds",
        "tests/defaults/test_refusals.py::test_retry_after_is_obeyed_as_a_date",
        "tests/outages/test_polling.py::test_retry_after_of_a_poll_is_obeyed_in_seconds",
    ),
    "A 401 is tried once, and twice with a callable token": (
        "tests/defaults/test_refusals.py::test_a_401_is_tried_once",
        "tests/defaults/test_refusals.py::test_a_401_is_tried_twice_with_a_callable_token",
    ),
    "A bad certificate is tried once": ("tests/defaults/test_refusals.py::test_a_bad_certificate_is_tried_once",),
    "A 429 or 503 is tried again": ("tests/defaults/test_refusals.py::test_a_429_or_503_is_tried_again",),
    "500 of 500 resets in the handshake are survived": (
        "tests/defaults/test_handshakes.py::test_500_of_500_resets_in_the_handshake_are_survived",
    ),
    "Credentials go to no other origin": (
        "tests/outages/test_pitfalls.py::test_credentials_do_not_follow_a_redirect",
        "tests/outages/test_retry_policy.py::test_no_redirect_carries_credentials",
        "tests/outages/test_polling.py::test_a_redirect_is_not_followed",
        "tests/transports/test_proxy.py::test_proxy_credentials_are_sent_to_the_proxy_and_to_nobody_else",
    ),
    "40 forks under load: not a byte on the parent's connection, and no deadlock": (
        "tests/defaults/test_forks.py"
        "::test_40_forks_under_load_put_no_byte_on_the_parents_connection_and_never_deadlock",
    ),
    "close() takes less than 0.1 s": (
        "tests/client/test_closing.py::test_close_takes_less_than_100_ms_when_the_peer_answers",
    ),
    "close() takes 2 s against a mute server": (
        "tests/defaults/test_endings.py::test_close_takes_no_longer_than_2_seconds_against_a_mute_server",
    ),
    "The process ends within 0.5 s in every way, with a close frame wherever Python still runs": (
        "tests/defaults/test_endings.py"
        "::test_the_process_ends_within_half_a_second_and_says_goodbye_where_python_still_runs",
        "tests/outages/test_exit.py::test_a_callback_that_hangs",
        "tests/outages/test_exit.py::test_ctrl_c_ends_every_wait_at_once",
        "tests/outages/test_exit.py::test_many_clients_share_the_time",
    ),
}
