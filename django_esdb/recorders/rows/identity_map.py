"""The rows of one model in a unit of work: an identity map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from sys import getrefcount
from typing import Any, NoReturn
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import IntegrityError, NotSupportedError, models, transaction

from django_esdb.db.vendors import ignores_case
from django_esdb.recorders.rows.changed_now import ChangedNow
from django_esdb.recorders.rows.entry import Entry
from django_esdb.recorders.rows.finding.keys import Keys
from django_esdb.recorders.rows.finding.references import GivenReferences
from django_esdb.recorders.rows.instances.added_state import AddedState
from django_esdb.recorders.rows.instances.instances import CLEAN_STATE_SIZE, Instances
from django_esdb.recorders.rows.instances.kept_instances import KeptInstances
from django_esdb.recorders.rows.protocols import NotedChanges, Work
from django_esdb.recorders.rows.schema.model_info import model_info
from django_esdb.recorders.rows.single_rows import delete_by_itself
from django_esdb.recorders.rows.taking_back import TakingBack
from django_esdb.recorders.rows.values.frozen import Trust
from django_esdb.recorders.rows.values.unique_values import UniqueValues


def _own_references() -> int:
    """Return how many hold what a variable has: from Python 3.14 on it counts fewer."""
    instance = object()
    return getrefcount(instance)


# What holds an instance that only this map has.
_OWN_REFERENCES = _own_references()


class IdentityMap:
    """
    What a unit of work knows of one model's rows.

    Rows are found by primary key, or by another field whose values are unique;
    whichever way, a row has one instance in an event.
    """

    def __init__(self, unit: Work, model: type[models.Model]) -> None:
        self.unit = unit
        self.model = model
        self.info = info = model_info(model)
        self.instances = Instances(info, unit.using, unit.connection, self._prepare_for)
        self.columns = self.instances.columns
        index_of = {c.attname: i for i, c in enumerate(self.columns)}
        self.index_of = index_of
        self.uniques = UniqueValues(
            [
                tuple(index_of[n] for n in g if n in index_of)
                for g in info.unique_groups
            ],
            ignores_case(unit.connection),
            {i for i, c in enumerate(self.columns) if c.is_compared_otherwise},
        )
        self.keys = Keys(self)
        self.entries: dict[Any, Entry] = {}
        # New rows whose primary key the database will choose, with how it does so.
        self.unkeyed: dict[Entry, Any] = {}
        # Each with the stretch in which it was deleted.
        self.deleted: dict[Any, int] = {}
        # What has to be written, in the order of the changes, each with the stretch in
        # which it was changed last.
        self.dirty: dict[Entry, int] = {}
        # What this event has in hand, in that order, each with its turn among all.
        self.in_hand: dict[Entry, int] = {}
        self._turn = unit.turn
        self.changed_now: NotedChanges = ChangedNow(self)
        self.kept = KeptInstances(info, self.instances)
        self._kept = self.kept.by_entry
        self.references = GivenReferences(self)
        self._choose_doubts()
        self.is_read_back = info.has_generated or info.has_filtering_manager()
        self._taking_back = TakingBack(self)
        self.take_back = self._taking_back.take_back
        self._is_thawed = any(column.thaw for column in self.columns)
        # As save() does, which writes all columns.
        self.rewritten = [
            (index, column.is_rewritten)
            for index, column in enumerate(self.columns)
            if column.is_rewritten and not self.instances.is_read_only(index)
        ]
        self.choose_ways()

    def _choose_doubts(self) -> None:
        """Find out which values the database may refuse by a rule not known here."""
        rules = self.unit.triggers.rules_of(self.model)
        told = self.info.doubtful
        # By attribute; None for all.
        self.doubtful: frozenset[str] | None = (
            None
            if told is None or rules.attnames is None
            else rules.attnames.union(told)
        )
        self.is_doubtful = self.doubtful is None or bool(self.doubtful)
        self.is_looked_at_late = self.info.has_deferred or rules.is_late

    def choose_ways(self) -> None:
        """Find out how rows are written: by themselves, or many at once."""
        info = self.info
        self._has_triggers = self.unit.triggers.act_on(self.model)
        self._is_referred_further = self.unit.triggers.are_referred_further(self.model)
        self._is_deleted_by_itself = (
            self._has_triggers
            or self._is_referred_further
            or self.unit.triggers.are_deleted_further(self.model)
        )
        self.is_saved_by_itself = self._has_triggers or info.is_saved_by_itself()
        self.unit.has_own_saves |= self.is_saved_by_itself
        self.instances.keeps_forms = self.is_saved_by_itself
        # Whether values have only to be compared and written.
        self.is_simple = not (
            info.relations
            or info.unique_groups
            or self.is_doubtful
            or self.is_read_back
            or self.is_saved_by_itself
        )
        self._addable = self.instances.addable if self.is_simple else {}

    # Finding rows

    def find(self, attname: str, key: Any) -> Entry | None:
        """Return the row with this value, None if there is none; it is in hand then."""
        if attname == "pk":
            try:
                entry = self.entries.get(key)
            except (TypeError, ValueError):
                # It may change, and is no key of a dictionary.
                entry = None
            if entry is None:
                entry = self.keys.by_pk(key)
        else:
            entry = self._find_by_value(attname, key)
        if entry is None:
            return None
        if entry in self.in_hand:
            return self._find_in_hand(entry)
        # As is_outdated, without a call.
        if entry.is_computed or (
            entry.read_at != self.unit.generation and entry.stored is not None
        ):
            entry = self.keys.refresh(entry)
            if entry is None:
                return None
        if self._kept:
            self.kept.check_last(entry)
        instance = entry.spare
        if instance is None or self._is_thawed:
            instance = self.instances.renewed(entry)
        entry.instance = instance
        self.in_hand[entry] = self._turn()
        return entry

    def _find_by_value(self, attname: str, key: Any) -> Entry | None:
        if self.unit.holds_own_saves() and any(map(self.is_changed, self.in_hand)):
            self.unit.take_back_in_turn()
        if self.take_back_all() is Trust.DOUBTFUL:
            self.unit.flush()
        return self.keys.by_value(attname, key)

    def _find_in_hand(self, entry: Entry) -> Entry | None:
        if self.unit.holds_own_saves():
            if self.is_changed(entry):
                # Rows that came before are saved before.
                self.unit.take_back_in_turn()
            else:
                # What is changed from now on is saved after what was changed before.
                del self.in_hand[entry]
                self.in_hand[entry] = self._turn()
        if self.take_back(entry) is Trust.DOUBTFUL:
            self.unit.flush()
        return self.keys.refresh(entry) if self.is_outdated(entry) else entry

    def is_changed(self, entry: Entry) -> bool:
        """Return whether a row that is in hand is new, or was changed."""
        return entry.is_unsaved or self.instances.differ(entry)

    def is_outdated(self, entry: Entry) -> bool:
        """Return whether the database knows better what a row is."""
        return entry.is_computed or (
            entry.read_at != self.unit.generation and entry.stored is not None
        )

    # Changing rows

    def add(self, instance: models.Model) -> Entry:
        """
        Take in a new row.

        Raises:
            IntegrityError: There is a row with its primary key.
        """
        self.instances.resolve_relations(instance, self.unit)
        if isinstance(instance._state, AddedState) and instance._state.is_pending:
            # It is there already, and has its key when it is written.
            self.unit.flush()
        pk = getattr(instance, self.info.pk.attname)
        if pk is None:
            # As save() does.
            pk = self.info.pk.get_pk_value_on_save(instance)
            setattr(instance, self.info.pk.attname, pk)
        if pk is None or hasattr(pk, "resolve_expression"):
            entry = Entry(None, instance, self.instances.unset)
            self.unkeyed[entry] = pk
        else:
            pk = self.keys.normalised("pk", pk)
            if type(pk) is Decimal:
                self.keys.check_new(pk)
            setattr(instance, self.info.pk.attname, pk)
            known = self.entries.get(pk)
            if known is not None and self.is_outdated(known):
                known = self.keys.refresh(known)
            if known is not None:
                self._refuse(instance, pk)
            if pk in self.deleted:
                # Deleting and adding again are two statements, in that order.
                self.unit.flush()
            entry = Entry(pk, instance, self.instances.unset)
            self.entries[pk] = entry
            self.keys.added(pk)
        using = None if entry.pk is None else self.unit.using
        AddedState(instance, self.unit.flush, using=using)
        self.in_hand[entry] = self._turn()
        return entry

    def _refuse(self, instance: models.Model, pk: Any) -> NoReturn:
        """Raise what the database says of a new row whose key another one has."""
        self.instances.check_values(instance)
        if not self.instances.are_taken(instance):
            # It may refuse a value before it looks at keys.
            self.unit.flush()
            with self.unit.own_statements():
                rows: models.QuerySet[Any] = models.QuerySet(
                    self.model, using=self.unit.using
                )
                rows.bulk_create([instance])
        # As the database does, which is not asked here.
        transaction.set_rollback(True, using=self.unit.using)
        msg = f"{self.model.__name__} with primary key {pk!r} exists already"
        raise IntegrityError(msg)

    def increment(self, key: Any, amounts: dict[str, Any]) -> bool:
        """
        Add to a row's integers as if its instance had been given the sums.

        Args:
            key: The primary key.
            amounts: What to add, by name of the field.

        Returns:
            Whether that was done, since an instance could not have made a difference.
        """
        try:
            entry = self.entries.get(key)
        except (TypeError, ValueError):
            return False
        if (
            entry is None
            or entry in self.in_hand
            or entry in self._kept
            or self.is_outdated(entry)
            # Others' code may look at it.
            or self.unit.has_own_saves
        ):
            return False
        current, sums = entry.current, []
        for name, amount in amounts.items():
            if name not in self._addable or type(amount) is not int:
                return False
            index, integers = self._addable[name]
            before = current[index]
            if type(before) is not int or (value := before + amount) not in integers:
                return False
            sums.append((name, index, value))
        for name, index, value in sums:
            current[index] = value
            if entry.spare is not None:
                entry.spare.__dict__[name] = value
        self.dirty[entry] = self.unit.stretch
        return True

    def delete(self, entry: Entry) -> None:
        """Delete a row that is in hand, and what its deletion takes along."""
        is_alone = not (self._is_deleted_by_itself or self.info.is_deleted_by_itself())
        if (
            entry.stored is None
            or self.uniques.is_unseen(entry)
            or not is_alone
            or self.unit.holds_own_saves()
        ):
            # The database has to see what the row was; and what depends on it, or looks
            # at it, has to be there as it is by now.
            self.unit.flush()
        if is_alone:
            self.unit.note_deleted(self, entry)
            self.forget(entry)
            self.deleted[entry.pk] = self.unit.stretch
            return
        if self.info.taken_along is None or self._is_referred_further:
            self.unit.look_at_rules()
        is_trusted = not (self._has_triggers or self.info.runs_code_of_others())
        delete_by_itself(self, entry, is_trusted=is_trusted)

    def forget(self, entry: Entry) -> None:
        """Know nothing of a row any more."""
        self.entries.pop(entry.pk, None)
        self.dirty.pop(entry, None)
        self.in_hand.pop(entry, None)
        self.kept.forget(entry)
        self.uniques.forget(entry)

    # Taking back what was handed out

    def take_back_all(self) -> Trust:
        """Take back everything that this event has in hand."""
        worst = Trust.CERTAIN
        for entry in tuple(self.in_hand):
            trust = self.take_back(entry)
            if trust > worst:
                worst = trust
        return worst

    def take_back_new(self) -> None:
        """Take back the new rows that this event has in hand."""
        for entry in tuple(self.in_hand):
            if entry.is_unsaved:
                self.take_back(entry)

    def _prepare_for(self, entry: Entry, expression: Any) -> None:
        self.unit.prepare_for(self, entry, expression)

    # What the unit of work asks for

    def event_ended(self, *, is_taken_back: bool) -> Trust:
        """
        Let go of what the event had in hand.

        Args:
            is_taken_back: Whether it was taken back; if not, which only simple models
                allow, that is done on the way.

        Returns:
            Whether the database has to be asked now.
        """
        worst = Trust.CERTAIN
        note, clean_names = self.instances.note, self.instances.clean_names
        pk_attname, dirty = self.info.pk.attname, self.dirty
        is_gone = self._taking_back.is_gone
        stretch = self.unit.stretch
        for entry in tuple(self.in_hand):
            instance = entry.instance
            if instance is None:
                continue
            values = instance.__dict__
            if not is_taken_back:
                # As in take_back, without a call for each row.
                if values.get(pk_attname) is not entry.pk and is_gone(entry):
                    continue
                trust = note(entry, values)
                if trust is not None or entry.is_unsaved:
                    dirty[entry] = stretch
                    entry.is_unsaved = False
                    entry.writes_all |= entry.is_behind
                    if trust:
                        entry.is_computed = True
                        worst = max(worst, trust)
            entry.is_behind = False
            entry.instance = entry.spare = None
            if getrefcount(instance) > _OWN_REFERENCES:
                self.kept.keep(entry, instance)
            elif (
                values.keys() == clean_names
                and len(values["_state"].__dict__) == CLEAN_STATE_SIZE
            ):
                # It has nothing but its columns' values.
                entry.spare = instance
        self.in_hand.clear()
        return worst

    def written(self, entry: Entry) -> None:
        """Note that the database has a row as it is here."""
        entry.stored = list(entry.current)
        entry.writes_all = False
        entry.read_at = max(entry.read_at, self.unit.generation)
        self.changed_now.note_written(entry, self.dirty.pop(entry, -1))
        self.uniques.seen(entry)
        if entry.instance is not None:
            self._note_there(entry.instance)
        if self._kept:
            for instance in self.kept.of(entry):
                self._note_there(instance)

    def _note_there(self, instance: models.Model) -> None:
        state = instance._state
        if isinstance(state, AddedState):
            state.forget()
        state.adding = False
        state.db = self.unit.using

    def keyed(self, entry: Entry, pk: Any) -> None:
        """Note the key that the database has chosen."""
        entry.pk = pk
        self.entries[pk] = entry
        for instance in (entry.instance, *self.kept.of(entry)):
            if instance is not None:
                instance.pk = pk
        self.unkeyed.pop(entry, None)

    def others_have_written(self) -> None:
        """Trust nothing that was loaded."""
        self.keys.clear_absent()
        for entry in self.in_hand:
            entry.is_behind = True

    def rolled_back(self, deleted: Iterable[Entry] = ()) -> None:
        """
        The database went back to a savepoint, before which all was written.

        Rows that this event has had in hand are put back to what is there.

        Args:
            deleted: Rows that the event has deleted, of which some may be there again.
        """
        self.deleted.clear()
        self.unkeyed.clear()
        for entry in deleted:
            if entry.pk not in self.entries:
                self.entries[entry.pk] = entry
                self.in_hand[entry] = self._turn()
        for entry in {**self.dirty, **self.in_hand}:
            if entry.stored is None:
                self.forget(entry)
            else:
                entry.current = list(entry.stored)
                entry.spare = None
        self.dirty.clear()
        self.keys.clear_absent()
        in_hand = [entry for entry in self.in_hand if entry.pk is not None]
        self.keys.reread(in_hand, is_undone=True)

    def close(self) -> None:
        """
        Let go of everything when the transaction ends; who uses it then gets an error.

        The parts refer to each other, so that without this all rows would be in memory
        until the garbage collector looks for them.
        """
        self.__dict__.clear()

    def __getattr__(self, name: str) -> Any:
        # Nothing is missing before it is closed.
        msg = (
            "These rows are of a transaction that has ended: nothing would be written; "
            "call self.rows(…) in each event"
        )
        raise NotSupportedError(msg)

    def missing(self, key: Any) -> ObjectDoesNotExist:
        """Return what the model's manager would raise."""
        msg = f"{self.model.__name__} {key!r} does not exist"
        error: ObjectDoesNotExist = self.model.DoesNotExist(msg)  # type: ignore[attr-defined]
        return error

    def wanted_keys(self, attname: str) -> Iterator[Any]:
        """Yield the keys that the batch's events will likely ask for."""
        wanted = list(self.unit.keys_of(self.model))
        if self.keys.has_integers(attname):
            # Aggregates' IDs are mostly these, and there are many.
            wanted = [key for key in wanted if type(key) is not UUID]
        # Many events have the same key.
        with suppress(TypeError, ValueError):
            wanted = list(dict.fromkeys(wanted))
        for raw in wanted:
            try:
                yield self.keys.normalised(attname, raw)
            except (ValidationError, TypeError, ValueError):
                # An aggregate's ID need not be of the type of every key.
                continue
