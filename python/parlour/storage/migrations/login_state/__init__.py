"""The steps of the login-state store's schema, numbered."""
