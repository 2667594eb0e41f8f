"""A new photom file tried on a star that it was not made from."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from stdatamodels.jwst import datamodels

from soss_photcal_steps._jwst import table_dtype
from soss_photcal_steps.cli import main
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.conversion import conversion
from soss_photcal_steps.photom.extinction import transmission
from soss_photcal_steps.photom.photometry import scale_to_ks
from soss_photcal_steps.photom.table import read_photom
from soss_photcal_steps.photom.time_tables import LinearTrend, PowerLawTrend, make_time_tables
from soss_photcal_steps.photom.validate import redden
from soss_photcal_steps.ratio.sampling import ModelSpectrum
from soss_photcal_steps.ratio.stars import read_model_spectrum
from soss_photcal_steps.simulate.instrument import filed_error
from soss_photcal_steps.simulate.observation import ObservationPlan
from soss_photcal_steps.simulate.refmodels import photom_model
from soss_photcal_steps.simulate.spectra import simulate_spectra
from soss_photcal_steps.simulate.spectrafile import write_spectra
from soss_photcal_steps.simulate.standards import STANDARDS, TabulatedSpectrum

REAL = Path(__file__).parents[2].parent / "shared" / "data"
USED, NEW = "jwst_niriss_photom_0041.fits", "jwst_niriss_photom_new.fits"
# Ranges in which the simulated star has signal and no trace leaves the detector.
RANGES = ["--range", "1:0.9-2.8", "--range", "2:0.63-0.94"]
STAR = dataclasses.replace(
    STANDARDS["1743045"], name="HD 59533", proposed_name="HD59533", calspec="hd59533"
)


def write_model(path, star=STAR, factor=1.0):
    """Write the model of a star as text, in Angstrom and erg/s/cm2/Angstrom."""
    x = np.arange(0.5, 3.3, 1e-4)
    flam = star.model_flux(x) * 1e6 * 2.99792458e-5 / (1e4 * x) ** 2
    np.savetxt(path, np.c_[1e4 * x, factor * flam], header="wavelength flux", comments="")


def write_x1d(folder, star=STAR, photom=USED, **changes):
    """Write spectra of the test star through the file with the known error; give the paths."""
    plan = ObservationPlan(star, 1516, 6, **{"nints": 20, "seed": 11, **changes})
    paths = write_spectra(simulate_spectra(plan, photom="filed", orders=(1, 2)), folder)
    for path in paths:
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["R_PHOTOM"] = f"crds://{photom}"
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Give a folder with spectra, their model, the photom file in use and the true one."""
    folder = tmp_path_factory.mktemp("given")
    for kind, name in (("filed", USED), ("true", NEW)):
        with photom_model(245.76, kind) as model:
            model.save(folder / name)
    (path,) = write_x1d(folder)
    write_model(folder / "model.txt")
    return folder, path


def command(given, out, *more, photom=NEW):
    """Give the command line, whose later options replace earlier ones."""
    folder, path = given
    return [
        "validate", path, "--photom", str(folder / photom), "--photom-used", str(folder / USED),
        "--model", str(folder / "model.txt"), "--out", str(out), "--line-width", "0", *more,
    ]  # fmt: skip


def product(out):
    """Read the table of the products."""
    (path,) = out.glob("*_validate.ecsv")
    return Table.read(path, format="ascii.ecsv")


def ranges(table):
    """Give the numbers of the ranges by order and lower wavelength."""
    return {(one["order"], one["low"]): one for one in table.meta["ranges"]}


