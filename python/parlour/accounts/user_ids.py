"""What a userId may be: in general, and of the kinds whose format is checked when an account is registered."""

from __future__ import annotations

from parlour.accounts.refusal import AccountRefusedError
from parlour.errors import ErrorCode
from parlour.protocol.words import MAX_USER_ID_BYTES
from parlour.storage.model import KINDS, App, Kind


def checked_user_id(user_id: object) -> str:
    """The userId if it is one; 70402 if not. It is never changed: letters that look alike are different users."""
    if not isinstance(user_id, str):
        raise _invalid("userId is not a text")
    try:
        size = len(user_id.encode("utf-8"))
    except UnicodeEncodeError:
        raise _invalid("userId is not valid Unicode") from None
    if size == 0:
        raise _invalid("userId is empty")
    if size > MAX_USER_ID_BYTES:
        raise _invalid(f"userId has {size} bytes; {MAX_USER_ID_BYTES} are allowed")
    if "\0" in user_id:
        raise _invalid("userId holds a NUL character")
    return user_id


def checked_kind(app: App, kind: object) -> Kind:
    """The kind if there is one of that name (70106) and the app takes it (70102)."""
    found = next((known for known in KINDS if known == kind), None)
    if found is None:
        shown = repr(kind)[:40]
        raise AccountRefusedError(
            ErrorCode.ACCOUNT_KIND_UNKNOWN, f"{shown} is no kind of account; there are {', '.join(KINDS)}"
        )
    if found not in app.kinds:
        raise AccountRefusedError(
            ErrorCode.ACCOUNT_KIND_NOT_ALLOWED,
            f"app {app.sdk_app_id} takes no accounts of kind {found}, only {', '.join(app.kinds)}",
        )
    return found


def checked_format(kind: Kind, user_id: object) -> str:
    """The userId if it has the format of its kind: 70103 (phone), 70104 (email), 70105 (tls), else 70402."""
    match kind:
        case "phone":
            return _phone(user_id)
        case "email":
            return _email(user_id)
        case "tls":
            return _tls(user_id)
    return checked_user_id(user_id)


def _phone(user_id: object) -> str:
    import phonenumbers

    number = checked_user_id(user_id)
    refused = AccountRefusedError(
        ErrorCode.PHONE_FORMAT_INVALID, f"{number!r} is no phone number in international form, like +8613800138000"
    )
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        raise refused from None
    # One number has one userId: the form of E.164, without spaces and dashes.
    canonical = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if not phonenumbers.is_valid_number(parsed) or canonical != number:
        raise refused
    return number


def _email(user_id: object) -> str:
    from email_validator import EmailNotValidError, validate_email

    address = checked_user_id(user_id)
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError as error:
        raise AccountRefusedError(
            ErrorCode.EMAIL_FORMAT_INVALID, f"{address!r} is no e-mail address: {str(error).rstrip('.')}"
        ) from None
    return address


def _tls(user_id: object) -> str:
    if not isinstance(user_id, str):
        raise _invalid("userId is not a text")
    if not 1 <= len(user_id) <= MAX_USER_ID_BYTES or not all(" " <= letter <= "~" for letter in user_id):
        raise AccountRefusedError(
            ErrorCode.TLS_ACCOUNT_FORMAT_INVALID,
            f"an account of kind tls has 1 to {MAX_USER_ID_BYTES} printable ASCII characters; this has "
            f"{len(user_id)} characters" + ("" if user_id.isascii() else ", not all of them ASCII"),
        )
    return user_id


def _invalid(detail: str) -> AccountRefusedError:
    return AccountRefusedError(ErrorCode.PARAMETER_INVALID, detail)
