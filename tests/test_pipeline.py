"""soss_spec2 as a pipeline: parameters, members and sentences."""

import json
import logging
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from jwst.assign_wcs import AssignWcsStep
from jwst.extract_1d import Extract1dStep
from jwst.lib.pipe_utils import is_tso
from jwst.pipeline import Spec2Pipeline
from stdatamodels.jwst import datamodels

from soss_photcal_steps import SossInputError, SossSpec2Pipeline, SossTemplateBackgroundStep
from soss_photcal_steps._jwst import table_dtype
from soss_photcal_steps.extract import SossExtract1dStep
from soss_photcal_steps.simulate import SceneParams, make_library, simulate
from soss_photcal_steps.simulate.write import (
    ExposureHeader,
    write_library,
    write_rate,
    write_rateints,
)

FILE = "jw01512001001_03102_00001_nis_rateints.fits"
SEGMENTS = ["jw_a-seg001_nis_rateints.fits", "jw_a-seg002_nis_rateints.fits"]
PARAMETER_FILE = Path(__file__).parents[1] / "parameter_files" / "pars-spec2pipeline.asdf"
# All steps but the background's; what they need is tested where they run.
SKIPPED = (
    "flat_field", "extract_1d", "photom", "pathloss", "pixel_replace", "master_background_mos",
    "msa_flagging", "wavecorr", "barshadow", "fringe", "straylight", "residual_fringe",
    "cube_build", "resample_spec", "wfss_contam", "extract_2d",
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Give a folder with a library, an exposure, its mean, two segments of it, and a sky."""
    folder = tmp_path_factory.mktemp("store")
    library = make_library(3, 3, subarray="SUBSTRIP96")

    def scene_of(star, **values):
        values |= {"subarray": "SUBSTRIP96", "template_index": 2, "star": star}
        return simulate(SceneParams(**values), library)

    scene = scene_of("faint", seed=5, nints=2)
    write_library(library, folder / "lib.fits")
    write_rateints(scene, folder / FILE)
    write_rate(scene, folder / "jw_rate.fits")
    for number, name in enumerate(SEGMENTS):
        write_rateints(scene, folder / name, first=number, last=number + 1, segment=(number + 1, 2))
    sky = scene_of("none", seed=8, nints=1)
    write_rateints(sky, folder / "sky_rateints.fits", ExposureHeader(program=1541, target="SKY"))
    return folder


@pytest.fixture
def here(store, tmp_path, monkeypatch):
    """Give the files by their names in the current folder."""
    monkeypatch.chdir(tmp_path)
    for path in store.iterdir():
        os.symlink(path, path.name)
    return tmp_path


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Close all models that a test leaves open; jwst's models hold on to their files."""
    opened = []
    original = datamodels.JwstDataModel.__init__

    def note(self, *args, **kwargs):
        original(self, *args, **kwargs)
        opened.append(self)

    monkeypatch.setattr(datamodels.JwstDataModel, "__init__", note)
    yield
    for model in opened:
        model.close()


@pytest.fixture
def no_wcs(monkeypatch):
    """Let assign_wcs say that it is done."""

    def done(self, model):
        model.meta.cal_step.assign_wcs = "COMPLETE"
        return model

    monkeypatch.setattr("jwst.assign_wcs.AssignWcsStep.process", done)


def parameters(**bkg):
    """Give parameters with which only the background step does anything."""
    wcs = dict.fromkeys(AssignWcsStep.reference_file_types, "N/A") | {"specwcs": "lib.fits"}
    return {
        "steps": {
            **{name: {"skip": True} for name in SKIPPED},
            "assign_wcs": {f"override_{kind}": file for kind, file in wcs.items()},
            "bkg_subtract": {"override_bkg": "lib.fits", "override_pastasoss": "N/A", **bkg},
        }
    }


def record(model):
    """Give what the background step wrote down."""
    return model.meta.soss_photcal.soss_template_bkg.instance


def test_pixel_replace_is_on_by_default():
    """pixel_replace runs unless the user skips it; the pipeline of jwst keeps its default."""
    assert SossSpec2Pipeline().pixel_replace.skip is False
    algorithm = Spec2Pipeline().pixel_replace.algorithm
    assert SossSpec2Pipeline().pixel_replace.algorithm == algorithm
    skipped = SossSpec2Pipeline(steps={"pixel_replace": {"skip": True}})
    assert skipped.pixel_replace.skip is True
    assert Spec2Pipeline().pixel_replace.skip is True


def test_steps_and_parameters_are_those_of_calwebb_spec2():
    """All steps of calwebb_spec2 are there, and CRDS is asked for the same parameters."""
    assert SossSpec2Pipeline.step_defs.keys() == Spec2Pipeline.step_defs.keys()
    assert SossSpec2Pipeline.step_defs["bkg_subtract"] is SossTemplateBackgroundStep
    for name in ("pixel_replace", "photom", "flat_field"):
        assert SossSpec2Pipeline.step_defs[name] is Spec2Pipeline.step_defs[name]
    assert SossSpec2Pipeline.get_config_reftype() == "pars-spec2pipeline"
    assert SossExtract1dStep.get_config_reftype() == Extract1dStep.get_config_reftype()


@pytest.fixture
def crds_parameters(rateints, monkeypatch):
    """Let CRDS have parameters for the pipeline, some for jwst's own bkg_subtract; give a file."""

    def step(name, kind, values):
        return {"name": name, "class": kind, "parameters": values}

    tree = step("Spec2Pipeline", "jwst.pipeline.calwebb_spec2.Spec2Pipeline", {})
    own = "jwst.background.background_step.BackgroundStep"
    tree["steps"] = [
        step("bkg_subtract", own, {"skip": True, "sigma": 3.0, "parameter_of_tomorrow": 1}),
        step("pixel_replace", "jwst.pixel_replace.PixelReplaceStep", {"skip": True}),
        step("extract_1d", "jwst.extract_1d.Extract1dStep", {"soss_width": 30.0}),
    ]
    asdf.AsdfFile(tree).write_to("pars.asdf")

    def get(parameters, kind, observatory):
        return "pars.asdf" if kind == "pars-spec2pipeline" else "N/A"

    monkeypatch.setattr("stpipe.crds_client.get_reference_file", get)
    return rateints


def test_parameters_of_crds(crds_parameters, caplog):
    """Those for other steps hold; those for bkg_subtract do not, and are named in the log."""
    caplog.set_level(logging.INFO)
    config, _ = SossSpec2Pipeline.build_config(crds_parameters)
    pipeline = SossSpec2Pipeline.from_config_section(config)
    assert pipeline.extract_1d.soss_width == 30
    assert pipeline.pixel_replace.skip is False
    assert pipeline.bkg_subtract.skip is False
    lines = [r.getMessage() for r in caplog.records if "not used here" in r.getMessage()]
    assert len(lines) == 1 and "parameter_of_tomorrow" in lines[0]


def test_the_user_wins_over_crds(crds_parameters):
    """What the user says of a step holds, whatever CRDS and the pipeline's default are."""
    steps = {"pixel_replace": {"skip": True}, "extract_1d": {"soss_width": 20.0}}
    config, _ = SossSpec2Pipeline.build_config(crds_parameters, steps=steps)
    pipeline = SossSpec2Pipeline.from_config_section(config)
    assert pipeline.pixel_replace.skip is True
    assert pipeline.extract_1d.soss_width == 20


def test_crds_parameters_for_an_association(crds_parameters):
    """For an association or a list, the parameters are those for its first exposure."""
    members = [{"expname": crds_parameters, "exptype": "science"}]
    Path("asn.json").write_text(json.dumps({"products": [{"members": members}]}))
    for data in ("asn.json", [crds_parameters]):
        config, _ = SossSpec2Pipeline.build_config(data)
        assert float(config["steps"]["extract_1d"]["soss_width"]) == 30


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
@pytest.mark.parametrize("several_products", [False, True])
def test_segments_get_one_fit(several_products, caplog):
    """Segments, in one product or in two, get one fit of both and of their background members."""
    caplog.set_level(logging.INFO)
    members = [{"expname": name, "exptype": "science"} for name in SEGMENTS]
    members.append({"expname": "sky_rateints.fits", "exptype": "background"})
    products = [{"name": "jw_a", "members": members}]
    if several_products:
        products = [
            {"name": "one", "members": members[::2]},
            {"name": "two", "members": [members[1]]},
        ]
    Path("asn.json").write_text(json.dumps({"products": products}))
    results = SossSpec2Pipeline.call("asn.json", **parameters())
    assert len(results) == 2
    first, second = (record(model) for model in results)
    assert first["template_names"][-1] == second["template_names"][-1] == "dedicated (1)"
    for name in ("scales", "weights"):
        assert np.array_equal(first[name], second[name])
    for model in results:
        assert model.meta.cal_step.bkg_subtract == "COMPLETE"
        assert model.meta.ref_file.bkg.name.endswith("lib.fits")
        assert model.meta.asn.table_name == "asn.json"
        cards = {card[0]: card[1] for card in model.extra_fits.PRIMARY.header}
        assert cards["BKGNINT"] == 2
    assert caplog.text.count("Reduced chi square") == 1
    names = ["one", "two"] if several_products else [s.rpartition("_")[0] for s in SEGMENTS]
    assert [model.meta.filename for model in results] == [f"{name}_calints.fits" for name in names]


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
def test_no_fit_is_kept_for_the_next_run():
    """A pipeline that is run again with another template fits again."""
    pipeline = SossSpec2Pipeline(**parameters())
    first = record(pipeline.run(FILE)[0])["template"]
    pipeline.bkg_subtract.template = 0
    assert (first, record(pipeline.run(FILE)[0])["template"]) == (2, 0)


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
def test_background_that_was_not_subtracted(caplog):
    """If the step passes the data on, the last lines of the log say so as a warning, with why."""
    results = SossSpec2Pipeline.call(FILE, **parameters(override_bkg="N/A"))
    assert results[0].meta.cal_step.bkg_subtract == "SKIPPED"
    last = [r for r in caplog.records if r.name.startswith("soss_photcal_steps")][-1]
    assert last.levelno == logging.WARNING
    assert last.getMessage().startswith(f"No background was subtracted from {FILE}")
    assert "no bkg reference file" in last.getMessage()


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
def test_filter_without_spectra(caplog):
    """For F277W, of which calwebb_spec2 extracts no spectrum, a warning at the end says so."""
    shutil.copy(FILE, "red_rateints.fits")
    fits.setval("red_rateints.fits", "FILTER", value="F277W")
    wanted = parameters(skip=True)
    wanted["steps"]["extract_1d"] = {
        f"override_{kind}": "N/A" for kind in Extract1dStep.reference_file_types
    }
    SossSpec2Pipeline.call("red_rateints.fits", **wanted)
    last = [r for r in caplog.records if r.name.startswith("soss_photcal_steps")][-1]
    assert last.levelno == logging.WARNING
    assert last.getMessage().startswith("No spectrum is extracted from red_rateints.fits")


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
def test_skipped_by_the_user_is_no_warning(caplog):
    """Where the user skips the step, nothing is said of it at the end."""
    SossSpec2Pipeline.call(FILE, **parameters(skip=True))
    assert "No background was subtracted" not in caplog.text


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
@pytest.mark.parametrize("stop", [True, False])
def test_error_of_one_exposure(stop, capfd, caplog):
    """An exposure that fails is told in one sentence, and with fail_on_exception ends the run."""
    shutil.copy("sky_rateints.fits", "wide_rateints.fits")
    fits.setval("wide_rateints.fits", "FILTER", value="F277W")
    science, rate = ({"expname": name, "exptype": "science"} for name in (FILE, "jw_rate.fits"))
    bad = [science, {"expname": "wide_rateints.fits", "exptype": "background"}]
    products = [{"name": "bad", "members": bad}, {"name": "good", "members": [rate]}]
    Path("asn.json").write_text(json.dumps({"products": products[: 2 - stop]}))
    if stop:
        with pytest.raises(SossInputError, match=r"wide_rateints\.fits .*does not fit"):
            SossSpec2Pipeline.call("asn.json", **parameters())
    else:
        results = SossSpec2Pipeline.call("asn.json", fail_on_exception=False, **parameters())
        assert [model.meta.filename for model in results] == ["good_cal.fits"]
        assert "wide_rateints.fits" in caplog.records[-1].getMessage()
        assert caplog.records[-1].levelno == logging.WARNING
    assert "Traceback" not in "".join(capfd.readouterr())
    assert sum(r.levelno == logging.ERROR for r in caplog.records) == 1


@pytest.mark.usefixtures("here", "pipeline_without_crds", "no_wcs")
def test_input_is_never_overwritten():
    """An input that bears the name of a product is refused, and stays as it was."""
    shutil.copy(FILE, "jw_calints.fits")
    before = Path("jw_calints.fits").read_bytes()
    with pytest.raises(SossInputError, match=r"would overwrite the input jw_calints\.fits"):
        SossSpec2Pipeline.call("jw_calints.fits", save_results=True, **parameters())
    assert Path("jw_calints.fits").read_bytes() == before


@pytest.mark.usefixtures("here")
def test_inputs_that_cannot_be_used(network):
    """What is not SOSS, is subtracted, or is not there is refused before CRDS is asked."""
    for name, key, value in (
        ("wfss.fits", "EXP_TYPE", "NIS_WFSS"),
        ("miri.fits", "INSTRUME", "MIRI"),
        ("done.fits", "S_BKDSUB", "COMPLETE"),
    ):
        shutil.copy(FILE, name)
        fits.setval(name, key, value=value)
    with datamodels.RampModel(np.ones((1, 2, 8, 8), "f4")) as model:
        model.save("uncal.fits")
    for name, match in (
        ("wfss.fits", r"wfss\.fits is of the exposure type NIS_WFSS"),
        ("miri.fits", r"miri\.fits was taken with the instrument MIRI"),
        ("done.fits", r"already .*steps\.bkg_subtract\.skip=true"),
        ("uncal.fits", r"uncal\.fits have 4 dimensions"),
        ("nothing.fits", r"nothing\.fits does not exist"),
        ("nothing.json", r"nothing\.json cannot be read"),
    ):
        with pytest.raises(SossInputError, match=match):
            SossSpec2Pipeline().run(name)
    assert network == []


def strun(*args, **environment):
    """Run ``strun`` in a process of its own, which knows of CRDS only what is given."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "STPIPE_"))}
    return subprocess.run(
        [os.path.join(sysconfig.get_path("scripts"), "strun"), *args],
        capture_output=True, text=True, env=clean | environment, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.usefixtures("here")
def test_without_crds():
    """With no CRDS, strun ends with status 1 and a sentence, without traceback or CRDS's own."""
    result = strun("soss_spec2", FILE)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    errors = [line for line in result.stderr.splitlines() if " - ERROR - " in line]
    assert len(errors) == 1
    for part in ("CRDS cannot be used", "CRDS_PATH", "soss-photcal simulate"):
        assert part in errors[0]


@pytest.mark.usefixtures("here")
def test_missing_references_are_named_together(tmp_path):
    """All references that a cache lacks are in one sentence, each with its parameter."""
    from soss_photcal_steps.simulate.crds_cache import write_crds_cache

    cache = write_crds_cache(tmp_path / "cache")
    result = strun("soss_spec2", FILE, "--steps.flat_field.skip=true", **cache.environment())
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    (error,) = [line for line in result.stderr.splitlines() if " - ERROR - " in line]
    for step, kind in (
        ("assign_wcs", "specwcs"),
        ("extract_1d", "pastasoss"),
        ("extract_1d", "specprofile"),
        ("photom", "photom"),
    ):
        assert f"--steps.{step}.override_{kind}=FILE" in error
    assert "flat" not in error
    assert cache.context in error


def test_parameter_file_is_for_the_original_pipeline():
    """The file that is shipped hooks our step to calwebb_spec2 and switches pixel_replace on."""
    pipeline = Spec2Pipeline.from_config_file(str(PARAMETER_FILE))
    assert type(pipeline) is Spec2Pipeline
    assert pipeline.bkg_subtract.pre_hooks == ["soss_photcal_steps.SossTemplateBackgroundStep"]
    assert isinstance(pipeline.bkg_subtract._pre_hooks[0], SossTemplateBackgroundStep)
    assert pipeline.pixel_replace.skip is False


def test_mean_of_a_time_series(monkeypatch):
    """A rate of several integrations is extracted as one, and keeps its number of integrations."""
    seen = []

    def process(self, model):
        seen.append((is_tso(model), model.meta.exposure.nints))
        return datamodels.TSOMultiSpecModel()

    monkeypatch.setattr(Extract1dStep, "process", process)
    with datamodels.ImageModel((4, 4)) as rate, datamodels.CubeModel((3, 4, 4)) as cube:
        for model in (rate, cube):
            model.meta.exposure.type, model.meta.exposure.nints = "NIS_SOSS", 3
            model.meta.visit.tsovisit = True
        cube.int_times = np.zeros(3, dtype=table_dtype(cube, "int_times"))
        assert is_tso(rate) and is_tso(cube)
        step = SossExtract1dStep()
        for model in (rate, cube):
            result = step.process(model)
            assert model.meta.exposure.nints == 3
            if model is rate:
                assert result.meta.exposure.nints == 3
    assert seen == [(False, 1), (True, 3)]
