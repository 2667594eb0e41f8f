"""Run ``crds certify`` on a reference file, with no server and no cache of the user's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from soss_photcal_steps.errors import SossInputError

__all__ = ["CertifyResult", "certify"]

_SECONDS = 300
_CONTEXT = "jwst_0001.pmap"
# The smallest set of rules in which a reference file of NIRISS has its place, and the keys that
# it is selected by in the operational rules (jwst documentation; crds, niriss_bkg.rmap).
_MATCH_KEYS = {
    "photom": "'META.INSTRUMENT.DETECTOR', 'META.EXPOSURE.TYPE'",
    "bkg": "'META.EXPOSURE.TYPE', 'META.INSTRUMENT.DETECTOR', 'META.INSTRUMENT.FILTER', "
    "'META.INSTRUMENT.PUPIL'",
}
_MAPPINGS = {
    _CONTEXT: """header = {
    'derived_from' : 'made for one check',
    'mapping' : 'PIPELINE',
    'name' : 'jwst_0001.pmap',
    'observatory' : 'JWST',
    'parkey' : ('META.INSTRUMENT.NAME',),
    'sha1sum' : '',
}

selector = {
    'NIRISS' : 'jwst_niriss_0001.imap',
}
""",
    "jwst_niriss_0001.imap": """header = {
    'derived_from' : 'made for one check',
    'instrument' : 'NIRISS',
    'mapping' : 'INSTRUMENT',
    'name' : 'jwst_niriss_0001.imap',
    'observatory' : 'JWST',
    'parkey' : ('REFTYPE',),
    'sha1sum' : '',
}

selector = {
    '<kind>' : 'jwst_niriss_<kind>_0001.rmap',
}
""",
    "jwst_niriss_<kind>_0001.rmap": """header = {
    'classes' : ('Match', 'UseAfter'),
    'derived_from' : 'made for one check',
    'filekind' : '<KIND>',
    'instrument' : 'NIRISS',
    'mapping' : 'REFERENCE',
    'name' : 'jwst_niriss_<kind>_0001.rmap',
    'observatory' : 'JWST',
    'parkey' : ((<keys>),
                ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME')),
    'sha1sum' : '',
}

selector = Match({
})
""",
}
# Run by the new process: complete the checksums of the mappings, certify like the command, and
# insert the file into the rules.  Certify would do the last by itself, but always in /tmp and
# under the same name, where it meets other users and other checks.
_PROGRAM = """
import glob, os, sys
from crds.refactoring import refactor
from crds.refactoring.checksum import update_checksum
mappings = os.path.join(os.environ["CRDS_PATH"], "mappings", "jwst")
for name in glob.glob(os.path.join(mappings, "*")):
    update_checksum(name)
from crds.certify.certify import CertifyScript
errors = CertifyScript(["crds.certify", "--dont-check-rmap-updates", sys.argv[1]])()
if not errors:
    rules = sys.argv[2]
    try:
        refactor.rmap_insert_references(
            os.path.join(mappings, rules), os.path.abspath(rules), [sys.argv[1]],
            observatory="jwst",
        )
    except Exception as problem:
        text = " ".join(str(problem).split())
        print("CRDS - ERROR - the file cannot be inserted into the rules:", text)
"""
_MESSAGE = re.compile(r"^CRDS - (ERROR|WARNING) -\s*(.*)$", re.MULTILINE)
_COUNT = re.compile(r"^CRDS - INFO -\s*(\d+) errors?$", re.MULTILINE)


@dataclass(frozen=True)
class CertifyResult:
    """What ``crds certify`` said.

    Attributes
    ----------
    errors, warnings : tuple of str
        First line of each message.
    version : str
        Version of crds.
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    version: str


def certify(path: str | os.PathLike[str], kind: str = "photom") -> CertifyResult:
    """Run ``crds certify`` on a copy of a reference file.

    It runs in a process of its own, in a folder of its own with a cache that is made on the
    spot, so that logging, environment, working folder and cache of the caller are not touched
    and nothing is asked of a server.

    Parameters
    ----------
    path : path
        The file.
    kind : {"photom", "bkg"}, optional
        Type of the reference.

    Returns
    -------
    CertifyResult
        Errors and warnings.  The warning that there is no file to compare with is left out,
        because the rules that are made here are empty.

    Raises
    ------
    SossInputError
        If crds could not be run.
    """
    from importlib.metadata import version

    with tempfile.TemporaryDirectory(prefix="soss_certify_") as folder:
        cache = Path(folder) / "cache"
        _write_cache(cache, kind)
        work = Path(folder) / "work"
        work.mkdir()
        # crds takes the type of a file from its ending, and dislikes blanks.
        name = re.sub(r"[^\w.-]", "_", Path(path).name)
        shutil.copyfile(path, work / name)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, f"./{name}", f"jwst_niriss_{kind}_0001.rmap"],
                cwd=work, env=_environment(cache, work), capture_output=True, text=True,
                errors="replace", timeout=_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SossInputError(f"crds certify could not be run: {error}.") from error
    output = done.stdout + "\n" + done.stderr
    count = _COUNT.search(output)
    if count is None:
        last = (output.strip().splitlines() or ["no output"])[-1]
        raise SossInputError(f"crds certify did not finish: {last}.")
    messages = _MESSAGE.findall(output)
    errors = tuple(_short(text) for kind, text in messages if kind == "ERROR")
    warnings = tuple(
        _short(text)
        for kind, text in messages
        if kind == "WARNING" and "No comparison reference" not in text
    )
    if len(errors) < int(count[1]):
        errors += (f"{count[1]} errors in all, see crds certify",)
    return CertifyResult(errors, warnings, version("crds"))


def _write_cache(cache: Path, kind: str) -> None:
    config, mappings = cache / "config" / "jwst", cache / "mappings" / "jwst"
    config.mkdir(parents=True)
    mappings.mkdir(parents=True)
    settings = {
        "observatory": "jwst",
        "operational_context": _CONTEXT,
        "latest_context": _CONTEXT,
        "edit_context": _CONTEXT,
        "bad_files": "",
        "bad_files_list": [],
        "force_remote_mode": False,
        "last_synced": "2024-01-01 00:00:00",
    }
    (config / "server_config").write_text(repr(settings))
    for name, text in _MAPPINGS.items():
        for mark, word in (("kind", kind), ("KIND", kind.upper()), ("keys", _MATCH_KEYS[kind])):
            name, text = name.replace(f"<{mark}>", word), text.replace(f"<{mark}>", word)
        (mappings / name).write_text(text)


def _environment(cache: Path, work: Path) -> dict[str, str]:
    """Make an environment in which crds knows this cache and no server."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CRDS_")}
    environment["CRDS_PATH"] = str(cache)
    # crds knows by this name that there is none.
    environment["CRDS_SERVER_URL"] = "https://jwst-serverless-mode.stsci.edu"
    environment["CRDS_OBSERVATORY"] = "jwst"
    environment["TMPDIR"] = str(work)
    return environment


def _short(text: str) -> str:
    """Leave out which file it was."""
    return text.partition(" ::  ")[2].strip() or text.strip()
