"""A small CRDS cache on disk that serves simulated references, with no server.

It holds a pipeline context, the rules for NIRISS and one set of rules per type of
reference.  With the environment of `CrdsCache.environment` everything that asks CRDS works as
at home: steps get their references, pipelines fetch them in advance and record the context.
`insert_reference` adds a file, such as a new photom file, under a new context, by the same code
of crds that the operators use; whether an observation gets it is then decided by its header.

Serial numbers begin at 9001, so that no product can be mistaken for one of a real context.
"""

from __future__ import annotations

import ast
import logging
import os
import pprint
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import asdf
from astropy.io import fits
from crds.core import rmap
from crds.core.exceptions import CrdsError
from crds.refactoring import refactor

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.files import atomic_path

__all__ = ["CrdsCache", "insert_reference", "open_crds_cache", "write_crds_cache"]

_FIRST = 9001
_CONFIG = "config/jwst/server_config"
_EXP_TYPE, _SUBARRAY = "META.EXPOSURE.TYPE", "META.SUBARRAY.NAME"
_DETECTOR = "META.INSTRUMENT.DETECTOR"
# What a reference is selected by, apart from the date.
_MATCH_KEYS = {
    "bkg": (_EXP_TYPE, _SUBARRAY),
    "flat": (_EXP_TYPE, _SUBARRAY),
    "pastasoss": (_EXP_TYPE,),
    "photom": (_DETECTOR, _EXP_TYPE),
    "speckernel": (_EXP_TYPE,),
    "specprofile": (_EXP_TYPE, _SUBARRAY),
    "specwcs": (_EXP_TYPE,),
}
# Rules that do not come from a file: the pipeline extracts no spectrum from full frames, but
# asks for the references before it knows.
_FIXED_CASES = {"specprofile": ("('NIS_SOSS', 'FULL')",)}
# Other types that steps of calwebb_spec2 and its kin ask for; no SOSS observation needs them.
_NOT_APPLICABLE = (
    "abvegaoffset", "apcorr", "area", "barshadow", "camera", "chromcorr", "collimator", "cubepar",
    "dark", "dflat", "disperser", "distortion", "emicorr", "extract1d", "fflat", "filteroffset",
    "fore", "fpa", "fringe", "fringefreq", "gain", "ifufore", "ifupost", "ifuslicer", "ipc",
    "linearity", "mask", "mrsptcorr", "mrsxartcorr", "msa", "msaoper", "nrm", "ote", "pathloss",
    "persat", "pictureframe", "psf", "psfmask", "readnoise", "refpix", "regions", "reset", "rscd",
    "saturation", "sflat", "sirskernel", "spectrace", "superbias", "throughput", "trapdensity",
    "trappars", "wavecorr", "wavelengthrange", "wavemap", "wfssbkg",
)  # fmt: skip
_PARAMETERS_OF = (
    "adaptivetracemodelstep", "assignwcsstep", "backgroundstep", "badpixselfcalstep",
    "barshadowstep", "cleanflickernoisestep", "cubebuildstep", "extract1dstep", "extract2dstep",
    "flatfieldstep", "fringestep", "imprintstep", "masterbackgroundmosstep",
    "masterbackgroundstep", "msaflagopenstep", "nscleanstep", "outlierdetectionstep",
    "pathlossstep", "photomstep", "pixelreplacestep", "resamplespecstep", "residualfringestep",
    "sourcetypestep", "spec2pipeline", "spec3pipeline", "straylightstep", "targcentroidstep",
    "tso3pipeline", "wavecorrstep", "wfsscontamstep", "whitelightstep",
)  # fmt: skip


@dataclass(frozen=True)
class CrdsCache:
    """A cache and the context that is to be used.

    Attributes
    ----------
    folder : Path
        Where it is.
    context : str
        Name of the pipeline context, such as ``jwst_9001.pmap``.
    """

    folder: Path
    context: str

    def environment(self) -> dict[str, str]:
        """Give the environment variables with which jwst uses this cache.

        The address of the server is the one that tells crds that there is none; it stands
        here because it overrides a real one that the user may have set.

        Returns
        -------
        dict of str to str
            Name to value.
        """
        return {
            "CRDS_PATH": str(self.folder),
            "CRDS_CONTEXT": self.context,
            "CRDS_SERVER_URL": "https://jwst-serverless.stsci.edu",
        }

    @property
    def mappings(self) -> Path:
        """Folder of the rules."""
        return self.folder / "mappings" / "jwst"

    @property
    def references(self) -> Path:
        """Folder of the references."""
        return self.folder / "references" / "jwst" / "niriss"


