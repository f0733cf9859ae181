"""Which rows have which unique values, as far as a unit of work knows."""

from __future__ import annotations

from typing import Any

from django_esdb.recorders.rows.entry import Entry

# Among these MySQL's collations tell letters apart, except for their case.
_PLAIN = frozenset(map(chr, range(32, 127)))


def collated(text: str) -> str | None:
    """
    Return what texts that MySQL and MariaDB take for the same have in common.

    None if that cannot be told: it depends on the collation.
    """
    if _PLAIN.issuperset(text):
        # Blanks at the end do not count, either.
        return text.rstrip(" ").lower()
    return None


class UniqueValues:
    """
    Tells what the database has to be asked, so that no two rows have a value.

    Args:
        groups: For each unique constraint, which of a row's values it is about.
        is_collated: Whether the database takes different texts for the same.
        unclear: Which values it may take for the same though they are different.
    """

    def __init__(
        self, groups: list[tuple[int, ...]], is_collated: bool, unclear: set[int]
    ) -> None:
        self._groups = groups
        self._is_collated = is_collated
        self._unclear = {
            number
            for number, group in enumerate(groups)
            if not unclear.isdisjoint(group)
        }
        self._members = frozenset(index for group in groups for index in group)
        self._holders: dict[tuple[int, Any], Entry] = {}
        self._held: dict[Entry, tuple[Any, ...]] = {}
        # What rows were given that the database has not seen.
        self._unseen: set[Entry] = set()

    def concern(self, indexes: list[int]) -> bool:
        """Return whether one of these values is in a group."""
        return not self._members.isdisjoint(indexes)

    def is_unseen(self, entry: Entry) -> bool:
        """Return whether the database has not seen what the row was given."""
        return entry in self._unseen

    def loaded(self, entry: Entry) -> bool:
        """Note a row from the database; return whether another has a value of it."""
        return self._hold(entry)

    def given(self, entry: Entry) -> bool:
        """Note a row's new values; return whether the database has to be asked now."""
        self._unseen.add(entry)
        return self._hold(entry)

    def seen(self, entry: Entry) -> None:
        """Note that the database has taken a row as it is."""
        self._unseen.discard(entry)

    def forget(self, entry: Entry) -> None:
        """Forget a row that is not there any more."""
        self._unseen.discard(entry)
        for number, value in enumerate(self._held.pop(entry, ())):
            if self._holders.get((number, value)) is entry:
                del self._holders[number, value]

    def taken(self, entry: Entry) -> list[tuple[int, Any]]:
        """Return the values that a row has now and has not in the database."""
        return self._differing(entry, entry.current, entry.stored)

    def given_up(self, entry: Entry) -> list[tuple[int, Any]]:
        """Return the values that a row has in the database and has not now."""
        return self._differing(entry, entry.stored, entry.current)

    def _differing(
        self, entry: Entry, these: list[Any] | None, those: list[Any] | None
    ) -> list[tuple[int, Any]]:
        if these is None:
            return []
        return [
            (number, these_values)
            for number, group in enumerate(self._groups)
            if (these_values := self._value(these, group)) is not None
            and (those is None or these_values != self._value(those, group))
        ]

    def _hold(self, entry: Entry) -> bool:
        held = tuple(self._value(entry.current, group) for group in self._groups)
        before = self._held.get(entry)
        if before == held:
            return False
        is_unseen = entry in self._unseen
        self.forget(entry)
        if is_unseen:
            self._unseen.add(entry)
        self._held[entry] = held
        clashes = False
        for number, value in enumerate(held):
            if value is not None:
                holder = self._holders.setdefault((number, value), entry)
                clashes |= holder is not entry or self._is_unclear(number, value)
        return clashes

    def _value(self, values: list[Any], group: tuple[int, ...]) -> Any:
        found = tuple(values[index] for index in group)
        if None in found:
            # NULL is equal to nothing.
            return None
        if not self._is_collated:
            return found
        return tuple(
            (collated(value) or value) if isinstance(value, str) else value
            for value in found
        )

    def _is_unclear(self, number: int, values: tuple[Any, ...]) -> bool:
        if number in self._unclear:
            return True
        for value in values:
            if type(value) is str:
                if self._is_collated and collated(value) is None:
                    return True
            elif hasattr(value, "resolve_expression"):
                # Only the database knows it.
                return True
        return False
