"""Finds out how a text is encoded: UTF-8, or GB18030 (with GBK and GB2312 inside it), or refused."""

from __future__ import annotations

import codecs
import re

import charset_normalizer

from worker.checking.refusal import Refused, Source, read_fully

CHUNK = 1 << 16
ADVICE = "; save it as UTF-8"
WIDE = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# What else East Asian texts are written in; to GB18030 much of it looks like rare characters.
RIVALS = ["gb18030", "big5", "euc_kr", "euc_jp", "shift_jis", "cp1251", "koi8_r", "cp1252"]
ENOUGH_CHARACTERS = 32  # for statistics to mean something
LEAST_COMMON = 0.6
KANA = re.compile("[\u3041-\u30ff]")
NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def encoding_of(source: Source) -> str:
    """A codec's name. The whole file is read: one wrong byte at the end counts too."""
    head = read_fully(source.open(), CHUNK)
    for mark, name in WIDE:
        if head.startswith(mark):
            raise Refused(f"is {name}{ADVICE}")
    if _decodes(source, "utf-8"):
        return "utf-8-sig"
    if b"\0" in head:
        raise Refused("holds NUL bytes, so it is no text")
    if _decodes(source, "gb18030") and _looks_chinese(head):
        return "gb18030"
    raise Refused("is no text in UTF-8 or GB18030" + ADVICE)


def _decodes(source: Source, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    stream = source.open()
    try:
        while data := stream.read(CHUNK):
            decoder.decode(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _looks_chinese(head: bytes) -> bool:
    """Almost any bytes decode as GB18030; Chinese uses the characters that come first in it."""
    text = codecs.getincrementaldecoder("gb18030")("strict").decode(head)
    characters = NOT_ASCII.findall(text)
    common = sum(_is_common(character) for character in characters)
    if common < LEAST_COMMON * len(characters) or 5 * len(KANA.findall(text)) > len(characters):
        return False
    if len(characters) < ENOUGH_CHARACTERS:
        return True
    best = charset_normalizer.from_bytes(head, cp_isolation=RIVALS).best()
    return best is None or best.encoding == "gb18030"


def _is_common(character: str) -> bool:
    """One of the 3,755 characters of GB2312's first level, or its punctuation and full-width forms."""
    code = character.encode("gb18030")
    return (
        len(code) == 2 and code[1] >= 0xA1 and (0xB0 <= code[0] <= 0xD7 or code[0] in (0xA1, 0xA3))
    )
