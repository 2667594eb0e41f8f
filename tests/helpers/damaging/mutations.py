"""Ways to damage a file: bytes of any file, cards of a FITS header, lines of a text."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field

import numpy as np

__all__ = ["BLOCK", "CARD", "Damage", "Hdu", "damage_bytes", "damage_cards", "find_hdus"]

BLOCK, CARD = 2880, 80

# Values that no header should have, one a line; each is put in place of a card, or added.
_PRIMARY_CARDS = """\
NINTS=-5
NINTS=1000000000000
NINTS='many    '
NGROUPS=-1
NGROUPS=0
NFRAMES=1E99
TARGNAME='<script>alert(1)</script>'
TARGNAME='        '
TARGNAME='{{7*7}} %s $(id)'
TARGPROP='<img src=x onerror=alert(1)>'
TARGNAME='a\x1b]0;owned\x07b'
TARGNAME='K\xe4the\xff\xfe'
TARG_RA=1000000.
TARG_RA=NaN
MU_RA=1E300
DATE-OBS='9999-12-31'
DATE-OBS='9999-99-99'
DATE-OBS='yesterday'
DATE-OBS=7
TIME-OBS='25:61:61'
EXPSTART=1E300
EXPSTART='now     '
EXPMID=-1E9
EXPEND=INF
PWCPOS='about 245'
PWCPOS=1E30
PWCPOS=-90.
PWCPOS=NaN
PWCPOS=T
FILTER='        '
FILTER='CLEAR;rm -rf'
PUPIL=3
EXP_TYPE='NIS_IMAGE'
EXP_TYPE=F
INSTRUME='MIRI    '
SUBARRAY='SUB999  '
SUBARRAY=256
SUBSTRT2=-5
SUBSTRT2=1800
SUBSTRT2='low     '
SUBSIZE2=0
SUBSIZE2=999999999
SUBSTRT1=-100000
SUBSIZE1=1E40
PROGRAM='../../etc/passwd'
PROGRAM=1E10
OBSERVTN='        '
FILENAME='../../../tmp/elsewhere.fits'
FILENAME='/etc/passwd'
DATAMODL='EvilModel'
DATAMODL='RampModel'
DATAMODL=T
EXSEGNUM=-1
EXSEGNUM=4000000000
EXSEGTOT='some    '
INTSTART=-99999
INTSTART=2000000000
INTEND=-2000000000
SOSSWDTH='wide    '
R_PHOTOM='crds://../../../../etc/passwd'
R_PHOTOM=42
S_BKDSUB='MAYBE   '
BKGSUB='perhaps '
BKGLEVEL=-1E99
TELESCOP='HST     '
NAXIS=-1
NAXIS=999
BITPIX=13
EXTEND=F
SIMPLE=F
REFTYPE='DARK    '
USEAFTER='9999-99-99T99:99:99'
USEAFTER=3
PEDIGREE='INFLIGHT 9999-99-99 yesterday'
PIXAR_SR='tiny    '
TARGETID='<b>star</b>'
CRDS_CTX='$(touch pwned)'
CAL_VER='999999999999999999999'
CHECKSUM='abcdefghijklmnop'
"""
_EXTENSION_CARDS = """\
NAXIS=-1
NAXIS=0
NAXIS=1
NAXIS=999
NAXIS=4
NAXIS1=-1
NAXIS1=0
NAXIS1=1000000000000
NAXIS1=2047
NAXIS1=1
NAXIS2=-1
NAXIS2=0
NAXIS2=10000000000000
NAXIS2=1
NAXIS2=2
NAXIS3=0
NAXIS3=1
NAXIS3=2000000000
NAXIS2='many    '
BITPIX=7
BITPIX=8
BITPIX=16
BITPIX=64
BITPIX=-64
BITPIX=32
BITPIX='float   '
PCOUNT=999999999
PCOUNT=-1
GCOUNT=0
GCOUNT=100000
TFIELDS=-1
TFIELDS=999
TFIELDS=1
TFORM1='999999999E'
TFORM2='X       '
TFORM2='1PE(2000)'
TFORM3='2048J   '
TFORM3='2048A   '
TFORM2='?       '
TFORM1='A       '
TTYPE2='NOTHING '
TTYPE3='WAVELENGTH'
TTYPE2='        '
TTYPE1=5
TUNIT2='furlong '
TUNIT3='furlong '
TUNIT3='DN/s    '
TUNIT2='nm      '
TUNIT3='mJy     '
TUNIT1='\xe5ngstr\xf6m'
TDIM2='(7,7)   '
TDIM3='(1,2048)'
TZERO2=5.
TZERO3=NaN
TSCAL3=0.
TSCAL2='big     '
TNULL13=0
XTENSION='IMAGE   '
XTENSION='BINTABLE'
XTENSION='WEIRD   '
EXTNAME='SOMETHING'
EXTNAME='DQ      '
EXTNAME=7
EXTNAME='SCI     '
EXTVER=77
EXTVER=-1
BSCALE=0.
BSCALE=1E99
BZERO=NaN
BZERO=1000000000.
BZERO='nothing '
BLANK=0
ZIMAGE=T
BUNIT='MJy     '
BUNIT=1
SPORDER=-1
SPORDER=99
SPORDER='one     '
SPORDER=2
SPORDER=T
INT_NUM=-3
INT_NUM=100000000
CTYPE1='NONSENSE'
CRPIX1=NaN
CD1_1=0.
DATASUM='1234567890'
DATASUM='sum     '
CHECKSUM='abcdefghijklmnop'
"""
_WCS = ("WCSAXES", "CRPIX", "CRVAL", "CTYPE", "CUNIT", "CDELT", "PC", "CD", "RADESYS", "S_REGION")
_BYTES = (
    "truncate",
    "flip",
    "flip",
    "zero",
    "noise",
    "delete",
    "insert",
    "empty",
    "append",
    "other",
)
_OTHERS = (b"", b"\x89PNG\r\n\x1a\n" + bytes(200), b"hello, world\n", b"%PDF-1.4\n", bytes(10_000),
           b"PK\x03\x04" + bytes(100), gzip.compress(b"nothing"), b"SIMPLE  =", b"#ASDF",
           b"SIMPLE  =                    T" + b" " * 2850)  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """What was done to a file.

    Attributes
    ----------
    kind : str
        Such as ``flip`` or ``card``.
    text : str
        It in words.
    content : bytes
        The damaged file.
    cards : frozenset of str
        Keywords that were changed, of a FITS header that was edited.
    same_layout : bool
        Whether every byte is where it was.
    """

    kind: str
    text: str
    content: bytes
    cards: frozenset[str] = field(default_factory=frozenset)
    same_layout: bool = False


@dataclass(frozen=True)
class Hdu:
    """Where header and data of an extension lie, as the blocks of a good file say."""

    header: int
    data: int
    end: int


def find_hdus(content: bytes) -> list[Hdu]:
    """Find the extensions of a good FITS file."""
    from io import BytesIO

    from astropy.io import fits

    with fits.open(BytesIO(content), lazy_load_hdus=False) as hdus:
        infos = [hdu.fileinfo() for hdu in hdus]
    return [Hdu(i["hdrLoc"], i["datLoc"], i["datLoc"] + i["datSpan"]) for i in infos]


def _place(rng: np.random.Generator, content: bytes, hdus: list[Hdu]) -> int:
    """Choose a byte: as often of a header as of data, whatever their sizes."""
    if not hdus:
        # The text of an ASDF file is at its beginning.
        size = content.find(b"\xd3BLK") if rng.random() < 0.5 else -1
        return int(rng.integers(size if size > 0 else len(content)))
    one = hdus[rng.integers(len(hdus))]
    first, last = (one.header, one.data) if rng.random() < 0.5 else (one.data, one.end)
    return int(rng.integers(first, max(last, first + 1)))


def damage_bytes(
    rng: np.random.Generator, content: bytes, hdus: list[Hdu], most: int = 65536
) -> Damage:
    """Damage bytes of any file."""
    kind = _BYTES[rng.integers(len(_BYTES))]
    place = min(_place(rng, content, hdus), len(content) - 1)
    length = int(min(np.exp(rng.uniform(0, np.log(most))), len(content) - place))
    new, layout = bytearray(content), kind in ("flip", "zero", "noise")
    if kind == "truncate":
        cuts = [place, place // BLOCK * BLOCK, len(content) - 1, len(content) - BLOCK]
        place = max(cuts[rng.integers(len(cuts))], 0)
        del new[place:]
        text = f"cut at byte {place} of {len(content)}"
    elif kind == "flip":
        count = int(rng.integers(1, 4))
        text = "bits flipped at bytes"
        for _ in range(count):
            new[place] ^= 1 << int(rng.integers(8))
            text += f" {place}"
            place = min(_place(rng, content, hdus), len(content) - 1)
    elif kind in ("zero", "noise"):
        new[place : place + length] = bytes(length) if kind == "zero" else rng.bytes(length)
        text = f"{length} bytes of {kind} at {place}"
    elif kind == "delete":
        length = BLOCK if rng.random() < 0.5 else length
        del new[place : place + length]
        text = f"{length} bytes taken out at {place}"
    elif kind == "insert":
        length = BLOCK if rng.random() < 0.5 else length
        new[place:place] = rng.bytes(length)
        text = f"{length} bytes put in at {place}"
    elif kind == "append":
        new += rng.bytes(length)
        text = f"{length} bytes put at the end"
    elif kind == "empty":
        new, text = bytearray(), "nothing left"
    else:
        new = bytearray(_OTHERS[rng.integers(len(_OTHERS))])
        text = f"another file: {bytes(new[:12])!r}"
    return Damage(kind, text, bytes(new), same_layout=layout)


def damage_cards(rng: np.random.Generator, content: bytes, hdus: list[Hdu]) -> Damage:
    """Put absurd cards into a FITS header, or take cards out."""
    which = 0 if rng.random() < 0.5 else int(rng.integers(len(hdus)))
    one = hdus[which]
    header = content[one.header : one.data].decode("latin1")
    cards = [header[i : i + CARD] for i in range(0, len(header), CARD)]
    end = next(i for i, card in enumerate(cards) if card.rstrip() == "END")
    cards = cards[:end]
    choice = rng.random()
    if choice < 0.75:
        pool = _PRIMARY_CARDS if which == 0 else _EXTENSION_CARDS
        lines = pool.splitlines()
        key, _, value = lines[rng.integers(len(lines))].partition("=")
        new = f"{key:<8}= {value}" if value.startswith("'") else f"{key:<8}= {value:>20}"
        places = [i for i, card in enumerate(cards) if card[:8].rstrip() == key]
        at = places[0] if places else len(cards)
        cards[at : at + 1] = [new.ljust(CARD)]
        changed, text = {key}, f"{new.strip()} in extension {which}"
    elif choice < 0.85:
        gone = int(rng.integers(len(cards)))
        changed, text = {cards[gone][:8].rstrip()}, f"{cards[gone][:30]} gone from {which}"
        del cards[gone]
    elif choice < 0.92:
        changed = {c[:8].rstrip() for c in cards if c[:8].strip().startswith(_WCS)}
        cards = [c for c in cards if c[:8].rstrip() not in changed]
        text = f"no WCS in extension {which}"
    else:
        first, second = (int(i) for i in rng.integers(len(cards), size=2))
        cards[first], cards[second] = cards[second], cards[first]
        changed = {cards[first][:8].rstrip(), cards[second][:8].rstrip()}
        text = f"cards {first} and {second} of extension {which} swapped"
    joined = "".join([*cards, "END".ljust(CARD)])
    joined = joined.ljust(-(-len(joined) // BLOCK) * BLOCK)
    damaged = content[: one.header] + joined.encode("latin1") + content[one.data :]
    return Damage("card", text, damaged, frozenset(changed), len(damaged) == len(content))
