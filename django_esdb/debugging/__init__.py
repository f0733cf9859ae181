"""What handlers would do: they run, are looked at, and leave nothing."""
