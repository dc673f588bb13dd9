"""How latencies are measured: always beside a reference.

A machine changes its pace by 5 to 40 % for stretches much longer than a run, so a time alone says little. The
*ratio* to a reference that was run right before and after says nearly all, and that is what is kept, times what the
reference takes when the machine is at its quietest. In the order in which they use each other:

- :mod:`backends.measuring.pairing`: the reference beside the cases, and the ratios. The one place that pairs.
- :mod:`backends.measuring.timing`: the loop, in which cases take turns.
- :mod:`backends.measuring.summary`: ratios become latencies, with intervals.
- :mod:`backends.measuring.rotation`, :mod:`backends.measuring.differencing`: what a block costs in a network.
- :mod:`backends.measuring.reference`: what the reference is, and how its latency is kept.
- :mod:`backends.measuring.steadiness`: what pairing makes of this machine.
"""

METHOD = "paired 1"
"""The name and version of this way of timing, part of every target that is timed so: tables that were timed
otherwise are of something else, and do not merge. Count up whenever the same machine comes out otherwise."""
