import logging
import shlex

import pytest

from lstm_lab import hiding
from lstm_lab.config import ConfigError
from lstm_lab.records import provenance, store
from lstm_lab.studies import database

ODD = [
    "PLANTED",
    "PL@NTED",
    "PL/NTED@/x",
    "PL%40NTED",
    "PL:NTED",
    "PL?NTED#1",
    "PLANTED=&1",
    "PL'NTED\"",
    "123/PLANTED",
]


PASSWORDS = [
    "hydra.sweeper.storage.url=postgresql+psycopg://lab:{}@host:5432/lab",
    "(cannot connect to https://user:{}@host/path)",
    "redis://:{}@host",
]
FORMS = [(form, secret) for form in PASSWORDS for secret in ODD]
FORMS += [("https://{}@host/path", secret) for secret in ODD if not set("/:") & set(secret)]  # a token holds neither


@pytest.mark.parametrize(("form", "secret"), FORMS)
def test_passwords_in_addresses_are_hidden(form, secret):
    for hide in (hiding.hide, hiding.hide_in_word):
        assert hide(form.format(secret)) == form.format("***")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://host/lab?user=a&password=PLANTED&b=c", "postgresql://host/lab?user=a&password=***&b=c"),
        ("host=h sslpassword=PLANTED dbname=d", "host=h sslpassword=*** dbname=d"),
        ("http://host/?token=PLANTED", "http://host/?token=***"),
        ("hydra.job.env_set.DB_PASSWORD='PLANTED X'", "hydra.job.env_set.DB_PASSWORD=***"),
        ("{PGPASSWORD: PLANTED, a: b}", "{PGPASSWORD: ***, a: b}"),
        ('{"api_key": "PLANTED", "a": 1}', '{"api_key": ***, "a": 1}'),
        ("header 'Authorization: Bearer PLANTED.x-y'", "header 'Authorization: Bearer ***'"),
        ("aws_secret_access_key=PLANTED", "aws_secret_access_key=***"),
        ("f(password=PLANTED), then", "f(password=***), then"),
        ("password = 'PL\\'NTED x' dbname=d", "password = *** dbname=d"),
        ("a_password=PL,NTED;1 is wrong", "a_password=*** is wrong"),
        ("X-Api-Key: PLANTED", "X-Api-Key: ***"),
        ("a: 1\n  DB_PASSWORD: PLANTED\nb: 2", "a: 1\n  DB_PASSWORD: ***\nb: 2"),
        ("{PGPASSWORD: PL NTED, a: b}", "{PGPASSWORD: ***, a: b}"),
        ("'Authorization: token PLANTED'", "'Authorization: token ***'"),
    ],
)
def test_secrets_in_keys_that_sound_like_one_are_hidden(text, hidden):
    assert hiding.hide(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://lab@database/lab",
        "http://127.0.0.1:5000/#/experiments/1/runs/2",
        "sqlite:////tmp/a:b@c/runs.db",
        "data.path=/home/me@lab/a:b.csv",
        "optimizer.learning_rate=interval(1e-4, 1e-2)",
        "mail me@example.org: the password must be long",
        "hydra.sweeper.storage.passwort: no such key; allowed: url, heartbeat",
        "tokenizer=bert TOKENIZERS_PARALLELISM=false",
        "x.password: there is no such setting; allowed: a, b",
        "Basic requirements, if token == x",
    ],
)
def test_what_is_no_secret_is_left_as_it_is(text):
    assert hiding.hide(text) == text
    assert hiding.hide_in_word(text) == text


def test_a_secret_of_a_word_ends_with_the_word():
    assert hiding.hide_in_word("a=postgresql://lab:PL ANT@ED x@host/lab") == "a=postgresql://lab:***@host/lab"
    assert hiding.hide_in_word("+db.password=PL, ANTED") == "+db.password=***"
    assert hiding.hide_in_word("a=x://h/d?password=PL ANTED&b=c") == "a=x://h/d?password=***&b=c"


