"""How good the conditional GAN's digits are, judged as the VAE's are (tests/bench/vae_digits.py, which says how).

`python -m tests.bench.gan_digits`: trains by the family's example. Bar: 90 % of each class recognised; a diversity far
below 1 would tell of a collapse that the judge cannot see.
"""

from __future__ import annotations

from tests.bench.vae_digits import bench
from worker.families import gan


def main() -> int:
    return bench(gan, __doc__ or "")


if __name__ == "__main__":
    raise SystemExit(main())
