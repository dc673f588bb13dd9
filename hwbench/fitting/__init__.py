"""What ``hwbench fit`` does, as functions of objects."""
