"""
The example as a whole: event store, projections and web site, with data to see.

``python -m example_project`` runs each of them as a child process, on
loopback, and ends with all of them. What they keep lies in one folder, from
which the next run continues.
"""
