"""Words of any text in any script."""

from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.align.match import interpolate
from sca.data.duplex.rows.text import clean, split_words

SCRIPTS = st.text(
    st.one_of(
        st.sampled_from(" .,(-"),
        st.characters(min_codepoint=0x0E00, max_codepoint=0x0EFF),
        st.characters(min_codepoint=0x1000, max_codepoint=0x109F),
        st.characters(min_codepoint=0x1780, max_codepoint=0x17FF),
        st.characters(min_codepoint=0x0900, max_codepoint=0x0DFF),
        st.characters(min_codepoint=0x3040, max_codepoint=0x30FF),
        st.characters(),
    )
)


@given(SCRIPTS)
def test_words_cover_everything_except_spaces(raw):
    text = clean(raw).text
    ranges = split_words(text)
    assert "".join(text[a:b] for a, b in ranges) == "".join(text.split())
    assert all(a < b for a, b in ranges)


@given(SCRIPTS, st.integers(0, 1_000_000), st.integers(0, 1_000_000))
def test_interpolation_fills_the_utterance(raw, start, length):
    words = interpolate(clean(raw).text, start, start + length)
    ends = [start, *(word.end for word in words)]
    assert [word.start for word in words] == ends[:-1]
    assert not words or ends[-1] == start + length
