"""Completion, in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realtime_client.cli.completion import SHELLS
from tests.cli.conftest import Call
from tests.cli.live.screen import Screen
from tests.cli.process import environment

COMMANDS = ("watch", "tail", "status", "doctor", "record", "replay", "serve", "demo", "relay", "completion")
BASH = """
source "$SCRIPT"
COMP_WORDS=(realtime-client "$@"); COMP_CWORD=$#
_realtime_client
printf "%s\\n" "${COMPREPLY[@]}"
"""
FISH = 'source $SCRIPT; complete -C "realtime-client $argv"'


def needed(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        if "CI" in os.environ:  # which installs all of them
            pytest.fail(f"{shell} is not installed")
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.fixture
def scripts(call: Call, tmp_path: Path) -> dict[str, Path]:
    paths = {}
    for shell in SHELLS:
        ended = call("completion", shell)
        assert (ended.code, ended.err) == (0, [])
        paths[shell] = tmp_path / f"completion.{shell}"
        paths[shell].write_text("\n".join(ended.out) + "\n")
    return paths


def offered(shell: str, script: Path, *words: str) -> list[str]:
    """What a shell offers for the last of some words."""
    command = (
        ["bash", "--norc", "-c", BASH, "bash", *words] if shell == "bash" else ["fish", "-c", FISH, " ".join(words)]
    )
    done = subprocess.run(
        [needed(shell), *command[1:]],
        env={**environment(), "SCRIPT": str(script), "HOME": str(script.parent), "LC_ALL": "C.UTF-8"},
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition("\t")[0] for line in done.stdout.splitlines() if line]


CASES = [
    (["ta"], ["tail"]),
    (["re"], ["record", "relay", "replay"]),
    (["completion", ""], ["bash", "fish", "zsh"]),
    (["tail", "--output", ""], ["auto", "json", "pretty", "raw", "template"]),
    (["watch", "--level", "c"], ["critical"]),
    (["tail", "--tok"], ["--token-file"]),
    (["watch", "--no"], []),
    (["tail", "--token-file", "secr"], ["secret file"]),
    (["serve", "--tail", "secr"], ["secret file"]),
    (["replay", "secr"], ["secret file"]),
    (["tail", "--count", ""], []),
]


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_what_is_offered(shell: str, words: list[str], expected: list[str], scripts: dict[str, Path]) -> None:
    (scripts[shell].parent / "secret file").touch()
    assert sorted(offered(shell, scripts[shell], *words)) == expected


def test_bash_knows_values_behind_an_equals_sign(scripts: dict[str, Path]) -> None:
    assert offered("bash", scripts["bash"], "tail", "--output", "=", "j") == ["json"]
    assert len(offered("bash", scripts["bash"], "tail", "--output", "=")) == 5


def test_every_command_and_option_is_offered(scripts: dict[str, Path], call: Call) -> None:
    assert offered("bash", scripts["bash"], "")[: len(COMMANDS)] == list(COMMANDS)
    for command in COMMANDS:
        usage = "\n".join(call(command, "--help").out)
        flags = offered("bash", scripts["bash"], command, "--")
        assert "--help" in flags
        assert [flag for flag in flags if flag not in usage] == []
        assert ("--token-file" in usage) == ("--token-file" in flags)
        for shell in ("zsh", "fish"):
            text = scripts[shell].read_text()
            assert all((flag if shell == "zsh" else f"-l {flag[2:]} ") in text for flag in flags)


@pytest.mark.parametrize("way", ["sourced", "in fpath"])
def test_zsh_completes(way: str, scripts: dict[str, Path]) -> None:
    needed("zsh")
    folder = scripts["zsh"].parent
    (folder / "_realtime-client").write_text(scripts["zsh"].read_text())
    screen = Screen(columns=160, shell=("zsh", "-f", "-i"), env={"HOME": str(folder)})
    try:
        if way == "in fpath":
            screen.ask(f"fpath=({folder} $fpath)")
        screen.ask("autoload -U compinit; compinit -u -d ~/dump")
        if way == "sourced":
            screen.ask(f"source {scripts['zsh']}")
        complete(screen, "realtime-client ta", "realtime-client tail ")
        complete(screen, "--out", "tail --output ")
        complete(screen, "j", "tail --output json ")
        complete(screen, "\x15realtime-client doc", "realtime-client doctor ")
        complete(screen, "\x15realtime-client re", "record", "replay a recording, or serve it as a feed")
    finally:
        screen.close()


def complete(screen: Screen, typed: str, *shown: str) -> None:
    """Type something and, once it is seen, a TAB: one that comes along with other keys is taken for pasted text."""
    screen.type(typed)
    screen.wait_for(typed.lstrip("\x15"))
    screen.type("\t")
    screen.wait_for(*shown)


def test_bash_completes_as_people_use_it(scripts: dict[str, Path]) -> None:
    folder = scripts["bash"].parent
    (folder / "secret file").touch()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    screen = Screen(columns=160, env={"HOME": str(folder), "PATH": path})
    try:
        screen.ask(f"cd {folder}; source <(realtime-client completion bash)")
        complete(screen, "realtime-client ta", "realtime-client tail ")
        complete(screen, "--output=j", "tail --output=json ")
        complete(screen, "--token-file secr", "--token-file secret\\ file ")
    finally:
        screen.close()


@pytest.mark.parametrize("shell", ["", "tcsh"])
def test_another_shell_is_wrong_usage(shell: str, call: Call) -> None:
    ended = call("completion", *([shell] if shell else []))
    assert ended.code == 2
    assert "bash" in "\n".join(ended.err) or "shell" in "\n".join(ended.err)
