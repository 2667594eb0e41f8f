import re

import pytest

from soss_photcal_steps.cli import main


def test_demo_recovers_the_truth(tmp_path, capsys, monkeypatch):
    """The demo subtracts each simulated background to 3 per cent and shows truth and result."""
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "out", "--background", "--nints", "3", "--seed", "5"]) == 0
    table = (tmp_path / "out" / "truth_and_result.txt").read_text()
    assert table in capsys.readouterr().out
    differences = [float(d) for d in re.findall(r"([+-]\d+\.\d+) %$", table, re.M)]
    assert len(differences) == 6
    assert max(map(abs, differences)) < 3.0
    for star in ("bright", "mid", "faint"):
        picture = (tmp_path / "out" / f"demo_{star}_sossbkg.png").read_bytes()
        assert picture.startswith(b"\x89PNG")


def test_demo_overwrites_nothing(tmp_path, capsys):
    """A folder that holds something is refused with one sentence and left as it is."""
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path) in error and "exists already" in error
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("count", ["0", "-3"])
def test_demo_needs_an_integration(tmp_path, capsys, count):
    """No integration at all is refused with one sentence, before anything is written."""
    assert main(["demo", str(tmp_path / "new"), "--background", "--nints", count]) == 1
    assert "at least one integration" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_version_is_the_package_version(capsys):
    """`soss-photcal --version` prints the version of the package."""
    from soss_photcal_steps import __version__

    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out
