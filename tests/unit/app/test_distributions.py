from __future__ import annotations

from pathlib import Path

import pytest

from django_esdb.checks.configuration import check_all
from django_esdb.checks.distributions import check_distributions

OURS = "eventsourcing_eventstoredb"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of distributions that are found before all others."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, **files: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
    for file, text in files.items():
        (info / file.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        {"RECORD": f"{OURS}/__init__.py,,\nother-1.0.dist-info/RECORD,,\n"},
        {"RECORD": f"a/b.py,,\n{OURS}/recorders.py,sha256=abc,12\n"},
        {"top_level__txt": f"a\n{OURS}\n", "RECORD": "a/b.py,,\n"},
    ],
)
def test_another_distribution_with_the_same_package_is_told(
    files: dict[str, str], installed: Path
) -> None:
    install(installed, "another-one", **files)
    (warning,) = check_distributions()
    assert warning.id == "django_esdb.W001"
    assert "another-one also installs" in warning.msg
    assert "pip uninstall another-one" in str(warning.hint)
    assert warning in check_all()


@pytest.mark.parametrize(
    ("name", "files"),
    [
        # Its own, as a wheel, and as an editable installation that lists no package.
        ("django-esdb", {"RECORD": f"{OURS}/__init__.py,,\ndjango_esdb/apps.py,,\n"}),
        ("django-esdb", {"RECORD": "__editable__.django_esdb-1.0.pth,,\n"}),
        ("django-esdb", {"top_level__txt": f"django_esdb\n{OURS}\n"}),
        ("longer", {"RECORD": f"{OURS}_more/a.py,,\na/{OURS}/b.py,,\n"}),
        ("longer", {"top_level__txt": f"{OURS}_more\n"}),
        ("empty", {}),
    ],
)
def test_this_one_and_those_with_other_packages_are_not(
    name: str, files: dict[str, str], installed: Path
) -> None:
    install(installed, name, **files)
    assert not list(check_distributions())
