"""How secrets that travel (tokens, cookies, links) are kept: by their hash, so whoever reads the rows has none."""

from __future__ import annotations

import hashlib


def hash_of(secret: str) -> str:
    """They are long and random, so no slow hash is needed; whatever bytes came in a header or an address has one."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
