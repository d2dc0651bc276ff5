"""Hold what the user chose for all figures: their width, title, order and labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attribench.formats.ranking import Method, Ranking, labels_of
from attribench.metrics import average_precision
from attribench.plots.style import MethodStyle, method_styles
from attribench.tables.statistics import mean


@dataclass(frozen=True)
class FigureSettings:
    """Hold how the figures of a run look.

    width: inches, at which they are printed. has_title: whether a figure has its title. labels: what each method of the run
    is called, in the user's order; None: by their names, in the order in which they come. order: the methods in the order in
    which figures list them; None: the user's.
    """

    width: float = 5.5
    has_title: bool = False
    labels: Mapping[Method, str] | None = None
    order: Sequence[Method] | None = None

    @classmethod
    def of(
        cls, plots: Mapping[str, Any], labels: Iterable[Sequence[str]], rankings: Sequence[Ranking] = ()
    ) -> "FigureSettings":
        """Return what the config's section `plots` and rows of `labels` ask for, by the values of `rankings`."""
        order = methods_by_value(rankings) if plots["order"] == "value" else None
        return cls(plots["width"], plots["title"], labels_of(labels), order)

    def styles(self, methods: Iterable[Method]) -> dict[Method, MethodStyle]:
        """Return the style of each of `methods`, in the order in which figures list them."""
        styles = method_styles(methods, self.labels)
        first = [method for method in self.order or () if method in styles]
        return {method: styles[method] for method in [*first, *styles]}


SHIPPED = FigureSettings()  # as config.yaml has it


def methods_by_value(rankings: Sequence[Ranking]) -> list[Method]:
    """Return the methods of `rankings`, of one split, the one with the highest mAP first; prompt types weigh the same."""
    values = {}
    for ranking in rankings:
        precision = average_precision(ranking.offsets, ranking.ranks)
        by_prompt = [mean(precision[ranking.query_prompt_type == name]) for name in ranking.prompt_types]
        known = [value for value in by_prompt if value == value]
        values[ranking.method] = sum(known) / len(known) if known else -1.0
    return sorted(values, key=lambda method: -values[method])
