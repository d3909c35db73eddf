"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz.guided TARGET [libFuzzer's options] CORPUS``.

Atheris ends the process when it is done, so that `tests.fuzz` runs this as a process of its own. Nothing of the package
may be imported before its code is instrumented, hence the imports in a function.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough, or a finding ends it."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["realtime_client"]):
        targets = import_module("tests.fuzz.targets")
    target = targets.TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
