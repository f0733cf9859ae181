"""
Parts of grpcio's server that are not documented, and why there is no way without them.

grpcio's server changes threads for each message of a call: from its polling thread to
the call's and back, which costs more than all else. :mod:`.receiving` and
:mod:`.sending` start the next operation of a call within the polling thread, which
needs the call's state, with its bookkeeping of operations that are due.

Where these names are not as expected, messages go the public way, only slower.
``tests/integration/server/test_private_parts.py`` fails when one of them is gone.
"""

from __future__ import annotations

try:
    from grpc import _server
    from grpc._cython import cygrpc

    RECEIVE_TOKEN = _server._RECEIVE_MESSAGE_TOKEN
    SEND_TOKEN = _server._SEND_MESSAGE_TOKEN
    OPEN, CLOSED = _server._OPEN, _server._CLOSED
    RequestIterator = _server._RequestIterator
    possibly_finish_call = _server._possibly_finish_call
    serialized_request = _server._serialized_request
    is_active = _server._is_rpc_state_active
    ReceiveMessage = cygrpc.ReceiveMessageOperation
    SendMessage = cygrpc.SendMessageOperation
    BUFFER_HINT = cygrpc.WriteFlag.buffer_hint
    HAS_INTERNALS = True
except (ImportError, AttributeError):  # pragma: no cover  (another grpcio)
    HAS_INTERNALS = False
