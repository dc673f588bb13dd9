"""A systolic array in Verilog, and how to run it with Verilator: the truth that the simulator is held to."""
