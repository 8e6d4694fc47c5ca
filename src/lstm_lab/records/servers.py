"""Whether a tracking server answers: asked as MLflow's own client asks, by whatever settings of MLflow's there are."""

import re
import urllib.parse
import warnings
from typing import Any

from lstm_lab.hiding import hide_known
from lstm_lab.records.faults import StoreError

ASKED = "/api/2.0/mlflow/experiments/search?max_results=1"
FILE_SERVERS = ("http", "https", "mlflow-artifacts")  # addresses of files that MLflow asks a server for
SECONDS = 10  # for an answer
PASSING = (408, 429, 500, 502, 503, 504)  # answers that MLflow's client tries again after
WAYS = {
    401: "refuses this user or password: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN, say who asks",
    403: "does not allow this user to read experiments: ask for the permission, or name another user in "
    "MLFLOW_TRACKING_USERNAME",
    404: "has no MLflow at this address: the path after the host's name may be missing or wrong",
    407: "cannot be reached, since the proxy asks for a user and password: HTTPS_PROXY and HTTP_PROXY say them",
}
START = "start one with `mlflow server --host 127.0.0.1`, or unset the variable to use mlflow.db"
CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH names the file of the authority that signed it (PEM)"
# What stands in what requests and OpenSSL say of a connection that did not come about, and the way on
BROKEN = {
    r"Hostname mismatch|doesn't match|IP address mismatch": (
        "its certificate is for another name: MLFLOW_TRACKING_URI must have the name that is in it"
    ),
    r"certificate has expired|not yet valid": "its certificate is out of date: its owner must renew it",
    r"Could not find the TLS (cert|key)|\[SSL\] PEM lib|KEY_VALUES_MISMATCH|CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|"
    r"bad certificate|SSLEOFError": (
        "the client's certificate is missing, refused or unreadable: MLFLOW_TRACKING_CLIENT_CERT_PATH names its file "
        "(PEM, with its key)"
    ),
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed": f"its certificate is not known here: {CERTIFICATES}",
    r"invalid path|CA cert|TLS CA|X509|NO_CERTIFICATE_OR_CRL": (
        "the certificates cannot be read: MLFLOW_TRACKING_SERVER_CERT_PATH, or else REQUESTS_CA_BUNDLE, must name a "
        "file of them (PEM)"
    ),
    r"WRONG_VERSION_NUMBER|record layer failure": "it speaks http and not https there, or none of both",
    r"ignore_tls_verification|server_cert_path": (
        "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH exclude each other: unset one of them"
    ),
    r"ProxyError|Unable to connect to proxy": "the proxy does not answer: mend HTTPS_PROXY and HTTP_PROXY, or name the "
    "host in NO_PROXY",
}


def check_server(uri: str) -> None:
    """Raises StoreError unless an MLflow server answers there and lets this user in; a busy one may be waited for."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    allow_insecure()
    try:
        options: dict[str, Any] = {"max_retries": 0, "timeout": SECONDS, "raise_on_status": False}
        answer = http_request(get_default_host_creds(uri), ASKED, "GET", **options)
    except (MlflowException, OSError, ValueError) as error:
        raise StoreError(f"MLFLOW_TRACKING_URI={uri}: {broken(error)}") from None
    if answer.status_code in PASSING:
        return
    if answer.status_code != 200:
        way = WAYS.get(answer.status_code, f"answers {answer.status_code}, as no MLflow server does")
        raise StoreError(f"MLFLOW_TRACKING_URI={uri}: what answers there {way}")
    if not is_mlflows(answer):
        raise StoreError(
            f"MLFLOW_TRACKING_URI={uri}: what answers there is no MLflow server, but another program or page"
        )


def may_ask(place: str, uri: str) -> bool:
    """Whether files at the address `place`, which a store at `uri` names, may be asked for or sent there.

    MLflow shows this user's password or token to whatever server of files it is sent to: then only the store's own may.
    """
    from mlflow.utils.credentials import get_default_host_creds

    try:
        if urllib.parse.urlparse(place).scheme not in FILE_SERVERS or origin(place, uri) in ("", origin(uri, uri)):
            return True
    except ValueError:  # no address at all
        return False
    shown = get_default_host_creds(place)
    return not (shown.password or shown.token or shown.auth or shown.aws_sigv4 or shown.client_cert_path)


def origin(place: str, uri: str) -> str:
    """Scheme, host and port of a server of files, which may be those of the store at `uri`; '' if it names none."""
    parsed = urllib.parse.urlparse(place)
    scheme = urllib.parse.urlparse(uri).scheme if parsed.scheme == FILE_SERVERS[-1] else parsed.scheme
    port = parsed.port or {"http": 80, "https": 443}.get(scheme)
    return f"{scheme}://{parsed.hostname}:{port}" if parsed.netloc else ""


def is_mlflows(answer: Any) -> bool:
    """Whether a server's answer is one to what was asked: experiments, or nothing where there are none."""
    try:
        said = answer.json()
    except ValueError:
        return False
    return isinstance(said, dict) and set(said) <= {"experiments", "next_page_token"}


def broken(error: Exception) -> str:
    """Why no connection came about, in a line."""
    for pattern, way in BROKEN.items():
        if re.search(pattern, str(error)):
            return way
    said = str(error).partition(" failed with exception ")[2] or str(error)
    reason = re.search(r"Caused by \w+\([\"']?(?:.*?: )?(.+?)[\"']?\)*$", said)
    return f"no tracking server answers there ({hide_known(reason[1] if reason else said)}); {START}"


def allow_insecure() -> None:
    """Hushes the warning at every request of a user who has asked for no check of certificates."""
    from mlflow.environment_variables import MLFLOW_TRACKING_INSECURE_TLS
    from urllib3.exceptions import InsecureRequestWarning

    if MLFLOW_TRACKING_INSECURE_TLS.get():
        warnings.simplefilter("ignore", InsecureRequestWarning)
