"""Which keys and references lead to which rows."""
