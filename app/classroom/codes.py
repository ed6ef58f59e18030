"""Codes of classes, and secrets of teachers and students."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

from app.classroom.models import CODE_LENGTH

ALPHABET = "BCDFGHJKMNPQRTVWXZ234679"
"""No vowels, so that no word comes out; nothing that looks like something else. 24⁶ is 191 million codes."""

SECRET_BYTES = 16
_SECRET = re.compile("[A-Za-z0-9_-]{22}")


def new_code() -> str:
    """A code at random. Whether it is free is for the caller to see."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


def canonical(text: str) -> str | None:
    """The code that somebody typed; None where it cannot be one. Case, spaces and dashes do not matter.

    >>> canonical(" k7m-4xp "), canonical("K7M4X0")
    ('K7M4XP', None)
    """
    if len(text) > 40:
        return None
    code = re.sub(r"[\s\-‐-―_.]", "", text).upper()
    return code if len(code) == CODE_LENGTH and set(code) <= set(ALPHABET) else None


def spaced(code: str) -> str:
    """A code as people read it.

    >>> spaced("K7M4XP")
    'K7M 4XP'
    """
    return f"{code[:3]} {code[3:]}"


def new_secret() -> str:
    """128 bits at random, as 22 characters of base64url."""
    return base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")


def hash_of(secret: str) -> bytes:
    """What is stored of a secret. It has 128 bits of chance, so a plain hash cannot be guessed back."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret(text: str) -> bool:
    """Whether a text has the form of a secret; nothing else needs to be looked up."""
    return _SECRET.fullmatch(text) is not None


def matches(secret: str, stored: bytes) -> bool:
    """Whether a secret is the one whose hash is stored, in a time that does not tell how near it is."""
    return is_secret(secret) and hmac.compare_digest(hash_of(secret), stored)
