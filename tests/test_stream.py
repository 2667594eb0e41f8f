"""Tests of reading rate files in parts and of subtracting from file to file."""

import errno
import gzip
import os
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels import fits_support
from stdatamodels.jwst import datamodels

from soss_photcal_steps import stream
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratefile import RateFile, open_metadata
from soss_photcal_steps.ratelayout import CUBES
from soss_photcal_steps.stream import add_variance, write_subtracted
from soss_photcal_steps.unread import is_stand_in

ARRAYS = ("data", "dq", "err", "var_poisson", "var_rnoise", "int_times")
LONG = "a text that is longer than one card can hold, so that it goes on in a second " * 2

TIMES = [
    ("integration_number", "<i4"),
    *(
        (f"int_{part}_{scale}", "<f8")
        for scale in ("MJD_UTC", "BJD_TDB")
        for part in ("start", "mid", "end")
    ),
]


def make(path, shape=(5, 12, 20), seed=1):
    """Write a rate or rateints file with everything that a real one may have; give its path."""
    rng = np.random.default_rng(seed)
    kind = datamodels.CubeModel if len(shape) == 3 else datamodels.ImageModel
    with kind(shape) as model:
        model.data = rng.normal(10, 3, shape).astype(np.float32)
        model.data.flat[[3, 17, 30]] = np.nan, np.inf, -np.inf
        model.dq = rng.integers(0, 2**32, shape, dtype=np.uint32)
        model.err = rng.uniform(0.1, 1, shape).astype(np.float32)
        model.err.flat[5] = np.nan
        model.var_poisson = model.err**2 / 2
        model.var_rnoise = model.err**2 / 2
        if len(shape) == 3:
            times = np.zeros(shape[0], TIMES)
            times["integration_number"] = np.arange(1, shape[0] + 1)
            times["int_mid_BJD_TDB"] = 59788.25 + np.arange(shape[0]) / 1000
            model.int_times = times
        model.meta.telescope = "JWST"
        model.meta.instrument.name = "NIRISS"
        model.meta.exposure.type = "NIS_SOSS"
        model.meta.bunit_data = "DN/s"
        model.meta.unknown = {"list": [1, 2.5, "three"], "array": np.arange(4.0)}
        model.extra_fits = {
            "PRIMARY": {
                "header": [
                    ["MYCARD", 1.5, "a card of the user"],
                    ["LONGCARD", LONG, ""],
                    ["HIERARCH a long keyword", 42, "with a comment"],
                    ["COMMENT", "first comment", ""],
                    ["COMMENT", "second comment", ""],
                ]
            },
            "SCI": {"header": [["SCICARD", True, "in SCI"]]},
            "MYIMAGE": {"data": np.arange(6, dtype=np.float32).reshape(2, 3)},
        }
        model.save(str(path))
    return str(path)


def change(model):
    """Edit the metadata of a model as a step would."""
    model.meta.cal_step.bkg_subtract = "COMPLETE"
    model.meta.bunit_data = "DN / s"
    model.meta.soss_photcal = {"scales": [0.5, 1.25], "image": np.ones((2, 2))}
    model.extra_fits.instance["PRIMARY"]["header"].append(["BKGNEW", 7, "new"])


def through_models(path, target, background):
    """Subtract by opening and saving a data model."""
    with warnings.catch_warnings(), datamodels.open(path) as model:
        warnings.filterwarnings("ignore", message="Keyword name .* HIERARCH")
        data = np.array(model.data, np.float32)
        data -= background
        model.data = data
        change(model)
        model.save(str(target))


def through_stream(path, target, background, **kwargs):
    """Subtract from file to file."""
    with RateFile(path) as source:
        model = open_metadata(source)
        change(model)
        write_subtracted(source, target, model, background, **kwargs)


def flat(model):
    """Give everything in a model but its arrays, and what depends on name and time."""
    known = model.to_flat_dict(include_arrays=False)
    return {
        key: value
        for key, value in known.items()
        if key not in ("meta.filename", "meta.date", "_fits_hash") and not key.startswith("asdf_")
    }


