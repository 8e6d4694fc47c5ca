"""Which runs stay although they were deleted, or failed long ago, and what is said of it."""

import pytest

from lstm_lab.tidying import citing


def test_the_pages_cite_runs_by_eight_digits_or_more_and_studies_by_their_commands(house):
    (house.root / "PAPERS.md").write_text(
        "runs [1234abcd](x/1234abcd/y), `89abcdef0123`, ffffffff-0; not 1234abc, x1234abce, abcdefabG, 1234ABCD;\n"
        "`python src/train.py -m sweeps=grid model=gru`"
    )
    found = citing.cited()
    assert set(found.ids) == {"1234abcd", "89abcdef0123", "ffffffff"}
    assert found.page_with("89abcdef0123" + "0" * 20) == "PAPERS.md"
    assert found.page_with("89abcd")  # the first digits of it
    assert not found.page_with("89abce")
    [study] = found.studies
    assert study.startswith("grid")
    (house.root / "FINDINGS.md").write_text("no run is named")
    assert len(citing.cited().studies) > 10


@pytest.mark.parametrize("days", [None, 0])
def test_the_runs_that_a_page_rests_on_by_their_study_stay(house, days):
    (house.root / "FINDINGS.md").write_text("from the tracked runs")
    [study, *_] = citing.cited().studies
    run_id = house.run("FAILED", tags={"study": study, "trial": "1"}, deleted=days is None)
    house.run("FAILED", tags={"study": "mine", "trial": "1"}, deleted=days is None)
    said = house.tidy(days=days, for_good=True)
    assert f"run {run_id[:8]} stays: FINDINGS.md cites its study" in said
    assert house.runs() == {run_id}


def test_the_trials_of_a_study_whose_page_in_mlflow_is_cited_stay(house):
    page = house.run(tags={"study": "mine", "sweep": "parent"})
    trial, _ = (house.run(deleted=True, tags={"study": study, "trial": "1"}) for study in ("mine", "yours"))
    (house.root / "PAPERS.md").write_text(f"study {page[:8]}")
    assert f"run {trial[:8]} stays: PAPERS.md cites its study" in house.tidy(for_good=True)
    assert house.runs() == {page, trial}


def test_a_run_whose_model_is_registered_stays(house):
    run_id, other = house.run(deleted=True), house.run(deleted=True)
    model = house.model(other)
    client = house.client
    client.create_registered_model("mine")
    client.create_model_version("mine", "anywhere", run_id=run_id)
    client.create_model_version("mine", (house.mlruns / "artifacts/models" / model / "artifacts").as_uri())
    said = house.tidy(for_good=True)
    assert said.count("its model is registered in MLflow") == 2
    assert house.runs() == {run_id, other}


def test_a_folder_in_which_another_run_has_its_files_stays(house):
    deleted, active = house.run(deleted=True), house.run(files=False)
    house.address(active, (house.mlruns / "artifacts" / deleted / "artifacts").as_uri())
    before = house.files().keys()
    assert "files of another run are in its folder" in house.tidy(for_good=True)
    assert before <= house.files().keys()
    assert house.runs() == {deleted, active}


def test_runs_that_stay_keep_those_that_they_name_and_these_theirs(house):
    first = house.run(deleted=True)
    second = house.run(deleted=True, tags={"reproduces": first})
    third = house.run(tags={"reproduces": second, "note": house.run(deleted=True)})
    said = house.tidy(for_good=True)
    assert house.runs() == {first, second, third}
    assert f"run {first[:8]} stays: run {second[:8]} names it, which stays" in said


def test_what_a_cited_run_left_stays_though_no_store_has_it(house):
    gone, model = "deadbeef" * 4, f"m-{'5ca1ab1e' * 4}"
    house.leave(gone), house.file(f"artifacts/models/{model}/artifacts/MLmodel")
    (house.root / "RECORDS.md").write_text(f"run {gone[:8]}, model {model}")
    before = house.files().keys()
    assert "nothing to remove" in house.tidy(for_good=True)
    assert before <= house.files().keys()
