"""Fixtures that several tests share."""

import os
import socket

import numpy as np
import pytest

# Tests must not depend on the CRDS set-up of whoever runs them. crds reads some of these when it
# is imported, which nothing above does.
for _name in [name for name in os.environ if name.startswith(("CRDS_", "STPIPE_"))]:
    del os.environ[_name]
os.environ["CRDS_DEFAULT_CACHE"] = "/nonexistent/crds"


@pytest.fixture
def rateints(tmp_path, monkeypatch):
    """Give a small rateints file, by its name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return write_model("jw1_nis_rateints.fits", (2, 8, 8))


@pytest.fixture
def rate(tmp_path, monkeypatch):
    """Give a small rate file, by its name, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return write_model("jw1_nis_rate.fits", (8, 8))


@pytest.fixture
def pipeline_without_crds(monkeypatch):
    """Let a pipeline of jwst run without CRDS, of which it asks parameters and context."""
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")
    monkeypatch.setattr("stpipe.crds_client.get_context_used", lambda observatory: "none.pmap")


@pytest.fixture
def network(monkeypatch):
    """Give the list of addresses that are asked for over the network; nothing gets through."""
    addresses = []

    def refuse(*args, **kwargs):
        addresses.append(args)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return addresses


def write_model(name, shape):
    """Write a SOSS file of a given shape, filled with ones."""
    from stdatamodels.jwst import datamodels

    kind = datamodels.CubeModel if len(shape) == 3 else datamodels.ImageModel
    with kind(np.ones(shape, "f4")) as model:
        model.meta.telescope = "JWST"
        model.meta.instrument.name = "NIRISS"
        model.meta.exposure.type = "NIS_SOSS"
        model.meta.observation.date = "2024-01-01"
        model.meta.observation.time = "00:00:00"
        model.save(name)
    return name
