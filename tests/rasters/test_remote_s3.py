"""Files in S3, by moto's server, which checks signatures: credentials come from the environment alone."""

from __future__ import annotations

import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.rasters import remote
from support.command_line import run
from support.rasters import random_series, read_all, write_raster
from support.servers import moto

VALUES = random_series((3, 70, 90))
NAMES = [f"s3://ndvi/far/a_{year}.tif" for year in (2000, 2001, 2002)]
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """A bucket, and the key and secret of a user that may read it."""
    folder = tmp_path_factory.mktemp("s3")
    with moto(unchecked=7) as port:
        base = f"http://127.0.0.1:{port}"

        def ask(path: str, data: bytes | None, method: str, service: str) -> str:
            scope = f"x/20260101/us-east-1/{service}/aws4_request"
            signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x"
            kind = "application/octet-stream" if service == "s3" else "application/x-www-form-urlencoded"
            headers = {"Authorization": signed, "Content-Type": kind}
            request = urllib.request.Request(base + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return str(answer.read().decode())

        def iam(**words: str) -> str:
            return ask("/", urllib.parse.urlencode({"Version": "2010-05-08", **words}).encode(), "POST", "iam")

        ask("/ndvi", b"", "PUT", "s3")
        for name, image in zip(NAMES, VALUES, strict=True):
            path = write_raster(
                folder / Path(name).name, image, compress="deflate", tiled=True, blockxsize=64, blockysize=64
            )
            ask(f"/ndvi/far/{path.name}", path.read_bytes(), "PUT", "s3")
        iam(Action="CreateUser", UserName="reader")
        iam(Action="PutUserPolicy", UserName="reader", PolicyName="read", PolicyDocument=POLICY)
        keys = iam(Action="CreateAccessKey", UserName="reader")
        found = [re.findall(rf"<{tag}>(.*?)</{tag}>", keys)[0] for tag in ("AccessKeyId", "SecretAccessKey")]
        yield base, found[0], found[1]


@pytest.fixture(autouse=True)
def environment(server: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    base, key, secret = server
    for name, value in (
        ("AWS_ENDPOINT_URL", base), ("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    remote.object_store.cache_clear()
    yield
    remote.object_store.cache_clear()


def test_a_job_with_credentials(server: tuple[str, str, str], tmp_path: Path) -> None:
    stack = pw.open_stack(NAMES, allow_scheme="s3")
    np.testing.assert_array_equal(read_all(stack), VALUES)
    result = run("apply", "ols", *NAMES, "-o", tmp_path / "out.tif", "--allow-scheme", "s3")
    assert result.exit_code == 0, result.stderr
    found = pw.open_map(tmp_path / "out.tif")
    assert [one["path"] for one in found.provenance["input"]["files"]] == NAMES
    written = (
        (tmp_path / "out.tif").read_bytes().decode("latin-1") + result.stderr + result.stdout + str(found.provenance)
    )
    for secret in server[1:]:
        assert secret not in written
        assert secret not in repr(stack)


def test_wrong_or_no_credentials(server: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(pw.InputError, match=r"a_2000\.tif: access is denied; credentials come from the env") as caught:
        pw.open_stack(NAMES, allow_scheme="s3")
    assert "hunter2" not in str(caught.value)
    # Without any, requests are not signed, and no metadata service of the machine is asked for credentials.
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    remote.object_store.cache_clear()
    assert remote.object_store("s3", "ndvi").config["skip_signature"] in (True, "true")
    with pytest.raises(pw.InputError, match=r"a_2000\.tif: "):
        pw.open_stack(NAMES, allow_scheme="s3")


def test_absent_files_and_buckets() -> None:
    with pytest.raises(pw.InputError, match=r"s3://ndvi/far/b\.tif: there is no such file on the server \(HTTP 404\)"):
        pw.open_stack(["s3://ndvi/far/b.tif"], allow_scheme="s3")
    with pytest.raises(pw.InputError, match=r"s3://other/b\.tif: there is no such file"):
        pw.open_stack(["s3://other/b.tif"], allow_scheme="s3")
