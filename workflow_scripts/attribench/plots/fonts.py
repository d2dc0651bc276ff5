"""Letters that the figures' font lacks: taken from another font that is installed, or named in the log."""

import logging
from functools import cache, lru_cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from attribench.plots.letters import without_font_text
from attribench.plots.style import FONT

log = logging.getLogger(__name__)
_OF_BOXES = "Last Resort"  # begins the name of a font that has a box for every letter
_named: set[str] = set()  # letters that the log has


def use_fonts_for_all_letters(figure: Figure) -> None:
    """Set texts whose letters `FONT` lacks in fonts that have them.

    Letters that no installed font has are drawn as boxes, and named in the log, each once.
    """
    without_font = {}
    for text in figure.findobj(Text):
        fonts = {letter: _font_with(letter) for letter in text.get_text() if letter != "\n" and not _has(FONT, letter)}
        if found := [font for font in fonts.values() if font]:
            text.set_fontfamily([FONT, *dict.fromkeys(found), "sans-serif"])
        without_font |= {letter: text.get_text() for letter, font in fonts.items() if not font}
    new = [letter for letter in without_font if letter not in _named]
    if new:
        _named.update(new)
        log.warning("%s", without_font_text(new, f", such as in {without_font[new[0]]!r}"))


@cache
def _has(font: str, letter: str) -> bool:
    return _open(findfont(FontProperties(family=font))).get_char_index(ord(letter)) != 0


@cache
def _font_with(letter: str) -> str | None:
    """Return the name of the first installed font, by name and file, that has `letter`; None if none has."""
    regular = {
        (font.name, font.fname)
        for font in fontManager.ttflist
        if font.style == "normal" and not font.name.startswith(_OF_BOXES)
    }
    return next((name for name, file in sorted(regular) if _draws(file, letter)), None)


@cache
def _draws(file: str, letter: str) -> bool:
    try:
        font = _open(file)
        if not font.get_char_index(ord(letter)):
            return False
        font.set_size(10, 72)
        font.load_char(ord(letter))  # fonts of coloured images cannot
    except (OSError, RuntimeError):
        return False
    return True


@lru_cache(maxsize=32)  # each keeps a file open
def _open(file: str) -> FT2Font:
    return FT2Font(file)
