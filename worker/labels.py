"""The label that says an output is generated: GB 45438-2025's AIGC fields, and IPTC's source type in PNG.

A label is a function of model, parameters, seed and index: no time and no job id, so that the same
request gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import Any
from xml.sax.saxutils import quoteattr

PNG_START = b"\x89PNG\r\n\x1a\n"
GENERATED = "1"  # 2 is "possibly", 3 "suspected"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    " TC260:AIGC={label} Iptc4xmpExt:DigitalSourceType={source}/>"
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def canonical(value: Any) -> str:
    """JSON with one spelling: sorted keys, no spaces, characters as they are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def label_of(
    *, producer: str, service: str, model: str, params: dict[str, Any], seed: int, index: int
) -> dict[str, str]:
    """The AIGC fields; `model` is the SHA-256 of the model, `seed` that of the item."""
    made_of = canonical({"model": model, "params": params, "seed": seed, "index": index})
    number = hashlib.sha256(made_of.encode()).hexdigest()
    return {
        "Label": GENERATED,
        "ContentProducer": producer,
        "ProduceID": number,
        "ReservedCode1": "",
        "ContentPropagator": service,
        "PropagateID": number if service else "",
        "ReservedCode2": "",
    }


def labelled(
    data: bytes, media_type: str, label: dict[str, str], made_from: dict[str, Any]
) -> bytes:
    """The file with its label inside, where the format has a place for it; pixels are untouched."""
    if media_type != "image/png" or not data.startswith(PNG_START):
        return data
    xmp = XMP.format(label=quoteattr(canonical(label)), source=quoteattr(SOURCE_TYPE))
    texts = {
        "XML:com.adobe.xmp": xmp,
        "AIGC": canonical(label),
        "parameters": canonical(made_from),
    }
    # the first chunk is IHDR: 8 bytes of head, 13 of content, 4 of CRC
    end = len(PNG_START) + 8 + 13 + 4
    chunks = b"".join(_text_chunk(name, text) for name, text in texts.items())
    return data[:end] + chunks + data[end:]


def _text_chunk(keyword: str, text: str) -> bytes:
    # iTXt: keyword, NUL, not compressed, method 0, no language, no translated keyword
    content = keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
    head = b"iTXt" + content
    return struct.pack(">I", len(content)) + head + struct.pack(">I", zlib.crc32(head))
