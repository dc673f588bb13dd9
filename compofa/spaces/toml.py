"""Families written down as TOML.

The file says ``classes``, ``resolutions`` (a list, or ``{from = 128, to = 224, step = 4}``) and a list of ``[[unit]]``
from the image to the classifier. A unit has a ``kind`` and, as far as the kind takes them, ``width`` (base width, times
``width_mult`` of the file, rounded to a multiple of 8), ``width_mults`` (of which one is chosen for the unit),
``stride``, ``depth`` (how many blocks), the axes of its kind such as ``kernel`` and ``expand`` (a value, or a list to
choose from), ``fixed`` (values of axes in spaces that fix them), ``act``, ``se``, ``first_shortcut``.
``based_on = "NAME"`` takes over everything from another family that the file does not say itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compofa.blocks import ACTIVATIONS, make_divisible
from compofa.errors import InputError
from compofa.spaces.family import Axis, Family, Unit
from compofa.spaces.making import MAKERS, check_family

FAMILY_KEYS = (
    "name", "based_on", "width_mult", "in_channels", "classes", "resolutions", "bn_eps", "published", "unit",
)  # fmt: skip
UNIT_KEYS = ("kind", "width", "width_mults", "stride", "depth", "fixed", "act", "se", "first_shortcut")
PUBLISHED = ("", "mbv3", "proxyless", "resnet")
MOST_UNITS, MOST_BLOCKS = 64, 64
Base = Callable[[str], Mapping[str, Any]]


def parse_family(name: str, table: Mapping[str, Any], base: Base) -> Family:
    """The family that the TOML document `table` describes.

    Args:
        name: of the family unless the document says another.
        table: the document.
        base: the document of another family, for ``based_on``.

    Raises:
        InputError: a key is missing, unknown or of the wrong type, or the units do not fit together; says which.
    """
    try:
        if (other := table.get("based_on")) is not None:
            table = {**base(_text("based_on", other)), "name": name, **table}
        family = _family(name, table)
        check_family(family)
        return family
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith("family ") else f"family {name}: {text}") from None


def _family(name: str, table: Mapping[str, Any]) -> Family:
    _check_keys("the family", table, FAMILY_KEYS, ("classes", "resolutions", "unit"))
    units = table["unit"]
    if not isinstance(units, list) or not units or not all(isinstance(unit, dict) for unit in units):
        raise InputError("it has no units: give it [[unit]] tables, from the image to the classifier")
    if len(units) > MOST_UNITS:
        raise InputError(f"it has {len(units)} units: too many, above {MOST_UNITS}")
    published = table.get("published", "")
    if published not in PUBLISHED:
        raise InputError(f"published is {published!r}, not one of {', '.join(PUBLISHED[1:])}")
    mult = _number("width_mult", table.get("width_mult", 1.0), above=0)
    return Family(
        name=_text("name", table.get("name", name)),
        units=tuple(_unit(number, unit, mult) for number, unit in enumerate(units, start=1)),
        classes=_whole("classes", table["classes"]),
        resolutions=_resolutions(table["resolutions"]),
        in_channels=_whole("in_channels", table.get("in_channels", 3)),
        bn_eps=float(_number("bn_eps", table.get("bn_eps", 1e-5), above=0)),
        published=published,
    )


def _unit(number: int, table: Mapping[str, Any], mult: float) -> Unit:
    try:
        kind = _text("kind", table.get("kind"))
        if kind not in MAKERS:
            raise InputError(f"there is no kind of unit {kind!r}; there are {', '.join(MAKERS)}")
        made = MAKERS[kind]
        _check_keys(f"a unit of kind {kind}", table, (*UNIT_KEYS, *made.axes, *made.options), made.needs)
        if made.takes_width != ("width" in table):
            raise InputError(f"a unit of kind {kind} {'needs a' if made.takes_width else 'takes no'} width")
        act = table.get("act", "none")
        if act not in ACTIVATIONS:
            raise InputError(f"act is {act!r}, not one of {', '.join(ACTIVATIONS)}")
        depths = _list("depth", table.get("depth", 1), _whole)
        if depths[-1] > MOST_BLOCKS:
            raise InputError(f"depth is {depths[-1]}: too many blocks, above {MOST_BLOCKS}")
        mults = _list("width_mults", table.get("width_mults", [1.0]), _positive)
        base = _whole("width", table["width"]) if made.takes_width else 0
        widths = tuple(make_divisible(base * mult * each) for each in mults) if base else ()
        axes = tuple(Axis(name, _list(name, table[name], _positive)) for name in made.axes if name in table)
        return Unit(
            kind=kind,
            widths=widths,
            width_mults=mults if widths else (),
            stride=_whole("stride", table.get("stride", 1)),
            depths=depths,
            axes=axes,
            fixed=_fixed(table.get("fixed", {}), axes),
            act=act,
            se=_boolean("se", table.get("se", False)),
            first_shortcut=_boolean("first_shortcut", table.get("first_shortcut", False)),
            options=tuple((name, _whole(name, table[name])) for name in made.options if name in table),
        )
    except InputError as error:
        raise InputError(f"unit {number}: {error}") from None


def _fixed(value: Any, axes: tuple[Axis, ...]) -> tuple[tuple[str, int | float], ...]:
    names = {axis.name for axis in axes}
    if not isinstance(value, dict) or not value.keys() <= names:
        known = ", ".join(sorted(names)) or "axes, of which it has none"
        raise InputError(f"fixed is {value!r}, not values of {known}")
    return tuple((name, _positive(f"fixed {name}", each)) for name, each in sorted(value.items()))


def _resolutions(value: Any) -> tuple[int, ...]:
    if isinstance(value, dict):
        _check_keys("resolutions", value, ("from", "to", "step"), ("from", "to", "step"))
        first, last, step = (_whole(f"resolutions.{key}", value[key]) for key in ("from", "to", "step"))
        value = list(range(first, min(last, first + 1000 * step) + 1, step))
        if not value:
            raise InputError(f"resolutions from {first} to {last} are none")
    return _list("resolutions", value, _whole)


def _check_keys(what: str, table: Mapping[str, Any], known: tuple[str, ...], needed: tuple[str, ...]) -> None:
    if unknown := sorted(table.keys() - set(known)):
        raise InputError(f"{what} has no key {', '.join(map(str, unknown))[:100]}; it has {', '.join(known)}")
    if missing := [key for key in needed if key not in table]:
        raise InputError(f"{what} lacks {', '.join(missing)}")


def _list(name: str, value: Any, check: Callable[[str, Any], Any]) -> tuple[Any, ...]:
    values = value if isinstance(value, list) else [value]
    found = tuple(check(name, each) for each in values)
    if not found or list(found) != sorted(set(found)):
        raise InputError(f"{name} must be different and ascend, not {values!r}")
    return found


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or not 0 < value < 1_000_000:
        raise InputError(f"{name} is {value!r}, not a whole number above 0")
    return value


def _positive(name: str, value: Any) -> int | float:
    return _number(name, value, above=0)


def _number(name: str, value: Any, above: float) -> int | float:
    if type(value) not in (int, float) or not above < value < 1e6:
        raise InputError(f"{name} is {value!r}, not a number above {above:g}")
    return value


def _boolean(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise InputError(f"{name} is {value!r}, not true or false")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 100 or not value.isprintable():
        raise InputError(f"{name} is {value!r}, not a text" if value is not None else f"it has no {name}")
    return value
