"""Entry points: what the package tells stpipe and asdf that it has.

Nothing heavy is imported here, because every ``strun`` and every use of asdf loads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["SCHEMA_URI_PREFIX", "get_resource_mappings", "get_steps"]

#: A schema ``<name>.yaml`` of this package has the id ``SCHEMA_URI_PREFIX + "<name>"``.
SCHEMA_URI_PREFIX = "asdf://soss-photcal-steps/schemas/"


def get_steps() -> list[tuple[str, str | None, bool]]:
    """List the steps for stpipe (entry point group ``stpipe.steps``).

    Returns
    -------
    list of tuple
        For each step the dotted name of its class, its alias for ``strun``, and whether it
        is a pipeline.
    """
    return [
        (
            "soss_photcal_steps.background.background_step.SossTemplateBackgroundStep",
            "soss_template_bkg",
            False,
        ),
        ("soss_photcal_steps.pipeline.SossSpec2Pipeline", "soss_spec2", True),
        ("soss_photcal_steps.ratio.ratio_step.SossRatioStep", "soss_ratio", False),
        ("soss_photcal_steps.photcal.photcal_pipeline.SossPhotcalPipeline", "soss_photcal", True),
        (
            "soss_photcal_steps.combine.combine_step.SossPhotomCombineStep",
            "soss_photom_combine",
            False,
        ),
        (
            "soss_photcal_steps.template.template_step.SossTemplateBuildStep",
            "soss_template_build",
            False,
        ),
    ]


def get_resource_mappings() -> list[Mapping[str, bytes]]:
    """List the schemas for asdf (entry point group ``asdf.resource_mappings``).

    Returns
    -------
    list of mapping
        One mapping from the URI of a schema to its content; none if no schema is installed.
    """
    folder = os.path.join(os.path.dirname(__file__), "schemas")
    if not os.path.isdir(folder):
        return []
    from asdf.resource import DirectoryResourceMapping

    return [DirectoryResourceMapping(folder, SCHEMA_URI_PREFIX, filename_pattern="*.yaml")]
