"""
The PersistentSubscriptions service.

A consumer's call has two threads: the one that grpcio gives it sends, a second one of
the same pool takes in acknowledgements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc

from eventsourcing_eventstoredb.server.errors import HandlerError, ProtocolError
from eventsourcing_eventstoredb.server.persistent.consumers import Consumer, Delivery
from eventsourcing_eventstoredb.server.persistent.group import Group
from eventsourcing_eventstoredb.server.persistent.groups import Groups
from eventsourcing_eventstoredb.server.persistent.info import encode_info
from eventsourcing_eventstoredb.server.persistent.requests import (
    options_of,
    parse_ids,
    parse_settings,
    parse_source,
)
from eventsourcing_eventstoredb.server.persistent.settings import ALL
from eventsourcing_eventstoredb.server.services.calls import Calls
from eventsourcing_eventstoredb.server.services.encoding import write_record
from eventsourcing_eventstoredb.server.services.messages import (
    PersistentSubscriptionsServicer,
    persistent,
    shared,
)


class PersistentSubscriptions(PersistentSubscriptionsServicer):
    """
    Answers the calls of the PersistentSubscriptions service.

    Args:
        calls: What calls have in common.
        groups: The groups.
    """

    def __init__(self, calls: Calls, groups: Groups) -> None:
        self._calls = calls
        self._groups = groups

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Make a group."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            self._groups.create(parse_settings(request))
            return persistent.CreateResp()

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Change a group."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            self._groups.update(parse_settings(request))
            return persistent.UpdateResp()

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Delete a group."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            options = options_of(request)
            self._groups.delete(parse_source(options), options.group_name)
            return persistent.DeleteResp()

    def GetInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Describe a group."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            options = options_of(request)
            group = self._groups.get(parse_source(options), options.group_name)
            return persistent.GetInfoResp(subscription_info=encode_info(group))

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Describe all groups, or those of one source."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            options = options_of(request)
            if options.WhichOneof("list_option") != "list_for_stream":
                groups = self._groups.of_source()
            else:
                wanted = options.list_for_stream
                is_all = wanted.WhichOneof("stream_option") == "all"
                name = wanted.stream.stream_name.decode("utf-8", "replace")
                groups = self._groups.of_source(ALL if is_all else name)
            return persistent.ListResp(subscriptions=map(encode_info, groups))

    def ReplayParked(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Hand out again what was parked."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            options = options_of(request)
            group = self._groups.get(parse_source(options), options.group_name)
            has_stop = options.WhichOneof("stop_at_option") == "stop_at"
            group.replay_parked(options.stop_at if has_stop else None)
            return persistent.ReplayParkedResp()

    def RestartSubsystem(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Drop all consumers and load the groups again."""
        with self._calls.answering(context):
            self._calls.users.check_admin(context)
            self._groups.restart()
            return shared.Empty()

    def Read(  # noqa: N802
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Be a consumer of a group."""
        with self._calls.answering(context):
            first = next(request_iterator, None)
            if first is None or first.WhichOneof("content") != "options":
                msg = "The first message must be the options."
                raise HandlerError(msg)
            options = first.options
            consumer = Consumer(
                options.buffer_size,
                _connection_name(context),
                context.peer(),
                self._calls.users.name(context),
            )
            source = parse_source(options)
            self._calls.users.check_stream(context, None if source == ALL else source)
            if not options.HasField("uuid_option"):
                msg = "Object reference not set to an instance of an object."
                raise HandlerError(msg)
            structured = options.uuid_option.WhichOneof("content") != "string"
            group = self._groups.join(source, options.group_name, consumer)
            try:
                with self._calls.ending(context, consumer.end):
                    self._calls.start_thread(
                        lambda: _take_answers(request_iterator, group, consumer)
                    )
                    pages = _pages(group, consumer, structured=structured)
                    yield from self._calls.sending(context, pages)
            finally:
                group.leave(consumer)


def _pages(
    group: Group, consumer: Consumer, *, structured: bool
) -> Iterator[list[Any]]:
    yield [_confirmation(group)]
    group.push()
    while deliveries := consumer.take():
        yield [_encode_delivery(one, structured) for one in deliveries]
        # There may be room again: the queue is empty.
        group.push()


def _take_answers(requests: Iterator[Any], group: Group, consumer: Consumer) -> None:
    try:
        for request in requests:
            _take_answer(request, group)
    except Exception as error:
        # Either the call is over, which its own thread knows already, or the client
        # sent something that makes no sense: that ends the call.
        consumer.end(error if isinstance(error, ProtocolError) else None)
    # A client that has nothing more to say can still be read to.


def _take_answer(request: Any, group: Group) -> None:
    kind = request.WhichOneof("content")
    if kind == "ack":
        group.acknowledge(parse_ids(request.ack))
    elif kind == "nack":
        nack = request.nack
        ids = parse_ids(nack)
        action = persistent.ReadReq.Nack
        if nack.action == action.Park:
            group.park(ids, nack.reason)
        elif nack.action in (action.Skip, action.Stop):
            group.acknowledge(ids)
        else:
            group.retry(ids)
    else:
        msg = "Only the first message may be the options."
        raise HandlerError(msg)


def _connection_name(context: grpc.ServicerContext) -> str:
    metadata = dict(context.invocation_metadata())
    return str(metadata.get("connection-name", "<unknown>"))


def _confirmation(group: Group) -> Any:
    return persistent.ReadResp(
        subscription_confirmation=persistent.ReadResp.SubscriptionConfirmation(
            subscription_id=group.settings.id
        )
    )


def _encode_delivery(delivery: Delivery, structured: bool) -> Any:
    position = delivery.event.original.position
    answer = persistent.ReadResp()
    event = answer.event
    event.commit_position = position
    event.retry_count = delivery.retry_count
    for record, message in (
        (delivery.event.event, event.event),
        (delivery.event.link, event.link),
    ):
        if record is not None:
            # Here the real server gives an event the position of the link to it.
            placed = record._replace(position=position)
            write_record(placed, message, structured=structured)
    return answer
