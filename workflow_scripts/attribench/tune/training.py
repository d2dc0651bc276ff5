"""The training: steps of AdamW, early stopping on val mAP, and the state from which a killed training goes on.

A run trains with one weight of the penalty; of several runs, val mAP chooses. On the processor, nothing but the seed, the
features and the settings decides: a step's batch follows from its number, and the number of threads, on which sums depend,
is a setting. So a training that goes on from a state ends in the same bytes.
"""

import io
import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from attribench.common.errors import InputError
from attribench.common.files import atomic_path
from attribench.common.progress import progress
from attribench.common.torch_files import load_plain
from attribench.tune.batches import Batches
from attribench.tune.collection import Entries
from attribench.tune.heads import make_heads
from attribench.tune.loss import deviation_from_orthogonality, nt_xent
from attribench.tune.settings import Training
from attribench.tune.validation import Validation

CURVE_COLUMNS = ("penalty", "step", "learning_rate", "loss", "val_mAP", "chosen")
SECONDS_BETWEEN_STATES = 20
# The first of the numbers that a generator depends on, after the seed.
_QUERIES, _DATABASE, _EXEMPLARS = 1, 2, 3

log = logging.getLogger(__name__)


class Diverged(InputError):
    """Say that a training's loss is no number any more."""


class Data(NamedTuple):
    """Hold what the steps of a training draw from; `database` is None without negatives."""

    entries: Entries
    queries: Batches
    database: Batches | None

    @classmethod
    def of(cls, entries: Entries, database: list, training: Training) -> "Data":
        """Return the batches of `entries`, and of the parts of a `database`."""
        drawn = Batches(database, training.negatives, (training.seed, _DATABASE)) if training.negatives else None
        return cls(entries, Batches(entries.queries, training.batch, (training.seed, _QUERIES)), drawn)


class Best(NamedTuple):
    """Hold the mappers of the step with the highest val mAP, the first of equals."""

    val: float
    step: int
    penalty: float
    real: dict[str, torch.Tensor]
    synth: dict[str, torch.Tensor]


