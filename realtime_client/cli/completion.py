"""``realtime-client completion``: what a shell needs to complete the command, made from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import attrs

from realtime_client.cli.exits import Exit
from realtime_client.cli.streams import output, write_line

__all__ = ["DESCRIPTION", "EPILOG", "SHELLS", "add_arguments", "run", "script"]

DESCRIPTION = "Write what a shell needs to complete this command to standard output. It starts no Python at a TAB."

EPILOG = """\
examples:
  source <(realtime-client completion bash)                      in ~/.bashrc
  realtime-client completion zsh > "${fpath[1]}/_realtime-client"
  realtime-client completion fish > ~/.config/fish/completions/realtime-client.fish

exit codes:
  0 done    2 wrong usage"""

PROGRAM = "realtime-client"
FUNCTION = "_realtime_client"
FILE_METAVARS = ("FILE", "F")
LONGEST_HELP = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="which shell")


def run(args: argparse.Namespace) -> int:
    """Write the script.

    Returns:
        The exit code 0.
    """
    write_line(script(args.parser, args.shell), output())
    return Exit.DONE


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What a shell needs.

    Args:
        parser: The command's, with its subcommands.
        shell: One of `SHELLS`.
    """
    return "\n".join(SHELLS[shell](list(_commands(parser))))


@attrs.frozen
class _Argument:
    """An option, or an operand where there are no flags."""

    flags: tuple[str, ...]
    help: str
    takes: str | None
    """What its value is called; ``None`` where it has none."""
    choices: tuple[str, ...]
    is_file: bool
    repeats: bool


@attrs.frozen
class _Command:
    name: str
    help: str
    options: tuple[_Argument, ...]
    operands: tuple[_Argument, ...]


def _commands(parser: argparse.ArgumentParser) -> Iterator[_Command]:
    """The command itself, under the empty name, and its subcommands. argparse tells of them in private names only."""
    yield _command("", "", parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._get_subactions()}
            for name, command in action.choices.items():
                yield _command(name, summaries.get(name, ""), command)


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> _Command:
    arguments = [
        _argument(parser, action) for action in parser._actions if not isinstance(action, argparse._SubParsersAction)
    ]
    return _Command(
        name,
        summary,
        options=tuple(argument for argument in arguments if argument.flags),
        operands=tuple(argument for argument in arguments if not argument.flags),
    )


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> _Argument:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest
    return _Argument(
        flags=tuple(action.option_strings),
        help=text if len(text) <= LONGEST_HELP else text[: LONGEST_HELP - 1] + "…",
        takes=None if action.nargs == 0 else metavar,
        choices=tuple(map(str, action.choices or ())),
        is_file=metavar in FILE_METAVARS,
        repeats=isinstance(action, argparse._AppendAction | argparse._ExtendAction | argparse._CountAction),
    )


def _bash(commands: list[_Command]) -> Iterator[str]:
    whole, *subcommands = commands
    names = [command.name for command in subcommands]
    yield f"# bash completion for {PROGRAM}, written by '{PROGRAM} completion bash'"
    yield f"{FUNCTION}() {{"
    yield "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} IFS=$'\\n'"
    yield "    # Bash takes the = of --option=value for a word of its own."
    yield '    if [ "$word" = = ]; then word=; elif [ "$before" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi'
    yield "    COMPREPLY=()"
    yield '    if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f"        {_compgen([*names, *_flags(whole)])}"
    yield "        return"
    yield "    fi"
    yield '    case "${COMP_WORDS[1]} $before" in'
    for command in subcommands:
        for option in command.options:
            if option.takes is not None:
                labels = "|".join(f"'{command.name} {flag}'" for flag in option.flags)
                yield f"        {labels}) {_values(option)}; return ;;"
    yield "    esac"
    yield '    case "${COMP_WORDS[1]} $word" in'
    for command in subcommands:
        yield f"        '{command.name} -'*) {_compgen(_flags(command))} ;;"
        for operand in command.operands:
            if operand.choices or operand.is_file:
                yield f"        '{command.name} '*) {_values(operand)} ;;"
    yield "    esac"
    yield "}"
    yield f"complete -F {FUNCTION} {PROGRAM}"


