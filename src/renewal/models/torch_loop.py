"""The training loop: plain torch, early stopping, and exact resume."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from renewal.core.errors import Corrupt, Invalid
from renewal.core.progress import tell_progress
from renewal.models.layers import Tuning
from renewal.models.learned import tell_learned
from renewal.models.torch_checkpoint import (
    Checkpoint,
    digest_of,
    find_checkpoint,
    random_state,
    save_checkpoint,
    seeded,
    set_random_state,
)
from renewal.models.torch_device import repeatable
from renewal.models.torch_layers import freeze, trained_of
from renewal.models.torch_losses import (
    Call,
    LearningRows,
    RowLoss,
    chunks_of,
    mean_loss,
    placed,
    row_losses,
)
from renewal.store.digest import digest

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Losses are read from the device this rarely: every reading waits for it.
_READ_EVERY = 50
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A training that is to be done.

    Parameters
    ----------
    module : torch.nn.Module
        Trained in place, on `device`: hand in a copy.
    call : callable
        Runs the module on raw tensors of rows and returns its outputs, (n, n_outputs).
    lesson : LearningRows
        On the CPU.
    watched : LearningRows or None
        For early stopping.
    how : Tuning
        How; a rank of an addition is the caller's business.
    loss : {"cross_entropy", "l1", "mse"}
        Of a row.
    seed : int
        Of the order of rows and of what the module draws.
    device : torch.device
        Where.
    who : str
        The verb that asks, for messages.
    scratch : Path or None, default None
        Where checkpoints are kept.
    code : str, default ""
        Digest of what builds the module.
    """

    module: nn.Module
    call: Call
    lesson: LearningRows
    watched: LearningRows | None
    how: Tuning
    loss: RowLoss
    seed: int
    device: torch.device
    who: str
    scratch: Path | None = None
    code: str = ""


@dataclass(slots=True)
class _State:
    """What changes from step to step, beside weights and optimizer; JSON values."""

    step: int = 0
    best: float = math.inf
    best_epoch: int = 0
    n_worse: int = 0
    is_over: bool = False
    last_loss: float = math.nan


def learn(job: Job) -> dict[str, float | int | None]:
    """Train a module in place; return, and tell, what is worth knowing of it.

    Parameters
    ----------
    job : Job
        What, on which rows, and how.

    Returns
    -------
    dict
        ``steps`` done, ``loss`` of the last ones, and ``watched_loss`` with its ``best_epoch``
        (0: before any training) where rows were watched.

    Raises
    ------
    Invalid
        On options that do not fit, or a loss that is no number: the text names the step, the
        loss and the learning rate. Nothing of such a training is kept.
    Unavailable
        When a checkpoint cannot be written.
    Corrupt
        When a checkpoint does not continue what is here.

    Notes
    -----
    All rows lie in memory as one tensor a column, and on the GPU where they take at most 40%
    of what is free; an epoch reads no row in Python. One process and one device: for several
    GPUs `call` may run a module wrapped by DistributedDataParallel, each process taking its
    share of `_order`; nothing else here would change.
    """
    _demand_fit(job)
    job.module.to(job.device)
    flags = {name: each.requires_grad for name, each in job.module.named_parameters()}
    try:
        with seeded(job.seed, job.device), repeatable(job.device):
            found = _Run(job).go()
        tell_learned(**found)
        return found
    finally:
        for name, each in job.module.named_parameters():
            each.requires_grad_(flags[name])
            each.grad = None
        job.module.eval()


