"""Synthetic SOSS scenes with known truth.

`make_library` makes background templates, `simulate` a whole exposure in memory and
`make_exposure` one whose integrations are made when they are asked for.  The writers are
in `soss_photcal_steps.simulate.write`, apart, because importing the data models takes a second.
"""

from soss_photcal_steps.simulate.library import TemplateLibrary, make_library
from soss_photcal_steps.simulate.params import SceneParams, Truth
from soss_photcal_steps.simulate.scene import Exposure, Scene, make_exposure, simulate
from soss_photcal_steps.simulate.wings import WING_VARIANTS, Wing

__all__ = [
    "WING_VARIANTS",
    "Exposure",
    "Scene",
    "SceneParams",
    "TemplateLibrary",
    "Truth",
    "Wing",
    "make_exposure",
    "make_library",
    "simulate",
]