def same_bits(one, other):
    """Tell whether two arrays have the same values, NaN included, and the same kind."""
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.names:
        return all(same_bits(one[name], other[name]) for name in one.dtype.names)
    one, other = (array.astype(array.dtype.newbyteorder("=")) for array in (one, other))
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


def image(shape, seed=2):
    """Make a background for a file of this shape."""
    return np.random.default_rng(seed).uniform(1, 3, shape[-2:]).astype(np.float32)


def extension_bytes(path, name):
    """Give the bytes of an extension, its header included."""
    with RateFile(path) as file, open(path, "rb") as raw:
        extension = file[name]
        raw.seek(extension.header_start)
        return raw.read(extension.end - extension.header_start)


@pytest.fixture
def path(tmp_path):
    """Give a small rateints file."""
    return make(tmp_path / "in_rateints.fits")


@pytest.fixture
def small_chunks(monkeypatch):
    """Let a chunk hold two of the integrations of the small file."""
    monkeypatch.setattr(stream, "CHUNK_SIZE", 2 * 12 * 20 * 4)


@pytest.mark.parametrize("shape", [(5, 12, 20), (1, 12, 20), (12, 20)], ids=str)
def test_same_as_through_models(tmp_path, small_chunks, shape):
    """Arrays are bit for bit, metadata entry for entry, those that stdatamodels makes."""
    path, background = make(tmp_path / "in.fits", shape), image(shape)
    through_models(path, tmp_path / "expected.fits", background)
    through_stream(path, tmp_path / "out.fits", background)
    with (
        datamodels.open(tmp_path / "expected.fits") as expected,
        datamodels.open(tmp_path / "out.fits") as out,
    ):
        assert type(out) is type(expected)
        for name in ARRAYS if len(shape) == 3 else ARRAYS[:-1]:
            assert same_bits(getattr(out, name), getattr(expected, name)), name
        assert flat(out) == flat(expected)
        assert "BKGNEW" in str(flat(out))
        np.testing.assert_array_equal(out.meta.unknown.array, np.arange(4.0))
        np.testing.assert_array_equal(out.meta.soss_photcal.image, np.ones((2, 2)))
        assert out.meta.filename == "out.fits"


@pytest.mark.parametrize("name", ["PRIMARY", "SCI"])
def test_headers_are_those_of_stdatamodels(tmp_path, path, name):
    """Long texts, HIERARCH, commentary and all other cards are as stdatamodels writes them."""
    background = image((12, 20))
    through_models(path, tmp_path / "ab.fits", background)
    (tmp_path / "other").mkdir()
    through_stream(path, tmp_path / "other" / "ab.fits", background)
    one = fits.getheader(tmp_path / "ab.fits", name)
    two = fits.getheader(tmp_path / "other" / "ab.fits", name)
    one.remove("DATE", ignore_missing=True)
    two.remove("DATE", ignore_missing=True)
    assert str(two) == str(one)
    if name == "PRIMARY":
        assert two["LONGCARD"] == LONG.rstrip()
        assert two["a long keyword"] == 42
        assert list(two["COMMENT"]) == ["first comment", "second comment"]


def test_other_extensions_are_copied(tmp_path, path):
    """All extensions but PRIMARY, SCI and ASDF are the same bytes, in the same order."""
    through_stream(path, tmp_path / "out.fits", image((12, 20)))
    with RateFile(path) as source, RateFile(tmp_path / "out.fits") as out:
        names = [extension.name for extension in source.extensions]
        assert [extension.name for extension in out.extensions] == names
    assert "MYIMAGE" in names
    for name in names:
        if name not in ("PRIMARY", "SCI", "ASDF"):
            assert extension_bytes(tmp_path / "out.fits", name) == extension_bytes(path, name), name


def test_valid_fits(tmp_path, path):
    """The file passes astropy's verification and agrees with the hash in its ASDF tree."""
    # A header that is copied need not be as stdatamodels would write it.
    rewrite(path, lambda hdus: hdus["ERR"].header.set("EXTNAME", "ERR", "errors"))
    through_stream(path, tmp_path / "out.fits", image((12, 20)))
    with fits.open(tmp_path / "out.fits") as hdus:
        hdus.verify("exception")
        tree = fits_support.from_fits_asdf(hdus).tree
        assert tree[fits_support.FITS_HASH_KEY] == fits_support.fits_hash(hdus)


