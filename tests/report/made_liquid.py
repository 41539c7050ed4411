"""Results of a made-up liquid, as ``bayescg fit`` and ``bayescg predict`` leave them."""

from typing import Any

import numpy as np

from bayescg import results
from bayescg.report.case import Case, cases_of

R = np.arange(2.0, 7.01, 0.05)
BINS = np.arange(0.05, 7.2, 0.1)
ANGLES = np.arange(1.0, 180.0, 2.0)
FEATURES = ("sin 1", "cos 1", "sin 5.75", "cos 5.75", "sin 10.5", "cos 10.5")
THETA = np.array([0.5, -0.2, 0.003, 0.05, 1e-4, -0.008])  # three are switched off
DRAWS = 40
POINT = ("chain", "draw")


def rdf_of(shift: Any = 0.0) -> np.ndarray:
    """A liquid's g(r), higher by ``shift`` at the first peak."""
    shift = np.asarray(shift)[..., None]
    rise = 1.0 / (1.0 + np.exp(-(BINS - 2.6) / 0.04))
    return rise * (1.0 + (2.0 + shift) * np.exp(-(((BINS - 2.8) / 0.2) ** 2)))


def adf_of(shift: Any = 0.0) -> np.ndarray:
    shift = np.asarray(shift)[..., None]
    value = np.sin(np.radians(ANGLES)) * (1.0 + shift * np.cos(np.radians(ANGLES)))
    return value / (2.0 * np.sin(np.radians(ANGLES)).sum())


def potential_of(epsilon: Any, sigma: Any) -> np.ndarray:
    ratio = (np.asarray(sigma)[..., None] / R) ** 6
    return 4.0 * np.asarray(epsilon)[..., None] * (ratio**2 - ratio)


def made(
    *,
    method: str = "mcem",
    frames: int = 20,
    prior: str = "ard",
    width: float = 0.1,
    offset: float = 0.0,
    gap: float = 1.0,
    predicted: bool = True,
    draws: int = DRAWS,
    **attrs: Any,
) -> Any:
    """A result as ``bayescg fit`` and ``bayescg predict`` leave one, of a made-up liquid.

    :param width: standard deviation of the predicted first peak; ``offset`` of their mean from the
        reference.
    :param gap: mean square of x - X in the last E-step, by sigma2.
    """
    rng = np.random.default_rng(frames)
    z = rng.standard_normal((1, draws))
    values = {
        "epsilon": 0.8 + 0.05 * z,
        "sigma": 2.75 + 0.01 * rng.standard_normal((1, draws)),
        "theta_c": THETA + 0.002 * rng.standard_normal((1, draws, len(THETA))),
    }
    if method != "rem":
        values["sigma2"] = 0.002 + 5e-5 * rng.standard_normal((1, draws))
    values["pair_potential"] = potential_of(values["epsilon"], values["sigma"])
    units = {"epsilon": "kcal/mol", "sigma": "angstrom", "sigma2": "angstrom^2"}
    dims = {"theta_c": ["feature"], "pair_potential": ["r"]}
    coords = {"feature": np.array(FEATURES), "r": R}
    posterior = results.to_dataset(
        values, dims=dims, coords=coords, attrs={k: {"units": u} for k, u in units.items()}
    )
    mode = {"epsilon": np.array(0.8), "sigma": np.array(2.75), "theta_c": THETA}
    mode |= {"sigma2": np.array(0.002)} if method != "rem" else {}
    mode["pair_potential"] = potential_of(0.8, 2.75)
    names = ["epsilon", "sigma", "sigma2", *(f"theta_c[{i}]" for i in range(len(THETA)))]
    mode |= {"tau_u": np.r_[np.zeros(3), 1.0 / (THETA**2 + 1e-5)], "distance": np.full(9, 0.3)}
    at_map = results.to_dataset(
        mode,
        dims=dims | {"tau_u": ["parameter"], "distance": ["parameter"]},
        coords=coords | {"parameter": np.array(names)},
        sample_dims=(),
    )
    steps = 15
    left = np.geomspace(30.0, 0.3, steps)
    sigma2 = np.linspace(0.01, 0.002, steps)
    trace = {
        "distance": left,
        "noise": 0.3 * left,
        "epsilon": 0.8 + 0.02 * left,
        "sigma": 2.75 + 0.001 * left,
        "pair_potential": potential_of(0.8 + 0.02 * left, 2.75 + 0.001 * left),
    }
    if method != "rem":
        trace |= {
            "sigma2": sigma2,
            "latent_gap": gap * np.r_[sigma2[0], sigma2[:-1]],
            "latent_change": np.full(steps, 0.9),
        }
    em_trace = results.to_dataset(
        trace, dims={"pair_potential": ["r"]}, coords={"r": R}, sample_dims=["iteration"]
    )
    x = np.random.default_rng(frames).uniform(0.0, 14.5, (frames, 8, 3))
    data = results.to_dataset({"x": x}, dims={"x": ["frame", "site", "axis"]}, sample_dims=())
    box = results.to_dataset({"box": np.full(3, 14.5)}, dims={"box": ["axis"]}, sample_dims=())
    groups = {
        "posterior": posterior,
        "map": at_map,
        "em_trace": em_trace,
        "observed_data": data,
        "constant_data": box,
    }
    if predicted:
        groups |= predictions(offset + width * z, offset)
    options = {"prior": prior, "a0": 1e-5, "b0": 1e-5, "frames": frames, "wave_numbers": "window"}
    told: dict[str, Any] = {
        "method": method,
        "model": "a_liquid",
        "model_options": options,
        "method_options": {"tolerance": 0.25},
        "prior_used": "flat" if method == "rem" else prior,
        "converged": 1,
        "ended": "converged",
        "messages": ["something was thinned."],
        "approximation": "Laplace (complete), unweighted draws",
        "seed": 0,
        "wall_seconds": 12.0,
        "data_source": "frames.nc",
        "statistical_inefficiency": 1.25,
        "effective_frames": 0.9 * frames,
        "frames_given": 510,
        "predict_failures": 0,
    }
    return results.inference_data(groups, **(told | attrs))