def test_the_true_file_gives_the_model_back(given, tmp_path, capsys):
    """Through the true file the ratio is 1 within its errors, that in use has the known error."""
    before = {path: path.read_bytes() for path in given[0].iterdir()}
    assert main(command(given, tmp_path / "new", *RANGES)) == 0
    text = capsys.readouterr().out
    table = product(tmp_path / "new")
    numbers = ranges(table)
    for order, low, high in ((1, 0.9, 2.8), (2, 0.63, 0.94)):
        one = numbers[order, low]
        assert one["median"] == pytest.approx(1, abs=2e-4 + 4 * one["error"])
        assert one["noise"] < one["rms"] < 4 * one["noise"]
        assert f"{one['median']:.5f}" in text
        rows = table[(table["order"] == order) & (table["mask"] == 0)]
        rows = rows[(rows["wavelength"] > low) & (rows["wavelength"] < high)]
        pull = (rows["ratio"] - 1) / rows["ratio_error"]
        assert 0.8 < np.mean(np.clip(pull, -4, 4) ** 2) < 1.25
        error = filed_error(order, np.array(rows["wavelength"]))
        assert np.median(rows["ratio_used"] / error) == pytest.approx(1, abs=5e-4)
        assert np.ptp(error) > 0.01
    (picture,) = (tmp_path / "new").glob("*_validate.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert {path: path.read_bytes() for path in given[0].iterdir()} == before


def test_the_file_in_use_gives_the_known_error(given, tmp_path, capsys):
    """With the file in use as the new one the ratio is its known error, and that is said."""
    assert main(command(given, tmp_path, *RANGES, photom=USED)) == 0
    assert "the two photom files are the same" in capsys.readouterr().out
    table = product(tmp_path)
    rows = table[(table["order"] == 1) & (table["mask"] == 0)]
    assert rows["ratio"] == pytest.approx(rows["ratio_used"], rel=1e-12)
    pull = (rows["ratio"] - filed_error(1, np.array(rows["wavelength"]))) / rows["ratio_error"]
    assert abs(np.median(pull)) < 0.2 and 0.8 < np.mean(np.clip(pull, -4, 4) ** 2) < 1.25


def test_the_flux_is_that_of_a_new_calibration(given, tmp_path):
    """The flux is what the same counts give through the true file, to 1e-4."""
    assert main(command(given, tmp_path, *RANGES)) == 0
    table = product(tmp_path)
    plan = ObservationPlan(STAR, 1516, 6, nints=20, seed=11)
    direct = simulate_spectra(plan, photom="true", orders=(1, 2))
    rows = table[(table["order"] == 2) & (table["wavelength"] > 0.63) & (table["mask"] == 0)]
    spectra = direct.orders[2]
    mean = np.interp(
        rows["wavelength"], spectra.wavelength[::-1], 1e6 * np.median(spectra.flux, axis=0)[::-1]
    )
    ratio = rows["flux"] / mean
    assert np.median(ratio) == pytest.approx(1, abs=1e-4)


def test_reddened_and_scaled(given, tmp_path):
    """A model at its surface, reddened and scaled to Ks, fits a reddened star; without dust not."""
    x = np.arange(0.5, 3.3, 2e-4)
    bare = 1e6 * STAR.model_flux(x)
    dust = np.nan_to_num(transmission(x, 0.5, "g23", 3.1), nan=1.0)
    none = np.zeros_like(x)
    seen = scale_to_ks(ModelSpectrum(x, bare * dust, none, none), 9.0)
    star = dataclasses.replace(STAR, spectrum=TabulatedSpectrum(x, 1e-6 * seen.flux))
    (path,) = write_x1d(tmp_path, star)
    write_model(tmp_path / "surface.txt", factor=1e17)
    model = ["--model", str(tmp_path / "surface.txt"), "--ks", "9.0", *RANGES]
    where = (given[0], path)
    red = ["--av", "0.5", "--curve", "g23"]
    assert main(command(where, tmp_path / "dust", *model, *red)) == 0
    assert main(command(where, tmp_path / "bare", *model)) == 0
    dust, bare = (ranges(product(tmp_path / name)) for name in ("dust", "bare"))
    assert dust[1, 0.9]["median"] == pytest.approx(1, abs=5e-4)
    assert dust[2, 0.63]["median"] == pytest.approx(1, abs=5e-4)
    assert bare[2, 0.63]["median"] < 0.82


def test_segments_in_an_association(given, tmp_path):
    """Two segments, listed in an association, give the same as one file."""
    paths = write_x1d(tmp_path, segments=2)
    members = [{"expname": Path(path).name, "exptype": "science"} for path in paths]
    asn = tmp_path / "asn.json"
    asn.write_text(json.dumps({"products": [{"name": "p", "members": members}]}))
    assert main(command((given[0], str(asn)), tmp_path / "two", *RANGES)) == 0
    assert main(command(given, tmp_path / "one", *RANGES)) == 0
    one, two = product(tmp_path / "one"), product(tmp_path / "two")
    assert two["ratio"] == pytest.approx(one["ratio"], rel=1e-6, nan_ok=True)
    assert [item["name"] for item in two.meta["inputs"]][:2] == [Path(p).name for p in paths]


def test_ranges_and_excluded_intervals(given, tmp_path, capsys):
    """Numbers are for the ranges asked for, and what is excluded does not count."""
    asked = ["--range", "1:1.3-1.5", "--range", "2:2.0-2.1"]
    assert main(command(given, tmp_path, *asked, "--exclude", "1:1.4-1.6")) == 0
    table = product(tmp_path)
    first, second = ranges(table).values()
    inside = (table["order"] == 1) & (table["wavelength"] >= 1.3) & (table["wavelength"] < 1.4)
    assert first["n"] == np.sum(inside & (table["mask"] == 0)) > 50
    assert second["n"] == 0 and "nothing counts here" in capsys.readouterr().out
    assert set(table["order"]) == {1, 2}


def test_a_standard_is_no_independent_star(given, tmp_path, capsys):
    """That the star is one of the standards is said."""
    (path,) = write_x1d(tmp_path, STANDARDS["1743045"])
    assert main(command((given[0], path), tmp_path / "out", *RANGES)) == 0
    assert "no independent test" in capsys.readouterr().out


def damaged(path, row=None, **values):
    """Change columns of a photom file, in all rows or one; or drop or repeat a row."""
    with fits.open(path) as hdus:
        header, table = hdus[0].header, np.array(hdus["PHOTOM"].data)
    for name, value in values.items():
        where = slice(None) if row is None else row
        table[name][where] = value
    hdu = fits.BinTableHDU(table, name="PHOTOM")
    fits.HDUList([fits.PrimaryHDU(header=header), hdu]).writeto(path, overwrite=True)


def test_errors_of_the_new_file(given, tmp_path):
    """The file's errors of photmj (3 %) and relresponse (4 %) are joined to 5 per cent."""
    new = tmp_path / "new.fits"
    new.write_bytes((given[0] / NEW).read_bytes())
    photom = read_photom(new)
    response = np.array([row.relresponse for row in photom.rows])
    damaged(new, uncertainty=0.03 * photom.rows[0].photmj, reluncertainty=0.04 * response)
    assert main(command(given, tmp_path / "out", *RANGES, "--photom", str(new))) == 0
    for one in ranges(product(tmp_path / "out")).values():
        assert one["calibration_error"] == pytest.approx(0.05, rel=1e-3)


def test_conversion_is_that_of_the_photom_step(given, tmp_path, pipeline_without_crds):
    """With two time tables, 1 DN/s becomes in jwst's own photom step what `conversion` says."""
    from jwst.photom import PhotomStep

    with photom_model(245.76, "filed") as model:
        rows = read_photom(given[0] / USED).rows
        for trend in (LinearTrend(59800.0, 0.02), PowerLawTrend(59700.0, 0.97, 30.0, -0.02)):
            tables = make_time_tables(rows, {("CLEAR", "GR700XD", 2): trend})
            for name, table in tables.items():
                setattr(model, name, table)
        model.meta.reftype, model.meta.author, model.meta.pedigree = "photom", "A. Tester", "GROUND"
        model.meta.description, model.meta.useafter = "Test.", "2022-01-01T00:00:00"
        model.meta.instrument.name = "NIRISS"
        model.save(tmp_path / "timed.fits")
    x = np.linspace(0.5, 1.5, 800)
    spectra = datamodels.TSOMultiSpecModel()
    spectra.meta.instrument.name, spectra.meta.instrument.detector = "NIRISS", "NIS"
    spectra.meta.instrument.filter, spectra.meta.instrument.pupil = "CLEAR", "GR700XD"
    spectra.meta.exposure.type, spectra.meta.exposure.mid_time = "NIS_SOSS", 60500.0
    spec = datamodels.TSOSpecModel()
    kinds = table_dtype(spec, "spec_table")
    vectors = kinds.names[kinds.names.index("WAVELENGTH") : kinds.names.index("NPIXELS") + 1]
    table = np.zeros(1, [(n, kinds[n], (800,)) if n in vectors else (n, kinds[n])
                         for n in kinds.names])  # fmt: skip
    table["WAVELENGTH"], table["FLUX"], table["N_ALONGDISP"] = x[::-1], 1.0, 800
    spec.spec_table, spec.spectral_order = table, 2
    spectra.spec.append(spec)
    step = PhotomStep()
    step.override_photom, step.override_area = str(tmp_path / "timed.fits"), "N/A"
    calibrated = np.array(step.run(spectra).spec[0].spec_table["FLUX"][0])[::-1]
    ours = conversion(read_photom(tmp_path / "timed.fits"), 2, x, 60500.0).value
    plain = conversion(read_photom(given[0] / USED), 2, x).value
    good = np.isfinite(ours)
    assert good.sum() > 500 and (calibrated[~good] == 0).all()
    assert calibrated[good] == pytest.approx(ours[good], rel=1e-6)
    throughput = (1 - 0.02 * 700 / 365) * 0.97 * (830 / 395) ** -0.02
    assert ours[good] * throughput == pytest.approx(plain[good], rel=1e-6)
    with pytest.raises(SossInputError, match="do not say when"):
        conversion(read_photom(tmp_path / "timed.fits"), 2, x)


def change_header(**cards):
    """Give a function that sets cards of the spectra's header; None removes one."""

    def change(folder):
        (path,) = folder.glob("*_x1dints.fits")
        with fits.open(path, mode="update") as hdus:
            for key, value in cards.items():
                if value is None:
                    del hdus[0].header[key]
                else:
                    hdus[0].header[key] = value

    return change


def brighter(folder):
    """Multiply the fluxes by a million, as a file in Jy labelled MJy has them."""
    (path,) = folder.glob("*_x1dints.fits")
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus:
            if hdu.name == "EXTRACT1D":
                hdu.data["FLUX"] *= 1e6


def new_row(**values):
    """Give a function that changes the row of order 2 in the new file."""
    return lambda folder: damaged(folder / NEW, 1, **values)


def model_file(text):
    """Give a function that writes another model."""
    return lambda folder: (folder / "model.txt").write_text(text)


@pytest.mark.parametrize(
    ("damage", "more", "words"),
    [
        (change_header(R_PHOTOM="crds://jwst_niriss_photom_0040.fits"), (),
         "was calibrated with jwst_niriss_photom_0040.fits"),
        (change_header(R_PHOTOM=None), (), "does not say which photom file"),
        (new_row(order=3), (), "has no row for CLEAR/GR700XD order 2"),
        (new_row(order=1), (), "has 2 rows for CLEAR/GR700XD order 1"),
        (new_row(photmj=0.0), (), "photmj must be positive"),
        (brighter, (), "--flux-unit Jy"),
        (None, ("--ks", "1.0"), "is Ks = 1 that of the star?"),
        (model_file("wavelength flux\n5000 1e7\n32000 1e7\n"), (), "with --ks"),
        (model_file("wavelength flux\n50000 1e-14\n320000 1e-15\n"), (), "No wavelength of"),
        (model_file("wavelength flux\n50000 1e-14\n320000 1e-15\n"), ("--ks", "9"), "2.40 um"),
        (model_file("wavelength flux\n50000 1e-14\n320000 1e-15\n"), ("--av", "1"), "0.55 and 3.2"),
        (None, ("--model", "nowhere.fits"), "nowhere.fits does not exist"),
        (None, ("--photom", "nowhere.fits"), "nowhere.fits does not exist"),
        (None, ("--range", "1:2.8-0.9"), "--range needs an order"),
        (None, ("--exclude", "0.9-2.8"), "--exclude needs an order"),
        (None, ("--av", "-1"), "from 0, not -1"),
        (None, ("--rv", "3.1"), "R(V) = 3.09, not 3.1"),
        (None, ("--line-width", "-2"), "--line-width is a number from 0"),
        (None, ("--ks", "nan"), "not nan"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(given, tmp_path, capsys, damage, more, words):
    """What cannot be used ends with status 1, one sentence on stderr, and no product."""
    folder, path = given
    for one in folder.iterdir():
        if one.is_file():
            (tmp_path / one.name).write_bytes(one.read_bytes())
    if damage:
        damage(tmp_path)
    out = tmp_path / "out"
    where = (tmp_path, str(tmp_path / Path(path).name))
    assert main(command(where, out, *more)) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("soss-photcal: ") and words in shown.err
    assert len(shown.err.strip().splitlines()) == 1 and shown.err.strip()[-1] in ".?"
    assert not list(tmp_path.rglob("*_validate*"))


def test_products_never_replace_an_input(given, tmp_path, capsys):
    """A model named like a product, and a file in the folder's place, are refused and kept."""
    name = Path(given[1]).name.replace("_x1dints.fits", "_validate.ecsv")
    model = tmp_path / name
    write_model(model)
    before = model.read_bytes()
    assert main(command(given, tmp_path, "--model", str(model))) == 1
    assert "is an input" in capsys.readouterr().err
    assert main(command(given, model)) == 1
    assert "cannot be made" in capsys.readouterr().err
    assert model.read_bytes() == before


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data in {REAL}")
def test_a_real_model_of_an_a_star(given, tmp_path):
    """A NextGen model is read, reddened and scaled; a star like it agrees to 0.2 per cent."""
    path = REAL / "stellar" / "lteNextGen_8000.0_4.0_0.0.txt"
    seen = scale_to_ks(redden(read_model_spectrum(path), 0.09), 8.2)
    assert seen.wavelength[0] >= 0.55 and seen.wavelength[-1] <= 3.2
    x = np.arange(0.55, 3.2, 2e-4)
    kernel = np.exp(-0.5 * (np.arange(-30, 31) / 4.0) ** 2)
    smooth = np.convolve(np.interp(x, seen.wavelength, seen.flux), kernel / kernel.sum(), "same")
    star = dataclasses.replace(STAR, spectrum=TabulatedSpectrum(x, 1e-6 * smooth))
    (spectra,) = write_x1d(tmp_path, star)
    model = ["--model", str(path), "--ks", "8.2", "--av", "0.09", "--line-width", "2"]
    assert main(command((given[0], spectra), tmp_path / "out", *model, *RANGES)) == 0
    numbers = ranges(product(tmp_path / "out"))
    assert numbers[1, 0.9]["median"] == pytest.approx(1, abs=0.002)
    assert numbers[2, 0.63]["median"] == pytest.approx(1, abs=0.002)
    assert numbers[1, 0.9]["low_16"] > 0.995 and numbers[1, 0.9]["high_84"] < 1.005
