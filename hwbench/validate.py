"""``hwbench validate``: compare a table's sums with whole networks, and calibrate them.

The networks are measured now, or, for a table of a device that is elsewhere, come from a file (``--measured``).
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compofa.errors import InputError
from hwbench import cli

if TYPE_CHECKING:
    import numpy as np

    from backends.base import Backend, Network, Target
    from compofa.spaces.arch import Arch
    from compofa.spaces.space import Space
    from lut.calibration import Calibration
    from lut.table import Table

MAX_PARAMS_AT_ONCE = 50_000_000
"""Networks are measured in groups of at most so many weights: 200 MB, times the copies a runtime makes."""


def parser() -> cli.Parser:
    """The command's arguments."""
    p = cli.command_parser("validate")
    p.add_argument("--lut", type=Path, metavar="FILE", help="the table (default: the newest of --family)")
    p.add_argument("--family", type=cli.family, default="glyphs", help="whose newest table, without --lut")
    p.excludes("--lut", "--family")
    p.add_argument("--space", help="whose subnets (default: the widest that the table covers)")
    p.add_argument(
        "--subnets", type=cli.positive_int, default=40, metavar="N", help="random subnets to measure"
    )
    p.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="a CSV of subnets that were measured on the table's device, in place of measuring here",
    )
    p.add_argument(
        "--column",
        metavar="NAME",
        help="of the latencies in milliseconds in --measured (default: measured_ms)",
    )
    p.add_argument("--seed", type=cli.seed, default=0, help="of the subnets and their order")
    p.add_argument(
        "--out",
        type=Path,
        metavar="PICTURE",
        help="png, svg or pdf (default: beside the table, .validate.png)",
    )
    p.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write the subnets and their latencies, for hwbench fit --column measured_ms",
    )
    p.add_argument(
        "--option",
        type=cli.name_and_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the table's backend, besides those that its target tells; may be repeated",
    )
    p.add_argument(
        "--force-calibration",
        action="store_true",
        help="keep the calibration though it is not to be trusted, or rests on fewer subnets than the one there",
    )
    p.add_argument("--force-target", action="store_true", help="go on though this is not the table's target")
    p.add_argument("--json", action="store_true", help="print the scores as JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return cli.run(parser(), execute, argv)


def execute(args: argparse.Namespace) -> int:
    """Measure, score, store the calibration and draw."""
    import numpy as np

    from lut.calibration import calibration_path
    from lut.formats import read_table

    lut = args.lut or default_table(args.family)
    table = read_table(lut)
    picture = args.out or lut.with_name(lut.name.removesuffix(".jsonl") + ".validate.png")
    cli.check_writable(picture, cli.PICTURE_SUFFIXES)
    cli.check_writable(calibration_path(lut))
    if args.csv:
        cli.check_writable(args.csv)
    if args.measured:
        validation = from_file(table, args.measured, args.column or "measured_ms")
    elif args.column:
        raise InputError("--column names a column of --measured, which is not given")
    else:
        validation = from_machine(args, table, np.random.default_rng(args.seed))
    calibration = validation.calibration
    # First what took long to measure; a full disk that refuses one file must not cost the others.
    failed: list[str] = []
    kept = keep(args, validation, calibration_path(lut), failed)
    document = {
        "lut": str(lut),
        "picture": str(picture),
        "calibration": str(kept) if kept else None,
        "target": table.target.to_dict(),
        "measured_on": validation.target,
        "origin": validation.origin,
        "blocks": table.origins,
        "family": table.family.name,
        "n": len(calibration.archs),
        **assess(calibration),
    }
    if args.csv:
        _attempt(failed, lambda: write_measured(args.csv, validation))
    _attempt(failed, lambda: _draw(picture, calibration, document, str(table.target)))
    if args.json:
        cli.emit_json(document)
    else:
        _print(document, str(table.target))
    for line in failed:
        cli.note(line)
    return cli.FAILED if failed else cli.OK


@dataclass(frozen=True)
class Validation:
    """Networks that were measured beside a table.

    Args:
        calibration: the networks.
        target: what they were measured on, JSON-ready.
        label: the same for people.
        origin: of the latencies, one of :data:`backends.base.Measurement.ORIGINS`.
        same_target: it is the table's.
    """

    calibration: Calibration
    target: dict[str, Any] | str
    label: str
    origin: str
    same_target: bool


def from_machine(args: argparse.Namespace, table: Table, rng: np.random.Generator) -> Validation:
    """Measure random subnets here and now."""
    archs = draw_subnets(table, _space(table, args.space), args.subnets, rng)
    backend = open_backend(table.target, args.seed, dict(args.option))
    same_target = check_target(table.target, backend.target, args.force_target)
    if same_target:
        backend.use_reference(table.header.host.get("reference"))
    calibration = measure(backend, table, archs, rng)
    target = backend.target
    return Validation(calibration, target.to_dict(), str(target), backend.origin, same_target)


def from_file(table: Table, path: Path, column: str) -> Validation:
    """Subnets and their latencies from a CSV file, which is believed to be of the table's device.

    Raises:
        InputError: the file names another target, a subnet comes twice, or there are too few.
    """
    from compofa.spaces.layout import decode
    from lut.calibration import MIN_NETWORKS, Calibration
    from lut.subnets_csv import read_subnets

    rows = read_subnets(path, table.family_as_built)
    latency_ms = rows.latencies(column)
    archs = tuple(decode(table.family_as_built, rows.genotypes))
    if len(set(archs)) < len(archs):
        twice = next(arch for i, arch in enumerate(archs) if arch in archs[:i])
        raise InputError(f"{path} has {twice} more than once: give each subnet one latency")
    if len(archs) < MIN_NETWORKS:
        raise InputError(f"{path} holds {len(archs)} subnets; a calibration needs {MIN_NETWORKS} or more")
    label = rows.target or str(table.target)
    if rows.target and rows.target != str(table.target):
        raise InputError(
            f"{path} is of {rows.target}, the table of {table.target}: measure both on one device"
        )
    origin = column.removesuffix("_ms") if column in ("modelled_ms", "predicted_ms") else "measured"
    return Validation(Calibration(table, archs, tuple(latency_ms.tolist())), label, label, origin, True)


# --- keeping what was measured ---


def keep(args: argparse.Namespace, validation: Validation, path: Path, failed: list[str]) -> Path | None:
    """Write the calibration to `path`, or, where that cannot be done, to the folder for temporary files.

    Returns:
        Where it is; None if it is not kept, which was said.
    """
    calibration = validation.calibration
    if not validation.same_target:
        cli.note("the calibration is not kept: it is of another target than the table")
        return None
    if not args.force_calibration and (reason := _not_worth_keeping(calibration, path)):
        cli.note(f"the calibration is not kept: {reason} (--force-calibration keeps it all the same)")
        return None
    try:
        calibration.save(path)
        return path
    except OSError as error:
        failed.append(f"{path} cannot be written: {error.strerror}")
    rescued = Path(tempfile.gettempdir()) / path.name
    if _attempt(failed, lambda: calibration.save(rescued)):
        failed.append(f"what was measured is in {rescued}: move it beside the table once there is room")
        return rescued
    return None


def _not_worth_keeping(calibration: Calibration, path: Path) -> str | None:
    from lut.calibration import Calibration

    if calibration.distrust:
        return calibration.distrust
    if not path.exists():
        return None
    try:
        there = Calibration.load(path, calibration.table)
    except ValueError:  # of another table, or broken: nobody can use it
        return None
    if len(there.archs) > len(calibration.archs) and not there.distrust:
        return f"the one in {path} rests on {len(there.archs)} subnets, this one on {len(calibration.archs)}"
    return None


def _attempt(failed: list[str], write: Callable[[], object]) -> bool:
    try:
        write()
        return True
    except OSError as error:
        failed.append(f"{error.filename or 'a file'} cannot be written: {error.strerror or error}")
        return False


def default_table(family: str) -> Path:
    """The table of `family` in the default place that :func:`lut.trust.choose_table` picks.

    Raises:
        ValueError: there is no such family or no such table.
    """
    from backends.machine.host import cpu_name
    from compofa.spaces.registry import get_family
    from lut import store
    from lut.trust import choose_table

    if choice := choose_table(get_family(family), cpu_name()):
        if choice.why:
            cli.note(f"validates {choice.path}, {choice.why}")
        return choice.path
    raise InputError(
        f"no table of {family} in {store.tables_folder()}: run hwbench build_lut --family {family}, or give --lut"
    )


# --- what to measure, and on what ---


def _space(table: Table, name: str | None) -> Space:
    from compofa.spaces.space import get_space

    return get_space(name, table.family_as_built) if name else table.widest_space()


def draw_subnets(table: Table, space: Space, count: int, rng: np.random.Generator) -> tuple[Arch, ...]:
    """`count` distinct random subnets of `space`, at the resolutions that the table covers in full.

    Raises:
        ValueError: the table covers no resolution, or the space has fewer subnets, or `count` is too small.
    """
    space = space.without(table.failures)
    resolutions = tuple(r for r in table.complete_resolutions(space) if r in space.resolutions)
    if not resolutions:
        raise InputError(f"the table covers space {space.name} at no resolution; finish it with build_lut")
    return draw_at(resolutions, space, count, rng)


def draw_at(
    resolutions: Sequence[int], space: Space, count: int, rng: np.random.Generator
) -> tuple[Arch, ...]:
    """`count` distinct random subnets of `space` at the given resolutions.

    Raises:
        InputError: the space has fewer subnets, or `count` is too small.
    """
    from lut.calibration import MIN_NETWORKS

    most = space.count(resolutions)
    if not MIN_NETWORKS <= count <= most:
        raise InputError(f"--subnets must be {MIN_NETWORKS} to {most} here, not {count}")
    if most <= 10 * count:
        everything = list(space.enumerate(resolutions))
        return tuple(everything[i] for i in rng.permutation(most)[:count])
    found: dict[Arch, None] = {}
    while len(found) < count:  # ends: less than a tenth of the space is wanted
        found[space.sample(rng, int(rng.choice(resolutions)))] = None
    return tuple(found)


def open_backend(target: Target, seed: int, options: Mapping[str, str] | None = None) -> Backend:
    """The backend that measures on `target`, as far as this machine has it; `options` go before the target's.

    Raises:
        BackendUnavailable: it cannot run here.
        ValueError: there is no such backend.
    """
    from backends import registry
    from backends.base import Settings

    backend = registry.load(target.backend)
    chosen = {**backend.options_of(target), **(options or {})}
    opened = backend(Settings(target.precision, target.batch, target.threads, seed, chosen))
    opened.progress, opened.say = cli.progress_lines, cli.note
    return opened


def check_target(recorded: Target, present: Target, force: bool) -> bool:
    """Whether the table's target is the present one.

    Raises:
        ValueError: it is not, and `force` is false; says what differs.
    """
    from lut.store import target_differences

    if (older := _timed_by_an_older_version(recorded, present)) is not None:
        cli.note(
            "note: the table was timed by an older version of hwbench, blocks by themselves; the calibration makes up "
            "for that, building it anew (hwbench build_lut) makes it agree with others"
        )
        recorded = older
    differences = "; ".join(target_differences(recorded, present))
    if differences and not force:
        raise InputError(
            f"the table is of another target: {differences} (--force-target goes on all the same)"
        )
    if differences:
        cli.note(f"warning: the table is of another target: {differences}")
    return not differences


def _timed_by_an_older_version(recorded: Target, present: Target) -> Target | None:
    """`recorded` with the method of timing of `present`, if it has none of its own."""
    of_method = {name: value for name, value in present.details if name in ("clock", "timing")}
    if not of_method or "timing" in dict(recorded.details):
        return None
    return replace(recorded, details=tuple(sorted({**dict(recorded.details), **of_method}.items())))


# --- measuring ---


def measure(backend: Backend, table: Table, archs: tuple[Arch, ...], rng: np.random.Generator) -> Calibration:
    """Measure each subnet end to end twice: all once, then all again in another order.

    Raises:
        KeyboardInterrupt: Ctrl-C; nothing is kept.
    """
    from compofa.network import arch_blocks
    from lut.calibration import Calibration

    networks = [arch_blocks(table.family, arch) for arch in archs]
    with cli.progress("measuring networks", 2 * len(archs)) as advance:
        try:
            first, second = (_one_pass(backend, networks, rng, advance) for _ in range(2))
        except KeyboardInterrupt:
            raise KeyboardInterrupt("a validation measures everything twice or says nothing") from None
    return Calibration(table, archs, first, second)


def _one_pass(
    backend: Backend, networks: list[Network], rng: np.random.Generator, advance: cli.Advance
) -> tuple[float, ...]:
    """Latency in ms of each network, measured in random order in groups that fit the memory."""
    latency = [0.0] * len(networks)
    for group in _groups(rng.permutation(len(networks)).tolist(), networks):
        for i, measurement in zip(
            group, backend.network_latencies([networks[i] for i in group]), strict=True
        ):
            latency[i] = measurement.latency_ms
        advance(len(group))
    return tuple(latency)


def _groups(order: list[int], networks: list[Network]) -> list[list[int]]:
    """`order` cut into runs of networks of at most :data:`MAX_PARAMS_AT_ONCE` weights together."""
    from compofa.blocks import total_params

    groups: list[list[int]] = []
    room = 0
    for i in order:
        size = total_params(networks[i])
        if size > room or not groups:
            groups.append([])
            room = MAX_PARAMS_AT_ONCE
        groups[-1].append(i)
        room -= size
    return groups


def write_measured(path: Path, validation: Validation) -> None:
    """Write the subnets and the mean of the measurements of each as CSV: ``measured_ms``, or ``modelled_ms``."""
    from compofa.spaces.layout import encode
    from lut.subnets_csv import TARGET, subnet_columns, write_csv

    calibration = validation.calibration
    family = calibration.table.family
    header, cells = subnet_columns(family, encode(family, calibration.archs))
    latency = {f"{validation.origin}_ms": calibration.measured_ms}
    write_csv(path, [*header, TARGET], [[*row, validation.label] for row in cells], latency)


# --- reporting ---


def assess(calibration: Calibration) -> dict[str, Any]:
    """The scores of the raw sums and, leave-one-out, of the calibrated model; what can be asked of any model, and
    whether this one or the machine is the limit; and the model fitted on everything."""
    import numpy as np

    from lut.scores import reference_noise_pct, scores

    measured = calibration.measured_ms
    calibrated = scores(measured, calibration.held_out_ms)
    noise_pct = None
    if calibration.second_ms:
        noise_pct = reference_noise_pct(np.array(calibration.first_ms), np.array(calibration.second_ms))
    return {
        "raw": scores(measured, calibration.raw_ms),
        "calibrated": calibrated,
        "repeatability_pct": calibration.repeatability_pct,
        "noise_pct": noise_pct,
        "model_error_pct": model_error_pct(calibrated["mape_pct"], noise_pct),
        "limit": limit(calibrated["mape_pct"], noise_pct),
        "within_95_pct": calibration.error_bound_pct(),
        "distrust": calibration.distrust,
        "model": dict(calibration.model.coefficients),
    }


def model_error_pct(mape_pct: float, noise_pct: float | None) -> float:
    """The model's own part of its error: the noise of what it was compared with adds to it in quadrature."""
    return math.sqrt(max(mape_pct**2 - (noise_pct or 0.0) ** 2, 0.0))


def limit(mape_pct: float, noise_pct: float | None) -> str | None:
    """Whether the ``machine``'s noise or the ``model``'s own error is the larger part; None if it cannot be told."""
    if noise_pct is None:
        return None
    return "machine" if noise_pct > model_error_pct(mape_pct, noise_pct) else "model"


def _draw(picture: Path, calibration: Calibration, document: dict[str, Any], target: str) -> None:
    from hwbench import plots

    plots.draw_validation(
        picture,
        measured_ms=calibration.measured_ms,
        panels=[
            plots.Panel(
                "raw sum", calibration.raw_ms, document["raw"]["mape_pct"], document["raw"]["spearman"]
            ),
            plots.Panel(
                "calibrated, leave-one-out",
                calibration.held_out_ms,
                document["calibrated"]["mape_pct"],
                document["calibrated"]["spearman"],
            ),
        ],
        title=f"{document['family']}, {document['n']} subnets{_repeats(document)}",
        target=target,
        origin=document["origin"],
    )


def _repeats(document: dict[str, Any]) -> str:
    repeats = document["repeatability_pct"]
    return "" if repeats is None else f", repeatability {repeats:.1f} %"


def _print(document: dict[str, Any], target: str) -> None:
    rows = [
        (
            name,
            *(f"{document[key][score]:.1f} %" for score in ("mape_pct", "within_5_pct", "within_10_pct")),
            "-" if document[key]["spearman"] is None else f"{document[key]['spearman']:.3f}",
        )
        for key, name in (("raw", "raw sum"), ("calibrated", "calibrated, leave-one-out"))
    ]
    cli.print_table(
        f"{document['family']}: predicted against {document['origin']}, {document['n']} subnets",
        ("model", "MAPE", "within 5 %", "within 10 %", "Spearman"),
        rows,
    )
    terms = ", ".join(f"{name} {value:.4g}" for name, value in document["model"].items())
    if document["noise_pct"] is not None:
        print(
            f"repeatability {document['repeatability_pct']:.1f} % (second measurement against the first); so true "
            f"latencies would score {document['noise_pct']:.1f} %, and the {document['limit']} is the limit"
        )
    print(f"a network     lies within {document['within_95_pct']:.1f} % of its prediction, 95 times of 100")
    if document["distrust"]:
        print(f"not trusted   {document['distrust']}")
    if document["origin"] == "modelled":
        print("              nothing was measured: this says how far sums of blocks are from the whole model")
    print(f"model         {terms}")
    print(f"target        {target}")
    if len(document["blocks"]) > 1:
        print("blocks        " + ", ".join(f"{n} {origin}" for origin, n in document["blocks"].items()))
    print(f"calibration   {document['calibration'] or 'not kept'}")
    print(f"picture       {document['picture']}")


if __name__ == "__main__":
    sys.exit(main())
