"""The colour histogram, a baseline that any network should beat."""

import torch


class ColorHistogram(torch.nn.Module):
    """Compute the square roots of a joint RGB histogram with `bins` bins per channel.

    With the root, the dot product of two features is the Bhattacharyya coefficient of the two histograms. Input: RGB in
    [0, 1], [b, 3, h, w]; output: float32 [b, bins ** 3], unit length.
    """

    def __init__(self, bins: int):
        super().__init__()
        self.bins = bins

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of `images`."""
        level = (images.float() * self.bins).long().clamp_(0, self.bins - 1).flatten(2)
        index = (level[:, 0] * self.bins + level[:, 1]) * self.bins + level[:, 2]
        # Whole numbers, so that the order of the additions cannot matter.
        counts = torch.zeros(len(images), self.bins**3, dtype=torch.int64, device=images.device)
        counts.scatter_add_(1, index, torch.ones_like(index))
        return (counts.double() / index.shape[1]).sqrt().float()
