"""Good files to damage, made once."""

import pytest
from damaging.subjects import make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Give a folder with a good file for every reader."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder
