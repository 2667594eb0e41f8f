"""The readers of the package, each with good files and a use of it that gives numbers."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import asdf
import numpy as np
from astropy.io import fits

from damaging import hostile

__all__ = ["SUBJECTS", "Subject", "make_corpus"]

_MODEL = "p330e_mod_sim.fits"
_PHOTOM = "jwst_niriss_photom_old.fits"
_RATE, _RATEINTS = "jw1_nis_rate.fits", "jw1_nis_rateints.fits"
_X1D = "jw_new_x1dints.fits"
_X1D_OLD = "jw_old_x1dints.fits"
_X1D_SUMS = "jw_sums_x1dints.fits"
_MODEL_SUMS = "star_sums.fits"
_X1D_PACKED = "jw_packed_x1dints.fits.gz"
_PARS, _PARS_ALL = "pars-soss_ratio.asdf", "pars-soss_photcal.asdf"
_OUT = "out"
_OF_THE_DAY = ("cal_logs", "history", "asdf_library")
Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A reader.

    Attributes
    ----------
    name : str
        What it is called in the table.
    target : str
        The file that is damaged.
    others : tuple of str
        Good files that it needs as well.
    use : callable
        Uses the files of a folder, and gives what came out by name.
    hostile : callable or None
        Makes a hostile text of the good one.
    weight : float
        Share of the cases.
    """

    name: str
    target: str
    others: tuple[str, ...]
    use: Callable[[Path], Result]
    hostile: Callable[..., Any] | None = None
    weight: float = 1.0

    @property
    def is_fits(self) -> bool:
        """Whether the target is a FITS file that is not compressed."""
        return self.target.endswith(".fits")


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Give the leaves of a tree by their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}")
    elif isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        for i, one in enumerate(items):
            yield from _flat(one, f"{name}[{i}]")
    else:
        yield name, value


def _subtract(name: str, save: bool) -> Callable[[Path], Result]:
    def use(folder: Path) -> Result:
        from soss_photcal_steps import SossTemplateBackgroundStep

        step = SossTemplateBackgroundStep(
            override_bkg=str(folder / "lib.fits"), save_results=save,
            output_dir=str(folder / _OUT), on_failure="error",
        )  # fmt: skip
        with step.run(str(folder / name)) as model:
            if not save:
                record = model.meta.soss_photcal.instance["soss_template_bkg"]
                return {"sci": np.array(model.data), "status": record["status"]}
        (product,) = (folder / _OUT).glob("*_bsub*.fits")
        with fits.open(product, memmap=False) as hdus:
            return {"sci": np.array(hdus["SCI"].data, "f4"), "status": hdus[0].header["S_BKDSUB"]}

    return use


def _read_library(folder: Path) -> Result:
    from soss_photcal_steps.background.reference import read_library
    from soss_photcal_steps.background.window import Window

    library = read_library(str(folder / "lib.fits"), Window(1792, 256), "CLEAR")
    return {"images": library.images, "names": list(library.names), "filled": library.n_filled}


def _ratio(name: str, **more: str) -> Callable[[Path], Result]:
    def use(folder: Path) -> Result:
        from soss_photcal_steps.ratio.ratio_step import SossRatioStep

        given = {key: str(folder / value) for key, value in more.items()}
        with SossRatioStep(
            model=str(folder / _MODEL), download=False, save_results=True,
            output_dir=str(folder / _OUT), **given,
        ).run(str(folder / name)) as product:  # fmt: skip
            result: Result = {
                "star": product.star.name,
                "observation": dict(_flat(dict(product.observation.instance))),
            }
            for order, one in product.order_ratios().items():
                for key in ("wavelength", "observed", "observed_error", "ratio", "ratio_error",
                            "mask", "fit", "model"):  # fmt: skip
                    result[f"{order}.{key}"] = getattr(one, key)
        return result

    return use


def _read_star(folder: Path, name: str = _MODEL) -> Result:
    from soss_photcal_steps.ratio.stars import read_model_spectrum

    spectrum = read_model_spectrum(folder / name)
    return {key: np.asarray(value) for key, value in vars(spectrum).items() if value is not None}


def _read_star_text(folder: Path) -> Result:
    return _read_star(folder, "star.ecsv")


def _read_star_sums(folder: Path) -> Result:
    return _read_star(folder, _MODEL_SUMS)


