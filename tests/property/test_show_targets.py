"""From events to targets and rows: no speech is lost or duplicated, nothing overlaps, the thresholds are exact."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sca.data.shows.rows import make_rows
from sca.data.shows.targets import TargetRules, find_targets, join_text
from sca.timeline import AudienceEvent, ComedianEvent, Show, is_unsure
from sca.units import seconds_to_samples

RATE = 16_000
TOTAL = 120 * RATE


@st.composite
def shows(draw):
    """Generate events at any time, each with a unique word."""
    events = []
    for n in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, 1100)) / 10
        end = start + draw(st.integers(0, 200)) / 10
        kind = draw(st.sampled_from(["speech", "unsure", "laughter"]))
        if kind != "laughter":
            events.append(ComedianEvent(start=start, end=end, content=f" w{n}q ", event_type=kind))
        else:
            events.append(AudienceEvent(start=start, end=end, content="ha", reaction_type="laughter"))
    return Show(video_id="a", timeline=events)


def unsure_spans(show):
    return [
        (seconds_to_samples(event.start, RATE), seconds_to_samples(event.end, RATE))
        for event in show.timeline
        if is_unsure(event) and event.end > event.start
    ]


rules = st.builds(
    TargetRules,
    merge_threshold=st.integers(0, 3 * RATE),
    min_duration=st.integers(0, 10 * RATE),
    max_duration=st.integers(10 * RATE, 40 * RATE),
    cut_start=st.integers(0, 10 * RATE),
    cut_end=st.integers(0, 10 * RATE),
    min_speech=st.integers(0, 5 * RATE),
    keep_audience=st.booleans(),
)


@given(shows(), rules)
def test_every_event_is_in_a_target_or_counted(show, rules):
    targets, counts = find_targets(show, TOTAL, rules)
    words = [word for target in targets for word in target.text.split() if word.startswith("w")]
    spoken = [event for event in show.timeline if event.role == "comedian"]
    reasons = ("empty", "no_duration", "past_end", "cut", "not_speech", "duplicates", "unsure", "over_unsure")
    left_out = sum(counts[reason] for reason in reasons)
    assert counts["unsure"] == sum(event.event_type == "unsure" for event in spoken)
    assert len(words) == len(set(words)) == len(spoken) - left_out
    audience = len(show.timeline) - len(spoken)
    assert counts["extras"] == (0 if rules.keep_audience else audience)
    starts = {event.content.strip(): event.start for event in spoken}
    assert [starts[word] for word in words] == sorted(starts[word] for word in words)


@given(shows(), rules)
def test_targets_are_disjoint_and_inside_the_cuts(show, rules):
    targets, _ = find_targets(show, TOTAL, rules)
    for target in targets:
        assert rules.cut_start <= target.start < target.end <= TOTAL - rules.cut_end
    for one, other in pairwise(targets):
        gap = other.start - one.end
        assert gap >= 0
        is_between = any(one.end < end and start < other.start for start, end in unsure_spans(show))
        assert gap > rules.merge_threshold or other.end - one.start > rules.max_duration or is_between


@given(shows(), rules)
def test_no_target_spans_unsure_speech(show, rules):
    targets, _ = find_targets(show, TOTAL, rules)
    for start, end in unsure_spans(show):
        assert not any(target.start < end and start < target.end for target in targets)


@given(shows(), rules)
def test_rows_contain_their_target_within_the_limits(show, rules):
    targets, _ = find_targets(show, TOTAL, rules)
    rows, counts = make_rows("a", targets, rules)
    assert len(rows) + sum(counts.values()) == len(targets)
    begins = {rules.cut_start} | {target.start for target in targets}
    for row in rows:
        target = targets[row.event_index]
        assert (row.target_start, row.end, row.text) == (target.start, target.end, target.text)
        assert row.start in begins
        assert row.start <= row.target_start
        assert rules.min_duration <= row.end - row.start <= rules.max_duration
        assert row.end - row.target_start >= rules.min_speech


@given(st.lists(st.text(alphabet="ab ,.!()你好", max_size=6)))
def test_join_text_changes_only_spaces(pieces):
    joined = join_text(pieces)
    assert joined.replace(" ", "") == "".join(pieces).replace(" ", "")
    assert "  " not in joined
    assert joined == joined.strip()
