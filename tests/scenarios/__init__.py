"""One scenario for each account code: a running server, real input, and where a part fails, a part really broken.

A test in here says with ``@scenario`` which code it brings about, and how. ``docs/account-codes.md`` is made from that.
"""
