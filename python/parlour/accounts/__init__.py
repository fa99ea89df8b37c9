"""The account service: who may log in, and the tokens that stand for a login."""

from parlour.accounts.identity import Identity
from parlour.accounts.service import Accounts
from parlour.accounts.tokens import TokenSigner, resume_refused

__all__ = ["Accounts", "Identity", "TokenSigner", "resume_refused"]
