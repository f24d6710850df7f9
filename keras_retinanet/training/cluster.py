"""The processes that train one model together, as `TF_CONFIG` names them.

Cluster managers set this variable for TensorFlow. Without it, or with one process in it, a process
trains alone.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from keras_retinanet.errors import UserError

# Which devices train; see `distribution.strategy`.
StrategyName = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]
STRATEGIES: tuple[str, ...] = get_args(StrategyName)
VARIABLE = "TF_CONFIG"
CHIEF, WORKER = "chief", "worker"
EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """Several processes, of which this is one."""

    addresses: tuple[str, ...]  # "host:port" of each, the chief's first
    index: int  # of this process in `addresses`

    @property
    def is_chief(self) -> bool:
        """Return whether this process writes the run folder."""
        return self.index == 0


def read_cluster() -> Cluster | None:
    """Return the cluster of `TF_CONFIG`; None: this process trains alone.

    Raises:
        UserError: it is no JSON of a cluster of workers with this process among them.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    try:
        content = json.loads(text)
        jobs, task = content.get("cluster", {}), content.get("task", {})
        addresses = [*jobs.get(CHIEF, ()), *jobs.get(WORKER, ())]
        is_known = set(jobs) <= {CHIEF, WORKER} and all(map(_is_address, addresses))
    except (ValueError, AttributeError, TypeError):
        raise _unknown(text[:120]) from None
    if not is_known:
        raise _unknown(text[:120])
    if len(addresses) < 2:
        return None
    return Cluster(tuple(addresses), _own_index(jobs, task))


def _is_address(address: Any) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdecimal()


def of_this_machine(ports: Sequence[int], index: int) -> str:
    """Return `TF_CONFIG` of process `index` of a cluster on this machine, one for each port."""
    workers = [f"127.0.0.1:{port}" for port in ports]
    task = {"type": WORKER, "index": index}
    return json.dumps({"cluster": {WORKER: workers}, "task": task})


def _own_index(jobs: dict[str, list[str]], task: dict[str, Any]) -> int:
    try:
        kind, index = task["type"], int(task["index"])
        jobs[kind][index]
    except (KeyError, IndexError, TypeError, ValueError):
        raise _unknown(f"task {json.dumps(task)[:120]}, which is none of the cluster") from None
    return index + (len(jobs.get(CHIEF, ())) if kind == WORKER else 0)


def _unknown(received: str) -> UserError:
    return UserError(
        f"Expected {VARIABLE} to name the workers and this one, such as {EXAMPLE}. Received: "
        f"{received}. Unset it to train on this machine alone."
    )