def _read_star_packed(folder: Path) -> Result:
    return _read_star(folder, "star.fits.gz")


def _standards(folder: Path) -> Result:
    from soss_photcal_steps.ratio.standards import load_standards

    table = load_standards(str(folder / "standards.yaml"))
    stars = {star.name: star for star in table.stars}
    return dict(_flat([stars, table.line_windows, table.default_ranges]))


def _intervals(folder: Path) -> Result:
    from soss_photcal_steps.ratio.intervals import read_intervals

    return dict(
        _flat([dict(kind=k, **vars(one)) for k, one in read_intervals(folder / "mask.csv")])
    )


def _restrictions(folder: Path) -> Result:
    from soss_photcal_steps.combine.product import restrict
    from soss_photcal_steps.combine.restrictions import parse_restrictions

    path = folder / "restrictions.csv"
    _, lines = restrict([], str(path))
    rows = parse_restrictions(path.read_text(encoding="utf-8"), str(path))
    return {"lines": lines, **dict(_flat([vars(row) for row in rows]))}


def _read_ratio(folder: Path) -> Result:
    from soss_photcal_steps.combine.inputs import make_curves, read_ratio_product
    from soss_photcal_steps.ratio.standards import load_standards

    product = read_ratio_product(str(folder / "one_sossratio.asdf"), load_standards(None))
    result: Result = {
        key: value for key, value in vars(product).items() if key not in ("orders", "path")
    }
    result.update(_flat({"orders": product.orders}))
    for order in (1, 2):
        for curve in make_curves([product], order, "fit"):
            result[f"curve{order}"] = np.where(curve.valid, curve.ratio, np.nan)
    return dict(_flat(result))


def _correction(folder: Path) -> Result:
    from soss_photcal_steps.models import SossPhotomCorrectionModel, open_product

    path = str(folder / "all_sosscorr.asdf")
    with open_product(path, SossPhotomCorrectionModel) as model:
        return {
            f"{order}.{name}": np.asarray(table[name])
            for order in (1, 2)
            for table in [model.to_table(order)]
            for name in table.colnames
        }


def _photom(folder: Path) -> Result:
    from soss_photcal_steps.combine.correction import OrderCorrection
    from soss_photcal_steps.photom.check import check_photom
    from soss_photcal_steps.photom.header import DeliveryHeader
    from soss_photcal_steps.photom.table import read_photom
    from soss_photcal_steps.photom.write import make_photom_file

    old, new = folder / _PHOTOM, folder / _OUT / "new_photom.fits"
    report = check_photom(old, certify=False)
    given = read_photom(old)
    x = np.linspace(0.9, 2.8, 400)
    one = OrderCorrection(1, x, 1.03 + 0.02 * (x - 1), np.full(400, 0.002), np.full(400, 0.01))
    header = DeliveryHeader(
        author="A. Tester", pedigree="INFLIGHT 2022-06-05 2025-05-22", description="A test"
    )
    make_photom_file(old, [one], new, header)
    made = read_photom(new)
    result = {"deliverable": report.deliverable, "findings": sorted(
        f"{f.severity} {f.text}" for f in report.findings)}  # fmt: skip
    for title, rows in (("old", given.rows), ("new", made.rows)):
        result.update(_flat({title: [vars(row) for row in rows]}))
    return result


def _level2(folder: Path) -> Result:
    from soss_photcal_steps.association import list_products
    from soss_photcal_steps.background.inputs import read_association

    path = str(folder / "asn.json")
    found = read_association(path)
    products = list_products(path)
    for name in (*found.science, *found.background):
        _exists(name)
    return {
        "science": [Path(p).name for p in found.science],
        "background": [Path(p).name for p in found.background],
        "products": [one.name for one in products],
    }


def _level3_spectra(folder: Path) -> Result:
    from soss_photcal_steps.ratio.spectra import read_spectra

    spectra = read_spectra(str(folder / "asn.json"))
    return {"flux": spectra.orders[1].flux, "name": spectra.info.name}


def _level3_ratios(folder: Path) -> Result:
    from soss_photcal_steps.combine.inputs import read_combine_association, read_ratio_product
    from soss_photcal_steps.combine.product import check_settings
    from soss_photcal_steps.ratio.standards import load_standards

    members, name = read_combine_association(folder / "asn.json")
    table = load_standards(None)
    products = [read_ratio_product(one.path, table, one.role) for one in members]
    check_settings(products)
    return {"name": name, "stars": [(one.name, one.role) for one in products]}


