"""Commands that several nouns have and that are alike for all: show, rename, share, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from atelier_client import Client
from web import cli_options
from web.cli_frame import api_command
from web.cli_output import Object, echo_card, echo_field, echo_nothing


def add_show(
    group: click.Group, noun: str, text: str, show: Callable[[Any], None] = echo_card
) -> None:
    def run(api: Client, **options: str) -> Object:
        found: Object = _all(api, noun).get(options[f"{noun}_id"])
        return found

    _declare(group, "show", noun, text, [f"atelier {noun} show ID"], show, run)


def add_rename(group: click.Group, noun: str, text: str) -> None:
    def run(api: Client, name: str, **options: str) -> Object:
        changed: Object = _all(api, noun).change(options[f"{noun}_id"], name=name)
        return changed

    shown = [f'atelier {noun} rename ID "Letters, 2nd try"']
    _declare(group, "rename", noun, text, shown, echo_field("name"), click.argument("name")(run))


def add_share(group: click.Group, noun: str, text: str) -> None:
    def run(api: Client, off: bool, **options: str) -> Object:
        changed: Object = _all(api, noun).share(options[f"{noun}_id"], not off)
        return changed

    shown = [f"atelier {noun} share ID", f"atelier {noun} share ID --off"]
    off = click.option("--off", is_flag=True, help="Share it no more.")
    _declare(group, "share", noun, text, shown, echo_field("visibility"), off(run))


def add_delete(group: click.Group, noun: str, text: str, *, forced: bool = False) -> None:
    """`forced`: others may depend on one of these."""

    def run(api: Client, **options: Any) -> Object:
        one = options.pop(f"{noun}_id")
        _all(api, noun).delete(one, **options)
        return {"id": one, "deleted": True}

    shown = [f"atelier {noun} delete ID"]
    shown += [f"atelier {noun} delete ID --force"] if forced else []
    function = cli_options.force(run) if forced else run
    _declare(group, "delete", noun, text, shown, echo_nothing, function)


def _declare(
    group: click.Group,
    name: str,
    noun: str,
    text: str,
    shown_examples: list[str],
    show: Callable[[Any], None],
    function: Callable[..., Any],
) -> None:
    function.__doc__ = text
    argument = cli_options.id_argument(noun)
    api_command(group, name, *shown_examples, show=show)(argument(function))


def _all(api: Client, noun: str) -> Any:
    """Where the client has them: jobs, models, …"""
    return getattr(api, f"{noun}s")
