"""What all costs have in common that are sums over the entries of a table."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base import Target
from compofa.blocks import Block
from compofa.spaces.family import Family
from compofa.spaces.space import Space
from lut.costs import Setting
from lut.lookup import MissingEntry
from lut.table import Table


@dataclass(frozen=True)
class OfTable:
    """The parts of a :class:`lut.costs.CostModel` that the table answers.

    Args:
        table: of blocks.
    """

    table: Table

    @property
    def target(self) -> Target:
        """What the latencies are of."""
        return self.table.target

    @property
    def family(self) -> Family:
        """The family whose subnets are answered for."""
        return self.table.family

    @property
    def of(self) -> str:
        """The target, in words."""
        return str(self.target)

    @property
    def setting(self) -> Setting:
        """How its networks run."""
        return Setting(self.target.precision, self.target.batch, self.family.classes)

    def failures_in(self, space: Space) -> dict[Block, str]:
        """Blocks of `space` that the target cannot run, and why."""
        failures = self.table.failures
        return {block: failures[block] for block in space.all_blocks() if block in failures}

    def resolutions_in(self, space: Space) -> tuple[int, ...]:
        """Those that the table was built for, at which it must know every block of `space`, and those at which it does.

        Raises:
            MissingEntry: it lacks blocks there; names the first and says how many.
        """
        table = self.table
        if not table.entries:
            raise MissingEntry("the table has no entry: finish it with hwbench build_lut")
        wanted = {*table.complete_resolutions(space), *table.header.resolutions}.intersection(
            space.resolutions
        )
        covered = tuple(resolution for resolution in space.family.resolutions if resolution in wanted)
        known = {*table.entries, *table.failures}
        missing = [block for block in space.all_blocks(covered) if block not in known] if covered else []
        if missing:
            raise MissingEntry(
                f"the table lacks {len(missing)} blocks of space {space.name}, the first being {missing[0]}: add them "
                f"with hwbench build_lut --space {space.name}"
            )
        return covered

    def unknown_in(self, space: Space) -> str | None:
        """Nothing that :meth:`resolutions_in` does not tell."""
        return None
