"""
The process behind the fork server: it imports, forks, and becomes what is asked for.

It opens nothing, and sets nothing up unless it is asked to.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import types
from pathlib import Path

from tests.support import set_up_forks

# None of these reads a setting, starts a thread or opens a connection.
_MODULES = (
    "MySQLdb",
    "django.contrib.admin",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admin.templatetags.admin_modify",
    "django.contrib.admin.templatetags.log",
    "django.contrib.admin.views.main",
    "django.contrib.auth.hashers",
    "django.contrib.auth.management",
    "django.contrib.auth.password_validation",
    "django.contrib.messages.api",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.apps",
    "django.core.cache.backends.locmem",
    "django.core.handlers.wsgi",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.db.migrations.writer",
    "django.db.models.sql.compiler",
    "django.db.backends.sqlite3.base",
    "django.forms",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.csrf",
    "django.middleware.locale",
    "django.middleware.security",
    "django.template.loader_tags",
    "django.templatetags.cache",
    "django.templatetags.l10n",
    "django.templatetags.tz",
    "django.views.debug",
    "django.views.defaults",
    "django.views.generic",
    "django_esdb",
    "django_esdb.db.effects",
    "django_esdb.db.exchanging",
    "django_esdb.db.functions",
    "django_esdb.db.many_rows",
    "django_esdb.db.sessions",
    "django_esdb.debugging.statements",
    "django_esdb.management.progress",
    "django_esdb.subscriptions.heads",
    "django_esdb.subscriptions.subscribing",
    "environ",
    "eventsourcing.popo",
    "eventsourcing.projection",
    "eventsourcing_eventstoredb.factory",
    "eventsourcing_eventstoredb.server.cli",
    "eventsourcing_eventstoredb.subscriptions.subscription",
    "psutil",
    "psycopg",
    "rich.progress",
    "rich.table",
)
# Not for it, but for what it forks: its group may be ended before it is to end.
ENDING = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
# What it says once Django is set up.
READY = b"ready"
_MAX_REQUEST = 1 << 20

_Request = tuple[list[str] | None, dict[str, str], str]


def _serve(own: socket.socket) -> _Request | None:
    """Fork for each request; return it in the new process, and nothing in the end."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(own, _MAX_REQUEST, 3)
        if not data:
            return None
        read, write = os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(write, str(child).encode())
                # Without whatever is done at the end of a process that has run code.
                os.kill(os.getpid(), signal.SIGKILL)
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            for descriptor in (read, write, own.detach()):
                os.close(descriptor)
            arguments, env, cwd = json.loads(data)
            return arguments, env, cwd
        for descriptor in (*descriptors, write):
            os.close(descriptor)
        os.waitpid(between, 0)
        # Not before: only now it is the child of who asks.
        own.send(os.read(read, 32))
        os.close(read)


def _serve_set_up() -> _Request | None:
    """Set Django up, and serve at the socket that is standard input."""
    own = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    set_up_forks.set_up()
    _keep_for_good()
    gc.freeze()
    own.send(READY)
    request = _serve(own)
    if request is not None:
        set_up_forks.forget_settings()
    return request


def _run(arguments: list[str], cwd: str) -> None:
    """Be the process that was asked for."""
    # It may be the child of who ignores it, such as a shell's background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], cwd
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    if arguments[0] == "-c":
        code, name = arguments[1], "<string>"
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
    else:
        path = Path(arguments[0])
        code, name = path.read_text(), str(path)
        sys.argv, sys.path[0] = arguments, str(path.parent)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if name != "<string>":
        main.__file__ = name
    exec(compile(code, name, "exec", dont_inherit=True), main.__dict__)


def _import() -> None:
    for name in _MODULES:
        # Drivers are not there everywhere.
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue


def _keep_for_good() -> None:
    """
    Have no process destroy what was imported here when it ends.

    That takes longer than all else in one that does little. What a process imports and
    makes itself is destroyed as ever.
    """
    everything = gc.get_objects()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(everything))


def main() -> None:
    """Import, and serve at the socket of which the argument is the descriptor."""
    own = socket.socket(fileno=int(sys.argv[1]))
    _import()
    _keep_for_good()
    gc.freeze()
    request = _serve(own)
    while request is not None:
        arguments, env, cwd = request
        set_up_forks.replace_environment(env)
        os.chdir(cwd)
        if arguments is not None:
            _run(arguments, cwd)
            return
        request = _serve_set_up()


if __name__ == "__main__":
    main()
