"""Texts: plain, JSON lines, CSV; encodings; nothing that is no text."""

from __future__ import annotations

import json
import unicodedata

import pytest

from tests.worker.checking.uploads import lines

CHINESE = "在这个世界上，每个人都有自己的梦想。春天来了，花儿开放，鸟儿歌唱，人们走出家门。\n"


def test_a_plain_text_is_one_document(look):
    found = look({"a.txt": b"One.\nTwo.\n", "b.md": b"Three."})
    assert found.contents == [b"One.\nTwo.\n", b"Three."]
    assert [item.name for item in found.items] == ["a.txt", "b.md"]
    assert found.items[0].facts == {"characters": 10}


@pytest.mark.parametrize("given", [b"a\r\nb\rc\n", b"\xef\xbb\xbfa\nb\nc\n"])
def test_line_ends_and_byte_order_mark_are_normalised(look, given):
    assert look({"a.txt": given}).contents == [b"a\nb\nc\n"]


def test_a_line_end_across_two_pieces_is_one(look):
    text = b"x" * 65_535 + b"\r\n" + b"y"
    assert look({"a.txt": text}).contents == [b"x" * 65_535 + b"\ny"]


def test_characters_are_composed(look):
    pieces = "e\u0301 " * 50_000  # its NFC is half as long; longer than one piece
    found = look({"a.txt": pieces.encode()})
    assert found.contents[0].decode() == unicodedata.normalize("NFC", pieces)
    assert found.items[0].facts["characters"] == 100_000


@pytest.mark.parametrize("text", ["你好，世界", CHINESE, CHINESE * 3000])
def test_gb18030_is_detected(look, text):
    assert look({"a.txt": text.encode("gb18030")}).contents == [text.encode()]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("日本語の文章です。これはテストのために書かれた文です。春が来ました。", "euc_jp"),
        ("日本語の文章です。これはテストのために書かれた文です。春が来ました。", "shift_jis"),
        (
            "안녕하세요. 이것은 한국어 문장입니다. 봄이 왔습니다. 모두 행복하세요. 그리고 다시",
            "euc_kr",
        ),
        (
            "在這個世界上，每個人都有自己的夢想。春天來了，花兒開放，鳥兒歌唱，人們走出家門。",
            "big5",
        ),
        ("été où l'élève a créé des problèmes", "latin-1"),
        ("Привет, мир. Это русский текст.", "cp1251"),
        ("UTF-16 has zeros", "utf-16"),
        ("UTF-16 has zeros", "utf-16-le"),
        ("UTF-32 has zeros", "utf-32"),
    ],
)
def test_other_encodings_are_refused_in_words(look, text, encoding):
    (message,) = look({"a.txt": text.encode(encoding)}).messages
    assert "UTF-8" in message or "NUL" in message


def test_one_wrong_byte_at_the_end_is_found(look):
    (message,) = look({"a.txt": b"plain text " * 100_000 + b"\xff"}).messages
    assert message == "is no text in UTF-8 or GB18030; save it as UTF-8"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "holds no text"),
        (b"a\0b", "NUL"),
        (b"x" * 100_000 + b"\0", "NUL"),
        (b"a\x1b[31mb", "U+001B"),
        ("\u0301".encode() * 2_000_000, "run of characters"),
    ],
)
def test_what_is_no_text_is_refused(look, data, words):
    (message,) = look({"a.txt": data}).messages
    assert words in message


def test_one_line_may_be_as_long_as_the_upload(look):
    assert len(look({"a.txt": b"word " * 300_000}).contents[0]) == 1_500_000


def test_json_lines_are_documents_with_labels(look):
    rows = lines({"text": "One\r\n", "label": "a", "other": [1]}, {"text": "Zwei", "label": 7})
    found = look({"a.jsonl": rows + b"\n\n"})
    assert found.contents == [b"One\n", b"Zwei"]
    assert [item.label for item in found.items] == ["a", "7"]
    assert [item.name for item in found.items] == ["a.jsonl:1", "a.jsonl:2"]


def test_json_lines_are_known_by_their_content(look):
    assert look({"data": lines({"text": "x"}, {"text": "y"})}).contents == [b"x", b"y"]


def test_a_text_that_only_begins_with_a_brace_stays_a_text(look):
    assert look({"a.c": b"{ return 0; }\n"}).contents == [b"{ return 0; }\n"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"1" * 10_000, "is not JSON"),
        (b'["text"]', "must be an object"),
        (b'{"txt": "x"}', '"text" must hold some text'),
        (b'{"text": 5}', '"text" must hold some text'),
        (b'{"text": " "}', '"text" must hold some text'),
        (b'{"text": "a\\u0000"}', "NUL"),
        (b'{"text": "a\\ud800"}', "surrogate"),
        (b'{"text": "a", "label": ["x"]}', '"label" must be'),
        (json.dumps({"text": "a", "label": "l" * 121}).encode(), '"label" must be'),
    ],
)
def test_a_bad_line_is_named(look, line, words):
    (message,) = look({"a.jsonl": b'{"text": "fine"}\n' + line + b"\n"}).messages
    assert message.startswith("line 2: ")
    assert words in message


def test_bad_lines_are_counted(look):
    (message,) = look({"a.jsonl": b'{"text": "fine"}\n' + b"{}\n" * 500}).messages
    assert message.startswith("line 2: ")
    assert message.endswith("; 499 more lines are refused")


def test_csv_has_a_text_column(look):
    data = b'Label,Text\nx,"One, and\nmore"\ny,=cmd|x\n'
    found = look({"a.csv": data})
    assert found.contents == [b"One, and\nmore", b"=cmd|x"]
    assert [item.label for item in found.items] == ["x", "y"]
    assert [item.name for item in found.items] == ["a.csv:2", "a.csv:4"]


@pytest.mark.parametrize("data", [b"text;label\na;b\n", b"text\tlabel\na\tb\n", b"text\na\n"])
def test_the_delimiter_is_found(look, data):
    assert look({"a.csv": data}).contents == [b"a"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"word,label\na,b\n", 'no column named "text"'),
        (b"text,label\na\n", "line 2: has 1 cells where the first line has 2"),
        (b'text\n"open', "line 2: cannot be read as CSV"),
        (b'text\n"a"b\n', "line 2: cannot be read as CSV"),
        (b"text\n", "holds no documents"),
        (b"text" + b",c" * 1_000_000 + b"\n", "more than 1,000 columns"),
    ],
)
def test_bad_csv_is_refused(look, data, words):
    (message,) = look({"a.csv": data}).messages
    assert words in message


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_endless_line_is_refused(look, name):
    start = {"a.csv": b"text\n", "a.jsonl": b'{"text": "'}[name]
    (message,) = look({name: start + b"x" * 3_000_000}, line_characters=1 << 20).messages
    assert message == "has a line of more than 1,048,576 characters"


def test_a_dataset_has_an_end(look):
    assert "more than 10 items" in look({"a.jsonl": b'{"text": "x"}\n' * 11}, items=10).messages[0]
    large = look({"a.txt": b"x" * (3 << 20)}, data_bytes=1 << 20)
    assert large.messages == ["The dataset would be larger than 1 MB."]
