"""Where a user's file is looked for."""

import shutil

from lstm_lab.paths import locate


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
