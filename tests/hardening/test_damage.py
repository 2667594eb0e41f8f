"""Damaged and hostile files, full disks and links in the way."""

import errno
import gzip
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from damaging.hostile import _BOMB
from damaging.mutations import find_hdus
from damaging.run import _prepare, _sums
from damaging.subjects import _OUT, SUBJECTS

from soss_photcal_steps.background.reference import read_library
from soss_photcal_steps.background.window import Window
from soss_photcal_steps.errors import SossInputError, reason
from soss_photcal_steps.files import check_fits
from soss_photcal_steps.models import SossRatioModel, open_product
from soss_photcal_steps.ratio.spectra import read_spectra
from soss_photcal_steps.ratio.standards import load_standards
from soss_photcal_steps.strangers import parse_yaml, read_json

ROOT = Path(__file__).resolve().parent.parent.parent
BY_NAME = {subject.name: subject for subject in SUBJECTS}
WRITERS = ["rateints, streamed", "x1dints", "photom file"]


def test_nothing_but_right_results_and_refusals(corpus):
    """Of 60 damaged files, each is right, says what its value says, or is refused in a sentence."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "damage.py", "--count=60", "--seed=8",
         f"--corpus={corpus}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    total = [int(n) for n in re.findall(r"\d+", done.stdout.split("| all |")[1].split("\n")[0])]
    assert total[0] == 60 == sum(total[1:])
    assert total[1] > 10 and total[4] > 20
    assert total[5] == 0


@pytest.fixture
def here(tmp_path, monkeypatch, corpus):
    """Give a function that puts the good files of a reader into the current folder."""
    monkeypatch.chdir(tmp_path)

    def prepare(name):
        subject = BY_NAME[name]
        folder = tmp_path / "case"
        content = _prepare(subject, corpus, folder)
        (folder / subject.target).write_bytes(content)
        return subject, folder

    return prepare


@contextmanager
def small_disk(size):
    """Let no file become larger than so many bytes, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("size", [0, 100_000])
@pytest.mark.parametrize("name", WRITERS)
def test_full_disk(here, name, size):
    """Where the disk is full, one sentence is raised, nothing is left, and no input is changed."""
    subject, folder = here(name)
    given = _sums(folder)
    with small_disk(size), pytest.raises(SossInputError, match="cannot be written") as caught:
        subject.use(folder)
    assert "\n" not in str(caught.value)
    assert _sums(folder) == given
    assert os.listdir(folder / _OUT) == []


@pytest.mark.parametrize("name", WRITERS)
def test_folder_where_nobody_may_write(here, name, monkeypatch):
    """Where nothing may be written, one sentence is raised, and no input is changed."""
    subject, folder = here(name)
    given = _sums(folder)
    original = tempfile.mkdtemp

    def refuse(*args, **kwargs):
        if str(kwargs.get("dir", "")).endswith(_OUT):
            raise PermissionError(errno.EACCES, "Permission denied")
        return original(*args, **kwargs)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(SossInputError, match="cannot be written: Permission denied"):
        subject.use(folder)
    assert _sums(folder) == given
    assert os.listdir(folder / _OUT) == []


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("rateints, streamed", "jw1_nis_bsubints.fits"),
        ("x1dints", "jw_new_sossratio.asdf"),
        ("photom file", "new_photom.fits"),
    ],
)
def test_link_in_the_way(here, name, product):
    """A link where the product belongs is replaced, and the file that it leads to is kept."""
    subject, folder = here(name)
    other = folder / "precious.txt"
    other.write_text("not to be touched")
    (folder / _OUT / product).symlink_to(other)
    given = _sums(folder)
    subject.use(folder)
    assert _sums(folder) == given
    assert (folder / _OUT / product).is_file() and not (folder / _OUT / product).is_symlink()


@pytest.mark.parametrize(
    ("name", "product"),
    [("rateints, streamed", "jw1_nis_bsubints.fits"), ("photom file", "new_photom.fits")],
)
def test_link_to_the_input(here, name, product):
    """A link from the product's name to the input is refused, and the input is kept."""
    subject, folder = here(name)
    (folder / _OUT / product).symlink_to(folder / subject.target)
    given = _sums(folder)
    with pytest.raises(SossInputError, match="would overwrite"):
        subject.use(folder)
    assert _sums(folder) == given


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch pwned']",
        "!!python/object/new:os.system ['touch pwned']",
        "!!python/name:os.system",
        _BOMB,
        "&a [*a]",
        "[" * 3000,
        "2024-13-45",
        "9" * 5000,
        '"\\ud800"',
        '"\\0"',
    ],
)
def test_yaml_of_strangers(tmp_path, monkeypatch, text):
    """Tags run nothing, and bombs, loops, deep nesting and impossible values are refused."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\w"):
        parse_yaml(text)
    Path("standards.yaml").write_text(f"stars:\n- {text}\n", encoding="utf-8")
    with pytest.raises(SossInputError, match=r"standards\.yaml"):
        load_standards("standards.yaml")
    assert os.listdir() == ["standards.yaml"]


def test_aliases_are_welcome():
    """A few aliases, as the package's own table has them, are no bomb."""
    assert parse_yaml("a: &x [1, 2]\nb: [*x, *x]") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("text", ["[" * 100_000, '["\\ud800"]', '{"a\\u0000": 1}'])
