"""Certificates and keys that connection settings name, read without gRPC."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

USER_FILES = ("UserCertFile", "UserKeyFile")


class ConnectionSettingsError(ValueError):
    """A connection string or certificate setting that cannot be used."""


class CertificateError(ConnectionSettingsError):
    """A certificate or key that cannot be read."""


def read_certificate(value: str, *, name: str, is_shown: bool = True) -> str:
    """
    Return the PEM text that *value* is or that lies in the file it names.

    Args:
        value: The text or the path.
        name: What it is, for messages.
        is_shown: Whether messages may have the path in them.

    Raises:
        CertificateError: There is no such file, or no PEM text in it.
    """
    text = value
    if "-----BEGIN" not in value:
        is_shown = is_shown and len(value) < 200 and value.isprintable()
        shown = repr(value) if is_shown else "the file that is named"
        try:
            with open(os.path.expanduser(value), encoding="ascii") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            msg = f"{name}: cannot read {shown}: {reason}"
            raise CertificateError(msg) from None
        if "-----BEGIN" not in text:
            msg = f"{name}: {shown} has no PEM text in it"
            raise CertificateError(msg)
    return text


def read_pair(
    user_files: Sequence[tuple[str, str]],
) -> tuple[str | None, str | None]:
    """
    Return a user's certificate and key.

    Args:
        user_files: The name and the path of each, or nothing.

    Returns:
        Their PEM texts, or None and None.

    Raises:
        CertificateError: One cannot be read, or they do not fit together.
    """
    if not user_files:
        return None, None
    certificate, key = (
        read_certificate(path, name=name, is_shown=False) for name, path in user_files
    )
    try:
        # gRPC would only say, when it connects, that the server does not answer.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        paths = [os.path.expanduser(path) for _, path in user_files]
        # With a password, though it is none: a prompt would wait for ever.
        context.load_cert_chain(paths[0], paths[1], password="")
    except (OSError, ValueError):
        msg = (
            f"{' and '.join(USER_FILES)} cannot be used together: both must be PEM "
            "files of one pair, the key unencrypted"
        )
        raise CertificateError(msg) from None
    return certificate, key
