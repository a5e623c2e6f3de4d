"""One check of several files: what is good is packed, what is bad has a reason, what is hopeless says so."""

from __future__ import annotations

from tests.worker.checking.uploads import archive, lines, picture


def test_what_is_good_is_packed_beside_what_is_bad(look):
    files = {"good.txt": b"x", "bad.txt": b"\0", "rows.jsonl": lines({"text": "y"}, {})}
    found = look(files, accept_partial=True)
    assert [item.name for item in found.kept] == ["good.txt", "rows.jsonl:1"]
    assert [problem["name"] for problem in found.problems] == ["bad.txt", "rows.jsonl"]
    assert not found.fatal


def test_an_archive_that_cannot_be_read_is_one_bad_file(look):
    files = {"a.zip": archive({"a.png": picture()})[:-1], "b.png": picture()}
    found = look(files, accept_partial=True)
    assert [item.name for item in found.kept] == ["b.png"]
    assert [problem["name"] for problem in found.problems] == ["a.zip"]


def test_many_bad_files_end_the_check_unless_the_rest_is_wanted(look):
    files = {f"{n:02}.txt": b"\0" for n in range(20)} | {"z.txt": b"x"}
    ended = look(files, problems=5)
    assert ended.messages[5:] == ["Further files were not checked."]
    assert ended.kept == []
    rest = look(files, accept_partial=True, problems=5)
    assert rest.messages[5:] == ["15 more files or lines were left out."]
    assert [item.name for item in rest.kept] == ["z.txt"]


def test_too_much_is_refused_as_a_whole(look):
    for limits in ({"items": 1}, {"data_bytes": 1}, {"total_characters": 3}):
        found = look({"a.txt": b"xx", "b.txt": b"yy"}, accept_partial=True, **limits)
        assert found.fatal


def test_a_text_larger_than_one_may_be_is_refused_and_others_are_not(look):
    files = {"a.txt": b"x" * 101, "b.jsonl": lines({"text": "y" * 101}, {"text": "z"})}
    found = look(files, accept_partial=True, text_bytes=100)
    assert [item.name for item in found.kept] == ["b.jsonl:2"]
    assert [message.split(";")[0] for message in found.messages] == [
        "is larger than 100 bytes",
        "line 1: is larger than 100 bytes",
    ]


def test_hundreds_of_archives_hold_no_descriptors(look):
    files = {f"{n}.zip": archive({f"{n}.txt": b"%d" % n}) for n in range(300)}
    assert len(look(files).items) == 300
