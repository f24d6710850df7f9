"""TF_CONFIG: who trains together, and what is refused before anything begins."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.training.cluster import Cluster, of_this_machine, read_cluster
from keras_retinanet.training.distribution import strategy
from keras_retinanet.training.launching import launch
from keras_retinanet.training.team import Team

WORKERS = {"worker": ["a:1", "b:2"]}


def test_a_cluster_is_its_chief_and_workers_in_this_order(monkeypatch):
    config = {"cluster": WORKERS, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert read_cluster() == Cluster(("a:1", "b:2"), 1)
    config = {"cluster": {**WORKERS, "chief": ["c:3"]}, "task": {"type": "worker", "index": "0"}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    cluster = read_cluster()
    assert cluster == Cluster(("c:3", "a:1", "b:2"), 1) and not cluster.is_chief
    config["task"] = {"type": "chief", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert read_cluster().is_chief


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": ["a:1"]}}'])
def test_a_cluster_of_one_is_one_machine(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert read_cluster() is None
    assert strategy() is tf.distribute.get_strategy()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": 3}',
        '{"cluster": {"worker": ["a:1", "b"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',  # and which of them is this?
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_cluster_that_cannot_be_read_is_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="Expected TF_CONFIG to name the workers and this one"):
        read_cluster()


@pytest.mark.parametrize("name", ["mirrored", "one_device", "tpu"])
def test_a_cluster_does_not_go_unused(monkeypatch, name):
    monkeypatch.setenv("TF_CONFIG", of_this_machine([1, 2], 0))
    with pytest.raises(UserError, match=f"Received: {name}, with which each would train"):
        strategy(name)


def test_several_workers_need_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="to name two processes or more"):
        strategy("multi_worker")


def test_a_name_that_is_none(monkeypatch):
    with pytest.raises(UserError, match=r"Expected a strategy: .*multi_worker.* Received: horovod"):
        strategy("horovod")


def test_a_process_alone_answers_itself():
    team = Team(tf.distribute.get_strategy())
    assert (team.index, team.count, team.is_chief) == (0, 1, True)
    assert team.any(True) and not team.any(False)
    np.testing.assert_array_equal(team.sums([1.5, 2]), [1.5, 2])
    np.testing.assert_array_equal(team.joined(np.eye(3)), np.eye(3))


def test_launch_gives_each_process_its_place_and_returns_the_first_failure(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, sys\n"
        "task = json.loads(os.environ['TF_CONFIG'])\n"
        "index = task['task']['index']\n"
        "open(f'{sys.argv[1]}/{index}', 'w').write(json.dumps(task['cluster']))\n"
        "sys.exit(3 * index)\n"
    )
    code = launch([str(tmp_path)], count=2, program=(sys.executable, str(script)))
    assert code == 3
    first, second = (json.loads((tmp_path / name).read_text()) for name in ("0", "1"))
    assert first == second and len(set(first["worker"])) == 2