def test_can_be_saved_again(tmp_path, path):
    """What datamodels.open gives can be edited and saved, and comes back with the edit."""
    through_stream(path, tmp_path / "out.fits", image((12, 20)))
    with datamodels.open(tmp_path / "out.fits") as model:
        model.data = model.data + 1
        model.meta.bunit_data = "MJy"
        model.save(str(tmp_path / "again.fits"))
        expected = model.data.copy()
    with datamodels.open(tmp_path / "again.fits") as again:
        assert same_bits(again.data, expected)
        assert again.meta.bunit_data == "MJy"
        assert again.meta.unknown.list == [1, 2.5, "three"]


def test_background_of_every_integration(tmp_path, small_chunks, path):
    """A function is asked for each range of integrations once and what it gives is subtracted."""
    cube = np.random.default_rng(3).uniform(0, 2, (5, 12, 20)).astype(np.float32)
    asked, told = [], []

    def background(start, stop):
        asked.append((start, stop))
        return cube[start:stop]

    through_models(path, tmp_path / "expected.fits", cube)
    through_stream(
        path, tmp_path / "out.fits", background, progress=lambda done, n: told.append((done, n))
    )
    with (
        datamodels.open(tmp_path / "expected.fits") as expected,
        datamodels.open(tmp_path / "out.fits") as out,
    ):
        assert same_bits(out.data, expected.data)
    assert asked == [(0, 2), (2, 4), (4, 5)]
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_double_precision_background(tmp_path, path):
    """A float64 background rounds as it does when it is subtracted in memory."""
    background = image((12, 20)).astype(float) / 3
    through_models(path, tmp_path / "expected.fits", background)
    through_stream(path, tmp_path / "out.fits", background)
    with (
        datamodels.open(tmp_path / "expected.fits") as expected,
        datamodels.open(tmp_path / "out.fits") as out,
    ):
        assert same_bits(out.data, expected.data)


def test_extra_variance(tmp_path, small_chunks, path):
    """The variance is in VAR_RNOISE and in ERR in quadrature, and nowhere else."""
    variance = image((12, 20), seed=5)
    through_stream(path, tmp_path / "out.fits", image((12, 20)), extra_variance=variance)
    with datamodels.open(path) as old, datamodels.open(tmp_path / "out.fits") as out:
        assert same_bits(out.err, np.sqrt(old.err * old.err + variance))
        assert same_bits(out.var_rnoise, old.var_rnoise + variance)
        assert same_bits(out.var_poisson, old.var_poisson)
        assert np.isnan(out.err.flat[5])
    np.testing.assert_allclose(add_variance(np.float32([3]), np.float32([16])), [5])


def add_checksums(path):
    """Give every HDU of a file the cards CHECKSUM and DATASUM."""
    with fits.open(path, memmap=False) as hdus:
        hdus.writeto(path, overwrite=True, checksum=True)


@pytest.mark.parametrize("extra", [None, 0.5])
def test_no_stale_checksum(tmp_path, path, extra):
    """Checksum cards are right where nothing changed, and gone where something did."""
    add_checksums(path)
    variance = None if extra is None else np.full((12, 20), extra, np.float32)
    through_stream(path, tmp_path / "out.fits", image((12, 20)), extra_variance=variance)
    changed = {"PRIMARY", "SCI"} | ({"ERR", "VAR_RNOISE"} if extra else set())
    # A wrong checksum is a warning, and warnings are errors.
    with fits.open(tmp_path / "out.fits", checksum=True) as hdus:
        for hdu in hdus:
            assert ("DATASUM" in hdu.header) == (hdu.name not in changed | {"ASDF"}), hdu.name
    with datamodels.open(tmp_path / "out.fits") as model:
        assert "CHECKSUM" not in str(model.extra_fits.PRIMARY.header)


