"""What is written of the changes, and in which order."""
