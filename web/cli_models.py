"""`atelier model` and `atelier family`: what can be trained, and what was."""

from __future__ import annotations

import click

from web.cli_frame import (
    REFUSED,
    Commands,
    Object,
    as_json,
    client,
    echo_card,
    echo_json,
    echo_table,
)

BOUNDS = (
    ("minimum", ">="),
    ("exclusiveMinimum", ">"),
    ("maximum", "<="),
    ("exclusiveMaximum", "<"),
)


@click.group(cls=Commands)
def model() -> None:
    """Trained models."""


@model.command("list")
@as_json
@click.pass_context
def list_models(ctx: click.Context, as_json: bool) -> None:
    """List your models, newest first."""
    found = client(ctx).models.list()
    if as_json:
        echo_json(found)
    else:
        echo_table(found, ("id", "name", "family", "bytes", "created_at"))


@model.command("show")
@click.argument("model_id")
@as_json
@click.pass_context
def show_model(ctx: click.Context, model_id: str, as_json: bool) -> None:
    """Show a model's card and the parameters that it generates with."""
    found = client(ctx).models.get(model_id)
    if as_json:
        echo_json(found)
        return
    schema = found.pop("generate_schema", None)
    echo_card(found)
    if schema:
        click.echo("\ngenerate")
        _echo_parameters(schema)


@model.command("delete")
@click.argument("model_id")
@click.option("--force", is_flag=True, help="Also when jobs depend on it.")
@click.pass_context
def delete_model(ctx: click.Context, model_id: str, force: bool) -> None:
    """Delete a model."""
    client(ctx).models.delete(model_id, force=force)


@click.group(cls=Commands)
def family() -> None:
    """Kinds of models that the workers here can train."""


@family.command("list")
@as_json
@click.pass_context
def list_families(ctx: click.Context, as_json: bool) -> None:
    """List the model families."""
    found = client(ctx).families.list()
    if as_json:
        echo_json(found)
    else:
        echo_table(found, ("name", "title", "modality", "dataset_kind", "online"))


@family.command("show")
@click.argument("name")
@as_json
@click.pass_context
def show_family(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show a family's parameters, their defaults and bounds."""
    found = client(ctx).families.get(name)
    if found is None:
        click.echo(f"atelier: there is no family {name}", err=True)
        ctx.exit(REFUSED)
    if as_json:
        echo_json(found)
        return
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
