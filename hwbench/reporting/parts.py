"""The blocks of many subnets as rows of small integers, so that a page can add up what any of them costs.

A *part* is a block in networks of one resolution, with its place in the family. A subnet is a row of numbers of parts,
from the image to the classifier; part 0 stands for nothing and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compofa.blocks import Block
from compofa.network import Frame, frame
from compofa.spaces.arch import choice_text
from compofa.spaces.family import Family
from compofa.spaces.layout import GenotypeLayout, Genotypes, layout

Indices = NDArray[np.intp]
STEM, HEAD = "stem", "head"
"""Places before the first and after the last elastic unit; those are ``unit 1`` and so on."""


@dataclass(frozen=True)
class Part:
    """A block where it stands.

    Args:
        place: :data:`STEM`, ``unit 1`` and so on, or :data:`HEAD`.
        choice: what the unit chose, such as ``k5e4``; the block's kind where there was nothing to choose.
        resolution: of the network, in pixels.
        block: what it is.
    """

    place: str
    choice: str
    resolution: int
    block: Block


@dataclass
class Parts:
    """All parts of a family at all of its resolutions.

    Args:
        family: whose.
        parts: in the order of their numbers, from 1.
    """

    family: Family
    parts: list[Part] = field(default_factory=list)
    _numbers: dict[Part, int] = field(default_factory=dict)

    @property
    def layout(self) -> GenotypeLayout:
        """Of the family's genotypes."""
        return layout(self.family)

    def number(self, part: Part) -> int:
        """Of a part, which is counted if it is new."""
        if part not in self._numbers:
            self.parts.append(part)
            self._numbers[part] = len(self.parts)
        return self._numbers[part]

    def _fixed(self, place: str, resolution: int, blocks: tuple[Block, ...]) -> list[int]:
        return [self.number(Part(place, block.kind, resolution, block)) for block in blocks]

    def _chosen(self, around: Frame, unit: int, position: int, choice: int, width: int, before: int) -> int:
        spec = self.layout.units[unit]
        letters = tuple(axis.letter for axis in spec.axes)
        words = choice_text(letters, spec.choices[choice]) if letters else spec.kind
        block = around.block(unit, position, spec.choices[choice], width, before)
        return self.number(Part(f"unit {unit + 1}", words, around.resolution, block))

    @cached_property
    def _frames(self) -> list[Frame]:
        return [frame(self.family, resolution) for resolution in self.family.resolutions]

    @cached_property
    def before(self) -> Indices:
        """What every subnet begins with, shape (resolutions, blocks)."""
        return np.array([self._fixed(STEM, f.resolution, f.before) for f in self._frames], dtype=np.intp)

    @cached_property
    def slots(self) -> Indices:
        """Of each choice of each slot, shape (contexts, slots, 1 + most choices), as in a
        :class:`lut.lookup.Lookup`; 0 for choice 0."""
        at = self.layout
        found = np.zeros((at.contexts, at.slots, 1 + at.max_choices), dtype=np.intp)
        for r, around in enumerate(self._frames):
            for unit, spec in enumerate(at.units):
                for before in range(at.width_count(unit - 1)):
                    for width in range(at.width_count(unit)):
                        mine = found[at.context(r, before, width), at.starts[unit] : at.starts[unit + 1]]
                        for choice in range(len(spec.choices)):
                            for position, places in enumerate((mine[:1], mine[1:])[: spec.max_depth]):
                                number = self._chosen(around, unit, position, choice, width, before)
                                places[:, 1 + choice] = number
        return found

    @cached_property
    def after(self) -> list[Indices]:
        """Per elastic unit, the fixed blocks behind it, shape (resolutions, widths, blocks)."""
        last = len(self.layout.units) - 1
        return [
            np.array(
                [
                    [
                        self._fixed(HEAD if unit == last else f"unit {unit + 1}", f.resolution, blocks)
                        for blocks in f.after[unit]
                    ]
                    for f in self._frames
                ],
                dtype=np.intp,
            )
            for unit in range(last + 1)
        ]

    def rows(self, genotypes: Genotypes) -> Indices:
        """The parts of each subnet in order, shape (n, columns), 0 where a unit has ended.

        Raises:
            ValueError: they are not genotypes of the family.
        """
        at = self.layout
        at.check(genotypes)
        resolution = genotypes[:, 0].astype(np.intp)
        choices = genotypes[:, 1 : 1 + at.slots].T.astype(np.intp)
        chosen = self.slots[at.contexts_of_slots(genotypes), np.arange(at.slots)[:, None], choices]
        widths = at.widths_of(genotypes)
        columns = [self.before[resolution]]
        for unit, after in enumerate(self.after):
            columns += [
                chosen[at.starts[unit] : at.starts[unit + 1]].T,
                after[resolution, widths[unit]],
            ]
        return np.hstack(columns)

    def heat(self, unit: int) -> dict[str, list[list[int]]]:
        """Parts of an elastic unit at its largest width: of its first block and of a later one, shape (choices,
        resolutions)."""
        at = self.layout
        width, before = at.width_count(unit) - 1, at.width_count(unit - 1) - 1
        contexts = [at.context(r, before, width) for r in range(len(self.family.resolutions))]
        first = at.starts[unit]
        count = len(at.units[unit].choices)
        shown = {"first block": first, "later blocks": first + 1}
        return {
            name: self.slots[contexts, slot, 1 : 1 + count].T.tolist()
            for name, slot in shown.items()
            if slot < at.starts[unit + 1]
        }