def test_double_precision_science(tmp_path, path):
    """SCI with BITPIX -64 gives what stdatamodels gives: the values in single precision."""
    with fits.open(path, memmap=False) as hdus:
        hdus["SCI"].data = hdus["SCI"].data.astype(float) + 1e-9
        # The header has been edited, so it counts, not the ASDF tree.
        hdus[0].header["MYCARD"] = 2.5
        hdus.writeto(path, overwrite=True)
    background = image((12, 20))
    through_models(path, tmp_path / "expected.fits", background)
    through_stream(path, tmp_path / "out.fits", background)
    with (
        datamodels.open(tmp_path / "expected.fits") as expected,
        datamodels.open(tmp_path / "out.fits") as out,
    ):
        assert same_bits(out.data, expected.data)
        assert same_bits(out.err, expected.err)
        assert flat(out) == flat(expected)
        assert ["MYCARD", 2.5, "a card of the user"] in out.extra_fits.instance["PRIMARY"]["header"]
    assert fits.getheader(tmp_path / "out.fits", "SCI")["BITPIX"] == -32


@pytest.mark.parametrize("shape", [(5, 12, 20), (12, 20)], ids=str)
def test_reads_what_a_model_reads(tmp_path, shape):
    """Each cube comes out as it does through a data model, in whole and in chunks."""
    path = make(tmp_path / "in.fits", shape)
    attributes = dict(zip(list(CUBES)[:5], ARRAYS, strict=False))
    attributes |= {"DQ": "dq", "ERR": "err"}
    with datamodels.open(path) as model, RateFile(path) as file:
        assert file.streamable and file.reason == ""
        assert file.shape == shape
        assert file.n_integrations == (shape[0] if len(shape) == 3 else 1)
        for name, attribute in attributes.items():
            expected = getattr(model, attribute).reshape(-1, *shape[-2:])
            assert same_bits(file.read(name), expected), name
            assert file.read(name).dtype.isnative
            chunks = [
                (start, stop, array.copy())
                for start, stop, (array,) in file.iter_chunks((name,), size=2 * 12 * 20 * 4)
            ]
            assert same_bits(np.concatenate([array for *_, array in chunks]), expected)
            assert [stop for _, stop, _ in chunks] == ([2, 4, 5] if len(shape) == 3 else [1])
        assert file.header("PRIMARY")["TELESCOP"] == "JWST"


def test_read_into_an_array(path):
    """A given array is filled, and refused if it does not fit."""
    with RateFile(path) as file:
        out = np.zeros((2, 12, 20), np.float32)
        assert file.read("SCI", 1, 3, out) is out
        assert same_bits(out, file.read("SCI")[1:3])
        for wrong in (out[:1], out.astype(float), np.zeros((2, 12, 40), np.float32)[..., ::2]):
            with pytest.raises(ValueError, match="contiguous"):
                file.read("SCI", 1, 3, wrong)
        with pytest.raises(ValueError, match="5 integrations"):
            file.read("SCI", 4, 6)


@pytest.mark.parametrize("shape", [(5, 12, 20), (12, 20)], ids=str)
def test_metadata_without_pixels(tmp_path, shape):
    """Metadata are those of datamodels.open; the pixels are NaN, flagged, and not editable."""
    path = make(tmp_path / "in.fits", shape)
    with RateFile(path) as file, datamodels.open(path) as expected:
        model = open_metadata(file)
        assert type(model) is type(expected)
        assert model.to_flat_dict(include_arrays=False) == expected.to_flat_dict(
            include_arrays=False
        )
        assert model.shape == shape
        assert is_stand_in(model.data) and np.isnan(model.data).all()
        assert is_stand_in(model.dq) and (model.dq == 1).all()
        assert not is_stand_in(np.zeros(shape))
        with pytest.raises(ValueError, match="read-only"):
            model.data -= 1
        if len(shape) == 3:
            assert same_bits(model.int_times, expected.int_times)


