"""`atelier model` and `atelier family`: what can be trained, and what was."""

from __future__ import annotations

from pathlib import Path

import click

from atelier_client import Client, Family, Model
from web import cli_options
from web.cli_frame import TRANSFER_PATIENCE, Commands, api_command, progress
from web.cli_nouns import add_delete, add_rename, add_share, add_show
from web.cli_output import Object, echo_card, echo_field, echo_table, table

BOUNDS = (
    ("minimum", ">="),
    ("exclusiveMinimum", ">"),
    ("maximum", "<="),
    ("exclusiveMaximum", "<"),
)


@click.group(cls=Commands)
def model() -> None:
    """Trained models."""


@api_command(
    model,
    "list",
    "atelier model list --search letters",
    show=table("id", "name", "family", "visibility", "bytes", "created_at"),
)
@click.option(
    "--search", "-q", "q", metavar="TEXT", help="Part of the name or the family, or an id."
)
def list_models(api: Client, q: str | None) -> list[Model]:
    """List the models that you may use, newest first."""
    return api.models.list(q=q)


@api_command(
    model,
    "download",
    "atelier model download ID -o letters.zip",
    show=echo_field("path"),
    patience=TRANSFER_PATIENCE,
)
@cli_options.id_argument("model")
@cli_options.output
@cli_options.quiet
def download_model(api: Client, model_id: str, output: Path, quiet: bool) -> Object:
    """Download a model as a zip that its own library loads when unpacked; print its path."""
    with progress(f"downloading {model_id}", quiet) as line:
        path = api.models.download(model_id, output, line.sent)
    return {"id": model_id, "path": str(path)}


@click.group(cls=Commands)
def family() -> None:
    """Kinds of models that the workers here can train."""


@api_command(
    family,
    "list",
    "atelier family list",
    show=table("name", "title", "modality", "dataset_kind", "online"),
)
def list_families(api: Client) -> list[Family]:
    """List the model families."""
    return api.families.list()


@api_command(family, "show", "atelier family show vae", show=lambda found: _echo_family(found))
@click.argument("name")
def show_family(api: Client, name: str) -> Family:
    """Show a family's parameters, their defaults and bounds."""
    return api.families.get(name)


def _echo_model(found: Object) -> None:
    schema = found["generate_schema"]
    echo_card({name: value for name, value in found.items() if name != "generate_schema"})
    if schema:
        click.echo("\ngenerate")
        _echo_parameters(schema)


def _echo_family(found: Object) -> None:
    click.echo(f"{found['title']}: {found['summary']}")
    for action, facts in found["actions"].items():
        click.echo(f"\n{action}")
        _echo_parameters(facts["schema"])


def _echo_parameters(schema: Object) -> None:
    rows = [
        {
            "parameter": name,
            "default": "required" if name in schema.get("required", []) else rule.get("default"),
            "allowed": _allowed(rule),
            "description": rule.get("description"),
        }
        for name, rule in schema.get("properties", {}).items()
    ]
    echo_table(rows, ("parameter", "default", "allowed", "description"))


def _allowed(rule: Object) -> str:
    if "enum" in rule:
        return ", ".join(map(str, rule["enum"]))
    branch: Object = next((b for b in rule.get("anyOf", []) if b.get("type") != "null"), {})
    facts = branch | rule
    bounds = " ".join(f"{sign} {facts[key]}" for key, sign in BOUNDS if key in facts)
    return f"{facts.get('type', '')} {bounds}".strip()


add_show(
    model, "model", "Show a model's card and the parameters that it generates with.", _echo_model
)
add_rename(model, "model", "Give a model another name.")
add_share(model, "model", "Let everybody on this server generate with a model.")
add_delete(model, "model", "Delete a model.", forced=True)
