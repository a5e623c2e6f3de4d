"""What figures, facts and parameters are called, and that the families' own have a name in every language."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import Babel, force_locale

from web import language
from web.views.names import FIGURES, figure_name, range_words, with_titles

FAMILIES = sorted((Path(__file__).parents[3] / "worker" / "families").glob("*.py"))
TABLES = {"metrics", "measured", "facts"}


@pytest.fixture(autouse=True)
def in_chinese():
    app = Flask(__name__)
    Babel(app).domain_instance = language.PoDomain()
    with app.test_request_context(), force_locale("zh_Hans_CN"):
        yield


def keys_of(path: Path) -> set[str]:
    """What a family writes into its tables of figures and facts."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if (
                name in TABLES
            ):
                found |= {key.value for key in keys if isinstance(key, ast.Constant)}
            case ast.Assign(
                targets=[ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=key))]
            ) if name in TABLES:
                found.add(key)
    return found


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_every_figure_of_a_family_has_a_name(path):
    assert keys_of(path) <= FIGURES.keys()


def test_an_unknown_figure_is_shown_as_it_is():
    assert figure_name("val_loss") == "验证损失"
    assert figure_name("made_up") == "made up"


def test_what_a_rule_names_stands_with_its_title():
    titles = {"n_head": "Heads"}
    assert (
        with_titles("必须是 n_head 两倍的整数倍。", titles)
        == "必须是 头数（n_head） 两倍的整数倍。"
    )
    assert with_titles("other_name stays", titles) == "other_name stays"


def test_bounds_are_said_in_words():
    assert range_words("more than 0, at most 5") == "大于 0、不大于 5"
