"""The command as a whole: its help, its usage errors, its two names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import realtime_client
from realtime_client.cli import main
from realtime_client.config import described_options
from tests.cli.conftest import Call
from tests.cli.process import TIMEOUT, Start, environment


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"realtime-client {realtime_client.__version__}\n"


def test_module_and_script_are_the_same(start: Start) -> None:
    script = Path(sysconfig.get_path("scripts")) / "realtime-client"
    by_script = subprocess.run(
        [script, "tail", "--help"], env=environment(), capture_output=True, text=True, timeout=15, check=True
    )
    by_module = start("tail", "--help")
    assert by_module.out.all() == by_script.stdout.splitlines()
    assert by_module.end() == 0


@pytest.mark.parametrize(
    "command", ["watch", "tail", "status", "doctor", "record", "replay", "serve", "demo", "completion"]
)
def test_help_has_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  realtime-client {command}" in text
    assert "exit codes:" in text
    assert "--verbose" in text


@pytest.mark.parametrize("command", ["watch", "tail", "status", "doctor", "record"])
def test_help_of_what_connects_has_every_variable(command: str, call: Call) -> None:
    text = "\n".join(call(command, "--help", env={"COLUMNS": "90"}).out)
    assert "options given here win over them, and they over the defaults" in text
    for option in described_options():
        assert (option.variable is None) or f"  {option.variable} " in text
    assert "  REALTIME_TOKEN_FILE " in text
    for name in ("HTTPS_PROXY", "NO_PROXY", "NO_COLOR", "FORCE_COLOR"):
        assert name in text
    table = text[text.index("environment variables") :].splitlines()[1:]
    assert max(map(len, table)) <= 90
    assert "Spacing of heartbeats. (30)" in text


def test_help_of_what_does_not_connect_has_none(call: Call) -> None:
    assert "environment variables" not in "\n".join(call("completion", "--help").out)


@pytest.mark.parametrize(
    ("args", "wrong"),
    [
        ([], "COMMAND"),
        (["tial"], "invalid choice"),
        (["tail", "--count", "0"], "--count: '0' is not allowed; allowed: a whole number of at least 1"),
        (["tail", "--timeout", "nan"], "--timeout: 'nan' is not allowed; allowed: a number of seconds above 0"),
        (["tail", "--output", "xml"], "--output: invalid choice"),
        (["tail", "--lines", "-1"], "'-1' is not allowed; allowed: a whole number of at least"),
        (["tail", "--duration", "0"], "--duration: '0' is not allowed; allowed: a number of seconds above 0"),
        (
            ["tail", "--since", "yesterday"],
            "--since: 'yesterday' is not allowed; allowed: a time (2026-01-31T08:30:00Z",
        ),
        (["tail", "--level", "loud"], "--level: invalid choice: 'loud'"),
        (["tail", "--grep", "("], "--grep: '(' is not allowed (missing ), unterminated subpattern"),
        (["tail", "--min-score", "nan"], "--min-score: 'nan' is not allowed; allowed: a number"),
        (
            ["tail", "--template", "{pid}"],
            "--template: '{pid}' is not allowed (there is no {pid}); allowed: text with {type}",
        ),
        (["tail", "--output", "template"], "--output template needs --template"),
        (["tail", "--output", "raw", "--template", "x"], "--template cannot be given together with --output raw"),
        (["tail", "--all", "--type", "pong"], "--type: not allowed with argument --all"),
        (["tail", "--token-file", "/no/such/file"], "--token-file: cannot read '/no/such/file': No such file"),
        (["tail", "--ca-file", "/no/such/file"], "--ca-file: cannot read '/no/such/file': No such file"),
        (["tail", "http://localhost/ws"], "url: http://localhost/ws is not allowed"),
        (["tail", "--proxy", "gopher://x"], "proxy: "),
        (["serve", "--port", "65536"], "--port: '65536' is not allowed; allowed: 0 to 65535"),
        (["serve", "--path", "ws"], "path is 'ws'"),
        (["tail", "ws://a/", "ws://b/"], "too many arguments"),
        (["tail", "--tokn", "x", "-p3"], "unknown option --tokn, -p"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what_is_allowed(args: list[str], wrong: str, call: Call) -> None:
    ended = call(*args)
    assert ended.code == 2
    assert ended.out == []
    assert wrong in "\n".join(ended.err)


@pytest.mark.parametrize(
    "args",
    [
        ["tail", "--token", "s3cret"],
        ["tail", "--token=s3cret"],
        ["tail", "--token", "-s3cret"],
        ["tail", "ws://localhost/ws", "--tokn", "s3cret"],
        ["tail", "ftp://user:s3cret@localhost/ws?token=s3cret"],
        ["tail", "ws://user:s3cret@localhost:0/ws?token=s3cret"],
        ["serve", "--token", "s3cret s3cret", "--port", "0"],
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.err
    assert "s3cret" not in captured.out + captured.err


def test_a_token_file_without_a_token_is_refused_without_showing_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("s3crét\n", encoding="utf-8")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    for name in ("token", "empty"):
        assert main(["tail", "--token-file", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert "holds no token; allowed: one line of printable ASCII" in error
        assert "s3cr" not in error


def test_help_into_a_closed_pipe_is_quiet(start: Start) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = start("tail", "--help", stdout=writer)
    os.close(writer)
    assert process.end() == 0
    assert process.said() == ""


INTERRUPTED_WITH_A_FULL_PIPE = """
import os, sys
from realtime_client.cli import main, tail

def run(args):
    os.set_blocking(1, False)
    try:
        while True:
            os.write(1, bytes(4096))
    except BlockingIOError:
        os.set_blocking(1, True)
    sys.stdout.write("buffered, and no room for it")
    raise KeyboardInterrupt

tail.run = run
sys.exit(main(["tail"]))
"""


def test_what_is_still_buffered_does_not_hold_up_the_end() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_WITH_A_FULL_PIPE], env=environment(), stdout=subprocess.PIPE
    ) as popen:
        try:
            assert popen.wait(TIMEOUT) == 130
        finally:
            popen.kill()