class Run:
    """Train a pair of heads with one weight of the penalty."""

    def __init__(self, training: Training, penalty: float, dimension: int, device: str):
        self.training, self.penalty, self.device = training, penalty, device
        self.heads = nn.ModuleList(make_heads(training, dimension)).to(device)
        parameters = list(self.heads.parameters())  # each once, where one map is both
        self.optimizer = torch.optim.AdamW(
            parameters, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, training.steps)
        constant = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        self.scheduler = cosine if training.schedule == "cosine" else constant
        self.step, self.best, self.n_without_gain, self.curve = 0, None, 0, []
        self.total = torch.zeros((), device=device)  # of the losses since the last evaluation

    def run(self, data: Data, validation: Validation) -> Iterator[None]:
        """Train to the end, from the step where the run is; yield after each step."""
        if self.best is None:
            self._evaluate(validation, math.nan)
        training = self.training
        with closing(data.queries.from_batch(self.step)) as queries, _from_batch(data.database, self.step) as database:
            while self.step < training.steps and self.n_without_gain < training.patience:
                negatives = next(database)[0] if database else None
                self.total += self._take_step(data.entries, *next(queries), negatives)
                n = self.step - self.curve[-1][1]
                if n == training.evaluate_every or self.step == training.steps:
                    self._evaluate(validation, float(self.total) / n)
                    self.total.zero_()
                yield

    def _take_step(self, entries: Entries, rows: np.ndarray, entry: np.ndarray, negatives: np.ndarray | None):
        """Take a step on a batch of queries; return its loss, on the device."""
        rng = np.random.default_rng([self.training.seed, _EXEMPLARS, self.step])
        exemplars = entries.draw_exemplars(entry, rng)
        real, synth = self.heads
        others = [entries.exemplars[exemplars], *([] if negatives is None else [negatives])]
        images = real(self._tensor(np.concatenate(others)))
        loss = nt_xent(
            synth(self._tensor(rows)),
            images[: len(rows)],
            None if negatives is None else images[len(rows) :],
            self._tensor(entries.is_own(entry, exemplars)),
            self.training.temperature,
        )
        if self.penalty:
            loss = loss + self.penalty * sum(deviation_from_orthogonality(head.weight) for head in self.heads) / 2
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        return loss.detach()

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)

    def _evaluate(self, validation: Validation, loss: float) -> None:
        """Note the loss and val mAP at the present step. Raises Diverged for a loss that is no number."""
        if self.step and not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} between steps {self.curve[-1][1]} and {self.step}; expected a finite one: a lower "
                f"learning_rate (it is {self.training.learning_rate:g}) or a higher temperature "
                f"({self.training.temperature:g})"
            )
        val = validation.mean_average_precision(*self.heads, self.device)
        rate = self.optimizer.param_groups[0]["lr"]
        self.curve.append((self.penalty, self.step, rate, loss, val))
        after = f"loss {loss:.4f}, " if self.step else ""  # there is none before the first step
        log.info("penalty %g, step %d: %sval mAP %.4f", self.penalty, self.step, after, val)
        if self.best is None or val > self.best.val:
            states = [{name: t.detach().cpu().clone() for name, t in h.state_dict().items()} for h in self.heads]
            self.best, self.n_without_gain = Best(val, self.step, self.penalty, *states), 0
        else:
            self.n_without_gain += 1

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs to go on from here: tensors, numbers, lists and dicts."""
        parts = ("heads", "optimizer", "scheduler")
        return {name: getattr(self, name).state_dict() for name in parts} | {
            "step": self.step,
            "best": list(self.best),
            "n_without_gain": self.n_without_gain,
            "curve": self.curve,
            "total": self.total,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name in ("heads", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.n_without_gain, self.curve = (
            state["step"],
            state["n_without_gain"],
            state["curve"],
        )
        self.best, self.total = Best(*state["best"]), state["total"].to(self.device)


@contextmanager
def _from_batch(batches: Batches | None, step: int) -> Iterator[Iterator | None]:
    """Yield the batches from `step` on, or None where there are none."""
    if batches is None:
        yield None
        return
    with closing(batches.from_batch(step)) as drawn:
        yield drawn


def train(
    data: Data, validation: Validation, training: Training, device: str, state: Path | str, key: str = ""
) -> tuple[Best, list[tuple]]:
    """Return the best mappers of all runs, and the rows of the learning curve.

    device: of torch. state: the file that a killed training goes on from, if it was noted under the same `key`; it is
    removed at the end. Raises Diverged where the loss does.
    """
    state = Path(state)
    noted = _read_state(state, key)
    runs: list[dict[str, Any]] = noted["runs"] if noted else []
    going_on = noted["run"] if noted else None
    dimension, saved = data.entries.exemplars.shape[1], time.monotonic()
    with _threads(training.threads):
        for penalty in training.penalties[len(runs) :]:
            run = Run(training, penalty, dimension, device)
            if going_on:
                run.load(going_on)
                log.info("going on from step %d of the run with penalty %g", run.step, penalty)
                going_on = None
            for _ in progress(
                run.run(data, validation), f"penalty {penalty:g}", training.steps - run.step, unit="step"
            ):
                if time.monotonic() - saved >= SECONDS_BETWEEN_STATES:
                    _write_state(state, {"key": key, "runs": runs, "run": run.state()})
                    saved = time.monotonic()
            runs.append({"best": list(run.best), "curve": run.curve})
    best = max((Best(*run["best"]) for run in runs), key=lambda best: best.val)
    chosen = (best.penalty, best.step)
    curve = [(*row, row[:2] == chosen) for run in runs for row in run["curve"]]
    state.unlink(missing_ok=True)
    return best, curve


@contextmanager
def _threads(n: int) -> Iterator[None]:
    granted = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(granted)


def _write_state(path: Path, content: dict[str, Any]) -> None:
    memory = io.BytesIO()
    torch.save(content, memory)
    with atomic_path(path) as temporary:
        temporary.write_bytes(memory.getvalue())


def _read_state(path: Path, key: str) -> dict[str, Any] | None:
    """Return the state at `path`; None where there is none, or one of another training."""
    if not path.exists():
        return None
    try:
        content = load_plain(path, "the state of a training")
    except InputError as error:
        log.warning("%s; training from the beginning", error)
        return None
    return content if isinstance(content, dict) and content.get("key") == key else None
