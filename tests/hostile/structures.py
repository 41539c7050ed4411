"""Mutations of what netCDF files hold: files that the library reads without complaint, and that say nonsense."""

from collections.abc import Callable
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
import netCDF4
import numpy as np

NAMES = (
    "x", "box", "type", "mass", "molecule", "bond", "frame", "site", "axis", "mu", "temperature", "chain", "draw",
    "rdf_A_A", "rdf_", "bond_type", "count", "r", "theta_c", "posterior", "a b", "é", "\u202ename", "<script>",
    "name\x1b[31m", "%s{0}", "_FillValue2", "x_se", "é" * 60,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    "", "text", "nan", "1e400", "{", "[]", "null", "x" * 5000, "a\nb\x1b[2J", "<b>&\"'", "é\u202e\U0001f600", "../../x",
    0, 1, -1, 2**31 - 1, 2**62, 0.0, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -float("inf"),
    np.array([1.0, 2.0]), np.array([], float), np.array([np.nan]), np.int8(3), np.uint64(2**64 - 1), ["a", "b"],
)  # fmt: skip
TYPES = ("i1", "u1", "i2", "u4", "i8", "u8", "f4", "f8", "S1", "text", "compound", "vlen", "enum")
NUMBERS = (
    0.0,
    -1.0,
    1.0,
    2.0,
    1e-300,
    1e30,
    1e308,
    -1e308,
    np.nan,
    np.inf,
    -np.inf,
    0.5,
    3e9,
    1e19,
)
#: Attributes that xarray reads for itself.
CODED = (
    "_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates", "units", "calendar", "dtype",
    "_Unsigned", "grid_mapping", "long_name", "valid_range", "potential_range", "norm", "type1", "method", "model",
    "model_options", "converged", "ended", "messages", "beta", "mu", "temperature", "bounds", "_Encoding",
)  # fmt: skip


@dataclass(repr=False)
class Variable:
    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any]
    kind: str = ""  # one of TYPES that arrays of NumPy do not say


@dataclass(repr=False)
class Group:
    """A group of a netCDF file in memory."""

    dims: dict[str, int] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, "Group"] = field(default_factory=dict)

    def every(self) -> list["Group"]:
        """This group and all below it."""
        return [self, *(g for child in self.groups.values() for g in child.every())]


def read(path: Path) -> Group:
    """A whole file."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return _read(file)


def _read(node: Any) -> Group:
    return Group(
        {name: len(dim) for name, dim in node.dimensions.items()},
        {
            name: Variable(
                v.dimensions, np.asarray(v[...]), {k: v.getncattr(k) for k in v.ncattrs()}
            )
            for name, v in node.variables.items()
        },
        {k: node.getncattr(k) for k in node.ncattrs()},
        {name: _read(child) for name, child in node.groups.items()},
    )


def write(group: Group, path: Path) -> bool:
    """Write a file; False where the library itself does not store such a thing."""
    try:
        with np.errstate(all="ignore"), netCDF4.Dataset(path, "w") as file:
            _write(file, group)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        OSError,
        KeyError,
        OverflowError,
    ):
        path.unlink(missing_ok=True)
        return False
    return True


def _write(node: Any, group: Group) -> None:
    for name, size in group.dims.items():
        node.createDimension(name, size)
    for name, v in group.variables.items():
        fill = v.attrs.get("_FillValue")
        numeric = (
            isinstance(fill, int | float | np.number)
            and v.values.dtype.kind in "iuf"
            and not v.kind
        )
        made = node.createVariable(
            name,
            _type(node, v, name),
            v.dims,
            fill_value=np.asarray(fill).astype(v.values.dtype) if numeric else None,
            zlib=v.values.dtype.kind in "iuf" and bool(v.dims) and not v.kind,
        )
        made.set_auto_maskandscale(False)
        made.setncatts({k: a for k, a in v.attrs.items() if k != "_FillValue"})
        declared = tuple(len(node_dim(node, d)) for d in v.dims)
        if v.kind in ("compound", "vlen", "enum", "S1"):
            continue  # a declared type is enough to meet it
        if declared == v.values.shape and np.prod(declared, dtype=float) < 1e7:
            made[...] = v.values.astype(str).astype(object) if v.kind == "text" else v.values
    node.setncatts(group.attrs)
    for name, child in group.groups.items():
        _write(node.createGroup(name), child)


def node_dim(node: Any, name: str) -> Any:
    """A dimension, which a group above may have."""
    while node is not None:
        if name in node.dimensions:
            return node.dimensions[name]
        node = node.parent
    raise KeyError(name)


def _type(node: Any, v: Variable, name: str) -> Any:
    tag = f"t_{abs(hash(name)) % 10**6}"
    if v.kind == "compound":
        return node.createCompoundType(np.dtype([("a", "f8"), ("b", "i4")]), tag)
    if v.kind == "vlen":
        return node.createVLType(np.float64, tag)
    if v.kind == "enum":
        return node.createEnumType(np.int8, tag, {"down": -1, "up": 1})
    if v.kind == "S1":
        return "S1"
    if v.kind == "text" or v.values.dtype.kind in "UO":
        return str
    return v.values.dtype


@st.composite
def broken_structure(draw: st.DrawFn, original: Group) -> Group:
    """One to three changes of a file's variables, dims, attributes and groups."""
    found = copy.deepcopy(original)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        draw(st.sampled_from(_CHANGES))(draw, found)
    return found


