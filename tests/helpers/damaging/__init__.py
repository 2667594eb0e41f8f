"""Damage the files that the package reads, in seeded ways, and judge what becomes of it."""
