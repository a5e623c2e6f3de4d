"""Tells what a file is by its first bytes: an archive, a picture, a text, or something that is refused by its name.

What could run code when it is loaded (pickles above all) is recognised here and never opened.
"""

from __future__ import annotations

import re
from enum import StrEnum

from worker.checking.refusal import Refused, suffix_of

HEAD_BYTES = 4096


class Kind(StrEnum):
    ARCHIVE = "archive"
    IMAGES = "images"
    TEXT = "text"


PICTURES = "; pictures must be PNG, JPEG or WebP"
SOUND_OR_FILM = "; only texts and pictures can be used here"
WEIGHTS = "; datasets hold texts or pictures, never models"
ARCHIVES = "; the only archives accepted are zip files"
PLAIN = "; send plain text, JSON lines or CSV"

# (offset, pattern, what it is, what to do); patterns are long enough that no prose begins so
KNOWN = tuple(
    (offset, re.compile(pattern, re.DOTALL), what, advice)
    for offset, pattern, what, advice in (
        (0, rb"\x93NUMPY", "a NumPy array", WEIGHTS),
        (0, rb"\x89HDF\r\n", "an HDF5 file", WEIGHTS),
        (0, rb"GGUF[\x01-\x09]\0", "a GGUF model", WEIGHTS),
        (0, rb"\x08[\x01-\x1f]\x12[\x01-\x7f]\w", "an ONNX model", WEIGHTS),
        (0, rb"GIF8[79]a", "a GIF", PICTURES),
        (0, rb"BM.{4}\0\0\0\0", "a bitmap (BMP)", PICTURES),
        (0, rb"II[*+]\0|MM\0[*+]", "a TIFF", PICTURES),
        (0, rb"8BPS\0", "a Photoshop document", PICTURES),
        (0, rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript program", PICTURES),
        (0, rb"\0\0[\1\2]\0", "an icon", PICTURES),
        (0, rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000", PICTURES),
        (0, rb"%PDF", "a PDF", PLAIN),
        (0, rb"\{\\rtf", "an RTF document", PLAIN),
        (0, rb"\xd0\xcf\x11\xe0", "an Office document", PLAIN),
        (0, rb"PAR1[\x10-\x1f]", "a Parquet file", PLAIN),
        (0, rb"SQLite format 3\0", "an SQLite database", PLAIN),
        (0, rb"\x1f\x8b", "a gzip file", ARCHIVES),
        (0, rb"BZh[1-9]1AY", "a bzip2 file", ARCHIVES),
        (0, rb"\xfd7zXZ", "an xz file", ARCHIVES),
        (0, rb"\x28\xb5\x2f\xfd", "a Zstandard file", ARCHIVES),
        (0, rb"7z\xbc\xaf", "a 7-Zip archive", ARCHIVES),
        (0, rb"Rar!\x1a", "a RAR archive", ARCHIVES),
        (257, rb"ustar[\0 ]", "a tar archive", ARCHIVES),
        (0, rb"fLaC\0|OggS\0|ID3[\x02-\x04]\0|RIFF.{4}WAVE", "sound", SOUND_OR_FILM),
        (4, rb"ftyp\w{3}.\0", "a film or a HEIF picture", SOUND_OR_FILM),
        (0, rb"\x1aE\xdf\xa3|RIFF.{4}AVI ", "a film", SOUND_OR_FILM),
        (0, rb"\x7fELF|MZ\x90", "a program", PLAIN),
    )
)
MARKUP = (
    (rb"<!doctype html|<html|<head|<body", "an HTML page"),
    # what stands before the drawing is never looked at twice: a file of comments must not take for ever
    (
        rb"<svg|<\?xml[^>]*>\s*+(?>(?><!--.*?-->)\s*+|<!doctype svg[^>]*>\s*+)*+<svg",
        "an SVG drawing",
    ),
    (rb"<\?xml", "an XML document"),
)
# Protocols 2 to 5 have a header; 0 and 1 begin with an opcode and look like odd text.
PICKLE = re.compile(
    rb"\x80[\x02-\x05]"
    rb"|c[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n"  # GLOBAL
    rb"|\((?:[dlt]p\d+\r?\n|i[A-Za-z_][\w.]*\r?\n)"  # an empty dict, list, tuple; INST
    rb"|[}\])]q.|\(c[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n"
)
MODEL_SUFFIXES = frozenset(
    "pt pth ckpt bin pkl pickle joblib npy npz h5 hdf5 keras onnx safetensors gguf pb tflite".split()
)
IMAGE_SUFFIXES = frozenset("png jpg jpeg webp gif bmp tif tiff psd eps svg ico heic avif".split())


def kind_of(head: bytes, name: str) -> Kind:
    """What to do with a file that begins with these bytes; raises Refused for what cannot be used."""
    if is_archive(head):
        if suffix_of(name) in MODEL_SUFFIXES:
            raise Refused("holds a model or pickled objects" + WEIGHTS)
        return Kind.ARCHIVE
    if is_picture(head):
        return Kind.IMAGES
    _refuse_known(head)
    _refuse_suffix(suffix_of(name))
    return Kind.TEXT


def is_archive(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06"))


def is_picture(head: bytes) -> bool:
    return head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    )


def _refuse_known(head: bytes) -> None:
    if PICKLE.match(head):
        raise Refused("holds pickled objects, which are programs" + WEIGHTS)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        raise Refused("is a safetensors model" + WEIGHTS)
    for offset, pattern, what, advice in KNOWN:
        if pattern.match(head, offset):
            raise Refused(f"is {what}{advice}")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for markup, what in MARKUP:
        if re.match(markup, start, re.IGNORECASE | re.DOTALL):
            raise Refused(f"is {what}{PLAIN}")


def _refuse_suffix(suffix: str) -> None:
    if suffix in MODEL_SUFFIXES:
        raise Refused("is named like a model" + WEIGHTS)
    if suffix in IMAGE_SUFFIXES:
        raise Refused("is named like a picture, but is none" + PICTURES)
