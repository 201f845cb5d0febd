"""The validation split shares no speaker with the training split."""

from hypothesis import given
from hypothesis import strategies as st

from sca.data.duplex.build.splits import speaker_groups, validation_sessions

speakers = st.lists(st.sampled_from("ABCDEFGHIJKL"), min_size=2, max_size=3, unique=True)
corpora = st.dictionaries(st.text("0123456789", min_size=1, max_size=4), speakers, min_size=1, max_size=12)


@given(corpora)
def test_groups_partition_the_sessions_by_speaker(corpus):
    groups = speaker_groups(corpus)
    assert sorted(session for group in groups for session in group) == sorted(corpus)
    present = [{speaker for session in group for speaker in corpus[session]} for group in groups]
    assert sum(map(len, present)) == len(set().union(*present))


@given(corpora)
def test_groups_cannot_be_split_further(corpus):
    for group in speaker_groups(corpus):
        reached, new = set(corpus[group[0]]), True
        while new:
            new = {s for name in group if reached & set(corpus[name]) for s in corpus[name]} - reached
            reached |= new
        assert all(set(corpus[name]) <= reached for name in group)


@given(corpora, st.floats(0, 0.99), st.data())
def test_splits_share_no_speaker_and_training_is_not_empty(corpus, share, data):
    samples = {session: data.draw(st.integers(1, 1000)) for session in corpus}
    validation = validation_sessions(corpus, samples, share)
    inside = {speaker for session in validation for speaker in corpus[session]}
    outside = {speaker for session in corpus.keys() - validation for speaker in corpus[session]}
    assert not inside & outside
    assert validation < corpus.keys()
    groups = speaker_groups(corpus)
    assert bool(validation) == (share > 0 and len(groups) > 1)
    taken = sum(samples[session] for session in validation)
    one_group = any(set(group) == validation for group in groups)
    assert taken <= share * sum(samples.values()) or one_group
