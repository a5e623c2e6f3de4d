"""`atelier worker`: for administrators, over HTTP: who runs jobs, drained before an upgrade, and what is in the way."""

from __future__ import annotations

import click

from atelier_client import Client
from web import cli_options
from web.cli_frame import Commands, api_command
from web.cli_output import Object, echo_field, echo_nothing, table


@click.group(cls=Commands)
def worker() -> None:
    """For administrators: who runs jobs, and whose."""


@api_command(
    worker,
    "list",
    "atelier worker list",
    show=table("id", "kind", "device", "state", "drain_requested", "heartbeat_at"),
)
def list_workers(api: Client) -> list[Object]:
    """List the workers that live."""
    return api.workers.list()


@api_command(
    worker,
    "drain",
    "atelier worker drain device-0@gpu-1 --wait",
    "atelier worker drain device-0@gpu-1 --off",
    show=echo_field("state"),
)
@click.argument("worker_id")
@click.option("--off", is_flag=True, help="Take it back.")
@click.option("--wait", is_flag=True, help="Until it runs nothing any more.")
def drain(api: Client, worker_id: str, off: bool, wait: bool) -> Object:
    """Let a worker take nothing new and give its jobs back with a checkpoint."""
    found = api.workers.drain(worker_id, not off)
    if wait and not off:
        api.workers.wait_idle(worker_id)
        found = next((one for one in api.workers.list() if one["id"] == worker_id), found)
    return found


@api_command(
    worker,
    "jobs",
    "atelier worker jobs",
    show=table("id", "owner", "kind", "family", "state", "worker", "device_seconds"),
)
def jobs(api: Client) -> list[Object]:
    """List everybody's jobs that wait or run: whose, but not what they are about."""
    return api.workers.jobs()


@api_command(worker, "cancel-job", "atelier worker cancel-job ID", show=echo_nothing)
@cli_options.id_argument("job")
def cancel_job(api: Client, job_id: str) -> Object:
    """Cancel anybody's job."""
    api.workers.cancel_job(job_id)
    return {"id": job_id, "cancel_requested": True}
