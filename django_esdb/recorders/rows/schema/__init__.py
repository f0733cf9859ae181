"""What the unit of work has to know of models and of the database's tables."""
