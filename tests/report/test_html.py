"""The report as one HTML file: whole, accessible, escaped, the same every time."""

import base64
import dataclasses
import os
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import report_data
from matplotlib.figure import Figure

from soss_photcal_steps.errors import SossInputError
from soss_photcal_steps.photom.findings import CheckReport, error
from soss_photcal_steps.report.content import (
    Flag,
    ObservationPart,
    Part,
    Picture,
    Record,
    ReportData,
    Table,
)
from soss_photcal_steps.report.html import render_report, save_figures, write_report

VOID = {"meta", "img", "input", "br", "hr", "link"}
NASTY = '<script>alert("x")</script> & "quoted" \u661f é'


class Page(HTMLParser):
    """A page taken apart; tags that do not match are in `problems`."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.problems, self.tags, self.text = [], [], [], []
        self.inside = []
        self.feed(text)
        self.close()
        self.problems += [f"not closed: {tag}" for tag in self.stack]

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.problems.append(f"repeated attribute: {tag} {names}")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        """Match a closing tag."""
        if not self.stack or self.stack.pop() != tag:
            self.problems.append(f"closed out of order: {tag} at {self.getpos()}")

    def handle_data(self, data):
        """Note a text with what it stands in."""
        if data.strip() and "style" not in self.stack:
            self.text.append(data.strip())
            self.inside.append((self.stack[-1] if self.stack else "", data.strip()))

    def all(self, tag):
        """Give the attributes of all tags of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def picture(name="one", content=None):
    """Make a small picture."""
    if content is None:
        content = Figure(figsize=(3, 2))
        content.subplots().plot([0, 1])
    return Picture(name, content, f"caption of {name}", f"description of {name}")


@pytest.fixture(scope="module")
def text():
    """Give the page of the whole synthetic report."""
    return render_report(report_data.report_data(NASTY))


@pytest.fixture(scope="module")
def page(text):
    """Give the same page, taken apart."""
    return Page(text)


def test_page_is_well_formed(page):
    """Every tag is closed in order, no attribute comes twice, and the page declares its kind."""
    assert page.problems == []
    assert page.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.all("meta")


def test_nothing_is_fetched_and_nothing_runs(page, text):
    """No address of a network, no script, no handler; the browser is told to forbid both."""
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, name)
    policy = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_each_link_has_its_target_and_each_id_is_one(page):
    """Links lead to an id that is there, and no id is given twice."""
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = {one["href"][1:] for one in page.all("a")}
    assert links <= set(ids)
    assert {"main", "obs-4498-24", "checks", "record"} <= links
    named = {one["aria-labelledby"] for one in page.all("section")}
    assert named <= set(ids)
    assert {one["for"] for one in page.all("label")} <= set(ids)


def test_first_link_skips_to_the_content(page):
    """The first thing that can be reached with the keyboard leads past the contents."""
    first = page.all("a")[0]
    assert first == {"class": "skip", "href": "#main"}
    assert page.all("main")[0]["id"] == "main"


def test_headings_go_down_one_by_one(page):
    """There is one heading of level 1, and none is more than one level below the one before."""
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert max(b - a for a, b in pairwise(levels)) == 1


def test_every_figure_has_size_caption_and_alternative_text(page):
    """Each image has width, height and an alternative text of its own, and a caption."""
    images = page.all("img")
    assert len(images) == 23
    for image in images:
        assert len(image["alt"]) > 40 and int(image["width"]) > 0 and int(image["height"]) > 0
    assert len({image["alt"] for image in images}) == len(images)
    assert len(page.all("figure")) == len(page.all("figcaption")) == len(images)
    captions = [content for tag, content in page.inside if tag == "figcaption"]
    assert sum("look" in caption.lower() for caption in captions) == len(images)


def test_tables_have_headings_with_scope(page):
    """Each heading of a table says what it heads, and each table has a name."""
    assert {one.get("scope") for one in page.all("th")} == {"col", "row"}
    assert all(one.get("aria-label") for one in page.all("table"))


