"""The signaling channel: messages, connections, sessions, and what each client was told."""
