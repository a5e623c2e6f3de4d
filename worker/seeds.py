"""Seeds derived from seeds: a function of the arguments alone. No torch."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: object) -> int:
    """53 bits (what JSON carries safely) from parts like (the job's seed, index of the item)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11
