"""The model card: what a specialised subnet is, what it was measured to do, and whether that keeps the limit."""

from __future__ import annotations

import html
from typing import Any


def limit_of(chosen: dict[str, Any] | None, latency: dict[str, Any]) -> dict[str, Any] | None:
    """Whether the latency that was asked for is kept, by what was measured, or modelled, on the table's target; None
    if none was asked for or nothing was measured there."""
    found = latency["measured"] or latency.get("modelled")
    if not chosen or not found or not found["is_the_tables_target"]:
        return None
    asked, took = chosen["constraint_ms"], found["latency_ms"]
    return {
        "asked_ms": asked,
        "latency_ms": took,
        "origin": found["origin"],
        "met": took <= asked,
        "excess_pct": 100 * (took / asked - 1),
    }


def limit_text(limit: dict[str, Any]) -> str:
    what = f"asked for {limit['asked_ms']:g} ms, {limit['origin']} {limit['latency_ms']:.4g} ms"
    return f"met ({what})" if limit["met"] else f"MISSED by {limit['excess_pct']:.1f} % ({what})"


def promise_text(promise: dict[str, Any]) -> str:
    """What is promised, what that rests on, and how many subnets were measured for it."""
    tries, pace = promise["tries"], promise["pace"]
    within = f"within {promise['promised_ms']:.4g} ms with probability {promise['confidence']:g}"
    measured = f"{len(tries)} subnet{'s' * (len(tries) > 1)} measured"
    parts = [
        within if promise["kept"] else f"{within}, which is MORE than the limit",
        f"by {promise['rests_on']}",
        f"the device {100 * (pace - 1):+.1f} % against its validation" if pace != 1 else "",
        "not measured" if tries[-1]["latency_ms"] is None else measured,
    ]
    return "; ".join(filter(None, parts))


# --- the card ---


def card_text(card: dict[str, Any]) -> str:
    """The model card for people, Markdown."""
    accuracy, latency, chosen = card["accuracy"], card["latency"], card["chosen"]
    rows = [
        ("architecture", f"`{card['arch']}` ({card['family']})"),
        ("input", " x ".join(map(str, card["input"]))),
        ("size", f"{card['macs'] / 1e6:.2f} M MACs, {card['params'] / 1e6:.3f} M parameters"),
        (
            f"accuracy in {card['precision']}, measured" if card["quantisation"] else "accuracy, measured",
            f"{100 * accuracy['measured']:.2f} % (standard error {100 * accuracy['standard_error']:.2f}) on "
            f"{accuracy['images']:,} images of {accuracy['data']}",
        ),
    ]
    if how := card["quantisation"]:
        rows.append(
            (
                "precision",
                f"{card['precision']} ({how['scheme']}), calibrated on {how['calibration_images']} "
                f"{how['calibration_data']}; {100 * how['accuracy_in_fp32']:.2f} % are right in fp32",
            )
        )
    if chosen:
        rows.append(
            (
                f"accuracy, {chosen['accuracy_is']} before",
                f"{100 * chosen['expected_accuracy']:.2f} %, asked for within {chosen['constraint_ms']:g} ms",
            )
        )
    for origin in ("predicted", "measured", "modelled"):
        if found := latency.get(origin):
            rows.append((f"latency, {origin}", _latency_text(found)))
    if card["promise"]:
        rows.append(("promise", promise_text(card["promise"])))
    if limit := card["limit"]:
        rows.append(("limit", limit_text(limit)))
    elif chosen and any(latency.get(origin) for origin in ("measured", "modelled")):
        rows.append(("limit", "not checked: the latency is not of the table's target"))
    rows += [
        (
            "ONNX against torch" + (" before quantising" if card["quantisation"] else ""),
            f"largest difference {card['onnx_against_torch']:.1e} of the largest logit",
        ),
        ("supernet", f"{card['supernet']['recipe']}, sha256 {card['supernet']['sha256'][:16]}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in card["versions"].items())),
    ]
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join([f"# Subnet {card['arch']}", "", "| | |", "|---|---|", *lines, ""])


def _latency_text(found: dict[str, Any]) -> str:
    target = found["target"]
    how = f"; {found['provenance']}" if "provenance" in found else ""
    return (
        f"{found['latency_ms']:.4g} ms on {target['device']} ({target['backend']}, {target['precision']}, batch "
        f"{target['batch']}, threads {target['threads']}){how}"
    )


def _cell(text: str) -> str:
    """`text` in a cell of a Markdown table, as it is: signs of HTML and of tables show."""
    return " ".join(html.escape(text, quote=False).replace("|", "\\|").split())