def test_colours_of_text_have_contrast(text):
    """Each colour of text in the style sheet has 4.5 or more against each ground that it is on."""

    def luminance(colour):
        colour = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    def contrast(one, other):
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    style = re.search("<style>(.*?)</style>", text, re.S)[1]
    rules = re.findall(r"\{([^{}]*)\}", style)
    seen = 0
    for rule in rules:
        front = re.search(r"(?<![-\w])color:\s*(#\w+)", rule)
        back = re.search(r"background:\s*(#\w+)", rule)
        if front or back:
            seen += 1
            # Text that has no ground of its own is on white or on the grey of every other row.
            grounds = [back[1]] if back else ["#ffffff", "#f6f6f6"]
            for ground in grounds:
                assert contrast(front[1] if front else "#1a1a1a", ground) >= 4.5, rule
    assert seen > 10


def test_names_from_headers_are_escaped(page, text):
    """A target that looks like a script is shown as it is, and runs nowhere."""
    assert "<script" not in text
    assert ("h1", NASTY) in page.inside and ("title", NASTY) in page.inside


def test_every_place_of_a_header_value_is_escaped():
    """The same holds for flags, facts, tables, captions, observations, checks and the record."""
    part = Part([NASTY], [Picture(NASTY, picture().content, NASTY, NASTY)], [
        Table(NASTY, [NASTY, "b"], [[NASTY, NASTY]])
    ], [(NASTY, Part([NASTY]))])  # fmt: skip
    data = ReportData(
        NASTY, [Flag("error", NASTY, NASTY)], {NASTY: NASTY},
        [ObservationPart(NASTY, NASTY, NASTY, NASTY, {NASTY: NASTY}, part)], part, part,
        checks=CheckReport(NASTY, (error(NASTY, NASTY),)), missing={"trend": NASTY},
        record=Record({NASTY: NASTY}, [{"name": NASTY}], {NASTY: {NASTY: NASTY}}),
    )  # fmt: skip
    text = render_report(data)
    page = Page(text)
    assert page.problems == [] and not page.all("script") and "<script" not in text
    assert sum(NASTY in content for content in page.text) > 20
    assert {image["alt"] for image in page.all("img")} == {NASTY}


