"""Every text that people read has a Chinese translation, and templates hold no text outside of _()."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import messages
from web import assets
from web.language import translations

TEMPLATES = sorted((Path(__file__).parents[2] / "web" / "templates").rglob("*.html"))
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")
TAG = re.compile(r"</?\w+")
# names, and what is the same in every language
AS_IT_IS = {"Atelier", "· Atelier", "Python"}


@pytest.fixture(scope="module")
def texts():
    return {name: collect() for name, collect in messages.CATALOGUES.items()}


@pytest.mark.parametrize("language", messages.TRANSLATED)
def test_every_text_is_translated(texts, language):
    known = {m.id: m.string for name in texts for m in messages.read(language, name) if m.id}
    wanted = {message.id for found in texts.values() for message in found if message.id}
    missing = sorted(str(text) for text in wanted if not _is_translated(known.get(text)))
    assert not missing, f"run `make messages` and translate: {missing}"
    assert not known.keys() - wanted, "run `make messages`: these are not used any more"


def _is_translated(string):
    return bool(string) and all(string if isinstance(string, (list, tuple)) else [string])


@pytest.mark.parametrize("language", messages.TRANSLATED)
def test_no_translation_loses_a_placeholder_or_a_tag(language):
    for name in messages.CATALOGUES:
        for message in messages.read(language, name):
            if not message.id:
                continue
            source = message.id[-1] if isinstance(message.id, tuple) else message.id
            strings = message.string if isinstance(message.string, tuple) else (message.string,)
            for string in strings:
                for pattern in (PLACEHOLDER, TAG):
                    said, meant = pattern.findall(string), pattern.findall(source)
                    assert sorted(said) == sorted(meant), (message.id, string)


def test_a_catalogue_is_read_without_being_compiled():
    found = translations("zh_Hans_CN")
    assert found.gettext("Datasets") == "数据集"
    assert found.ngettext("%(num)s item", "%(num)s items", 2) == "%(num)s 项"
    assert translations("en").gettext("Datasets") == "Datasets"


def is_attributes(piece: str) -> bool:
    """What a macro writes into the tag of its caller."""
    return "=" in piece or all(word.startswith("data-") for word in piece.split())


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_holds_no_text_outside_of_gettext(path):
    if path.name == "style.html":  # its samples of text are in both languages
        return
    text = re.sub(r"\{% block width %\}.*?\{% endblock %\}", "", path.read_text())
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL)
    text = re.sub(r"<(pre|kbd)\b.*?</\1>", "", text, flags=re.DOTALL)
    bare = [piece.strip() for piece in re.sub(r"<[^>]*>", "\n", text).splitlines()]
    found = [piece for piece in bare if re.search(r"[A-Za-z]{2,}", piece)]
    found = [piece for piece in found if piece not in AS_IT_IS and not is_attributes(piece)]
    found += [
        value
        for value in re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"', text)
        if re.search(r"[A-Za-z]{2,}", value)
    ]
    assert not found


def test_pages_use_the_icons_that_are_fetched():
    code = "\n".join(path.read_text() for path in TEMPLATES)
    code += "\n".join(path.read_text() for path in Path(assets.HERE, "views").glob("*.py"))
    used = set(re.findall(r'icon\("([\w-]+)"', code))
    used |= set(re.findall(r'symbol="([\w-]+)"', code))
    assert used
    assert used <= set(assets.ICONS)


@pytest.mark.parametrize("name", messages.CATALOGUES)
def test_a_catalogue_has_no_date_and_one_manner_of_address(name):
    text = messages.path_of("zh_Hans_CN", name).read_text()
    assert "Date" not in text.split("\n\n", 1)[0], "union merges would pile the dates up"
    assert "您" not in text