def test_what_was_typed_is_hidden_in_whatever_is_made_of_it(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["train.py", "+x.password='PL, ANTED'", "data.path=x://u:NTED/1@h", "a=y://b:postgres@h"]
    )
    said = "x.password=PL, ANTED: a list; /tmp/x:/u:NTED/1@h: no such file; postgres in postgresql"
    assert hiding.hide(said) == "x.password=***: a list; /tmp/x:/u:***@h: no such file; *** in postgresql"


def test_the_stores_address_is_hidden_however_it_is_written(monkeypatch):
    for uri in ("postgresql://u:PL NTED@h/x", "u:PL NTED@h"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert "NTED" not in hiding.hide(f"MLFLOW_TRACKING_URI={uri}: is wrong")


def test_no_text_takes_long_to_be_searched():
    parts = ["password", "://a:", "http://", ",token", "token='", "token:", "token ", ', "', "token=)", "\\", ")", "@"]
    for part in parts:  # a pattern that goes back and forth would take hours
        text = "{token" + part * 20_000
        assert len(hiding.hide_in_word(text)) <= len(text)


def test_logs_and_what_hydra_prints_hold_no_secret(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["train.py", "+x.password=PL ANTED"])
    make = logging.getLogRecordFactory()
    monkeypatch.setattr(logging, "_logRecordFactory", make)
    hiding.hide_in_logs()
    about = ("name", logging.INFO, "path", 1)
    made = logging.getLogRecordFactory()(*about, "of %s: %s", ("x://a:PLANTED@h", "PL ANTED"), None)
    assert made.getMessage() == "of x://a:***@h: ***"
    assert logging.getLogRecordFactory()(*about, "%d of", ("x",), None).args == ("x",)
    with hiding.hide_in_output():
        print("url: x://a:PLANTED@h\n- +x.password=PL ANTED")
    assert capsys.readouterr().out == "url: x://a:***@h\n- +x.password=***\n"


def test_what_an_address_was_taken_apart_into_is_hidden(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:x:first@second%2Fpart@host")
    monkeypatch.setenv("PGPASSWORD", "of the environment")
    monkeypatch.setenv("A_TOKEN_FILE", "/nowhere")
    said = "no host 'second%2Fpart@host', port 'first', 'x', decoded second/part; of the environment, /nowhere"
    assert hiding.hide_known(said) == "no host '***@host', port '***', '***', decoded ***/***; ***, /nowhere"


def test_nothing_recorded_or_said_holds_a_password(monkeypatch):
    url = "postgresql+psycopg://lab:PL@NTED/PLANTED@host/lab?sslpassword=PLANTED"
    monkeypatch.setattr("sys.argv", ["src/train.py", "-m", f"hydra.sweeper.storage.url={url}", "model=gru"])
    monkeypatch.setenv("XLA_FLAGS", f"--x={url}")
    expected = "hydra.sweeper.storage.url=postgresql+psycopg://lab:***@host/lab?sslpassword=***"
    assert shlex.split(provenance.command_line())[2:] == ["-m", expected, "model=gru"]
    assert "NTED" not in str(provenance.current().facts)
    assert "NTED" not in str(ConfigError(f"{url}: is wrong"))
    assert "NTED" not in store.first_line(ValueError("cannot resolve NTED/PLANTED@host"))


@pytest.mark.parametrize(
    "url", ["nothing://lab:PLANTED/@1@host/lab", "x://a:PLANTED@", "postgresql+psycopg://a:PL@NTED@b"]
)
def test_a_database_that_cannot_be_opened_is_told_without_its_password(url, monkeypatch, tmp_path):
    monkeypatch.setattr(database, "ROOT", tmp_path)
    with pytest.raises(database.StudyError) as refused:
        database.open_storage(url, 10, 40)
    assert "NTED" not in str(refused.value)


@pytest.mark.parametrize(
    "uri", ["http://user:PLANTED@127.0.0.1:1", "x://a:PLANTED@b", "http://user:PL@NTED/x@127.0.0.1:1"]
)
def test_a_store_that_cannot_be_had_is_told_without_its_password(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(store.StoreError) as refused:
        store.check_store()
    assert "NTED" not in str(refused.value)
    assert "PL" not in str(refused.value)


def test_a_page_is_linked_without_user_and_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:PLANTED@host:5000/base/")
    assert store.address("#/x") == "https://host:5000/base/#/x"