def test_json_of_strangers(tmp_path, text):
    """JSON that is nested too deeply, or holds what is no text, is refused."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"nested too deeply|no text"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "value",
    [
        "!core/ndarray-1.1.0 {source: 'http://example.com/x.asdf', datatype: float64, byteorder: "
        "little, shape: [2048]}",
        "!core/ndarray-1.1.0 {source: other.asdf, datatype: float64, byteorder: little, shape: "
        "[2048]}",
        "{$ref: 'http://example.com/x.asdf#/a'}",
        "!core/external-1.0.0 {target: /etc/passwd, datatype: uint8, shape: [4]}",
        "!!python/object/apply:os.system ['touch pwned']",
    ],
)
def test_asdf_of_strangers(corpus, tmp_path, monkeypatch, value):
    """No address in a product is asked for, no other file is opened, and nothing is run."""
    monkeypatch.chdir(tmp_path)

    def refuse(*args, **kwargs):
        pytest.fail(f"the network was asked for: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    content = (corpus / "one_sossratio.asdf").read_bytes()
    shutil.copy(corpus / "one_sossratio.asdf", "other.asdf")
    array = re.search(rb"wavelength: (!core/ndarray[^}]*\})", content)
    Path("x.asdf").write_bytes(content[: array.start(1)] + value.encode() + content[array.end(1) :])
    with pytest.raises(SossInputError, match=r"x\.asdf"):
        open_product("x.asdf", SossRatioModel)
    assert sorted(os.listdir()) == ["other.asdf", "x.asdf"]


def test_a_changed_number_in_a_product_is_seen(corpus, tmp_path):
    """One bit of an array of a product is enough for it to be refused, by its checksum."""
    content = bytearray((corpus / "one_sossratio.asdf").read_bytes())
    content[-5000] ^= 1
    (tmp_path / "x.asdf").write_bytes(content)
    with pytest.raises(SossInputError, match="does not match given checksum"):
        open_product(tmp_path / "x.asdf", SossRatioModel)


def test_bomb_in_the_metadata_of_a_rate_file(here):
    """Aliases in the ASDF extension of a rateints that stand for too much are refused."""
    subject, folder = here("rateints, streamed")
    path = folder / subject.target
    with fits.open(path, mode="update") as hdus:
        tree = bytes(hdus["ASDF"].data["ASDF_METADATA"][0])
        bomb = tree.replace(
            b"--- !core/asdf-1.1.0\n", b"--- !core/asdf-1.1.0\n%s\n" % _BOMB.encode()
        )
        assert len(bomb) > len(tree)
        array = np.frombuffer(bomb, np.uint8)[None]
        column = fits.Column("ASDF_METADATA", f"{array.shape[1]}B", array=array)
        hdus["ASDF"] = fits.BinTableHDU.from_columns([column], name="ASDF")
    with pytest.raises(SossInputError, match="aliases"):
        subject.use(folder)


def test_packed_spectra_are_read(corpus, tmp_path):
    """An x1dints file packed by gzip gives the same spectra; a cut or changed one is refused."""
    packed = tmp_path / "a_x1dints.fits.gz"
    content = (corpus / "jw_packed_x1dints.fits.gz").read_bytes()
    packed.write_bytes(content)
    one, two = read_spectra(corpus / "jw_new_x1dints.fits"), read_spectra(packed)
    for order, spectra in one.orders.items():
        np.testing.assert_array_equal(two.orders[order].flux, spectra.flux)
    plain = gzip.decompress(content)
    for damaged in (content[:-1000], content[:5000] + b"\0" + content[5001:],
                    gzip.compress(plain[:-2880])):  # fmt: skip
        packed.write_bytes(damaged)
        with pytest.raises(SossInputError, match=r"truncated|not a readable FITS file"):
            read_spectra(packed)


def test_wrong_datasum_is_said(corpus, tmp_path, caplog):
    """Data that do not agree with their DATASUM are used, and the log names the extension."""
    path = tmp_path / "star.fits"
    content = bytearray((corpus / "star_sums.fits").read_bytes())
    path.write_bytes(content)
    check_fits(path)
    assert not caplog.records
    content[200_000] ^= 4
    path.write_bytes(content)
    check_fits(path)
    assert "data of SCI" in caplog.text and "DATASUM" in caplog.text


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ("NAXIS2  =                   -1", "negative size"),
        ("NAXIS2  =               999999", "truncated"),
        ("NAXIS2  =                    1", "something else follows"),
        ("BITPIX  =                    7", "BITPIX 7"),
        ("NAXIS1  = 'many    '", "does not say NAXIS1"),
        ("TFIELDS =                    3", "column 3 of 3"),
        ("TFIELDS =                   -3", "TFIELDS -3"),
        ("TFORM2  = '?       '", "column 2 of"),
        ("TFORM2  = '3D      '", "columns of 32 bytes in rows of 16"),
    ],
)
def test_headers_that_lie(corpus, tmp_path, card, sentence):
    """A size that cannot be is refused before astropy sees it, which would read for ever."""
    content = (corpus / "p330e_mod_sim.fits").read_bytes()
    start = content.index(card[:9].encode(), 2880)
    path = tmp_path / "star.fits"
    path.write_bytes(content[:start] + card.ljust(80).encode() + content[start + 80 :])
    with pytest.raises(SossInputError, match=sentence):
        check_fits(path)


def test_a_header_that_lost_a_block(corpus, tmp_path):
    """Spectra whose header lost any block of 2880 bytes are refused, not left out."""
    content = (corpus / "jw_new_x1dints.fits").read_bytes()
    path = tmp_path / "a_x1dints.fits"
    tables = find_hdus(content)[2:5]
    tried = 0
    for hdu in tables:
        for start in range(hdu.header, hdu.data, 2880 // 2):
            path.write_bytes(content[:start] + content[start + 2880 :])
            with pytest.raises(SossInputError, match=r"a_x1dints\.fits"):
                read_spectra(path)
            tried += 1
    assert tried == 2 * sum(hdu.data - hdu.header for hdu in tables) // 2880 > 15


def test_spectra_under_another_name(corpus, tmp_path):
    """A table of spectra that is not called EXTRACT1D is named, not overlooked."""
    content = (corpus / "jw_new_x1dints.fits").read_bytes()
    path = tmp_path / "a_x1dints.fits"
    place = content.rindex(b"EXTNAME = 'EXTRACT1D'")
    for card in (b"EXTNAME = 'EXTRACT1X'", b"EXTNAMF = 'EXTRACT1D'"):
        path.write_bytes(content[:place] + card + content[place + len(card) :])
        with pytest.raises(SossInputError, match=r"Extension 4 .* EXTRACT1D is needed"):
            read_spectra(path)


@pytest.mark.parametrize("name", ["jw_old_x1dints.fits", "p330e_mod_sim.fits", "jw1_nis_rate.fits"])
@pytest.mark.parametrize("length", [1, 8, 80, 300])
def test_a_header_overwritten_by_zeros(corpus, tmp_path, name, length):
    """Zeros in the cards of any header are refused; behind END they are allowed."""
    content = (corpus / name).read_bytes()
    path = tmp_path / name
    for hdu in find_hdus(content)[:4]:
        cards = [content[i : i + 80] for i in range(hdu.header, hdu.data, 80)]
        end = hdu.header + 80 * cards.index(b"END".ljust(80))
        for start in (hdu.header + 160, end - length):
            path.write_bytes(content[:start] + bytes(length) + content[start + length :])
            with pytest.raises(SossInputError, match=r"not a readable FITS file|truncated"):
                check_fits(path)
        path.write_bytes(content[: end + 3] + bytes(hdu.data - end - 3) + content[hdu.data :])
        check_fits(path)


@pytest.mark.parametrize(
    "card",
    ["BSCALE  = 0.", "BSCALE  = 'big     '", "BZERO   = NaN", "TSCAL3  = 0.0E+00 / why",
     "TZERO1  = INF", "TSCAL2  ="],
)  # fmt: skip
def test_a_scale_that_no_data_have(corpus, tmp_path, card):
    """A scale of 0, or one that is no number, is refused; another one is taken."""
    content = (corpus / "p330e_mod_sim.fits").read_bytes()
    place = content.rindex(b"END".ljust(80))
    path = tmp_path / "star.fits"
    good = card.partition("=")[0] + "= -1.5D-3 / why"
    for text in (card, good):
        cards = text.ljust(80).encode() + b"END".ljust(80)
        path.write_bytes(content[:place] + cards + content[place + 160 :])
        if text == good:
            check_fits(path)
        else:
            with pytest.raises(SossInputError, match=f"{card[:5]}.* no number that data can be"):
                check_fits(path)


@pytest.mark.filterwarnings("ignore:The following header keyword")
def test_a_card_of_a_library_that_nobody_can_read(corpus, tmp_path):
    """A damaged card of a background library is named with its file, whatever it is about."""
    content = (corpus / "lib.fits").read_bytes()
    start = content.index(b"SUBSIZE2=")
    path = tmp_path / "lib.fits"
    path.write_bytes(content[: start + 10] + b"?" * 40 + content[start + 50 :])
    with pytest.raises(SossInputError, match=r"SUBSIZE2 in a header of .*lib\.fits"):
        read_library(str(path), Window(1792, 256), "CLEAR")


def test_reasons_are_one_line():
    """What another package says of a failure becomes one short line without control characters."""
    text = reason(ValueError("bad\x1b[31m thing.\n\nIn schema:\n" + "x" * 5000))
    assert text == "bad [31m thing"
    assert len(reason(ValueError("x" * 5000))) < 300
    assert reason(KeyError()) == "KeyError"
