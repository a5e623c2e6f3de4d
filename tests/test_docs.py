"""What the documentation lists is what there is: settings, make targets, error codes, exit codes, commands."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from shared.config import Settings
from web import cli, cli_frame

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def sources() -> list[Path]:
    return [
        path for folder in ("shared", "web", "worker") for path in (ROOT / folder).rglob("*.py")
    ]


def error_codes() -> set[str]:
    text = "\n".join(path.read_text() for path in sources())
    return set(re.findall(r'^    code = "(\w+)"', text, re.M)) | set(
        re.findall(r'^ +return "(\w+)", ', text, re.M)
    )


def make_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_readme_tells_each_setting_with_its_default_and_meaning(name):
    field = Settings.model_fields[name]
    default = str(int(field.default)) if isinstance(field.default, bool) else str(field.default)
    shown = f"`{default}`" if default else ""
    assert f"| `ATELIER_{name.upper()}` | {shown} | {field.description} |" in README


def test_readme_tells_no_setting_that_is_gone():
    known = {f"ATELIER_{name.upper()}" for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known} | {"ATELIER_URL", "ATELIER_TOKEN", "ATELIER_"}
    assert set(re.findall(r"ATELIER_[A-Z0-9_]*", README)) <= known


@pytest.mark.parametrize("code", sorted(error_codes()))
def test_readme_tells_each_error_code(code):
    assert f"`{code}`" in README


@pytest.mark.parametrize("target", make_targets())
def test_readme_tells_each_make_target(target):
    assert f"`make {target}" in README


@pytest.mark.parametrize("line", re.findall(r"^  (\d)  (.+)$", cli_frame.EXIT_CODES, re.M))
def test_readme_tells_each_exit_code(line):
    number, meaning = line
    assert re.search(rf"^\| {number} \| {re.escape(meaning)}", README, re.M)


def commands(group: click.Group, path: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(
    "command", [command for _, command in commands(cli.main)], ids=lambda command: command.name
)
def test_each_command_says_what_it_does(command):
    assert command.get_short_help_str()


def test_documentation_names_files_that_exist():
    for page in ("README.md", "CONTRIBUTING.md", "DESIGN.md"):
        for target in re.findall(r"\]\(([A-Za-z./_-]+)\)", (ROOT / page).read_text()):
            assert (ROOT / target).exists(), f"{page}: {target}"


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
