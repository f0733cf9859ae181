"""
Further projections of the school's events, each with something for an operator to do.

The demo has them: one has put a failing event aside, one is paused and behind, and one
is rebuilt when the demo first starts.
"""
