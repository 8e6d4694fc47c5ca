from types import SimpleNamespace

from lstm_lab.runs import keeping
from lstm_lab.runs.datafile import sha256_of
from lstm_lab.runs.setup import Part


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


def test_the_times_of_a_file_that_is_another_by_now_are_not_those_of_the_run(tmp_path):
    file = tmp_path / "my.csv"
    file.write_text("year,a\n1990,1\n1991,2\n")
    read = SimpleNamespace(times=None, series=[""], sha256=sha256_of(str(file)))
    assert keeping.times_in(file, read, ["a", None]).name == "year"
    assert keeping.times_in(file, read, ["a", "year"]) is None
    file.write_text("year,a\n1991,1\n1992,2\n")
    assert keeping.times_in(file, read, ["a", None]) is None
    file.unlink()
    assert keeping.times_in(file, read, ["a", None]) is None
