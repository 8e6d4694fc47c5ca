"""A tracking server as MLflow's settings reach it: small ones on loopback, with certificates made here."""

import base64
import contextlib
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lstm_lab.hiding import hide
from lstm_lab.records import store

BASIC = "Basic " + base64.b64encode(b"user:S3cretWord").decode()
BEARER = "Bearer T0kenT0ken"
SETTINGS = ("USERNAME", "PASSWORD", "TOKEN", "INSECURE_TLS", "SERVER_CERT_PATH", "CLIENT_CERT_PATH", "AUTH")
UNKNOWN = "certificate is not known here: MLFLOW_TRACKING_SERVER_CERT_PATH names"
UNREADABLE = "the certificates cannot be read: MLFLOW_TRACKING_SERVER_CERT_PATH"
NO_CLIENT = "certificate is missing, refused or unreadable: MLFLOW_TRACKING_CLIENT_CERT_PATH"
REFUSED = "refuses this user or password: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"


class Answer(http.server.BaseHTTPRequestHandler):
    """Experiments for who may see them; the path says what is answered otherwise."""

    def do_GET(self):
        code, text = 200, json.dumps({"experiments": []})
        if self.server.allowed and self.headers.get("Authorization") not in self.server.allowed:
            code, text = 401, "who are you?"
        elif self.path.startswith("/page"):
            text = "<html>welcome</html>"
        elif self.path[1:4].isdigit():
            code = int(self.path[1:4])
        elif not self.path.startswith("/api/2.0/mlflow/"):
            code = 404
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words):
        """Says nothing."""


@contextlib.contextmanager
def serving(context=None, allowed=()):
    """Such a server; its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.allowed, server.handle_error = allowed, lambda *asked: None
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def certificate(folder, name, host=None, issuer=None):
    """A certificate for a host, signed by an authority or by itself; its file ends with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder(issuer.made.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False)
    made = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    public = made.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.pem").write_bytes(public + private)
    return SimpleNamespace(made=made, key=key, file=str(folder / f"{name}.pem"))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The addresses of one server of each kind, by what it is; and the files of the certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "no.pem").write_text("nothing\n")
    authority = certificate(folder, "authority")
    here = certificate(folder, "here", x509.IPAddress(ipaddress.ip_address("127.0.0.1")), authority)
    other = certificate(folder, "other", x509.DNSName("other.example"), authority)
    client = certificate(folder, "client", None, authority)

    def speaking(server, clients=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.file)
        if clients:
            context.load_verify_locations(authority.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    with contextlib.ExitStack() as stack:
        started = {
            "plain": serving(),
            "tls": serving(speaking(here)),
            "named": serving(speaking(other)),
            "clients": serving(speaking(here, clients=True)),
            "users": serving(allowed=(BASIC, BEARER)),
        }
        found = {name: stack.enter_context(server) for name, server in started.items()}
        secret = found["users"].replace("://", "://user:{}@")
        found |= {
            "secret": secret.format("S3cretWord"),
            "false": secret.format("Wr0ngWord"),
            "none": "http://127.0.0.1:1",
        }
        found |= {"crossed": found["plain"].replace("http:", "https:"), "far": "http://tracking.invalid:5000"}
        yield found | {"CA": authority.file, "CLIENT": client.file, "NO": str(folder / "no.pem")}


def check(places, where, settings, monkeypatch):
    """`check_store` on one of the places with settings such as `INSECURE_TLS=true`; what it says."""
    for name in SETTINGS:
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    place, _, path = where.partition("/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{places[place]}/{path}" if path else places[place])
    for setting in settings.split():
        name, _, value = setting.partition("=")
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}" if name in SETTINGS else name, places.get(value, value))
    try:
        store.check_store()
    except store.StoreError as error:
        return str(error)
    return "well"


@pytest.mark.parametrize(
    ("where", "settings"),
    [
        ("plain", ""),
        ("plain/", ""),
        ("plain/503", ""),  # it may be busy: MLflow's client tries again
        ("users", "USERNAME=user PASSWORD=S3cretWord"),
        ("users", "TOKEN=T0kenT0ken"),
        ("secret", ""),
        ("tls", "SERVER_CERT_PATH=CA"),
        ("tls", "REQUESTS_CA_BUNDLE=CA"),
        ("tls", "INSECURE_TLS=true"),
        ("named", "INSECURE_TLS=true"),
        ("clients", "SERVER_CERT_PATH=CA CLIENT_CERT_PATH=CLIENT"),
        ("plain", "HTTP_PROXY=none NO_PROXY=127.0.0.1"),
    ],
)
def test_a_server_is_reached_by_mlflows_settings(where, settings, places, monkeypatch):
    assert check(places, where, settings, monkeypatch) == "well"


@pytest.mark.parametrize(
    ("where", "settings", "said"),
    [
        ("users", "", REFUSED),
        ("users", "USERNAME=user", REFUSED),
        ("users", "USERNAME=user PASSWORD=Wr0ngWord", REFUSED),
        ("users", "TOKEN=Wr0ngWord", REFUSED),
        ("false", "", REFUSED),
        ("plain/403", "", "does not allow this user"),
        ("plain/elsewhere", "", "has no MLflow at this address: the path"),
        ("plain/page", "", "is no MLflow server"),
        ("plain/418", "", "answers 418"),
        ("tls", "", UNKNOWN),
        ("tls", "SERVER_CERT_PATH=NO", UNREADABLE),
        ("tls", "SERVER_CERT_PATH=/nowhere.pem", UNREADABLE),
        ("tls", "REQUESTS_CA_BUNDLE=/nowhere.pem", UNREADABLE),
        ("tls", "SERVER_CERT_PATH=CA INSECURE_TLS=true", "exclude each other"),
        ("named", "SERVER_CERT_PATH=CA", "its certificate is for another name"),
        ("clients", "SERVER_CERT_PATH=CA CLIENT_CERT_PATH=NO", NO_CLIENT),
        ("clients", "SERVER_CERT_PATH=CA CLIENT_CERT_PATH=/nowhere.pem", NO_CLIENT),
        ("crossed", "", "it speaks http and not https"),
        ("none", "", "no tracking server answers there (Failed to establish a new connection"),
        ("far", "HTTP_PROXY=none", "the proxy does not answer: mend HTTPS_PROXY"),
    ],
)
def test_what_keeps_a_server_away_is_one_line_without_a_secret(where, settings, said, places, monkeypatch):
    found = hide(check(places, where, settings, monkeypatch))
    assert said in found
    assert "\n" not in found
    assert "Wr0ng" not in found
