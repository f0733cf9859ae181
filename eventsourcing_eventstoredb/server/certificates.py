"""The server's certificate and key, checked before gRPC gets them."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc


class CertificateError(Exception):
    """The certificate and the key cannot be used; the message says why."""


def load_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """
    Load a certificate chain and its private key from PEM files.

    Raises:
        CertificateError: A file cannot be read or is no PEM, or they do not fit.
    """
    contents = [_read(path) for path in (key, certificate)]
    try:
        # gRPC would only find out, without saying so, when a client connects.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        msg = (
            f"The certificate {certificate} and the key {key} cannot be used together:"
            f" {error}. Both must be PEM files of one pair, the key unencrypted."
        )
        raise CertificateError(msg) from error
    return grpc.ssl_server_credentials([(contents[0], contents[1])])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"Cannot read {path}: {error.strerror or error}. Name a PEM file."
        raise CertificateError(msg) from error