def _observations(folder: Path) -> Result:
    from soss_photcal_steps.errors import SossInputError
    from soss_photcal_steps.photcal.members import group_members, read_association

    name, members = read_association(str(folder / "asn.json"))
    found, failures = group_members(members)
    if failures:
        # The pipeline reports each of them, and goes on with the others.
        raise SossInputError(" ".join(text for _, text in failures[:1]))
    return {"name": name, "all": [(o.name, o.kind, [Path(p).name for p in o.files]) for o in found]}


def _traces(folder: Path) -> Result:
    from soss_photcal_steps.background.reference import pastasoss_positions

    found = pastasoss_positions(str(folder / "pastasoss.asdf"), 245.8)
    return {f"order {order}": rows for order, rows in found.items()}


def _ratio_parameters(folder: Path) -> Result:
    from soss_photcal_steps.ratio.ratio_step import SossRatioStep

    config, path = SossRatioStep.build_config(None, config_file=str(folder / _PARS))
    step = SossRatioStep.from_config_section(config, config_file=path)
    return dict(_flat({"pars": step.get_pars()}))


def _all_parameters(folder: Path) -> Result:
    """Read parameters as ``soss-photcal run --parameters`` does."""
    from soss_photcal_steps.run.pipelines import prepare
    from soss_photcal_steps.run.work import Settings, Task

    settings = Settings("x", str(folder / _OUT), "photom", config_file=str(folder / _PARS_ALL))
    _, _, config = prepare(Task("prepare", "parameters", settings, more=(None, [])))
    return dict(_flat({"config": config}))


def _exists(path: str) -> None:
    from soss_photcal_steps.files import check_fits

    check_fits(path)


SUBJECTS: tuple[Subject, ...] = (
    Subject("rate, as a model", _RATE, ("lib.fits",), _subtract(_RATE, False), weight=1.2),
    Subject("rateints, streamed", _RATEINTS, ("lib.fits",), _subtract(_RATEINTS, True), weight=2.5),
    Subject("bkg reference", "lib.fits", (), _read_library, weight=1.5),
    Subject("pastasoss reference", "pastasoss.asdf", (), _traces, hostile.hostile_asdf, 0.8),
    Subject("x1dints", _X1D, (_MODEL,), _ratio(_X1D), weight=2),
    Subject("x1dints before jwst 1.20", _X1D_OLD, (_MODEL,), _ratio(_X1D_OLD), weight=1.5),
    Subject("x1dints, DATASUM", _X1D_SUMS, (_MODEL,), _ratio(_X1D_SUMS), weight=0.8),
    Subject("x1dints, gzip", _X1D_PACKED, (_MODEL,), _ratio(_X1D_PACKED), weight=0.8),
    Subject("CALSPEC", _MODEL, (), _read_star, weight=1.5),
    Subject("CALSPEC, DATASUM", _MODEL_SUMS, (), _read_star_sums, weight=0.8),
    Subject("CALSPEC, gzip", "star.fits.gz", (), _read_star_packed, weight=0.7),
    Subject("model as text", "star.ecsv", (), _read_star_text, hostile.hostile_csv, 0.8),
    Subject("standards.yaml", "standards.yaml", (), _standards, hostile.hostile_yaml, 2),
    Subject("mask table", "mask.csv", (), _intervals, hostile.hostile_csv, 1),
    Subject("restrictions", "restrictions.csv", (), _restrictions, hostile.hostile_restrictions, 1),
    Subject("ratio product", "one_sossratio.asdf", (), _read_ratio, hostile.hostile_asdf, 2),
    Subject("correction product", "all_sosscorr.asdf", (), _correction, hostile.hostile_asdf, 1.2),
    Subject("photom file", _PHOTOM, (), _photom, weight=2),
    Subject("parameters, soss_ratio", _PARS, (), _ratio_parameters, hostile.hostile_parameters, 1),
    Subject(
        "parameters, soss_photcal", _PARS_ALL, (), _all_parameters, hostile.hostile_parameters, 1
    ),
    Subject(
        "association, rateints", "asn.json", (_RATEINTS,), _level2, hostile.hostile_association, 1
    ),
    Subject(
        "association, x1dints", "asn.json", (_X1D,), _level3_spectra, hostile.hostile_association, 1
    ),
    Subject(
        "association, ratios", "asn.json", ("one_sossratio.asdf", "two_sossratio.asdf"),
        _level3_ratios, hostile.hostile_association, 1,
    ),
    Subject(
        "association, soss_photcal", "asn.json", (_RATEINTS, _X1D, "one_sossratio.asdf"),
        _observations, hostile.hostile_association, 1,
    ),
)  # fmt: skip