def test_memory_is_constant(tmp_path, monkeypatch):
    """Metadata and subtraction of a cube of 8 MB take less than 2 MB."""
    path = make(tmp_path / "in.fits", (32, 64, 1024))
    background = image((64, 1024))
    through_stream(path, tmp_path / "out.fits", background)
    monkeypatch.setattr(stream, "CHUNK_SIZE", 2**18)
    tracemalloc.start()
    try:
        through_stream(path, tmp_path / "out.fits", background)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def test_truncated_file(tmp_path, path):
    """A file that is cut anywhere is refused with one sentence that names it."""
    size = os.path.getsize(path)
    with RateFile(path) as file:
        edges = [extension.header_start for extension in file.extensions]
        edges += [extension.data_start for extension in file.extensions]
    # At a boundary of two HDUs a complete, shorter file is left.
    cuts = {edge + shift for edge in edges for shift in (-1, 1, 80, 2880)} | {0, 1, size - 1}
    cuts |= {int(cut) for cut in np.linspace(1, size - 1, 40)}
    with open(path, "rb") as raw:
        content = raw.read()
    for cut in sorted(cuts - set(edges)):
        if not 0 <= cut < size:
            continue
        (tmp_path / "cut.fits").write_bytes(content[:cut])
        with pytest.raises(SossInputError, match=r"cut\.fits"):
            RateFile(tmp_path / "cut.fits")


def test_file_that_shrinks(tmp_path, path):
    """A source that is cut while it is read is reported, and nothing is left behind."""
    with RateFile(path) as file:
        model = open_metadata(file)
        os.truncate(path, file["SCI"].data_start + 100)
        with pytest.raises(SossInputError, match="ended while"):
            file.read("SCI")
        with pytest.raises(SossInputError):
            write_subtracted(file, tmp_path / "out.fits", model, image((12, 20)))
    assert os.listdir(tmp_path) == ["in_rateints.fits"]


