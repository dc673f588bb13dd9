"""Target descriptions, one TOML file each; :func:`backends.fpga.target.load_target` reads them."""
