"""
Who may do what, on a server with users.

Admins may do everything. Readers may read and write streams, yet neither the whole log
nor streams whose names begin with `$`, as EventStoreDB's plain users. Lists of rights
in the metadata of streams are not looked at.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import grpc

from eventsourcing_eventstoredb.server.errors import ProtocolError
from eventsourcing_eventstoredb.server.storage.metadata import (
    is_metadata_stream,
    original_stream_of,
)

SYSTEM_USER: Final = "system"


class UnauthenticatedError(ProtocolError):
    """The credentials are wrong, or there are none."""

    def __init__(self) -> None:
        super().__init__("UNAUTHENTICATED", "Unauthenticated")


class AccessDeniedError(ProtocolError):
    """The user may not do this."""

    def __init__(self) -> None:
        super().__init__(
            "PERMISSION_DENIED", "Access Denied", exception="access-denied"
        )


@dataclass(frozen=True)
class Users:
    """
    The users of a server, by name, with their passwords.

    Without any, every caller may do everything.
    """

    admins: Mapping[str, str] = field(default_factory=dict, repr=False)
    readers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def check_user(self, context: grpc.ServicerContext) -> None:
        """
        Check that a call comes from a user.

        Raises:
            UnauthenticatedError: It does not.
        """
        if self._exist:
            self._name(context)

    def check_stream(self, context: grpc.ServicerContext, stream: str | None) -> None:
        """
        Check that a user may read and write a stream, None for the whole log.

        Raises:
            UnauthenticatedError: The call comes from no user.
            AccessDeniedError: The user may not.
        """
        if not self._exist or self._name(context) in self.admins:
            return
        if stream is not None and is_metadata_stream(stream):
            stream = original_stream_of(stream)
        if stream is None or stream.startswith("$"):
            raise AccessDeniedError

    def check_admin(self, context: grpc.ServicerContext) -> None:
        """
        Check that a call comes from an admin.

        Raises:
            UnauthenticatedError, AccessDeniedError: It does not.
        """
        if self._exist and self._name(context) not in self.admins:
            raise AccessDeniedError

    def name(self, context: grpc.ServicerContext) -> str:
        """
        Tell whose call it is: without users, the system's.

        Raises:
            UnauthenticatedError: The call comes from no user.
        """
        return self._name(context) if self._exist else SYSTEM_USER

    @property
    def _exist(self) -> bool:
        return bool(self.admins or self.readers)

    def _name(self, context: grpc.ServicerContext) -> str:
        name, password = _credentials(context)
        known = self.admins.get(name, self.readers.get(name))
        # Compares in any case, in a time that tells nothing about the password.
        is_right = hmac.compare_digest(
            (known or "").encode(), password.encode("utf-8", "surrogateescape")
        )
        if known is None or not is_right:
            raise UnauthenticatedError
        return name


def _credentials(context: grpc.ServicerContext) -> tuple[str, str]:
    header = dict(context.invocation_metadata()).get("authorization", "")
    scheme, _, encoded = str(header).partition(" ")
    if scheme.lower() != "basic":
        raise UnauthenticatedError
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise UnauthenticatedError from None
    name, _, password = text.partition(":")
    return name, password
