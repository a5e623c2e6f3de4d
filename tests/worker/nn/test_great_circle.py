from __future__ import annotations

import pytest
import torch

from worker.nn.great_circle import blend


def test_a_blend_keeps_to_the_great_circle():
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert blend(a, b, 0.5).norm() == pytest.approx(3.0)
    assert torch.equal(blend(a, a, 0.3), a)
    assert torch.isfinite(blend(a, -a, 0.5)).all()
