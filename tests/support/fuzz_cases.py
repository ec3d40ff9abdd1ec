"""The kinds of hostile files of `fuzz.py`, and what must come of each."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import tomllib
import warnings
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from support.fuzz_bench import (
    ANSWER,
    BOTH,
    EQUAL,
    LOST,
    RAN_OUT,
    REFUSED,
    RESUMABLE,
    RESUMABLE_SETTINGS,
    RESUMED,
    SIZES_OF_GRIDS,
    STEADY,
    STOPPED,
    STRICTER,
    UNDEFINED,
    Bench,
    Case,
    Failure,
    Verdict,
    last_words,
)
from support.fuzz_changes import Dice, change_bytes, change_line, change_tiff, change_tree, change_xml
from support.fuzz_reference import Unread, differing, read_map, read_plainly, read_thrice, summarized

#: Bands of maps that are compared.
SUMMARY = ("n", "min", "max", "first", "last", "mean")

KINDS = ("tiff", "header", "vrt", "tag", "recipe", "journal")
#: Of how many cases in a hundred each kind is.
SHARES = {"tiff": 50, "header": 14, "vrt": 12, "tag": 10, "recipe": 8, "journal": 6}


def compare_map(case: Case, bad: Path, driver: str, *, size: str, band: int = 1) -> tuple[str, str]:
    """Apply `summary` to two sound files and a changed one, and compare with plain rasterio and NumPy."""
    dice = case.dice
    missing = dice.random() < 0.25
    good = [case.bench.inputs / f"{size}_{year}.tif" for year in (2000, 2002)]
    command = ["apply", "summary", *map(str, good), bad.name, "-o", "out.tif", "--dtype", "float64"]
    command += ["--bands", ",".join(SUMMARY), "--quiet", "--memory", "1GiB", "--band", str(band)]
    command += ["--on-read-error", "missing"] if missing else []
    command += ["--executor", *dice.choice((("inline",), ("threads", "--jobs", "1"), ("threads", "--jobs", "3")))]
    extent = dice.choice(("", "", "", "", "union", "intersection"))
    command += ["--extent", extent] if extent else []
    settings = {"window": dice.choice((1, 4096, 1 << 20)), "team": dice.random() < 0.2}
    case.allowed = {"out.tif"}
    output = case.folder / "out.tif"
    try:
        plain = case.ask(read_thrice, bad, band, driver, {}, missing)
    except Unread as error:
        plain, refusal = None, str(error)
    ended = case.run(command, **settings)
    if ended.status:
        if not ended.error:
            raise Failure("no error is said", last_words(ended))
        if output.exists():
            raise Failure("an error and a map", ended.error)
        if ended.status == 75:
            return RAN_OUT, ended.error
        if plain is None:
            return BOTH, ended.error
        return (UNDEFINED if plain.unsteady.any() else STRICTER), ended.error
    found, transform = read_map(output)
    if plain is None:
        raise Failure("a map where the reference cannot read", refusal)
    unsteady = placed(plain.unsteady, plain.transform, transform, found["n"].shape, False)
    layers = [
        placed(sound.values, sound.transform, transform, found["n"].shape, np.nan)
        for sound in (case.bench.sound(path, band) for path in good)
    ]
    here = placed(plain.values, plain.transform, transform, found["n"].shape, np.nan)
    with np.errstate(over="ignore"):
        single = np.array_equal(plain.values, plain.values.astype(np.float32), equal_nan=True)
    tolerance = 0.0 if single else 1e-15
    wrong = differing(found, summarized([*layers, here]), tolerance) & ~unsteady
    outcome = EQUAL
    if missing and wrong.any():
        # A block that is lost is lost as a whole: our own check of DEFLATE streams is stricter than GDAL's.
        without = differing(found, summarized([*layers, np.full_like(here, np.nan)]), tolerance) & ~unsteady
        lost = np.zeros(plain.values.shape, bool)
        for place in plain.windows:
            block = np.zeros(plain.values.shape, bool)
            block[place] = True
            block = placed(block, plain.transform, transform, wrong.shape, False)
            if (wrong & block).any() and not (without & block).any():
                lost[place] = True
        wrong &= ~placed(lost, plain.transform, transform, wrong.shape, False)
        outcome = LOST
        plain.lost |= lost
    if wrong.any():
        row, col = np.argwhere(wrong)[0].tolist()
        numbers = {name: float(found[name][row, col]) for name in SUMMARY}
        wanted = {name: float(values[row, col]) for name, values in summarized([*layers, here]).items()}
        raise Failure(
            "another map",
            f"{int(wrong.sum())} of {wrong.size} pixels, the first at {row}, {col}: {numbers} not {wanted}",
        )
    check_status(found, layers, placed(plain.lost, plain.transform, transform, wrong.shape, False), unsteady)
    if unsteady.any():
        output.replace(case.folder / "first.tif")
        again = case.run(command, **{**settings, "perturb": 0xC3, "window": 1 << 20})
        if again.status:
            raise Failure("a map, then an error", again.error)
        second, _ = read_map(output)
        if any(not np.array_equal(found[name], second[name], equal_nan=True) for name in found):
            raise Failure("two maps of one input", f"{int(unsteady.sum())} pixels are undefined")
        return STEADY, ""
    if dice.random() < 0.15 and not missing:
        case.allowed.clear()
        verified = case.run(["verify", "out.tif", *map(str, good), bad.name, "--pixels", "60"])
        if verified.status and "cannot be" not in verified.err:
            raise Failure("verify finds fault with a right map", last_words(verified))
    return outcome, ""


def placed(values: Any, own: Sequence[float], grid: Sequence[float], shape: tuple[int, int], fill: Any) -> Any:
    """Put the pixels of a file where they lie on a grid.

    Raises
    ------
    Failure
        When they lie between its pixels.
    """
    a, b, c, d, e, f = grid
    determinant = a * e - b * d

    def at(x: float, y: float) -> tuple[float, float]:
        return ((x - c) * e - (y - f) * b) / determinant, ((y - f) * a - (x - c) * d) / determinant

    height, width = values.shape
    corners = [
        at(own[0] * x + own[1] * y + own[2], own[3] * x + own[4] * y + own[5])
        for x, y in ((0, 0), (width, 0), (0, height))
    ]
    col, row = round(corners[0][0]), round(corners[0][1])
    for (x, y), (right, down) in zip(corners, ((0, 0), (width, 0), (0, height)), strict=True):
        if abs(x - col - right) > 0.02 or abs(y - row - down) > 0.02:
            raise Failure("a map of files on different lattices", f"{own} on {grid}")
    out = np.full(shape, fill, dtype=values.dtype)
    rows, cols = slice(max(row, 0), min(row + height, shape[0])), slice(max(col, 0), min(col + width, shape[1]))
    if rows.start < rows.stop and cols.start < cols.stop:
        out[rows, cols] = values[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col]
    return out


def check_status(found: dict[str, Any], layers: Sequence[Any], lost: Any, unsteady: Any) -> None:
    """Compare the band status with the counts, and with what could not be read."""
    status, n = found["status"], found["n"]
    wrong = ((status == 1) & (n != 0)) | ((status == 2) & (n >= 2)) | ((status == 0) & (n < 2))
    wrong |= (status == 8) != (lost & (n >= 2) & (status != 6))
    wrong &= ~unsteady
    if wrong.any():
        row, col = np.argwhere(wrong)[0].tolist()
        raise Failure(
            "another status",
            f"{int(wrong.sum())} pixels, the first at {row}, {col}: {status[row, col]} of {n[row, col]} values, "
            f"{'lost' if lost[row, col] else 'nothing lost'}",
        )


def series(dice: Dice, bands: int, shape: tuple[int, int], dtype: str) -> Any:
    """Return (band, y, x) values whose every row and column is another."""
    generator = np.random.default_rng(dice.randrange(1 << 30))
    values = generator.normal(100, 40, (bands, *shape)) + np.arange(shape[0])[:, None] + np.arange(shape[1]) * 0.25
    if dtype.startswith("float"):
        values = values.round(dice.choice((0, 2, 9)))
        if dice.random() < 0.3:
            values[generator.random(values.shape) < 0.1] = np.nan
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return values.clip(limits.min, limits.max).astype(dtype)


def tiff_case(case: Case) -> tuple[str, str]:
    """A GeoTIFF of any layout."""
    from support.rasters import write_raster

    dice = case.dice
    size = dice.choice(("small", "small", "large"))
    compress = dice.choice(("lzw", "lzw", "lzw", "deflate", "deflate", "deflate", "packbits", "zstd", "none"))
    if compress == "deflate" and dice.random() < 0.7:
        size = "large"  # of smaller blocks GDAL inflates all
    dtype = dice.choice(("uint8", "int16", "uint16", "int32", "float32", "float32", "float64"))
    bands = dice.choice((1, 1, 1, 2, 3))
    profile: dict[str, Any] = {"compress": compress} if compress != "none" else {}
    if compress in ("lzw", "deflate", "zstd"):
        profile["predictor"] = dice.choice((1, 2, 3) if dtype.startswith("float") else (1, 2))
    block = dice.choice((16, 32)) if size == "small" else dice.choice((64, 128, 128))
    if dice.random() < 0.5:
        profile.update(tiled=True, blockxsize=block, blockysize=block)
    else:
        profile["blockysize"] = dice.choice((1, 5, 16, block, 150))
    if bands > 1:
        profile["interleave"] = dice.choice(("band", "pixel"))
    if dice.random() < 0.25:
        profile["BIGTIFF"] = "YES"
    if dice.random() < 0.2:
        profile["ENDIANNESS"] = "BIG"
    if dice.random() < 0.4:
        profile["nodata"] = dice.choice((0, 1, 100, 255))
    if dice.random() < 0.15:
        profile["SPARSE_OK"] = "TRUE"
    if dice.random() < 0.1:
        profile["mask"] = (np.arange(SIZES_OF_GRIDS[size][0])[:, None] % 7 > 0) * np.full(
            SIZES_OF_GRIDS[size], 255, np.uint8
        )
    if dice.random() < 0.15:
        profile.update(scales=[0.5] * bands, offsets=[3.0] * bands)
    if dice.random() < 0.15:
        profile.update(descriptions=[f"band {i}" for i in range(bands)])
    path = write_raster(case.folder / "x_2003.tif", series(dice, bands, SIZES_OF_GRIDS[size], dtype), **profile)
    data, what = change_tiff(path.read_bytes(), dice)
    path.write_bytes(data)
    layout = f"{compress}{profile.get('predictor', '')} {dtype} x{bands} {profile.get('interleave', '')}"
    case.change = f"{layout} {'tiles' if 'tiled' in profile else 'strips'}: {what}"
    band = dice.randint(1, bands)
    return compare_map(case, path, "GTiff", size=size, band=band)


#: Drivers with headers of text: suffix of the raster, of what is changed, types.
TEXTS = {
    "ENVI": (".bil", ".hdr", ("uint8", "int16", "float32", "float64")),
    "EHdr": (".bil", ".hdr", ("uint8", "int16", "float32")),
    "RST": (".rst", ".rdc", ("uint8", "int16", "float32")),
    "SAGA": (".sdat", ".sgrd", ("uint8", "int16", "float32", "float64")),
    "RRASTER": (".grd", ".grd", ("uint8", "int16", "float32", "float64")),
    "AAIGrid": (".asc", ".asc", ("int32", "float32")),
    "HFA": (".img", ".img", ("uint8", "int16", "float32")),
}


def header_case(case: Case) -> tuple[str, str]:
    """A raster with a header of text beside it, or of fields of its own."""
    import rasterio
    import rasterio.shutil

    from support.rasters import PROFILE, write_raster

    dice = case.dice
    driver = dice.choice(("ENVI", "ENVI", *TEXTS))
    raster, changed, dtypes = TEXTS[driver]
    dtype, bands = dice.choice(dtypes), dice.choice((1, 1, 3)) if driver in ("ENVI", "EHdr", "RRASTER", "HFA") else 1
    values = series(dice, bands, SIZES_OF_GRIDS["small"], dtype)
    path = case.folder / f"x_2003{raster}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if driver == "AAIGrid":
            write_raster(case.folder / "base.tif", values, nodata=-9999)
            rasterio.shutil.copy(case.folder / "base.tif", path, driver=driver)
            (case.folder / "base.tif").unlink()
        else:
            extra = {"interleave": dice.choice(("bsq", "bil", "bip"))} if driver in ("ENVI", "RRASTER") else {}
            profile = {**PROFILE, "driver": driver, "count": bands, "dtype": dtype, **extra}
            height, width = SIZES_OF_GRIDS["small"]
            nodata = 0 if dice.random() < 0.5 and driver != "RST" else None
            with rasterio.open(path, "w", height=height, width=width, nodata=nodata, **profile) as dataset:
                dataset.write(values)
    target = path.with_suffix(changed)
    sidecars = sorted(p for p in case.folder.iterdir() if p not in (path, target))
    if sidecars and dice.random() < 0.15:
        target = dice.choice(sidecars)
    elif dice.random() < 0.15:
        target = path if driver != "RRASTER" else path.with_suffix(".gri")
    data, said = target.read_bytes(), []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        if target.suffix in (".hdr", ".rdc", ".sgrd", ".grd", ".prj") and dice.random() < 0.8:
            text, what = change_line(data.decode("latin-1"), dice)
            data = text.encode("latin-1", "replace")
        else:
            data, what = change_bytes(data, dice)
        said.append(what)
    target.write_bytes(data)
    case.change = f"{driver} {dtype} x{bands} {target.suffix}: {', '.join(said)}"
    band = dice.randint(1, bands)
    return compare_map(case, path, driver, size="small", band=band)


VRT = """<VRTDataset rasterXSize="40" rasterYSize="48"><SRS>EPSG:32617</SRS>
<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform><Metadata><MDI key="A">0</MDI></Metadata>
<VRTRasterBand dataType="{dtype}" band="1"{derived}>{nodata}<ColorInterp>Gray</ColorInterp>{sources}</VRTRasterBand>
{further}</VRTDataset>"""
SOURCE = """<{kind}><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>
<SourceProperties RasterXSize="40" RasterYSize="48" DataType="{dtype}" BlockXSize="40" BlockYSize="16"/>
<SrcRect xOff="{x}" yOff="0" xSize="20" ySize="48"/><DstRect xOff="{x}" yOff="0" xSize="20" ySize="48"/>
{more}</{kind}>"""
WARPED = """<VRTDataset rasterXSize="40" rasterYSize="48" subClass="VRTWarpedDataset"><SRS>EPSG:32617</SRS>
<GeoTransform>500000, 30, 0, 3400000, 0, -30</GeoTransform>
<VRTRasterBand dataType="Float32" band="1" subClass="VRTWarpedRasterBand"/>
<BlockXSize>40</BlockXSize><BlockYSize>48</BlockYSize>
<GDALWarpOptions><WarpMemoryLimit>6.7e+07</WarpMemoryLimit><ResampleAlg>NearestNeighbour</ResampleAlg>
<WorkingDataType>Float32</WorkingDataType><Option name="INIT_DEST">0</Option>
<SourceDataset relativeToVRT="1">part.tif</SourceDataset>
<Transformer><ApproxTransformer><MaxError>0.1</MaxError><BaseTransformer><GenImgProjTransformer>
<SrcGeoTransform>500000,30,0,3400000,0,-30</SrcGeoTransform>
<SrcInvGeoTransform>-16666.67,0.0333333,0,113333.33,0,-0.0333333</SrcInvGeoTransform>
<DstGeoTransform>500000,30,0,3400000,0,-30</DstGeoTransform>
<DstInvGeoTransform>-16666.67,0.0333333,0,113333.33,0,-0.0333333</DstInvGeoTransform>
</GenImgProjTransformer></BaseTransformer></ApproxTransformer></Transformer>
<BandList><BandMapping src="1" dst="1"/></BandList></GDALWarpOptions></VRTDataset>"""


def vrt_case(case: Case) -> tuple[str, str]:
    """A VRT of two parts, derived, warped, or over another one."""
    from support.rasters import write_raster

    dice = case.dice
    write_raster(case.folder / "part.tif", series(dice, 2, SIZES_OF_GRIDS["small"], "float32"), compress="lzw")
    shutil.copy2(case.bench.canary / "evil.py", case.folder / "evil.py")
    os.mkfifo(case.folder / "fifo_2001.tif")
    kinds = [
        dice.choice(("SimpleSource", "SimpleSource", "ComplexSource", "AveragedSource", "KernelFilteredSource"))
        for _ in "ab"
    ]
    more = {"ComplexSource": "<ScaleRatio>2</ScaleRatio><ScaleOffset>1</ScaleOffset><NODATA>100</NODATA>"}
    more["KernelFilteredSource"] = "<Kernel><Size>3</Size><Coefs>0 0 0 0 1 0 0 0 0</Coefs></Kernel>"
    dtype = dice.choice(("Float32", "Float32", "Int16", "Float64"))
    sources = "".join(
        SOURCE.format(
            kind=kind, name="part.tif", band=dice.choice((1, 2)), x=20 * i, dtype="Float32", more=more.get(kind, "")
        )
        for i, kind in enumerate(kinds)
    )
    derived, further = "", ""
    if dice.random() < 0.15:
        derived = ' subClass="VRTDerivedRasterBand"'
        python = "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        code = f"<PixelFunctionCode>open('{case.bench.marker}', 'w')</PixelFunctionCode>"
        functions = (
            "<PixelFunctionType>sum</PixelFunctionType>",
            "<PixelFunctionType>expression</PixelFunctionType><PixelFunctionArguments expression='B1+1'/>",
            f"{python}<PixelFunctionType>evil.f</PixelFunctionType>",
            f"{python}<PixelFunctionType>f</PixelFunctionType>{code}",
        )
        sources = dice.choice(functions) + sources
    if dice.random() < 0.15:
        mask = SOURCE.format(kind="SimpleSource", name="part.tif", band=1, x=0, dtype="Byte", more="")
        further = f'<MaskBand><VRTRasterBand dataType="Byte">{mask}</VRTRasterBand></MaskBand>'
    nodata = dice.choice(("", "<NoDataValue>100</NoDataValue>", "<Scale>0.5</Scale><Offset>3</Offset>"))
    text = VRT.format(dtype=dtype, derived=derived, nodata=nodata, sources=sources, further=further)
    if dice.random() < 0.15:
        text = WARPED
    names, said = case.names(), []
    (case.folder / "other_2004.vrt").write_text(
        text.replace("part.tif", dice.choice(("x_2003.vrt", "part.tif", "other_2004.vrt")))
    )
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        with contextlib.suppress(SyntaxError):  # of XML that was changed before
            text, what = change_xml(text, dice, names)
            said.append(what)
    path = case.folder / "x_2003.vrt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    case.change = f"{', '.join(said)}"
    return compare_map(case, path, "VRT", size="small")


def tag_case(case: Case) -> tuple[str, str]:
    """The tag of a map, whose pixels are right or all wrong."""
    import rasterio

    dice = case.dice
    case.names_others = False
    for path in (case.bench.root / "map").glob("*_*.tif"):
        os.link(path, case.folder / path.name)
    shutil.copy2(case.bench.canary / "evil.py", case.folder / "evil.py")
    os.mkfifo(case.folder / "fifo_2001.tif")
    method = dice.choice(("summary", "ols"))
    path = case.folder / "m.tif"
    shutil.copyfile(case.bench.root / "map" / f"{method}.map.tif", path)
    falsified = dice.random() < 0.5
    said = []
    with rasterio.open(path, "r+") as dataset:
        text = dataset.tags()["PIXELWISE"]
        if text.startswith("zlib:"):
            text = zlib.decompress(b64decode(text.removeprefix("zlib:"))).decode()
        tree = json.loads(text)
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            tree, what = change_tree(tree, dice, case.names())
            said.append(what)
        text = json.dumps(tree)
        how = dice.choice(("plain", "plain", "plain", "plain", "zlib", "text", "deep", "bomb", "base64"))
        if how == "zlib":
            text = "zlib:" + b64encode(zlib.compress(text.encode())).decode()
        elif how == "text":
            text = "".join(c for c in change_bytes(text.encode(), dice)[0].decode("latin-1") if c != "\0")
        elif how == "deep":
            text = text.replace("{}", "[" * 100_000 + "]" * 100_000, 1)
        elif how == "bomb":
            content = dice.choice(
                (b"[" * (60 << 20), b'{"a":' * (10 << 20), b" " * (60 << 20) + text.encode(), b"[1," * (20 << 20))
            )
            text = "zlib:" + b64encode(zlib.compress(content)).decode()
        elif how == "base64":
            text = "zlib:" + dice.choice(("", "!", "AAAA", b64encode(zlib.compress(text.encode())[:-9]).decode()))
        dataset.update_tags(PIXELWISE=text)
        if falsified:
            for band in range(1, dataset.count):
                dataset.write(dataset.read(band) * 1.5 + 1000, band)
    command = dice.choice(("verify",) * 14 + ("plan",) * 3 + ("plot",) * 2 + ("apply",))
    case.change = f"{method}, {command}, {'false' if falsified else 'right'} pixels: {', '.join([*said, how])}"
    if command == "plan":
        ended = case.run(["plan", "m.tif"])
    elif command == "apply":
        case.allowed = {"out.tif"}
        ended = case.run(["apply", "ols", "m.tif", "small_2002.tif", "-o", "out.tif", "--quiet"])
    elif command == "plot":
        case.allowed = {"m.png"}
        ended = case.run(["plot", "m.tif", "-o", "m.png"])
        picture = case.folder / "m.png"
        if ended.status == 0 and (not picture.exists() or picture.read_bytes()[:4] != b"\x89PNG"):
            raise Failure("no picture", last_words(ended))
    else:
        ended = case.run(["verify", "m.tif", "--pixels", str(dice.choice((1, 50)))])
        if ended.status == 0 and "no difference" not in ended.out:
            raise Failure("no answer", last_words(ended))
        if ended.status == 0 and falsified:
            raise Failure("verify passes a wrong map", last_words(ended))
        if ended.status == 1 and not ended.error and "differ" not in ended.out:
            raise Failure("no error is said", last_words(ended))
        return (REFUSED, ended.error) if ended.error else (ANSWER, "")
    if ended.status and not (ended.error or "problem" in ended.out):
        raise Failure("no error is said", last_words(ended))
    return (REFUSED, ended.error) if ended.status else (ANSWER, "")


#: Fields of recipes that `recipe_case` computes without the product's help.
KNOWN_FIELDS = {"input", "nodata", "scale", "offset", "valid_range", "start", "end", "band", "on_read_error"}


def recipe_case(case: Case) -> tuple[str, str]:
    """A recipe: its fields, or its text."""
    import tomli_w

    dice = case.dice
    for path in (case.bench.root / "map").glob("*_*.tif"):
        os.link(path, case.folder / path.name)
    shutil.copy2(case.bench.canary / "evil.py", case.folder / "evil.py")
    os.mkfifo(case.folder / "fifo_2001.tif")
    table: dict[str, Any] = {"input": ["small_2000.tif", "small_2002.tif", "x_2003.tif"]}
    choices: dict[str, Any] = {
        "nodata": [-1], "scale": 2.0, "offset": 1.5, "valid_range": [0.1, 900.0], "start": "2000", "end": "2003",
        "months": [1, 2], "band": 1, "same_date": "keep", "on_read_error": "missing", "period": "middle", "times": "%Y",
        "bounds": [500100.0, 3399000.0, 500900.0, 3399900.0], "composite": "median", "every": "year", "grow": 1,
        "value": "b1 + 1", "extent": "union", "where": "x_2003.tif=1", "mask": "none", "min_valid": 0.5,
        "region": [500100.0, 3399000.0, 500900.0, 3399900.0],
    }  # fmt: skip
    for name in dice.sample(sorted(choices), dice.randint(1, 3)):
        table[name] = choices[name]
    if dice.random() < 0.1:
        table["with"] = {"rain": "x_2003.tif"}
    said = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        table, what = change_tree(table, dice, case.names())
        said.append(what)
    try:
        data = tomli_w.dumps(without_none(table)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError):
        data = b"input = []"
    if dice.random() < 0.25:
        data, what = change_bytes(data, dice) if dice.random() < 0.5 else change_recipe(data, dice)
        said.append(what)
    (case.folder / "r.toml").write_bytes(data)
    command = dice.choice(("plan", "apply", "apply"))
    case.change = f"{command}: {', '.join(said)}"
    if command == "plan":
        ended = case.run(["plan", "--recipe", "r.toml"])
        if ended.status and not (ended.error or "problem" in ended.out):
            raise Failure("no error is said", last_words(ended))
        return (REFUSED, ended.error) if ended.status else (ANSWER, "")
    case.allowed = {"out.tif"}
    arguments = ["apply", "summary", "--recipe", "r.toml", "-o", "out.tif", "--dtype", "float64", "--quiet"]
    arguments += ["--bands", ",".join(SUMMARY), "--executor", "inline", "--memory", "1GiB"]
    ended = case.run(arguments)
    if ended.status:
        if not ended.error:
            raise Failure("no error is said", last_words(ended))
        return (RAN_OUT if ended.status == 75 else REFUSED), ended.error
    found, transform = read_map(case.folder / "out.tif")
    spec = tomllib.loads(data.decode("utf-8-sig"))
    wanted = wanted_of_recipe(case, spec, transform, found["n"].shape)
    if wanted is not None:
        wrong = differing(found, wanted, 1e-15)
        if wrong.any():
            raise Failure("another map", f"{int(wrong.sum())} pixels of {spec}"[:500])
        return EQUAL, ""
    case.allowed.clear()
    named = [str(path) for path in sorted(case.folder.glob("*_200[023].tif"))]
    verified = case.run(["verify", "out.tif", *named, "--pixels", "60"])
    if verified.status and not verified.error:
        raise Failure("another map", f"{spec}: {last_words(verified)}"[:500])
    return (ANSWER, verified.error) if verified.error else (EQUAL, "")


def wanted_of_recipe(
    case: Case, spec: dict[str, Any], transform: Sequence[float], shape: tuple[int, int]
) -> dict[str, Any] | None:
    """Return the map of a recipe that says only what is worked out here; None of another."""
    plain = spec.get("band", 1) == 1 and all(
        isinstance(name, str) and name in ("small_2000.tif", "small_2002.tif", "x_2003.tif")
        for name in spec.get("input", [])
    )
    years = [spec.get("start", "2000"), spec.get("end", "2003")]
    if set(spec) - KNOWN_FIELDS or not plain or any(str(year) not in ("2000", "2002", "2003") for year in years):
        return None
    options = {name: spec[name] for name in ("scale", "offset", "valid_range") if name in spec}
    nodata = spec.get("nodata", [])
    nodata = nodata if isinstance(nodata, list) else [nodata]
    if (
        len(nodata) > 1
        or ("nodata" in spec and not nodata)
        or not all(map(is_number, [*nodata, *options.get("valid_range", [])]))
    ):
        return None
    if nodata:
        options["nodata"] = nodata[0]
    layers = []
    for name in sorted(set(spec["input"])):
        if not str(years[0]) <= name[-8:-4] <= str(years[1]):
            continue
        found = case.ask(read_plainly, case.folder / name, 1, "GTiff", options, False)
        layers.append(placed(found.values, found.transform, transform, shape, np.nan))
    return summarized(layers)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def without_none(tree: Any) -> Any:
    """TOML knows no null."""
    if isinstance(tree, dict):
        return {str(key): without_none(value) for key, value in tree.items() if value is not None}
    return [without_none(value) for value in tree if value is not None] if isinstance(tree, list) else tree


def change_recipe(data: bytes, dice: Dice) -> tuple[bytes, str]:
    """Put in what only the text of TOML has."""
    line = dice.choice(
        (
            "scale = " + "9" * 4400, "x = " + "[" * 100_000 + "]" * 100_000, "scale = nan", "nodata = [nan, inf, -inf]",
            "a.b.c = 1", "offset = 1e400", "start = 1999-01-01", "start = 07:32:00", "end = 2003-05-27T07:32:00Z",
            "months = [13]", 'times = "%Y%"', "[input]", "[[with]]", "with = {}", 'input = "small_2000.tif"',
            "min_count = -1", 'season = "02-30..02-31"', 'mask_field = ["0-999=1"]', 'where = "x_2003.tif="',
            "bounds = [inf, nan, 0, 0]", "extent = [-1e12, -1e12, 1e12, 1e12]", "grow = 1000000000000",
            'value = "' + "(" * 5000 + '"', 'composite = "p99"', 'composite = "evil.py:f"', 'align = "x_2003.tif"',
            'product = "evil.py"', "nodata = [" + "1," * 100_000 + "]", 'input = ["@fifo_2001.tif"]',
            'input = ["/dev/zero"]',
        )
    )  # fmt: skip
    return (line + "\n").encode() + data if dice.random() < 0.5 else data + b"\n" + line.encode() + b"\n", "toml line"


def journal_case(case: Case) -> tuple[str, str]:
    """The journal of a job that was stopped, with its checksums right or not, and its half-written map."""
    dice = case.dice
    for path in (case.bench.root / f"stopped_{dice.choice(STOPPED)}").iterdir():
        if path.name.startswith("."):
            shutil.copyfile(path, case.folder / path.name)
        else:
            os.link(path, case.folder / path.name)
    journal, partial = case.folder / ".trend.tif.journal", case.folder / ".trend.partial.tif"
    data, said = journal.read_bytes(), []
    for _ in range(dice.choice((1, 1, 2, 3))):
        data, what = change_journal(data, dice, case.names())
        said.append(what)
    journal.write_bytes(data)
    if dice.random() < 0.2:
        changed, what = change_bytes(partial.read_bytes(), dice)
        partial.write_bytes(changed)
        said.append(f"map {what}")
    case.change = ", ".join(said)
    case.allowed = {"trend.tif", journal.name, partial.name}
    command = [*RESUMABLE, "-o", "trend.tif"]
    ended = case.run(command, **{**RESUMABLE_SETTINGS, "window": dice.choice((1, 4096))})
    outcome = RESUMED
    if ended.status:
        if not ended.error:
            raise Failure("no error is said", last_words(ended))
        if (case.folder / "trend.tif").exists():
            raise Failure("an error and a map", ended.error)
        outcome = RAN_OUT if ended.status == 75 else REFUSED
        if "is not a pixelwise journal; remove it" in ended.error:  # --restart drops what is ours
            journal.unlink()
        again = case.run([*command, "--restart"], **RESUMABLE_SETTINGS)
        if again.status:
            raise Failure("--restart does not help", again.error)
    wanted, _ = read_map(case.bench.root / "whole" / "trend.tif")
    found, _ = read_map(case.folder / "trend.tif")
    for name, band in wanted.items():
        if not np.array_equal(found[name], band, equal_nan=True):
            raise Failure("another map", f"{int((found[name] != band).sum())} pixels of {name}; {last_words(ended)}")
    if left := [path.name for path in case.folder.iterdir() if path.name.startswith(".")]:
        raise Failure("something is left", str(left))
    return outcome, ended.error


def change_journal(data: bytes, dice: Dice, names: Sequence[str]) -> tuple[bytes, str]:
    """Change a line by its fields, with the right checksum, or whole lines, or bytes."""
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    what = dice.choice(("fields", "fields", "fields", "fields", "bytes", "drop", "double", "swap", "json"))
    if what == "bytes":
        return change_bytes(data, dice)
    if what == "drop":
        del lines[at]
    elif what == "double":
        lines.insert(dice.randrange(len(lines)), lines[at])
    elif what == "swap":
        other = dice.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        text = lines[at].partition(b" ")[2]
        if what == "json":
            text = dice.choice(
                (b"[]", b"null", b"1", b'"x"', b"{}", b"", b"{", b"\xff", b"[" * 100_000, b"NaN", b"9" * 4400)
            )
        else:
            try:
                tree = json.loads(text)
            except (ValueError, RecursionError):
                return data, "journal same"
            tree, how = change_tree(tree, dice, names)
            what = f"fields, {how}"
            text = json.dumps(tree, sort_keys=False, separators=(",", ":")).encode()
        lines[at] = b"%08x %s" % (zlib.crc32(text), text)
    return b"\n".join(lines), f"journal {what}"


CASES: dict[str, Callable[[Case], tuple[str, str]]] = {
    "tiff": tiff_case,
    "header": header_case,
    "vrt": vrt_case,
    "tag": tag_case,
    "recipe": recipe_case,
    "journal": journal_case,
}


def examine(bench: Bench, kind: str, seed: int, folder: Path) -> Verdict:
    """Do one case."""
    case = Case(bench, kind, seed, folder)
    try:
        outcome, detail = CASES[kind](case)
    except Failure as failure:
        return Verdict(kind, seed, failure.outcome, case.change, failure.detail)
    return Verdict(kind, seed, outcome, case.change, detail)


def numbered(first: int, count: int) -> Iterator[tuple[str, int]]:
    """Yield the kind and seed of each case, kinds mixed by their shares."""
    turns = [kind for kind in KINDS for _ in range(SHARES[kind])]
    random.Random(0).shuffle(turns)
    for seed in range(first, first + count):
        yield turns[seed % len(turns)], seed
