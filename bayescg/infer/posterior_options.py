"""Options of variational inference and of sequential Monte Carlo, as users set them."""

from dataclasses import dataclass
from typing import Literal

from bayescg.options import option

__all__ = ["SMCOptions", "SVIOptions"]


@dataclass(frozen=True)
class SVIOptions:
    """Options of variational inference."""

    guide: Literal["normal", "lowrank", "multivariate", "flow"] = option(
        "multivariate",
        "family that approximates the posterior: independent normals, a normal with a low-rank or a full "
        "covariance, or an inverse autoregressive flow",
    )
    steps: int = option(20_000, "most steps of the optimiser, in each restart")
    rate: float = option(0.01, "step length of the optimiser (Adam)")
    particles: int = option(16, "draws of the guide behind each step")
    batch: int | None = option(
        None, "frames in each step, chosen at random and scaled to all of them; none: all"
    )
    restarts: int = option(2, "runs from different starts; the one of highest ELBO is kept")
    tolerance: float = option(
        0.1, "rise of the ELBO within a thousand steps, nats, below which a run ends"
    )
    draws: int = option(2000, "posterior draws")
    weights: bool = option(True, "correct draws by importance sampling, with log p(x | theta)")
    start: str | None = option(
        None, "a result of the same model, where runs start; none: the model's start"
    )

    def __post_init__(self) -> None:
        for name in ("steps", "rate", "particles", "restarts", "tolerance"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.draws < 100:
            raise ValueError(
                f"draws must be at least 100, to judge their weights; got {self.draws}."
            )
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1 frame, got {self.batch}.")


@dataclass(frozen=True)
class SMCOptions:
    """Options of sequential Monte Carlo."""

    path: Literal["temperature", "data"] = option(
        "temperature",
        "from prior to posterior: the likelihood to a growing power, or frame after frame",
    )
    chains: int = option(
        4, "independent runs; at least 2: their differences are the error of the log evidence"
    )
    particles: int = option(1000, "particles, and draws, of each run")
    ess: float = option(
        0.7, "effective fraction of the particles after each stage, which sets how far it goes"
    )
    target_accept: float = option(0.8, "acceptance that the moves' step length is adapted to")
    moves: int = option(
        50, "most moves (HMC) of the particles in a stage; as few as forget where they started"
    )
    precision: float = option(0.5, "largest standard error of the log evidence, nats")

    def __post_init__(self) -> None:
        if self.chains < 2 or self.particles < 100 or self.moves < 1:
            raise ValueError(
                "chains must be at least 2, particles at least 100, moves at least 1; got "
                f"{self.chains}, {self.particles}, {self.moves}."
            )
        for name in ("ess", "target_accept"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}.")
        if self.precision <= 0.0:
            raise ValueError(f"precision must be positive, got {self.precision}.")
