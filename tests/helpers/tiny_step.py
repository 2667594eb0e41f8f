"""Small steps and a pipeline that show how the base class behaves; not a test itself."""

import logging

from jwst.stpipe import Pipeline, Step

from soss_photcal_steps.step import SossStep

log = logging.getLogger("soss_photcal_steps.tiny")


class TinyStep(SossStep):
    """Add a number to the data."""

    class_alias = "tiny"
    spec = """
    add = float(default=1.0)  # The number, DN/s
    """
    reference_file_types = ["bkg"]  # noqa: RUF012 (as every step of jwst has it)
    optional_reference_types = ("pastasoss",)

    def process(self, input, *_):  # noqa: A002 (the name in stpipe)
        """Add the number; the further arguments are those of a hook."""
        model = self.prepare_output(input)
        reference = [self.get_reference_file(model, kind) for kind in self.reference_file_types]
        optional = self.get_optional_reference(model, "pastasoss")
        log.info("Adding %s with %s and %s", self.add, reference, optional)
        model.data += self.add
        self.record(
            model,
            cal_step="bkg_subtract",
            cards=[("BKGADDED", self.add, "[DN/s] number that was added")],
            inputs=[input] if isinstance(input, str) else [],
        )
        return model


class TinyHook(TinyStep):
    """The tiny step without a reference that it must have."""

    class_alias = "tiny_hook"
    reference_file_types = []  # noqa: RUF012 (as every step of jwst has it)


class PlainStep(Step):
    """A step of somebody else."""

    class_alias = "plain"

    def process(self, input, *_):  # noqa: A002 (the name in stpipe)
        """Give the input back."""
        return self.prepare_output(input)


class PlainPipeline(Pipeline):
    """A pipeline of somebody else."""

    class_alias = "plain_pipeline"
    step_defs = {"plain": PlainStep}  # noqa: RUF012 (as every pipeline of jwst has it)

    def process(self, input):  # noqa: A002 (the name in stpipe)
        """Run the step with two arguments, as ``bkg_subtract`` is run."""
        return self.plain.run(input, ["members"])


class TinyPipeline(PlainPipeline):
    """A pipeline in which the tiny step stands in the place of another."""

    class_alias = "tiny_pipeline"
    step_defs = {"plain": TinyStep}  # noqa: RUF012 (as every pipeline of jwst has it)
