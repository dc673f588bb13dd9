"""The kernels of any ONNX model: what the runtime itself fused, cut out and timed.

Nobody has to guess what a runtime fuses: ONNX Runtime writes the model that it made of a model, and OpenVINO tells
which operators went into each node of its own. Each such node is a kernel. It is cut out with the shapes and the
constants that it has in the network, equal ones once, and timed beside the reference like everything else
(:mod:`backends.measuring`). In the order in which they use each other:

- :mod:`backends.kernels.kernel`: what a kernel is, and when two are equal.
- :mod:`backends.kernels.costs`: its operations and bytes.
- :mod:`backends.kernels.lean`: an ONNX file without its weights.
- :mod:`backends.kernels.files`: ONNX files, read with care.
- :mod:`backends.kernels.runtime`: what a runtime has to tell and to do.
- :mod:`backends.kernels.sessions`: how models are run by ONNX Runtime.
- :mod:`backends.kernels.graph`: the optimised model, and each of its nodes as a model of its own.
- :mod:`backends.kernels.layers`: which of the user's layers a kernel is from.
- :mod:`backends.kernels.openvino_graph`: the same in OpenVINO, with its ``costs``, ``pieces`` and ``groups``.
- :mod:`backends.kernels.runtimes`: both, by name.
- :mod:`backends.kernels.bench`: their times, and the whole model's.
- :mod:`backends.kernels.precision`: the same model in int8 and fp16.
"""
