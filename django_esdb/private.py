"""
Parts of others that are not documented, and why there is no way without them.

They belong where they are used, and are listed here:

- ``runner/projection_runner.py`` overrides ``ProjectionRunner._process_events_loop`` of
  the eventsourcing library, and sets ``_thread_error``: the library processes events
  one by one in a transaction each, and has no public hook for another way.
- ``applications/default_env.py`` puts a function of its own in the place of
  ``Application.construct_env``, which is documented for subclasses to override: the
  library has no default for all applications but environment variables, which child
  processes would get, too. It puts one around ``Application.__init__``, too, since
  nothing else is called for applications on all stores.
- ``handlers/metadata.py`` gives the library's ``Projection`` a property ``metadata``:
  projections derive from it, and their handlers get no notification.
- ``applications/repositories.py`` calls ``_reconstruct_aggregate``,
  ``_use_fastforward_lock`` and ``_disuse_fastforward_lock`` of the library's
  ``Repository``, of which it overrides ``get``, and has
  ``Application.construct_repository`` return its own.
- ``applications/web_requests.py`` puts functions around ``BaseHandler.get_response``
  and ``get_response_async``: Django's signals of a request's begin and end reach no
  async view, and a middleware would have to be configured.
- ``topics/subscribed.py`` reads ``_topic_cache`` of the library's ``utils``, which has
  the former names of classes: ``register_topic`` can be told some, and not be asked.
- ``eventsourcing_eventstoredb.topics.allowlist`` reads it as well, to tell what a
  registered name leads to without importing anything;
  ``eventsourcing_eventstoredb.topics.aliases`` takes out of it what it has registered
  itself.
- ``eventsourcing_eventstoredb.encoding.json_decoding`` calls ``scan_once`` of Python's
  ``json.JSONDecoder``, which ``decode`` puts a search for white space around.
- ``registry.py`` names its dictionary ``_registry``, which is the protocol of Django's
  ``autodiscover_modules(register_to=...)``: a module that fails to be imported leaves
  nothing registered.
- ``recorders/callbacks.py`` looks into ``run_on_commit`` of a connection, where
  ``transaction.on_commit`` puts callbacks, to say of each which event it is of.
- ``recorders/rows/writing/writing.py`` inserts rows with Django's ``sql.InsertQuery``,
  raw: the bulk methods would set times of creation and change again, which rows have
  since their event.
- ``db/copied_rows.py`` looks into ``execute_wrappers`` of a connection, and calls
  ``debug_sql`` of a cursor that has it: a COPY is no statement of a cursor of Django's,
  and who watches statements is to see it all the same.
- ``recorders/rows/instances/instances.py`` makes instances with a ``ModelState`` of
  their own and looks into its ``fields_cache``, to give an event nothing but a row's
  values, and to resolve relations as ``save()`` does.
- ``recorders/rows/instances/own_saves.py`` looks for ``_do_insert`` and ``_do_update``
  of Django's ``Model`` on the stack: no signal tells a row's own statement from those
  of receivers, and of what a model's ``save()`` does besides.
- ``debugging/refusals.py`` puts a function around ``put`` of the library's
  ``EventStore``, and an ``on_commit`` on connections to databases that a dry run does
  not undo. ``debugging/tables.py`` empties ``execute_wrappers`` of a connection for a
  moment: what is read to be compared is no statement of a handler's.
  ``debugging/dry_run.py`` counts what is in ``run_on_commit`` of a connection.
- ``waiting.py`` looks into ``AsyncToSync.executors`` of asgiref, which says whether
  synchronous code waits for what is asynchronous: otherwise ``sync_to_async`` would
  start a thread for who is in no transaction, and which is gone after a fork.
- ``subscriptions/reminding.py`` sets ``_has_been_notified`` of the library's
  ``ListenNotifySubscription``: what it was not notified of it does not look for.
- ``testing/determinism.py`` puts functions of its own in the place of those by which
  the library's ``domain`` and ``application`` tell the time and make IDs, within tests
  that ask for it: events take no other clock.

``tests/integration/app/test_private_parts.py`` fails when one of them is gone.
"""
