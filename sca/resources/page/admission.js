// Would the server let this page in? Asked before a connection is opened, because a browser does not say why a WebSocket was refused.
// Knows neither protocol nor page. The key travels in a header, as bytes of UTF-8.

const WORDS = {
  403: "the server does not talk to pages from here",
  421: "the server does not answer to this name",
  429: "too many requests; wait a moment, then start again",
};

// null when it would; else { words, key }, where key says that the key is what is wrong.
export async function refusal(key) {
  const headers = key ? { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}` } : {};
  let answer;
  try {
    answer = await fetch("v1/models", { headers, cache: "no-store", credentials: "omit" });
  } catch {
    return { words: "the server does not answer", key: false };
  }
  if (answer.ok) return null;
  if (answer.status === 401) return { words: key ? "this is not the key of the server" : "the server wants its key", key: true };
  return { words: WORDS[answer.status] ?? `the server refuses (${answer.status})`, key: false };
}
