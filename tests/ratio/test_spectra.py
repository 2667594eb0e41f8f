"""Readers of extracted spectra."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from stdatamodels.jwst import datamodels

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.ratio.observation import (
    ObservationInfo,
    check_same_observation,
    parse_integrations,
)
from soss_photcal_steps.ratio.spectra import read_spectra, science_members

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "soss_spectra"
N = 40


def values(order, integration):
    """Give wavelength, flux and error of one spectrum; wavelengths fall, as in the pipeline."""
    x = np.linspace(2.8 / order, 0.9 / order, N)
    return x, 1e-7 * (order + 0.01 * integration) * (1 + x), 1e-9 * np.ones(N)


def set_meta(model, segment=(1, 1), nints=3):
    """Fill the metadata that a SOSS observation has."""
    meta = model.meta
    meta.telescope, meta.instrument.name = "JWST", "NIRISS"
    meta.instrument.filter, meta.instrument.pupil = "CLEAR", "GR700XD"
    meta.instrument.pupil_position = 245.8
    meta.exposure.type, meta.exposure.nints = "NIS_SOSS", nints
    meta.exposure.ngroups, meta.exposure.nframes = 5, 1
    meta.exposure.segment_number, meta.exposure.segment_total = segment
    meta.target.catalog_name = "BD+60 1753"
    meta.observation.program_number, meta.observation.observation_number = "01091", "002"
    meta.ref_file.photom.name = "crds://jwst_niriss_photom_0041.fits"


def new_layout(path, integrations=(1, 2, 3), orders=(1, 2), segment=(1, 1), unit="MJy"):
    """Write the layout of jwst 1.20 and later, with room for more than is valid."""
    model = datamodels.TSOMultiSpecModel()
    set_meta(model, segment)
    for order in orders:
        spec = datamodels.TSOSpecModel()
        kinds = spec.get_dtype("spec_table")
        names = list(kinds.names)
        vectors = names[names.index("WAVELENGTH") : names.index("NPIXELS") + 1]
        room = N + 5
        dtype = [(n, kinds[n], (room,)) if n in vectors else (n, kinds[n]) for n in names]
        table = np.zeros(len(integrations), dtype)
        for row, integration in enumerate(integrations):
            x, flux, error = values(order, integration)
            table["INT_NUM"][row] = integration
            table["WAVELENGTH"][row, :N] = x
            table["FLUX"][row, :N], table["FLUX_ERROR"][row, :N] = flux, error
            table["NPIXELS"][row, :N] = 40
            table["N_ALONGDISP"][row] = N
            # What lies beyond the valid length must not be read.
            table["WAVELENGTH"][row, N:], table["FLUX"][row, N:] = 5.0 + np.arange(5), 1.0
            table["NPIXELS"][row, N:] = 40
        spec.spec_table = table
        spec.spectral_order = order
        model.spec.append(spec)
    model.save(path)
    model.close()
    set_unit(path, unit)
    return str(path)


def set_unit(path, unit, order=None):
    """Write the unit of the fluxes into the tables."""
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus:
            if hdu.name == "EXTRACT1D" and order in (None, hdu.header["SPORDER"]):
                key = next(k for k in hdu.header["TTYPE*"] if hdu.header[k] == "FLUX")
                hdu.header[key.replace("TTYPE", "TUNIT")] = unit


def old_layout(path, integrations=(1, 2, 3), orders=(1, 2), error_name="FLUX_ERROR", numbered=True):
    """Write the layout before jwst 1.20: one table per integration and order, interleaved."""
    primary = fits.PrimaryHDU()
    cards = {
        "INSTRUME": "NIRISS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR", "PUPIL": "GR700XD",
        "TARGNAME": "BD+60 1753", "PROGRAM": "01091", "OBSERVTN": "002",
        "NINTS": len(integrations), "NGROUPS": 5, "R_PHOTOM": "crds://jwst_niriss_photom_0041.fits",
    }  # fmt: skip
    primary.header.update(cards)
    hdus = [primary]
    for integration in integrations:
        for order in orders:
            x, flux, error = values(order, integration)
            columns = [
                fits.Column("WAVELENGTH", "D", "um", array=x),
                fits.Column("FLUX", "D", "MJy", array=flux),
                fits.Column(error_name, "D", "MJy", array=error),
                fits.Column("DQ", "J", bzero=2**31, array=np.zeros(N, np.uint32)),
                fits.Column("NPIXELS", "D", array=np.full(N, 40.0)),
            ]
            hdu = fits.BinTableHDU.from_columns(columns, name="EXTRACT1D")
            hdu.header["SPORDER"] = order
            if numbered:
                hdu.header["INT_NUM"] = integration
            hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)
    return str(path)


def check(spectra, integrations=(1, 2, 3)):
    """Compare with the values that were written."""
    assert list(spectra.orders) == [1, 2]
    for order, one in spectra.orders.items():
        assert one.integrations.tolist() == list(integrations)
        assert (np.diff(one.wavelength) > 0).all()
        for row, integration in enumerate(integrations):
            x, flux, error = values(order, integration)
            np.testing.assert_array_equal(one.wavelength, x[::-1])
            np.testing.assert_allclose(one.flux[row], 1e6 * flux[::-1], rtol=1e-15)
            np.testing.assert_allclose(one.error[row], 1e6 * error[::-1], rtol=1e-15)


def test_every_layout_gives_the_same_spectra(tmp_path):
    """New and old layouts, old column names and unnumbered tables have the same fluxes in Jy."""
    check(read_spectra([new_layout(tmp_path / "new_x1dints.fits")]))
    check(read_spectra([old_layout(tmp_path / "old_x1dints.fits")]))
    check(read_spectra([old_layout(tmp_path / "o2.fits", error_name="ERROR", numbered=False)]))


def test_a_model_gives_what_its_file_gives(tmp_path):
    """An open data model of the new layout has the same spectra and header as its file."""
    path = new_layout(tmp_path / "a_x1dints.fits")
    from_file = read_spectra([path])
    with datamodels.open(path) as model:
        from_model = read_spectra([model])
    check(from_model)
    assert from_model.info.photom_file == "jwst_niriss_photom_0041.fits"
    for name in ("target", "program", "pwcpos", "n_groups", "filter"):
        assert getattr(from_model.info, name) == getattr(from_file.info, name)


def test_segments_are_joined_in_order(tmp_path):
    """Two segments given in the wrong order are joined by their integrations."""
    one = new_layout(tmp_path / "s1_x1dints.fits", (1, 2), segment=(1, 2))
    two = new_layout(tmp_path / "s2_x1dints.fits", (3,), segment=(2, 2))
    check(read_spectra([two, one]))
    with pytest.raises(SossInputError, match="more than once"):
        read_spectra([one, one])
    missing = read_spectra([one])
    assert "1 of 3 integrations are in none of the files, the first is 3" in missing.warnings[0]


def test_bad_values_become_nan(tmp_path):
    """NaN, infinite and zero fluxes, no pixels and flagged values are not used."""
    path = new_layout(tmp_path / "a_x1dints.fits")
    with fits.open(path, mode="update") as hdus:
        table = hdus["EXTRACT1D", 1].data
        table["FLUX"][0, 3], table["FLUX"][1, 4], table["FLUX"][2, 5] = np.nan, np.inf, 0.0
        table["NPIXELS"][0, 6] = 0
        table["DQ"][1, 7] = 1
    flux = read_spectra([path]).orders[1].flux[:, ::-1]
    bad = np.argwhere(~np.isfinite(flux)).tolist()
    assert bad == [[0, 3], [0, 6], [1, 4], [1, 7], [2, 5]]


def test_units_are_checked_per_order(tmp_path):
    """Jy is read as Jy; an order in DN/s is named, whatever the others are in."""
    path = new_layout(tmp_path / "a_x1dints.fits", unit="Jy")
    jansky = read_spectra([path]).orders[1]
    assert jansky.unit == "Jy"
    np.testing.assert_allclose(jansky.flux[0], values(1, 1)[1][::-1], rtol=1e-15)
    assert read_spectra([path], flux_unit="MJy").orders[1].flux[0, 0] == pytest.approx(
        1e6 * jansky.flux[0, 0]
    )
    set_unit(path, "DN/s", order=2)
    with pytest.raises(SossInputError, match=r"order 2 of a_x1dints\.fits are in DN/s"):
        read_spectra([path])
    with pytest.raises(SossInputError, match="DN/s"):
        read_spectra([path], flux_unit="MJy")


def test_different_wavelengths_are_refused(tmp_path):
    """Integrations or segments on another wavelength grid are refused."""
    path = new_layout(tmp_path / "a_x1dints.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["EXTRACT1D", 1].data["WAVELENGTH"][1, :N] += 0.02
    with pytest.raises(SossInputError, match=r"order 1 .* different wavelengths"):
        read_spectra([path])


@pytest.mark.parametrize("orders", [(1,), (2,), (1, 2, 3)])
def test_any_number_of_orders(tmp_path, orders):
    """A file with one, two or three orders gives just these."""
    path = new_layout(tmp_path / "a_x1dints.fits", orders=orders)
    assert tuple(read_spectra([path]).orders) == orders


def test_empty_tables_and_missing_orders_are_sentences(tmp_path):
    """A table without rows, without an order, or without FLUX is refused by name."""
    path = old_layout(tmp_path / "a.fits", integrations=(1,), orders=(1,))
    with fits.open(path, mode="update") as hdus:
        hdus[1].data = hdus[1].data[:0]
    with pytest.raises(SossInputError, match="holds no spectrum"):
        read_spectra([path])
    path = old_layout(tmp_path / "b.fits", integrations=(1,), orders=(1,))
    fits.delval(path, "SPORDER", ext=1)
    with pytest.raises(SossInputError, match="of which order"):
        read_spectra([path])
    path = old_layout(tmp_path / "c.fits", integrations=(1,), orders=(1,))
    with fits.open(path, mode="update") as hdus:
        hdus[1].columns.change_name("FLUX", "FLUXX")
    with pytest.raises(SossInputError, match="have no FLUX"):
        read_spectra([path])
    with pytest.raises(SossInputError, match="No extracted spectra"):
        read_spectra([])


@pytest.mark.parametrize("cut", [200, 2880, 10000])
def test_truncated_files_are_refused(tmp_path, cut):
    """A file that ends too early is one sentence with its name."""
    path = Path(new_layout(tmp_path / "a_x1dints.fits"))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SossInputError, match=r"a_x1dints\.fits"):
        read_spectra([path])


def test_members_of_an_association(tmp_path):
    """Science members are found beside the association; what is none is a sentence."""
    path = tmp_path / "asn.json"
    members = [
        {"expname": "a.fits", "exptype": "science"},
        {"expname": "b.fits", "exptype": "background"},
    ]
    path.write_text(json.dumps({"products": [{"members": members}]}))
    assert science_members(path) == [str(tmp_path / "a.fits")]
    for content in ("", "[]", "{}", '{"products": []}', '{"products": [{"members": [3]}]}'):
        path.write_text(content)
        with pytest.raises(SossInputError, match=r"asn\.json"):
            science_members(path)


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real spectra is not there")
@pytest.mark.parametrize(
    ("name", "shapes"),
    [("x1d", {1: (1, 1550), 2: (1, 1550), 3: (1, 842)}),
     ("x1dints", {1: (2, 1550), 2: (2, 1550), 3: (2, 842)})],
)  # fmt: skip
def test_old_files_of_jwst_are_read(name, shapes):
    """Files that jwst 0.13 wrote have three orders, with the values that astropy reads."""
    path = REAL / f"specialsoss_SUBSTRIP256_CLEAR_{name}.fits"
    spectra = read_spectra([path])
    assert {order: one.flux.shape for order, one in spectra.orders.items()} == shapes
    with fits.open(path) as hdus:
        table = hdus["EXTRACT1D", 1].data
        x, flux = table["WAVELENGTH"], table["FLUX"]
    first = spectra.orders[1]
    rising = np.argsort(x)
    np.testing.assert_array_equal(first.wavelength, x[rising])
    known = np.isfinite(first.flux[0])
    assert known.mean() > 0.99
    np.testing.assert_array_equal(first.flux[0][known], flux[rising][known])


def test_odd_file_is_named():
    """Of three files the one with another aperture, photom file or target is named."""
    base = {"program": "01091", "observation": "002", "width": 40.0, "photom_file": "p.fits"}
    infos = [ObservationInfo(f"{i}.fits", **base) for i in range(3)]
    check_same_observation(infos)
    for change in ({"width": 30.0}, {"photom_file": "q.fits"}, {"target": "X"}):
        odd = ObservationInfo("odd.fits", **{**base, **change})
        with pytest.raises(SossInputError, match=r"odd\.fits"):
            check_same_observation([*infos, odd])


def test_header_values_that_make_no_sense_are_none():
    """Negative counts, text for numbers and infinite values are not taken over."""
    header = {
        "INSTRUME": "NIRISS", "EXP_TYPE": "NIS_SOSS", "FILTER": "CLEAR", "NINTS": -3,
        "NGROUPS": "many", "PWCPOS": float("inf"), "TARGNAME": "  ", "EXSEGNUM": 0,
    }  # fmt: skip
    info = ObservationInfo.from_header(header, "x.fits")
    assert info.n_integrations is None
    assert info.n_groups is None
    assert info.pwcpos is None
    assert info.target is None
    assert info.segment == 1
    assert info.frames_of(5) is None


@given(st.sets(st.integers(1, 300), max_size=40))
def test_integration_lists_come_back(numbers):
    """A set of integrations written as ranges is read back, whatever the spaces."""
    text, rest = [], sorted(numbers)
    while rest:
        last = rest[0]
        while last + 1 in numbers:
            last += 1
        text.append(f" {rest[0]} - {last}" if last > rest[0] else str(last))
        rest = [n for n in rest if n > last]
    assert parse_integrations(",".join(text)) == numbers


@pytest.mark.parametrize("text", ["0", "3-1", "a", "1-", "-1", "1;2", "1.5", "1-99999999"])
def test_wrong_integration_lists_are_sentences(text):
    """A list that is none is refused with an example."""
    with pytest.raises(SossInputError, match="1-3,17"):
        parse_integrations(text)


def test_reading_holds_little_more_than_the_fluxes(tmp_path):
    """Only the needed columns of a table are kept: the file is several times larger."""
    path = new_layout(tmp_path / "a_x1dints.fits", tuple(range(1, 60)))
    spectra = read_spectra([path])
    kept = sum(one.flux.nbytes + one.error.nbytes for one in spectra.orders.values())
    assert os.path.getsize(path) > 6 * kept
