"""How a model is used outside: the lines of Python that its own folder gives, or what loads any model of Atelier."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from shared.models import Model, User
from web.services import access
from web.services.studio import Studio
from web.services.texts import beginning

CARDS = ("README.md", "CARD.md")
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
FOLDER = "folder with this file"
MOST = 1 << 14  # characters
CAUSAL = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({folder})
tokenizer = AutoTokenizer.from_pretrained({folder})
ids = tokenizer("Once", return_tensors="pt").input_ids
print(tokenizer.decode(model.generate(ids, max_new_tokens=100, do_sample=True)[0]))"""
OWN = """\
# in a checkout of Atelier, or where it is installed; a family of your own has its load() in its own file instead
from pathlib import Path
from worker.families.{family} import load

model = load(Path({folder}), "cpu")"""


def python_lines(studio: Studio, user: User, model_id: str, folder: str) -> str:
    """Lines that load the unpacked archive, with the name of its folder in them. Raises NotFound."""
    with studio.db.reading() as session:
        row = access.readable(session, Model, model_id, user)
    quoted = json.dumps(folder)
    for name in CARDS:
        if found := PYTHON.search(_text(studio, row, name)):
            return found[1].strip().replace(f'"{FOLDER}"', quoted)
    config = _config(studio, row)
    named = config.get("architectures")
    if isinstance(named, list) and named and str(named[0]).endswith("ForCausalLM"):
        return CAUSAL.format(folder=quoted)
    return OWN.format(family=row.family, folder=quoted)


def _text(studio: Studio, row: Model, name: str) -> str:
    if name not in row.files:
        return ""
    return beginning(partial(studio.storage.open, f"{row.location}/{name}"), MOST) or ""


def _config(studio: Studio, row: Model) -> dict[str, Any]:
    try:
        found = json.loads(_text(studio, row, "config.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
