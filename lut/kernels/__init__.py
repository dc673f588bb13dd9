"""Tables of kernels, and the latency of whole models from them.

- :mod:`lut.kernels.packed`: the file's bytes.
- :mod:`lut.kernels.table`: the file.
- :mod:`lut.kernels.describe`: what is known of a kernel before it is measured.
- :mod:`lut.kernels.learned`: a model for each operator, for kernels that a table lacks.
- :mod:`lut.kernels.calibrated`: sums of kernels become latencies of networks, with intervals.
- :mod:`lut.kernels.likeness`: which kernels of two runtimes do the same work.
- :mod:`lut.kernels.compare`: two tables, or a profile and a table, kernel by kernel.
"""
