"""The page: a template, a style sheet and a few scripts, filled in and put into one file that loads nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from hwbench import palette
from hwbench.extras import need

SCRIPTS = ("words.js", "model.js", "chart.js", "panels.js", "app.js")
AXES = (("latency", "latency"), ("macs", "MACs"), ("params", "parameters"), ("memory", "memory"))
DATA = ("id", "name", "precision", "batch", "resolutions", "parts", "heat", "devices", "spaces")
"""Of a group's view, what the scripts need."""


def render(
    groups: Sequence[dict[str, Any]],
    *,
    models: Sequence[dict[str, Any]] = (),
    version: str,
    created: str,
    made_by: str,
) -> str:
    """The page as HTML.

    Args:
        groups: as :func:`hwbench.reporting.view.view` gives them.
        models: ONNX models, as :mod:`hwbench.reporting.models` gives them.
        version: of hwbench.
        created: date and time, for the foot of the page.
        made_by: the command, likewise.

    Raises:
        Unavailable: Jinja2 is not installed.
    """
    environment = _environment()
    style = environment.from_string(_text("report.css")).render(palette=palette)
    shown = [{**group, "json": as_script(_data(group)), "count": len(group["devices"])} for group in groups]
    markup = environment.get_template("report.html.j2").render(
        groups=shown,
        models=models,
        apart=apart(groups),
        axes=AXES,
        markers=_markers(),
        style=_trusted(style),
        script=_trusted("\n".join(map(_text, SCRIPTS))),
        ramp=as_script(list(palette.RAMP)),
        version=version,
        created=created,
        made_by=made_by,
    )
    return re.sub(r"\n{3,}", "\n\n", markup)


def _environment() -> Any:
    need("jinja2", "the report")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("hwbench.reporting", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(name: str) -> str:
    return (files("hwbench.reporting") / "page" / name).read_text(encoding="utf-8")


def _trusted(text: str) -> Any:
    """Text of our own that is markup already."""
    from markupsafe import Markup

    return Markup(text)


def as_script(value: Any) -> Any:
    """JSON that may stand in a script: no sign in it can end that, or begin markup."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return _trusted(text)


def _data(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in DATA}


def _markers() -> list[str]:
    """The markers' shapes, from the script that draws them, for the labels of devices."""
    block = re.search(r"const MARKERS = \[(.*?)\];", _text("words.js"), re.DOTALL)
    assert block
    return re.findall(r'"([^"]+)"', block[1])


def apart(groups: Sequence[dict[str, Any]]) -> list[str]:
    """Why the groups are not in one picture, a line each."""
    first = groups[0]
    found = []
    for other in groups[1:]:
        if other["family"] != first["family"]:
            why = "another family: the networks are others, and so is what their accuracies are of"
        elif other["precision"] != first["precision"]:
            why = "another number format: it changes latencies, and accuracies in ways that were not measured"
        elif other["batch"] != first["batch"]:
            why = "another batch: a latency there is of that many images"
        else:
            why = "another number of classes: the classifier takes another time"
        found.append(f"{other['name']} beside {first['name']}: {why}.")
    return found
