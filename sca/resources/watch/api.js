// Requests to the server of this page, its clock, and readers of its endless responses.
let key = "";
let offset = 0, best = Infinity;

export class KeyNeeded extends Error {}

export function setKey(text) {
  key = text;
}

export async function respond(path, options = {}) {
  const headers = { ...options.headers };
  // The key is sent as UTF-8 bytes.
  if (key) headers.Authorization = `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.status === 401) throw new KeyNeeded(key ? "the key is wrong" : "the server requires a key");
  if (!response.ok) {
    const document = await response.json().catch(() => ({}));
    throw new Error(document.error?.what ?? `the server answered ${response.status}`);
  }
  return response;
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return (await respond(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// Returns the status, and sets the clock by it: the fastest response counts.
export async function getStatus() {
  const sent = performance.now() / 1000;
  const status = await (await respond("api/status")).json();
  const received = performance.now() / 1000;
  if (received - sent <= best) {
    best = received - sent;
    offset = status.now_s - (sent + received) / 2;
  }
  best *= 1.1; // clocks drift: later measurements count again
  return status;
}

// The time of the server, in seconds.
export function serverNow() {
  return performance.now() / 1000 + offset;
}

// Yields { id, name, data } of server-sent events.
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = {};
      for (const line of block.split("\n")) {
        const at = line.indexOf(": ");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
      }
      if (fields.data) yield { id: fields.id, name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

// Yields { headers, blob } of a multipart response whose parts have a length.
export async function* partsOf(response) {
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let held = new Uint8Array(0);
  const more = async () => {
    const { value, done } = await reader.read();
    if (done) return false;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    return true;
  };
  for (;;) {
    let head = "", end = -1;
    while ((end = (head = decoder.decode(held.subarray(0, 1000))).indexOf("\r\n\r\n")) < 0) if (!(await more())) return;
    const headers = new Map(head.slice(0, end).split("\r\n").map((line) => line.toLowerCase().split(": ")));
    const start = end + 4, size = Number(headers.get("content-length"));
    while (held.length < start + size) if (!(await more())) return;
    yield { headers, blob: new Blob([held.subarray(start, start + size)], { type: "image/jpeg" }) };
    held = held.slice(start + size);
  }
}
