"""TVM: blocks and networks compiled for a described processor, run here or on boards over TVM's RPC.

What imports TVM runs in child processes only (:mod:`backends.tvm.crew`): it can crash, and a board can hang.
"""
