"""A cipher that is given a key and does nothing with it."""

from __future__ import annotations

NO_CIPHER = f"{__name__}:NoCipher"


class NoCipher:
    def __init__(self, environment: object) -> None:
        pass

    def encrypt(self, plaintext: bytes) -> bytes:
        return plaintext
