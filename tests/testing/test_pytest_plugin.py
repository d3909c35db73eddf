"""The fixtures for pytest, in runs of pytest as users have them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import TypeAlias

import pytest

from realtime_client import RealtimeClient

pytest_plugins = ["pytester"]

Suite: TypeAlias = Callable[..., pytest.RunResult]

STRICT = """
[pytest]
addopts = --strict-markers --strict-config -p no:cacheprovider
filterwarnings = error
"""
HEAD = """
import os, socket, threading
import pytest
from realtime_client import RealtimeClient
from realtime_client.testing import *

ALERT = {"type": "system_alert", "data": {"message": "disk full"}}
"""


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported() -> None:
    """What a client imports when the first is made; pytester forgets modules that a run in this process has brought."""
    RealtimeClient()


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    """Run a test module, in this process unless it leaves threads or processes behind."""
    pytester.makeini(STRICT)

    def run(source: str, *options: str, apart: bool = False) -> pytest.RunResult:
        pytester.makepyfile(HEAD + textwrap.dedent(source))
        return pytester.runpytest_subprocess(*options) if apart else pytester.runpytest_inprocess(*options)

    return run


def see(result: pytest.RunResult, *lines: str, **outcomes: int) -> None:
    """The run had these outcomes and no others, and said these things, in this order."""
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines([f"*{line}*" for line in lines])


# The fixtures


def test_realtime_client_is_connected_to_realtime_server(suite: Suite) -> None:
    result = suite(
        """
        def test_what_the_server_sends_is_received(realtime_client, realtime_server):
            alerts = realtime_client.events("system_alert", timeout=5)
            assert realtime_server.send(ALERT) == 1
            assert next(alerts).message == "disk full"

        def test_what_the_client_sends_is_recorded(realtime_server, realtime_client):
            realtime_client.send({"type": "subscribe"})
            realtime_server.wait_for_message({"type": "subscribe"})

        def test_the_client_needs_no_mention_of_a_server(realtime_client):
            assert realtime_client.is_connected

        def test_the_server_needs_no_client(realtime_server):
            with RealtimeClient(realtime_server.url):
                assert len(realtime_server.connections) == 1
        """
    )
    see(result, passed=4)


def test_both_are_closed_at_the_end(suite: Suite) -> None:
    result = suite(
        """
        used = []

        def test_that_fails(realtime_client, realtime_server):
            used.append((realtime_client, realtime_server, realtime_server.wait_for_connection()))
            assert False

        def test_after_it():
            client, server, connection = used[0]
            assert client.status.state.value == "closed"
            assert connection.ending is Ending.CLOSED  # the client said goodbye before the server was gone
            assert not [t.name for t in threading.enumerate() if t.name.startswith(("rtc-", "fake-server-"))]
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port))

        def test_with_fixtures_of_its_own(realtime_client, realtime_server):
            assert realtime_client is not used[0][0]
            assert realtime_server is not used[0][1]
            realtime_client.close()  # the code under test may close it

        def test_that_closes_the_server(realtime_client, realtime_server):
            realtime_server.close()
        """
    )
    see(result, passed=3, failed=1)


def test_what_went_wrong_in_the_server_fails_the_test(suite: Suite) -> None:
    result = suite(
        """
        @pytest.mark.realtime_server(then=[wait_for_message({"type": "hello"}, timeout=0.01)])
        def test_a_step(realtime_client, realtime_server):
            realtime_server.wait_for_connection().wait_closed()
        """
    )
    see(
        result,
        "ERROR at teardown of test_a_step*",
        "*the fake server's script or its client failed*",
        "*in the step wait_for_message*",
        passed=1,
        errors=1,
    )


def test_options_come_from_the_markers_the_closest_first(suite: Suite) -> None:
    result = suite(
        """
        from datetime import UTC, datetime

        pytestmark = pytest.mark.realtime_client(name="module", heartbeat="none")

        def test_of_the_module(realtime_client):
            assert (realtime_client.config.name, realtime_client.config.heartbeat) == ("module", "none")

        @pytest.mark.realtime_client(name="class", reconnect_delay=0.01)
        class TestClass:
            def test_of_the_class(self, realtime_client):
                config = realtime_client.config
                assert (config.name, config.heartbeat, config.reconnect_delay) == ("class", "none", 0.01)

            @pytest.mark.realtime_client(name="test")
            def test_of_its_own(self, realtime_client):
                config = realtime_client.config
                assert (config.name, config.heartbeat, config.reconnect_delay) == ("test", "none", 0.01)

        @pytest.mark.realtime_server(script=[[refuse(503)]], path="/feed")
        @pytest.mark.realtime_client(reconnect_delay=0.01)
        def test_of_the_server(realtime_server, realtime_client):
            assert (len(realtime_server.attempts), len(realtime_server.connections)) == (2, 1)
            assert realtime_client.config.url.endswith("/feed")

        @pytest.mark.realtime_clock(start=datetime(2030, 5, 6, tzinfo=UTC))
        def test_of_the_clock(realtime_clock, realtime_client):
            assert realtime_client.status.since == datetime(2030, 5, 6, tzinfo=UTC)
        """
    )
    see(result, passed=5)


def test_a_test_may_connect_by_itself(suite: Suite) -> None:
    result = suite(
        """
        @pytest.mark.realtime_client(connect=False, reconnect_delay=0.01)
        def test_faults_from_the_first_handshake_on(realtime_server, realtime_client):
            assert realtime_client.status.state.value == "idle"
            assert realtime_server.attempts == ()
            realtime_server.add_script(refuse(503))
            realtime_server.add_script(accept(), reset())
            realtime_client.connect(timeout=5)
            realtime_server.wait_for_connection(2)

        @pytest.mark.realtime_client(connect=False, url="ws://127.0.0.1:9/ws")
        def test_another_address(realtime_client):
            assert realtime_client.config.url == "ws://127.0.0.1:9/ws"
        """
    )
    see(result, passed=2)


@pytest.mark.parametrize(
    ("markers", "complaint"),
    [
        ("realtime_server([accept()])", "*@pytest.mark.realtime_server: [[]*[]] has no name; allowed: name=value"),
        ("realtime_server(scripts=[])", "*unexpected keyword argument 'scripts'*"),
        ("realtime_client(reconnect_dely=1)", "ConfigError: reconnect_dely: *did you mean"),
        ("realtime_clock(begin=1)", "*unexpected keyword argument 'begin'*"),
    ],
)
def test_a_wrong_option_is_named(suite: Suite, markers: str, complaint: str) -> None:
    result = suite(
        f"""
        @pytest.mark.{markers}
        def test_it(realtime_client, realtime_clock): pass
        """
    )
    see(result, complaint, errors=1)


def test_a_client_that_cannot_connect_is_told_at_once_and_closed(suite: Suite) -> None:
    result = suite(
        """
        @pytest.mark.realtime_server(then=[refuse(401)])
        def test_it(realtime_client): pass

        def test_after_it():
            assert not [t.name for t in threading.enumerate() if t.name.startswith(("rtc-", "fake-server-"))]
        """
    )
    see(
        result,
        "*RuntimeError: realtime_client could not connect: it is failed (*401*connect=False*",
        errors=1,
        passed=1,
    )


def test_a_client_that_cannot_connect_ends_a_test_with_a_clock_too(suite: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest_realtime_client\npytest_realtime_client.CONNECTING = 0.1")
    result = suite(
        """
        @pytest.mark.realtime_server(then=[refuse(503)])
        def test_it(realtime_client, realtime_clock): pass
        """,
        apart=True,
    )
    see(result, "could not connect: it is *connecting (*connect=False", errors=1)


def test_fixtures_may_be_overridden(suite: Suite) -> None:
    result = suite(
        """
        @pytest.fixture(scope="module")
        def realtime_server():
            with FakeServer(poll_answer=[]) as server:
                yield server

        def test_with_one_server(realtime_client, realtime_server):
            assert len(realtime_server.connections) == 1

        def test_for_all_tests(realtime_client, realtime_server):
            assert len(realtime_server.connections) == 2
        """
    )
    see(result, passed=2)


# Clock and network


def test_a_clock_and_a_network_are_used_if_they_are_asked_for(suite: Suite) -> None:
    result = suite(
        """
        def test_a_network(realtime_client, realtime_network):
            alerts = realtime_client.events("system_alert", timeout=5)
            realtime_network.current.put(ALERT)
            assert next(alerts).message == "disk full"

        @pytest.mark.realtime_client(reconnect_jitter=0)
        def test_a_clock_and_real_sockets(realtime_client, realtime_clock, realtime_server):
            realtime_server.then = [refuse(503)]
            realtime_server.drop()
            assert [realtime_clock.skip_delay(realtime_client) for _ in range(6)] == [1, 2, 4, 8, 16, 16]
            assert realtime_client.status.state.value in ("unavailable", "reconnecting")

        @pytest.mark.realtime_client(reconnect_jitter=0)
        def test_a_clock_and_a_network(realtime_clock, realtime_network, realtime_client):
            realtime_network.refuse(times=2)
            realtime_network.current.lose()
            assert [realtime_clock.skip_delay(realtime_client) for _ in range(3)] == [1, 2, 4]
            realtime_network.wait_for_open(2)

        @pytest.fixture
        def app(realtime_client):
            return realtime_client

        def test_through_another_fixture(app, realtime_network):
            assert len(realtime_network.links) == 1

        @pytest.mark.usefixtures("realtime_network")
        def test_by_a_marker(realtime_client):
            assert realtime_client.is_connected
        """
    )
    see(result, passed=5)


def test_one_client_has_one_feed(suite: Suite) -> None:
    result = suite("def test_it(realtime_client, realtime_network, realtime_server): pass")
    see(result, "*follows realtime_server or realtime_network; ask for one of them*", errors=1)


# Leaks


def test_leaked_threads_are_told_with_their_names_and_where_they_began(suite: Suite) -> None:
    result = suite(
        """
        pytestmark = pytest.mark.assert_no_leaked_threads(timeout=0.1)

        def test_a_client_that_is_not_closed(realtime_server, assert_no_leaked_threads):
            global client
            client = RealtimeClient(realtime_server.url, name="forgotten")
            client.connect()

        def test_that_is_clean(assert_no_leaked_threads, realtime_client): pass
        """,
        apart=True,
    )
    see(
        result,
        "ERROR at teardown of test_a_client_that_is_not_closed*",
        "*AssertionError: threads that began here still run 0.1 s after the end:*",
        "*rtc-forgotten-reconnect, started by MainThread:*",
        "*test_leaked_threads*.py*, in test_a_client_that_is_not_closed*",
        "*client.connect()*",
        "*rtc-forgotten-dispatcher, started by rtc-forgotten-reconnect*",
        "*The threads of a client (rtc-...) end with its close()*",
        passed=2,
        errors=1,
    )
    assert "_pytest" not in result.stdout.str().partition("threads that began here")[2]


def test_the_check_comes_first_by_usefixtures(suite: Suite) -> None:
    """So what other fixtures leave behind is found too."""
    result = suite(
        """
        pytestmark = pytest.mark.assert_no_leaked_threads(timeout=0.1)

        @pytest.fixture
        def app(realtime_server):
            client = RealtimeClient(realtime_server.url, name="forgotten")
            client.connect()
            return client

        @pytest.mark.usefixtures("assert_no_leaked_threads")
        def test_it(app): pass

        def test_not_unless_it_is_asked_for(app): pass
        """,
        apart=True,
    )
    see(result, "ERROR at teardown of test_it*", "*, in app*", passed=2, errors=1)


def test_fixtures_in_any_order_are_no_leak(suite: Suite) -> None:
    """The client may come before the check, and even connect anew within it: its threads are not the test's."""
    result = suite(
        """
        @pytest.mark.realtime_client(reconnect_delay=0.01)
        def test_it(realtime_client, realtime_server, assert_no_leaked_threads):
            realtime_server.drop()
            realtime_server.wait_for_connection(2)
            realtime_client.reconnect(timeout=5)
        """
    )
    see(result, passed=1)


