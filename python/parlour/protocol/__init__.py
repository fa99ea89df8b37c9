"""The signaling protocol: its messages, the words they share with rooms and descriptions, and what is made of them.

Server, client and generators all read it here. It imports nothing of ours and does no I/O.
"""
