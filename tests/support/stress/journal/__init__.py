"""Read models in which nothing that is processed twice or never goes unnoticed."""