# Pytest's environments


def test_nothing_is_imported_before_a_fixture_is_asked_for() -> None:
    program = """
import sys, threading, pytest
before = set(sys.modules)
import pytest_realtime_client
print(set(sys.modules) - before, [thread.name for thread in threading.enumerate()])
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert said.stdout == "{'pytest_realtime_client'} ['MainThread']\n"


def test_a_suite_that_does_not_use_it_does_not_notice_it(suite: Suite, pytester: pytest.Pytester) -> None:
    pytester.makeini(STRICT)
    pytester.makeconftest(
        """
        import sys
        def pytest_unconfigure(config):
            assert config.pluginmanager.has_plugin("realtime_client")
            assert not {"realtime_client", "websocket", "cattrs"} & set(sys.modules)
        """
    )
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess()
    see(result, passed=1)
    assert result.ret == 0
    assert result.stderr.str() == ""


def test_coverage_that_begins_late_sees_the_whole_package(suite: Suite, pytester: pytest.Pytester) -> None:
    """A plugin that had imported the package would have run its lines before anybody could count them."""
    pytester.makeconftest(
        """
        import coverage
        measured = coverage.Coverage(source=["realtime_client"], data_file=None, config_file=False)
        measured.start()
        def pytest_unconfigure(config):
            import realtime_client
            measured.stop()
            assert measured.analysis2(realtime_client.__file__)[3] == []
        """
    )
    pytester.makepyfile("def test_it(realtime_client): assert realtime_client.is_connected")
    result = pytester.runpytest_subprocess()
    see(result, passed=1)
    assert result.ret == 0


def test_it_can_be_left_out(suite: Suite) -> None:
    result = suite("def test_it(realtime_client): pass", "-p", "no:realtime_client")
    see(result, "*fixture 'realtime_client' not found*", errors=1)


def test_help_shows_what_there_is(pytester: pytest.Pytester) -> None:
    said = pytester.runpytest_inprocess("--fixtures").stdout.str()
    with_options = ("realtime_server", "realtime_client", "realtime_clock", "assert_no_leaked_threads")
    for name in (*with_options, "realtime_network"):
        assert f"\n{name} -- " in said
    markers = pytester.runpytest_inprocess("--markers").stdout.str()
    for name in with_options:
        assert f"@pytest.mark.{name}(" in markers


def test_under_xdist(suite: Suite) -> None:
    result = suite(
        """
        @pytest.mark.parametrize("number", range(6))
        def test_it(number, assert_no_leaked_threads, realtime_client, realtime_server):
            alerts = realtime_client.events("system_alert", timeout=5)
            assert realtime_server.send(ALERT) == 1
            assert next(alerts).message == "disk full"
        """,
        "-n2",
        apart=True,
    )
    see(result, passed=6)


def test_a_test_that_forks(suite: Suite) -> None:
    """The child has a connection of its own, and leaves the parent's to the parent."""
    result = suite(
        """
        def test_it(assert_no_leaked_threads, realtime_client, realtime_server):
            pid = os.fork()
            if pid == 0:
                realtime_client.connect(timeout=10)
                realtime_client.send({"type": "from the child"})
                realtime_client.close()
                os._exit(7)
            realtime_server.wait_for_message({"type": "from the child"}, timeout=10)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            realtime_server.wait_for_connection(2).wait_closed()
            alerts = realtime_client.events("system_alert", timeout=5)
            assert realtime_server.send(ALERT) == 1
            assert next(alerts).message == "disk full"
        """,
        "-W",
        "ignore:This process:DeprecationWarning",  # of fork() itself, from Python 3.12 on
        apart=True,
    )
    see(result, passed=1)


