import numpy as np

from helpers import csv_settings
from lstm_lab.runs import keeping
from lstm_lab.runs.setup import Part
from lstm_lab.tables import samples


def test_what_is_logged_of_a_trial_is_its_own_whatever_is_in_its_folder(tmp_path):
    own = tmp_path / "sweep/0"
    (own / "figures").mkdir(parents=True)
    (own / "figures/fitted_curve.png").write_text("another trial's")
    (own / "cost.npy").write_text("another trial's")
    part = Part(name="trial 0", tags={}, folder=own)
    with keeping.output_folder(part) as folder:
        assert not list(folder.iterdir())
        (folder / "cost.npy").write_text("its own")
    assert (own / "cost.npy").read_text() == "its own"


def test_a_picture_that_cannot_be_drawn_is_told_and_ends_nothing(tmp_path, capsys):
    def fail(whole):
        whole.write_bytes(b"half a picture")
        raise ValueError("no such font\nand more")

    assert not keeping.draw(tmp_path / "fit.png", "fit.png", fail)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "fit.png: is not drawn (no such font)\n"
    assert keeping.draw(tmp_path / "fit.png", "fit.png", lambda whole: whole.write_bytes(b"whole"))
    assert (tmp_path / "fit.png").read_bytes() == b"whole"


def samples_of(file, **settings):
    settings = csv_settings(**{"input": "a", "horizon": 1} | settings)
    return samples.load(file, samples.wanted_of(settings, ["a"]))


def test_the_times_of_a_file_that_is_another_by_now_are_not_those_of_the_run(tmp_path):
    file = tmp_path / "my.csv"
    file.write_text("year,a\n1990,1\n1991,2\n")
    read = samples_of(file)
    assert keeping.times_in(file, read, ["a", None]).name == "year"
    assert keeping.times_in(file, read, ["a", "year"]) is None
    file.write_text("year,a\n1991,1\n1992,2\n")
    assert keeping.times_in(file, read, ["a", None]) is None
    file.unlink()
    assert keeping.times_in(file, read, ["a", None]) is None


def test_the_time_stamps_that_are_named_are_the_times_and_of_many_series_none_is_looked_for(tmp_path):
    file = tmp_path / "my.csv"
    file.write_text("year,shop,at,a\n1990,x,2020-01-31,1\n1991,x,2020-02-29,2\n1992,y,2020-03-31,3\n")
    found = keeping.times_in(file, samples_of(file, time="at", series="shop"), ["a"])
    assert found.name == "at"
    assert found.at(np.arange(4)).astype(str).tolist() == ["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"]
    assert keeping.times_in(file, samples_of(file, series="shop"), ["a"]) is None
