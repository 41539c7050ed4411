"""The list of packages; everything else stands in pyproject.toml.

``models/`` is installed as ``bayescg_models``.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["bayescg", "bayescg.*"]), "bayescg_models"],
    package_dir={"bayescg_models": "models"},
)
