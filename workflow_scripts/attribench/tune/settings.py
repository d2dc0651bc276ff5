"""Define what a user may choose of a training; the defaults stand here, and variants.yaml explains them."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from attribench.common.schema import Closed, Positive, number, whole

Penalty = number(ge=0, le=10**6)
Penalties = Annotated[list[Penalty], Field(min_length=1)]
HEADS = ("linear", "channel", "mlp", "layer_norm_mlp")
# The keys that not all heads have, with those that do.
_HEADS_WITH = {
    "penalty": ("linear",),
    "hidden": ("mlp", "layer_norm_mlp"),
    "outputs": ("mlp", "layer_norm_mlp"),
    "layers": ("mlp",),
}
_PENALTIES = (0.0, 0.1, 1.0)  # of a linear head, where none are given


def _as_list(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


class Training(Closed):
    """Say how mappers are trained.

    head: their form. hidden, outputs: widths of both mlp heads; layers: number of linear layers of mlp. negatives: database
    images beside each batch. batch: queries of a step. steps: the most of a run. evaluate_every: steps between evaluations.
    patience: evaluations without a better val mAP after which a run ends. temperature: of the loss. penalty: weights of the
    deviation from orthogonality, of which val chooses one. val_database: images among which val queries are ranked.
    threads: of the processor, on which the last digits depend. near_duplicates: what to do where the features of a training
    image and of an evaluated one, or of a val split's, are nearly equal.
    """

    head: Literal[HEADS] = "linear"
    hidden: Positive = 512
    outputs: Positive = 256
    layers: whole(ge=1, le=16) = 2
    negatives: whole(ge=0, le=8192) = 0
    batch: whole(ge=2, le=8192) = 256
    steps: Positive = 1000
    evaluate_every: Positive = 50
    patience: Positive = 5
    temperature: number(gt=0, le=100) = 0.05
    penalty: Annotated[
        Penalties | None, BeforeValidator(_as_list, json_schema_input_type=Penalties | Penalty | None)
    ] = None
    learning_rate: number(gt=0, le=10) = 1e-3
    weight_decay: number(ge=0, le=10) = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    val_database: Positive = 10_000
    threads: whole(ge=1, le=256) = 2
    seed: whole(ge=0, le=10**12) = 0
    near_duplicates: Literal["refuse", "allow"] = "refuse"

    def refuse_keys_without_use(self) -> None:
        """Raise ValueError for a key that was given and that the head does not have."""
        for key, heads in _HEADS_WITH.items():
            if key in self.model_fields_set and getattr(self, key) is not None and self.head not in heads:
                raise ValueError(
                    f"the head `{self.head}` has no `{key}`; expected none, or `head: {'` or `head: '.join(heads)}`"
                )

        if self.head == "mlp" and self.layers == 1 and "hidden" in self.model_fields_set:
            raise ValueError("one layer leads from the features to `outputs`; expected no `hidden`, or more `layers`")

    def decisive(self) -> dict[str, Any]:
        """Return the settings that decide what is learned: all but what may only refuse a training."""
        return self.model_dump(include={*Training.model_fields} - {"near_duplicates"})

    @property
    def penalties(self) -> list[float]:
        """Return the weights of the penalty to try, 0 alone for a head without one."""
        return list(dict.fromkeys(self.penalty or (_PENALTIES if self.head == "linear" else [0.0])))
