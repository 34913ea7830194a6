"""The one form of look-alike texts, whichever of its steps a text needs."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from worker.insignia.roster import thai
from worker.insignia.roster.thai import canonical

_texts = st.text(st.sampled_from("กเแ\u0e31\u0e32\u0e33\u0e34\u0e47\u0e48\u0e4d๐๙٣५a1 \u200b-\u2013"), max_size=12)


@given(_texts)
def test_canonical_leaves_out_only_steps_that_change_nothing(text: str) -> None:
    plain = unicodedata.normalize("NFKC", text.translate(thai._TIDIER)).translate(thai._TIDIER)
    for slip, right in thai._SLIPS:
        plain = slip.sub(right, plain)
    digits = (str(unicodedata.decimal(char)) if char.isdecimal() else char for char in plain)
    assert canonical(text) == " ".join("".join(digits).split())
