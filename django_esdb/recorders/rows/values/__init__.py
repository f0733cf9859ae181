"""What columns hold, settled as the database would, and comparable."""