def test_characters_that_no_page_can_hold(tmp_path):
    """Control characters, halves of pairs and turns of direction are replaced, not written."""
    bad = "a\x00b\x1bc\ud800d\u202ee"
    write_report(ReportData(bad), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    mark = "\N{REPLACEMENT CHARACTER}"
    assert f"<h1>a{mark}b{mark}c{mark}d{mark}e</h1>" in text


def test_flags_are_sorted_and_complete(page):
    """Errors come before warnings, findings of the checks are among them, and they lead on."""
    badges = [content for tag, content in page.inside if tag == "strong"]
    flags = [badge for badge in badges if badge in ("Error", "Warning")][:2]
    assert flags == ["Error", "Warning"]
    assert "4498/24 (GSPC P330-E) failed: The file is truncated." in page.text
    first = page.text.index("A jump at 1.2 um.")
    assert first < page.text.index("What went in", page.text.index("Look here first") + 3)


def test_all_findings_are_listed_with_their_check():
    """In the section of the checks each finding is listed, the gravest first, the folder is not."""
    findings = (error("b", "second"), error("a", "first"))
    text = render_report(ReportData("t", checks=CheckReport("/some/folder/new.fits", findings)))
    section = text[text.index('id="checks"') :]
    assert re.findall(r"<span>(\w+) \(<code>(\w)</code>\)", section) == [
        ("second", "b"), ("first", "a"),
    ]  # fmt: skip
    assert "<p>new.fits must not be delivered." in section and "/some/folder" not in text


@pytest.mark.parametrize(
    ("flags", "checks", "sentence", "kind"),
    [
        ([], None, "The new photom file was not checked.", "warning"),
        ([], CheckReport("a", ()), "passes its checks and may be delivered.", "good"),
        ([Flag("note", "n")], CheckReport("a", ()), "may be delivered.", "good"),
        ([Flag("warning", "w")], CheckReport("a", ()), "may be delivered.", "warning"),
        ([Flag("error", "e")], CheckReport("a", ()), "errors below forbid", "error"),
        ([], CheckReport("a", (error("x", "y"),)), "must not be delivered.", "error"),
    ],
)
def test_verdict(flags, checks, sentence, kind):
    """The verdict is that of the checks, unless an error was flagged, and counts what there is."""
    text = render_report(ReportData("t", flags, checks=checks))
    found = re.search(r'<p class="verdict (\w+)">(.*?)</p>', text)
    assert found[1] == kind and sentence in found[2]
    errors = int(any(flag.severity == "error" for flag in flags) or "must not" in sentence)
    assert f"{errors} error{'' if errors == 1 else 's'}, " in found[2]


def test_many_notes_are_folded():
    """Four notes are folded up under their number; three are not."""
    notes = [Flag("note", f"note {k}") for k in range(4)]
    assert "<summary>4 notes</summary>" in render_report(ReportData("t", notes))
    assert "notes</summary>" not in render_report(ReportData("t", notes[:3]))


def test_missing_parts_are_said_to_be_missing():
    """An empty report is a whole page that names each missing part, with the reason if given."""
    page = Page(render_report(ReportData("empty", missing={"trend": "no stability series"})))
    assert page.problems == []
    assert sum(content == "This part is missing." for content in page.text) == 8
    assert "This part is missing: no stability series." in page.text
    assert "There are no observations." in page.text
    assert page.text.count("(missing)") == 9


def test_missing_parts_of_an_observation():
    """An observation without spectra says so, and its state and reason are shown."""
    one = ObservationPart("1/2", "a star", "left out", "too faint", background=Part(["sky"]))
    page = Page(render_report(ReportData("t", observations=[one])))
    assert "1/2, a star: left out" in page.text
    assert "Missing: spectra, ratio and fit." in page.text
    assert {"too faint", "sky"} <= set(page.text)


def test_observations_with_a_warning_are_unfolded():
    """Of four observations only the failed one and the one with a warning are unfolded."""
    parts = [ObservationPart(f"1/{k}", "a", "failed" if k == 3 else "used") for k in range(4)]
    text = render_report(ReportData("t", [Flag("warning", "w", "1/1")], observations=parts))
    unfolded = [
        name
        for opened, name in re.findall(r'class="observation"( open)?>.*?<h3>(\S+),', text, re.S)
        if opened
    ]
    assert unfolded == ["1/1", "1/3"]


def test_observations_of_one_name_have_different_links():
    """Two observations of the same name are two targets."""
    parts = [ObservationPart("1/1", "a"), ObservationPart("1 1", "b"), ObservationPart("1/1", "c")]
    page = Page(render_report(ReportData("t", observations=parts)))
    ids = [one["id"] for one in page.all("div") if one.get("class") == "inside"]
    assert len(set(ids)) == 3


def test_cells():
    """Missing numbers are a dash, infinite ones a sign, truth a word, and numbers are aligned."""
    rows = [["a", None, np.nan, np.inf, True, np.float32(0.1), 1_234_567]]
    part = Part(tables=[Table("t", list("abcdefg"), rows)])
    text = render_report(ReportData("t", combination=part))
    cells = re.findall(r"<td([^>]*)>(.*?)</td>", text)
    assert [content for _, content in cells] == ["–", "–", "∞", "yes", "0.1", "1234567"]
    assert ["num" in attributes for attributes, _ in cells] == [
        False,
        *[True] * 2,
        False,
        *[True] * 2,
    ]


def test_parameters_tell_text_from_numbers():
    """In the record a text is quoted, none is null, and a path or an array is written out."""
    values = {"a": "1", "b": 1, "c": None, "d": np.array([1.5]), "e": object}
    text = render_report(ReportData("t", record=Record(parameters={"step": values})))
    cells = re.findall(r"<td><code>(.*?)</code></td>", text)
    assert cells[:3] == ["&#34;1&#34;", "1", "null"]


def test_picture_that_cannot_be_drawn():
    """A figure that fails is replaced by the reason and its description; the others stay."""
    broken = picture("broken")
    broken.content.suptitle(r"$\frac{$")
    data = ReportData("t", combination=Part(pictures=[broken, picture("whole"), picture("x", b"")]))
    page = Page(render_report(data))
    assert [image["alt"] for image in page.all("img")] == ["description of whole"]
    assert any("it is not a whole PNG file" in content for content in page.text)
    assert any("It would show: description of broken" in content for content in page.text)


def test_same_data_same_bytes(tmp_path):
    """Written twice, and made anew from the same arrays, the report is the same to the byte."""

    def make():
        return ReportData(
            "t", observations=[report_data.observation("1/2", "a", 1)],
            combination=Part(pictures=[picture()]),
        )  # fmt: skip

    data = make()
    write_report(data, tmp_path / "one.html")
    write_report(data, tmp_path / "two.html")
    write_report(make(), tmp_path / "three.html")
    one = (tmp_path / "one.html").read_bytes()
    assert (tmp_path / "two.html").read_bytes() == one
    assert (tmp_path / "three.html").read_bytes() == one


def test_limit_makes_the_pictures_of_observations_smaller():
    """Under a small limit pictures of observations shrink, the others keep their size."""
    noise = np.random.default_rng(0).normal(size=(300, 300))
    single, common = Figure(figsize=(10, 6)), Figure(figsize=(10, 6))
    for figure in (single, common):
        figure.add_axes((0, 0, 1, 1)).imshow(noise, interpolation="nearest")
    one = ObservationPart("1/1", "a", spectra=Part(pictures=[picture("single", single)]))
    data = ReportData(
        "t", observations=[one], combination=Part(pictures=[picture("common", common)])
    )
    large, small = (Page(render_report(data, limit)).all("img") for limit in (10**8, 10**5))
    assert [image["width"] for image in large] == ["1100", "1100"]
    assert [image["width"] for image in small] == ["420", "1100"]
    assert all(len(base64.b64decode(image["src"].partition(",")[2])) > 1000 for image in small)


def test_file_appears_whole(tmp_path, monkeypatch):
    """If writing fails, the report that was there before is there still, and nothing else."""
    target = tmp_path / "report.html"
    target.write_text("before")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(ReportData("t"), target)
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["report.html"]


def test_folder_that_is_not_there(tmp_path):
    """A path in a folder that does not exist is one clear error."""
    with pytest.raises(SossInputError, match=r"cannot be written"):
        write_report(ReportData("t"), tmp_path / "none" / "report.html")


def test_figures_are_saved(tmp_path):
    """Each figure is saved in each format, a PNG file as such, and one that fails is left out."""
    broken = picture("broken")
    broken.content.suptitle(r"$\frac{$")
    whole = picture("A name/1")
    given = save_figures(
        ReportData("t", combination=Part(pictures=[whole])), tmp_path / "first", ["png"]
    )
    ready = picture("ready", given[0].read_bytes())
    data = ReportData("t", combination=Part(pictures=[whole, whole, broken, ready]))
    names = [path.name for path in save_figures(data, tmp_path / "figures")]
    assert names == [
        "a-name-1.png", "a-name-1.pdf", "a-name-1-2.png", "a-name-1-2.pdf", "ready.png",
    ]  # fmt: skip
    assert sorted(os.listdir(tmp_path / "figures")) == sorted(names)
    assert (tmp_path / "figures" / "a-name-1.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "figures" / "ready.png").read_bytes() == given[0].read_bytes()


def test_unknown_format_is_refused(tmp_path):
    """A format that is not offered is one clear error, before anything is made."""
    with pytest.raises(SossInputError, match="not gif"):
        save_figures(ReportData("t"), tmp_path / "figures", ["png", "gif"])
    assert not (tmp_path / "figures").exists()


def test_content_refuses_what_would_be_of_no_use():
    """A severity, a picture without words, or a row of another length is refused at once."""
    with pytest.raises(ValueError, match="severity"):
        Flag("grave", "text")
    with pytest.raises(ValueError, match="alternative text"):
        dataclasses.replace(picture(), alt=" ")
    with pytest.raises(ValueError, match="2 columns"):
        Table("caption", ["a", "b"], [[1, 2], [3]])
