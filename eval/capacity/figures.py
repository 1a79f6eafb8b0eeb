"""The two tables that a plan is computed from: what was measured, and what is assumed."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

MEASURED = Path(__file__).parent / "measured.toml"
ASSUMED = Path(__file__).parent / "assumed.toml"


class Figure(NamedTuple):
    """A row of one of the tables.

    Attributes:
        name: By which it is looked up and replaced.
        value: Of a unit.
        unit: For example ``"CPU ms a passage"``.
        source: Where it was measured and on what, or from where and when the assumption is.
    """

    name: str
    value: float
    unit: str
    source: str


class Figures(Mapping[str, float]):
    """Values by name, which remembers those that were asked for: a plan can be traced to the rows it used."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._figures = {figure.name: figure for figure in figures}
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> float:
        if name not in self._figures:
            raise KeyError(f"There is no figure {name}. Known are {', '.join(self._figures)}")
        self.used.add(name)
        return self._figures[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def rows(self, names: Iterable[str] | None = None) -> list[Figure]:
        """Return the rows of some names, or all, in the order of the table."""
        wanted = set(self._figures if names is None else names)
        return [figure for figure in self._figures.values() if figure.name in wanted]

    def replaced(self, values: Mapping[str, float], source: str) -> "Figures":
        """Return a table with other values under known names.

        Raises:
            ValueError: A name is not known, or a value is not above 0.
        """
        if unknown := sorted(values.keys() - self._figures.keys()):
            raise ValueError(f"There is no figure {', '.join(unknown)}. Known are {', '.join(self._figures)}")
        if wrong := sorted(name for name, value in values.items() if not value > 0):
            raise ValueError(f"Want a number above 0, got {', '.join(f'{name} = {values[name]}' for name in wrong)}")
        return Figures(
            figure._replace(value=values[figure.name], source=source) if figure.name in values else figure
            for figure in self._figures.values()
        )


def read_figures(path: Path) -> list[Figure]:
    """Read a table: a TOML file with ``[name]``, ``value``, ``unit`` and ``source``.

    Raises:
        ValueError: It is not such a file; names it.
        OSError: It cannot be read.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8"))
        return [Figure(name, float(row["value"]), row["unit"], row["source"]) for name, row in rows.items()]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a table of figures, each with value, unit and source: {error}") from error


def write_figures(path: Path, figures: Iterable[Figure]) -> None:
    """Write a table that `read_figures` reads; rows of the file with other names stay."""
    rows = {figure.name: figure for figure in (*(read_figures(path) if path.exists() else ()), *figures)}
    path.write_text("\n".join(_as_toml(figure) for figure in rows.values()), "utf-8")


def _as_toml(figure: Figure) -> str:
    def text(value: Any) -> str:
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"[{figure.name}]\nvalue = {figure.value:.10g}\nunit = {text(figure.unit)}\nsource = {text(figure.source)}\n"
