"""The base class, shown on a tiny step with the real stpipe and jwst."""

import logging
import os
import subprocess
import sysconfig
from contextlib import suppress
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels
from tiny_step import PlainPipeline, PlainStep, TinyHook, TinyPipeline, TinyStep

from soss_photcal_steps import __version__, files
from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.integration import SCHEMA_URI_PREFIX

HELPERS = str(Path(__file__).parent / "helpers")


def tiny(**kwargs):
    """Make a step whose reference is said not to be needed."""
    return TinyStep(**{"override_bkg": "N/A", **kwargs})


def lines_with(text, lines):
    """Count the lines that hold a text."""
    return sum(text in line for line in lines)


def strun(*args):
    """Run ``strun`` in a process of its own, which knows the tiny step but no CRDS."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "STPIPE_"))}
    environment["PYTHONPATH"] = HELPERS
    return subprocess.run(
        [os.path.join(sysconfig.get_path("scripts"), "strun"), *args],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )


def test_strun_without_crds(rateints):
    """With every reference given, strun needs no CRDS and says nothing of it."""
    files_before = set(os.listdir())
    result = strun("tiny_step.TinyStep", rateints, f"--override_bkg={rateints}", "--add=2.5")
    assert result.returncode == 0, result.stderr
    assert "CRDS - " not in result.stderr
    assert result.stderr.count("Adding 2.5") == 1
    assert set(os.listdir()) - files_before == {"jw1_nis_bsubints.fits"}
    assert np.all(fits.getdata("jw1_nis_bsubints.fits") == 3.5)


def test_strun_ends_on_bad_input_with_a_sentence(rateints):
    """On a truncated file strun gives its name and no traceback, and exits with status 1."""
    content = Path(rateints).read_bytes()
    Path(rateints).write_bytes(content[: len(content) // 2])
    result = strun("tiny_step.TinyStep", rateints, "--override_bkg=N/A")
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    errors = [line for line in result.stderr.splitlines() if " - ERROR - " in line]
    assert len(errors) == 1
    assert f"{rateints} is truncated" in errors[0]
    assert os.listdir() == [rateints]


def test_no_network_where_references_are_given(rateints, network):
    """A call with every reference given asks nothing over the network."""
    TinyStep.call(rateints, override_bkg=rateints)
    assert network == []


def test_missing_reference_is_named(rateints, network, caplog):
    """Where CRDS fails, the error names the reference and the two ways to give it."""
    with pytest.raises(SossInputError) as caught:
        TinyStep().run(rateints)
    for part in ("bkg reference", "FAILED", "--override_bkg=", "CRDS_PATH", "CRDS_SERVER_URL"):
        assert part in str(caught.value)
    assert "FATAL" not in caplog.text


def test_unreadable_override(rateints):
    """An override that does not exist is named with its parameter."""
    with pytest.raises(SossInputError, match=r"nothing\.fits given as override_bkg"):
        TinyStep(override_bkg="nothing.fits").run(rateints)


def test_override_is_recorded_without_crds(rateints):
    """The name of an override is in the result, and no CRDS context is claimed."""
    result = TinyStep(override_bkg=rateints).run(rateints)
    assert result.meta.ref_file.bkg.name == os.path.abspath(rateints)
    assert result.meta.ref_file.crds.context_used is None


def test_optional_reference_is_not_demanded(rateints, network, monkeypatch, caplog):
    """An optional reference is None, silently without CRDS and with a warning if CRDS fails."""
    step = TinyStep()
    with datamodels.open(rateints) as model:
        assert step.get_optional_reference(model, "pastasoss") is None
        assert network == []
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
        monkeypatch.setenv("CRDS_PATH", os.path.join(os.getcwd(), "cache"))
        assert step.get_optional_reference(model, "pastasoss") is None
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "pastasoss" in warnings[0]


def test_optional_reference_can_be_overridden(rateints):
    """An override of an optional reference is used without CRDS, and N/A means none."""
    with datamodels.open(rateints) as model:
        step = TinyStep(override_pastasoss=rateints)
        assert step.get_optional_reference(model, "pastasoss") == os.path.abspath(rateints)
        step = TinyStep(override_pastasoss="N/A")
        assert step.get_optional_reference(model, "pastasoss") is None
        with pytest.raises(SossInputError, match="override_pastasoss"):
            TinyStep(override_pastasoss="nothing").get_optional_reference(model, "pastasoss")


def test_optional_reference_is_not_prefetched():
    """A pipeline that holds the step prefetches only what the step must have."""
    assert TinyPipeline().reference_file_types == ["bkg"]


@pytest.mark.usefixtures("pipeline_without_crds")
def test_step_in_a_pipeline(rateints, network):
    """In the place of a step of jwst's pipeline the step works in place on the model."""
    with datamodels.open(rateints) as model:
        result = TinyPipeline.call(model, steps={"plain": {"override_bkg": "N/A"}})
        assert np.all(model.data == 2)
        assert result.meta.cal_step.bkg_subtract == "COMPLETE"
    assert network == []


