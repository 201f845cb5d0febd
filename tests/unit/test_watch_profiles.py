"""Profiles, and how the text of commentary is spoken."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.config import WatchConfig
from sca.errors import InputError, UnknownNameError, UsageError
from sca.watch.profiles.model import Profile
from sca.watch.profiles.store import ProfileStore, load_profile
from sca.watch.running.spoken_text import SpokenText

MATCH = Profile(
    scores=True, clock="match", names={"ARS": "Arsenal"}, spoken={"vs.": "against", "St. Pauli": "Saint Pauli"}
)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It is 2–1.", "It is 2 to 1."),
        ("2 - 1 in 67:42", "2 to 1 in minute 67, 42 seconds"),
        ("In 90:00, ARS scores.", "In minute 90, Arsenal scores."),
        ("ARS vs. St. Pauli", "Arsenal against Saint Pauli"),
        ("PARS and ARSE", "PARS and ARSE"),
        ("2026-11-30", "2026-11-30"),
        ("1:02:33 and 3.5-1", "1:02:33 and 3.5-1"),
    ],
)
def test_scores_clocks_and_names(written, spoken):
    assert SpokenText(MATCH).whole(written) == spoken


def test_times_of_day_and_no_rules():
    assert SpokenText(Profile(clock="day")).whole("At 14:05 and 9:00") == "At 14 05 and 9 o'clock"
    assert SpokenText(Profile()).whole("2–1 at 67:42") == "2–1 at 67:42"


@given(
    st.lists(st.sampled_from(["2", "–", "-", "1", " ", "ARS", "vs.", "St.", "Pauli", "67:42", ".", "x"]), max_size=30),
    st.data(),
)
def test_speech_does_not_depend_on_the_pieces(parts, data):
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    rules = SpokenText(MATCH)
    assert "".join(rules.pieces(iter(pieces))) == rules.whole(text)


def test_words_are_spoken_while_more_arrive():
    words = iter(["The ", "keeper ", "has ", "the ", "ball ", "now."])
    assert next(SpokenText(MATCH).pieces(words)) == "The "
    assert next(words) == "ball "


def test_shipped_profiles():
    profiles = ProfileStore().profiles
    assert list(profiles) == ["commentator", "security", "nature", "sports"]
    assert all(profile.system and profile.instruction and "..." in profile.system for profile in profiles.values())


def test_profiles_of_the_user(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[derby]\ninstruction = "Go."\ndensity = "brief"\n[sports]\ninstruction = "Mine."\n')
    assert load_profile(WatchConfig(profile="derby", profiles=path)).density == "brief"
    assert load_profile(WatchConfig(profile="sports", profiles=path)).instruction == "Mine."
    with pytest.raises(UnknownNameError, match="profile derbi does not exist") as error:
        load_profile(WatchConfig(profile="derbi", profiles=path))
    assert "derby" in error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a", "not a TOML file"),
        ("a = 1", "a is no profile"),
        ("[A]", "A is no profile"),
        ("[a]\ncolour = 1", "a.colour: Extra inputs"),
        ('[a]\ndensity = "much"', "a.density: Input should be"),
        ("[a]\nscores = 1", "a.scores: Input should be a valid boolean"),
    ],
)
def test_broken_profiles_are_reported(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError) as error:
        ProfileStore(tmp_path / "mine.toml")
    assert f"mine.toml: {message}" in error.value.message


def test_profiles_are_added_and_replaced():
    store = ProfileStore()
    store.put("mine", Profile(title="Mine"))
    assert store.get("mine").title == "Mine"
    with pytest.raises(UsageError, match="no name of a profile"):
        store.put("../x", Profile())
