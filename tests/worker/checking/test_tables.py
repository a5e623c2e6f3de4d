"""Tables beside pictures: what they say is kept, and each row that says nothing usable is told with its line."""

from __future__ import annotations

import unicodedata

import pytest

from tests.worker.checking.uploads import archive, lines, picture

RED, BLUE = picture(colour=(200, 0, 0)), picture(colour=(0, 0, 200))


def said(outcome):
    return {item.name: (item.label, item.caption) for item in outcome.items}


def test_a_metadata_csv_gives_captions_and_labels(look):
    table = b"file_name,text,label\n1.png,a red one,warm\n2.png,=cmd|x,cold\n"
    found = look({"metadata.csv": table, "1.png": RED, "2.png": BLUE})
    assert said(found) == {"1.png": ("warm", "a red one"), "2.png": ("cold", "=cmd|x")}


@pytest.mark.parametrize("order", [0, 1])
def test_the_table_may_come_first_or_last_and_the_kind_is_found_out(look, order):
    files = [("1.png", RED), ("t.jsonl", lines({"file_name": "1.png", "text": "red", "label": 7}))]
    found = look(dict(files[::-1] if order else files))
    assert said(found) == {"1.png": ("7", "red")}


@pytest.mark.parametrize("file", ["file_name", "file", "path", "image"])
@pytest.mark.parametrize("caption", ["caption", "text"])
@pytest.mark.parametrize("label", ["label", "class"])
def test_other_names_of_the_columns_are_known(look, file, caption, label):
    table = f"{label};{caption};{file}\nwarm;a red one;1.png\n".encode()
    assert said(look({"t.csv": table, "1.png": RED})) == {"1.png": ("warm", "a red one")}


def test_of_several_columns_the_first_of_the_documented_order_is_meant(look):
    table = b"text,path,caption,file_name,class,label\nno,no.png,yes,1.png,no,yes\n"
    assert said(look({"t.csv": table, "1.png": RED})) == {"1.png": ("yes", "yes")}


def test_a_tables_label_overrides_the_folders_and_an_empty_cell_does_not(look):
    table = b"file_name,label\ncats/1.png,tiger\ncats/2.png,\n"
    data = archive({"metadata.csv": table, "cats/1.png": RED, "cats/2.png": BLUE})
    assert said(look({"a.zip": data})) == {
        "cats/1.png": ("tiger", None),
        "cats/2.png": ("cats", None),
    }


def test_a_row_names_what_lies_beside_its_table_first(look):
    table = b"file_name,text\n1.png,%s\n"
    files = {}
    for folder in ("a", "b"):
        files[f"{folder}/metadata.csv"] = table % folder.encode()
        files[f"{folder}/1.png"] = picture(colour=(1, 2, ord(folder)))
    assert said(look({"x.zip": archive(files)})) == {
        "a/1.png": ("a", "a"),
        "b/1.png": ("b", "b"),
    }


@pytest.mark.parametrize(
    "path", ["1.png", "./pictures/1.png", "pictures\\1.png", "/home/me/pictures/1.png"]
)
def test_a_path_is_matched_by_as_much_of_it_as_there_is(look, path):
    data = archive({"pictures/1.png": RED})
    found = look({"x.zip": data, "t.csv": f"file,text\n{path},red\n".encode()})
    assert said(found) == {"pictures/1.png": ("pictures", "red")}


def test_a_name_with_accents_matches_however_they_are_composed(look):
    name = unicodedata.normalize("NFD", "été.png")
    table = "file,text\nété.png,summer\n".encode()
    (caption,) = [item.caption for item in look({name: RED, "t.csv": table}).items]
    assert caption == "summer"


def test_a_table_may_be_gb18030(look):
    table = "file_name,text\n1.png,这是一只红色的鸟，在春天的树上唱歌。\n".encode("gb18030")
    found = look({"metadata.csv": table, "1.png": RED})
    assert found.items[0].caption == "这是一只红色的鸟，在春天的树上唱歌。"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"file,text\n3.png,x\n", 'line 2: there is no picture "3.png" in this upload'),
        (b"file,text\nc/same.png,x\n", 'line 2: there is no picture "c/same.png"'),
        (b"file,text\nsame.png,x\n", 'line 2: "same.png" could be any of 2 pictures'),
        (b"file,text\n1.png,x\n\n1.png,y\n", '"1.png" was told of before, in line 2 of t.csv'),
        (b"file,text\n,x\n", 'line 2: "file" must name a picture'),
        (b"file,text\n1.png\n", "line 2: has 1 cells where the first line has 2"),
        (b"name,text\n1.png,x\n", 'no column named "file_name" (or file, path, image)'),
        (b"file,label,label\n1.png,x,y\n", 'two columns named "label"'),
        (b"file,label\n1.png," + b"l" * 121 + b"\n", '"label" must be a text of at most 120'),
        (b"file,text\n1.png," + b"l" * 10_001 + b"\n", '"text" must be a text of at most 10,000'),
        (b"file,text\n1.png,\0\n", "NUL"),
        (b"", "is empty"),
        (b"file" + b",c" * 1_000_000 + b"\n", "more than 1,000 columns"),
        (b"\xff\xfe", "is UTF-16"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_with_its_line(look, table, words):
    data = archive({"a/same.png": BLUE, "b/same.png": picture("L")})
    (problem,) = look({"1.png": RED, "x.zip": data, "t.csv": table}).problems
    assert problem["name"] == "t.csv"
    assert words in problem["message"]


def test_of_many_bad_rows_the_first_are_told_and_the_rest_counted(look):
    table = b"file,text\n" + b"no.png,x\n" * 100
    messages = look({"1.png": RED, "t.csv": table}, table_lines_told=3).messages
    assert [message.split(":")[0] for message in messages[:3]] == ["line 2", "line 3", "line 4"]
    assert messages[3] == "97 more lines are refused"


def test_an_endless_line_and_a_huge_table_are_refused(look):
    endless = b'{"file": "' + b"x" * 3_000_000
    (message,) = look({"1.png": RED, "t.jsonl": endless}, line_characters=1 << 20).messages
    assert message == "has a line of more than 1,048,576 characters"
    (message,) = look({"1.png": RED, "t.jsonl": endless}, table_bytes=1 << 20).messages
    assert message == "is larger than 1 MB"


def test_a_thousand_namesakes_are_told_apart_by_their_paths(look):
    files = {f"{n}/1.png": picture("L", (2, 2), colour=n % 250) for n in range(300)}
    table = b"".join(b"%d/1.png,c%d\n" % (n, n) for n in range(300))
    found = look({"x.zip": archive(files | {"t.csv": b"path,text\n" + table})})
    assert all(item.caption == f"c{item.label}" for item in found.items)
    (problem,) = look({"x.zip": archive(files), "t.csv": b"path,text\n1.png,x\n"}).problems
    assert "could be any of 300 pictures" in problem["message"]


def test_without_pictures_a_table_is_a_text(look):
    found = look({"t.csv": b"title,content,class\nOne,The text.,a\n"})
    assert found.contents == [b"The text."]
    assert (found.items[0].name, found.items[0].label) == ("t.csv:2 One", "a")


def test_mixed_kinds_are_refused_in_words(look):
    mixed = archive({"a.txt": b"words", "b.png": RED, "c.csv": b"text\nx\n"})
    assert look({"x.zip": mixed}).messages == ["is a picture, but this dataset holds texts"]
    assert look({"b.png": RED, "a.txt": b"words"}).messages == [
        "is a text, but this dataset holds pictures"
    ]