def test_parameters_are_not_asked_of_crds(rateints, network, monkeypatch):
    """Neither strun nor a pipeline asks CRDS for parameters of the step."""
    monkeypatch.setenv("CRDS_PATH", os.path.join(os.getcwd(), "cache"))
    assert TinyStep.get_config_from_reference(rateints) == {}
    assert TinyStep._get_config_from_parameters({"meta.telescope": "JWST"}, "jwst") == {}
    assert network == []


@pytest.mark.usefixtures("pipeline_without_crds")
@pytest.mark.parametrize("hook", ["pre_hooks", "post_hooks"])
@pytest.mark.parametrize(
    "given", ["tiny_step.TinyHook", "tiny_step.TinyStep(override_bkg='')", TinyHook, "instance"]
)
def test_log_lines_of_a_hook(rate, capsys, hook, given):
    """A hook in a pipeline of jwst gets all arguments and is heard once, also in cal_logs."""
    given = TinyHook() if given == "instance" else given
    result = PlainPipeline.call(rate, steps={"plain": {hook: [given]}})
    assert np.all(result.data == 2)
    assert lines_with("Adding 1.0", capsys.readouterr().err.splitlines()) == 1
    logs = list(result.cal_logs.plain_pipeline)
    assert lines_with("Adding 1.0", logs) == 1
    assert logging.getLogger("soss_photcal_steps").handlers == []


def test_log_lines_alone(rate, capsys):
    """Run by itself, the step is heard once, on the screen and in cal_logs."""
    result = TinyStep.call(rate, override_bkg="N/A")
    assert lines_with("Adding 1.0", capsys.readouterr().err.splitlines()) == 1
    assert lines_with("Adding 1.0", list(result.cal_logs.tiny)) == 1


@pytest.mark.usefixtures("pipeline_without_crds")
def test_log_lines_of_a_hook_of_a_single_step(rate, capsys):
    """In a hook of a step of jwst that runs by itself, the step is heard once."""
    PlainStep.call(rate, pre_hooks=[tiny()])
    assert lines_with("Adding 1.0", capsys.readouterr().err.splitlines()) == 1


def test_error_from_python_is_the_error(rate):
    """From Python, bad input raises SossInputError, which keeps what it was caused by."""
    Path("bad.fits").write_bytes(b"SIMPLE  =                    T" + b"x" * 3000)
    with pytest.raises(SossInputError, match=r"bad\.fits is not a readable FITS file") as caught:
        tiny().run("bad.fits")
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.fits", None, "does not exist"),
        ("missing.json", None, "does not exist"),
        ("empty.fits", b"", "not a readable FITS file"),
        ("text.fits", b"hello", "not a readable FITS file"),
        ("text.asdf", b"hello", "is not an ASDF file"),
        ("text.txt", b"hello", "cannot be opened"),
    ],
)
def test_unreadable_input(tmp_path, monkeypatch, name, content, sentence):
    """A file that cannot be read gives a sentence with its name."""
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(SossInputError, match=sentence) as caught:
        tiny().run(name)
    assert name in str(caught.value)


def test_no_input():
    """A step without any input says that it needs one."""
    with pytest.raises(SossInputError, match="tiny needs an input file"):
        tiny().run()


def test_complete_files_are_accepted(rateints):
    """A file that is complete, or has padding after its end, passes the check."""
    files.check_fits(rateints)
    with open(rateints, "ab") as stream:
        stream.write(bytes(2880))
    files.check_fits(rateints)


@pytest.mark.parametrize("missing", [1, 2880, 5000])
def test_any_missing_end_is_noticed(rateints, missing):
    """A file that misses a byte, a block or more of its end is refused."""
    with open(rateints, "r+b") as stream:
        stream.truncate(os.path.getsize(rateints) - missing)
    with pytest.raises(SossInputError, match="truncated"):
        files.check_fits(rateints)


