"""Shipped systems, one file each."""
