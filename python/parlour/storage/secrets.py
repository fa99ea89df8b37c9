"""Secrets at rest: sealed with AES-256-GCM under a master key that is kept outside the database.

A sealed text is ``sealed:1:<key id>:<base64 of nonce and ciphertext>``. It is bound to the place where it is kept, so
that a sealed key of one app, copied into the row of another, does not open.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from parlour.storage.errors import MasterKeyError, SealedError, UnreadableRowError
from parlour.storage.files import name_anew

PREFIX = "sealed:"
FORMAT = "1"
KEY_BYTES = 32
KEY_FILE = "master.key"
_NONCE_BYTES = 12


Stamp = tuple[int, int]
"""Which file it is, and when it was written."""


class MasterKey:
    """The keys that open what is sealed; the first one seals. With a file, a key added there later is found."""

    def __init__(self, keys: list[bytes], file: Path | None = None, *, seen: Stamp | None = None) -> None:
        if any(len(key) != KEY_BYTES for key in keys) or not (keys or file):
            raise MasterKeyError(f"A master key has {KEY_BYTES} bytes, written as {2 * KEY_BYTES} hex digits.")
        self.file = file
        self._use(keys)
        self._seen = seen

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Keys as a setting or the environment gives them: hex, separated by commas, the one that seals first."""
        return cls(_parse(text, "The setting master_key"))

    @classmethod
    def of_file(cls, file: Path) -> Self:
        """The keys of a file, one a line, the one that seals first; made with a fresh key if it is missing.

        Raises ``MasterKeyError`` when others than its owner may read it.
        """
        found = cls.there(file)
        found.make()
        return found

    @classmethod
    def there(cls, file: Path) -> Self:
        """The keys of a file. If it is missing there are none, until ``make`` or until somebody puts it back."""
        stamp = _stamp(file)  # before it is read: what is written meanwhile is looked at again
        return cls([] if stamp is None else _read(file), file, seen=stamp)

    def make(self) -> None:
        """Make the file with a fresh key, if it is missing."""
        if self.keys or self.file is None:
            return
        write_key_file(self.file, [fresh_key()], keep=True)
        self._seen = _stamp(self.file)
        self._use(_read(self.file))

    @property
    def id(self) -> str:
        """A short name of the key that seals; it tells nothing about the key. ``MasterKeyError`` if there is none."""
        if not self.keys:
            raise MasterKeyError(f"The master key file {self.file} is missing: put it back. What it sealed needs it.")
        return _id(self.keys[0])

    def seal(self, text: str, bound_to: str) -> str:
        """The sealed form of a text, to be kept at ``bound_to``."""
        self._look_again()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        box = nonce + self._boxes[self.id].encrypt(nonce, text.encode(), _context(self.id, bound_to))
        return f"{PREFIX}{FORMAT}:{self.id}:{base64.b64encode(box).decode('ascii')}"

    def open(self, sealed: str, bound_to: str) -> str:
        """The text that was sealed.

        Raises ``SealedError`` when no key of ours opens it, and ``UnreadableRowError`` when it is no sealed text.
        """
        parts = sealed.split(":") if sealed.startswith(PREFIX) else []
        if len(parts) != 4 or parts[1] != FORMAT:
            raise UnreadableRowError(f"What is stored as the secret of {bound_to} has no form that is known.")
        _, _, key_id, packed = parts
        try:
            box = base64.b64decode(packed, validate=True)
            if base64.b64encode(box).decode("ascii") != packed:
                raise ValueError("bits that stand for nothing are set")
        except ValueError:
            raise UnreadableRowError(f"What is stored as the secret of {bound_to} is damaged.") from None
        if key_id not in self._boxes:
            self._look_again()
        if key_id not in self._boxes:
            raise SealedError(
                f"The secret of {bound_to} was sealed with master key {key_id}; "
                f"this server has {', '.join(self._boxes) or f'none: {self.file} is missing'}."
            )
        try:
            return (
                self._boxes[key_id].decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], _context(key_id, bound_to)).decode()
            )
        except (InvalidTag, ValueError):
            raise SealedError(f"The secret of {bound_to} does not open with master key {key_id}.") from None

    def _use(self, keys: list[bytes]) -> None:
        self.keys = keys
        self._boxes = {_id(key): AESGCM(key) for key in keys}

    def _look_again(self) -> None:
        """A rotation by another process leaves its new key in the file; what cannot be read changes nothing."""
        stamp = _stamp(self.file)
        if self.file is None or stamp is None or stamp == self._seen:
            return
        try:
            self._use(_read(self.file))
        except MasterKeyError:
            return
        self._seen = stamp


def is_sealed(text: str) -> bool:
    """Whether a stored text is sealed, or is from before secrets were."""
    return text.startswith(PREFIX)


def fresh_key() -> bytes:
    """A new master key."""
    return secrets.token_bytes(KEY_BYTES)


def write_key_file(file: Path, keys: list[bytes], *, keep: bool = False) -> None:
    """Replace the file's keys at once: whoever reads it sees the old keys or the new ones. ``keep``: only make it."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write("".join(f"{key.hex()}\n" for key in keys))
            out.flush()
            os.fsync(out.fileno())
        if keep:
            with contextlib.suppress(FileExistsError):  # two that start together must end with one key
                name_anew(draft, file)
        else:
            os.replace(draft, file)
    except OSError as error:
        raise MasterKeyError(f"The master key file {file} cannot be written: {error.strerror}.") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)  # it holds keys


def _read(file: Path) -> list[bytes]:
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise MasterKeyError(f"The master key file {file} holds no hex digits.") from None
    except OSError as error:
        raise MasterKeyError(f"The master key file {file} cannot be read: {error.strerror}.") from None
    if stat.S_IMODE(mode) & 0o077:
        raise MasterKeyError(
            f"The master key file {file} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 {file}"
        )
    return _parse(",".join(line for line in text.splitlines() if line.strip()), f"The master key file {file}")


def _parse(text: str, where: str) -> list[bytes]:
    keys = []
    for part in text.split(","):
        try:
            key = bytes.fromhex(part)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise MasterKeyError(
                f"{where} has to hold {2 * KEY_BYTES} hex digits a key; `openssl rand -hex 32` makes one."
            )
        keys.append(key)
    return keys


def _stamp(file: Path | None) -> Stamp | None:
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _id(key: bytes) -> str:
    return hashlib.sha256(b"parlour master key\0" + key).hexdigest()[:12]


def _context(key_id: str, bound_to: str) -> bytes:
    return f"parlour:{FORMAT}:{key_id}:{bound_to}".encode()
