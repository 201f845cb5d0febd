// Requests to the server of this page.
let key = "";

export class KeyNeeded extends Error {}

export function setKey(text) {
  key = text;
}

async function respond(path, options = {}) {
  const headers = { ...(options.body ? { "Content-Type": "application/json" } : {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("the server does not answer; start sca browse again");
  }
  if (response.status === 401) throw new KeyNeeded("the key is missing or wrong");
  if (!response.ok) {
    const document = await response.json().catch(() => ({}));
    throw new Error(document.error?.what ?? `the server answered ${response.status}`);
  }
  return response;
}

export async function get(path) {
  return (await respond(path)).json();
}

export async function post(path, body) {
  return (await respond(path, { method: "POST", body: JSON.stringify(body) })).json();
}

export async function blob(path) {
  return (await respond(path)).blob();
}
