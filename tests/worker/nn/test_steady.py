"""Steady inference: a row's bits do not depend on how many rows there are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from worker.nn.linear import Linear
from worker.nn.steady import FEWEST_ROWS, PackedLinear, agree, steady


@pytest.mark.parametrize(("width", "out"), [(32, 96), (128, 352), (96, 257), (384, 65)])
def test_packed_linear_gives_a_row_the_same_bits_in_any_company(width, out):
    torch.manual_seed(0)
    layer = steady(nn.Linear(width, out))
    assert isinstance(layer, PackedLinear)
    x = torch.randn(70, width)
    with torch.inference_mode():
        whole = layer(x)
        for rows in (FEWEST_ROWS, 3, 8, 17, 64):
            assert torch.equal(layer(x[:rows]), whole[:rows])
            assert torch.equal(layer(x[-rows:]), whole[-rows:])


def test_a_steady_copy_computes_the_same_and_leaves_the_model_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Dropout(0.5), nn.Sequential(nn.Linear(32, 8)))
    twin = steady(model)
    x = torch.randn(4, 16)
    with torch.inference_mode():
        assert torch.allclose(twin(x), model.eval()(x), atol=1e-6)
    assert isinstance(model[0], nn.Linear) and isinstance(model[2][0], nn.Linear)
    assert model.train()[1].training and not twin[1].training


def test_agree_notices_a_row_that_looks_at_its_neighbours():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    assert agree(lambda rows: x[list(rows)] * 2, 8)
    assert not agree(lambda rows: x[list(rows)] - x[list(rows)].mean(0) * 1e-7, 8)


def test_the_fast_linear_is_a_linear():
    torch.manual_seed(0)
    layer = Linear(24, 40, bias=False).double().float()
    x = torch.randn(3, 5, 24, requires_grad=True)
    expected = torch.nn.functional.linear(x, layer.weight)
    weights = torch.randn_like(expected)
    expected_x, expected_w = torch.autograd.grad((expected * weights).sum(), (x, layer.weight))
    got = layer(x)
    got_x, got_w = torch.autograd.grad((got * weights).sum(), (x, layer.weight))
    for a, b in ((got, expected), (got_x, expected_x), (got_w, expected_w)):
        assert torch.allclose(a, b, atol=1e-5)
