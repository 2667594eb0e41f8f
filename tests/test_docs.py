import re
from pathlib import Path

import pytest

from soss_photcal_steps.background import cards as background_cards
from soss_photcal_steps.background.background_step import SossTemplateBackgroundStep
from soss_photcal_steps.combine.combine_step import SossPhotomCombineStep
from soss_photcal_steps.ratio.order import MASK_TITLES
from soss_photcal_steps.ratio.ratio_step import SossRatioStep
from soss_photcal_steps.template.template_step import SossTemplateBuildStep

DOCS = Path(__file__).parents[1] / "docs"
SPEC = [
    (step.class_alias, name, kind)
    for step in (
        SossTemplateBackgroundStep,
        SossRatioStep,
        SossPhotomCombineStep,
        SossTemplateBuildStep,
    )
    for name, kind in re.findall(r"^ +(\w+) = (.*?)  #", step.spec, re.M)
]


@pytest.mark.parametrize(("step", "name", "kind"), SPEC)
def test_every_parameter_is_documented(step, name, kind):
    """Each parameter of a step is in the page of its arguments, with its default."""
    page = (DOCS / step / "arguments.md").read_text()
    assert f"`{name}`" in page
    found = re.search(r"default=(?:'([^']*)'|list\(([^)]*)\)|([^,)]*))\)", kind).groups()
    default = next(text for text in found if text is not None)
    row = re.search(rf"^\| `{name}` \| `?(.*?)`? ?\|", page, re.M)
    if row is not None:
        assert row.group(1) == default
    else:
        assert "ignored" in page.split(f"`{name}`")[0][-600:]


def test_every_card_is_documented():
    """The page of the products lists each header card that the step writes, once."""
    page = (DOCS / "soss_template_bkg" / "products.md").read_text()
    source = Path(background_cards.__file__).read_text()
    cards = set(re.findall(r'"(BKG[A-Z0-9_]+)"', source))
    assert len(cards) > 20
    assert sorted(re.findall(r"^\| `(BKG[A-Z0-9_]+)` \|", page, re.M)) == sorted(cards)


def test_every_card_is_cleared_where_nothing_is_subtracted():
    """A skipped file has no value in any card of the step but BKGSUB, False, and the reason."""
    source = Path(background_cards.__file__).read_text()
    cleared = {key: value for key, value, _ in background_cards.skipped_cards("no sky")}
    assert set(cleared) == set(re.findall(r'"(BKG[A-Z0-9_]+)"', source))
    kept = {key: value for key, value in cleared.items() if value is not None}
    assert kept == {"BKGSUB": False, "BKGWHY": "no sky"}


def test_every_mask_bit_is_documented():
    """The page of the ratio product has each bit of the mask."""
    page = (DOCS / "soss_ratio" / "products.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \| (.*?) \|$", page, re.M)
    bits = {int(bit): text for numbers, text in rows for bit in numbers.split(",")}
    assert set(bits) == {int(bit) for bit in MASK_TITLES}
    assert bits[1024] == "contamination"


def test_code_of_the_simulator_page_runs(capsys):
    """The code of the simulator's page runs and finds the background to one per cent."""
    text = (DOCS / "simulator.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(block, names)
    assert abs(float(capsys.readouterr().out.split()[-1])) < 0.01


@pytest.mark.parametrize(
    "page", [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md"], ids=lambda p: p.name
)
def test_links_lead_somewhere(page):
    """Each relative link of a page leads to a file."""
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
