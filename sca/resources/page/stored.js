// What a reload of the page keeps, in the storage of this tab: how to resume the session, and the turns. The key of the server is
// not kept.

const NAME = "sca.session";

export function store(state) {
  try {
    sessionStorage.setItem(NAME, JSON.stringify({ ...state, at: Date.now() }));
  } catch { /* the storage is full or forbidden: a reload then starts anew */ }
}

export function forget() {
  try {
    sessionStorage.removeItem(NAME);
  } catch { /* forbidden: nothing was stored */ }
}

// Returns the state if it is at most maxAgeS old, else null.
export function stored(maxAgeS) {
  try {
    const state = JSON.parse(sessionStorage.getItem(NAME));
    return state && Date.now() - state.at < maxAgeS * 1000 ? state : null;
  } catch {
    return null;
  }
}
