"""Third-party verification: an https endpoint or an OpenID Connect issuer says whether a credential is good.

The order of things is in ``judge``. Whatever leaves the server goes through ``client``, which connects to public
addresses only unless the operator allows more.
"""

from parlour.accounts.verification.configuration import VerificationSettings, checked_endpoint_url, checked_issuer
from parlour.accounts.verification.judge import CredentialJudge

__all__ = ["CredentialJudge", "VerificationSettings", "checked_endpoint_url", "checked_issuer"]
