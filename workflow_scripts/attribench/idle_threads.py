"""To be imported before NumPy and torch: threads of a matrix product that is done go to sleep at once.

They would wait for the next one in a loop, as OpenBLAS and OpenMP have it, and take the processor from the threads that look
through the product's scores: by a third, where there are as many as cores. A network, whose small operations follow each
other closely, is better off with the loop.
"""

import os

for _name, _value in (("OPENBLAS_THREAD_TIMEOUT", "4"), ("OMP_WAIT_POLICY", "passive")):
    os.environ.setdefault(_name, _value)
