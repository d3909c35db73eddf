"""``python tests/bare_imports.py``: everything can be imported without the libraries of the extras, but what needs one.

It needs nothing but the installed package, so that it runs in an environment without any extra as well. Where the
libraries are installed, it hides them.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import types
from collections.abc import Iterator

NEEDS = {
    "cli.live": "cli",
    "integrations.django": "django",
    "integrations.flask": "flask",
    "integrations.opentelemetry": "otel",
    "integrations.prometheus": "prometheus",
    "relay": "redis",
    "transports.redis": "redis",
    "transports.redis_wire": "redis",
}
"""The parts that do not work without an extra, with all that is in them. Nothing else imports them."""
PRIVATE = ("cli.live", "transports.redis", "transports.redis_wire")
"""Whoever imports these says what is missing."""
LIBRARIES = (
    "asgiref",
    "click",
    "django",
    "flask",
    "opentelemetry",
    "prometheus_client",
    "python_socks",
    "redis",
    "rich",
)


def modules(package: types.ModuleType) -> Iterator[str]:
    """The names of all modules, read from the disk: a package is not imported to look into it."""
    found = [(package.__name__, list(package.__path__))]
    while found:
        name, paths = found.pop()
        yield name
        for module in pkgutil.iter_modules(paths, f"{name}."):
            if module.ispkg:
                found.append((module.name, [f"{path}/{module.name.rpartition('.')[2]}" for path in paths]))
            else:
                yield module.name


def extra_of(module: str) -> str | None:
    """The extra that a module needs."""
    inside = module.removeprefix("realtime_client.")
    return next((extra for part, extra in NEEDS.items() if f"{inside}.".startswith(f"{part}.")), None)


def judged(module: str) -> str | None:
    """What is wrong with how a module is imported."""
    extra = extra_of(module)
    try:
        importlib.import_module(module)
    except ImportError as error:
        if extra is None:
            return f"{module} cannot be imported without an extra: {error}"
        inside = module.removeprefix("realtime_client.")
        if not inside.startswith(PRIVATE) and f"'realtime-client[{extra}]'" not in str(error):
            return f"{module} does not say that it needs the extra {extra}: {error}"
    return None


def main() -> int:
    """Import everything; what is wrong is written to standard error."""
    for library in LIBRARIES:
        sys.modules[library] = None  # type: ignore[assignment]  # this is how an import is made to fail
    import realtime_client

    names = sorted(modules(realtime_client))
    problems = [problem for name in names if (problem := judged(name)) is not None]
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    alone = sum(extra_of(name) is None for name in names)
    sys.stdout.write(f"{realtime_client.__version__}: {alone} modules of {len(names)} need no extra\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
