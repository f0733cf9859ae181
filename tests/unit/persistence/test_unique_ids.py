from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsourcing_eventstoredb.topics.id_types import is_unique

UNIQUE = (1, 4, 6, 7)


@given(st.uuids(version=4) | st.uuids(version=1), st.text())
def test_ids_that_were_just_made_are_unique_whatever_is_before_them(
    identity: UUID, prefix: str
) -> None:
    assert is_unique(identity)
    assert is_unique(f"{prefix}{identity}")


@given(st.uuids())
def test_the_version_decides(identity: UUID) -> None:
    assert is_unique(identity) is (identity.version in UNIQUE)
    assert not is_unique(f"{identity}-")


@pytest.mark.parametrize("name", ["", "dog", "dog-7", "x" * 36, "0" * 36])
def test_other_names_are_not(name: str) -> None:
    assert not is_unique(name)
