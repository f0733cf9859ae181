"""
The unit of work behind ``self.rows(Model)``.

Within one transaction each row is loaded at most once, changed in memory, and
written once with the others of its model. A :class:`UnitOfWork` belongs to one
transaction on one database in one thread, and is forgotten with it.
"""

from __future__ import annotations
