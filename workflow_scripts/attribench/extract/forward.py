"""A network's forward pass over blocks of pixels, in batches that fit into the memory there is."""

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from attribench.common.errors import InputError, first_line
from attribench.extract.extractors import Network
from attribench.extract.readout import cannot_run, read_out

GPU_BATCH, CPU_BATCH = 256, 16  # images; a larger batch is no faster
_IS_AVAILABLE = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}

log = logging.getLogger(__name__)


def choose_device(wanted: str) -> torch.device:
    """Return the torch device for `wanted` (auto, cpu, cuda, mps). Raises InputError when this machine does not have it."""
    if wanted == "auto":
        return torch.device(next(name for name, is_available in _IS_AVAILABLE.items() if is_available()))
    if not _IS_AVAILABLE[wanted]():
        raise InputError(f"config key device: {wanted} is not available on this machine; expected auto or cpu")
    return torch.device(wanted)


class ForwardPass:
    """Compute features, float32 [n, d], of pixels, uint8 [n, size, size, 3]: scale to [0, 1], normalize, run the network.

    precision: float32, or bf16 (autocast). batch_size: images in a pass; it is halved when a pass does not fit into memory.
    compiled: by torch.compile, for that batch size; InputError where this machine cannot.
    """

    def __init__(
        self,
        network: Network,
        size: int,
        *,
        precision: str,
        device: torch.device,
        batch_size: int | str = "auto",
        compiled: bool = False,
    ):
        # On CUDA, PyTorch's convolutions are TF32 by default: three decimal digits, where float32 has seven.
        torch.backends.cudnn.allow_tf32 = False
        self.network, self.size, self.precision, self.device = network, size, precision, device
        self._module = _with_channels_last(network.module.to(device))
        # (x / 255 - mean) / std is x * scale + shift. For a whole line of pixels, since short rows are slow.
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (network.mean, network.std))
        self._scale, self._shift = ((v.float().repeat(size).to(device)) for v in (1 / (255 * std), -mean / std))
        if batch_size == "auto":
            batch_size = GPU_BATCH if device.type == "cuda" else CPU_BATCH
        self.batch_size = int(batch_size)
        self._compiled = compiled
        if compiled:
            self._compile()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features of `pixels`."""
        return self._start(pixels)()

    def map(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the features of each of `blocks`. A GPU computes those of the next block while one's are used."""
        features = None
        for block in blocks:
            following = self._start(block)
            if features:
                yield features()
            features = following
        if features:
            yield features()

    def _start(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        """Start to compute the features of `pixels`, in smaller batches if need be; return what waits for them."""
        while True:
            batches = [pixels[first : first + self.batch_size] for first in range(0, len(pixels), self.batch_size)]
            try:
                passes = [self._start_pass(batch) for batch in batches]
                return lambda: np.concatenate([features() for features in passes])
            except Exception as error:
                if not _is_out_of_memory(error):
                    if self._compiled:  # at the first pass: `_compile` says what that means
                        raise
                    log.exception("the forward pass failed")
                    fault = error if isinstance(error, InputError) else cannot_run(error, self.size)
                    raise InputError(f"extractor {self.network.name}: {fault}") from error
                reason = first_line(error)
            # After the except block, whose traceback keeps the tensors of the failed pass.
            self._halve(reason)

    def _start_pass(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        """Start the pass over at most a batch of pixels; return what waits for its features."""
        features = self._features(_filled_up(pixels, self.batch_size))[: len(pixels)]
        if self.device.type != "cuda":
            return features.cpu().numpy
        on_host = features.to("cpu", non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def wait() -> np.ndarray:
            copied.synchronize()
            return on_host.numpy()

        return wait

    def _features(self, pixels: np.ndarray) -> torch.Tensor:
        n, size, device = len(pixels), self.size, self.device
        lines = torch.from_numpy(pixels).view(n, size, size * 3)
        if device.type == "cuda":  # from pinned memory, so that the copy does not keep this thread waiting
            lines = lines.pin_memory().to(device, non_blocking=True)
        if device.type != "cpu":  # which converts while it scales
            lines = lines.to(device).float()
        lines = torch.addcmul(self._shift, lines, self._scale)
        # The channels stay last in memory: convolutions are twice as fast on that.
        images = lines.view(n, size, size, 3).permute(0, 3, 1, 2)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return read_out(self._module(images), n, self.network.output, self.network.pool).float()

    def _compile(self) -> None:
        """Compile the network, which torch does at the first pass of a batch size."""
        try:
            self._module = torch.compile(self._module, dynamic=False)
            self(np.zeros((1, self.size, self.size, 3), np.uint8))
        except InputError:
            raise
        except Exception as error:  # of the compiler's own many sorts
            reason = first_line(error)
            raise InputError(
                f"config key compile: true does not work on this machine ({reason}); expected false"
            ) from error

    def _halve(self, reason: str) -> None:
        if self.batch_size == 1:
            raise InputError(f"not enough memory on {self.device} for one image ({reason}); expected more of it")
        self.batch_size //= 2
        if self._compiled:
            torch.compiler.reset()  # which would give up after some batch sizes
        log.warning("out of memory; the batch is now %d (%s)", self.batch_size, reason)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _with_channels_last(module: torch.nn.Module) -> torch.nn.Module:
    """Return `module` with the channels of its images' kernels last in memory. Tensors of other ranks have no such order."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module


def _filled_up(pixels: np.ndarray, n: int) -> np.ndarray:
    """Return `pixels` with black images added up to `n`.

    Kernels may choose another summation order for another batch size, and an image's feature must not depend on the shard
    that it is in.
    """
    if len(pixels) == n:
        return pixels
    return np.concatenate([pixels, np.zeros((n - len(pixels), *pixels.shape[1:]), np.uint8)])


# How a CPU's and MPS' allocators say it, and CUDA's libraries, torch's compiler, and oneDNN, which has no word for it.
_OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "bad_alloc", "ALLOC_FAILED"),
    *("MemoryError", "can't start new thread", "Cannot allocate memory"),
    *("could not create a primitive", "could not create a memory"),
)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )
