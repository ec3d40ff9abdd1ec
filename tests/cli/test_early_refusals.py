"""Outputs that cannot be written are refused before the headers of all files are read."""

from pathlib import Path
from typing import Any

import pytest

from support.command_line import run
from support.rasters import random_series


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("apply", "ols", "-o", "gone/o.tif"), "gone/o.tif: "),
        (("apply", "ols", "-o", "o.png"), "o.png: a map is GeoTIFF, Zarr or NetCDF"),
        (("apply", "ols", "-o", "there.tif"), "there.tif: already exists; --overwrite replaces it"),
        (("apply", "ols", "-o", "there.tif", "--overwrite"), "there.tif: is not a pixelwise map"),
        (("apply", "ols", "-o", "o.tif", "--write", "fitted", "gone/f.tif"), "gone/f.tif: "),
        (("apply", "ols", "-o", "o.tif", "--write", "fitted", "f.png"), "f.png: fitted are GeoTIFF"),
        (("composite", "-o", "gone/o.tif"), "gone/o.tif: "),
        (("composite", "-o", "gone/o.tif", "--append"), "gone/o.tif: "),
        (("composite", "-o", "there.tif"), "there.tif: already exists; --overwrite replaces it"),
        (("rectify", "-o", "gone/gains.csv"), "gone/gains.csv: "),
    ],
)
def test_before_anything_is_read(
    words: tuple[str, ...], told: str, tmp_path: Path, make_stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_stack(random_series((3, 8, 8)))

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("files were read")

    monkeypatch.setattr("pixelwise.opening.survey.open_layers", refuse)
    monkeypatch.setattr("pixelwise.rectification.door.open_scenes", refuse)
    monkeypatch.chdir(tmp_path)
    Path("there.tif").write_bytes(b"something else")
    refused = run(*words[: 1 + (words[0] == "apply")], folder, *words[1 + (words[0] == "apply") :])
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"error: {told}"), refused.stderr


def test_an_output_that_is_an_input_is_refused_as_such(make_stack: Any) -> None:
    folder = make_stack(random_series((3, 8, 8)))
    file = next(iter(sorted(folder.glob("*.tif"))))
    for words in ((folder, "-o", file), (*folder.glob("*.tif"), "-o", file)):
        assert "is one of the inputs" in run("apply", "ols", *words).stderr
