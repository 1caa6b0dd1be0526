"""An OCSP responder on loopback that calls every certificate of one CA good."""

from __future__ import annotations

import datetime
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from .pki import Authority, Credential


class SigningAuthority(Authority):
    """A CA that also signs what is no certificate."""

    @property
    def issuer(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.root.read_bytes())

    def sign(self, builder: ocsp.OCSPResponseBuilder) -> ocsp.OCSPResponse:
        return builder.sign(self._key, hashes.SHA256())


class Responder:
    """Serves one signed response, always the same bytes, for a certificate of the authority."""

    def __init__(self, authority: SigningAuthority, credential: Credential) -> None:
        self.asked = 0
        body = _response(authority, credential)
        responder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                responder.asked += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: what httpd gets of it is what a test looks at."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Responder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _response(authority: SigningAuthority, credential: Credential) -> bytes:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=credential.x509,
        issuer=authority.issuer,
        algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=now - datetime.timedelta(hours=1),
        next_update=now + datetime.timedelta(days=1),
        revocation_time=None,
        revocation_reason=None,
    )
    by_issuer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, authority.issuer)
    return authority.sign(by_issuer).public_bytes(serialization.Encoding.DER)
