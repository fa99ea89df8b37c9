"""Runs tls-sig-api in the environment it needs: `usersig_v1_peer.py sign|verify`, values as JSON on standard input."""

from __future__ import annotations

import json
import sys
from typing import Any

import OpenSSL
import TLSSigAPI


def sign(app: int, private: str, public: str, users: list[str], expire: int) -> dict[str, str]:
    signer = TLSSigAPI.TLSSigAPI(app, private, public)
    return {user: signer.gen_sig(user, expire) for user in users}


def verify(app: int, private: str, public: str, signatures: dict[str, str]) -> dict[str, bool]:
    # As published, tls_verify_sig fails for every signature: it hands a bare key to what takes a certificate. With the
    # key in a certificate all else is its own: decoding, the text that was signed, the verification.
    def public_key_in_a_certificate(_: object) -> OpenSSL.crypto.X509:
        certificate = OpenSSL.crypto.X509()
        certificate.set_pubkey(OpenSSL.crypto.load_publickey(OpenSSL.crypto.FILETYPE_PEM, public))
        return certificate

    TLSSigAPI.TLSSigAPI._TLSSigAPI__get_pub_key = public_key_in_a_certificate
    checker = TLSSigAPI.TLSSigAPI(app, private, public)
    verdicts = {}
    for user, signature in signatures.items():
        try:
            checker.tls_verify_sig(signature.encode(), user)  # answers nothing, and raises if it does not match
            verdicts[user] = True
        except OpenSSL.crypto.Error:
            verdicts[user] = False
    return verdicts


if __name__ == "__main__":
    values: dict[str, Any] = json.load(sys.stdin)
    answer, sys.stdout = sys.stdout, sys.stderr  # the package prints what it does
    json.dump({"sign": sign, "verify": verify}[sys.argv[1]](**values), answer)