# Without pytest, and with both


def test_in_test_cases_of_unittest_run_by_pytest(suite: Suite) -> None:
    result = suite(
        """
        import unittest

        @pytest.mark.usefixtures("assert_no_leaked_threads")
        class TestFeed(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def take(self, realtime_client, realtime_server):
                self.client, self.server = realtime_client, realtime_server

            def test_it(self):
                alerts = self.client.events("system_alert", timeout=5)
                self.assertEqual(self.server.send(ALERT), 1)
                self.assertEqual(next(alerts).message, "disk full")
        """
    )
    see(result, passed=1)


def test_the_kit_needs_no_pytest() -> None:
    program = """
import sys, unittest
sys.modules["pytest"] = sys.modules["_pytest"] = None
from realtime_client import RealtimeClient
from realtime_client.testing import FakeServer, assert_no_leaked_threads

class TestFeed(unittest.TestCase):
    def setUp(self):
        self.enterContext(assert_no_leaked_threads(timeout=0.1))
        self.server = self.enterContext(FakeServer())

    def test_that_is_clean(self):
        with RealtimeClient(self.server.url) as client:
            self.assertTrue(client.is_connected)

    def test_that_leaks(self):
        self.client = RealtimeClient(self.server.url)
        self.client.connect()

unittest.main()
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert said.returncode == 1
    assert "Ran 2 tests" in said.stderr
    assert "FAILED (failures=1)" in said.stderr or "FAILED (errors=1)" in said.stderr
    assert "rtc-client-reconnect, started by MainThread:\n" in said.stderr
