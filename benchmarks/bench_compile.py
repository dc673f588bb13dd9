"""Does torch.compile pay in training? ``python benchmarks/bench_compile.py [--family glyphs] [--side 32]``.

Only the largest network keeps its shape: it is what the teacher's stage trains, and what later stages ask. Eager and
compiled take turns, in processor time of one thread; printed is the median ratio of a forward pass alone and of one
with its gradients, what compiling took, and after how many passes that is earned back.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch

from compofa.spaces.arch import extreme
from compofa.spaces.registry import get_family
from compofa.supernet import Supernet
from compofa.training.norms import normalise_by_batch

TURNS = 25


def processor_s() -> float:
    """Of this process and its compilers."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(run: Callable[[], object]) -> float:
    """Processor seconds of one run of this thread."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def compare(name: str, eager: Callable[[], object], compiled: Callable[[], object]) -> None:
    """Print what compiling costs and what it gains."""
    start = processor_s()
    compiled()
    compiling = processor_s() - start
    for _ in range(3):
        eager(), compiled()
    pairs = [(timed(eager), timed(compiled)) for _ in range(TURNS)]
    ratios = sorted(after / before for before, after in pairs)
    plain = statistics.median(before for before, _ in pairs)
    gained = statistics.median(before - after for before, after in pairs)
    earned = f"{compiling / gained:,.0f} passes" if gained > 0 else "never"
    print(
        f"{name}: {1e3 * plain:.1f} ms eager, compiled {statistics.median(ratios):.2f} of that (quartiles "
        f"{ratios[TURNS // 4]:.2f}-{ratios[-1 - TURNS // 4]:.2f}); compiling took {compiling:.0f} s: earned back by "
        f"{earned}",
        flush=True,
    )


def main() -> None:
    """Both passes of the largest network at one resolution."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--family", default="glyphs")
    p.add_argument("--side", type=int, default=32, help="pixels")
    p.add_argument("--batch", type=int, default=64)
    args = p.parse_args()
    torch.set_num_threads(1)
    family = get_family(args.family)
    network = Supernet(family, False).extract(extreme(family, largest=True))
    normalise_by_batch(network)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(args.batch, 3, args.side, args.side).to(memory_format=torch.channels_last)
    labels = torch.randint(family.classes, (args.batch,))
    what = f"{args.family}, largest network at {args.side} px, batch {args.batch}"
    print(f"{what}, torch {torch.__version__}, one thread")

    def gradients(model: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.nn.functional.cross_entropy(model(images), labels).backward()

    compare("forward and backward", gradients(network), gradients(torch.compile(network)))
    torch._dynamo.reset()
    network.requires_grad_(False)
    quick = torch.compile(network)
    with torch.no_grad():
        compare("forward", lambda: network(images), lambda: quick(images))


if __name__ == "__main__":
    main()
