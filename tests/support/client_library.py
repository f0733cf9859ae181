"""
The client library that the tests run with, under the older one's names.

Tests import it from here, so that they run with either; what they do with it is what
users do, apart from this package.
"""

from __future__ import annotations

from eventsourcing_eventstoredb import client_library

if client_library.choose() == client_library.ESDBCLIENT:
    from esdbclient import EventStoreDBClient, NewEvent, StreamState
    from esdbclient.connection import ESDBConnection
    from esdbclient.exceptions import (
        AccessDeniedError,
        AlreadyExists,
        DiscoveryFailed,
        EventStoreDBClientException,
        ExceptionThrownByHandler,
        GrpcDeadlineExceeded,
        GrpcError,
        InternalError,
        MaximumSubscriptionsReached,
        NodeIsNotLeader,
        NotFound,
        ServiceUnavailable,
        SSLError,
        StreamIsDeleted,
        UnknownError,
        WrongCurrentVersion,
    )
    from esdbclient.persistent import PersistentSubscription
    from esdbclient.protos.Grpc import (
        gossip_pb2,
        gossip_pb2_grpc,
        persistent_pb2,
        persistent_pb2_grpc,
        shared_pb2,
        status_pb2,
        streams_pb2,
        streams_pb2_grpc,
    )

    #: What a server that does not know the user is answered with.
    UnauthenticatedError = GrpcError
else:
    from kurrentdbclient import KurrentDBClient as EventStoreDBClient
    from kurrentdbclient import NewEvent, PersistentSubscription, StreamState
    from kurrentdbclient.connection import KurrentDBConnection as ESDBConnection
    from kurrentdbclient.exceptions import (
        AccessDeniedError,
        GrpcError,
        InternalError,
        SSLError,
        UnauthenticatedError,
        UnknownError,
    )
    from kurrentdbclient.exceptions import AlreadyExistsError as AlreadyExists
    from kurrentdbclient.exceptions import DiscoveryFailedError as DiscoveryFailed
    from kurrentdbclient.exceptions import (
        ExceptionThrownByHandlerError as ExceptionThrownByHandler,
    )
    from kurrentdbclient.exceptions import (
        GrpcDeadlineExceededError as GrpcDeadlineExceeded,
    )
    from kurrentdbclient.exceptions import (
        KurrentDBClientError as EventStoreDBClientException,
    )
    from kurrentdbclient.exceptions import (
        MaximumSubscriptionsReachedError as MaximumSubscriptionsReached,
    )
    from kurrentdbclient.exceptions import NodeIsNotLeaderError as NodeIsNotLeader
    from kurrentdbclient.exceptions import NotFoundError as NotFound
    from kurrentdbclient.exceptions import ServiceUnavailableError as ServiceUnavailable
    from kurrentdbclient.exceptions import StreamIsDeletedError as StreamIsDeleted
    from kurrentdbclient.exceptions import (
        WrongCurrentVersionError as WrongCurrentVersion,
    )
    from kurrentdbclient.protos.v1 import (
        gossip_pb2,
        gossip_pb2_grpc,
        persistent_pb2,
        persistent_pb2_grpc,
        shared_pb2,
        status_pb2,
        streams_pb2,
        streams_pb2_grpc,
    )

__all__ = [
    "AccessDeniedError",
    "AlreadyExists",
    "DiscoveryFailed",
    "ESDBConnection",
    "EventStoreDBClient",
    "EventStoreDBClientException",
    "ExceptionThrownByHandler",
    "GrpcDeadlineExceeded",
    "GrpcError",
    "InternalError",
    "MaximumSubscriptionsReached",
    "NewEvent",
    "NodeIsNotLeader",
    "NotFound",
    "PersistentSubscription",
    "SSLError",
    "ServiceUnavailable",
    "StreamIsDeleted",
    "StreamState",
    "UnauthenticatedError",
    "UnknownError",
    "WrongCurrentVersion",
    "gossip_pb2",
    "gossip_pb2_grpc",
    "persistent_pb2",
    "persistent_pb2_grpc",
    "shared_pb2",
    "status_pb2",
    "streams_pb2",
    "streams_pb2_grpc",
]
