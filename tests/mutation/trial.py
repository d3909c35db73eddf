"""Runs tests against a changed module, in a process of its own that is forked with all libraries loaded."""

from __future__ import annotations

import ast
import enum
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

import attrs
import pytest
from hypothesis import Phase, settings

__all__ = ["Trial", "Verdict"]

PROFILE = "mutation"
"""For Hypothesis: nothing is remembered, and what was found is not made any simpler."""
MEMORY = 4 * 1024**3
"""Bytes of address space: a loop that does not end must not eat the machine."""

settings.register_profile(PROFILE, database=None, deadline=None, phases=(Phase.explicit, Phase.generate))


class Verdict(enum.Enum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


@attrs.frozen
class Trial:
    """One module, and the tests that should notice what is wrong with it.

    Attributes:
        module: Its full name; it is not imported in this process.
        path: Its source.
        tests: As pytest takes them, the quickest first.
    """

    module: str
    path: Path
    tests: Sequence[str]

    def baseline(self, seed: int) -> float:
        """The seconds of CPU that the tests take with the module as it is.

        Raises:
            RuntimeError: They fail, so that nothing could be said of mutants.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        verdict = self.judge(ast.parse(self.path.read_text(encoding="utf-8")), seed, cpu=600, patience=600)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if verdict is not Verdict.SURVIVED:
            raise RuntimeError(f"{self.module}: the tests fail without any change: {' '.join(self.tests)}")
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def judge(self, tree: ast.Module, seed: int, *, cpu: float, patience: float) -> Verdict:
        """Run the tests against a changed module.

        Args:
            tree: The changed module.
            seed: For Hypothesis.
            cpu: Seconds of CPU after which it has timed out; a busy machine does not use them up.
            patience: Seconds after which it hangs.
        """
        assert self.module not in sys.modules
        code = compile(tree, str(self.path), "exec", dont_inherit=True)
        process = multiprocessing.get_context("fork").Process(target=self._play, args=(code, seed, int(cpu) + 1))
        process.start()
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            process.join(patience)
            return Verdict.TIMED_OUT
        if process.exitcode == -signal.SIGXCPU:
            return Verdict.TIMED_OUT
        return Verdict.SURVIVED if process.exitcode == pytest.ExitCode.OK else Verdict.KILLED

    def _play(self, code: CodeType, seed: int, cpu: int) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if "REALTIME_MUTATION_OUTPUT" not in os.environ:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        sys.meta_path.insert(0, _Changed(self.module, self.path, code))
        chosen = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", f"--hypothesis-profile={PROFILE}"]
        chosen += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # Hypothesis is loaded before pytest begins
        chosen += ["-o", "timeout=0", "-o", "faulthandler_timeout=0"]  # this trial's own limits are in CPU time
        sys.exit(pytest.main([*chosen, f"--hypothesis-seed={seed}", *self.tests]))


class _Changed(MetaPathFinder):
    """Finds the changed module in the place of the one on disk."""

    def __init__(self, module: str, path: Path, code: CodeType) -> None:
        self._module = module
        self._path = path
        self._code = code

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        return spec_from_file_location(name, self._path, loader=_Loader(name, str(self._path), self._code))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, _name: str) -> CodeType:
        return self._code
