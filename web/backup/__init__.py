"""Backups: the rows of one moment in a form that both databases read, and the files that they name (DESIGN.md)."""

from __future__ import annotations
