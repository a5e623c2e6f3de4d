"""The texts that people read, out of templates, code, errors, families and samples: `make messages` brings the
catalogues of web/translations up to date; tests/web/test_translations.py asks for what is missing.
"""

from __future__ import annotations

import importlib
import inspect
import io
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.pofile import read_po, write_po

import worker.families
from shared import errors, samples
from tests import raised
from web.language import FOLDER, LANGUAGES
from web.views.help import paragraphs

ROOT = Path(__file__).parent.parent
KEYWORDS = {**DEFAULT_KEYWORDS, "_l": None, "lazy_gettext": None, "lazy_ngettext": (1, 2)}
TRANSLATED = [name for name in LANGUAGES if name != "en"]


def pages() -> Catalog:
    """Templates, and what code marks with _()."""
    found = Catalog()
    options = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
    for path in sorted((ROOT / "web").rglob("*")):
        method = {".html": "jinja2", ".py": "python"}.get(path.suffix)
        if method is None:
            continue
        where = str(path.relative_to(ROOT))
        with path.open("rb") as file:
            for _line, key, _comments, _context in extract(method, file, KEYWORDS, (), options):
                found.add(key, locations=[(where, 0)])
    return found


def families() -> Catalog:
    """Whatever a family announces in words: the forms and help pages show it."""
    found = Catalog()
    for name, family in announced().items():
        for text in _words(family):
            found.add(text, locations=[(f"worker/families/{name}.py", 0)])
    return found


def announced() -> dict[str, dict]:
    names = [one.name for one in pkgutil.iter_modules(worker.families.__path__)]
    modules = {name: importlib.import_module(f"worker.families.{name}") for name in names}
    return {
        name: module.FAMILY.announcement((module.__doc__ or "").strip())
        for name, module in modules.items()
    }


def _words(family: dict) -> Iterator[str]:
    yield from (family["title"], family["summary"])
    yield from paragraphs(family["doc"])
    for action in family["actions"].values():
        for field in action["schema"].get("properties", {}).values():
            yield from (field[key] for key in ("title", "description", "x-unit") if field.get(key))
            yield from field.get("enum", ())
        yield from (message for *_, message in action.get("rules", ()))
        yield from (preset["title"] for preset in action["presets"])
    yield from (message for _, message in family.get("accepts", ()))


def services() -> Catalog:
    """What errors say, by themselves and where they are raised, and the samples' names."""
    found = Catalog()
    for _name, one in inspect.getmembers(errors, inspect.isclass):
        if issubclass(one, errors.AppError):
            found.add(
                (one.__doc__ or "").strip().splitlines()[0], locations=[("shared/errors.py", 0)]
            )
    for text, files in raised.texts().items():
        found.add(text, locations=[(file, 0) for file in files])
    for sample in samples.SAMPLES.values():
        for text in (sample.title, sample.note):
            found.add(text, locations=[("shared/samples.py", 0)])
    return found


HEADERS = {"Language", "Plural-Forms", "Content-Type", "Content-Transfer-Encoding"}
CATALOGUES = {"pages": pages, "families": families, "services": services}


def path_of(language: str, name: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / f"{name}.po"


def read(language: str, name: str) -> Catalog:
    path = path_of(language, name)
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def main() -> None:
    known: set = set()
    before = {
        (language, message.id): message.string
        for language in TRANSLATED
        for name in CATALOGUES
        for message in read(language, name)
    }
    for name, collect in CATALOGUES.items():
        template = collect()
        for message in list(template):
            # a text stands in the first catalogue that has it
            if message.id and message.id in known:
                template.delete(message.id)
        known |= {message.id for message in template if message.id}
        for language in TRANSLATED:
            catalogue = read(language, name)
            catalogue.update(template, no_fuzzy_matching=True)
            catalogue.obsolete.clear()
            for message in catalogue:
                # it may have stood in another one
                message.string = message.string or before.get((language, message.id), "")
            _write(path_of(language, name), catalogue)
            missing = [one for one in catalogue if one.id and not one.string]
            print(
                f"{path_of(language, name).relative_to(ROOT)}: {len(catalogue)} texts, {len(missing)} to translate"
            )


def _write(path: Path, catalogue: Catalog) -> None:
    """The same texts give the same file whenever they are collected: no date in its header."""
    header = [f"{key}: {value}\\n" for key, value in catalogue.mime_headers if key in HEADERS]
    texts = io.BytesIO()
    write_po(texts, catalogue, width=110, omit_header=True, sort_output=True, include_lineno=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{catalogue.header_comment.strip()}\n")
        file.write('msgid ""\nmsgstr ""\n' + "".join(f'"{line}"\n' for line in header) + "\n")
        file.write(texts.getvalue().decode("utf-8").strip() + "\n")


if __name__ == "__main__":
    main()
