"""Of a traceback only its places are logged."""

from __future__ import annotations

from shared.log import places

TRACE = """Traceback (most recent call last):
  File "/a/family.py", line 7, in sample
    raise ValueError("a prompt")
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ValueError: a prompt
Error in a prompt: not a class
During handling of the above exception, another exception occurred:
torch.cuda.OutOfMemoryError: tried to allocate for "a prompt"
"""
FAULT = """Fatal Python error: Segmentation fault

Current thread 0x0001 (most recent call first):
  File "/a/family.py", line 9 in step
"""


def test_a_traceback_keeps_frames_and_classes():
    assert places(TRACE).splitlines() == [
        'File "/a/family.py", line 7, in sample',
        "ValueError",
        "torch.cuda.OutOfMemoryError",
    ]


def test_what_faulthandler_says_is_kept():
    assert places(FAULT).splitlines() == [
        "Fatal Python error: Segmentation fault",
        'File "/a/family.py", line 9 in step',
    ]


def test_text_without_a_traceback_leaves_nothing():
    assert places("a prompt\nanother: one\n") == ""
