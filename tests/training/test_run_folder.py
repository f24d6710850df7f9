"""A run's folder: one run alone, and how it began."""

import pytest
import yaml

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.training.run_folder import (
    begin_run,
    new_run_folder,
    require_new,
    require_same_config,
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
    require_same_config(stored_config(folder), folder)
    values = yaml.safe_load((folder / "config.yaml").read_text())
    values["model"]["fpn"]["channels"] = 32
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"model\.fpn\.channels: 32 instead of 64\. Change it back"):
        require_same_config(stored_config(folder), folder)


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
        require_same_config(stored_config(folder), folder)


def test_without_a_copy_a_damaged_configuration_is_an_error(begun):
    folder, _ = begun
    (folder / "state/config.yaml").unlink()
    (folder / "config.yaml").write_text("")
    with pytest.raises(UserError, match="an empty file"):
        stored_config(folder)
