"""What a bench says of a figure and its bar; a bench that missed one ends with status 1."""

from __future__ import annotations

missed: list[str] = []


def verdict(name: str, value: float, most: float, unit: str) -> None:
    if not value <= most:
        missed.append(name)
    print(f"  {name:44} {value:9.2f} {unit} of {most:g}: {'ok' if value <= most else 'MISSED'}")


def at_least(name: str, value: float, least: float, unit: str) -> None:
    if not value >= least:
        missed.append(name)
    print(f"  {name:44} {value:9.2f} {unit} of {least:g}: {'ok' if value >= least else 'MISSED'}")
