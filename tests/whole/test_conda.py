"""The conda recipe asks for what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import yaml

from support.places import ROOT


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_requirements(recipe: dict[str, Any], pyproject: dict[str, Any]) -> None:
    run = [text.replace(" ", "") for text in recipe["requirements"]["run"]]
    assert run == ["python>=${{python_min}}", *pyproject["project"]["dependencies"]]
    host = [text.replace(" ", "") for text in recipe["requirements"]["host"]]
    assert host == ["python${{python_min}}.*", "pip", *pyproject["build-system"]["requires"]]
    assert ">=" + recipe["context"]["python_min"] == pyproject["project"]["requires-python"]


def test_commands(recipe: dict[str, Any], pyproject: dict[str, Any]) -> None:
    scripts = pyproject["project"]["scripts"]
    assert recipe["build"]["python"]["entry_points"] == [f"{name} = {target}" for name, target in scripts.items()]