def test_no_rate_file(tmp_path):
    """A missing file, a folder, text, a table, a ramp and an empty cube get a sentence each."""
    (tmp_path / "text.fits").write_text("this is not FITS" * 500)
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "bare.fits")
    for name, shape in (("ramp.fits", (1, 2, 3, 4)), ("empty.fits", ())):
        science = fits.ImageHDU(np.zeros(shape, np.float32) if shape else None, name="SCI")
        fits.HDUList([fits.PrimaryHDU(), science]).writeto(tmp_path / name)
    for name, message in (
        ("missing.fits", "does not exist"),
        ("", "not a file"),
        ("text.fits", "not a readable FITS"),
        ("bare.fits", "no extension SCI"),
        ("ramp.fits", "4 dimensions"),
        ("empty.fits", "0 dimensions"),
    ):
        with pytest.raises(SossInputError, match=message) as caught:
            RateFile(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def rewrite(path, edit):
    """Let a function edit the HDUs of a file."""
    with fits.open(path, memmap=False) as hdus:
        edit(hdus)
        hdus.writeto(path, overwrite=True)


def scale_science(hdus):
    """Store SCI as scaled integers."""
    hdus["SCI"].data = np.ones((5, 12, 20), np.float32)
    hdus["SCI"].scale("int16", bscale=0.5, bzero=2)


def compress_science(hdus):
    """Store SCI in compressed tiles."""
    data = np.ones((5, 12, 20), np.float32)
    hdus[hdus.index_of("SCI")] = fits.CompImageHDU(data, name="SCI", compression_type="GZIP_1")


def widen_errors(hdus):
    """Store ERR in double precision."""
    hdus["ERR"].data = hdus["ERR"].data.astype(float)


def cut_flags(hdus):
    """Let DQ have another shape."""
    hdus["DQ"].data = hdus["DQ"].data[0]


def drop_errors(hdus):
    """Leave out ERR."""
    del hdus["ERR"]


def rename_model(hdus):
    """Call the file a SlitModel."""
    hdus[0].header["DATAMODL"] = "SlitModel"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (scale_science, "SCI is scaled"),
        (widen_errors, "ERR is stored with BITPIX -64"),
        (cut_flags, r"DQ has the shape \(12, 20\)"),
        (drop_errors, "no ERR"),
        (rename_model, "SlitModel"),
        (compress_science, "tile-compressed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_layout_that_cannot_be_streamed(tmp_path, path, edit, reason):
    """An odd but valid layout is not an error when opened; its reason is told when used."""
    rewrite(path, edit)
    with RateFile(path) as file:
        assert not file.streamable
        with pytest.raises(SossInputError, match=reason):
            file.read("SCI")
        with pytest.raises(SossInputError, match=reason):
            open_metadata(file)
        with pytest.raises(SossInputError, match=reason):
            write_subtracted(file, tmp_path / "out.fits", None, image((12, 20)))


def test_compressed_file(tmp_path, path):
    """A gzip file is not streamable, whatever its name."""
    packed = tmp_path / "in.fits.gz"
    with open(path, "rb") as raw:
        packed.write_bytes(gzip.compress(raw.read()))
    with RateFile(packed) as file:
        assert not file.streamable
        assert "gzip" in file.reason


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_source_is_never_the_target(tmp_path, path, link):
    """The source is not overwritten, by its own name or through a link."""
    target = path
    if link is not None:
        target = str(tmp_path / "link.fits")
        link(path, target)
    with open(path, "rb") as raw:
        before = raw.read()
    with pytest.raises(SossInputError, match="overwrite the input"):
        through_stream(path, target, image((12, 20)))
    with open(path, "rb") as raw:
        assert raw.read() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_failure_leaves_nothing(tmp_path, small_chunks, path, error):
    """After an interruption the folder is as before."""
    (tmp_path / "out.fits").write_text("older")

    def background(start, stop):
        if start:
            raise error
        return image((12, 20))

    with pytest.raises(error):
        through_stream(path, tmp_path / "out.fits", background)
    assert sorted(os.listdir(tmp_path)) == ["in_rateints.fits", "out.fits"]
    assert (tmp_path / "out.fits").read_text() == "older"


def full(*args):
    """Fail as on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk(tmp_path, monkeypatch, path):
    """A disk that fills up gives one sentence with the file, and leaves nothing behind."""
    monkeypatch.setattr(os, "copy_file_range", full, raising=False)
    with pytest.raises(SossInputError, match=r"out\.fits cannot be written: No space left"):
        through_stream(path, tmp_path / "out.fits", image((12, 20)))
    assert os.listdir(tmp_path) == ["in_rateints.fits"]


def test_too_little_space_is_known_before(tmp_path, monkeypatch, path):
    """What would fill the disk is refused before a background is asked for."""
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10**4}))
    with pytest.raises(SossInputError, match="No space left"):
        through_stream(path, tmp_path / "out.fits", lambda start, stop: pytest.fail("asked"))
    assert os.listdir(tmp_path) == ["in_rateints.fits"]


@pytest.mark.parametrize("answer", ["error", "nothing", "absent"])
def test_copy_without_the_kernel(tmp_path, monkeypatch, path, answer):
    """Where copy_file_range does not work, the extensions are copied all the same."""

    def copy_file_range(*args):
        if answer == "error":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return 0

    monkeypatch.setattr(os, "copy_file_range", copy_file_range, raising=False)
    if answer == "absent":
        monkeypatch.delattr(os, "copy_file_range")
    through_stream(path, tmp_path / "out.fits", image((12, 20)))
    for name in ("DQ", "ERR", "VAR_POISSON", "INT_TIMES"):
        assert extension_bytes(tmp_path / "out.fits", name) == extension_bytes(path, name), name


def test_umask_is_honoured(tmp_path, path):
    """The new file has the permissions that any new file gets."""
    old = os.umask(0o027)
    try:
        through_stream(path, tmp_path / "out.fits", image((12, 20)))
    finally:
        os.umask(old)
    assert os.stat(tmp_path / "out.fits").st_mode & 0o777 == 0o640


def test_array_that_the_step_added(tmp_path, path):
    """An extension that only the model has is written too."""
    with RateFile(path) as source:
        model = open_metadata(source)
        model.area = np.full((12, 20), 2, np.float32)
        write_subtracted(source, tmp_path / "out.fits", model, image((12, 20)))
    with datamodels.open(tmp_path / "out.fits") as out:
        np.testing.assert_array_equal(out.area, 2)
        assert same_bits(out.dq, datamodels.open(path).dq)