def association_of(subject: Subject) -> str:
    """Give the text of the good association of a reader."""
    members = [{"expname": name, "exptype": "science"} for name in subject.others]
    content = {"asn_type": "none", "products": [{"name": "all", "members": members}]}
    return json.dumps(content, indent=1)


def make_corpus(folder: Path) -> None:
    """Make the good files."""
    from soss_photcal_steps.simulate import SceneParams, make_library, simulate
    from soss_photcal_steps.simulate.calspec import write_model
    from soss_photcal_steps.simulate.campaign import report_campaign
    from soss_photcal_steps.simulate.references import write_references
    from soss_photcal_steps.simulate.spectra import simulate_spectra
    from soss_photcal_steps.simulate.spectrafile import write_spectra
    from soss_photcal_steps.simulate.write import write_library, write_rate, write_rateints

    library = make_library(2, 3)
    write_library(library, folder / "lib.fits")
    params = SceneParams(seed=4, nints=2, star="faint", template_index=1)
    scene = simulate(params, library)
    write_rateints(scene, folder / _RATEINTS)
    write_rate(simulate(dataclasses.replace(params, nints=1), library), folder / _RATE)
    references = write_references(folder / "references")
    shutil.copy(references["photom"], folder / _PHOTOM)
    shutil.copy(references["pastasoss"], folder / "pastasoss.asdf")
    campaign = report_campaign(grey_scatter=0, shape_scatter=0, max_nints=4)
    plan = next(
        one for one in campaign.observations if (one.program, one.observation) == (6606, 42)
    )
    (path,) = write_spectra(simulate_spectra(plan), folder)
    Path(path).rename(folder / _X1D)
    write_old_layout(folder / _X1D, folder / _X1D_OLD)
    pack(folder / _X1D, folder / _X1D_PACKED)
    add_sums(folder / _X1D, folder / _X1D_SUMS)
    write_model(plan.star, folder / _MODEL)
    pack(folder / _MODEL, folder / "star.fits.gz")
    add_sums(folder / _MODEL, folder / _MODEL_SUMS)
    _write_tables(folder)
    _write_parameters(folder)
    _write_products(folder)
    shutil.rmtree(folder / "references")


def pack(path: Path, target: Path) -> None:
    """Compress a file by gzip, always to the same bytes."""
    target.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))


def add_sums(path: Path, target: Path) -> None:
    """Write the file once more, with CHECKSUM and DATASUM."""
    with fits.open(path) as hdus:
        hdus.writeto(target, checksum=True)


def write_old_layout(path: Path, target: Path) -> None:
    """Write spectra as jwst did before 1.20: a table for each integration and order."""
    columns = ("WAVELENGTH", "FLUX", "FLUX_ERROR", "DQ", "NPIXELS")
    with fits.open(path, memmap=False) as hdus:
        new = [fits.PrimaryHDU(header=hdus[0].header)]
        tables = [hdu for hdu in hdus if hdu.name == "EXTRACT1D"]
        for number in range(len(tables[0].data)):
            for hdu in tables:
                row = hdu.data[number]
                made = fits.BinTableHDU.from_columns(
                    [
                        fits.Column(
                            name, "J" if name == "DQ" else "D", hdu.columns[name].unit,
                            array=np.asarray(row[name]).astype("i4" if name == "DQ" else "f8"),
                        )
                        for name in columns
                    ],
                    name="EXTRACT1D",
                )  # fmt: skip
                made.header["SPORDER"], made.header["INT_NUM"] = hdu.header["SPORDER"], number + 1
                new.append(made)
        fits.HDUList(new).writeto(target)


