"""The small JPEG of a large picture for galleries, made in the runner: whoever serves it decodes nothing."""

from __future__ import annotations

import io

SIDE = 384  # of the longer side: sharp in a gallery also on a dense screen
SMALL_BYTES = 40_000  # what is no larger is shown as it is
QUALITY = 82


def thumbnail(data: bytes, media_type: str) -> bytes | None:
    """None where the picture itself is small enough, and for what is no picture."""
    if not media_type.startswith("image/") or len(data) <= SMALL_BYTES:
        return None
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", (SIDE, SIDE))
        small = picture.convert("L" if picture.mode in ("1", "L", "LA", "I", "I;16") else "RGB")
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return file.getvalue() if file.tell() < len(data) else None