def write_crds_cache(folder: str | Path, *packs: Mapping[str, Path]) -> CrdsCache:
    """Make a cache that serves references.

    Parameters
    ----------
    folder : str or Path
        The cache; it must not exist yet, or be empty.
    *packs : mapping of str to Path
        Type to file, such as `references.ReferencePack`; several, if they are for different
        subarrays.  Of files for the same data the first one counts.  The files are linked where
        possible, and copied otherwise.

    Returns
    -------
    CrdsCache
        The cache with its first context.

    Raises
    ------
    SossInputError
        If the folder is not empty, its path cannot be used by crds, or a file cannot be read or
        has a type that the cache does not know.
    """
    folder = Path(folder).absolute()
    if "n/a" in str(folder / "references").lower():
        raise SossInputError(
            f"The path {folder} holds the letters 'n/a', which stpipe takes for 'no reference'; "
            "choose another folder."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SossInputError(f"{folder} is not an empty folder; a new cache needs one.")
    for pack in packs:
        for kind in pack:
            _check_kind(kind)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # All is made beside its final place, so that a cache is either whole or not there.
    with atomic_path(folder) as temporary:
        cache = CrdsCache(Path(temporary), f"jwst_{_FIRST}.pmap")
        cache.mappings.mkdir(parents=True)
        cache.references.mkdir(parents=True)
        for kind in _MATCH_KEYS:
            _write_rules(cache, kind, [Path(pack[kind]) for pack in packs if kind in pack])
        imap = {kind: f"jwst_niriss_{kind}_{_FIRST}.rmap" for kind in _MATCH_KEYS}
        imap |= dict.fromkeys(_NOT_APPLICABLE, "N/A")
        imap |= {f"pars-{step}": "N/A" for step in _PARAMETERS_OF}
        _write_mapping(
            cache, f"jwst_niriss_{_FIRST}.imap", pprint.pformat(imap),
            instrument="NIRISS", mapping="INSTRUMENT", parkey=("REFTYPE",),
        )  # fmt: skip
        _write_mapping(
            cache, cache.context, repr({"NIRISS": f"jwst_niriss_{_FIRST}.imap"}),
            mapping="PIPELINE", parkey=("META.INSTRUMENT.NAME",),
        )  # fmt: skip
        _write_config(cache)
        if folder.is_dir():
            folder.rmdir()
    return CrdsCache(folder, cache.context)


def open_crds_cache(folder: str | Path) -> CrdsCache:
    """Open a cache that `write_crds_cache` has made, with its newest context.

    Parameters
    ----------
    folder : str or Path
        The cache.

    Returns
    -------
    CrdsCache
        The cache.

    Raises
    ------
    SossInputError
        If there is no such cache.
    """
    folder = Path(folder).absolute()
    try:
        config = ast.literal_eval((folder / _CONFIG).read_text())
        return CrdsCache(folder, config["operational_context"])
    except (OSError, ValueError, SyntaxError, KeyError, TypeError) as error:
        raise SossInputError(f"{folder} is not a CRDS cache of simulated references.") from error


def insert_reference(cache: CrdsCache, file: str | Path) -> CrdsCache:
    """Add a reference to a cache, under a new context.

    The file is copied under the next free name.  Its header decides which data get it: those
    from its use-after date on, until a later file takes over.  The old context stays as it
    was.  A background file serves the subarray in its header only.

    Parameters
    ----------
    cache : CrdsCache
        The cache; the context of this argument is what the new one is derived from.
    file : str or Path
        The reference.

    Returns
    -------
    CrdsCache
        The same cache with the new context.

    Raises
    ------
    SossInputError
        If the file cannot be read or has a type that the cache does not know.
    """
    file = Path(file)
    kind = str(_header(file).get("REFTYPE", "")).lower()
    _check_kind(kind, file)
    imap_name = _selector(cache, cache.context)["NIRISS"]
    rmap_name = _selector(cache, imap_name)[kind]
    rmap_old = cache.mappings / rmap_name
    reference = _next_name(cache.references, f"jwst_niriss_{kind}_", file.suffix)
    with atomic_path(reference) as temporary:
        shutil.copyfile(file, temporary)
    rules = _next_name(cache.mappings, f"jwst_niriss_{kind}_", ".rmap")
    try:
        with atomic_path(rules) as temporary, _calm_crds():
            refactor.rmap_insert_references(
                str(rmap_old), temporary, [str(reference)], observatory="jwst"
            )
            _complete(temporary, derived_from=rmap_name)
    except CrdsError as error:
        reference.unlink()
        raise SossInputError(f"crds cannot insert {file}: {_first_line(error)}") from error
    imap = _next_name(cache.mappings, "jwst_niriss_", ".imap")
    _derive(cache, imap_name, imap, rmap_name, rules.name)
    pmap = _next_name(cache.mappings, "jwst_", ".pmap")
    _derive(cache, cache.context, pmap, imap_name, imap.name)
    new = CrdsCache(cache.folder, pmap.name)
    _write_config(new)
    return new


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_kind(kind: str, file: Path | None = None) -> None:
    if kind not in _MATCH_KEYS:
        whose = f" of {file}" if file else ""
        raise SossInputError(
            f"The cache has no rules for references of type {kind!r}{whose}; it knows "
            f"{', '.join(_MATCH_KEYS)}."
        )


def _header(file: Path) -> dict[str, str]:
    """Read type, use-after date and subarray of a reference."""
    try:
        if file.suffix == ".asdf":
            with asdf.open(file, lazy_load=True) as tree:
                meta = tree["meta"]
                return {
                    "REFTYPE": meta["reftype"],
                    "USEAFTER": str(meta["useafter"]),
                    "SUBARRAY": meta.get("subarray", {}).get("name", "N/A"),
                }
        header = fits.getheader(file)
        return {key: header[key] for key in ("REFTYPE", "USEAFTER", "SUBARRAY") if key in header}
    except (OSError, ValueError, KeyError) as error:
        raise SossInputError(f"The reference {file} cannot be read: {error}.") from error


def _next_name(folder: Path, start: str, end: str) -> Path:
    """Give the path with the next serial number that is free in a folder."""
    pattern = re.compile(re.escape(start) + r"(\d{4})" + re.escape(end))
    found = [pattern.fullmatch(path.name) for path in folder.iterdir()]
    serial = max([int(match[1]) for match in found if match], default=_FIRST - 1) + 1
    return folder / f"{start}{serial:04d}{end}"


def _place(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)


def _case(kind: str, subarray: str) -> str:
    """Write what data have to match to get a reference, as it stands in its rules."""
    values = {_EXP_TYPE: "NIS_SOSS", _SUBARRAY: subarray, _DETECTOR: "NIS"}
    match = tuple(values[key] for key in _MATCH_KEYS[kind])
    # A single key is written as a plain string.
    return repr(match if len(match) > 1 else match[0])


def _write_rules(cache: CrdsCache, kind: str, files: list[Path]) -> None:
    """Put files of one type into the cache and write the rules that select them."""
    cases: dict[str, dict[str, str]] = {}
    for file in files:
        header = _header(file)
        subarray = str(header.get("SUBARRAY", "N/A"))
        subarrays = [subarray]
        if kind == "bkg" and subarray == "SUBSTRIP256":
            # The pipeline cuts the templates for SUBSTRIP96 from those of 256 rows.
            subarrays.append("SUBSTRIP96")
        date = str(header["USEAFTER"]).replace("T", " ")[:19]
        dates = [cases.setdefault(_case(kind, name), {}) for name in subarrays]
        if date in dates[0]:
            continue
        target = _next_name(cache.references, f"jwst_niriss_{kind}_", file.suffix)
        _place(file, target)
        for files_by_date in dates:
            files_by_date.setdefault(date, target.name)
    lines = [f"    {case} : 'N/A',\n" for case in _FIXED_CASES.get(kind, ()) if case not in cases]
    for case, files_by_date in cases.items():
        entries = "".join(f"        {date!r} : {name!r},\n" for date, name in files_by_date.items())
        lines.append(f"    {case} : UseAfter({{\n{entries}    }}),\n")
    _write_mapping(
        cache, f"jwst_niriss_{kind}_{_FIRST}.rmap", "Match({\n" + "".join(lines) + "})",
        classes=("Match", "UseAfter"), filekind=kind.upper(), filetype=kind.upper(),
        instrument="NIRISS", mapping="REFERENCE",
        parkey=(_MATCH_KEYS[kind], ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")),
    )  # fmt: skip


def _write_mapping(cache: CrdsCache, name: str, selector: str, **header: object) -> None:
    header |= {
        "derived_from": "made by soss_photcal_steps",
        "name": name,
        "observatory": "JWST",
        "sha1sum": "",
    }
    path = cache.mappings / name
    path.write_text(f"header = {pprint.pformat(header)}\n\nselector = {selector}\n")
    _complete(path)


def _complete(path: str | Path, **header: str) -> None:
    """Set fields of a mapping's header, its name and its checksum, in place."""
    with _calm_crds():
        mapping = rmap.Mapping.from_file(str(path), ignore_checksum=True)
        mapping.header.update(header, name=Path(path).name)
        mapping.write(str(path))


def _selector(cache: CrdsCache, name: str) -> dict[str, str]:
    """Read which mappings a pipeline or instrument mapping names."""
    statements = ast.parse((cache.mappings / name).read_text()).body
    for statement in statements:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "selector":
            return ast.literal_eval(statement.value)
    raise SossInputError(f"{cache.mappings / name} is not a mapping of CRDS.")


def _derive(cache: CrdsCache, old: str, new: Path, part: str, new_part: str) -> None:
    """Write a mapping that differs from an old one in one of the mappings it names."""
    text = (cache.mappings / old).read_text()
    with atomic_path(new) as temporary:
        Path(temporary).write_text(text.replace(repr(part), repr(new_part)))
        _complete(temporary, derived_from=old)


def _write_config(cache: CrdsCache) -> None:
    """Write what crds would otherwise ask its server."""
    config = {
        "observatory": "jwst",
        "operational_context": cache.context,
        "latest_context": cache.context,
        "edit_context": cache.context,
        "bad_files": "",
        "bad_files_list": [],
        "force_remote_mode": False,
        "crds_version": {"str": version("crds")},
        "last_synced": "2022-01-01 00:00:00",
    }
    path = cache.folder / _CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Path(temporary).write_text(pprint.pformat(config) + "\n")


@contextmanager
def _calm_crds() -> Iterator[None]:
    """Keep crds from reporting each file that it inserts."""
    logger = logging.getLogger("CRDS")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
