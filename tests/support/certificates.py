"""Certificates that are made for a test run."""

import os
import subprocess
from pathlib import Path

import pytest


def made_for(host: str, folder: Path) -> Path:
    """A certificate for this host that nobody else vouches for, with its key in the same file."""
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    command += ["-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        reason = "openssl is needed to make a certificate (apt-get install openssl)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both
