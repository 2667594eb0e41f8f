"""Texts that strangers could send: tables, associations and ASDF trees that are not ours."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from damaging.mutations import Damage

__all__ = [
    "hostile_asdf", "hostile_association", "hostile_csv", "hostile_parameters",
    "hostile_restrictions", "hostile_yaml",
]  # fmt: skip

_BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
)
_MERGE_BOMB = "\n".join(
    ["m0: &m0 {k: v}"]
    + [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}" for i in range(1, 12)]
)
_RUN = "touch pwned"
_TAGS = (
    f"!!python/object/apply:os.system ['{_RUN}']",
    f"!!python/object/new:os.system ['{_RUN}']",
    "!!python/object/apply:subprocess.check_output [['touch', 'pwned']]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:builtins.dict {}",
    "!!binary 'c3RhcnM='",
    "!!set {a, b}",
    "!include /etc/passwd",
    "!unknown {a: 1}",
    "!!timestamp '2024-13-45'",
    "2024-13-45",
    "9" * 5000,
    "0x" + "f" * 5000,
    ".inf",
    ".nan",
    "&loop [*loop]",
    "&loop {stars: *loop}",
    "!!omap [a: 1]",
    "{[1, 2]: 3}",
    "{? {a: b} : c}",
    "\"\\ud800\"",
    "'\x85\u2028'",
    "\"\\0\"",
    "[" * 3000,
    "[" * 3000 + "]" * 3000,
    "{a: " * 3000 + "1" + "}" * 3000,
    "- " * 3000 + "x",
    "null",
    "true",
    "''",
    "{}",
    "[]",
    "-1",
)  # fmt: skip


def hostile_yaml(rng: np.random.Generator, good: str) -> Damage:
    """Put something that is not ours into a YAML table of stars."""
    choice = rng.integers(5)
    if choice == 0:
        text = "bomb of aliases"
        field = ("name", "aliases", "observations", "note", "ra")[rng.integers(5)]
        new = f"{_BOMB}\nstars:\n  - {{name: x, {field}: *a11}}\n"
        if rng.random() < 0.5:
            new = "stars:\n  - &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
                f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)
            )
    elif choice == 1:
        text, new = "bomb of merges", f"{_MERGE_BOMB}\nstars:\n  - *m11\n"
    elif choice == 2:
        tag = _TAGS[rng.integers(len(_TAGS))]
        text, new = f"a tree of {tag[:60]!r}", (tag if rng.random() < 0.5 else f"stars: {tag}\n")
    else:
        # In place of any value of the good table.
        tag = _TAGS[rng.integers(len(_TAGS))]
        places = [m.span(1) for m in re.finditer(r": ([^\n#{\[]+)$", good, re.MULTILINE)]
        start, end = places[rng.integers(len(places))]
        text, new = f"{tag[:60]!r} for {good[start:end]!r}", good[:start] + tag + good[end:]
    return Damage("hostile", text, new.encode("utf-8", "surrogatepass"))


_CELLS = ("", "nan", "inf", "-1", "1e400", "4", "0", "1.5", "'; DROP TABLE", "<script>", "=1+1",
          "9" * 400, "\x00", "ä\u2028", '"', "1,2,3", "0x10", "True", "1e-400", "--")  # fmt: skip


def hostile_csv(rng: np.random.Generator, good: str) -> Damage:
    """Put an odd cell into a table of text."""
    lines = good.splitlines()
    row = int(rng.integers(len(lines)))
    cells = lines[row].split(",")
    column = int(rng.integers(len(cells)))
    cell = _CELLS[rng.integers(len(_CELLS))]
    text = f"{cell[:40]!r} for {cells[column]!r} in line {row + 1}"
    cells[column] = cell
    lines[row] = ",".join(cells)
    if rng.random() < 0.15:
        lines, text = lines + lines[1:] * 20_000, "many lines"
    new = "\n".join(lines) + "\n"
    if rng.random() < 0.2:
        new, text = "\ufeff" + new.replace("\n", "\r\n"), text + ", from another system"
    encoding = "utf-16" if rng.random() < 0.1 else "utf-8"
    return Damage("hostile", text, new.encode(encoding))


def hostile_restrictions(rng: np.random.Generator, good: str) -> Damage:
    """Give a table of restrictions as YAML that is not ours, or with an odd cell."""
    if rng.random() < 0.5:
        return hostile_csv(rng, good)
    if rng.random() < 0.3:
        body = "- &a0 {star: x}\n" + "\n".join(
            f"- {{star: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)
        )
        return Damage("hostile", "bomb of aliases", body.encode())
    tag = _TAGS[rng.integers(len(_TAGS))]
    field = ("star", "order", "low", "high", "action", "note", "program")[rng.integers(7)]
    body = f"- {field}: {tag}\n" if rng.random() < 0.7 else f"- {tag}\n"
    return Damage("hostile", f"{field}: {tag[:60]!r}", body.encode("utf-8", "surrogatepass"))


_NAMES: tuple[Any, ...] = (
    "missing.fits", "", " ", ".", "..", "/", "/etc/passwd", "../../../etc/passwd", "/dev/zero",
    "/dev/stdin", "asn.json", "./asn.json", "a\x00b.fits", "\ud800.fits", "x" * 5000,
    "ä\u202e.fits", "http://example.com/x.fits", "crds://x.fits", "~/x.fits", "$HOME/x.fits",
    "pipe.fits", "-rf.fits", "folder.fits", None, 7, -1.5, True, [], ["a", "b"], {}, {"a": 1},
)  # fmt: skip


def hostile_association(rng: np.random.Generator, good: str) -> Damage:
    """Give an association with members that are missing, twice, cyclic, elsewhere or no files."""
    content = json.loads(good)
    product = content["products"][0]
    members = product["members"]
    number = int(rng.integers(len(members)))
    choice = int(rng.integers(13))
    text = ""
    if choice <= 3:
        name = _NAMES[rng.integers(len(_NAMES))]
        members[number]["expname"], text = name, f"expname {str(name)[:40]!r}"
    elif choice == 4:
        members.append(dict(members[number]))
        text = "a member twice"
    elif choice == 5:
        name = members[number]["expname"]
        members.append({**members[number], "expname": f"./folder.fits/../{name}"})
        text = "a member twice, by another path"
    elif choice == 6:
        kind = (None, 3, "", "SCIENCE", "target", ["science"], "<b>", "background")[rng.integers(8)]
        members[number]["exptype"], text = kind, f"exptype {kind!r}"
    elif choice == 7:
        del members[number][("expname", "exptype")[rng.integers(2)]]
        text = "a member without name or type"
    elif choice == 8:
        odd = (None, [], {}, "members", 3, [[]], [None], [3], ["a.fits"])[rng.integers(9)]
        product["members"], text = odd, f"members {odd!r}"
    elif choice == 9:
        odd = (None, [], {}, "products", 3, [None], [3], [product, product])[rng.integers(8)]
        content["products"], text = odd, f"products {str(odd)[:30]!r}"
    elif choice == 10:
        odd = (None, "", "../../evil", "/etc/evil", "a/b", 5, [], "x" * 3000, "\x00", "\ud800",
               "<script>", "..")[rng.integers(12)]  # fmt: skip
        product["name"], text = odd, f"product name {str(odd)[:30]!r}"
    elif choice == 11:
        whole = ("[" * 100_000, '{"products": ' * 5000, "null", "[]", "3", '"x"', "NaN", "{",
                 '{"products": NaN}', '{"products": [' + "9" * 6000 + "]}", "\ufeff{}",
                 '{"a": 1}')[rng.integers(12)]  # fmt: skip
        return Damage("hostile", f"the whole is {whole[:20]!r}", whole.encode())
    else:
        members.extend({"expname": f"m{i}.fits", "exptype": "science"} for i in range(20_000))
        text = "20,000 members that are not there"
    return Damage("hostile", text, json.dumps(content).encode())


_ASDF_VALUES = (
    *_TAGS,
    "!core/ndarray-1.1.0 {source: 'http://example.com/x.asdf', datatype: float64, byteorder: "
    "little, shape: [2048]}",
    "!core/ndarray-1.1.0 {source: other.asdf, datatype: float64, byteorder: little, shape: [4]}",
    "!core/ndarray-1.1.0 {source: 'file:///etc/passwd', datatype: uint8, byteorder: little, "
    "shape: [4]}",
    "!core/ndarray-1.1.0 {source: 999, datatype: float64, byteorder: little, shape: [2048]}",
    "!core/ndarray-1.1.0 {source: -1, datatype: float64, byteorder: little, shape: [4]}",
    "!core/ndarray-1.1.0 {source: 0, datatype: float64, byteorder: little, shape: [99999999999]}",
    "!core/ndarray-1.1.0 {source: 0, datatype: float64, byteorder: little, shape: [-4]}",
    "!core/ndarray-1.1.0 {source: 0, datatype: float64, byteorder: little, shape: ['*']}",
    "!core/ndarray-1.1.0 {source: 0, datatype: [ascii, 8], byteorder: little, shape: [10]}",
    "!core/ndarray-1.1.0 {source: 0, datatype: float64, byteorder: little, shape: [2, 3, 4]}",
    "!core/ndarray-1.1.0 {data: [1, 2, 3], datatype: float64}",
    "!core/ndarray-1.1.0 [a, b]",
    "{$ref: 'http://example.com/x.asdf#/orders'}",
    "{$ref: 'other.asdf#/orders/0'}",
    "{$ref: 'file:///etc/passwd'}",
    "{$ref: '#/orders'}",
    "!core/external-1.0.0 {target: /etc/passwd, datatype: uint8, shape: [4]}",
    "!core/unknown-9.9.9 {a: 1}",
    "!<tag:example.com:evil/thing-1.0.0> {a: 1}",
    "!core/software-1.0.0 {name: x, version: 1}",
    "!core/complex-1.0.0 1+1j",
    "!core/integer-1.0.0 {words: 0, sign: +, string: '1'}",
    "<script>alert(1)</script>",
    "!core/constant-1.0.0 5",
)  # fmt: skip


def hostile_asdf(rng: np.random.Generator, good: bytes) -> Damage:
    """Put something that is not ours in place of a value of an ASDF tree."""
    end = good.find(b"\n...\n")
    text, rest = good[:end].decode("utf-8"), good[end:]
    value = _ASDF_VALUES[rng.integers(len(_ASDF_VALUES))]
    if rng.random() < 0.15:
        new = text.replace("\n--- !core/asdf-1.1.0\n", f"\n--- !core/asdf-1.1.0\n{_BOMB}\n")
        return Damage("hostile", "bomb of aliases beside the tree", new.encode() + rest)
    # Any value of the part that is ours: what is above says which library wrote the file.
    first = text.find("\ncalibration:")
    first = first if first > 0 else text.find("\nmeta:")
    places = [
        m.span(2)
        for m in re.finditer(r"(?<=[ {])([a-z_0-9]+: )(!core/ndarray[^}]*\}|[^\n,{}\[\]]+)", text)
        if m.start() > first
    ]
    start, stop = places[rng.integers(len(places))]
    new = text[:start] + value + text[stop:]
    return Damage(
        "hostile", f"{value[:70]!r} for {text[start:stop][:40]!r}",
        new.encode("utf-8", "surrogatepass") + rest,
    )  # fmt: skip


_CLASSES = ("soss_photcal_steps.SossTemplateBackgroundStep", "os.system", "evil.Step", "''", "7",
            "[a]", "null", "../evil", "jwst.photom.PhotomStep")  # fmt: skip


def hostile_parameters(rng: np.random.Generator, good: bytes) -> Damage:
    """Give a parameter file of another step, with odd parameters, values or tags, or a huge one."""
    text = good.decode()
    choice = int(rng.integers(8))
    if choice == 0:
        return Damage("hostile", "huge", good.replace(b"\n...", b"\n#" + b"x" * 2**22 + b"\n..."))
    if choice == 1:
        wrong = _CLASSES[rng.integers(len(_CLASSES))]
        found = list(re.finditer(r"class: ([\w.]+)", text))
        place = found[rng.integers(len(found))]
        new = text[: place.start(1)] + wrong + text[place.end(1) :]
        return Damage("hostile", f"class {wrong}", new.encode())
    if choice == 2:
        name = ("sigmo", "'steps'", "'a.b'", "class", "''", "7", "'x\ny'", "null")[rng.integers(8)]
        new = re.sub(r"(parameters:\s*\{?)", lambda m: f"parameters: {{{name}: 3, ", text, count=1)
        if "{" not in text.partition("parameters:")[2][:3]:
            new = re.sub(r"parameters:\n", f"parameters:\n  {name}: 3\n", text, count=1)
        return Damage("hostile", f"a parameter {name}", new.encode())
    if choice == 3:
        lines = ("sigma = ", "[", "a" * 3000, "[steps]", "%(x)s = 1", "save_plots = yes")
        ini = f"name = x\nclass = a.SossRatioStep\n{lines[rng.integers(6)]}\n"
        return Damage("hostile", f"of the older kind, {ini[-20:]!r}", ini.encode())
    value = _ASDF_VALUES[rng.integers(len(_ASDF_VALUES))]
    if choice == 4:
        new = text.replace("\n--- !core/asdf-1.1.0\n", f"\n--- !core/asdf-1.1.0\n{_BOMB}\n")
        return Damage("hostile", "bomb of aliases", new.encode())
    first = text.index("!core/asdf-1.1.0")
    places = [
        m.span(1)
        for m in re.finditer(r"(?<=[ {\n])[a-z_0-9]+: ([^\n,{}\[\]]+)", text)
        if m.start() > first
    ]
    start, stop = places[rng.integers(len(places))]
    return Damage(
        "hostile", f"{value[:70]!r} for {text[start:stop][:40]!r}",
        (text[:start] + value + text[stop:]).encode("utf-8", "surrogatepass"),
    )  # fmt: skip
