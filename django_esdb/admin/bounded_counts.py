"""Numbers of rows on lists of big tables, which are not counted one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ALL_VAR
from django.core.paginator import Page, Paginator
from django.db import models
from django.utils.formats import localize
from django.utils.functional import cached_property
from django.utils.translation import gettext

from django_esdb.db.row_counts import counted_up_to, estimated_rows

# More are estimated, or not counted to the end.
MOST_COUNTED = 100_000

if TYPE_CHECKING:
    _Paginator = Paginator[models.Model]
else:
    _Paginator = Paginator


class BoundedPaginator(_Paginator):
    """
    Pages of rows, of which only so many are counted.

    Of a whole table with more rows, the number is what the database believes, until
    the last of its pages is asked for: then rows are counted from there. Of
    others, such as those that a filter finds, the first ones have pages.
    """

    def page(self, number: int | str) -> Page[models.Model]:
        """Return a page of rows; a table may have more than its database believes."""
        if self._is_estimated and str(number).isdecimal():
            self._count_from(int(number))
        return super().page(number)

    @cached_property
    def count(self) -> int:
        """How many rows have pages."""
        return self._counted[0]

    @property
    def count_text(self) -> str:
        """How many rows there are, in words where that is not known exactly."""
        count, text = self._counted
        return text % {"count": localize(count)}

    @property
    def _is_estimated(self) -> bool:
        return self._counted[1] == _about()

    def _count_from(self, number: int) -> None:
        """Count on from the estimate's last page, or from one behind it."""
        if number < self.num_pages:
            return
        before = max(number - 1, 0) * self.per_page
        rows: Any = self.object_list
        there = rows.order_by()[before : before + MOST_COUNTED + 1].count()
        if there:
            self._counted = (before + there, _about())
            for name in ("count", "num_pages"):
                vars(self).pop(name, None)

    @cached_property
    def _counted(self) -> tuple[int, str]:
        rows: Any = self.object_list
        if not isinstance(rows, models.QuerySet):
            return len(rows), "%(count)s"
        estimate = estimated_rows(rows.model, rows.db) if _is_whole(rows) else None
        if estimate is not None and estimate > MOST_COUNTED:
            return estimate, _about()
        count = counted_up_to(rows, MOST_COUNTED)
        if count > MOST_COUNTED:
            return MOST_COUNTED, gettext("more than %(count)s")
        return count, "%(count)s"


def pages_of(cl: Any) -> dict[str, Any]:
    """
    Return what the end of a change list shows; nothing if it counts in its own way.

    Args:
        cl: The change list.
    """
    paginator = getattr(cl, "paginator", None)
    if not isinstance(paginator, BoundedPaginator):
        return {}
    # The number is not shown next to the search, whose template knows no «about».
    cl.full_result_count = cl.result_count
    is_on_one_page = not cl.multi_page or (cl.show_all and cl.can_show_all)
    numbers = [] if is_on_one_page else paginator.get_elided_page_range(cl.page_num)
    show_all_page = ""
    if cl.query:
        show_all_page = "?"
    elif cl.can_show_all and not is_on_one_page:
        show_all_page = cl.get_query_string({ALL_VAR: ""})
    return {
        "count_text": paginator.count_text,
        "page_range": list(numbers),
        "show_all_page": show_all_page,
    }


def _about() -> str:
    return gettext("about %(count)s")


def _is_whole(rows: models.QuerySet[Any]) -> bool:
    """Return whether a query finds each row of its table, and once."""
    query = rows.query
    is_limited = query.is_sliced or query.combinator or query.distinct
    return not (query.where or is_limited or len(query.alias_map) > 1)
