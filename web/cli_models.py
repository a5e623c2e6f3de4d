"""`atelier model` and `atelier family`: what can be trained, and what was."""

from __future__ import annotations

from pathlib import Path

import click

from atelier_client import Client, Model
from atelier_client.progress import ProgressLine
from web.cli_frame import (
    REFUSED,
    Commands,
    Ended,
    Object,
    api_command,
    force,
    id_argument,
    quiet,
)
from web.cli_output import echo_card, echo_field, echo_nothing, echo_table, table

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
    "atelier model list",
    show=table("id", "name", "family", "visibility", "bytes", "created_at"),
)
def list_models(api: Client) -> list[Model]:
    """List the models that you may use, newest first."""
    return api.models.list()


@api_command(model, "show", "atelier model show ID", show=lambda found: _echo_model(found))
@id_argument("model")
def show_model(api: Client, model_id: str) -> Model:
    """Show a model's card and the parameters that it generates with."""
    return api.models.get(model_id)


@api_command(model, "rename", 'atelier model rename ID "Letters, 2nd try"', show=echo_field("name"))
@id_argument("model")
@click.argument("name")
def rename_model(api: Client, model_id: str, name: str) -> Model:
    """Give a model another name."""
    return api.models.change(model_id, name=name)


@api_command(
    model,
    "share",
    "atelier model share ID",
    "atelier model share ID --off",
    show=echo_field("visibility"),
)
@id_argument("model")
@click.option("--off", is_flag=True, help="Share it no more.")
def share_model(api: Client, model_id: str, off: bool) -> Model:
    """Let everybody on this server generate with a model."""
    return api.models.share(model_id, not off)


@api_command(
    model,
    "download",
    "atelier model download ID -o letters.zip",
    show=echo_field("path"),
    patience=60.0,
)
@id_argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="File, or folder to put it in.  [default: this folder]",
)
@quiet
def download_model(api: Client, model_id: str, output: Path, quiet: bool) -> Object:
    """Download a model as a zip that its own library loads when unpacked; print its path."""
    line = ProgressLine(f"downloading {model_id}", quiet=quiet)
    path = api.models.download(model_id, output, line.sent)
    line.end()
    return {"id": model_id, "path": str(path)}


@api_command(model, "delete", "atelier model delete ID", show=echo_nothing)
@id_argument("model")
@force
def delete_model(api: Client, model_id: str, force: bool) -> Object:
    """Delete a model."""
    api.models.delete(model_id, force=force)
    return {"id": model_id, "deleted": True}


@click.group(cls=Commands)
def family() -> None:
    """Kinds of models that the workers here can train."""


@api_command(
    family,
    "list",
    "atelier family list",
    show=table("name", "title", "modality", "dataset_kind", "online"),
)
def list_families(api: Client) -> list[Object]:
    """List the model families."""
    return list(api.families.list())


@api_command(family, "show", "atelier family show vae", show=lambda found: _echo_family(found))
@click.argument("name")
def show_family(api: Client, name: str) -> Ended:
    """Show a family's parameters, their defaults and bounds."""
    found = api.families.get(name)
    if found is None:
        click.echo(f"atelier: there is no family {name}", err=True)
    return Ended(found, 0 if found else REFUSED)


def _echo_model(found: Object) -> None:
    schema = found.pop("generate_schema", None)
    echo_card(found)
    if schema:
        click.echo("\ngenerate")
        _echo_parameters(schema)


def _echo_family(found: Object | None) -> None:
    if found is None:
        return  # said on stderr
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
