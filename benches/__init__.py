"""`make bench`: genkan against the programs it replaces, on the same links, processors and machines, in the same run.

Everything happens in network namespaces of its own; `README.md` beside this says how to run and to read it.
"""

import os

# The lab's namespaces and the benchmark's may stand on one machine; the name goes into both.
os.environ["GENKAN_LAB"] = "bn"
