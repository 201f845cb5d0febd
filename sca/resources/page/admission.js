// Checks whether the server accepts this page, before a WebSocket is opened: a browser does not report why a WebSocket was
// rejected. The key is sent in a header, as UTF-8 bytes.

const MESSAGES = {
  403: "the server does not accept pages from this address",
  421: "the server does not accept this host name",
  429: "too many requests; wait a moment, then start again",
};

// Returns { engine } with the description of the engine, or { message, key } if the server does not accept the page; key: whether
// the key is the problem.
export async function admission(key) {
  const headers = key ? { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}` } : {};
  let response;
  try {
    response = await fetch("api/engine", { headers, cache: "no-store", credentials: "omit" });
  } catch {
    return { message: "the server does not respond", key: false };
  }
  if (response.ok) return { engine: await response.json() };
  if (response.status === 401) return { message: key ? "the key is wrong" : "the server requires a key", key: true };
  return { message: MESSAGES[response.status] ?? `the server rejected the request (${response.status})`, key: false };
}
