"""Numbers that say how it goes: collected once a second, exposed for Prometheus, and told to clients as a quality."""
