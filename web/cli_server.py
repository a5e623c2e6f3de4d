"""What a server does and holds: `atelier queue`, `storage`, `audit`; and `atelier completion` for the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from atelier_client import Client
from web import cli_options
from web.cli_frame import api_command, examples
from web.cli_output import Object, echo_table, in_bytes


def add_to(main: click.Group) -> None:
    """Puts the commands into the main group."""

    @api_command(main, "queue", "atelier queue", show=_echo_queue)
    def queue(api: Client) -> Object:
        """Show the lanes, your jobs in them, and the workers."""
        return api.queue()

    @api_command(main, "storage", "atelier storage", "atelier storage --sweep", show=_echo_storage)
    @click.option("--sweep", is_flag=True, help="Sweep now, and wait for it.")
    def storage(api: Client, sweep: bool) -> Object:
        """For administrators: what lies on the disk, and what sweeps have freed."""
        if sweep:
            api.sweep()
        return api.storage()

    @api_command(
        main,
        "audit",
        "atelier audit --limit 20",
        "atelier audit --action token_made --json",
        show=lambda found: echo_table(map(_entry, found), AUDIT),
    )
    @click.option("--action", help="Only of this kind.")
    @click.option("--actor", "actor_id", metavar="ID", help="Only what this user did.")
    @click.option("--subject", "subject_id", metavar="ID", help="Only what was done to this.")
    @cli_options.limit
    def audit(api: Client, limit: int, **filters: str | None) -> list[Object]:
        """For administrators: who did what to whom, newest first."""
        return api.audit(limit=limit, **filters)

    @main.command(
        "completion",
        epilog=examples(
            'eval "$(atelier completion bash)"',
            'eval "$(atelier completion zsh)"',
            "atelier completion fish > ~/.config/fish/completions/atelier.fish",
        ),
    )
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        """Print the script with which a shell completes commands, options and ids."""
        found = get_completion_class(shell)
        assert found is not None
        click.echo(found(main, {}, "atelier", "_ATELIER_COMPLETE").source())


AUDIT = ("at", "actor", "action", "subject", "address", "facts")


def _entry(found: Object) -> Object:
    subject = found["subject"]
    return found | {
        "actor": (found["actor"] or {}).get("name"),
        "subject": f"{subject['type']} {subject['name'] or subject['id']}" if subject else None,
    }


def _echo_queue(found: Object) -> None:
    lanes = [{"lane": name, **counts} for name, counts in found["lanes"].items()]
    echo_table(lanes, ("lane", "queued", "running", "mine", "others"))
    click.echo()
    echo_table(found["jobs"], ("id", "lane", "kind", "family", "name", "state", "position"))
    click.echo()
    echo_table(found["workers"], ("id", "kind", "device", "state", "heartbeat_at"))


def _echo_storage(found: Object) -> None:
    disk = found["disk"]
    free = f"{in_bytes(disk['free_bytes'])} of {in_bytes(disk['bytes'])} are free"
    click.echo(f"{free} ({disk['free_percent']:.0f} %)\n")
    used = [
        {"class": name, "count": counts["count"], "size": in_bytes(counts["bytes"])}
        for name, counts in found["used"].items()
    ]
    echo_table(used, ("class", "count", "size"))
    click.echo()
    sweeps = [
        sweep
        | {
            "freed": in_bytes(sweep["bytes"]),
            "free": in_bytes(sweep["free_bytes_after"]),
        }
        for sweep in found["sweeps"]
    ]
    echo_table(sweeps, ("started_at", "why", "rows", "files", "freed", "free"))
