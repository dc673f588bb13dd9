"""A profile for people, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from backends.kernels.costs import is_view, moved_bytes, operations
from hwbench import cli
from hwbench.profiling.profiles import Group, KernelShare, Profile

TOP = 15
"""Rows of a table for people."""


def to_dict(profile: Profile) -> dict[str, Any]:
    """All of it, JSON-ready."""
    return {
        "model": profile.model,
        "precision": profile.precision,
        "target": profile.target.to_dict(),
        "origin": "measured",
        "latency_ms": profile.latency_ms,
        "low_ms": min(profile.latency.low_ms, profile.again.low_ms),
        "high_ms": max(profile.latency.high_ms, profile.again.high_ms),
        "noisy": profile.latency.noisy or profile.again.noisy,
        "repeatability_pct": profile.repeatability_pct,
        "sum_of_kernels_ms": profile.sum_ms,
        "unexplained_ms": profile.unexplained_ms,
        "nodes": len(profile.nodes),
        "ceilings": {
            "gflops": profile.ceilings.gflops,
            "memory_gb_s": profile.ceilings.memory_gb_s,
            "cache_gb_s": profile.ceilings.cache_gb_s,
        },
        "kernels": [kernel_row(profile, share) for share in profile.shares],
        "operators": [_group(group) for group in profile.by_operator()],
        "layers": [_group(group) for group in profile.by_layer()],
        "not_timed": {str(kernel): why for kernel, why in profile.failed.items()},
        "notes": list(profile.notes),
        "seconds": round(profile.seconds, 3),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "nodes": group.nodes,
        "total_ms": group.total_ms,
        "share_pct": 100 * group.share,
    }


def kernel_row(profile: Profile, share: KernelShare) -> dict[str, Any]:
    """A kernel, as JSON and CSV have it."""
    m, view = share.measurement, is_view(share.kernel)
    return {
        "kernel": str(share.kernel),
        "key": share.kernel.key,
        "operator": share.kernel.op,
        "origin": m.origin,
        "nodes": share.nodes,
        "latency_ms": m.latency_ms,
        "low_ms": m.low_ms,
        "high_ms": m.high_ms,
        "noisy": m.noisy,
        "total_ms": share.total_ms,
        "share_pct": 100 * share.share,
        "operations": operations(share.kernel),
        "bytes": moved_bytes(share.kernel),
        "gflops": None if view else share.gflops,
        "gb_s": None if view else share.gb_s,
        "of_roof_pct": None if view else 100 * share.of_roof(profile.ceilings),
        "layers": list(share.layers),
    }


def to_csv(profiles: Sequence[Profile]) -> str:
    """A row a kernel; layers are parted by blanks."""
    out = io.StringIO()
    found = [(profile, kernel_row(profile, share)) for profile in profiles for share in profile.shares]
    rows = [
        {"model": profile.model, "precision": profile.precision, **row, "layers": " ".join(row["layers"])}
        for profile, row in found
    ]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


# --- for people ---


def print_profile(profile: Profile) -> None:
    """Tables and totals, on stdout."""
    _print_kernels(profile)
    _print_groups("by operator", profile.by_operator())
    _print_groups("by layer", profile.by_layer(depth=2))
    low = min(profile.latency.low_ms, profile.again.low_ms)
    high = max(profile.latency.high_ms, profile.again.high_ms)
    ceilings = profile.ceilings
    print(
        f"latency      {profile.latency_ms:.4f} ms measured ({low:.4f} to {high:.4f}; measured again, it differs by "
        f"{profile.repeatability_pct:.1f} %)"
    )
    print(
        f"kernels      {profile.sum_ms:.4f} ms, the sum of {len(profile.nodes)} nodes that run {len(profile.kernels)} "
        f"different kernels; {profile.unexplained_ms:+.4f} ms unexplained"
    )
    print(
        f"ceilings     {ceilings.gflops:.0f} GFLOP/s, {ceilings.memory_gb_s:.1f} GB/s from memory, "
        f"{ceilings.cache_gb_s:.0f} GB/s from the cache, measured"
    )
    print(f"target       {profile.target}")
    print(f"time         {profile.seconds:.1f} s")
    for note in profile.notes:
        cli.note(f"note: {note}")


def _print_kernels(profile: Profile) -> None:
    rows = [
        [
            str(s.kernel),
            _layers(s.layers),
            str(s.nodes),
            f"{s.total_ms:.4f}",
            f"{100 * s.share:.1f}",
            f"{s.gflops:.1f}",
            f"{s.gb_s:.1f}",
            f"{100 * s.of_roof(profile.ceilings):.0f}",
        ]
        for s in profile.shares[:TOP]
        if not is_view(s.kernel)
    ]
    columns = ["kernel", "layers", "nodes", "ms", "%", "GFLOP/s", "GB/s", "% of roof"]
    cli.print_table(f"{profile.model}, {profile.precision}: kernels, measured", columns, rows)


def _layers(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return (names[0] if len(names[0]) <= 28 else f"..{names[0][-26:]}") + more


def _print_groups(title: str, groups: Sequence[Group]) -> None:
    rows = [[g.name, str(g.nodes), f"{g.total_ms:.4f}", f"{100 * g.share:.1f}"] for g in groups[:TOP]]
    if len(groups) > TOP:
        rest = groups[TOP:]
        ms, share = sum(g.total_ms for g in rest), 100 * sum(g.share for g in rest)
        rows.append([f"({len(rest)} more)", str(sum(g.nodes for g in rest)), f"{ms:.4f}", f"{share:.1f}"])
    cli.print_table(title, ["name", "nodes", "ms", "%"], rows)


def print_precisions(profiles: Sequence[Profile]) -> None:
    """What other precisions gain, in all and by operator."""
    first = profiles[0]
    rows = [
        [
            p.precision,
            f"{p.latency_ms:.4f}",
            f"{first.latency_ms / p.latency_ms:.2f}",
            str(len(p.nodes)),
            _top(p),
        ]
        for p in profiles
    ]
    columns = ["precision", "ms", "times as fast", "nodes", "most of it"]
    cli.print_table(f"{first.model} in {len(profiles)} precisions, measured in one run", columns, rows)


def _top(profile: Profile) -> str:
    return ", ".join(f"{g.name} {100 * g.share:.0f} %" for g in profile.by_operator()[:3])


def print_against(document: Mapping[str, Any]) -> None:
    """Kernel by kernel, what the other table says."""
    rows = [
        [r["kernel"], str(r["nodes"]), f"{r['here_ms']:.4f}", f"{r['there_ms']:.4f}", f"{r['ratio']:.2f}"]
        for r in document["kernels"][:TOP]
    ]
    columns = ["kernel", "nodes", "here (ms)", "there (ms)", "there / here"]
    cli.print_table(f"against {document['target']}", columns, rows)
    print(
        f"against      {document['common']} of {document['distinct']} kernels, taken {document['matched']}, are in "
        f"both: {document['here_ms']:.4f} ms here, {document['there_ms']:.4f} ms there"
    )
    if document["whole_there_ms"] is not None:
        print(f"whole        {document['whole_there_ms']:.4f} ms there, measured")