def _flags(command: _Command) -> list[str]:
    return [flag for option in command.options for flag in option.flags]


def _compgen(words: list[str]) -> str:
    return f"COMPREPLY=($(compgen -W $'{chr(92) + 'n'}{(chr(92) + 'n').join(words)}' -- \"$word\"))"


def _values(argument: _Argument) -> str:
    if argument.choices:
        return _compgen(list(argument.choices))
    if argument.is_file:
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word"))'
    return ":"


def _zsh(commands: list[_Command]) -> Iterator[str]:
    whole, *subcommands = commands
    yield f"#compdef {PROGRAM}"
    yield f"# zsh completion for {PROGRAM}, written by '{PROGRAM} completion zsh'"
    yield f"_{PROGRAM}() {{"
    yield "    local curcontext=$curcontext state line"
    yield "    local -a commands"
    yield "    commands=("
    for command in subcommands:
        yield f"        {_quoted(command.name + ':' + command.help)}"
    yield "    )"
    yield "    _arguments -C \\"
    yield from (f"        {_zsh_option(option)} \\" for option in whole.options)
    yield "        '1: :->command' '*:: :->arguments'"
    yield "    case $state in"
    yield "        (command) _describe command commands ;;"
    yield "        (arguments)"
    yield "            case $words[1] in"
    for command in subcommands:
        yield f"                ({command.name})"
        yield "                    _arguments \\"
        yield from (f"                        {_zsh_option(option)} \\" for option in command.options)
        # An operand with nothing to offer is left out: zsh would show its name instead of completing options.
        yield from (
            f"                        {_quoted(':' + _zsh_value(operand))} \\"
            for operand in command.operands
            if operand.choices or operand.is_file
        )
        yield "                        && return ;;"
    yield "            esac ;;"
    yield "    esac"
    yield "}"
    yield "# In a file of $fpath this is the function's first call; sourced it registers itself."
    yield f'if [ "$funcstack[1]" = _{PROGRAM} ]; then _{PROGRAM} "$@"; else compdef _{PROGRAM} {PROGRAM}; fi'


def _zsh_option(option: _Argument) -> str:
    star = "*" if option.repeats else ""
    text = f"[{_escaped(option.help, '[]:')}]"
    value = "" if option.takes is None else f":{_zsh_value(option)}"
    return " ".join(_quoted(f"{star}{flag}{text}{value}") for flag in option.flags)


def _zsh_value(argument: _Argument) -> str:
    name = _escaped(argument.takes or "", ":")
    if argument.choices:
        return f"{name}:({' '.join(argument.choices)})"
    return f"{name}:{'_files' if argument.is_file else ' '}"


def _fish(commands: list[_Command]) -> Iterator[str]:
    whole, *subcommands = commands
    yield f"# fish completion for {PROGRAM}, written by '{PROGRAM} completion fish'"
    yield f"complete -c {PROGRAM} -f"
    for option in whole.options:
        yield f"complete -c {PROGRAM} -n __fish_use_subcommand{_fish_option(option)}"
    for command in subcommands:
        yield f"complete -c {PROGRAM} -n __fish_use_subcommand -a {command.name} -d {_fish_quoted(command.help)}"
    for command in subcommands:
        condition = f"'__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            yield f"complete -c {PROGRAM} -n {condition}{_fish_option(option)}"
        for operand in command.operands:
            if operand.choices:
                yield f"complete -c {PROGRAM} -n {condition} -a '{' '.join(operand.choices)}'"
            elif operand.is_file:
                yield f"complete -c {PROGRAM} -n {condition} -F"


def _fish_option(option: _Argument) -> str:
    flags = "".join(f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}" for flag in option.flags)
    value = "" if option.takes is None else " -r -F" if option.is_file else " -x"
    if option.choices:
        value += f" -a '{' '.join(option.choices)}'"
    return f"{flags}{value} -d {_fish_quoted(option.help)}"


def _escaped(text: str, special: str) -> str:
    return "".join("\\" + character if character in special + "\\" else character for character in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + _escaped(text, "'") + "'"


SHELLS: Mapping[str, Callable[[list[_Command]], Iterator[str]]] = MappingProxyType(
    {"bash": _bash, "zsh": _zsh, "fish": _fish}
)
