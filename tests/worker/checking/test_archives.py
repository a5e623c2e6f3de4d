"""Zip files: folders are labels, names are never paths, and no lie about a size costs more than its own bytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from tests.worker.checking.uploads import (
    archive,
    claiming,
    deflated,
    entry,
    link,
    lying,
    overlapping,
    picture,
    zip_of,
)

RED, BLUE = picture(colour=(255, 0, 0)), picture(colour=(0, 0, 255))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_last_folder_is_the_label(look, method):
    files = {"all/red/1.png": RED, "all/blue/1.png": BLUE, "top.png": RED}
    found = look({"a.zip": archive(files, method)})
    assert [(item.name, item.label) for item in found.items] == [
        ("all/blue/1.png", "blue"),
        ("all/red/1.png", "red"),
        ("top.png", None),
    ]


def test_the_order_of_packing_does_not_matter(look):
    files = [("b/2.png", RED), ("a/1.png", BLUE)]
    assert look({"a.zip": archive(files)}).items == look({"a.zip": archive(files[::-1])}).items


def test_a_folder_that_a_browser_sends_gives_labels_too(look):
    found = look({"set/red/1.png": RED, "set\\blue\\1.png": BLUE, "../etc/x.png": RED})
    assert [item.label for item in found.items] == ["red", "blue", None]
    assert found.items[2].name == "x.png"


def test_what_systems_leave_behind_is_skipped(look):
    junk = ("__MACOSX/a/._1.txt", ".DS_Store", "a/Thumbs.db", "desktop.ini", "._x")
    files = {"a/1.txt": b"text"} | dict.fromkeys(junk, b"\0\1\2")
    assert look({"a.zip": archive(files)}).contents == [b"text"]


def test_folders_are_no_files(look):
    assert look({"a.zip": archive({"empty/": b"", "a/1.txt": b"x"})}).contents == [b"x"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_chinese_names_are_read_as_they_were_written(look, encoding):
    name = "小狗与猫/第一.txt".encode(encoding)
    local, central = entry(name, deflated(b"x"), 1, zlib.crc32(b"x"))
    found = look({"a.zip": zip_of([local], [central])})
    assert [(item.name, item.label) for item in found.items] == [("小狗与猫/第一.txt", "小狗与猫")]


def test_zip64_is_read(look):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped, zipped.open("a.txt", "w", force_zip64=True) as part:
        part.write(b"text")
    assert look({"a.zip": file.getvalue()}).contents == [b"text"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../etc/passwd", "leads out"),
        ("a/../../x.txt", "leads out"),
        ("..\\..\\x.txt", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:\\x.txt", "absolute"),
        ("n" * 1500 + ".txt", "too long"),
    ],
)
def test_dangerous_names_are_refused_and_only_shown(look, tmp_path, name, words):
    # straight from bytes: zipfile would repair some of these names
    raw = name.encode()
    local, central = entry(raw, deflated(b"x"), 1, zlib.crc32(b"x"))
    found = look({"a.zip": zip_of([local], [central])})
    assert words in found.messages[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["upload-0", "work"]


def test_strange_names_are_shown_without_control_characters(look):
    raw = b"a\n\x1b[31m\xe2\x80\xae.txt"
    local, central = entry(raw, deflated(b"x"), 1, zlib.crc32(b"x"))
    assert (
        look({"a.zip": zip_of([local], [central])}).items[0].name == "a\ufffd\ufffd[31m\ufffd.txt"
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (archive([link("a.txt", "/etc/passwd")]), "is a link"),
        (archive({"in.zip": archive({"a.txt": b"x"})}), "archive inside an archive"),
        (archive({"in.gz": b"\x1f\x8b\x08" + b"\0" * 99}), "gzip"),
        (archive({"a.txt": b""}), "is empty"),
        (archive({"a.txt": b"x"}, zipfile.ZIP_LZMA), "compressed in a way"),
        (lying(10), "larger than the archive says"),
        (lying(200_000), "cut short"),
        (overlapping(1000), "overlap"),
        (claiming(10 << 30 >> 2, 1), "larger than 8 MB when unpacked"),
        (claiming(1 << 20, 20), "larger than 8 MB when unpacked"),
        (zip_of([], [], count=0), "nothing in this upload"),
        (zip_of([], [], count=5), "damaged"),
        (archive({"a.txt": b"x"})[:-1], "damaged"),
        (archive({"a.txt": b"x"}) + b"tail", "damaged"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged"),
        (b"PK\x05\x06" + b"\xff" * 18, "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_archives_are_refused(look, data, words):
    found = look({"a.zip": data})
    assert words in found.messages[0]


def test_an_encrypted_entry_is_refused(look):
    local, central = entry(b"a.txt", b"0123456789ab", 1, 0, flags=1)
    assert look({"a.zip": zip_of([local], [central])}).messages == ["is encrypted"]


def test_a_wrong_checksum_is_found(look):
    local, central = entry(b"a.txt", deflated(b"text"), 4, 12345)
    (message,) = look({"a.zip": zip_of([local], [central])}).messages
    assert message == "is damaged in the archive: its checksum is wrong"


def test_the_same_name_twice_is_refused(look):
    first, one = entry(b"a.txt", deflated(b"x"), 1, zlib.crc32(b"x"))
    second, two = entry(b"a.txt", deflated(b"y"), 1, zlib.crc32(b"y"), offset=len(first))
    assert look({"a.zip": zip_of([first, second], [one, two])}).messages == [
        "is in the archive twice"
    ]


def test_another_name_before_the_data_is_refused(look):
    local, _ = entry(b"b.txt", deflated(b"x"), 1, zlib.crc32(b"x"))
    _, central = entry(b"a.txt", deflated(b"x"), 1, zlib.crc32(b"x"))
    assert look({"a.zip": zip_of([local], [central])}).messages == ["is not where the archive says"]


def test_sizes_that_lie_in_zip64_are_refused(look):
    wide = struct.pack("<HHQQ", 1, 16, 1 << 60, 1 << 60)
    local, central = entry(b"a.txt", deflated(b"x"), 1, zlib.crc32(b"x"))
    # both sizes are "see the extra field", which claims an exabyte
    central = central[:20] + b"\xff" * 8 + central[28:30] + struct.pack("<H", len(wide))
    central += entry(b"a.txt", deflated(b"x"), 1, 0)[1][32:] + wide
    assert "unpacked" in look({"a.zip": zip_of([local], [central])}).messages[0]


def test_a_million_entries_are_refused_before_they_are_read(look):
    _, central = entry(b"a", b"", 0, 0)
    table = central * 300_000
    end64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 300_000, 300_000, len(table), 4
    )
    place = struct.pack("<4sLQL", b"PK\x06\x07", 0, 4 + len(table), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (message,) = look({"a.zip": b"PK\x03\x04" + table + end64 + place + end}).messages
    assert message == "holds more than 200,000 files"


def test_a_bomb_of_plausible_size_is_refused_by_its_ratio(look):
    data = archive({f"{n}.txt": b"\0" * (60 << 20) for n in range(2)})
    assert look({"a.zip": data}, data_bytes=1 << 40).messages == ["unpacks to suspiciously much"]


def test_the_list_of_problems_has_an_end(look):
    found = look({"a.zip": archive({f"{n}.txt": b"\0" for n in range(500)})}, problems=50)
    assert len(found.problems) == 51
    assert found.messages[-1] == "Further files were not checked."