def test_record_survives_saving(rateints):
    """Cards, metadata, HISTORY and cal_step are in the file and come back when it is opened."""
    step = tiny()
    with datamodels.open(rateints) as model:
        step.record(
            model,
            cal_step="bkg_subtract",
            cards=[
                ("BKGTMPL", np.int64(3), "template"),
                ("BKGERR", float("nan"), "error"),
                ("BKGLEVEL", 2.5, "level"),
            ],
            meta={"scales": np.array([1.0, 2.0]), "name": "a", "pair": (1, np.float32(2))},
            inputs=[rateints],
        )
        model.save("out.fits")
    header = fits.getheader("out.fits")
    assert header["S_BKDSUB"] == "COMPLETE"
    assert (header["BKGTMPL"], header.comments["BKGTMPL"]) == (3, "template")
    assert header["BKGERR"] == "nan"
    with datamodels.open("out.fits") as model:
        assert model.meta.background.level == 2.5
        record = model.meta.soss_photcal.tiny
        assert record.version == __version__
        assert np.array_equal(record.scales, [1.0, 2.0])
        assert record.name == "a"
        assert list(record.pair) == [1, 2.0]
        assert record.inputs[0].sha256 == files.fingerprint(rateints).sha256
    history = list(header["HISTORY"])
    assert history[0] == f"tiny COMPLETE by soss_photcal_steps {__version__}"
    assert history[1].startswith(f"input {rateints}")
    assert history[2] == f"sha256 {files.fingerprint(rateints).sha256}"


def test_record_does_not_pile_up(rateints):
    """Recording again, in the same run or after opening the saved file, adds nothing."""
    step = tiny()
    with datamodels.open(rateints) as model:
        step.record(model, status="SKIPPED", cards=[("BKGA", 1, "a"), ("BKGB", 1, "b")])
        step.record(model, cards=[("BKGA", 2, "a")], inputs=[rateints])
        model.save("one.fits")
    with datamodels.open("one.fits") as model:
        tiny().record(model, cards=[("BKGA", 3, "a"), ("BKGB", None, "")], inputs=[rateints])
        model.save("two.fits")
    one, two = fits.getheader("one.fits"), fits.getheader("two.fits")
    assert list(one["HISTORY"]) == list(two["HISTORY"])
    assert len(one["HISTORY"]) == 3
    assert [card.value for card in two.cards if card.keyword == "BKGA"] == [3]
    assert "BKGB" not in two


def test_history_keeps_other_runs(rateints):
    """HISTORY keeps what others wrote, and an earlier run that differs."""
    with datamodels.open(rateints) as model:
        model._asdf.add_history_entry("somebody else")
        tiny().record(model, status="SKIPPED")
        tiny().record(model)
        model.save("out.fits")
    history = list(fits.getheader("out.fits")["HISTORY"])
    assert history[0] == "somebody else"
    assert [line.split()[1] for line in history[1:]] == ["SKIPPED", "COMPLETE"]


def test_record_follows_its_schema(rateints):
    """A record has the form that the installed schema describes."""
    with datamodels.open(rateints) as model:
        tiny().record(model, inputs=[rateints], meta={"more": 1})
        record = model.meta.soss_photcal.tiny.instance
    schema = asdf.schema.load_schema(f"{SCHEMA_URI_PREFIX}record-1.0.0")
    asdf.schema.validate(record, schema=schema)
    with pytest.raises(asdf.ValidationError):
        asdf.schema.validate({**record, "status": "DONE"}, schema=schema)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"status": "DONE"}, "status"), ({"cards": [("lower", 1, "")]}, "not a FITS keyword")],
)
def test_record_refuses_nonsense(rate, arguments, sentence):
    """A status or a keyword that does not exist is refused."""
    with datamodels.open(rate) as model, pytest.raises(ValueError, match=sentence):
        tiny().record(model, **arguments)


def test_fingerprint_methods(tmp_path):
    """A large file is sampled as documented, and a change in a sample is seen."""
    path = tmp_path / "large"
    content = np.random.default_rng(1).bytes(20 * 2**20)
    path.write_bytes(content)
    assert files.fingerprint(path).method == "full"
    sampled = files.fingerprint(path, "sampled")
    assert (sampled.method, sampled.size) == ("sampled", len(content))
    assert sampled.sha256 != files.fingerprint(path, "full").sha256
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert files.fingerprint(path, "sampled").sha256 != sampled.sha256
    assert files.fingerprint(path, "none").sha256 == ""
    with pytest.raises(SossInputError, match="cannot be read"):
        files.fingerprint(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("shape", "name", "product"),
    [
        ((8, 8), "jw1_nis_rate.fits", "jw1_nis_bsub.fits"),
        ((2, 8, 8), "jw1_nis_rateints.fits", "jw1_nis_bsubints.fits"),
        ((1, 8, 8), "star.fits", "star_bsubints.fits"),
        ((8, 8), "jw1_nis_sossmask.fits", "jw1_nis_bsub.fits"),
    ],
)
def test_file_names(tmp_path, monkeypatch, shape, name, product):
    """The product has one ending, chosen by its kind, in place of the input's."""
    monkeypatch.chdir(tmp_path)
    with (datamodels.CubeModel if len(shape) == 3 else datamodels.ImageModel)(shape) as model:
        model.save(name)
    step = tiny(save_results=True)
    for _ in range(2):
        step.run(name)
        assert sorted(os.listdir()) == sorted([name, product])


