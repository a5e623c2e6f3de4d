"""What services and checks say in English stands on pages in the reader's language, with its names and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask_babel import Babel, force_locale

from tests import raised
from web import language
from web.said import HOLE, said

CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(autouse=True)
def in_chinese() -> Iterator[None]:
    app = Flask(__name__)
    Babel(app).domain_instance = language.PoDomain()
    with app.test_request_context(), force_locale("zh_Hans_CN"):
        yield


@pytest.mark.parametrize("key", raised.texts())
def test_what_is_raised_is_found_with_whatever_stands_in_it(key):
    names = HOLE.findall(key)
    values = {name: f"{n}{name.upper()}" for n, name in enumerate(names, 11)}
    found = said(key % values)
    assert CHINESE.search(found), key
    assert all(value in found for value in values.values()), (key, found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is not the same as above.", "与上面的不一致。"),
        ("There is a user named lin.wei already.", "用户名 lin.wei 已被使用。"),
        ('there is no picture "a. b; c.png" in this upload', "此次上传中没有图片“a. b; c.png”"),
        (
            "is a GIF; pictures must be PNG, JPEG or WebP",
            "是 GIF 图片；图片必须是 PNG、JPEG 或 WebP",
        ),
        (
            "line 3: is not JSON; each line must be one object; 4 more lines are refused",
            "第 3 行：不是 JSON；每行必须是一个对象；另有 4 行未通过",
        ),
        ("Entry 2 must have at most 5 characters.", "第 2 项不能超过 5 个字符。"),
        ("It would take about 3 days; 2 hours are allowed.", "大约需要 3 天；上限为 2 小时。"),
        ("boom in step 3", "boom in step 3"),
    ],
)
def test_it_is_said_whole_or_part_by_part(text, expected):
    assert said(text) == expected


def test_in_english_it_stands_as_it_was_raised():
    with force_locale("en"):
        assert said("must be at least 1; is required") == "must be at least 1; is required"


def test_the_reading_of_the_code_follows_names_calls_and_tables():
    found = raised.texts()
    assert "is not the same as above" in found  # a local name
    assert "is a NumPy array" in found  # a table, part by part
    assert any(text.startswith("You hold %(a)s bytes") for text in found)  # given to a function
    assert "The job has failed already." in found  # a word in a hole
