"""The catalogue, and what a word after --model or --weights stands for."""

import dataclasses
import io
import re
import tarfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.checkpoints import model_files
from keras_retinanet.checkpoints.catalogue_file import (
    catalogue,
    entry_for,
    find_entry,
    near_names,
    provenance,
)
from keras_retinanet.checkpoints.families.torchvision_export import export_torchvision
from keras_retinanet.checkpoints.importing import FAMILIES
from keras_retinanet.checkpoints.model_files import model_file
from keras_retinanet.commands.weights import get
from keras_retinanet.commands.weights import list as weights_list
from keras_retinanet.config import (
    AnchorConfig,
    BackboneConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load
from keras_retinanet.weight_files import archives
from keras_retinanet.weight_files.archives import unpacked

HASH = re.compile(r"sha256:[0-9a-f]{8}([0-9a-f]{56})?|md5:[0-9a-f]{6}|")
V2 = "torchvision_retinanet_resnet50_fpn_v2"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_RETINANET_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small file of torchvision's v2 graph, and its class head's weights."""
    model = RetinaNet(
        ModelConfig(
            backbone=BackboneConfig(name="resnet18", stride_in_1x1=False),
            fpn=FPNConfig(channels=32),
            head=HeadConfig(channels=32, norm="group_norm"),
            anchors=AnchorConfig(offset=0.0, rounded=True, stride="true"),
        ),
        ["a", "b"],
        load_weights=False,
    )
    path = tmp_path_factory.mktemp("foreign") / "mine.pth"
    export_torchvision(model, path)
    return path, model.class_head.get_weights()


# ------------------------------------------------------------------------------------ catalogue


def test_every_entry_can_be_acted_on():
    entries = catalogue().values()
    assert len(entries) == 53
    assert len({entry.file for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.address.startswith("https://"), entry
        assert entry.family in FAMILIES, entry
        assert entry.backbone in BACKBONES, entry
        assert HASH.fullmatch(entry.hash), entry
        assert entry.license and entry.source.startswith("https://"), entry
        assert entry.ap is None or 23 < entry.ap < 53, entry
        # The digits are those that the maker put into the file's name.
        if entry.hash and not entry.by_hand:
            assert re.search(rf"[-_]{entry.hash.partition(':')[2]}\.", entry.address), entry


def test_the_figures_and_licenses_that_users_choose_by():
    entry = find_entry(V2)
    assert (entry.ap, entry.figure, entry.file) == (
        41.5,
        "41.5",
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth",
    )
    assert provenance(entry) == {
        "origin": f"{V2}, {entry.address}",
        "license": entry.license,
        "published": "AP 41.5 on COCO val2017",
    }
    detectron2 = [e for e in catalogue().values() if e.family == "detectron2"]
    assert [e.ap for e in detectron2] == [37.4, 38.7, 40.4]
    assert {e.license for e in detectron2} == {"CC BY-SA 3.0"}
    assert entry_for("some/where/" + entry.file) == entry
    assert entry_for("some/where/other.pth") is None


def test_near_names_are_offered():
    assert near_names("torchvision_retinanet_resnet50_fpn_v3")[0] == V2
    assert near_names("rn34") == ["odtk_retinanet_rn34fpn"]
    with pytest.raises(UserError, match=f"Received: {V2.title()}. Near: {V2}"):
        find_entry(V2.title())


def test_the_table_and_its_json(capsys, cache):
    cache.mkdir()
    (cache / find_entry(V2).file).touch()
    assert weights_list.run(Namespace(family="torchvision")) == 0
    header, first, second, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == "name family backbone AP size hash here license".split()
    assert first.split()[3:] == "41.5 153 MB sha256:5905b1c5 yes BSD 3-Clause".split()
    assert second.split()[3:] == "36.4 137 MB sha256:eeacb38b - BSD 3-Clause".split()
    args = Namespace(family=None, result={})
    assert weights_list.run(args) == 0
    _, best, *_ = capsys.readouterr().out.splitlines()
    assert best.split()[:4] == ["tpu_spinenet_190_best", "tpu_spinenet", "spinenet190", "52.0"]
    listed = args.result["weights"]
    public = [entry for entry in listed if entry["family"] != "built_in"]
    assert public == [dataclasses.asdict(entry) for entry in catalogue().values()]
    with pytest.raises(UserError, match="Expected one of the families built_in, torchvision_v1, "):
        weights_list.run(Namespace(family="yolo"))


def test_get_says_where_to_put_a_file_for_browsers(cache):
    with pytest.raises(UserError, match=r"put it there\.$"):
        get.run(Namespace(name="yhenon_coco_resnet_50"))


# ----------------------------------------------------------------------------------- model files


@pytest.mark.long
def test_a_checkpoint_is_imported_once(checkpoint, cache, capsys):
    path, class_head = checkpoint
    imported = model_file(path)
    assert imported.parent == cache / "imported"
    assert re.fullmatch(r"mine-[0-9a-f]{16}-.*\.keras", imported.name)
    assert f"imported {path} as torchvision_v2" in capsys.readouterr().out
    stamp = imported.stat().st_mtime_ns
    assert model_file(str(path)) == imported
    assert imported.stat().st_mtime_ns == stamp
    for ours, theirs in zip(load(imported).class_head.get_weights(), class_head, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # A file of this package is what it is.
    assert model_file(imported) == imported


@pytest.mark.long
def test_a_name_of_the_catalogue_is_fetched_and_its_origin_kept(checkpoint, cache, monkeypatch):
    entry = dataclasses.replace(find_entry(V2), hash="", bytes=None)
    monkeypatch.setitem(catalogue(), V2, entry)
    monkeypatch.setattr(
        model_files.catalogue_file, "fetch", lambda wanted: {entry: checkpoint[0]}[wanted]
    )
    metadata = load(model_file(V2)).metadata
    assert metadata["origin"] == f"{V2}, {entry.address}"
    assert metadata["license"] == entry.license
    assert metadata["published"] == "AP 41.5 on COCO val2017"


def test_a_file_that_claims_to_be_a_published_one_is_verified(checkpoint, cache, tmp_path):
    fake = tmp_path / find_entry(V2).file
    fake.write_bytes(checkpoint[0].read_bytes())
    with pytest.raises(UserError, match=r"Expected 153,130,989 bytes in .* Rename it"):
        model_file(fake)
    assert not list((cache / "imported").glob("*.keras"))


def test_words_that_name_nothing(tmp_path):
    (tmp_path / "some.txt").touch()
    with pytest.raises(UserError, match=r"Expected a \.keras file, a run folder, a checkpoint or"):
        model_file(tmp_path)
    with pytest.raises(UserError, match=f"Received: {V2}x, not there. Near: {V2}"):
        model_file(V2 + "x")
    with pytest.raises(UserError, match=r"Received: nowhere.keras, not there\.$"):
        model_file("nowhere.keras")


def test_a_damaged_keras_file_is_left_to_its_reader(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"PK")
    assert model_file(tmp_path / "bad.keras") == tmp_path / "bad.keras"


# -------------------------------------------------------------------------------------- archives


def tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_becomes_a_folder_with_its_checkpoint(tmp_path):
    variable = tf.Variable([1.0, 2.0])
    prefix = tf.train.Checkpoint(weight=variable).save(str(tmp_path / "ckpt"))
    names = [f"{prefix}.index", f"{prefix}.data-00000-of-00001"]
    files = [("deep/" + n.rpartition("/")[2], Path(n).read_bytes()) for n in names]
    folder = unpacked(tar(tmp_path / "retinanet.tar.gz", files))
    assert folder == tmp_path / "retinanet"
    assert sorted(p.name for p in folder.iterdir()) == sorted(n.rpartition("/")[2] for n in names)
    assert unpacked(tmp_path / "retinanet.tar.gz") == folder
    assert unpacked(tmp_path / "other.pth") == tmp_path / "other.pth"


@pytest.mark.parametrize(
    "files",
    [
        [("a/x", b"1"), ("b/x", b"2")],
        [("bomb", bytes(archives.MAX_RATIO * 100_000))],
    ],
)
def test_odd_archives_are_refused_and_leave_nothing(tmp_path, files):
    path = tar(tmp_path / "odd.tar.gz", files)
    with pytest.raises(UserError, match="Expected one checkpoint in"):
        unpacked(path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_writes_nowhere_else(tmp_path):
    folder = unpacked(tar(tmp_path / "t.tar.gz", [("../../evil", b"1")]))
    assert [p.name for p in folder.iterdir()] == ["evil"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t", "t.tar.gz"]


def test_a_cut_archive_is_one_line(tmp_path):
    path = tar(tmp_path / "cut.tar.gz", [("x", np.random.default_rng(0).bytes(10_000))])
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(UserError, match=r"Expected a whole \.tar\.gz"):
        unpacked(path)
