"""What is said about the package, to pip and to people, is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from realtime_client import __version__
from tests.bare_imports import LIBRARIES
from tests.docs.examples import ROOT
from tests.lowest import SETUP, lowest, requirements

SETTINGS = SETUP.read_text(encoding="utf-8")
USERS = ("", "cli", "socks", "flask", "django", "redis", "prometheus", "otel", "testing")
"""What users install: nothing else in ``setup.cfg`` is for them."""
EXAMPLE = """
[options]
install_requires =
    one>=1.8
    two

[options.extras_require]
more =
    three>=5
    four>=2.1; sys_platform == "nowhere"
    example[more]
"""


def test_a_package_is_held_at_its_lower_bound() -> None:
    assert lowest(EXAMPLE) == ["one==1.8", "three==5"]


@pytest.mark.parametrize("found", list(requirements(SETTINGS, *USERS)), ids=lambda found: found.name)
def test_what_users_install_has_a_lower_bound_and_no_upper(found: Requirement) -> None:
    """The bound is tried, by ``.ci/distributions``; a guess at what future releases break would lock users in."""
    assert [one.operator for one in found.specifier] == [">="]
    assert f"{found.name}=={Version(next(iter(found.specifier)).version)}" in lowest(SETTINGS)


def test_all_is_everything_that_an_application_may_use() -> None:
    (found,) = requirements(SETTINGS, "all")
    assert found.extras == set(USERS) - {"", "testing"}


def test_the_pythons_are_those_that_are_tried() -> None:
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)$", SETTINGS, re.MULTILINE)
    assert named == sorted(named, key=Version)
    assert f"python_requires = >={named[0]}\n" in SETTINGS
    assert "Programming Language :: Python :: (3\\.[0-9]*)" in (ROOT / ".ci/distributions").read_text(encoding="utf-8")


def test_the_changelog_begins_with_the_version() -> None:
    """And the version is said nowhere else, but where figures say what they were measured with."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__ == str(Version(__version__))
    places = [
        ROOT / "setup.cfg",
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *Path(ROOT).glob("realtime_client/**/*.py"),
    ]
    telling = [path.name for path in places if __version__ in path.read_text(encoding="utf-8")]
    assert telling == ["_version.py"]


def test_without_any_extra_everything_else_can_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "tests/bare_imports.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{__version__}: ")


def test_the_libraries_of_all_extras_are_hidden_from_it() -> None:
    """So that the test before cannot pass because of a library that happens to be installed."""
    named = {found.name.replace("-", "_") for found in requirements(SETTINGS, *set(USERS) - {"", "testing"})}
    assert {name.removesuffix("_api") for name in named} <= set(LIBRARIES)
