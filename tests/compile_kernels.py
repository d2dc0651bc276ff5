"""Compile the ranking's kernels for compute capability 9.0, for which no device is needed; run by test_rank_cuda.py.

The interpreter takes programs that the compiler does not. Prints a JSON object: for each kernel the bytes of shared memory
and the bytes that a thread has no registers for.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from attribench import rank_triton
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

POINTERS = {
    "*fp16": ["a1", "a2", "b1", "b2"],
    "*fp32": ["limit", "found_score", "low", "high", "candidate", "a32", "b32"],
    "*fp64": ["threshold", "best", "margin"],
    "*i32": ["found", "found_group", "doubtful", "doubtful_row", "a_entry", "b_entry", "left", "left_code", "codes"],
    "*i64": ["offsets", "placed", "ends"],
}
TYPES = {name: kind for kind, names in POINTERS.items() for name in names}
TYPES |= {"n_queries": "i32", "n_rows": "i32", "room": "i32", "one": "fp32"}
COARSE = {"D": 512, "FINE": False, "BM": 128, "BN": 256, "BK": 64}
KERNELS = {
    "coarse": (rank_triton.product, COARSE, {"num_warps": 8, "num_stages": 4}),
    "fine": (rank_triton.product, {**COARSE, "FINE": True, "BN": 128}, {"num_warps": 8, "num_stages": 3}),
    "place": (rank_triton.place, {"HAS_ENTRY": True, "STEPS": 7, "CHUNK": 256}, {}),
    "settle": (rank_triton.settle, {"D": 512, "STEPS": 7, "CHUNK": 32, "BK": 64}, {}),
    "gather": (rank_triton.gather, {"CHUNK": 128}, {"num_warps": 1}),
}


def compiled(kernel, constants, options):
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else TYPES[name] for name in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    constexprs = {(names.index(name),): value for name, value in constants.items()}
    return compile(ASTSource(kernel, signature, constexprs, aligned), target=GPUTarget("cuda", 90, 32), options=options)


def stack(binary):
    """The bytes that a thread of the `binary` puts into memory for want of registers."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        tool = Path(nvidia.__file__).parent / "bin/cuobjdump"
        shown = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", shown)[1])


def main():
    made = {name: compiled(*what) for name, what in KERNELS.items()}
    json.dump({name: [one.metadata.shared, stack(one.asm["cubin"])] for name, one in made.items()}, sys.stdout)


if __name__ == "__main__":
    main()
