"""Ed25519 signatures and HPKE sealing, with the private keys kept in files of their owner."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from allegro.core.base.errors import ConfigError, EdgeError

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether this is the key's Ed25519 signature (RFC 8032) of the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class SigningKey:
    """An Ed25519 key that signs. The private part is not readable from outside."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def private_bytes(self) -> bytes:
        """Return the 32 secret bytes: only for the one print of a recovery key."""
        return self._key.private_bytes_raw()

    @classmethod
    def make(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, raw: bytes) -> SigningKey:
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def save(self, path: Path, passphrase: bytes | None = None) -> None:
        _save(path, self._key, passphrase)


def load_signing_key(path: Path, passphrase: Callable[[], bytes] | None = None) -> SigningKey:
    """Read a PEM key. `passphrase` is asked only for an encrypted one. Raises ConfigError."""
    key = _load(path, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError((f"{path.name}: not an Ed25519 private key",))
    return SigningKey(key)


class SealingKey:
    """The house's X25519 key: opens what lanes sealed."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def make(cls) -> SealingKey:
        return cls(X25519PrivateKey.generate())

    def save(self, path: Path) -> None:
        _save(path, self._key, None)

    def open(self, fleet: str, event_id: str, sealed: bytes) -> bytes:
        """Return the words of an event. Raises EdgeError when they were not sealed for us."""
        try:
            return _SUITE.decrypt(sealed, self._key, info=_info(fleet, event_id))
        except (InvalidTag, ValueError) as error:
            raise EdgeError(
                "cannot open: sealed for another key or event", transient=False
            ) from error


def load_sealing_key(path: Path) -> SealingKey:
    """Read the sealing key. Raises ConfigError."""
    key = _load(path, None)
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError((f"{path.name}: not an X25519 private key",))
    return SealingKey(key)


class HpkeSealer:
    """The Sealer port: HPKE (RFC 9180), single shot, to the house's sealing key."""

    def __init__(self, fleet: str, public_key: bytes) -> None:
        self._fleet = fleet
        self._key = X25519PublicKey.from_public_bytes(public_key)

    def seal(self, event_id: str, words: bytes) -> bytes:
        return _SUITE.encrypt(words, self._key, info=_info(self._fleet, event_id))


def _info(fleet: str, event_id: str) -> bytes:
    return f"allegro event\0{fleet}\0{event_id}".encode()


def _save(path: Path, key: Ed25519PrivateKey | X25519PrivateKey, passphrase: bytes | None) -> None:
    algorithm: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, algorithm
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())  # a key that power loss takes is a fleet to be paired anew


_WRONG = (
    "with this passphrase: try it again, or give the right one in ALLEGRO_PASSPHRASE_FILE;"
    " if it is lost, `allegro keys rotate sovereign --recovery` makes a new key"
)


def _load(path: Path, passphrase: Callable[[], bytes] | None) -> object:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError((f"{path.name}: {error.strerror}",)) from error
    secret = passphrase() if b"ENCRYPTED" in pem and passphrase is not None else None
    try:
        return serialization.load_pem_private_key(pem, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = _WRONG if secret is not None else "as a private key"
        raise ConfigError((f"{path.name}: cannot be read {hint}",)) from error
