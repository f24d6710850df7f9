"""Fingerprints of pictures: broken ones, turned ones, copies within and across splits."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.near_duplicates import difference_hash, joined_groups, near_pairs
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record, read_slice
from keras_retinanet.doctor.duplicates import duplicate_findings, find_groups
from keras_retinanet.doctor.scanning import (
    fingerprint,
    scan,
    turned_findings,
    unlisted_findings,
)
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES


def scene(rng, side=96) -> np.ndarray:
    """Draws a smooth random picture (side, side, 3): large structures, as photographs have."""
    coarse = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def save(folder, name, pixels, **options):
    Image.fromarray(pixels).save(folder / name, **options)


def split(folder, name, files, *, size=(96, 96), strict=False) -> Dataset:
    problems = Problems(strict=strict)
    records = [
        make_record(file, ImageRef(str(folder / file)), size, file_name=file, objects=[],
                    problems=problems)
        for file in files
    ]  # fmt: skip
    return Dataset("set", name, ["x"], [1], records, problems)


@pytest.fixture
def folder(tmp_path, rng):
    """Four scenes; of a.png an exact copy, a smaller JPEG and one of another aspect."""
    scenes = [scene(rng) for _ in range(4)]
    for name, pixels in zip("abcd", scenes, strict=True):
        save(tmp_path, f"{name}.png", pixels)
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    small = Image.fromarray(scenes[0]).resize((64, 64), Image.Resampling.BICUBIC)
    small.save(tmp_path / "small.jpg", quality=85)
    Image.fromarray(scenes[0]).resize((96, 48)).save(tmp_path / "wide.png")
    save(tmp_path, "flat.png", np.full((96, 96, 3), 200, np.uint8))
    save(tmp_path, "flat2.png", np.full((96, 96, 3), 201, np.uint8))
    return tmp_path


def test_leaks_and_duplicates_exact_and_near(folder):
    train = split(folder, "train", ["a.png", "b.png", "c.png", "flat.png", "flat2.png", "wide.png"])
    val = split(folder, "val", ["d.png", "copy.png", "small.jpg"])
    exact, near = find_groups([train, val], scan([train, val]))
    found = {f.code: f for f in duplicate_findings([train, val], exact, near)}
    assert {code: (f.severity, f.items) for code, f in found.items()} == {
        "leak": ("error", ("train: a.png = val: copy.png",)),
        "near leak": ("warning", ("train: a.png = val: copy.png = val: small.jpg",)),
    }
    twice = split(folder, "train", ["a.png", "copy.png", "c.png"])
    groups = find_groups([twice], scan([twice]))
    (finding,) = duplicate_findings([twice], *groups)
    assert (finding.code, finding.severity, finding.items) == (
        "duplicates",
        "warning",
        ("train: a.png = train: copy.png",),
    )


def test_the_same_file_listed_in_two_splits_is_a_leak_and_is_read_once(folder):
    reads = []

    def reader(image):
        reads.append(image.path)
        return read_slice(image)

    train = replace(split(folder, "train", ["a.png", "b.png"]), reader=reader)
    val = replace(split(folder, "val", ["b.png"]), reader=reader)
    exact, near = find_groups([train, val], scan([train, val], decode=False))
    assert len(reads) == 2 and near == []
    (finding,) = duplicate_findings([train, val], exact, near)
    assert (finding.code, finding.items) == ("leak", ("train: b.png = val: b.png",))


def test_unlike_scenes_are_no_near_duplicates(rng):
    grey = np.stack([fingerprint(_png(scene(rng))).grey for _ in range(300)])
    assert near_pairs(grey, np.full((300, 2), 96)) == []


def test_near_pairs_against_all_pairs(rng):
    base = np.stack([fingerprint(_png(scene(rng))).grey for _ in range(40)]).astype(int)
    noisy = base + rng.integers(-2, 3, base.shape)
    grey = np.clip(np.concatenate([base, noisy]), 0, 255).astype(np.uint8)
    bits = difference_hash(grey)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    expected = [(i, i + 40) for i in range(40) if distances[i, i + 40] <= 3]
    assert len(expected) > 20
    assert near_pairs(grey, np.full((80, 2), 96)) == expected


def test_many_frames_of_a_fixed_camera_are_one_group_without_all_their_pairs(rng):
    frame = fingerprint(_png(scene(rng))).grey
    grey = np.tile(frame, (3000, 1))
    pairs = near_pairs(grey, np.full((3000, 2), 96))
    assert [len(group) for group in joined_groups(pairs)] == [3000]
    assert len(pairs) == 2999


def test_groups_join_through_others():
    assert joined_groups([(1, 5), (2, 3), (5, 9)]) == [[1, 5, 9], [2, 3]]


def _png(pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_broken_missing_and_resized_pictures_are_noted(folder):
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:-400])
    (folder / "text.jpg").write_text("no picture")
    files = ["a.png", "cut.png", "text.jpg", "gone.png", "small.jpg"]
    dataset = split(folder, "train", files)
    prints = scan([dataset])
    assert dataset.problems == {
        "unreadable picture": ["cut.png", "text.jpg", "gone.png"],
        "picture of another size than annotated": ["small.jpg"],
    }
    assert [prints[record.image].size for record in dataset.records] == [
        (96, 96), None, None, None, (64, 64),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"unreadable picture: cut\.png"):
        scan([split(folder, "train", files, strict=True)])


def test_without_decoding_a_cut_picture_passes(folder):
    (folder / "cut.png").write_bytes((folder / "b.png").read_bytes()[:-400])
    dataset = split(folder, "train", ["a.png", "cut.png"])
    scan([dataset], decode=False)
    assert not dataset.problems


def test_turned_pictures(folder, rng):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.concatenate([scene(rng), scene(rng)], axis=1)  # 96 high, 192 wide as stored
    save(folder, "turned.jpg", pixels, exif=exif)
    stored = split(folder, "train", ["turned.jpg"], size=(96, 192))
    (finding,) = turned_findings([stored], scan([stored]))
    assert (finding.severity, finding.items) == (
        "warning",
        ("train: turned.jpg (orientation 6)",),
    )
    upright = split(folder, "train", ["turned.jpg"], size=(192, 96))
    (finding,) = turned_findings([upright], scan([upright]))
    assert finding.severity == "error"


def test_unlisted_pictures(folder):
    (folder / "notes.txt").touch()
    files = ["a.png", "b.png", "copy.png", "small.jpg", "wide.png", "flat.png", "flat2.png"]
    (finding,) = unlisted_findings([split(folder, "train", files)])
    assert [item.rpartition("/")[2] for item in finding.items] == ["c.png", "d.png"]
    assert not list(unlisted_findings([split(folder, "train", [*files, "c.png", "d.png"])]))


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_unlisted_pictures_of_every_format(tmp_path, rng, suffix):
    for name in ("a.png", f"other{suffix}", f"LOUD{suffix.upper()}"):
        save(tmp_path, name, scene(rng, 32))
    (finding,) = unlisted_findings([split(tmp_path, "train", ["a.png"])])
    assert sorted(item.rpartition("/")[2] for item in finding.items) == [
        f"LOUD{suffix.upper()}",
        f"other{suffix}",
    ]
