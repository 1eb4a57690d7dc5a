# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority, and the certificates that it signs, in a folder that goes with the test."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = datetime.timedelta(hours=1)


@dataclass
class Authority:
    """Its certificate is called ca.crt."""

    folder: Path

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"payaid {self.folder.name}")])
        own = self._unsigned(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self._write("ca.crt", own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    @property
    def certificate(self) -> str:
        return str(self.folder / "ca.crt")

    def issue(self, address: str, lifetime: datetime.timedelta = LIFETIME) -> tuple[str, str]:
        """Return the files of a certificate for an address, and of its key; a lifetime below 0 has ended."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        signed = (
            self._unsigned(subject, key.public_key(), lifetime)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return (
            self._write(f"{address}.crt", signed.public_bytes(serialization.Encoding.PEM)),
            self._write(
                f"{address}.key",
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
                0o600,
            ),
        )

    def _unsigned(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta = LIFETIME
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LIFETIME)
            .not_valid_after(now + lifetime)
        )

    def _write(self, name: str, content: bytes, mode: int = 0o644) -> str:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        shutil.chown(path, "postgres", "postgres")
        return str(path)
