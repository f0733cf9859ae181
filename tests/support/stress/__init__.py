"""
Exactly once in the read models, whatever is killed.

A run has an event store with a data file, a few ``runprojections`` processes and
writers that never rest. It kills and suspends what it can at random moments, and
looks all the time whether rows and positions agree with the log. See engine.py.
"""
