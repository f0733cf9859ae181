"""The settings, read from the environment or a ``.env`` file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import ROOT, clean_environment

EXAMPLE = ROOT / ".env.example"
SHOW = """
import json
from example_project import settings
names = ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "ESDB_URI", "ESDB_ROOT_CERTIFICATES")
database = settings.DATABASES["default"]
shown = {name: getattr(settings, name) for name in names}
print(json.dumps({**shown, "ENGINE": database["ENGINE"], "NAME": database["NAME"]}))
"""
CHECK = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "check"])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """
    A checkout with nothing but the example, to put a .env file in.

    The packages are found in this one, where they are compiled already.
    """
    folder = tmp_path / "a + b #1"
    shutil.copytree(
        ROOT / "example_project",
        folder / "example_project",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


def run(checkout: Path, code: str, **env: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean_environment(), "PYTHONPATH": str(ROOT), **env},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_everything_has_a_default(checkout: Path):
    assert json.loads(run(checkout, SHOW)) == {
        "DEBUG": False,
        "SECRET_KEY": "the example's key is no secret",
        "ALLOWED_HOSTS": ["localhost", "127.0.0.1"],
        "ESDB_URI": "esdb://localhost:2113?Tls=false",
        "ESDB_ROOT_CERTIFICATES": "",
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(checkout / "db.sqlite3"),
    }


def test_names_without_values_are_as_good_as_none(checkout: Path):
    defaults = run(checkout, SHOW)
    names = re.findall(r"^([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)
    (checkout / ".env").write_text("".join(f"{name}=\n" for name in names))

    assert run(checkout, SHOW) == defaults
    assert run(checkout, SHOW, **dict.fromkeys(names, "")) == defaults


def test_the_example_file_works_as_it_is(checkout: Path):
    defaults = json.loads(run(checkout, SHOW))
    shutil.copy(EXAMPLE, checkout / ".env")

    assert json.loads(run(checkout, SHOW)) == {**defaults, "DEBUG": True}
    assert "no issues" in run(checkout, CHECK)


def test_the_example_file_has_exactly_the_names_that_are_read():
    source = (ROOT / "example_project" / "settings.py").read_text()
    read = re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source)

    assert sorted(read) == sorted(
        re.findall(r"^([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)
    )


def test_values_come_from_the_file_unless_the_environment_has_them(checkout: Path):
    (checkout / ".env").write_text(
        "DJANGO_DEBUG=true\n"
        "DJANGO_ALLOWED_HOSTS=dogs.example.com,cats.example.com\n"
        "DATABASE_URL=postgres://me:p%40ss@db.example.com/school\n"
        "EVENTSTOREDB_URI=esdb://eventstore.example.com?Tls=false\n"
    )

    shown = json.loads(run(checkout, SHOW, DJANGO_DEBUG="false"))

    assert shown["DEBUG"] is False
    assert shown["ALLOWED_HOSTS"] == ["dogs.example.com", "cats.example.com"]
    assert (shown["ENGINE"], shown["NAME"]) == (
        "django.db.backends.postgresql",
        "school",
    )
    assert shown["ESDB_URI"] == "esdb://eventstore.example.com?Tls=false"


@pytest.mark.parametrize("value", ["#", "# paste the PEM text here", "<PEM text>"])
def test_a_placeholder_for_certificates_does_no_harm_without_tls(
    checkout: Path, value: str
):
    (checkout / ".env").write_text(
        "EVENTSTOREDB_URI=esdb://localhost:2113?Tls=false\n"
        f"EVENTSTOREDB_ROOT_CERTIFICATES={value}\n"
    )

    assert "no issues" in run(checkout, CHECK)


def test_the_certificate_can_be_text_with_line_breaks(checkout: Path):
    (checkout / ".env").write_text(
        'EVENTSTOREDB_ROOT_CERTIFICATES="-----BEGIN CERTIFICATE-----\\nMII="\n'
    )

    assert json.loads(run(checkout, SHOW))["ESDB_ROOT_CERTIFICATES"] == (
        "-----BEGIN CERTIFICATE-----\nMII="
    )
