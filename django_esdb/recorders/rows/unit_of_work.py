"""All models' rows of one transaction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Model

from django_esdb.db.vendors import (
    check_references_now,
    checks_references_late,
    immediate_constraints,
)
from django_esdb.exceptions import ViewDatabaseError
from django_esdb.recorders.rows.block import Block
from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.filtered_map import FilteredIdentityMap
from django_esdb.recorders.rows.finding.targets import Targets
from django_esdb.recorders.rows.held_transaction import HeldTransaction
from django_esdb.recorders.rows.identity_map import IdentityMap
from django_esdb.recorders.rows.instances.own_saves import being_saved
from django_esdb.recorders.rows.noticed_statements import NoticedStatements
from django_esdb.recorders.rows.overtaking import Overtaking
from django_esdb.recorders.rows.protocols import FoundTargets
from django_esdb.recorders.rows.rows import Rows
from django_esdb.recorders.rows.schema.model_info import (
    model_info,
)
from django_esdb.recorders.rows.schema.triggered import Triggers
from django_esdb.recorders.rows.values.frozen import Trust
from django_esdb.recorders.rows.writing.expression_order import ExpressionOrder
from django_esdb.recorders.rows.writing.worked_out import fill_in
from django_esdb.recorders.rows.writing.writing import write


def _no_keys(model: type[Model]) -> Iterable[Any]:
    return ()


class UnitOfWork:
    """
    Rows that are loaded once, changed in memory and written together.

    What is left is what each event by itself would leave with the plain ORM. Where it
    is not certain what the database makes of a row, it is asked when the event ends.

    Other statements on the same connection are safe next to it: before each of
    them what is pending is written, and after one that writes, rows are read
    again when they are asked for. Get a row again for each event.

    Args:
        using: Database alias; a transaction must be open on it.
        keys_of: Says which keys of a model will likely be asked for, so that
            the first one loads them all.

    Attributes:
        generation: How many statements of others may have changed rows.
        stretch: How many stretches without a statement of the handler's there were
            before. It takes no notice of the unit's own, which depend on the batch.
        turn: Returns how many rows were handed out before.
        being_saved: The IDs of instances that the handler is saving by itself.
        overtaking: Sees to it that rows are not written over what saving another makes.
        own_statements: Tells statements of this unit from others'.
        saving_one: Within it a row is saved by itself, before those that were changed
            after it.
        trusting_references: Within it statements leave no reference without its row.
        triggers: What the database does more than statements say.
        targets: Which rows are there that references lead to.
        has_own_saves: Whether some models' rows are saved by themselves, by code that
            may look at other rows.
        used: What is known of each model whose rows were asked for.
        execute_wrapper: Takes the hook that Django has for every statement.
        by_pk: What was asked for by primary key; see :meth:`keyed_rows`.
        hold: Makes a context in which nothing ends the transaction.
        has_to_end: Whether only the transaction's end tells if all is right, so
            that no other event may come before it.
    """

    def __init__(
        self,
        using: str,
        keys_of: Callable[[type[Model]], Iterable[Any]] = _no_keys,
    ) -> None:
        self.using = using
        self.keys_of = keys_of
        self.connection = connections[using]
        self.generation = 0
        self.stretch = 0
        self.turn = itertools.count().__next__
        self.being_saved: Collection[int] = ()
        self.has_own_saves = False
        self.has_to_end = False
        self.own_statements = Block()
        self.saving_one = Block()
        self.trusting_references = Block()
        self._maps: dict[type[Model], IdentityMap] = {}
        # A tuple, since more may be used while all are looked at.
        self.used: tuple[IdentityMap, ...] = ()
        self._keyed: dict[str, dict[type[Model], Rows[Any]]] = {}
        self.by_pk = self._keyed["pk"] = {}
        self.triggers = Triggers(self.connection, self.own_statements)
        self.targets: FoundTargets = Targets(self, self._maps)
        self._immediate: tuple[str, ...] | None = None
        self._is_writing = False
        self._is_taking_back_referred = False
        self._is_flushing = False
        self._may_lead_nowhere = False
        self._expressions = ExpressionOrder()
        self.overtaking = Overtaking(self.triggers)
        # What this event has deleted within savepoints, which may be undone.
        self._deleted: list[tuple[IdentityMap, Entry]] = []
        self._transaction = HeldTransaction(self.connection)
        self.hold = self._transaction.hold
        self._statements = NoticedStatements(self, self._transaction)
        self.execute_wrapper = self._statements.execute_wrapper

    @property
    def writes_positions(self) -> bool:
        """Whether a handler's statement may have changed a projection's row."""
        return self._statements.writes_positions

    def position_is_moved(self) -> None:
        """Note that statements are handlers' from now on."""
        self._statements.writes_positions = False

    def rows(self, model: type[Model]) -> IdentityMap:
        """
        Return what is known of a model's rows.

        Raises:
            NotSupportedError: They cannot be kept in this way.
            ViewDatabaseError: They are written to another database.
        """
        found = self._maps.get(model)
        if found is None:
            alias = router.db_for_write(model)
            if alias != self.using:
                msg = (
                    f"{model._meta.label} is written to database {alias!r}, and this "
                    f"view keeps its position in {self.using!r}, so one transaction "
                    "cannot hold both"
                )
                raise ViewDatabaseError(msg)
            self.triggers.check_is_table(model)
            info, kind = model_info(model), IdentityMap
            if info.has_own_queryset():
                info.check_manager()
                kind = FilteredIdentityMap
            found = self._maps[model] = kind(self, model)
            self.used = tuple(self._maps.values())
        return found

    @property
    def models(self) -> Iterable[type[Model]]:
        """The models whose rows were asked for."""
        return tuple(self._maps)

    def keyed_rows(self, model: type[Model], key: str) -> Rows[Any]:
        """Return a model's rows by a key, for handlers; raises as :meth:`rows`."""
        keyed = self._keyed.get(key)
        if keyed is None:
            keyed = self._keyed[key] = {}
        found = keyed.get(model)
        if found is None:
            found = keyed[model] = Rows(self.rows(model), key)
        return found

    def finish(self) -> None:
        """
        Write everything; the unit is not to be used after that.

        Raises:
            DatabaseError: What the database says.
            NotSupportedError: A row was changed in a way that is not supported.
        """
        self.event_ended()
        self._transaction.check_open()
        # No event looks any more at what triggers make of it.
        if self._has_to_write():
            self._write()
        for rows in self.used:
            rows.kept.check()

    def check_connection(self) -> None:
        """Raise a TransactionManagementError if it was closed in the transaction."""
        self._transaction.check_connection()

    def close(self) -> None:
        """
        Forget everything, whether or not it is written.

        Where a connection is lost, Django opens another one on its way out of
        the transaction; nothing may be written on that.
        """
        for rows in self.used:
            rows.close()
        self._maps.clear()
        self.used = ()
        self._deleted.clear()
        self._keyed.clear()
        self.by_pk.clear()
        # It knows the batch's events.
        self.keys_of = _no_keys

    def event_ended(self) -> None:
        """
        Note that the next rows are for another event.

        Raises:
            DatabaseError: The database refuses what the event has left.
            TransactionManagementError: It commits nothing any more.
        """
        self._transaction.check()
        worst, held = self._take_back_at_the_end()
        if worst is Trust.DOUBTFUL:
            self.write()
        for rows in held:
            if rows.references and not rows.references.check():
                self._may_lead_nowhere = True
        if self._may_lead_nowhere:
            self._may_lead_nowhere = False
            self._look_now()
        for rows in held:
            rows.event_ended(is_taken_back=True)
        self._deleted.clear()
        self.end_stretch()

    def _take_back_at_the_end(self) -> tuple[Trust, list[IdentityMap]]:
        """Return how far values are known, and of which models rows are still held."""
        is_taken_back = self.has_own_saves
        worst = self._take_back() if is_taken_back else Trust.CERTAIN
        held = []
        for rows in self.used:
            if not rows.in_hand:
                continue
            if rows.is_simple:
                trust = rows.event_ended(is_taken_back=is_taken_back)
            else:
                held.append(rows)
                trust = Trust.CERTAIN if is_taken_back else rows.take_back_all()
            if trust > worst:
                worst = trust
        return worst, held

    def end_stretch(self) -> None:
        """
        Note that a statement of the handler's, or another event, is next.

        Raises:
            NotSupportedError: A row that an expression is about was changed.
        """
        if self._expressions:
            self._expressions.check(self.used)
            self._expressions.clear()
        self.stretch += 1

    def _look_now(self) -> None:
        """Have the database look at what it would look at late, if it can."""
        self.write()
        with self._marking(), self.own_statements():
            if self._immediate is None:
                self._immediate = immediate_constraints(self.connection)
            self.has_to_end = not check_references_now(self.connection, self._immediate)

    def go_on(self) -> None:
        """Note that another event is next."""
        if self._maps:
            self._look_at_triggers()

    def _look_at_triggers(self) -> bool:
        """Look once in a batch which there are; return whether they are others now."""
        has_changed = self.triggers.look()
        if has_changed:
            for rows in self.used:
                rows.choose_ways()
        return has_changed

    def flush(self) -> None:
        """Take back what is in hand, and write everything that is pending."""
        if self._is_flushing:
            return
        self.take_back_in_turn()
        self.write()
        if not self.saving_one:
            for rows in self.used:
                if rows.in_hand:
                    fill_in(rows)

    def holds_own_saves(self) -> bool:
        """Return whether the event has rows in hand that models' own code saves."""
        return self.has_own_saves and any(
            rows.in_hand and rows.is_saved_by_itself for rows in self.used
        )

    def take_back_in_turn(self) -> None:
        """
        Take back what is in hand, in the order in which the event has got it.

        Where models' own code saves rows, it may look at those that came before. What
        the database has to be asked about is written.
        """
        if self.saving_one or self._is_flushing:
            return
        self._is_flushing = True
        if any(rows.in_hand for rows in self.used):
            self.being_saved = {id(instance) for instance in being_saved()}
        try:
            trust = self._take_back()
        finally:
            self.being_saved = ()
            self._is_flushing = False
        if trust is Trust.DOUBTFUL:
            self.write()

    def write(self) -> None:
        """Write everything that is pending; raises what the database says."""
        if self._has_to_write():
            # With models' own code it may be in the midst of taking rows back.
            if not self.has_own_saves:
                self._take_back_referred()
            were_unknown = self._look_at_triggers()
            self._write()
            if were_unknown:
                self.others_have_written()

    def write_taken_back(self) -> None:
        """
        Write what is pending, and leave to the event what it has in hand.

        That is what reading rows takes. Whether a row has to be read depends on the
        batch, so nothing of what the event is about to change may depend on it.
        """
        if self._has_to_write():
            if self.has_own_saves:
                self._take_back_referred()
            self.write()

    def _take_back_referred(self) -> None:
        """Take back the new rows that what is pending refers to, if they come first."""
        if self._is_taking_back_referred or checks_references_late(self.connection):
            return
        self._is_taking_back_referred = True
        try:
            self._take_back_all_referred()
        finally:
            self._is_taking_back_referred = False

    def _take_back_all_referred(self) -> None:
        # One more round at the most for what those refer to in turn.
        for _ in self.used:
            referred = [
                rows
                for rows in self.used
                if any(entry.is_unsaved for entry in rows.in_hand)
                and any(other.references.lead_to(rows.model) for other in self.used)
            ]
            if not referred:
                break
            if self.holds_own_saves():
                self.take_back_in_turn()
                break
            for rows in referred:
                rows.take_back_new()

    def _write(self) -> None:
        self._is_writing = True
        try:
            with self._marking(), self.own_statements():
                write(self.connection, self.used)
        finally:
            self._is_writing = False

    def _has_to_write(self) -> bool:
        return not self._is_writing and any(
            rows.dirty or rows.deleted for rows in self.used
        )

    def prepare_for(self, rows: IdentityMap, entry: Entry, expression: Any) -> None:
        """
        Write what an expression that a row was assigned is about.

        Raises:
            NotSupportedError: The same event has changed that, before or after.
        """
        if self._expressions.assigned(rows, entry, expression):
            self._expressions.check(self.used)
            self.write()

    def read_again(self) -> None:
        """Write what is pending, and trust nothing that was loaded."""
        self.flush()
        self.others_have_written()

    def read_again_for_another_filter(self) -> None:
        """Trust nothing that was loaded, and leave alone what the event has in hand."""
        self.write_taken_back()
        self.others_have_written()

    def refresh(self) -> None:
        """Do as before and after a statement of the handler's that is not seen."""
        self.read_again()
        self.end_stretch()

    def is_new_elsewhere(self, instance: Model) -> bool:
        """Return whether an instance is a new row whose key is not known yet."""
        rows = self.find_used(instance)
        if rows is None:
            return False
        entry = next((e for e in rows.unkeyed if e.instance is instance), None)
        if entry is not None:
            rows.take_back(entry)
        return entry is not None

    def find_used(self, instance: Model) -> IdentityMap | None:
        """Return what is known of the rows of an instance's model, if it is used."""
        return self._maps.get(type(instance))

    def has_added(self, instance: Model) -> bool:
        """Return whether an instance is a row's that is in hand."""
        rows = self.find_used(instance)
        entry = None if rows is None else rows.entries.get(instance.pk)
        return entry is not None and entry.instance is instance

    def note_deleted(self, rows: IdentityMap, entry: Entry) -> None:
        """Note that an event has deleted a row that it has in hand."""
        if self.connection.savepoint_ids:
            self._deleted.append((rows, entry))

    def look_at_rules(self) -> None:
        """Have the database look when the event ends at what it would look at late."""
        self._may_lead_nowhere = True

    def _take_back(self) -> Trust:
        worst = Trust.CERTAIN
        used = [rows for rows in self.used if rows.in_hand]
        if self.has_own_saves:
            # Models' own code may look at rows of others that were changed before.
            in_turn = sorted(
                (turn, rows, entry)
                for rows in used
                for entry, turn in rows.in_hand.items()
            )
            self.overtaking.begin(entry for _, _, entry in in_turn)
            for _, rows, entry in in_turn:
                self.overtaking.check(rows, entry)
                worst = max(worst, rows.take_back(entry))
            return worst
        for rows in used:
            worst = max(worst, rows.take_back_all())
        return worst

    def others_have_written(self) -> None:
        """Trust nothing that was loaded."""
        self.generation += 1
        self.targets.forget()
        for rows in self.used:
            rows.others_have_written()

    def rolled_back(self) -> None:
        """Note that the database went back to a savepoint."""
        self.generation += 1
        self.targets.forget()
        self._expressions.clear()
        deleted, self._deleted = self._deleted, []
        for rows in self.used:
            rows.rolled_back([entry for of, entry in deleted if of is rows])
        # An outer savepoint may be undone, too.
        self._deleted += [(of, e) for of, e in deleted if e not in of.in_hand]

    @contextmanager
    def _marking(self) -> Iterator[None]:
        """Let nothing be committed after an error, except up to a savepoint."""
        try:
            yield
        except Exception:
            # Django itself goes back to a savepoint that could not be released.
            if not self._statements.is_releasing:
                transaction.set_rollback(True, using=self.using)
            raise
