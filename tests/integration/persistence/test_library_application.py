"""The library's own test case for applications."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from uuid import uuid4

import pytest
from eventsourcing.domain import Aggregate
from eventsourcing.tests.application import BankAccounts, ExampleApplicationTestCase
from eventsourcing.utils import get_topic

from eventsourcing_eventstoredb import EventStoreDBFactory
from eventsourcing_eventstoredb.server import EmbeddedServer


class TestApplication(ExampleApplicationTestCase):
    expected_factory_topic = get_topic(EventStoreDBFactory)

    @pytest.fixture(autouse=True)
    def _environment(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Aggregate, "INITIAL_VERSION", 0)
        monkeypatch.setenv("PERSISTENCE_MODULE", "eventsourcing_eventstoredb")
        monkeypatch.setenv("EVENTSTOREDB_URI", server.uri)

    def test_example_application(self) -> None:
        """
        The example keeps its accounts, notifications and snapshots.

        Takes the place of the library's test, which asks for a section of the
        log by the IDs 1 to 10.
        """
        with closing(BankAccounts()) as app:
            assert get_topic(type(app.factory)) == self.expected_factory_topic
            assert app.notification_log.select(None, 10) == []
            with pytest.raises(BankAccounts.AccountNotFoundError):
                app.get_account(uuid4())
            account_id = app.open_account("Alice", "alice@example.com")
            assert app.get_balance(account_id) == Decimal("0.00")
            for amount in ("10.00", "25.00", "30.00"):
                app.credit_account(account_id, Decimal(amount))
            assert app.get_balance(account_id) == Decimal("65.00")
            assert len(app.notification_log.select(None, 10)) == 4

            assert app.snapshots is not None
            app.take_snapshot(account_id, version=1)
            app.take_snapshot(account_id)
            versions = [s.originator_version for s in app.snapshots.get(account_id)]
            assert versions == [1, 3]
            for version, balance in enumerate(("0.00", "10.00", "35.00", "65.00")):
                account = app.repository.get(account_id, version=version)
                assert (account.version, account.balance) == (version, Decimal(balance))

            # Snapshots are no notifications.
            assert len(app.notification_log.select(None, 10)) == 4


del ExampleApplicationTestCase
