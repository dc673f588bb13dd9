"""What building a table costs over the time it spends timing, and how much memory it takes.

The peer is the time inside the timing loop itself: nothing that measures as carefully can be faster.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = (
    ("glyphs", "16,20,24,28,32"),
    ("imagenet-w1.0", "128:224:24"),
)


def main() -> None:
    """Print the figures."""
    for family, resolutions in CASES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "hwbench.build_lut", "--backend", "onnxruntime"]
            command += ["--family", family, "--space", "ofa", "--resolutions", resolutions]
            command += ["--out", str(Path(folder) / "table.jsonl"), "--json"]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        found = json.loads(done.stdout)
        memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        ratio = found["seconds"] / found["seconds_timing"]
        print(
            f"{family:14} {len(found['resolutions'])} resolutions, {found['entries']} blocks: "
            f"{found['seconds']:.0f} s, of which timing {found['seconds_timing']:.0f} s (x {ratio:.2f}), "
            f"{found['noisy']} noisy; largest memory so far {memory_mb:.0f} MB"
        )


if __name__ == "__main__":
    main()