class _Run:
    """One training: what it holds on to, and its steps."""

    def __init__(self, job: Job) -> None:
        self.job, self.how, self.module = job, job.how, job.module
        self.trained = trained_of(job.module, job.how, who=job.who)
        self.lesson = placed(job.lesson, job.device)
        self.watched = None if job.watched is None else placed(job.watched, job.device)
        self.a_step = job.how.batch * job.how.accumulate
        # A last step of one row joins the one before it: of one row no spread is known.
        self.per_epoch = max(1, math.ceil((len(job.lesson) - 1) / self.a_step))
        planned = job.how.epochs * self.per_epoch
        self.n_steps = planned if job.how.steps is None else min(planned, job.how.steps)
        self.scaler = torch.amp.GradScaler(enabled=job.how.precision == "float16")
        self.autocast = _TYPES.get(job.how.precision)
        parameters = dict(job.module.named_parameters())
        self.moved = {name: parameters[name] for name in self.trained.names}
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [parameters[name] for name in names], "lr": rate}
                for names, rate in zip(self.trained.layers, self.trained.rates, strict=True)
            ],
            lr=job.how.lr,
            weight_decay=job.how.weight_decay,
            fused=True,  # or the optimizer is a tenth of a step of a small network
        )
        self.state = _State()
        self.best: dict[str, Tensor] = {}
        self.unread: list[Tensor] = []
        self.run = {} if job.scratch is None else self._identity()

    def go(self) -> dict[str, float | int | None]:
        """Do every step that is left, and go back to the best weights."""
        state = self.state
        is_new = not self._resume()
        if is_new and self.watched is not None:
            # What is there before any training counts too: it may be the best.
            self._look(epoch=0)
        order, epoch_of_order = torch.empty(0, dtype=torch.int64), -1
        while state.step < self.n_steps and not state.is_over:
            epoch, at = divmod(state.step, self.per_epoch)
            if epoch != epoch_of_order:
                order, epoch_of_order = self._order(epoch), epoch
                freeze(self.module, self.trained.at(epoch))
            end = (at + 1) * self.a_step if at + 1 < self.per_epoch else None
            self._step(order[at * self.a_step : end])
            state.step += 1
            if state.step % self.per_epoch == 0 or state.step == self.n_steps:
                self._end_epoch(math.ceil(state.step / self.per_epoch))
            elif len(self.unread) >= _READ_EVERY:
                self._read()
            if self.job.scratch is not None and state.step % self.how.checkpoint_every == 0:
                self._save(self.job.scratch)
        self._demand_finite()
        if self.best and self.how.patience is not None:
            self._put(self.best)
        return {
            "steps": state.step,
            "loss": state.last_loss,
            "watched_loss": state.best if self.best else None,
            "best_epoch": state.best_epoch if self.best else None,
        }

    def _order(self, epoch: int) -> Tensor:
        """Return the order of the rows in an epoch, which depends on seed and epoch alone."""
        generator = torch.Generator().manual_seed(self.job.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.lesson), generator=generator)
        return order.to(self.lesson.targets.device)

    def _step(self, at: Tensor) -> None:
        """Take one optimizer step over the rows `at`, in as many passes as are needed."""
        total: Tensor | None = None
        for chunk in chunks_of(at, self.how.batch):
            rows = self.lesson.take(chunk, self.job.device)
            with torch.autocast(
                self.job.device.type, self.autocast, enabled=self.autocast is not None
            ):
                outputs = self.job.call(self.module, rows.inputs)
            loss = row_losses(outputs, rows, self.job.loss, self.how.distil).sum() / len(at)
            self.scaler.scale(loss).backward()
            total = loss.detach() if total is None else total + loss.detach()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if total is not None:
            self.unread.append(total)

    def _read(self) -> None:
        """Read the losses of the last steps, and say how far it has come."""
        if not self.unread:
            return
        losses = torch.stack(self.unread).tolist()
        first = self.state.step - len(losses) + 1
        self.unread.clear()
        for at, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise self._diverged(first + at, f"a loss of {loss}")
        self.state.last_loss = sum(losses) / len(losses)
        epoch = math.ceil(self.state.step / self.per_epoch)
        tell_progress(
            f"epoch {epoch} of {self.how.epochs}, step {self.state.step} of {self.n_steps}, "
            f"loss {self.state.last_loss:.4g}",
            self.state.step / self.n_steps,
        )

    def _end_epoch(self, epoch: int) -> None:
        self._read()
        if self.watched is not None:
            self._look(epoch)

    def _look(self, epoch: int) -> None:
        """Score the watched rows: keep the weights when they are the best, or stop."""
        assert self.watched is not None
        state, loss = self.state, self._loss_on(self.watched)
        if not math.isfinite(loss):
            raise self._diverged(state.step, f"a loss of {loss} on the watched rows")
        if loss < state.best:
            state.best, state.best_epoch, state.n_worse = loss, epoch, 0
            self.best = {name: each.detach().clone() for name, each in self._moving().items()}
        else:
            state.n_worse += 1
            state.is_over = self.how.patience is not None and state.n_worse >= self.how.patience
        share = state.step / self.n_steps
        tell_progress(f"epoch {epoch}, loss on the watched rows {loss:.4g}", share)

    def _loss_on(self, rows: LearningRows) -> float:
        job = self.job
        batch = max(self.how.batch, 256)
        return mean_loss(job.module, job.call, rows, job.loss, device=job.device, batch=batch)

    def _moving(self) -> dict[str, Tensor]:
        """Return what training changes: trained parameters, and buffers such as means."""
        return self.moved | {f"buffer:{name}": each for name, each in self.module.named_buffers()}

    def _put(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, each in self._moving().items():
                each.copy_(values[name])

    def _demand_finite(self) -> None:
        for name, each in self.moved.items():
            if not bool(torch.isfinite(each).all()):
                raise self._diverged(self.state.step, f"weights {name} that are no numbers")

    def _diverged(self, step: int, what: str) -> Invalid:
        return Invalid(
            self.job.who,
            needs="a training that stays finite",
            came=f"{what} at step {step} of {self.n_steps}, learning rate {self.how.lr:g}",
            todo="Lower lr, or look for extreme values in the rows; the version before it is "
            "untouched.",
            step=step,
            lr=self.how.lr,
        )

    # ------------------------------------------------------------ checkpoints

    def _identity(self) -> dict[str, str]:
        """Return digests that say which run this is."""
        form = [[name, list(each.shape)] for name, each in self.module.state_dict().items()]
        said = [asdict(self.how), self.job.seed, self.job.loss, self.job.code, form]
        watched = () if self.watched is None else self.watched.tensors
        rows = (*self.lesson.tensors, *watched)
        return {
            "rows": digest_of((str(at), each) for at, each in enumerate(rows)),
            "options or code": digest(json.dumps(said, sort_keys=True).encode()),
            "torch": str(torch.__version__),
        }

    def _base_digest(self) -> str:
        frozen = {n: p for n, p in self.module.named_parameters() if n not in self.moved}
        return digest_of(iter(sorted(frozen.items())))

    def _n_trainable(self) -> int:
        return sum(each.numel() for each in self.moved.values())

    def _probe(self) -> float:
        """Return the loss of the first rows, by which lost weights would be seen."""
        first = torch.arange(min(len(self.lesson), self.how.batch))
        return self._loss_on(self.lesson.take(first, self.job.device))

    def _save(self, folder: Path) -> None:
        self._read()
        self._demand_finite()
        probe = self._probe()
        random_tensors, random_said = random_state(self.job.device)
        tensors = {f"weights/{name}": each for name, each in self._moving().items()}
        tensors |= {f"best/{name}": each for name, each in self.best.items()}
        tensors |= {f"random/{name}": each for name, each in random_tensors.items()}
        for at, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{at}/{name}": each for name, each in slots.items()}
        said = {
            "run": self.run,
            "state": {
                name: value if not isinstance(value, float) or math.isfinite(value) else None
                for name, value in asdict(self.state).items()
            },
            "random": random_said,
            "scaler": self.scaler.state_dict(),
            "n_trainable": self._n_trainable(),
            "base": self._base_digest(),
            "probe": probe,
        }
        save_checkpoint(folder, Checkpoint(tensors, said))

    def _resume(self) -> bool:
        """Go on from the checkpoint of this very run, if there is one."""
        found = None if self.job.scratch is None else find_checkpoint(self.job.scratch, self.run)
        if found is None:
            return False
        self._demand_same("trainable numbers", found.said["n_trainable"], self._n_trainable())
        self._demand_same("digest of the frozen weights", found.said["base"], self._base_digest())
        self._put(found.part("weights"))
        self.best = {k: v.to(self.job.device) for k, v in found.part("best").items()}
        self._put_optimizer(found.part("optimizer"))
        if found.said["scaler"]:
            self.scaler.load_state_dict(found.said["scaler"])
        for name, value in found.said["state"].items():
            if value is not None:
                setattr(self.state, name, value)
        probe, before = self._probe(), found.said["probe"]
        if not math.isclose(probe, before, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            self._demand_same("first loss", before, probe)
        set_random_state(found.part("random"), found.said["random"], self.job.device)
        tell_progress(f"went on after step {self.state.step}", self.state.step / self.n_steps)
        return True

    def _put_optimizer(self, tensors: dict[str, Tensor]) -> None:
        whole = self.optimizer.state_dict()
        slots: dict[int, dict[str, Tensor]] = {}
        for name, each in tensors.items():
            at, _, slot = name.partition("/")
            slots.setdefault(int(at), {})[slot] = each
        self.optimizer.load_state_dict(whole | {"state": slots})

    def _demand_same(self, what: str, before: float | str, now: float | str) -> None:
        if before != now:
            raise Corrupt(
                self.job.who,
                needs=f"the {what} of the checkpoint, {before}, to go on from it",
                came=f"{now}",
                todo="Remove the scratch folder: the training then starts over.",
            )


def _demand_fit(job: Job) -> None:
    wrong = None
    if len(job.lesson) == 0:
        wrong = ("rows to learn from", "0 rows")
    elif job.how.precision == "float16" and job.device.type != "cuda":
        wrong = ("a CUDA device for float16", f"{job.device}; bfloat16 works there, too")
    if wrong is not None:
        raise Invalid(job.who, needs=wrong[0], came=wrong[1], todo="Correct the options or rows.")
