"""What makes an earlier result unfit to be taken again."""

from soss_photcal_steps.photcal.photcal_pipeline import SossPhotcalPipeline, _parameters
from soss_photcal_steps.photcal.state import State


def of(step, **given):
    """Give the parameters of a step of the pipeline that count."""
    config, _ = SossPhotcalPipeline.build_config(None, steps=given)
    return _parameters(getattr(SossPhotcalPipeline.from_config_section(config), step))


def test_overrides_and_contents_of_files_count(tmp_path, pipeline_without_crds):
    """Another reference, or another table under the same name, means to make it again."""
    plain = of("soss_spec2")
    assert of("soss_spec2") == plain
    over = {"steps": {"photom": {"override_photom": "x.fits"}}}
    assert of("soss_spec2", soss_spec2=over) != plain
    table = tmp_path / "standards.yaml"
    table.write_text("stars: []")
    before = of("soss_ratio", soss_ratio={"standards": str(table)})
    assert of("soss_ratio", soss_ratio={"standards": str(table)}) == before
    table.write_text("stars: [{name: X}]")
    assert of("soss_ratio", soss_ratio={"standards": str(table)}) != before


def test_a_state_takes_over_what_another_knows(tmp_path):
    """The states of single observations become that of the run, stage by stage."""
    product = tmp_path / "a.fits"
    product.write_text("a")
    one, other = State(str(tmp_path / "one.json")), State(str(tmp_path / "other.json"))
    for stage in ("ratio of 1/1", "ratio of 1/2"):
        other.done(stage, "key", [str(product)])
    one.take(other, ["ratio of 1/1", "ratio of 9/9"])
    one.save()
    again = State(str(tmp_path / "one.json"))
    assert again.products("ratio of 1/1", "key") == [str(product)]
    assert again.products("ratio of 1/2", "key") is None
    one.take(other)
    assert one.products("ratio of 1/2", "key") == [str(product)]
