"""A model on disk in the layout of huggingface_hub's PyTorchModelHubMixin: card, config.json, weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

Kind = TypeVar("Kind", bound=nn.Module)

CARD = """---
library_name: pytorch
tags: [{family}, image-generation]
---
{title} for {width} x {height} pictures. With the Python package `atelier`:

```python
import huggingface_hub, torch
from worker.families.{family} import {kind}

class Model({kind}, huggingface_hub.PyTorchModelHubMixin): ...

model = Model.from_pretrained("folder with this file")
{use}
```
"""


def save_folder(model: Any, folder: Path, *, title: str, use: str) -> None:
    """`model.config` holds the arguments that make it anew; `use` are lines of Python that draw a picture."""
    config = json.dumps(model.config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")
    kind = type(model)
    names = {"family": kind.__module__.rpartition(".")[2], "kind": kind.__name__, "title": title}
    card = CARD.format(use=use.format(**model.config), **names, **_size(model.config))
    (folder / "README.md").write_text(card, encoding="utf-8")
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def save_tied(model: Any, path: Path) -> None:
    """Tied weights once; safetensors' load_model knows of them."""
    # a copy: on a GPU the weights of a recurrent layer are parts of one block, which cannot be stored
    apart = copy.deepcopy(model).cpu()
    save_model(apart, str(path), metadata={"format": "pt"})


def _size(config: dict[str, Any]) -> dict[str, int]:
    return {"height": config["height"], "width": config["width"]}


def load_folder(kind: type[Kind], folder: Path, device: torch.device | str) -> Kind:
    model = kind(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.to(device).eval()
