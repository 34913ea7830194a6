"""A real nginx with the shipped configuration, on loopback ports and with a certificate made for the test."""

import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.needs import needed_program
from tests.support.ports import free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
_MAIN = """
daemon off;
{user}
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
    return needed_program("nginx", also_in="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Nginx:
    plain_port: int
    tls_port: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.tls_port}"


@contextlib.contextmanager
def running_nginx(folder: Path, upstream: int, *, prefix: str | None = None) -> Iterator[Nginx]:
    """The shipped file with other ports, files and upstream; everything else is as it is shipped.

    `prefix`: a path, such as `/hr/`, below which everything is served as well.
    """
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
    if prefix is not None:
        below = f"location ^~ {prefix} {{ proxy_pass http://insignia_worker/; proxy_buffering off; }}"
        text = text.replace("location / {", below + "\n    location / {")
    with _running(binary, folder, text, nginx.tls_port):
        yield nginx


_PLAIN = """
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
server {{
  listen 127.0.0.1:{port};
  location / {{
    proxy_pass http://127.0.0.1:{upstream};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_read_timeout {idle_seconds}s;
  }}
}}
"""


@contextlib.contextmanager
def plain_nginx(folder: Path, upstream: int, *, idle_seconds: int) -> Iterator[str]:
    """A proxy without TLS that cuts connections on which the server says nothing for so long; its URL."""
    binary, port = nginx_or_skip(), free_port()
    folder.mkdir()
    with _running(binary, folder, _PLAIN.format(port=port, upstream=upstream, idle_seconds=idle_seconds), port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def proxy_with(folder: Path, locations: str) -> Iterator[str]:
    """A proxy without TLS that has these locations; its URL."""
    binary, port = nginx_or_skip(), free_port()
    folder.mkdir()
    with _running(binary, folder, f"server {{ listen 127.0.0.1:{port}; {locations} }}", port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(binary: str, folder: Path, site: str, port: int) -> Iterator[None]:
    (folder / "site.conf").write_text(site, encoding="utf-8")
    (folder / "main.conf").write_text(
        _MAIN.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""), encoding="utf-8"
    )
    command = [binary, "-p", str(folder), "-c", str(folder / "main.conf"), "-e", str(folder / "error.log")]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=60)
    assert tried.returncode == 0, tried.stderr
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_open(port, process)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
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
