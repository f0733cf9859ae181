"""What makes this package part of others, where these are installed."""
