"""Independent clients for the tests."""
