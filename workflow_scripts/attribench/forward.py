"""A network's forward pass over blocks of pixels, in batches that fit into the memory there is."""

import ctypes
import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from attribench.errors import InputError
from attribench.extractors import Loaded

CPU_BATCH = 16  # images; a larger batch is no faster there
_LARGEST_BATCH = 1 << 26  # bytes of pixels, of one that is found automatically: several wait in the host's memory
_MEMORY_SHARE = 0.8  # of what is free on the device, for such a batch
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_DEVICE_TYPES = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}

log = logging.getLogger(__name__)


def choose_device(wanted: str) -> torch.device:
    """The torch device for `wanted` (auto, cpu, cuda, mps); InputError when this machine does not have it."""
    if wanted == "auto":
        return torch.device(next(kind for kind, available in _DEVICE_TYPES.items() if available()))
    if not _DEVICE_TYPES[wanted]():
        raise InputError(f"config key device: {wanted} is not available on this machine; expected auto or cpu")
    return torch.device(wanted)


def keep_freed_memory() -> None:
    """Let glibc keep what a forward pass frees for the next one, instead of handing it back to the system.

    A network's intermediate tensors are large: without this, half of the time of a convolutional network goes into the
    page faults of memory that was returned a moment before. Does nothing where the C library is another one.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


class Forward:
    """Pixels uint8 [n, size, size, 3] -> features float32 [n, d]: scale to [0, 1], normalize, run the network.

    precision: float32, or bf16 (autocast). batch_size: images in a pass; `auto`: found from the memory that is free. A pass
    that does not fit into memory is made again in halves, and the later ones are of that size from the start. compiled: by
    torch.compile, for that batch; InputError where this machine cannot.
    """

    def __init__(
        self,
        extractor: Loaded,
        size: int,
        *,
        precision: str,
        device: torch.device,
        batch_size: int | str = "auto",
        compiled: bool = False,
    ):
        # On CUDA, PyTorch's convolutions are TF32 unless told otherwise: three decimal digits, where float32 has seven.
        torch.backends.cudnn.allow_tf32 = False
        self.extractor, self.size, self.precision, self.device = extractor, size, precision, device
        self._network = extractor.module.to(device, memory_format=torch.channels_last)
        # (x / 255 - mean) / std is x * scale + shift. For a whole line of pixels, since short rows are slow.
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (extractor.mean, extractor.std))
        self._scale, self._shift = ((v.float().repeat(size).to(device)) for v in (1 / (255 * std), -mean / std))
        self._upload = _PinnedUpload(device) if device.type == "cuda" else self._plain_upload
        if batch_size == "auto":
            batch_size = self._fitting_batch() if device.type == "cuda" else CPU_BATCH
        self.batch_size = int(batch_size)
        self._compiled = compiled
        if compiled:
            self._compile()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """The features of all of `pixels`."""
        return np.concatenate([features() for features in self._start(pixels)])

    def map(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The features of each of `blocks`. On a GPU the next block is under way while one's features are used."""
        under_way: list[Callable] | None = None
        for block in blocks:
            following = self._start(block)
            if under_way:
                yield np.concatenate([features() for features in under_way])
            under_way = following
        if under_way:
            yield np.concatenate([features() for features in under_way])

    def _start(self, pixels: np.ndarray) -> list[Callable[[], np.ndarray]]:
        """Start the passes over `pixels`; for each, a function that waits for its features."""
        passes, first = [], 0
        while first < len(pixels):
            part = pixels[first : first + self.batch_size]
            try:
                passes.append(_download(self._features(_padded(part, self.batch_size)), len(part)))
            except Exception as error:
                if not _is_out_of_memory(error):
                    if self._compiled:
                        raise _not_compiled(error) from error
                    raise
                reason = _first_line(error)
            else:
                first += len(part)
                continue
            # Here, where no traceback keeps the tensors of the pass that failed.
            self._halve(reason)
        return passes

    def _compile(self) -> None:
        """Have the network compiled, which happens at the first pass of a batch size."""
        try:
            self._network = torch.compile(self._network, dynamic=False)
        except Exception as error:  # of the compiler's own many kinds
            raise _not_compiled(error) from error
        self(np.zeros((1, self.size, self.size, 3), np.uint8))

    def _plain_upload(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels).to(self.device)

    def _features(self, pixels: np.ndarray) -> torch.Tensor:
        n, size = len(pixels), self.size
        lines = self._upload(pixels).view(n, size, size * 3)
        if self.device.type != "cpu":  # which does it in one pass
            lines = lines.float()
        lines = torch.addcmul(self._shift, lines, self._scale)
        # The channels stay last in memory: convolutions are twice as fast on that.
        images = lines.view(n, size, size, 3).permute(0, 3, 1, 2)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self._network(images).float()

    def _halve(self, reason: str) -> None:
        if self.batch_size == 1:
            raise InputError(f"not enough memory on {self.device} for one image ({reason}); expected more of it")
        self.batch_size //= 2
        if self._compiled:
            torch.compiler.reset()  # which would give up after some batch sizes
        log.warning("out of memory; the batch is now %d (%s)", self.batch_size, reason)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _fitting_batch(self) -> int:
        """The largest power of two of images whose pass should fit into the GPU's free memory, from two small passes."""
        used, image_bytes = [], self.size**2 * 3
        try:
            for n in (8, 16):
                torch.cuda.reset_peak_memory_stats(self.device)
                before = torch.cuda.memory_allocated(self.device)
                self._features(np.zeros((n, self.size, self.size, 3), np.uint8))
                used.append(torch.cuda.max_memory_allocated(self.device) - before)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            return 8  # to be halved further
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        fitting = int(_MEMORY_SHARE * free / max(1, (used[1] - used[0]) / 8))
        return 1 << (max(1, min(fitting, _LARGEST_BATCH // image_bytes)).bit_length() - 1)


def _padded(pixels: np.ndarray, n: int) -> np.ndarray:
    """`pixels` with black images added up to `n`.

    Kernels may choose another summation order for another batch size, and an image's feature must not depend on the shard
    that it is in.
    """
    if len(pixels) == n:
        return pixels
    return np.concatenate([pixels, np.zeros((n - len(pixels), *pixels.shape[1:]), np.uint8)])


def _download(features: torch.Tensor, n: int) -> Callable[[], np.ndarray]:
    """Start to copy the first `n` of `features` to the host; a function that waits for the copy."""
    if features.device.type != "cuda":
        return lambda: features[:n].cpu().numpy()
    host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
    host.copy_(features, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> np.ndarray:
        done.synchronize()
        return host[:n].numpy()

    return wait


class _PinnedUpload:
    """Copies arrays to a GPU from two pinned buffers in turn, on a stream of its own, beside the computation."""

    def __init__(self, device: torch.device):
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._buffers: list[tuple[torch.Tensor, torch.cuda.Event]] = []

    def __call__(self, array: np.ndarray) -> torch.Tensor:
        source = torch.from_numpy(array)
        if len(self._buffers) < 2:
            buffer, copied = torch.empty(0, dtype=source.dtype), torch.cuda.Event()
        else:
            buffer, copied = self._buffers.pop(0)
            copied.synchronize()
        if buffer.numel() < source.numel():
            buffer = torch.empty(source.numel(), dtype=source.dtype, pin_memory=True)
        self._buffers.append((buffer, copied))
        pinned = buffer[: source.numel()].view(source.shape)
        pinned.copy_(source)
        current = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            there = pinned.to(self._device, non_blocking=True)
            copied.record(self._stream)
        current.wait_stream(self._stream)
        there.record_stream(current)
        return there


def _not_compiled(error: Exception) -> InputError:
    reason = _first_line(error) or type(error).__name__
    return InputError(f"config key compile: true does not work on this machine ({reason}); expected false")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


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
