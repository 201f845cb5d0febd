"""Server-sent events: the division of a response into network packets does not change what is read."""

from hypothesis import given
from hypothesis import strategies as st

from sca.infer.language.chat_events import sse_data

TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
LINE_ENDS = st.sampled_from(["\n", "\r\n"])


def pieces(data, cuts):
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(TEXT.filter(str.strip), max_size=6), LINE_ENDS, st.lists(st.integers(0, 200), max_size=8))
def test_pieces_of_a_stream_do_not_matter(events, end, cuts):
    data = "".join(f": comment{end}{end}data: {event}{end}{end}" for event in events).encode()
    assert list(sse_data(pieces(data, cuts))) == list(sse_data([data])) == events


@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=4), st.lists(st.integers(0, 60), max_size=4))
def test_data_of_several_lines_is_joined(lines, cuts):
    data = ("".join(f"data: {line}\n" for line in lines) + "\n").encode()
    assert list(sse_data(pieces(data, cuts))) == ["\n".join(lines)]
