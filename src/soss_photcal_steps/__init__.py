"""Plug-in steps for the JWST pipeline that calibrate the photometry of NIRISS SOSS.

Importing the package imports neither jwst nor numpy: ``strun`` and every program that
opens an ASDF file load it to learn what it offers, and must not pay for what they do not use.
The steps are imported when they are first asked for.
"""

from importlib import import_module

from soss_photcal_steps.integration import get_steps

__version__ = "0.1.0"

# Names that users write, and the modules that define them.
_EXPORTS = {
    "SossInputError": "soss_photcal_steps.errors",
    "SossPhotcalPipeline": "soss_photcal_steps.photcal.photcal_pipeline",
    "SossPhotomCombineStep": "soss_photcal_steps.combine.combine_step",
    "SossPhotomCorrectionModel": "soss_photcal_steps.models",
    "SossRatioModel": "soss_photcal_steps.models",
    "SossRatioStep": "soss_photcal_steps.ratio.ratio_step",
    "SossSpec2Pipeline": "soss_photcal_steps.pipeline",
    "SossStep": "soss_photcal_steps.step",
    "SossTemplateBackgroundStep": "soss_photcal_steps.background.background_step",
    "SossTemplateBuildStep": "soss_photcal_steps.template.template_step",
}

__all__ = ["__version__", "get_steps", *_EXPORTS]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
