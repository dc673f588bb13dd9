"""A cycle model of FPGA accelerators: a DPU, a systolic array, a streaming pipeline. No hardware needed."""
