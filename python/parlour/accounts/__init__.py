"""The account service: who may log in, the tokens that stand for a login, and what administrators do with accounts."""

from parlour.accounts.identity import AcceptedLogin, Identity
from parlour.accounts.manager import AccountManager
from parlour.accounts.plugins import Applicant, PluginError, Refuse
from parlour.accounts.refusal import AccountRefusedError
from parlour.accounts.service import AccountRules, Accounts, Entrant, Granted, LoginRequest, Returning
from parlour.accounts.tokens import TokenSigner

__all__ = [
    "AcceptedLogin",
    "AccountManager",
    "AccountRefusedError",
    "AccountRules",
    "Accounts",
    "Applicant",
    "Entrant",
    "Granted",
    "Identity",
    "LoginRequest",
    "PluginError",
    "Refuse",
    "Returning",
    "TokenSigner",
]
