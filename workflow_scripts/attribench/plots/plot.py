"""Hold what a figure function returns: the figure, the data that it draws, and its caption."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """Hold a `figure`, the rows of `data` that it draws, and a `caption`.

    A caption is one paragraph of plain text: first a sentence that says what the figure shows, then the settings used.
    """

    figure: Figure
    data: pd.DataFrame
    caption: str
