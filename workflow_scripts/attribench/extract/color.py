"""The colour histogram, a baseline that any network should beat. It needs no torch, whose import would take longer."""

from collections.abc import Iterable, Iterator

import numpy as np

from attribench.extract.extractors import Network


def color_histograms(
    pixels: np.ndarray, bins: int, mean: tuple[float, ...] = (0, 0, 0), std: tuple[float, ...] = (1, 1, 1)
) -> np.ndarray:
    """Return the square roots of joint RGB histograms of `pixels` with `bins` bins per channel: unit length.

    pixels: uint8 [n, h, w, 3]; features: float32 [n, bins ** 3]. mean, std: of each channel, by which pixels from 0 to 1 are
    normalized first. With the root, the dot product of two features is the Bhattacharyya coefficient of the histograms.
    """
    index = np.zeros(pixels.shape[:3], np.int64)
    for channel in range(3):
        scale, shift = np.float32(1 / (255 * std[channel])), np.float32(-mean[channel] / std[channel])
        level = ((np.arange(256, dtype=np.float32) * scale + shift) * bins).astype(np.int64).clip(0, bins - 1)
        index = index * bins + level[pixels[..., channel]]
    counts = np.array([np.bincount(image.ravel(), minlength=bins**3) for image in index]).reshape(-1, bins**3)
    return np.sqrt(counts / (index.shape[1] * index.shape[2])).astype(np.float32)


class ColorPass:
    """Compute the colour histograms of blocks of pixels, as a `ForwardPass` computes a network's features.

    network: has `color_histograms`, with its bins, as its module. A precision makes no difference but for the name.
    """

    device, batch_size = "cpu", 64

    def __init__(self, network: Network, precision: str):
        self.network, self.precision = network, precision

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the features of `pixels`."""
        return self.network.module(pixels, mean=self.network.mean, std=self.network.std)

    def map(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the features of each of `blocks`."""
        return map(self, blocks)
