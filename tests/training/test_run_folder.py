"""A run's folder: one run alone, and how it began."""

import pytest
import yaml

from keras_retinanet.config.files import load_config, with_overrides
from keras_retinanet.errors import UserError
from keras_retinanet.training.run_folder import (
    begin_run,
    new_run_folder,
    remove_if_empty,
    require_new,
    resume_config,
    stored_config,
)


@pytest.fixture
def begun(tmp_path):
    config = load_config("shapes")
    begin_run_in(tmp_path, config)
    return tmp_path, config


def begin_run_in(folder, config):
    folder.mkdir(exist_ok=True)
    begin_run(config, folder)


def test_runs_of_one_second_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [new_run_folder("shapes") for _ in range(4)]
    assert len(set(folders)) == 4
    assert all(folder.is_dir() and not any(folder.iterdir()) for folder in folders)


@pytest.mark.parametrize("name", ["thesis.docx", "best.keras", "state", "metrics.csv"])
def test_a_folder_that_holds_anything_is_no_new_run(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"a new or empty folder.*Received: .*holds {name}"):
        require_new(tmp_path)


def test_what_a_dry_run_and_a_desktop_leave_is_nothing(tmp_path):
    for name in ("batch.png", ".DS_Store", ".train.lock"):
        (tmp_path / name).touch()
    require_new(tmp_path)


def test_a_run_is_resumed_and_not_begun_again(begun):
    with pytest.raises(UserError, match="Resume it with --resume"):
        require_new(begun[0])


def test_an_edited_configuration_is_refused_and_names_the_key(begun):
    folder, _ = begun
    resume_config(stored_config(folder), folder)
    values = yaml.safe_load((folder / "config.yaml").read_text())
    values["model"]["fpn"]["channels"] = 32
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"model\.fpn\.channels: 32 instead of 64\. Change it back"):
        resume_config(stored_config(folder), folder)


@pytest.mark.parametrize("damage", ["", "model: {backbone: [", "model: 3\n", "x: \x00"])
def test_a_damaged_configuration_is_restored_from_its_copy(begun, damage, capsys):
    folder, config = begun
    (folder / "config.yaml").write_text(damage)
    assert stored_config(folder) == config
    assert "Restored from" in capsys.readouterr().out
    assert load_config(folder / "config.yaml") == config


def test_a_configuration_cut_at_a_line_is_not_another_run(begun):
    folder, _ = begun
    lines = (folder / "config.yaml").read_text().splitlines(keepends=True)
    (folder / "config.yaml").write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(UserError, match="the configuration that the run began with"):
        resume_config(stored_config(folder), folder)


def test_without_a_copy_a_damaged_configuration_is_an_error(begun):
    folder, _ = begun
    (folder / "state/config.yaml").unlink()
    (folder / "config.yaml").write_text("")
    with pytest.raises(UserError, match="an empty file"):
        stored_config(folder)


def test_a_longer_run_is_stored_and_nothing_else_may_change(begun, capsys):
    folder, config = begun
    longer = with_overrides(config, {"train.steps": 7777, "train.minutes": 9})
    resume_config(longer, folder)
    assert "train.steps 7777 instead of" in capsys.readouterr().out
    for path in (folder / "config.yaml", folder / "state/config.yaml"):
        assert load_config(path) == longer
    other = with_overrides(longer, {"train.steps": 8888, "train.seed": 5})
    with pytest.raises(UserError, match=r"train\.\w+"):
        resume_config(other, folder)
    assert load_config(folder / "config.yaml") == longer


def test_a_refused_run_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    remove_if_empty(new_run_folder("shapes"))
    assert not list(tmp_path.iterdir())
    first, second = new_run_folder("shapes"), new_run_folder("shapes")
    (first / "config.yaml").touch()
    for folder in (first, second):
        remove_if_empty(folder)
    assert first.is_dir() and not second.exists()
