"""README.md beside this file is true: each fault names tests that there are, in the tier that it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAST = 62
TABLE, _, WITHOUT = (HERE / "README.md").read_text().partition("## Without a test here")
LINES = re.findall(r"^\| (\d+) \|.*\| (`[^|]+`) \| (\w+) \|$", TABLE, re.M)
ROWS = [
    (number, file, name, when)
    for number, tests, when in LINES
    for file, name in re.findall(r"`(\S+)::(\w+)`", tests)
]


@pytest.mark.parametrize(
    ("number", "file", "name", "when"), ROWS, ids=[f"{row[0]}-{row[2]}" for row in ROWS]
)
def test_each_fault_has_the_test_that_the_table_names(number, file, name, when):
    tree = ast.parse((HERE / file).read_text())
    (test,) = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    marks = [ast.unparse(decorator) for decorator in test.decorator_list]
    assert when == ("slow" if "pytest.mark.slow" in marks else "fast")


def test_every_number_has_a_test_or_a_reason():
    reasons = re.findall(r"^\* ([\d, ]+):", WITHOUT, re.M)
    without = {int(number) for part in reasons for number in part.split(",")}
    tested = [int(number) for number, *_ in LINES]
    assert len(tested) == len(set(tested)) and not without & set(tested)
    assert sorted(without | set(tested)) == list(range(1, LAST + 1))


def test_each_line_of_the_table_is_read():
    assert len(LINES) == len(re.findall(r"^\| \d+ \|", TABLE, re.M))
    assert len(ROWS) == TABLE.count("::test_")
