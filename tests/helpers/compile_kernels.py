"""Compile the ranking's kernels for compute capability 9.0, for which no device is needed; run by test_gpu.py.

The interpreter takes programs that the compiler does not. Prints the names of the kernels that were compiled, as JSON.
"""

import json

from attribench.rank import gpu
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

POINTERS = {
    "*fp32": ["tile", "cross", "low", "high", "candidate", "rows"],
    "*fp64": ["threshold", "best", "margin", "queries", "norm"],
    "*i32": ["listed", "n_listed"],
    "*i64": ["offsets", "first_reached"],
}
TYPES = {name: kind for kind, names in POINTERS.items() for name in names}
TYPES |= {"n_queries": "i32", "n_rows": "i32"}
SIZES = {"STEPS": 7, "BINS": 128}
SCAN = {"CHUNK": 1024, "PARTS": 4, "IS_FINE": True, **SIZES}
KERNELS = {
    "coarse scan": (gpu.scan_kernel, {**SCAN, "PARTS": 1, "IS_FINE": False}),
    "fine scan": (gpu.scan_kernel, SCAN),
    "settle": (gpu.settle_kernel, {"D": 512, "CHUNK": 32, "COLUMNS": 64, **SIZES}),
}


def main() -> None:
    for kernel, constants in KERNELS.values():
        signature = {name: "constexpr" if name in constants else TYPES[name] for name in kernel.arg_names}
        compile(ASTSource(fn=kernel, signature=signature, constexprs=constants), target=GPUTarget("cuda", 90, 32))
    print(json.dumps(list(KERNELS)))


if __name__ == "__main__":
    main()