def test_endings_do_not_pile_up(rateints):
    """A second step run on a product replaces the ending."""
    tiny(save_results=True).run(rateints)
    tiny(save_results=True, output_dir="again").run("jw1_nis_bsubints.fits")
    assert os.listdir("again") == ["jw1_nis_bsubints.fits"]


def test_one_step_for_many_files(rateints):
    """A step that is run on several files names each product after its own input."""
    os.mkdir("far")
    os.rename(rateints, f"far/{rateints}")
    Path("jw2_nis_rateints.fits").write_bytes(Path(f"far/{rateints}").read_bytes())
    step = tiny(save_results=True)
    step.run(f"far/{rateints}")
    step.run("jw2_nis_rateints.fits")
    assert {"jw1_nis_bsubints.fits", "jw2_nis_bsubints.fits"} < set(os.listdir())


def test_suffix_of_the_user_is_kept(rateints):
    """A suffix that the user gave is taken as it is, in a run and outside of one."""
    step = tiny(save_results=True, suffix="mine")
    result = step.run(rateints)
    assert os.path.exists("jw1_nis_mine.fits")
    os.remove("jw1_nis_mine.fits")
    step.save_model(result)
    assert os.path.exists("jw1_nis_mine.fits")


@pytest.mark.parametrize("way", ["name", "link", "reference", "model"])
def test_input_is_never_overwritten(rateints, way):
    """A product that would replace an input is refused, and the input is as it was."""
    target = "jw1_nis_bsubints.fits"
    given, arguments = rateints, {}
    if way == "link":
        os.symlink(rateints, target)
    else:
        os.rename(rateints, target)
        given = target
    if way == "reference":
        given = "other_rateints.fits"
        Path(given).write_bytes(Path(target).read_bytes())
        arguments = {"override_bkg": target, "output_file": "jw1_nis.fits"}
    before = Path(target).read_bytes()
    step = tiny(save_results=True, **arguments)
    if way == "model":
        given = datamodels.open(given)
    with pytest.raises(SossInputError, match="would overwrite the input"):
        step.run(given)
    if way == "model":
        given.close()
    assert Path(target).read_bytes() == before


def test_writing_is_all_or_nothing(rateints, monkeypatch):
    """Where writing fails half-way, an earlier product stays and nothing is left behind."""
    tiny(save_results=True).run(rateints)
    before = Path("jw1_nis_bsubints.fits").read_bytes()

    def fail(self, model, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TinyStep, "write_product", fail)
    with pytest.raises(SossInputError, match=r"bsubints\.fits cannot be written: No space left"):
        tiny(save_results=True).run(rateints)
    assert Path("jw1_nis_bsubints.fits").read_bytes() == before
    assert sorted(os.listdir()) == ["jw1_nis_bsubints.fits", rateints]


def test_product_knows_its_name(rateints):
    """The product's header has the final file name, not the temporary one."""
    tiny(save_results=True).run(rateints)
    assert fits.getval("jw1_nis_bsubints.fits", "FILENAME") == "jw1_nis_bsubints.fits"


def test_side_product(rateints):
    """A further product gets the input's name with its own ending, or is not there at all."""
    step = tiny()
    step.run(rateints)
    with step.side_product("sossmask", ".png") as path:
        Path(path).write_bytes(b"picture")
        assert not os.path.exists("jw1_nis_sossmask.png")
    assert Path("jw1_nis_sossmask.png").read_bytes() == b"picture"
    with suppress(RuntimeError), step.side_product("sossplot", ".png") as path:
        Path(path).write_bytes(b"half")
        raise RuntimeError
    assert sorted(os.listdir()) == ["jw1_nis_rateints.fits", "jw1_nis_sossmask.png"]


def test_model_of_the_caller_is_not_changed(rateints):
    """A model that the caller keeps is copied, not edited."""
    with datamodels.open(rateints) as model:
        result = tiny().run(model)
        assert np.all(model.data == 1)
        assert np.all(result.data == 2)
