"""The setting of cuBLAS is there when torch looks for it, and gone when cuBLAS does."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from shared.config import bare_environment
from worker.device import WORKSPACES, choose_steady_products


class Product:
    """Of a torch that looks `looks` times before it believes that the setting is there."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.seen: list[str | None] = []

    def __matmul__(self, other: Product) -> Product:
        self.seen.append(os.environ.get(WORKSPACES))
        if len(self.seen) <= self.looks and self.seen[-1] is None:
            raise RuntimeError("this operation is not deterministic because it uses CuBLAS")
        return self


def torch_of(product: Product) -> SimpleNamespace:
    return SimpleNamespace(
        zeros=lambda *size, device: product,
        backends=SimpleNamespace(cudnn=SimpleNamespace()),
        use_deterministic_algorithms=lambda on, warn_only: None,
        utils=SimpleNamespace(deterministic=SimpleNamespace()),
    )


@pytest.mark.parametrize(("looks", "left"), [(1, None), (2, ":4096:8")])
def test_the_setting_is_taken_away_unless_torch_still_wants_it(monkeypatch, looks, left):
    for name, value in bare_environment().items():
        monkeypatch.setenv(name, value)
    product = Product(looks)
    choose_steady_products(torch_of(product), "cuda")
    assert product.seen == [":4096:8", None]
    assert os.environ.get(WORKSPACES) == left
