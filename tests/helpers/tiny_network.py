"""A network that takes no time to load: the extractor of tests whose subject is not a library of networks."""

import torch


def tiny() -> tuple[torch.nn.Module, dict]:
    """Return two convolutions with random weights, and no preprocessing: tests state it."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, stride=3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 48, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )
    return network, {}
