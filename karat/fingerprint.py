"""Fingerprints: BLAKE2 over canonical JSON, bytes and files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_BLOCK = 1 << 20


def fingerprint(value: object, *, size: int = 16) -> str:
    """The fingerprint of a JSON value.

    Args:
        value: What ``json.dumps`` takes. The order of an object's keys does not count.
        size: Bytes of the digest.

    Returns:
        ``2 * size`` hexadecimal digits.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return fingerprint_bytes(canonical.encode(), size=size)


def fingerprint_bytes(data: bytes, *, size: int = 16) -> str:
    """The fingerprint of bytes, ``2 * size`` hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def fingerprint_file(path: Path, *, size: int = 16) -> str:
    """The fingerprint of a file's bytes, read block by block."""
    digest = hashlib.blake2b(digest_size=size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
