"""The steps of the account store's schema, numbered."""
