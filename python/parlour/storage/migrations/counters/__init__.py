"""The steps of the counters' schema, numbered."""
