"""GPUs are counted without torch, and CUDA_VISIBLE_DEVICES is obeyed."""

from __future__ import annotations

import pytest

from web import devices


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0,1", ["0", "1"]),
        ("2", ["2"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("GPU-ab", ["GPU-ab"]),
    ],
)
def test_the_environment_chooses(value, expected):
    assert devices.visible_gpus({"CUDA_VISIBLE_DEVICES": value}) == expected


def fake_nvidia_smi(tmp_path, monkeypatch, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_nvidia_smi_is_asked(tmp_path, monkeypatch):
    script = "echo 'GPU 0: A (UUID: x)'; echo 'GPU 1: B (UUID: y)'"
    fake_nvidia_smi(tmp_path, monkeypatch, script)
    assert devices.visible_gpus({}) == ["0", "1"]


def test_a_broken_driver_means_no_gpu(tmp_path, monkeypatch):
    fake_nvidia_smi(tmp_path, monkeypatch, "exit 9")
    assert devices.visible_gpus({}) == []


def test_the_driver_is_read_without_nvidia_smi(tmp_path, monkeypatch):
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(devices, "NVIDIA", tmp_path)
    monkeypatch.setattr(devices.shutil, "which", lambda _name: None)
    assert devices.visible_gpus({}) == ["0"]
    monkeypatch.setattr(devices, "NVIDIA", tmp_path / "missing")
    assert devices.visible_gpus({}) == []