def _group(draw: st.DrawFn, root: Group) -> Group:
    return draw(st.sampled_from(root.every()))


def _variable(draw: st.DrawFn, root: Group) -> tuple[Group, str] | None:
    known = [(g, name) for g in root.every() for name in g.variables]
    return draw(st.sampled_from(known)) if known else None


def _drop(draw: st.DrawFn, root: Group) -> None:
    if found := _variable(draw, root):
        del found[0].variables[found[1]]


def _rename(draw: st.DrawFn, root: Group) -> None:
    if found := _variable(draw, root):
        group, name = found
        group.variables[draw(st.sampled_from(NAMES))] = group.variables.pop(name)


def _retype(draw: st.DrawFn, root: Group) -> None:
    if found := _variable(draw, root):
        v = found[0].variables[found[1]]
        kind = draw(st.sampled_from(TYPES))
        if kind in ("text", "S1", "compound", "vlen", "enum"):
            v.kind = kind
        elif v.values.dtype.kind in "biuf":
            with np.errstate(all="ignore"):
                v.values = v.values.astype(kind)


def _value(draw: st.DrawFn, root: Group) -> None:
    """A few values, or all."""
    if not (found := _variable(draw, root)):
        return
    v = found[0].variables[found[1]]
    if not v.values.size:
        return
    values = v.values.copy()
    at = draw(st.integers(0, values.size - 1))
    which = draw(st.sampled_from((slice(at, at + 1), slice(at, None), slice(None))))
    with np.errstate(all="ignore"):
        if values.dtype.kind in "iuf":
            new = np.array(draw(st.sampled_from(NUMBERS)))
            values.reshape(-1)[which] = new.astype(values.dtype)
        else:
            values.reshape(-1)[which] = draw(
                st.sampled_from(("", "A", "pair A_A", "x y z", "\x1b", "é"))
            )
    v.values = values


def _integers(draw: st.DrawFn, root: Group) -> None:
    """Another whole number where numbers of sites and codes stand."""
    known = [
        (g, n) for g in root.every() for n, v in g.variables.items() if v.values.dtype.kind in "iu"
    ]
    if known:
        group, name = draw(st.sampled_from(known))
        v = group.variables[name]
        if v.values.size:
            v.values = v.values.copy()
            at = draw(st.integers(0, v.values.size - 1))
            number = draw(st.sampled_from((-1, 0, 1, 7, 100, 127)))
            v.values.reshape(-1)[at] = np.array(number).astype(v.values.dtype)


def _attribute(draw: st.DrawFn, root: Group) -> None:
    """Another value of an attribute, of the root or of a variable."""
    holders: list[dict[str, Any]] = [g.attrs for g in root.every()]
    holders += [v.attrs for g in root.every() for v in g.variables.values()]
    attrs = draw(st.sampled_from([root.attrs, draw(st.sampled_from(holders))]))
    names = [*attrs] or ["units"]
    attrs[draw(st.sampled_from(names))] = draw(
        st.one_of(st.sampled_from(VALUES), st.text(max_size=20))
    )


def _coded(draw: st.DrawFn, root: Group) -> None:
    """An attribute by which readers change values."""
    holders: list[dict[str, Any]] = [root.attrs]
    holders += [v.attrs for g in root.every() for v in g.variables.values()]
    attrs = draw(st.sampled_from(holders))
    attrs[draw(st.sampled_from(CODED))] = draw(st.sampled_from((*VALUES, *NAMES)))


