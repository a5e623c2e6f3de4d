"""What people may read of errors: every text that is raised, or said of a field, read out of the code itself, so that
none can be forgotten. What stands in a hole of it, a name or a number, is `%(a)s` in the catalogue (web/said.py).
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = ("shared", "web", "worker")
# Said on a terminal, in a log, or to programs alone.
UNSEEN = (
    "shared/config.py",
    "web/api/",
    "web/backup/",
    "web/children.py",
    "web/cli",
    "web/data_folder.py",
    "web/devices.py",
    "web/scopes.py",
    "web/up.py",
    "web/valkey.py",
    "web/views/style.py",
    "worker/chaos/",
    "worker/checkpoints.py",
    "worker/sandbox.py",
)
UNSEEN_ERRORS = {"BadSettings", "BadMessage", "LinkClosed"}
# What is said of a field, where it is raised as something else.
SAID_OF_FIELDS = {"web/requests.py": {"ValueError"}, "web/forms.py": {"NotTyped"}}
# What stands in some holes is words, too.
WORDS = {
    "dataset.kind": ("text", "images"),
    "family['dataset_kind']": ("text", "images"),
    "job.state": ("succeeded", "failed", "cancelled", "queued", "running"),
}
# Functions that are given a code and the words for it, somewhere among their arguments.
ENDINGS = {"fail", "strike"}
HOLE = "\0"
PARTS = re.compile(r"(?<=[;.]) ")
FEW = 6  # what may be said in more ways than this is translated part by part
MOST = 400


@dataclass
class Code:
    """A file, with what is needed to follow a name in it."""

    tree: ast.Module
    values: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Within:
    """Where an expression stands."""

    file: str
    function: ast.FunctionDef | None
    depth: int = 0


@cache
def texts() -> dict[str, list[str]]:
    """Each text, with the files that say it."""
    found: dict[str, list[str]] = {}
    for file in _files():
        if file.startswith(UNSEEN):
            continue
        for text in _of_file(file):
            key = _with_names(text)
            if re.search("[a-z] |[ ][a-z]", text) and file not in found.setdefault(key, []):
                found[key].append(file)
    return {text: files for text, files in found.items() if files}


def _files() -> list[str]:
    paths = itertools.chain.from_iterable((ROOT / top).rglob("*.py") for top in PLACES)
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


@cache
def _code(file: str) -> Code:
    code = Code(ast.parse((ROOT / file).read_text("utf-8")))
    for node in code.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            code.values[node.targets[0].id] = node.value
        elif isinstance(node, ast.FunctionDef):
            code.functions[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                code.imports[alias.asname or alias.name] = (node.module, alias.name)
    return code


# ---- what is said ----------------------------------------------------------------------------------


def _of_file(file: str) -> Iterator[str]:
    for expression, function in _said(file):
        found = _strings(expression, Within(file, function))
        yield from found if len(found) <= FEW else _parts(found)


def _parts(found: list[str]) -> list[str]:
    parts = (part.rstrip(".;") for text in found for part in PARTS.split(text))
    return list(dict.fromkeys(parts))


def _said(file: str) -> Iterator[tuple[ast.expr, ast.FunctionDef | None]]:
    tellers = _tellers(file)
    for node, function in _with_functions(_code(file).tree):
        for expression in _said_by(node, file):
            yield expression, function
        if isinstance(node, ast.Call):
            for n in tellers.get(_called(node), ()):
                yield from ((argument, function) for argument in node.args[n : n + 1])


def _said_by(node: ast.AST, file: str) -> Iterator[ast.expr]:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "message":
                yield value
    elif isinstance(node, ast.Call) and node.args:
        if _called(node) in _errors() | SAID_OF_FIELDS.get(file, set()):
            yield node.args[0]
        elif _called(node) in ENDINGS:
            yield from node.args[2:4]
    elif isinstance(node, ast.Return) and file.startswith("worker/"):
        match node.value:
            case ast.Tuple(elts=[ast.Constant(value=str()), words, *_]):
                yield words


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _tellers(file: str) -> dict[str, set[int]]:
    """Functions of the file that say what they are given: which of their arguments."""
    found: dict[str, set[int]] = {}
    for node, function in _with_functions(_code(file).tree):
        given = [one.arg for one in function.args.args if one.arg != "self"] if function else []
        for expression in _said_by(node, file):
            if function and isinstance(expression, ast.Name) and expression.id in given:
                found.setdefault(function.name, set()).add(given.index(expression.id))
    return found


def _with_functions(
    node: ast.AST, function: ast.FunctionDef | None = None
) -> Iterator[tuple[ast.AST, ast.FunctionDef | None]]:
    for child in ast.iter_child_nodes(node):
        inside = child if isinstance(child, ast.FunctionDef) else function
        yield child, inside
        yield from _with_functions(child, inside)


@cache
def _errors() -> frozenset[str]:
    """Names of all classes that descend from AppError, or from what refuses a file."""
    over: dict[str, set[str]] = {}
    for file in _files():
        for node in ast.walk(_code(file).tree):
            if isinstance(node, ast.ClassDef):
                over[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    known = {"AppError", "Refused"}
    while more := {name for name, bases in over.items() if bases & known} - known:
        known |= more
    return frozenset(known - UNSEEN_ERRORS)


# ---- what an expression may be ---------------------------------------------------------------------


def _strings(node: ast.AST, here: Within) -> list[str]:
    if here.depth > 8:
        return [HOLE]
    found = _followed(node, Within(here.file, here.function, here.depth + 1))
    return list(dict.fromkeys(found))[:MOST] or [HOLE]


def _followed(node: ast.AST, here: Within) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr() | ast.BinOp(op=ast.Add()):
            return _joined(node, here)
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return _strings(value, here)
        case ast.IfExp(body=one, orelse=other):
            return _strings(one, here) + _strings(other, here)
        case ast.BoolOp(values=values):
            found = [text for value in values for text in _strings(value, here)]
            return [text for text in found if HOLE in text] or found
        case ast.Name(id=name):
            return _of_name(name, here)
        case ast.Attribute() | ast.Subscript():
            return list(WORDS.get(ast.unparse(node), [HOLE]))
        case ast.Call(func=ast.Name(id=name)):
            return _returned(name, here)
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[_, other]):
            return _entries(name, here) + _strings(other, here)
    return [HOLE]


def _joined(node: ast.JoinedStr | ast.BinOp, here: Within) -> list[str]:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node.left, node.right]
    return _products([_strings(part, here) for part in parts])


def _products(parts: list[list[str]]) -> list[str]:
    return ["".join(choice) for choice in itertools.islice(itertools.product(*parts), MOST)]


def _of_name(name: str, here: Within) -> list[str]:
    code = _code(here.file)
    if here.function is not None:
        given = here.function.args
        if any(one.arg == name for one in [*given.args, *given.kwonlyargs]):
            return [HOLE]
        if assigned := list(_assigned(name, here)):
            return assigned
    if name in code.values:
        return _strings(code.values[name], Within(here.file, None, here.depth))
    module, original = code.imports.get(name, ("", ""))
    value = getattr(importlib.import_module(module), original, None) if _ours(module) else None
    return [value] if isinstance(value, str) else [HOLE]


def _assigned(name: str, here: Within) -> Iterator[str]:
    """All that a local name is set to, one after the other."""
    assert here.function is not None
    before: list[str] = []
    for node in ast.walk(here.function):
        match node:
            case ast.Assign(targets=[ast.Name(id=known)], value=value) if known == name:
                before += _strings(value, here)
            case ast.AugAssign(target=ast.Name(id=known), value=value) if known == name:
                before = _products([before, _strings(value, here)])
            case ast.For(target=ast.Tuple(elts=names), iter=rows):
                known_names = [getattr(one, "id", "") for one in names]
                if name in known_names:
                    before += _column(known_names.index(name), rows, here)
            case ast.NamedExpr(target=ast.Name(id=known)) if known == name:
                before.append(HOLE)
    yield from before


def _column(n: int, rows: ast.expr, here: Within) -> Iterator[str]:
    if isinstance(rows, ast.Name):
        rows = _code(here.file).values.get(rows.id, rows)
    if isinstance(rows, ast.Call) and rows.args and isinstance(rows.args[0], ast.GeneratorExp):
        rows = rows.args[0].generators[0].iter
    if not isinstance(rows, (ast.Tuple, ast.List)):
        yield HOLE
        return
    for row in rows.elts:
        if isinstance(row, ast.Tuple) and len(row.elts) > n:
            yield from _strings(row.elts[n], here)


def _entries(name: str, here: Within) -> list[str]:
    """The values of a local table."""
    for node in ast.walk(here.function) if here.function else ():
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=known)], value=ast.Dict(values=values))
                | ast.AnnAssign(target=ast.Name(id=known), value=ast.Dict(values=values))
            ) if known == name:
                return [text for value in values for text in _strings(value, here)]
    return [HOLE]


def _returned(name: str, here: Within) -> list[str]:
    file, code = here.file, _code(here.file)
    if name in code.imports and _ours(code.imports[name][0]):
        module, name = code.imports[name]
        path = module.replace(".", "/") + ".py"
        file = path if (ROOT / path).exists() else file
    function = _code(file).functions.get(name)
    if function is None:
        return [HOLE]
    inside = Within(file, function, here.depth)
    returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    return [text for value in returns if value is not None for text in _strings(value, inside)]


def _ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in PLACES


def _with_names(text: str) -> str:
    letters = iter("abcdefgh")
    first, *rest = text.replace("%", "%%").split(HOLE)
    return first + "".join(f"%({next(letters)})s{part}" for part in rest)
