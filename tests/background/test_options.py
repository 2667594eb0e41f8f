"""Settings of the fit."""

import dataclasses

import pytest

from soss_photcal_steps.background.options import FitOptions


def test_settings_cannot_be_changed_and_are_not_shared():
    """The settings are frozen, equal when alike, and can be varied one at a time."""
    options = FitOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.template = 3
    assert FitOptions() == options
    assert dataclasses.replace(options, template=3).template == 3
    assert options.template is None
    assert options.combine == "auto"


def test_every_setting_is_documented():
    """Each field is named in the docstring, which is what users read."""
    for field in dataclasses.fields(FitOptions):
        assert field.name in FitOptions.__doc__, field.name
