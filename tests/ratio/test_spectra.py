"""Readers of extracted spectra."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels

from soss_photcal_steps._jwst import table_dtype
from soss_photcal_steps.errors import SossInputError
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


def new_layout(
    path, integrations=(1, 2, 3), orders=(1, 2), segment=(1, 1), unit="MJy", change=None
):
    """Write the layout of jwst 1.20 and later, with room for more than is valid."""
    model = datamodels.TSOMultiSpecModel()
    set_meta(model, segment)
    if change is not None:
        change(model.meta)
    for order in orders:
        spec = datamodels.TSOSpecModel()
        kinds = table_dtype(spec, "spec_table")
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


def same(one, other):
    """Tell whether two observations have exactly the same spectra."""
    assert list(one.orders) == list(other.orders)
    for a, b in zip(one.orders.values(), other.orders.values(), strict=True):
        for name in ("wavelength", "flux", "error", "integrations"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def interleaved_model():
    """Make a data model of the layout before jwst 1.20, with all its columns."""
    model = datamodels.MultiSpecModel()
    set_meta(model)
    for integration in (1, 2, 3):
        for order in (1, 2):
            table = np.zeros(N, table_dtype(datamodels.SpecModel(), "spec_table"))
            table["WAVELENGTH"], table["FLUX"], table["FLUX_ERROR"] = values(order, integration)
            table["NPIXELS"] = 40
            spec = datamodels.SpecModel(spec_table=table)
            spec.spectral_order, spec.int_num = order, integration
            for name in ("FLUX", "FLUX_ERROR"):
                spec.spec_table.columns[name].unit = "MJy"
            model.spec.append(spec)
    return model


def test_direct_reading_is_that_of_data_models(tmp_path):
    """The values read from the file itself are bit for bit those of the pipeline's models."""
    with datamodels.TSOMultiSpecModel(new_layout(tmp_path / "new_x1dints.fits")) as model:
        same(read_spectra(tmp_path / "new_x1dints.fits"), read_spectra(model))
    in_memory = read_spectra(interleaved_model())
    check(in_memory)
    interleaved_model().save(tmp_path / "old_x1dints.fits")
    same(read_spectra(tmp_path / "old_x1dints.fits"), in_memory)
    with datamodels.MultiSpecModel(tmp_path / "old_x1dints.fits") as model:
        same(read_spectra(model), in_memory)


def test_tables_made_by_the_pipeline(tmp_path):
    """What jwst itself makes of SpecModels of unlike lengths is read, in memory and from disk."""
    tso_multispec = pytest.importorskip("jwst.datamodels.utils.tso_multispec")
    model = datamodels.TSOMultiSpecModel()
    set_meta(model, nints=2)
    for order in (1, 2):
        specs = []
        for integration in (1, 2):
            n = N if integration == 1 else N - 3
            table = np.zeros(n, table_dtype(datamodels.SpecModel(), "spec_table"))
            x, flux, error = (one[:n] for one in values(order, integration))
            table["WAVELENGTH"], table["FLUX"], table["FLUX_ERROR"] = x, flux, error
            table["NPIXELS"] = 40
            specs.append(datamodels.SpecModel(spec_table=table))
            specs[-1].spectral_order = order
            for name in ("FLUX", "FLUX_ERROR"):
                specs[-1].spec_table.columns[name].unit = "MJy"
        model.spec.append(tso_multispec.make_tso_specmodel(specs, segment=1))
    in_memory = read_spectra(model)
    model.save(tmp_path / "a_x1dints.fits")
    same(in_memory, read_spectra(tmp_path / "a_x1dints.fits"))
    for order, one in in_memory.orders.items():
        assert one.integrations.tolist() == [1, 2]
        assert np.isnan(one.flux[1, :3]).all()
        np.testing.assert_allclose(one.flux[1, 3:], 1e6 * values(order, 2)[1][-4::-1], rtol=1e-15)
        np.testing.assert_allclose(one.flux[0], 1e6 * values(order, 1)[1][::-1], rtol=1e-15)


def test_segments_are_joined_in_order(tmp_path):
    """Two segments given in the wrong order are joined by their integrations."""
    one = new_layout(tmp_path / "s1_x1dints.fits", (1, 2), segment=(1, 2))
    two = new_layout(tmp_path / "s2_x1dints.fits", (3,), segment=(2, 2))
    check(read_spectra([two, one]))
    with pytest.raises(SossInputError, match="more than once"):
        read_spectra([one, one])
    missing = read_spectra([one])
    assert missing.warnings == ("1 of 3 integrations are in none of the files: 3.",)


