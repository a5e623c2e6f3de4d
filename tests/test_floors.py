"""Attack 86: no installed library is older than the release that mended a known weakness."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.work import ROOT

FLOORS = {
    "torch": "2.10",  # CVE-2026-24747
    "werkzeug": "3.0.6",  # CVE-2024-49767
    "flask": "3.1.1",  # CVE-2025-47278
    "jinja2": "3.1.6",  # CVE-2025-27516
    "pillow": "11.3",  # CVE-2025-48379
    "requests": "2.32.4",  # CVE-2024-47081
    "urllib3": "2.5",  # CVE-2025-50181
    "certifi": "2024.7.4",  # CVE-2024-39689
}
CONSTRAINED = {
    canonicalize_name(line.partition("==")[0]): line.strip().partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if "==" in line
}


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_what_is_installed_has_no_weakness_that_was_mended(name, floor):
    assert Version(version(name)) >= Version(floor)
    assert Version(CONSTRAINED[name].partition(";")[0].strip()) >= Version(floor)


def test_python_has_the_extractor_of_tar_files_mended_or_ours_is_used():
    """CVE-2025-4517: ours never calls tarfile's (tests/web/test_attacks_served.py bans `extractall`)."""
    assert sys.version_info >= (3, 11)
    assert not any("tarfile" in path.read_text() for path in (ROOT / "worker").rglob("*.py"))


def test_every_bound_in_pyproject_admits_what_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for more in project["optional-dependencies"].values():
        wanted += [one for one in more if not one.startswith("atelier[")]
    for text in wanted:
        one = Requirement(text)
        pinned = CONSTRAINED[canonicalize_name(one.name)].partition(";")[0].strip()
        assert pinned in one.specifier, text
