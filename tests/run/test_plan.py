"""What a run finds to do in associations and lists."""

import json

import numpy as np
import pytest
from astropy.io import fits

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.run.campaign import parameter_lines
from soss_photcal_steps.run.plan import make_plan


def write_rate(path, exposure="00001", segment=1, **cards):
    """Write a file that looks like rates by its header."""
    header = {
        "EXP_TYPE": "NIS_SOSS", "PROGRAM": "01091", "OBSERVTN": "002", "VISIT": "001",
        "EXPOSURE": exposure, "EXSEGNUM": segment, "TARGNAME": "STAR", "FILTER": "CLEAR",
        "SUBARRAY": "SUBSTRIP256", **cards,
    }  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 4, 4), "f4"), name="SCI")])
    hdus[0].header.update(header)
    hdus.writeto(path)
    return str(path)


def test_a_list_becomes_exposures(tmp_path):
    """Segments stay together, exposures do not, F277W gives images, and a text file counts."""
    stem = "jw01091002001_03102_0000"
    names = [f"{stem}1-seg002", f"{stem}1-seg001", f"{stem}2", f"{stem}3"]
    write_rate(tmp_path / f"{names[0]}_nis_rateints.fits", segment=2)
    write_rate(tmp_path / f"{names[1]}_nis_rateints.fits")
    write_rate(tmp_path / f"{names[2]}_nis_rate.fits", "00002")
    last = write_rate(tmp_path / f"{names[3]}_nis_rateints.fits", "00003", FILTER="F277W")
    text = tmp_path / "night.txt"
    lines = [f"{name}_nis_rateints.fits" for name in names[:2]] + [f"{names[2]}_nis_rate.fits"]
    text.write_text("# all of one night\n\n" + "\n".join(lines) + "\nmissing_rate.fits\n")
    plan = make_plan([str(text), last])
    assert (plan.name, plan.until, plan.association) == ("night", "spectra", None)
    found = {unit.label: (len(unit.observation.files), unit.kind) for unit in plan.units}
    assert found == {
        f"{stem}1_nis": (2, "x1d"), f"{stem}2_nis": (1, "x1d"), f"{stem}3_nis": (1, "cal"),
    }  # fmt: skip
    assert plan.units[0].observation.files[0].endswith("seg001_nis_rateints.fits")
    assert [name for name, _ in plan.failures] == ["missing_rate.fits"]
    assert plan.first_rate == plan.units[0].observation.files[0]
    assert len(make_plan([str(text)], "ratios").units) == 1


def test_files_that_would_become_the_same_are_refused(tmp_path):
    """Two files of one name in two folders would give one product, and workers would collide."""
    name = "jw01091002001_03102_00001_nis_rateints.fits"
    one = write_rate(tmp_path / "a" / name)
    other = write_rate(tmp_path / "b" / name)
    with pytest.raises(SossInputError, match="would both be made into"):
        make_plan([one, other])
    content = {"products": [{"name": "x", "members": [{"expname": one}, {"expname": other}]}]}
    (tmp_path / "asn.json").write_text(json.dumps(content))
    with pytest.raises(SossInputError, match="would both be made into"):
        make_plan([str(tmp_path / "asn.json")])
    with pytest.raises(SossInputError, match="comes more than once"):
        make_plan([one, one])


def test_wrong_wishes_are_one_sentence(tmp_path):
    """Several associations, a photom file of a list, a path as a name, an empty list: refused."""
    one = write_rate(tmp_path / "jw01_rate.fits")
    with pytest.raises(SossInputError, match="Give one association"):
        make_plan(["a.json", one])
    with pytest.raises(SossInputError, match="needs an association"):
        make_plan([one], "photom")
    with pytest.raises(SossInputError, match="no path is wanted"):
        make_plan([one], name="../x")
    with pytest.raises(SossInputError, match="cannot be read"):
        make_plan([str(tmp_path / "no.txt")])
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(SossInputError, match="no observation"):
        make_plan([str(tmp_path / "empty.txt")])


def test_parameters_of_the_command_line_become_a_configuration():
    """Points make sections, values come before sections, and an empty value stays one."""
    lines = parameter_lines(
        ["steps.a.b=1", "--report=false", "steps.a.c.d=x=y", "steps.a.e=", "steps.f.g=1,2"]
    )
    assert lines == [
        "report = false", "[steps]", "[[a]]", "b = 1", "e = ''", "[[[c]]]", "d = x=y", "[[f]]",
        "g = 1,2",
    ]  # fmt: skip
    for wrong in ("steps", "a b=1", "=1", "a=b\nc=d", "steps..a=1"):
        with pytest.raises(SossInputError):
            parameter_lines([wrong])
    with pytest.raises(SossInputError, match="beside"):
        parameter_lines(["a=1", "a.b=1"])