def predictions(shift: np.ndarray, offset: float) -> dict[str, Any]:
    draws = shift.shape[1]
    coords = {"r": BINS, "angle": ANGLES}
    dims = {
        f"{n}{end}": [d]
        for n, d in (("rdf", "r"), ("adf", "angle"))
        for end in ("", "_mcse", "_se")
    }
    noise = {"rdf_mcse": np.full((1, draws, len(BINS)), 1e-3)}
    noise["adf_mcse"] = np.full((1, draws, len(ANGLES)), 1e-6)
    values = {
        "rdf": rdf_of(shift),
        "adf": adf_of(shift),
        "effective_samples": 500.0 + shift,
        **noise,
    }
    exact = {"rdf": rdf_of(), "adf": adf_of(), "rdf_se": np.full(len(BINS), 2e-3)}
    exact["adf_se"] = np.full(len(ANGLES), 1e-5)
    predicted = results.to_dataset(values, dims=dims, coords=coords)
    return {
        "posterior_predictive": predicted,
        "discrepancy": allowed(predicted),
        "map_predictive": results.to_dataset(
            {"rdf": rdf_of(offset), "adf": adf_of(offset)}, dims=dims, coords=coords, sample_dims=()
        ),
        "reference": results.to_dataset(exact, dims=dims, coords=coords, sample_dims=()),
    }


def allowed(predicted: Any) -> Any:
    """What a prediction says with an error of the model allowed for: twice as wide, about the data."""
    out = {}
    for n in ("rdf", "adf"):
        mean = predicted[n].mean(("chain", "draw"))
        out[n] = mean + 2.0 * (predicted[n] - mean)
        out[f"{n}_data"] = 1.01 * mean
        out[f"{n}_data_se"] = 0.02 * mean + 1e-4
        out[f"{n}_z"] = 0.5 + 0.0 * mean
        out[f"{n}_weight"] = 0.4 + 0.0 * mean
        out[f"{n}_misfit"] = ((), 0.3)
    return predicted[[]].assign(out).assign_attrs(frames=20, shared_errors="assumed")


def case(**options: Any) -> Case:
    return cases_of([made(**options)], ["fit"])[0]