def _without_attribute(draw: st.DrawFn, root: Group) -> None:
    holders = [g.attrs for g in root.every() if g.attrs]
    holders += [v.attrs for g in root.every() for v in g.variables.values() if v.attrs]
    if holders:
        attrs = draw(st.sampled_from(holders))
        del attrs[draw(st.sampled_from(sorted(attrs)))]


def _resize(draw: st.DrawFn, root: Group) -> None:
    """Another length of an axis, of every variable that has it; perhaps none, perhaps huge."""
    known = [(g, d) for g in root.every() for d in g.dims]
    if not known:
        return
    group, dim = draw(st.sampled_from(known))
    size = draw(
        st.sampled_from(
            (0, 1, 2, group.dims[dim] + 1, max(1, group.dims[dim] - 1), 2**31 - 1, 2**40)
        )
    )
    group.dims[dim] = size
    for child in group.every():
        for v in child.variables.values():
            for axis, name in enumerate(v.dims):
                if name == dim and size < 1000:
                    rows = np.arange(size) % max(1, v.values.shape[axis])
                    empty = v.values.shape[axis] == 0 and size > 0
                    v.values = v.values if empty else np.take(v.values, rows, axis)


def _redim(draw: st.DrawFn, root: Group) -> None:
    """Other names of a variable's axes, perhaps one twice."""
    if not (found := _variable(draw, root)):
        return
    group, name = found
    v = group.variables[name]
    if v.dims and draw(st.booleans()):
        v.dims = tuple(draw(st.permutations(v.dims)))
        return
    names = list(v.dims)
    if names:
        k = draw(st.integers(0, len(names) - 1))
        new = draw(st.one_of(st.sampled_from(NAMES), st.sampled_from(names)))
        group.dims.setdefault(new, v.values.shape[k])
        names[k] = new
    v.dims = tuple(names)


def _rank(draw: st.DrawFn, root: Group) -> None:
    """An axis less or more."""
    if not (found := _variable(draw, root)):
        return
    group, name = found
    v = group.variables[name]
    if v.dims and v.values.shape[0] and draw(st.booleans()):
        v.values, v.dims = v.values[0], v.dims[1:]
    else:
        group.dims.setdefault("extra", 1)
        v.values, v.dims = v.values[None], ("extra", *v.dims)


def _transpose(draw: st.DrawFn, root: Group) -> None:
    if found := _variable(draw, root):
        v = found[0].variables[found[1]]
        v.values, v.dims = v.values.T, v.dims[::-1]


def _more(draw: st.DrawFn, root: Group) -> None:
    """A variable that nobody asked for."""
    group = _group(draw, root)
    name = draw(st.sampled_from(NAMES))
    dims = (
        tuple(draw(st.lists(st.sampled_from(sorted(group.dims)), max_size=3))) if group.dims else ()
    )
    shape = [min(group.dims[d], 50) for d in dims]
    kind = draw(st.sampled_from(("", "text", "compound", "vlen", "enum", "S1")))
    group.variables[name] = Variable(dims, np.zeros(shape), {}, kind)


def _regroup(draw: st.DrawFn, root: Group) -> None:
    """A group dropped, renamed, put into another or nested deep."""
    if not root.groups or draw(st.booleans()):
        inner = root
        for _ in range(draw(st.sampled_from((1, 3, 40)))):
            inner.groups[draw(st.sampled_from(("system", "potentials", "g", "é")))] = inner = (
                Group()
            )
        return
    name = draw(st.sampled_from(sorted(root.groups)))
    group = root.groups.pop(name)
    to = draw(st.sampled_from(("", "x", "posterior", "<b>", "deep")))
    if to == "deep":
        root.groups[name] = Group(groups={"inner": group})
    elif to:
        root.groups[to] = group


def _swap(draw: st.DrawFn, root: Group) -> None:
    """What one variable holds, under the name of another."""
    one, other = _variable(draw, root), _variable(draw, root)
    if one and other and one[0] is other[0]:
        held = one[0].variables
        held[one[1]], held[other[1]] = held[other[1]], held[one[1]]


_Change = Callable[[st.DrawFn, Group], None]
_CHANGES: tuple[_Change, ...] = (
    _drop, _rename, _retype, _value, _value, _integers, _attribute, _attribute, _coded, _without_attribute, _resize,
    _redim, _rank, _transpose, _more, _regroup, _swap,
)  # fmt: skip
