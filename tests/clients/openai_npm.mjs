// The realtime clients of the package openai, as in its examples: `OpenAIRealtimeWS`, and with the argument `browser`
// `OpenAIRealtimeWebSocket`, which sends its key as a browser does.

import { load, main, version } from './conversation.mjs';

const { OpenAI } = await load('openai');
const { OpenAIRealtimeWS } = await load('openai/realtime/ws');
const { OpenAIRealtimeWebSocket } = await load('openai/realtime/websocket');
const browser = process.argv.includes('browser');

async function converse(conversation) {
  const { url, key, model } = conversation.run;
  const client = new OpenAI({ apiKey: key, baseURL: `${url}/v1` });
  const realtime = new (browser ? OpenAIRealtimeWebSocket : OpenAIRealtimeWS)({ model }, client);
  realtime.on('response.output_audio.delta', (event) => {
    conversation.play(Buffer.from(event.delta, 'base64'), event.item_id);
  });
  realtime.on('input_audio_buffer.speech_started', () => {
    if (!conversation.isPlaying) return;
    const { id } = conversation.answers.at(-1);
    const audio_end_ms = conversation.playedMs();
    conversation.interrupt();
    realtime.send({ type: 'conversation.item.truncate', item_id: id, content_index: 0, audio_end_ms });
  });
  realtime.on('response.done', (event) => event.response.status === 'completed' && conversation.complete());
  realtime.on('error', (error) => conversation.fail(error.message));
  await new Promise((resolve, reject) => {
    realtime.socket.addEventListener('open', resolve);
    realtime.socket.addEventListener('error', (event) => reject(event.error ?? new Error(event.message || 'the connection failed')));
  });
  realtime.send({
    type: 'session.update',
    session: { type: 'realtime', audio: { input: { turn_detection: { type: 'server_vad' } } } },
  });
  for await (const piece of conversation.microphone()) {
    realtime.send({ type: 'input_audio_buffer.append', audio: piece.toString('base64') });
  }
  realtime.close();
}

await main(browser ? 'openai npm, browser' : 'openai npm', version('openai'), converse);
