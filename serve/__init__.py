"""WHO answers? The HTTP endpoints."""