def test_a_file_cut_between_two_tables_is_told_of(tmp_path):
    """Cut before order 2's table, a file has order 1 and a warning; a whole one has no warning."""
    path = tmp_path / "a_x1dints.fits"
    new_layout(path)
    assert read_spectra(path).warnings == ()
    with fits.open(path) as hdus:
        first = next(i for i, h in enumerate(hdus) if h.header.get("SPORDER") == 2)
        start = hdus[first].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[:start])
    cut = read_spectra(path)
    assert list(cut.orders) == [1]
    assert cut.warnings[0].startswith("a_x1dints.fits has no ASDF extension at its end")


def test_a_file_of_another_program_needs_no_asdf_extension(tmp_path):
    """Without DATAMODL, which jwst always writes, a file without ASDF gives no warning."""
    path = new_layout(tmp_path / "a_x1dints.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus["ASDF"], hdus[0].header["DATAMODL"]
    check(read_spectra(path))
    assert read_spectra(path).warnings == ()


def from_to(first, last):
    """Give a change of metadata to a segment of the integrations from first to last."""

    def change(meta):
        meta.exposure.integration_start, meta.exposure.integration_end = first, last

    return change


def test_segments_that_count_from_one_are_moved(tmp_path):
    """Where each segment counts from 1, INTSTART puts its integrations into their places."""
    one = new_layout(tmp_path / "s1.fits", (1, 2), segment=(1, 2), change=from_to(1, 2))
    two = new_layout(tmp_path / "s2.fits", (1,), segment=(2, 2), change=from_to(3, 3))
    joined = read_spectra([two, one])
    assert joined.orders[1].integrations.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(joined.orders[1].flux[2], joined.orders[1].flux[0])
    assert joined.n_integrations == 3
    assert joined.warnings == ()


def test_an_average_counts_for_all_its_integrations(tmp_path):
    """The one spectrum of a rate file stands for all of NINTS, in each segment for its own."""
    path = new_layout(tmp_path / "a_x1d.fits", (1,), change=from_to(1, 3))
    average = read_spectra(path)
    assert average.n_integrations == average.info.n_integrations == 3
    assert average.orders[1].flux.shape == (1, N)
    assert average.info.frames_of(average.n_integrations) == 15
    assert "one spectrum of 3 integrations" in average.warnings[0]
    with pytest.raises(SossInputError, match="only the average of 3"):
        read_spectra(path, exclude=[2])
    one = new_layout(tmp_path / "s1.fits", (1,), segment=(1, 2), change=from_to(1, 2))
    two = new_layout(tmp_path / "s2.fits", (1,), segment=(2, 2), change=from_to(3, 3))
    both = read_spectra([one, two])
    assert both.orders[1].integrations.tolist() == [1, 3]
    assert both.n_integrations == 3


def test_integrations_are_left_out(tmp_path):
    """Excluded integrations are in no order; others than there are, or all, are refused."""
    path = new_layout(tmp_path / "a_x1dints.fits")
    spectra = read_spectra(path, exclude=[2])
    assert spectra.excluded == (2,)
    check(spectra, (1, 3))
    with pytest.raises(SossInputError, match=r"Integrations 4,7-8 .* has 1-3"):
        read_spectra(path, exclude=[4, 8, 7])
    with pytest.raises(SossInputError, match="All integrations"):
        read_spectra(path, exclude=[1, 2, 3])


@pytest.mark.parametrize(
    ("atoca", "factor", "method"),
    [(True, 1e-5, "atoca"), (False, None, "box"), (False, 1e-5, "box"), (None, 1e-5, "atoca"),
     (None, None, "box")],
)  # fmt: skip
def test_atoca_and_box_are_told_apart(tmp_path, atoca, factor, method):
    """The method is that of the ASDF tree, also where a box extraction has a Tikhonov factor."""

    def change(meta):
        meta.soss_extract1d.width = 40.0
        if atoca is not None:
            meta.soss_extract1d.apply_decontamination = atoca
        if factor is not None:
            meta.soss_extract1d.tikhonov_factor = factor

    path = new_layout(tmp_path / "a_x1dints.fits", change=change)
    assert read_spectra(path).info.method == method
    with datamodels.open(path) as model:
        assert read_spectra(model).info.method == method


def test_flags_are_honoured_in_the_old_layout(tmp_path):
    """DO_NOT_USE in an unsigned DQ column leaves a point out, and other flags do not."""
    path = old_layout(tmp_path / "a_x1dints.fits")
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["DQ"][3], hdus[1].data["DQ"][4], hdus[1].data["DQ"][5] = 1, 4, 5
    flux = read_spectra(path).orders[1].flux[0, ::-1]
    assert np.flatnonzero(np.isnan(flux)).tolist() == [3, 5]


def test_tables_of_another_layout_in_one_file(tmp_path):
    """Tables of one file may differ in their columns; each is read by its own header."""
    path = old_layout(tmp_path / "a_x1dints.fits")
    with fits.open(path) as hdus:
        table = hdus[3]
        columns = [column for column in table.columns if column.name != "DQ"]
        first = fits.Column("EXTRA", "5E", array=np.full((N, 5), 7.0))
        other = fits.BinTableHDU.from_columns([first, *columns[::-1]], name="EXTRACT1D")
        other.header["SPORDER"], other.header["INT_NUM"] = 1, 2
        hdus[3] = other
        hdus.writeto(tmp_path / "b_x1dints.fits")
    same(read_spectra(tmp_path / "b_x1dints.fits"), read_spectra(path))


def test_wavelengths_in_other_units_are_refused(tmp_path):
    """Wavelengths said to be in Angstrom are not taken for um."""
    path = old_layout(tmp_path / "a_x1dints.fits")
    fits.setval(path, "TUNIT1", value="Angstrom", ext=1)
    with pytest.raises(SossInputError, match=r"order 1 .* in Angstrom; um is needed"):
        read_spectra(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("FILTER", "F277W", "filter F277W"), ("EXP_TYPE", "NIS_IMAGE", "NIS_IMAGE"),
     ("INSTRUME", "NIRSPEC", "NIRSPEC")],
)  # fmt: skip
def test_what_is_no_soss_spectrum_is_refused(tmp_path, key, value, words):
    """F277W, images and other instruments are a sentence with the file's name."""
    path = old_layout(tmp_path / "a_x1dints.fits")
    fits.setval(path, key, value=value)
    with pytest.raises(SossInputError, match=rf"a_x1dints\.fits .*{words}"):
        read_spectra(path)


