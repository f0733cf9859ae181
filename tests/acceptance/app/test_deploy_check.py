"""``manage.py check --deploy``, as a process."""

from __future__ import annotations

import pytest

from tests.support.projects import Project

pytestmark = pytest.mark.any_database

SECRET = "s3cret-w0rd"


def test_the_command_loads_no_grpc_and_asks_no_server(project: Project) -> None:
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.support.apps.settings"
    project.env["EVENTSTOREDB_URI"] = (
        f"esdb://school:{SECRET}@store.invalid?TlsVerifyCert=false"
    )

    printed = project.python(
        "import sys\n"
        "from django.core.management import call_command\n"
        "call_command('check', '--deploy', '--tag', 'django_esdb', stderr=sys.stdout)\n"
        "print('grpc' in sys.modules)\n",
        fresh=True,
    )

    assert "django_esdb.W005" in printed
    assert "django_esdb.W006" in printed
    assert SECRET not in printed
    assert printed.endswith("False\n")
