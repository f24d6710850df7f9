"""Compute what a training on COCO takes on 1 to 512 GPUs, from figures measured on few.

    python benchmarks/scaling_plan.py --docs docs

None of it was run on that many machines: it is arithmetic, to see what would limit first. Change
`Measured` to your own figures, each of which names its source.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from marked_section import replace_section

IMAGES, VALIDATION = 118_287, 5_000  # of COCO 2017
STEPS, BATCH = 90_000, 16  # the paper's schedule
PER_NODE = 8
# The largest batch for which a detector's training was published (LargeDet, ECCV 2020).
LARGEST_BATCH = 1_024


@dataclass(frozen=True)
class Measured:
    """What one GPU, one processor core, one disk and others' clusters gave.

    Attributes:
        image_seconds: of a training step in bfloat16, for each of 16 images of 800x1344: 199 ms
            (H200, torchvision; TensorFlow not run).
        least_step_seconds: of a step of 2 images, where the host limits: 76 ms (the same).
        detect_seconds: an image in batches of 8, 800x800, bfloat16: 80 ms (the same).
        file_bytes: of an image of train2017, on average.
        cpu_seconds: of a core to read, augment and resize an image to 800 px.
        plan_seconds: of a core to plan an image; every process plans the whole batch.
        parameters: of ResNet-50 with 80 classes, all trained.
        state_bytes: weights and momentum.
        state_bytes_per_second: as written and synced here.
        scoring_seconds: COCO metrics of 5,000 images, on the first process.
        node_link, gpu_link: bytes a second of 100 Gbit Ethernet for each node, and of a NIC of 400
            Gbit for each GPU.
        hours_between_failures: of one GPU: 16,384 of them failed 419 times in 54 days (Llama 3).
        restart_seconds: assumed: schedule the job, import, build, trace.
    """

    image_seconds: float = 0.199 / 16
    least_step_seconds: float = 0.076
    detect_seconds: float = 0.080 / 8
    file_bytes: float = 163e3
    cpu_seconds: float = 0.022
    plan_seconds: float = 2.2e-6
    parameters: float = 38.0e6
    state_bytes: float = 304e6
    state_bytes_per_second: float = 304e6 / 1.9
    scoring_seconds: float = 6.7
    node_link: float = 100e9 / 8
    gpu_link: float = 400e9 / 8
    hours_between_failures: float = 16_384 * 54 * 24 / 419
    restart_seconds: float = 180.0


def column(gpus: int, m: Measured) -> dict[str, str]:
    """Return the figures of a training on `gpus` GPUs, by name."""
    batch = min(BATCH * gpus, LARGEST_BATCH)
    own = batch / gpus
    compute = max(m.least_step_seconds, own * m.image_seconds)
    # A ring sends each gradient out and in once, less its own part.
    nodes = math.ceil(gpus / PER_NODE)
    sent = 2 * (gpus - 1) / gpus * m.parameters * 4
    slow = 2 * (nodes - 1) / nodes * m.parameters * 4 / m.node_link
    fast = sent / m.gpu_link if nodes > 1 else 0.0
    step = max(compute, slow)  # sent while the backward pass computes
    steps = STEPS * BATCH / batch
    images = batch / step
    evaluation = VALIDATION * m.detect_seconds / gpus + m.scoring_seconds
    save = m.state_bytes / m.state_bytes_per_second
    pass_seconds = IMAGES / images
    hours = (steps * step + 12 * (evaluation + save)) / 3600
    failures = gpus * hours / m.hours_between_failures
    lost = pass_seconds / 2 + m.restart_seconds
    return {
        "batch": f"{batch:,}",
        "images of a GPU in a step": f"{own:g}",
        "steps of the paper's 90,000 x 16 images": f"{steps:,.0f}",
        "learning rate (.01 for 16), linear": f"{0.01 * batch / BATCH:g}",
        "step, computed, s": f"{compute:.3f}",
        "all-reduce, MB sent by a GPU": f"{sent / 1e6:,.0f}",
        "all-reduce, s, NIC of 400 Gbit for each GPU": f"{fast:.3f}",
        "all-reduce, s, 100 Gbit for each node": f"{slow:.3f}",
        "images a second": f"{images:,.0f}",
        "files read, MB a second": f"{images * m.file_bytes / 1e6:,.0f}",
        "cores of a node that decode and augment": f"{images / nodes * m.cpu_seconds:.1f}",
        "a core's share for the plan, in each process": f"{images * m.plan_seconds:.1%}",
        "a pass over the images, s": f"{pass_seconds:,.0f}",
        "evaluation of 5,000 images, s": f"{evaluation:.1f}",
        "of it scoring, on one core": f"{m.scoring_seconds / evaluation:.0%}",
        "state saved, s": f"{save:.1f}",
        "whole run with 12 evaluations, hours": f"{hours:.2f}",
        "failures of a GPU in it": f"{failures:.4f}",
        "lost by a failure, s": f"{lost:,.0f}",
    }


def table(counts: list[int], m: Measured) -> str:
    """Return the columns of all counts as a table."""
    columns = [column(gpus, m) for gpus in counts]
    lines = [
        "| GPUs | " + " | ".join(f"{gpus:,}" for gpus in counts) + " |",
        "|---|" + "---|" * len(counts),
    ]
    lines += [f"| {name} | " + " | ".join(c[name] for c in columns) + " |" for name in columns[0]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--docs", type=Path, help="write the table into scaling.md of this folder")
    args = parser.parse_args()
    text = table(args.gpus, Measured())
    print(text)
    if args.docs:
        replace_section(args.docs / "scaling.md", "scaling", text)


if __name__ == "__main__":
    main()
