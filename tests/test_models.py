"""The data models of the package's own products."""

import asdf
import numpy as np
import pytest
from stdatamodels.exceptions import ValidationWarning
from stdatamodels.jwst.datamodels import JwstDataModel

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.models import SossPhotomCorrectionModel, SossRatioModel, open_product
from soss_photcal_steps.ratio.order import MASK_TITLES, Mask, OrderRatio


def order_ratio(order: int = 1, n: int = 50) -> OrderRatio:
    """Make an order whose arrays are all different."""
    names = [
        "wavelength",
        "observed",
        "observed_error",
        "model",
        "model_stat_error",
        "model_sys_error",
        "ratio",
        "ratio_error",
        "fit",
        "fit_error",
    ]
    arrays = {name: order + i + np.linspace(0.5, 0.9, n) for i, name in enumerate(names)}
    section = {
        "low": 0.5, "high": 0.9, "method": "spline", "knots": [0.6, 0.7], "rms": 0.01,
        "n_points": n, "n_rejected": 0, "chi_square": 1.1, "passed": True,
    }  # fmt: skip
    mask = np.where(np.arange(n) == 7, Mask.BALMER | Mask.USER, 0).astype(np.uint32)
    return OrderRatio(
        order=order,
        n_used=np.full(n, 17),
        mask=mask,
        fit_description={"status": "fitted", "sections": [section]},
        **arrays,
    )


@pytest.fixture
def product(tmp_path):
    """Write a product with two orders."""
    with SossRatioModel() as model:
        model.set_orders([order_ratio(2, 30), order_ratio(1)])
        model.star = {"name": "BD+60 1753", "kind": "A"}
        model.observation = {"program": "01091", "n_observations": 1, "pwcpos": 245.77}
        model.save(tmp_path / "obs_sossratio.asdf")
    return tmp_path / "obs_sossratio.asdf"


def test_a_ratio_product_comes_back_bit_for_bit(product):
    """Every array and the fit's description of both orders are the same after reading."""
    with open_product(product, SossRatioModel) as model:
        found = model.order_ratios()
    assert list(found) == [1, 2]
    for order, n in ((1, 50), (2, 30)):
        wanted = order_ratio(order, n)
        for name in vars(wanted):
            if name == "fit_description":
                assert found[order].fit_description == wanted.fit_description
            else:
                np.testing.assert_array_equal(getattr(found[order], name), getattr(wanted, name))


def test_a_ratio_product_opens_with_plain_asdf(product):
    """Plain asdf finds wavelengths, ratio and the meaning of every mask bit."""
    with asdf.open(product, memmap=False, lazy_load=False) as content:
        first = content["orders"][0]
        np.testing.assert_array_equal(first["ratio"], order_ratio(1).ratio)
        titles = {entry["bit"]: entry["title"] for entry in content["mask_bits"]}
    assert titles == {int(bit): title for bit, title in MASK_TITLES.items()}
    assert set(MASK_TITLES) == set(Mask)


def test_the_table_has_units_and_the_metadata(product):
    """`to_table` gives wavelengths in um and fluxes in Jy, for one order or for all."""
    with open_product(product, SossRatioModel) as model:
        table, second = model.to_table(), model.to_table(2)
        with pytest.raises(SossInputError, match=r"no order 3, only \[1, 2\]"):
            model.to_table(3)
    assert len(table) == 80
    assert len(second) == 30
    assert str(table["wavelength"].unit) == "um"
    assert str(table["model_sys_error"].unit) == "Jy"
    assert list(table["order"]) == [1] * 50 + [2] * 30
    assert table.meta["star"]["name"] == "BD+60 1753"


@pytest.mark.parametrize(
    ("kind", "fields", "n_arrays"), [(SossRatioModel, 50, 12), (SossPhotomCorrectionModel, 30, 13)]
)
def test_every_field_of_the_schema_has_a_title_and_arrays_have_units(kind, fields, n_arrays):
    """The schema tells a reader what each field is, and of which unit."""

    def leaves(node, path=""):
        if "properties" in node:
            for name, child in node["properties"].items():
                yield from leaves(child, f"{path}/{name}")
        if isinstance(node.get("items"), dict):
            yield from leaves(node["items"], f"{path}[]")
        if path and not path.endswith("[]"):
            yield path, node

    schema = asdf.schema.load_schema(kind.schema_url)
    own = dict(leaves(schema["allOf"][1]))
    assert len(own) > fields
    assert [path for path, node in own.items() if not node.get("title")] == []
    arrays = {path: node for path, node in own.items() if "datatype" in node}
    assert len(arrays) == n_arrays
    assert [path for path, node in arrays.items() if "unit" not in node] == []


def test_a_wrong_type_is_not_dropped_in_silence():
    """Assigning text where the schema wants a number raises under strict warnings."""
    with SossRatioModel() as model, pytest.raises(ValidationWarning):
        model.observation = {"n_observations": "many"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not an ASDF file"),
        (b"SIMPLE  =", "is not an ASDF file"),
        (b"#ASDF 1.0.0\n%YAML 1.1\n--- [\n...\n", "cannot be read as a SossRatioModel"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_product_is_refused_with_a_sentence(tmp_path, content, sentence):
    """A missing, empty, foreign or damaged file gives one sentence with its name."""
    path = tmp_path / "x_sossratio.asdf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SossInputError, match=sentence) as caught:
        open_product(path, SossRatioModel)
    assert "x_sossratio.asdf" in str(caught.value)


def test_another_kind_of_product_is_refused(tmp_path):
    """An ASDF file of another class names what it holds and what is needed."""
    with JwstDataModel() as model:
        model.save(tmp_path / "other.asdf")
    with pytest.raises(SossInputError, match="holds a JwstDataModel, not a SossRatioModel"):
        open_product(tmp_path / "other.asdf", SossRatioModel)


def test_orders_that_do_not_fit_are_refused():
    """A repeated order, or arrays of different length, raise."""
    import dataclasses

    with SossRatioModel() as model:
        with pytest.raises(ValueError, match="repeated"):
            model.set_orders([order_ratio(1), order_ratio(1)])
        with pytest.raises(ValueError, match="shapes"):
            model.set_orders([dataclasses.replace(order_ratio(1), fit=np.zeros(3))])
