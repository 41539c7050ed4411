"""The border of the command line: files, errors, exit codes, JSON, signals."""

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import click
from click.testing import CliRunner, Result
import numpy as np
import pytest
import xarray as xr

from bayescg import __version__, io, results, workflow
from bayescg.cli import cli
from bayescg.cli.border import Done, Group, shared
from bayescg.console import plain

ATTRS = {
    "method": "mcem",
    "model": "ising",
    "model_options": {"n_f": 16},
    "converged": 1,
    "ended": "converged",
}


def spins(**attrs: Any) -> xr.Dataset:
    x = np.random.default_rng(0).choice([-1, 1], size=(12, 16))
    return xr.Dataset({"x": (("frame", "site"), x)}, attrs={"beta": 0.3, "mu": 0.3, **attrs})


def result(**attrs: Any) -> Any:
    """As little as a result may hold."""
    posterior = results.to_dataset({"p0": np.full((1, 5), 0.7)})
    return results.inference_data({"posterior": posterior}, **{**ATTRS, **attrs})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    io.save(spins(), "data.nc")
    results.save(result(), "fit.nc")
    return tmp_path


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


def complaint(done: Result, code: int = 2) -> str:
    """The one line of an error."""
    assert done.exit_code == code, done.output
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("bayescg: "), lines
    return lines[0].removeprefix("bayescg: ")


@pytest.mark.parametrize(
    "words",
    [
        "report fit.nc -o fit.nc",
        "report link.nc fit.nc -o ./fit.nc",
        "observe data.nc -o data.nc",
        "observe link.nc -o fit.nc",
        "fit ising -d data.nc -o data.nc",
        "fit model.py -d data.nc -o model.py",
        "fit ising -d data.nc -o new.nc --log data.nc",
        "fit ising -d data.nc -o new.nc --log ./new.nc",
        "predict fit.nc --reference data.nc -o data.nc",
        "predict fit.nc --reference fit.nc",
        "predict fit.nc --log fit.nc",
        "predict fit.nc -o new.nc --log fit.nc",
        "reference model.py -o model.py",
        "reference ising -o new.nc --log new.nc",
        "demo -o . --log report.html",
        "demo -o . --log ./water.nc",
        "demo ising -o . --log ratio2_n5.nc",
    ],
)
def test_an_input_is_never_overwritten(words: str, folder: Path) -> None:
    Path("link.nc").symlink_to("fit.nc")
    Path("model.py").write_text("")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert "give another name" in complaint(invoke(*words.split()))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("words", [[], ["-o", "fit.nc"], ["-o", "./fit.nc"]])
def test_a_result_may_be_predicted_in_place(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = results.to_dataset({"magnetization": np.zeros((1, 5))})
    add = {"posterior_predictive": more}
    monkeypatch.setattr(workflow, "predict", lambda r, *_, **__: results.with_groups(r, add))
    assert invoke("predict", "fit.nc", *words).exit_code == 0
    assert results.has_group(results.load("fit.nc"), "posterior_predictive")


@pytest.mark.parametrize("seed", ["99999999999999999999", "4294967296", "-1", "x"])
def test_a_seed_has_32_bits(seed: str, folder: Path) -> None:
    assert "--seed" in complaint(invoke("reference", "ising", "--seed", seed, "-o", "new.nc"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.assign_attrs(beta="0.3"), "the attribute 'beta' is '0.3'"),
        (
            lambda d: d.expand_dims(mu=3).assign_coords(mu=[0.0, 0.5, 0.5]),
            "mu is 0.5 at mu=1 and at mu=2",
        ),
    ],
)
def test_faulty_data_are_one_line(change: Any, says: str, folder: Path) -> None:
    change(spins()).to_netcdf("bad.nc", engine="netcdf4")
    words = ["-s", "ratio=4", "-o", "new.nc"]
    for start in (["fit", "ising", "-d", "bad.nc", *words], ["observe", "bad.nc", "-o", "new.nc"]):
        assert says in complaint(invoke(*start))
    assert not Path("new.nc").exists()


@pytest.mark.parametrize("name", ["model", "model_options", "converged", "ended"])
def test_a_result_that_lacks_an_attribute(name: str, folder: Path) -> None:
    fitted = result()
    del fitted.attrs[name]
    results.save(fitted, "fit.nc")
    says = complaint(invoke("predict", "fit.nc"))
    assert "fit.nc is not a whole result" in says and f"attributes {name} are missing" in says


