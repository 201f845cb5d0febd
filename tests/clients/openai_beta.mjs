// `RealtimeClient` of openai-realtime-api, the published form of openai-realtime-api-beta, as in its README. It uses the
// WebSocket of browsers where there is one, and headers otherwise.

import { load, main, version } from './conversation.mjs';

const { RealtimeClient } = await load('openai-realtime-api');

async function converse(conversation) {
  const { url, key, model } = conversation.run;
  const client = new RealtimeClient({ url: `${url.replace('http', 'ws')}/v1/realtime`, apiKey: key, model });
  client.updateSession({ turn_detection: { type: 'server_vad' } });
  client.on('conversation.updated', ({ item, delta }) => {
    if (!delta?.audio) return;
    const { buffer, byteOffset, byteLength } = delta.audio;
    conversation.play(buffer.slice(byteOffset, byteOffset + byteLength), item.id);
  });
  client.on('conversation.interrupted', () => {
    if (!conversation.isPlaying) return;
    const { id } = conversation.answers.at(-1);
    const samples = Math.floor((conversation.playedMs() * conversation.hz) / 1000);
    conversation.interrupt();
    client.cancelResponse(id, samples);
  });
  client.realtime.on('server.response.done', (event) => event.response.status === 'completed' && conversation.complete());
  client.on('error', (event) => conversation.fail(event.error?.message ?? JSON.stringify(event)));
  client.realtime.on('server.error', ({ error }) => {
    // The server cancels the response first, so the cancellation by `cancelResponse` fails, as at OpenAI.
    if (error.code !== 'response_cancel_not_active') conversation.fail(error.message);
  });
  await client.connect();
  await client.waitForSessionCreated();
  for await (const piece of conversation.microphone()) {
    client.appendInputAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
  }
  client.disconnect();
}

const flavour = globalThis.WebSocket ? 'browser' : 'headers';
await main(`openai-realtime-api, ${flavour}`, version('openai-realtime-api'), converse);
