"""The modules of commands: `hwbench.search` itself is the function of that name."""

from importlib import import_module

(
    build_lut,
    collect,
    couplings,
    curves,
    describe,
    doctor,
    evaluate,
    fit,
    papers_table,
    pareto,
    predict,
    profile,
) = (
    import_module(f"hwbench.{name}")
    for name in (
        "build_lut",
        "collect",
        "couplings",
        "curves",
        "describe",
        "doctor",
        "evaluate",
        "fit",
        "papers_table",
        "pareto",
        "predict",
        "profile",
    )
)
reproduce, search, specialize, train, validate = (
    import_module(f"hwbench.{name}") for name in ("reproduce", "search", "specialize", "train", "validate")
)