def _write_tables(folder: Path) -> None:
    star = _read_star(folder)
    lines = ["# %ECSV 1.0", "# ---", "# datatype:", "# - {name: WAVELENGTH, unit: um, datatype: "
             "float64}", "# - {name: FLUX, unit: Jy, datatype: float64}", "# delimiter: ','",
             "WAVELENGTH,FLUX"]  # fmt: skip
    keep = slice(None, None, 200)
    lines += [
        f"{x:.6f},{y:.6e}"
        for x, y in zip(star["wavelength"][keep], star["flux"][keep], strict=True)
    ]
    (folder / "star.ecsv").write_text("\n".join(lines) + "\n")
    (folder / "standards.yaml").write_text(
        "version: 1\nline_windows:\n  A: {Balmer: 0.02}\nstars:\n"
        "- name: My Star\n  aliases: [MS1, other name]\n  kind: A\n  ra: 10.5\n  dec: -20.25\n"
        "  pm_ra: 3.5\n  pm_dec: -1.25\n  calspec: my_star_001.fits\n  observations:\n"
        "  - program: 1234\n    observation: 5\n    date: 2024-08-05\n    role: calibration\n"
        "    contamination:\n    - &zero {order: 1, centre: 1.25}\n    ranges:\n"
        "    - {order: 2, valid: [0.6, 0.95], note: mine}\n"
        "  - {program: 1234, observation: 6, role: stability, contamination: [*zero]}\n"
        "- name: Second Star\n  kind: hot\n"
    )
    (folder / "mask.csv").write_text(
        "order,low,high,kind,note\n1,1.2,1.25,user,a zero order\n2,0.7,0.71,contamination,\n"
        "1,2.0,2.05,user,bad pixels\n"
    )
    (folder / "restrictions.csv").write_text(
        "star,program,observation,order,low,high,action,note\nGSPC P330-E,6606,42,1,1.0,1.1,"
        "exclude,a reason\nBD+60 1753,1091,,2,0.6,0.95,keep,\n,1539,77,,,,exclude,all of it\n"
    )


def _write_parameters(folder: Path) -> None:
    """Write parameter files, of a step and of a pipeline with its steps."""
    ratio = {
        "class": "soss_photcal_steps.ratio.ratio_step.SossRatioStep", "name": "soss_ratio",
        "parameters": {"save_plots": True, "order3_joins": [0.75, 0.9], "mask_ranges": False,
                       "flux_unit": "Jy", "skip": False},
    }  # fmt: skip
    combine = {
        "class": "soss_photcal_steps.combine.combine_step.SossPhotomCombineStep",
        "name": "soss_photom_combine",
        "parameters": {"orders": [1, 2, 3], "sigma": 2.5, "method": "weighted"},
    }
    whole = {
        "class": "soss_photcal_steps.photcal.photcal_pipeline.SossPhotcalPipeline",
        "name": "soss_photcal", "parameters": {"report": False}, "steps": [ratio, combine],
    }  # fmt: skip
    for name, tree in ((_PARS, ratio), (_PARS_ALL, whole)):
        asdf.AsdfFile(tree).write_to(folder / name)
        _without_log(folder / name)


def _write_products(folder: Path) -> None:
    """Make two ratio products, and a correction like that of the combine step."""
    from soss_photcal_steps.combine.combine_step import SossPhotomCombineStep
    from soss_photcal_steps.ratio.ratio_step import SossRatioStep

    given = dict(model=str(folder / _MODEL), photom_file=str(folder / _PHOTOM), download=False)
    for name in ("one", "two"):
        path = folder / f"{name}_x1dints.fits"
        shutil.copy(folder / _X1D, path)
        fits.setval(path, "R_PHOTOM", value=f"crds://{_PHOTOM}")
        fits.setval(path, "OBSERVTN", value="042" if name == "one" else "043")
        SossRatioStep(**given, save_results=True, output_dir=str(folder)).run(str(path)).close()
        path.unlink()
    step = SossPhotomCombineStep(
        photom=str(folder / _PHOTOM), save_results=True, output_dir=str(folder), check=False,
        output_file="all", splice_observation="",
    )  # fmt: skip
    step.run([str(folder / f"{name}_sossratio.asdf") for name in ("one", "two")]).close()
    for path in folder.glob("*.asdf"):
        _without_log(path)


def _without_log(path: Path) -> None:
    """Take out what is of another length at another time or place."""
    with asdf.open(path, memmap=False, lazy_load=False) as content:
        tree = {key: value for key, value in content.tree.items() if key not in _OF_THE_DAY}
        asdf.AsdfFile(tree).write_to(path)
