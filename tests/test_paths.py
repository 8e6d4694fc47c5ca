"""Where a user's file is looked for, and what a file made from a text of theirs is called."""

import errno
import shutil

import pytest

from lstm_lab.paths import expanded, locate, short_name, whole_file


def test_a_relative_path_is_looked_for_here_and_then_at_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = "conf/data/series/co2.csv"
    assert locate({"data": {"path": shipped}})["data"]["path"] == shipped
    (tmp_path / "my.csv").write_text("a,b\n1,2\n")
    assert locate({"data": {"path": "my.csv"}})["data"]["path"] == str(tmp_path / "my.csv")
    (tmp_path / "conf/data/series").mkdir(parents=True)
    shutil.copy(tmp_path / "my.csv", tmp_path / shipped)
    assert locate({"data": {"path": shipped}})["data"]["path"] == str(tmp_path / shipped)
    assert locate({"data": {"path": "nowhere.csv"}})["data"]["path"] == str(tmp_path / "nowhere.csv")
    assert locate({"data": {"curve": "sine_to_cosine"}}) == {"data": {"curve": "sine_to_cosine"}}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("series", "series-1a2b"),
        ("../../etc/pass wd", "_.._etc_pass_wd-1a2b"),
        (".hidden", "hidden-1a2b"),
        ("--option", "option-1a2b"),
        ("T (degC)\n\0%", "T_degC_-1a2b"),
        ("\udcff", "_-1a2b"),
        ("..", "1a2b"),
        ("温度=é,1", "温度=é,1-1a2b"),
        ("a" * 200, "a" * 95 + "-1a2b"),
        ("温" * 90, "温" * 31 + "-1a2b"),
    ],
)
def test_a_users_text_makes_a_name_that_is_short_in_bytes_and_no_path(text, name):
    assert short_name(text, "1a2b") == name
    assert len(name.encode()) <= 100


@pytest.mark.parametrize("ident", ["../../x", "..", ".", "", "/x", "\0", "a\nb", "x" * 300, "温" * 90, "-rf"])
@pytest.mark.parametrize("text", ["../../x", "..", "", "/x", "\0", "a\nb", "x" * 300])
def test_no_name_and_no_id_leads_out_of_a_folder(text, ident, tmp_path):
    place = tmp_path / short_name(text, ident)
    place.mkdir()
    assert place.resolve().parent == tmp_path
    assert place.name.isprintable()


def test_a_home_folder_is_meant_where_no_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def found(path):
        return locate({"data": {"path": path}})["data"]["path"]

    (tmp_path / "home").mkdir()
    (tmp_path / "home/x.csv").touch()
    assert found("~/x.csv") == str(tmp_path / "home/x.csv")
    (tmp_path / "~x.csv").touch()
    assert found("~x.csv") == str(tmp_path / "~x.csv")
    assert found("~no-such-user/x.csv") == str(tmp_path / "~no-such-user/x.csv")
    assert str(expanded("~no-such-user/x.csv")) == "~no-such-user/x.csv"
    for name in ("a=b (1), [c].csv", 'it\'s "q"\n{}.csv', "-x\\$y%.csv"):
        assert found(name) == str(tmp_path / name)
        (tmp_path / "home" / name).touch()
        assert found(f"~/{name}") == str(tmp_path / "home" / name)
    for odd in ("", "a\0b", "a\ud800b"):  # the check of the config refuses them
        assert found(odd) in (odd, f"{tmp_path}/{odd}")
    assert found("x" * 300) == str(tmp_path / ("x" * 300))


def test_a_file_is_whole_or_not_there_and_is_named_when_the_disk_is_full(tmp_path):
    page = tmp_path / "page.html"

    def fill(whole):
        whole.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as raised, whole_file(page) as whole:
        fill(whole)
    assert raised.value.filename == str(page)
    assert not list(tmp_path.iterdir())
    with whole_file(page) as whole:
        whole.write_text("whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page.html", "whole")]
