"""Random events for views, processed with the plain ORM and with rows."""
