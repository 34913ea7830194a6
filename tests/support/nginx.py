"""A real nginx with the shipped configuration, on loopback ports and with a certificate made for the test."""

import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.process import free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
_MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  include {folder}/site.conf;
}}
"""


def nginx_or_skip() -> str:
    """nginx's path. Without it the test is skipped, in CI it fails."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        reason = "nginx is needed for the tests of deploy/nginx.conf (apt-get install nginx)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    assert found is not None
    return found


@dataclass(frozen=True)
class Nginx:
    plain_port: int
    tls_port: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"


@contextlib.contextmanager
def running_nginx(folder: Path, upstream: int) -> Iterator[Nginx]:
    """The shipped file with other ports, files and upstream; everything else is as it is shipped."""
    binary = nginx_or_skip()
    folder.mkdir()
    _make_certificate(folder)
    nginx = Nginx(free_port(), free_port(), ssl.create_default_context(cafile=str(folder / "fullchain.pem")))
    text = SHIPPED.read_text(encoding="utf-8")
    for shipped, ours in {
        "listen 80;": f"listen 127.0.0.1:{nginx.plain_port};",
        "listen 443 ssl;": f"listen 127.0.0.1:{nginx.tls_port} ssl;",
        "/etc/ssl/portal.example": str(folder),
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{upstream};",
    }.items():
        assert shipped in text
        text = text.replace(shipped, ours)
    (folder / "site.conf").write_text(text, encoding="utf-8")
    (folder / "main.conf").write_text(_MAIN.format(folder=folder), encoding="utf-8")
    command = [binary, "-p", str(folder), "-c", str(folder / "main.conf"), "-e", str(folder / "error.log")]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert tried.returncode == 0, tried.stderr
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_open(nginx.tls_port, process)
        yield nginx
    finally:
        process.terminate()
        process.wait(10)


def _until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, "nginx has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, "nginx does not listen"
        time.sleep(0.02)


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