def test_a_file_without_spectra_is_refused(tmp_path):
    """A file of images says that an x1d is needed."""
    path = old_layout(tmp_path / "a_rateints.fits")
    with fits.open(path) as hdus:
        fits.HDUList([hdus[0], fits.ImageHDU(np.zeros((4, 4)), name="SCI")]).writeto(
            tmp_path / "b_rateints.fits"
        )
    with pytest.raises(SossInputError, match=r"b_rateints\.fits has no extension EXTRACT1D"):
        read_spectra(tmp_path / "b_rateints.fits")


@pytest.mark.parametrize("name", ["EXTRACT1D", "ASDF"])
def test_a_name_that_cannot_be_read_is_refused(tmp_path, name):
    """An EXTNAME without its first quote, which astropy cannot parse, is one sentence."""
    path = tmp_path / "a_x1dints.fits"
    new_layout(path)
    good = path.read_bytes()
    assert b"EXTNAME = '" + name.encode() in good
    path.write_bytes(good.replace(b"EXTNAME = '" + name.encode(), b"EXTNAME = &" + name.encode()))
    with pytest.raises(SossInputError, match=r"a_x1dints\.fits.*(cannot be read|EXTNAME)"):
        read_spectra(path)


def test_an_extension_that_astropy_cannot_make_is_refused(tmp_path):
    """A table that says of itself that it is a packed image (ZIMAGE) is one sentence."""
    path = new_layout(tmp_path / "a_x1dints.fits")
    fits.setval(path, "ZIMAGE", value=True, extname="EXTRACT1D")
    with pytest.raises(SossInputError, match=r"a_x1dints\.fits, .*cannot be read"):
        read_spectra(path)


def test_segments_made_in_different_ways(tmp_path):
    """A segment with another background treatment is refused, another version only noted."""

    def change(meta):
        meta.cal_step.bkg_subtract = "COMPLETE"
        meta.calibration_software_version = "1.20.2"

    one = new_layout(tmp_path / "s1.fits", (1, 2), segment=(1, 2), change=change)
    two = new_layout(tmp_path / "s2.fits", (3,), segment=(2, 2))
    with pytest.raises(SossInputError, match="S_BKDSUB"):
        read_spectra([one, two])
    fits.setval(two, "S_BKDSUB", value="COMPLETE")
    fits.setval(two, "CAL_VER", value="3.0.0")
    assert read_spectra([one, two]).warnings == (
        "The files differ in pipeline version: 1.20.2, 3.0.0.",
    )


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
    new_layout(tmp_path / "a.fits")
    check(read_spectra(path))
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


def test_reading_holds_little_more_than_the_fluxes(tmp_path):
    """Only the needed columns of a table are kept: the file is several times larger."""
    path = new_layout(tmp_path / "a_x1dints.fits", tuple(range(1, 60)))
    spectra = read_spectra([path])
    kept = sum(one.flux.nbytes + one.error.nbytes for one in spectra.orders.values())
    assert os.path.getsize(path) > 6 * kept