@pytest.mark.parametrize(
    ("name", "value"), [("model_options", "{"), ("model_options", [1]), ("converged", "yes")]
)
def test_a_result_with_a_wrong_attribute(name: str, value: object, folder: Path) -> None:
    results.save(result(**{name: value}), "fit.nc")
    assert f"the root attribute {name} is" in complaint(invoke("predict", "fit.nc"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\ndef f(:\n", "model.py, line 2: SyntaxError: invalid syntax"),
        ("import no_such_thing\n", "model.py, line 1: ModuleNotFoundError: No module named 'no_"),
        ("def f():\n    return 1 / 0\n\nf()\n", "model.py, line 2: ZeroDivisionError"),
        ("raise SystemExit(0)\n", "model.py, line 1: SystemExit"),
        ("import other\n", "model.py, line 1: SyntaxError"),
        ("x = 1\n", "model.py is not a model: it does not define Options"),
    ],
)
def test_a_faulty_model_file_is_one_line(
    source: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    Path("other.py").write_text("def f(:\n")
    path = folder / "model.py"  # modules are remembered by name, and every folder is another
    path.write_text(source)
    results.save(result(model=str(path)), "fit.nc")
    for words in (
        f"fit {path} -d data.nc -o new.nc",
        f"fit {path} --help-model",
        f"reference {path} -o new.nc",
        "predict fit.nc",
    ):
        assert says in complaint(invoke(*words.split()))


ERRORS = {
    "numerics": (np.linalg.LinAlgError("Singular\nmatrix"), 1, "the numerics failed (Singular mat"),
    "floating": (FloatingPointError("nan in cos"), 1, "the numerics failed (nan in cos)"),
    "bad input": (ValueError("no\nsuch thing"), 2, "no such thing"),
    "file": (OSError(2, "No such file", "a.nc"), 2, "a.nc: No such file"),
    "not done": (NotImplementedError("not yet"), 1, "not yet"),
    "bug": (KeyError("p0"), 1, "unexpected KeyError: 'p0'; run again with --debug for the traceb"),
    "empty": (AssertionError(), 1, "unexpected AssertionError; run again with --debug"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_one_line(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error, code, says = ERRORS[name]

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(workflow, "observe", fail)
    words = ["observe", "data.nc", "-o", "new.nc"]
    done = invoke(*words)
    assert complaint(done, code).startswith(says)
    assert done.stdout == ""
    done = invoke(*words, "--json")
    assert json.loads(done.stdout) == {"error": complaint(done, code), "exit_code": code}
    done = invoke(*words, "--debug")
    assert done.exit_code == code
    assert "Traceback" in done.stderr and f"\nbayescg: {says}" in done.stderr


def test_the_answer_as_json_is_one_object(folder: Path) -> None:
    path = folder / "printing.py"
    path.write_text(
        "print('hello')\nfrom bayescg_models.ising import *\n"
        "from bayescg_models.ising import Options, SUMMARY, system\n"
    )
    for words, name in (
        (["models"], "models"),
        (["fit", "ising", "--help-model"], "options"),
        (["fit", str(path), "--help-model"], "options"),
        (["fit", "--help-method", "mcem"], "options"),
        (["observe", "data.nc", "-o", "new.nc"], "observables"),
    ):
        done = invoke(*words, "--json")
        assert done.exit_code == 0, done.output
        assert name in json.loads(done.stdout)
    for words in (["fit"], ["fit", "--no-such-option"], ["no-such-command"], ["observe"]):
        done = invoke(*words, "--json")
        assert json.loads(done.stdout) == {"error": complaint(done), "exit_code": 2}


def test_numbers_that_json_does_not_know_are_null(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "predict", lambda r, *_, **__: r)
    monkeypatch.setattr(
        workflow, "key_numbers", lambda r: {"a": np.nan, "b": np.float32(np.inf), "c": [1.0]}
    )
    done = invoke("predict", "fit.nc", "--json", "--quiet")
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert {k: found[k] for k in "abc"} == {"a": None, "b": None, "c": [1.0]}
    given = {"a": {1: np.int64(2)}, "b": (np.array([1.0, np.nan]), True, None), "c": Path("x")}
    assert plain(given) == {"a": {"1": 2}, "b": [[1.0, None], True, None], "c": "x"}


def test_a_run_that_failed_but_stored_says_so_in_both() -> None:
    @click.group(cls=Group)
    def group() -> None:
        pass

    @group.command()
    @shared()
    def run(console: Any) -> Done:
        return Done({"converged": 0}, failed="it did not converge.")

    done = CliRunner().invoke(group, ["run", "--json"])
    assert complaint(done, 1) == "it did not converge."
    assert json.loads(done.stdout) == {
        "converged": 0,
        "error": "it did not converge.",
        "exit_code": 1,
    }


def test_the_log_is_made_by_its_first_event(folder: Path) -> None:
    words = ["-o", "new.nc", "--log", "log.jsonl"]
    complaint(invoke("observe", "data.nc", "-O", "bogus", *words))
    assert sorted(os.listdir()) == ["data.nc", "fit.nc"]
    for _ in range(2):
        assert invoke("observe", "data.nc", *words).exit_code == 0
    events = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["message", "end"] * 2
    assert (events[1]["exit_code"], events[1]["files"]) == (0, ["new.nc"])
    complaint(invoke("observe", "data.nc", "-O", "bogus", *words))  # nothing had been begun
    assert len(Path("log.jsonl").read_text().splitlines()) == 4
    assert "no/such" in complaint(invoke("models", "--log", "no/such/log.jsonl"))


def test_without_a_command_the_help_is_shown() -> None:
    done = invoke()
    assert done.exit_code == 0
    assert done.stdout == invoke("--help").stdout
    assert len(done.stdout.splitlines()) > 10 and done.stderr == ""


def test_version() -> None:
    assert invoke("--version").stdout.split() == ["bayescg,", "version", __version__]


def test_quiet_keeps_the_answer() -> None:
    for words in (["models"], ["fit", "--help-method", "mcem"]):
        done = invoke(*words, "--quiet")
        assert done.stdout == invoke(*words).stdout != ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-s J0=inf", "option J0=inf for ising: must be a finite number"),
        ("-s prior_scale=nan", "option prior_scale=nan for ising: must be a finite number"),
        ("-s ratio=4 -s ratio=2", "option 'ratio' for ising is given twice"),
        ("-s ratio=4 -M draws=4 -M draws=5", "option 'draws' for mcem is given twice"),
        ("-s ratio=4 -M bogus=1", "unknown option 'bogus' for mcem; known: A, alpha, "),
    ],
)
def test_options_are_checked(words: str, says: str, folder: Path) -> None:
    done = invoke("fit", "ising", "-d", "data.nc", "-o", "new.nc", *words.split())
    assert complaint(done).startswith(says)


MODEL = """
import sys
from bayescg_models.ising import Options, SUMMARY, options_from_data
from bayescg_models import ising

def system(options):
    print("ready", file=sys.stderr, flush=True)
    return ising.system(options)
"""
STUCK = """
import hashlib, sys
print("ready", file=sys.stderr, flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)  # compiled code; lets no handler run
"""


@contextmanager
def fitting(source: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A fit in a process of its own."""
    Path("model.py").write_text(source)
    command = [sys.executable, "-m", "bayescg", "fit", "model.py", "-d", "data.nc", "-o", "new.nc"]
    with subprocess.Popen(
        [*command, "-s", "ratio=4", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], start: str) -> None:
    """Read its stderr up to a line that starts so; a process that says nothing for four minutes is ended."""
    assert process.stderr is not None
    alarm = threading.Timer(240.0, process.kill)
    alarm.start()
    try:
        for line in process.stderr:
            if line.startswith(start):
                return
    finally:
        alarm.cancel()
    raise AssertionError(f"the process ended without {start!r}.")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_fit_that_is_interrupted_early(number: int, folder: Path) -> None:
    """While JAX compiles, where an interpreter that ends as usual crashes."""
    with fitting(MODEL, "--json") as process:
        wait_for(process, "ready")
        time.sleep(2.0)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err == "bayescg: interrupted; nothing was written.\n"
    assert json.loads(out)["exit_code"] == 1
    assert set(os.listdir()) - {"__pycache__"} == {"data.nc", "fit.nc", "model.py"}


@pytest.mark.slow
def test_a_fit_that_is_interrupted_in_its_iterations_keeps_what_it_had(folder: Path) -> None:
    endless = ["-M", "tolerance=1e-9", "-M", "max_iterations=1000000"]
    cheap = ["-s", "prior=normal", "-M", "weights=false", "-M", "draws=20"]
    with fitting(MODEL, *endless, *cheap, "--progress") as process:
        wait_for(process, "mcem: ")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    kept = "bayescg: the fit did not converge (interrupted); what it had is in new.nc."
    assert err.splitlines()[-1] == kept
    assert results.attrs(results.load("new.nc"))["ended"] == "interrupted"
    assert not [name for name in os.listdir() if ".part" in name]


def test_compiled_code_that_does_not_return_is_ended(folder: Path) -> None:
    with fitting(STUCK, "--json") as process:
        wait_for(process, "ready")
        time.sleep(
            2.0
        )  # from its word to the compiled call, where alone the signal is not answered
        process.send_signal(signal.SIGINT)
        wait_for(process, "bayescg: interrupting as soon as the running computation returns;")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "bayescg: interrupted while computing.\n"
    assert json.loads(out) == {"error": "interrupted while computing.", "exit_code": 1}


@pytest.mark.parametrize("package", ["jax", "numpy"])
def test_out_of_memory(package: str) -> None:
    """Of either library: how much was asked for, and which options ask for less."""

    @click.command()
    @shared()
    def hungry(console: Any) -> Done:
        import jax.numpy as jnp

        (jnp if package == "jax" else np).ones((2**20, 2**20, 2**10)).sum().item()
        return Done({}, "")

    done = CliRunner().invoke(hungry, [])
    said = str(getattr(done.exception, "message", "")) + done.output
    assert done.exit_code != 0
    assert (
        "out of memory (" in said and "were asked for at once" in said and "-M free_chains" in said
    )
