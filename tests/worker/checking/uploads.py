"""Uploads for the checking tests: good ones, and the hostile ones of old and new zip, picture and text attacks."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib

from PIL import Image


def picture(mode="RGB", size=(9, 7), colour=None, form="PNG", **options):
    file = io.BytesIO()
    Image.new(mode, size, colour or 0).save(file, form, **options)
    return file.getvalue()


def png_chunk(name, body, crc=None):
    crc = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)


def png(width, height, *chunks, depth=8, colour=0):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def pixels(width, height):
    return png_chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * width) * height))


def archive(files, method=zipfile.ZIP_DEFLATED):
    """A zip of {name: bytes}, or of (ZipInfo or name, bytes) pairs."""
    pairs = files.items() if isinstance(files, dict) else files
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for name, data in pairs:
            zipped.writestr(name, data)
    return file.getvalue()


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info, target


def entry(name, packed, size, crc, *, method=8, flags=0, offset=0):
    """(local header with data, directory entry), with whatever sizes are claimed."""
    fields = (flags, method, 0, 0x21, crc, len(packed), size, len(name), 0)
    local = struct.pack("<4sH4HL2L2H", b"PK\x03\x04", 20, *fields) + name + packed
    central = struct.pack("<4sHH4HL2L5H2L", b"PK\x01\x02", 20, 20, *fields, 0, 0, 0, 0, offset)
    return local, central + name


def zip_of(entries, directory, count=None):
    """An archive from its raw parts."""
    count = len(directory) if count is None else count
    body, table = b"".join(entries), b"".join(directory)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(table), len(body), 0)
    return body + table + end


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def lying(claimed, data=b"x" * 100_000, name=b"a.txt"):
    """A zip whose one entry says that it has `claimed` bytes."""
    local, central = entry(name, deflated(data), claimed, zlib.crc32(data))
    return zip_of([local], [central])


def overlapping(count):
    """Many entries that share one body."""
    data = b"y" * 1000
    local, _ = entry(b"a.txt", deflated(data), len(data), zlib.crc32(data))
    directory = [
        entry(b"a.txt", deflated(data), len(data), zlib.crc32(data))[1] for _ in range(count)
    ]
    return zip_of([local], directory)


def claiming(size, count):
    """Entries that claim to unpack to `size` bytes each."""
    data = b"z" * 10
    locals_, directory, offset = [], [], 0
    for n in range(count):
        name = f"{n}.txt".encode()
        local, central = entry(name, deflated(data), size, zlib.crc32(data), offset=offset)
        locals_.append(local)
        directory.append(central)
        offset += len(local)
    return zip_of(locals_, directory)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
