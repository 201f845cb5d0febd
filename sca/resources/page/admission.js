// Checks whether the server accepts this page, before a WebSocket is opened: a browser does not report why a WebSocket was
// rejected. The key is sent in a header, as UTF-8 bytes.

const MESSAGES = {
  403: "the server does not accept pages from this address",
  421: "the server does not accept this host name",
  429: "too many requests; wait a moment, then start again",
};

// Returns null if the server accepts it, else { message, key }; key: whether the key is the problem.
export async function rejection(key) {
  const headers = key ? { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}` } : {};
  let response;
  try {
    response = await fetch("v1/models", { headers, cache: "no-store", credentials: "omit" });
  } catch {
    return { message: "the server does not respond", key: false };
  }
  if (response.ok) return null;
  if (response.status === 401) return { message: key ? "the key is wrong" : "the server requires a key", key: true };
  return { message: MESSAGES[response.status] ?? `the server rejected the request (${response.status})`, key: false };
}
